//! One simulated instance: its agent, and the heartbeats it makes.
//!
//! An instance is played only when somebody looks at it or acts on it, from where it was left up
//! to that time. What it does in between is fixed by its own stream of draws, so the result is
//! the same as if it had been played all the time, and an instance nobody asks about costs
//! nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::chance::{Chance, Purpose};
use super::scenario::Span;
use super::truth::{InstanceTruth, SILENCES_KEPT, Silence};
use crate::core::id::InstanceId;
use crate::core::status::{OsType, Status};
use crate::core::time::Timestamp;

/// What an instance and its agent are doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentState {
    /// It has no agent: a row with status false and nothing else.
    NeverInstalled,
    /// It will beat for the first time.
    Booting,
    /// It beats.
    Beating,
    /// The agent was stopped and stays so. It said no goodbye: the status is true for one window.
    Stopped,
    /// The agent ended by itself; its service manager starts it again after one window.
    Crashed,
    /// The system is down and beats as soon as it is back.
    Rebooting,
    /// The instance is gone: the API answers 404.
    Released,
}

impl AgentState {
    /// The word as it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeverInstalled => "never-installed",
            Self::Booting => "booting",
            Self::Beating => "beating",
            Self::Stopped => "stopped",
            Self::Crashed => "crashed",
            Self::Rebooting => "rebooting",
            Self::Released => "released",
        }
    }
}

/// What can be done to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Starts a stopped or crashed agent; it beats at once.
    StartAgent,
    /// Stops the agent for good, without a last heartbeat.
    StopAgent,
    /// Ends the agent; it is started again after one window and beats at once.
    CrashAgent,
    /// Takes the system down for this long; then the agent beats at once. A reboot also starts a
    /// stopped agent, whose service is enabled.
    Reboot {
        /// From the last moment of the old agent to the first heartbeat of the new one.
        downtime: Duration,
    },
    /// Loses the next heartbeats on their way. The interval is not drawn anew after a loss, so
    /// one lost heartbeat makes a gap of twice the interval.
    LoseHeartbeats {
        /// How many in a row.
        count: u32,
    },
    /// Releases the instance: the API no longer knows it.
    Release,
    /// Installs an agent where there was none; its package starts it and it beats at once.
    InstallAgent,
}

impl Action {
    /// The word for the action in scenarios and URLs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StartAgent => "start-agent",
            Self::StopAgent => "stop-agent",
            Self::CrashAgent => "crash-agent",
            Self::Reboot { .. } => "reboot",
            Self::LoseHeartbeats { .. } => "lose-heartbeats",
            Self::Release => "release",
            Self::InstallAgent => "install-agent",
        }
    }

    /// Whether it does anything to an instance in this state.
    #[must_use]
    pub const fn applies_to(self, state: AgentState) -> bool {
        use AgentState::{Beating, Booting, Crashed, NeverInstalled, Rebooting, Released, Stopped};
        match self {
            Self::StartAgent => matches!(state, Stopped | Crashed),
            Self::StopAgent => matches!(state, Booting | Beating | Crashed),
            Self::CrashAgent | Self::LoseHeartbeats { .. } => matches!(state, Beating),
            Self::Reboot { .. } => {
                matches!(state, Booting | Beating | Stopped | Crashed | Rebooting)
            }
            Self::Release => !matches!(state, Released),
            Self::InstallAgent => matches!(state, NeverInstalled),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The measures all instances of a fleet share.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// How long a heartbeat counts.
    pub(super) window: Duration,
    /// What the interval after each heartbeat is drawn from.
    pub(super) heartbeat: Span,
    /// Where the draws come from.
    pub(super) chance: Chance,
}

impl Pace {
    /// Gaps up to this long are ordinary: nobody can be stale by one.
    fn ordinary_gap(&self) -> Duration {
        self.heartbeat.max.max(self.window / 2)
    }
}

/// Where an agent is, with what it does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Agent {
    NeverInstalled,
    Stopped,
    Released(Timestamp),
    /// Silent up to a heartbeat that is fixed already.
    Down {
        cause: Cause,
        until: Timestamp,
    },
    Beating {
        next: Timestamp,
        interval: Duration,
        to_lose: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Boot,
    Crash,
    Reboot,
}

/// What does not change about an instance.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    /// Its ID.
    pub(super) id: InstanceId,
    /// Which of the fleet's regions it is in.
    pub(super) region: u16,
    /// Its number in the fleet: its stream of draws.
    pub(super) number: u32,
    /// Its system.
    pub(super) os_type: OsType,
    /// The version its agent tells.
    pub(super) version: Arc<str>,
}

