//! What a service manager is told, by the protocol of `sd_notify(3)`: when the daemon is ready, how
//! its fleet does, that it still turns, and when it begins to stop.
//!
//! The protocol is a few lines to a datagram socket. It is spoken here and not by a crate, because
//! those that do so read the environment by themselves, of which this program has one reader.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::core::phase::Phase;
use crate::environment::Environment;

use super::snapshot::Snapshot;

/// How many beats fit into the watchdog's time, so that one that comes late does no harm.
const BEATS_PER_WATCHDOG: u32 = 3;

/// How far apart two states are at least. People read them, and the service manager wakes for each.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// How long one message may take. A service manager that hangs must not make the daemon hang.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many scopes in trouble a state names.
const NAMED: usize = 3;

/// Why the service manager cannot be spoken to.
#[derive(Debug, Error)]
pub enum NotifyError {
    /// The address is neither a path nor an abstract name.
    #[error("NOTIFY_SOCKET is `{address}`, which is no address of a unix socket")]
    Address {
        /// As it was given.
        address: String,
        /// What the system says of it, where it was asked.
        source: Option<io::Error>,
    },
    /// It is no number of microseconds that a watchdog can have.
    #[error("WATCHDOG_USEC is `{0}`, which is no number of microseconds above 0")]
    Watchdog(String),
}

/// The service manager that started this process, if there is one that listens.
#[derive(Debug)]
pub struct ServiceManager {
    /// Nothing where nobody listens: then everything here does nothing.
    address: Option<SocketAddr>,
    watchdog: Option<Duration>,
    clock: Clock,
}

impl ServiceManager {
    /// Nobody listens.
    #[must_use]
    pub const fn none(clock: Clock) -> Self {
        Self {
            address: None,
            watchdog: None,
            clock,
        }
    }

    /// The one that the environment names: `NOTIFY_SOCKET`, and `WATCHDOG_USEC` where it wants
    /// beats. A `WATCHDOG_PID` of another process means that those are not wanted from this one.
    ///
    /// # Errors
    /// A variable that makes no sense. Going on without would end in a restart when the service
    /// manager has waited in vain, and nobody would know why.
    pub fn from_environment(environment: &Environment, clock: Clock) -> Result<Self, NotifyError> {
        let Some(socket) = environment.get("NOTIFY_SOCKET") else {
            return Ok(Self::none(clock));
        };
        let ours = std::process::id().to_string();
        let for_us = environment
            .get("WATCHDOG_PID")
            .is_none_or(|pid| pid == ours);
        let watchdog = environment.get("WATCHDOG_USEC").filter(|_| for_us);
        Ok(Self {
            address: Some(address(socket)?),
            watchdog: watchdog.map(watchdog_time).transpose()?,
            clock,
        })
    }

    /// How often the dispatcher is to turn at least; nothing where nobody watches it.
    pub(super) fn turn_interval(&self) -> Option<Duration> {
        self.watchdog.map(|time| time / BEATS_PER_WATCHDOG)
    }

    /// Says that the daemon is ready once the dispatcher has turned, and from then on how the fleet
    /// does and that the dispatcher still turns. Never returns.
    pub(super) async fn follow(
        &self,
        mut turns: watch::Receiver<()>,
        snapshot: watch::Receiver<Snapshot>,
    ) {
        if self.address.is_some() && turns.changed().await.is_ok() {
            let state = in_words(&snapshot.borrow());
            self.tell(&format!("READY=1\nSTATUS={state}")).await;
            tokio::join!(self.feed_watchdog(turns), self.tell_states(snapshot, state));
        }
        std::future::pending().await
    }

