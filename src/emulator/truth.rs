//! What really happened to an instance: the measure of what a watcher tells.

use serde::{Deserialize, Serialize};

use crate::core::id::InstanceId;
use crate::core::time::Timestamp;

/// A gap between two heartbeats that is longer than heartbeats ordinarily are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// The last heartbeat before it.
    pub start: Timestamp,
    /// The heartbeat that ended it; nothing while it lasts.
    pub end: Option<Timestamp>,
}

/// The true history of one instance, in the emulator's time, to the microsecond.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceTruth {
    /// Whose history it is.
    pub id: InstanceId,
    /// The first heartbeat of its life; nothing where it never beat.
    pub first_heartbeat: Option<Timestamp>,
    /// The newest heartbeat.
    pub last_heartbeat: Option<Timestamp>,
    /// The gaps that are longer than half the window and than any ordinary interval, oldest
    /// first: the newest [`SILENCES_KEPT`] that ended, and the one that still lasts.
    pub silences: Vec<Silence>,
    /// How many silences before those were dropped to bound the memory.
    pub silences_forgotten: u32,
    /// When it was released; the API answers 404 for it from then on.
    pub released: Option<Timestamp>,
}

/// How many silences of an instance are remembered; the oldest are dropped first. One that is
/// silent every ten minutes has its last ten hours.
pub const SILENCES_KEPT: usize = 64;
