//! A watch: our record of following one instance.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::event::Reason;
use super::id::InstanceId;
use super::time::Timestamp;

/// Our word for the state of an instance, decided from observations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not ready yet on our watch.
    Pending,
    /// The gate held, and it has been fresh since.
    Ready,
    /// Silent, but not yet for the window and the grace.
    Late,
    /// Silent for the window and the grace.
    Stale,
    /// The API does not know it (any more).
    Gone,
}

impl Phase {
    /// Every phase, in the order of an instance's life.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Ready,
        Self::Late,
        Self::Stale,
        Self::Gone,
    ];

    /// The word as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Late => "late",
            Self::Stale => "stale",
            Self::Gone => "gone",
        }
    }

    /// Reads back the stored word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == text)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What of a watch survives a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRecord {
    /// Whom it follows.
    pub instance: InstanceId,
    /// The phase.
    pub phase: Phase,
    /// Since when it is in that phase, in server time.
    pub since: Timestamp,
    /// The sequence of its newest event; 0 before the first.
    pub sequence: u64,
    /// How many times the ID came back after `gone`.
    pub generation: u32,
    /// When the watch began, in server time: `ready_deadline` counts from it.
    pub started: Timestamp,
    /// Whether `instance.overdue` was told.
    pub overdue_told: bool,
    /// Whether a row for it was ever seen in this generation.
    pub seen: bool,
    /// Since when the API answers that it does not exist, in server time.
    pub absent_since: Option<Timestamp>,
    /// Why it is in its phase.
    pub reason: Reason,
}