    /// Says that the daemon has begun to stop. The watchdog rests from here on, and the time to
    /// stop (`TimeoutStopSec=`) runs.
    pub(super) async fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping: what is due is delivered")
            .await;
    }

    /// Sends a beat only when the dispatcher has turned since the last one: that other tasks live
    /// is no comfort when nothing is decided any more.
    async fn feed_watchdog(&self, mut turns: watch::Receiver<()>) {
        let Some(interval) = self.turn_interval() else {
            return;
        };
        while turns.changed().await.is_ok() {
            self.tell("WATCHDOG=1").await;
            self.clock.sleep(interval).await;
        }
    }

    async fn tell_states(&self, mut snapshot: watch::Receiver<Snapshot>, mut told: String) {
        loop {
            self.clock.sleep(STATUS_INTERVAL).await;
            while in_words(&snapshot.borrow_and_update()) == told {
                if snapshot.changed().await.is_err() {
                    return;
                }
            }
            told = in_words(&snapshot.borrow());
            self.tell(&format!("STATUS={told}")).await;
        }
    }

    /// Says something. That it could not be said is logged and does not end the daemon, which is of
    /// use without; a service manager that needs to hear it does what it does with a silent one.
    async fn tell(&self, message: &str) {
        let Some(address) = &self.address else {
            return;
        };
        let sent = tokio::select! {
            sent = send(address, message) => sent,
            () = self.clock.sleep(PATIENCE) => Err(io::ErrorKind::TimedOut.into()),
        };
        match sent {
            Ok(()) => tracing::trace!(message, "told the service manager"),
            Err(error) => {
                tracing::warn!(%error, lost = message, "the service manager cannot be told");
            }
        }
    }
}

/// A socket for each message: one that was connected for good would be deaf after the other side
/// has opened its own anew.
async fn send(address: &SocketAddr, message: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(address)?;
    socket.set_nonblocking(true)?;
    let socket = tokio::net::UnixDatagram::from_std(socket)?;
    // A datagram goes as a whole or not at all.
    socket.send(message.as_bytes()).await.map(|_| ())
}

/// A path, or an abstract name after an `@`.
fn address(text: &str) -> Result<SocketAddr, NotifyError> {
    let wrong = |source| NotifyError::Address {
        address: text.to_owned(),
        source,
    };
    match text.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name).map_err(|error| wrong(Some(error))),
        None if text.starts_with('/') => {
            SocketAddr::from_pathname(text).map_err(|error| wrong(Some(error)))
        }
        None => Err(wrong(None)),
    }
}

fn watchdog_time(text: &str) -> Result<Duration, NotifyError> {
    let micros = text.parse().ok().filter(|micros| *micros > 0);
    micros
        .map(Duration::from_micros)
        .ok_or_else(|| NotifyError::Watchdog(text.to_owned()))
}