/// One instance.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub(super) identity: Identity,
    agent: Agent,
    draws: u32,
    first_heartbeat: Option<Timestamp>,
    last_heartbeat: Option<Timestamp>,
    silences: Vec<Silence>,
    silences_forgotten: u32,
}

impl Instance {
    fn new(identity: Identity, agent: Agent) -> Self {
        Self {
            identity,
            agent,
            draws: 0,
            first_heartbeat: None,
            last_heartbeat: None,
            silences: Vec::new(),
            silences_forgotten: 0,
        }
    }

    /// An instance without an agent.
    pub(super) fn never_installed(identity: Identity) -> Self {
        Self::new(identity, Agent::NeverInstalled)
    }

    /// An instance that beats for the first time at `first_heartbeat`.
    pub(super) fn booting(identity: Identity, first_heartbeat: Timestamp) -> Self {
        let down = Agent::Down {
            cause: Cause::Boot,
            until: first_heartbeat,
        };
        Self::new(identity, down)
    }

    /// An instance that has been beating for a while: the last heartbeat lies anywhere within
    /// the interval before `now`.
    pub(super) fn running(identity: Identity, now: Timestamp, pace: &Pace) -> Self {
        let stream = Purpose::Heartbeats(identity.number);
        let age = Span::new(
            Duration::from_micros(1),
            pace.chance.within(pace.heartbeat, stream, 1),
        );
        let mut instance = Self::new(identity, Agent::Stopped);
        let last = now - pace.chance.within(age, stream, 0);
        // The interval of the heartbeat at `last` is draw 1, the one the age was bounded by.
        instance.draws = 1;
        instance.beat(last, pace);
        instance
    }

    /// What it is doing, as of the last time it was played.
    pub(super) const fn state(&self) -> AgentState {
        match self.agent {
            Agent::NeverInstalled => AgentState::NeverInstalled,
            Agent::Stopped => AgentState::Stopped,
            Agent::Released(_) => AgentState::Released,
            Agent::Beating { .. } => AgentState::Beating,
            Agent::Down { cause, .. } => match cause {
                Cause::Boot => AgentState::Booting,
                Cause::Crash => AgentState::Crashed,
                Cause::Reboot => AgentState::Rebooting,
            },
        }
    }

    /// Makes every heartbeat that is due up to `now`.
    pub(super) fn play(&mut self, now: Timestamp, pace: &Pace) {
        loop {
            match self.agent {
                Agent::Down { until, .. } if until <= now => self.beat(until, pace),
                Agent::Beating { next, to_lose, .. } if next <= now && to_lose == 0 => {
                    self.beat(next, pace);
                }
                Agent::Beating {
                    next,
                    interval,
                    to_lose,
                } if next <= now => {
                    self.agent = Agent::Beating {
                        next: next + interval,
                        interval,
                        to_lose: to_lose - 1,
                    };
                }
                Agent::Down { .. }
                | Agent::Beating { .. }
                | Agent::NeverInstalled
                | Agent::Stopped
                | Agent::Released(_) => return,
            }
        }
    }

