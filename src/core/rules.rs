//! The figures by which instances are judged, and what users asked for on them.

use std::time::Duration;

use super::gate::Gate;

/// Heartbeat times are told in whole seconds, rounded down: the beat itself came up to this much
/// later.
pub const HEARTBEAT_RESOLUTION: Duration = Duration::from_secs(1);

/// The rules that all watches of a scope share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long a heartbeat counts: 120 s at the cloud (the API page).
    pub window: Duration,
    /// How much longer than the window silence must last to be `stale`.
    pub grace: Duration,
    /// How many different heartbeats end `stale`.
    pub recover_heartbeats: u32,
    /// How long one that was never seen may be unknown to the API before it is `gone`.
    pub absent_after: Duration,
}

impl Rules {
    /// Those of the cloud: a heartbeat counts for two minutes (the API page), and 15 s more cannot
    /// be one lost heartbeat.
    pub const CLOUD: Self = Self {
        window: Duration::from_secs(120),
        grace: Duration::from_secs(15),
        recover_heartbeats: 2,
        absent_after: Duration::from_secs(600),
    };

    /// Silence of this length is `stale`.
    #[must_use]
    pub fn stale_after(&self) -> Duration {
        self.window.saturating_add(self.grace)
    }

    /// One that was seen must be absent over at least this long to be `gone`: 60 s at the
    /// cloud's window, and half of any other.
    #[must_use]
    pub fn absent_span(&self) -> Duration {
        self.window / 2
    }
}

/// What the user asked for on an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What makes it ready.
    pub gate: Gate,
    /// How long after its start a watch that is still pending becomes overdue.
    pub ready_deadline: Duration,
}
