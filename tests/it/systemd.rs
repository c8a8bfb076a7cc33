//! What the daemon tells a service manager, heard on a real socket.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use readygate::emulator::{ACCESS_KEY_ID, ACCESS_KEY_SECRET};
use rustix::process::Signal;

use crate::harness::{Cloud, Process, Site, write_private};

/// Patience with a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// The watchdog's time. A beat is due three times in it.
const WATCHDOG: Duration = Duration::from_millis(1500);

const INSTANCES: u32 = 3;

/// The end of the protocol that a service manager has.
struct Manager {
    socket: UnixDatagram,
    variables: [(&'static str, String); 2],
}

impl Manager {
    fn listen(site: &Site) -> Self {
        let path = site.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket,
            variables: [
                ("NOTIFY_SOCKET", path.to_str().unwrap().to_owned()),
                ("WATCHDOG_USEC", WATCHDOG.as_micros().to_string()),
            ],
        }
    }

    fn start(&self, site: &Site, cloud: &Cloud, variables: &[(&str, &str)]) -> Process {
        let ours = self
            .variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let variables: Vec<_> = ours.chain(variables.iter().copied()).collect();
        let arguments = ["run", "--config", "readygate.toml"];
        Process::start_with(cloud.clock, &site.path(""), &arguments, &variables)
    }

    /// The next message, if it is there.
    fn message(&self) -> Option<String> {
        let mut buffer = [0; 1000];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    /// All messages that are there.
    fn messages(&self) -> Vec<String> {
        std::iter::from_fn(|| self.message()).collect()
    }

    /// Waits for a message that begins like this, and drops those before it.
    async fn hear(&self, process: &mut Process, beginning: &str) -> String {
        let mut last = "nothing".to_owned();
        process
            .until(SOON, beginning, |_| {
                while let Some(message) = self.message() {
                    if message.starts_with(beginning) {
                        return Ok(message);
                    }
                    last = message;
                }
                Err(format!("heard last: {last}"))
            })
            .await
    }
}

async fn site() -> (Cloud, Site, Manager) {
    let cloud = Cloud::healthy(INSTANCES, Duration::from_secs(120)).await;
    let site = Site::new(&cloud, &cloud.ids(), "");
    let manager = Manager::listen(&site);
    (cloud, site, manager)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_hears_ready_the_state_beats_and_the_stop() {
    let (cloud, site, manager) = site().await;
    let mut daemon = manager.start(&site, &cloud, &[]);
    let first = manager.hear(&mut daemon, "").await;
    // Opens only what is whole.
    site.store();
    let state = first.strip_prefix("READY=1\nSTATUS=").unwrap();
    assert!(state.contains(" of 3 instances ready"), "{state}");
    if state != "3 of 3 instances ready" {
        let state = manager.hear(&mut daemon, "STATUS=3 of").await;
        assert_eq!(state, "STATUS=3 of 3 instances ready");
    }

    // Nothing is due for a long time, and yet it turns.
    manager.messages();
    for _ in 0..4 {
        let since = cloud.clock.now();
        assert_eq!(manager.hear(&mut daemon, "").await, "WATCHDOG=1");
        let waited = cloud.clock.now().saturating_since(since);
        assert!(waited < WATCHDOG, "a beat after {waited:?}");
    }

    daemon.signal(Signal::STOP);
    // What it was just saying when the signal came.
    cloud.clock.sleep(Duration::from_millis(100)).await;
    manager.messages();
    cloud.clock.sleep(WATCHDOG * 2).await;
    assert_eq!(manager.messages(), [""; 0], "it stands still");
    daemon.signal(Signal::CONT);
    manager.hear(&mut daemon, "WATCHDOG=1").await;

    daemon.signal(Signal::TERM);
    let ended = daemon.ended(SOON).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let last = manager.messages().pop().unwrap();
    assert!(last.starts_with("STOPPING=1\nSTATUS=stopping"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_is_not_ready_before_it_has_credentials() {
    let (cloud, site, manager) = site().await;
    let none = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", ""),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", ""),
    ];
    let folder = site.path(".aliyun");
    fs::create_dir(&folder).unwrap();
    // Somebody is just writing it.
    write_private(&folder, "config.json", "{");
    let mut daemon = manager.start(&site, &cloud, &none);
    cloud.clock.sleep(Duration::from_secs(1)).await;
    daemon.assert_alive();
    assert_eq!(manager.messages(), [""; 0]);
    let profile = format!(
        r#"{{"current": "p", "profiles": [{{"name": "p", "mode": "AK",
            "access_key_id": "{ACCESS_KEY_ID}", "access_key_secret": "{ACCESS_KEY_SECRET}"}}]}}"#
    );
    write_private(&folder, "config.json", &profile);
    let first = manager.hear(&mut daemon, "").await;
    assert!(first.starts_with("READY=1\n"), "{first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_cannot_open_its_store_is_never_ready() {
    let (cloud, site, manager) = site().await;
    let mut first = manager.start(&site, &cloud, &[]);
    manager.hear(&mut first, "READY=1").await;
    let second = Site::new(&cloud, &cloud.ids(), "");
    let its_manager = Manager::listen(&second);
    let folder = site.path("state");
    let folder = [("READYGATE_STORE__FOLDER", folder.to_str().unwrap())];
    let refused = its_manager
        .start(&second, &cloud, &folder)
        .ended(SOON)
        .await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert_eq!(its_manager.messages(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_that_is_gone_does_not_stop_the_daemon() {
    let (cloud, site, manager) = site().await;
    let mut daemon = manager.start(&site, &cloud, &[]);
    manager.hear(&mut daemon, "STATUS=3 of").await;
    drop(manager);
    daemon
        .until(SOON, "a word about it", |daemon| {
            let logs = daemon.logs();
            let said = |log: &serde_json::Value| {
                log["message"] == "the service manager cannot be told" && log["level"] == "WARN"
            };
            let told = logs.iter().any(said);
            told.then_some(()).ok_or_else(|| format!("{logs:?}"))
        })
        .await;
    daemon.signal(Signal::TERM);
    let ended = daemon.ended(SOON).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