    /// A heartbeat arrives, and the interval to the next one is drawn.
    fn beat(&mut self, at: Timestamp, pace: &Pace) {
        if let Some(start) = self.last_heartbeat
            && at.saturating_since(start) > pace.ordinary_gap()
        {
            self.remember(Silence {
                start,
                end: Some(at),
            });
        }
        self.first_heartbeat.get_or_insert(at);
        self.last_heartbeat = Some(at);
        let stream = Purpose::Heartbeats(self.identity.number);
        let interval = pace.chance.within(pace.heartbeat, stream, self.draws);
        self.draws = self.draws.wrapping_add(1);
        self.agent = Agent::Beating {
            next: at + interval,
            interval,
            to_lose: 0,
        };
    }

    fn remember(&mut self, silence: Silence) {
        if self.silences.len() >= SILENCES_KEPT {
            self.silences.remove(0);
            self.silences_forgotten = self.silences_forgotten.saturating_add(1);
        }
        self.silences.push(silence);
    }

    /// Does something to it at `now`, up to which it has been played. Answers whether the action
    /// applies to the state it is in; where not, nothing happens.
    pub(super) fn act(&mut self, action: Action, now: Timestamp, pace: &Pace) -> bool {
        if !action.applies_to(self.state()) {
            return false;
        }
        match action {
            Action::StartAgent | Action::InstallAgent => self.beat(now, pace),
            Action::StopAgent => self.agent = Agent::Stopped,
            Action::CrashAgent => self.go_down(Cause::Crash, now + pace.window),
            Action::Reboot { downtime } => self.go_down(Cause::Reboot, now + downtime),
            Action::LoseHeartbeats { count } => self.lose_heartbeats(count),
            Action::Release => self.agent = Agent::Released(now),
        }
        true
    }

    fn go_down(&mut self, cause: Cause, until: Timestamp) {
        self.agent = Agent::Down { cause, until };
    }

    fn lose_heartbeats(&mut self, count: u32) {
        if let Agent::Beating { to_lose, .. } = &mut self.agent {
            *to_lose = count.max(*to_lose);
        }
    }

    /// Its row at `now`, up to which it has been played; nothing once it was released.
    ///
    /// Heartbeat times have whole seconds, and time and version are kept while the status is
    /// false, as the cloud does. What never beat has neither: the API learns both by heartbeat.
    pub(super) fn status(&self, now: Timestamp, pace: &Pace) -> Option<Status> {
        if matches!(self.agent, Agent::Released(_)) {
            return None;
        }
        let last = self.last_heartbeat;
        Some(Status {
            fresh: last.is_some_and(|at| now.saturating_since(at) < pace.window),
            last_heartbeat: last.map(|at| Timestamp::from_seconds(at.as_seconds())),
            agent_version: last.map(|_| self.identity.version.to_string()),
            os_type: Some(self.identity.os_type),
            session_manager: Some(last.is_some() && has_session_manager(&self.identity.version)),
            active_tasks: Some(0),
        })
    }

    /// Its history at `now`, up to which it has been played.
    pub(super) fn truth(&self, now: Timestamp, pace: &Pace) -> InstanceTruth {
        let released = match self.agent {
            Agent::Released(at) => Some(at),
            Agent::NeverInstalled | Agent::Stopped | Agent::Down { .. } | Agent::Beating { .. } => {
                None
            }
        };
        let until = released.unwrap_or(now);
        let open = self
            .last_heartbeat
            .filter(|start| until.saturating_since(*start) > pace.ordinary_gap())
            .map(|start| Silence { start, end: None });
        InstanceTruth {
            id: self.identity.id.clone(),
            first_heartbeat: self.first_heartbeat,
            last_heartbeat: self.last_heartbeat,
            silences: self.silences.iter().copied().chain(open).collect(),
            silences_forgotten: self.silences_forgotten,
            released,
        }
    }
}

/// Session manager came with release 189 of every family (2.2.3.189 on Linux, 2.1.3.189 on
/// Windows): only the last field counts releases, the others name the family.
fn has_session_manager(version: &str) -> bool {
    let release = version.rsplit('.').next().unwrap_or_default();
    release.parse::<u32>().is_ok_and(|release| release >= 189)
}