/// One line that says how the fleet does, for `systemctl status`.
fn in_words(snapshot: &Snapshot) -> String {
    let total: usize = Phase::ALL.iter().map(|phase| snapshot.count(*phase)).sum();
    let mut text = format!(
        "{} of {total} instances ready",
        snapshot.count(Phase::Ready)
    );
    for phase in Phase::ALL {
        let count = snapshot.count(phase);
        if phase != Phase::Ready && count > 0 {
            text.push_str(&format!(", {count} {phase}"));
        }
    }
    let troubled: Vec<&str> = snapshot
        .scopes
        .iter()
        .filter(|scope| scope.trouble.is_some())
        .map(|scope| scope.name.as_str())
        .collect();
    if !troubled.is_empty() {
        let named = troubled.len().min(NAMED);
        let names = troubled[..named].join(", ");
        text.push_str(&format!("; the API does not answer for {names}"));
        if troubled.len() > named {
            text.push_str(&format!(" and {} more", troubled.len() - named));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::snapshot::ScopeSnapshot;

    fn manager(variables: &[(&str, &str)]) -> Result<ServiceManager, NotifyError> {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()));
        let environment = variables
            .collect::<std::collections::BTreeMap<_, _>>()
            .into();
        ServiceManager::from_environment(&environment, Clock::start())
    }

    #[test]
    fn the_watchdog_is_fed_only_where_this_process_is_asked_to() {
        let ours = std::process::id().to_string();
        let socket = ("NOTIFY_SOCKET", "/run/systemd/notify");
        let usec = ("WATCHDOG_USEC", "30000000");
        let interval = |variables: &[_]| manager(variables).unwrap().turn_interval();
        let ten = Some(Duration::from_secs(10));
        assert_eq!(interval(&[socket, usec]), ten);
        assert_eq!(interval(&[socket, usec, ("WATCHDOG_PID", &ours)]), ten);
        assert_eq!(interval(&[socket, usec, ("WATCHDOG_PID", "1")]), None);
        assert_eq!(interval(&[socket]), None);
        assert_eq!(interval(&[usec]), None);
    }

    #[test]
    fn variables_that_make_no_sense_are_told() {
        let socket = ("NOTIFY_SOCKET", "@notify");
        for (variables, said) in [
            (
                &[("NOTIFY_SOCKET", "notify")][..],
                "NOTIFY_SOCKET is `notify`",
            ),
            (
                &[("NOTIFY_SOCKET", "vsock:2:1")],
                "NOTIFY_SOCKET is `vsock:2:1`",
            ),
            (&[socket, ("WATCHDOG_USEC", "0")], "WATCHDOG_USEC is `0`"),
            (
                &[socket, ("WATCHDOG_USEC", "30s")],
                "WATCHDOG_USEC is `30s`",
            ),
        ] {
            let error = manager(variables).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
    }

    #[tokio::test]
    async fn an_abstract_socket_is_reached_too() {
        let name = format!("readygate-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        let manager = manager(&[("NOTIFY_SOCKET", &format!("@{name}"))]).unwrap();
        manager.stopping().await;
        let mut message = [0; 100];
        let length = socket.recv(&mut message).unwrap();
        assert!(message[..length].starts_with(b"STOPPING=1\n"));
    }

    /// Much longer than the beats of the next test are apart.
    const PAUSE: Duration = Duration::from_millis(400);

    /// The clock is real, because sockets do not wait for a paused one.
    #[tokio::test]
    async fn a_dispatcher_that_does_not_turn_feeds_no_watchdog_though_the_feeder_lives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let variables = [
            ("NOTIFY_SOCKET", path.to_str().unwrap()),
            ("WATCHDOG_USEC", "90000"),
        ];
        let manager = manager(&variables).unwrap();
        let (turns, seen) = watch::channel(());
        let (_publisher, snapshot) = watch::channel(Snapshot::default());
        let clock = Clock::start();
        let beats = async {
            turns.send_replace(());
            clock.sleep(PAUSE).await;
            assert_eq!(
                messages(&socket),
                ["READY=1\nSTATUS=0 of 0 instances ready"]
            );
            turns.send_replace(());
            clock.sleep(PAUSE).await;
            assert_eq!(messages(&socket), ["WATCHDOG=1"]);
            clock.sleep(PAUSE).await;
            assert_eq!(messages(&socket), [""; 0]);
        };
        tokio::select! {
            () = manager.follow(seen, snapshot) => {}
            () = beats => {}
        }
    }

    fn messages(socket: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 200];
        std::iter::from_fn(|| socket.recv(&mut buffer).ok().map(|length| (length, buffer)))
            .map(|(length, buffer)| String::from_utf8_lossy(&buffer[..length]).into_owned())
            .collect()
    }

    #[test]
    fn the_state_names_what_there_is_and_nothing_else() {
        let scope = |name: &str, phases: &[(Phase, usize)], trouble: bool| ScopeSnapshot {
            name: name.parse().unwrap(),
            phases: phases.iter().copied().collect(),
            calls: 7,
            trouble: trouble.then(|| "timed out".to_owned()),
        };
        let mut snapshot = Snapshot::default();
        assert_eq!(in_words(&snapshot), "0 of 0 instances ready");
        let phases = [(Phase::Ready, 2), (Phase::Pending, 1), (Phase::Gone, 0)];
        snapshot.scopes.push(scope("a", &phases, false));
        snapshot.scopes.push(scope("b", &[(Phase::Stale, 3)], true));
        assert_eq!(
            in_words(&snapshot),
            "2 of 6 instances ready, 1 pending, 3 stale; the API does not answer for b"
        );
        for name in ["c", "d", "e"] {
            snapshot.scopes.push(scope(name, &[], true));
        }
        let words = in_words(&snapshot);
        assert!(words.ends_with("for b, c, d and 1 more"), "{words}");
    }
}
