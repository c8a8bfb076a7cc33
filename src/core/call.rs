//! One call of `DescribeCloudAssistantStatus` as the core sees it: how it ended, and when.

use std::time::Duration;

use super::id::InstanceId;
use super::status::Status;
use super::time::{Instant, Timestamp};

/// How many instance IDs one call takes (`InstanceId.1` to `InstanceId.100`, the API page).
pub const BATCH_MAX: usize = 100;

/// One row of a reply: what it says of which instance. Rows come in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Whom the row is about.
    pub instance: InstanceId,
    /// What it says.
    pub status: Status,
}

/// What a call that brought no rows means for the calls after it. Decided once, where the error
/// is made; nobody looks at status codes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// At least one of the IDs does not exist: 404 `InvalidInstance.NotFound` for the whole call.
    NotFound,
    /// The account was asked for less. `after` is what `x-acs-retry-after` said.
    Throttled {
        /// How long to wait, where the server said so.
        after: Option<Duration>,
    },
    /// It may work next time: time-outs, resets, 5xx.
    Retry,
    /// It will not work until somebody changes something: keys, permissions, region.
    Permanent,
}

/// A call that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallReport {
    /// Just before the request was sent.
    pub sent: Instant,
    /// When the whole reply was there, or the failure known.
    pub received: Instant,
    /// The reply's `Date`, in whole seconds; nothing where no reply came.
    pub date: Option<Timestamp>,
    /// The rows of a whole reply, or what its absence means.
    pub outcome: Result<Vec<Row>, Disposition>,
}
