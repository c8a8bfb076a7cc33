//! The only reader of clocks.

use std::time::Duration;

use crate::core::time::{Instant, Timestamp};

/// Reads the machine's clocks. Cheap to copy; all copies share one origin.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: std::time::Instant,
    wall_at_origin: Timestamp,
}

impl Clock {
    /// A clock whose origin is now.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this file is the only reader of clocks"
    )]
    pub fn start() -> Self {
        Self {
            origin: std::time::Instant::now(),
            wall_at_origin: read_wall(),
        }
    }

    /// Monotonic time: for waiting and for measuring.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this file is the only reader of clocks"
    )]
    pub fn now(self) -> Instant {
        Instant::from_origin(std::time::Instant::now().saturating_duration_since(self.origin))
    }

    /// The calendar as this machine sees it now: for display, signatures and files. It may jump.
    #[must_use]
    pub fn wall(self) -> Timestamp {
        read_wall()
    }

    /// A calendar time that cannot jump while the process lives: the wall clock read once at the
    /// start, and monotonic time added. For delays that are stored.
    #[must_use]
    pub fn steady(self) -> Timestamp {
        self.wall_at_origin + self.now().since_origin()
    }

    /// The same point for tokio's timers.
    #[must_use]
    pub fn to_tokio(self, at: Instant) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.origin + at.since_origin())
    }

    /// Waits until `at`; returns at once where that is past.
    pub async fn sleep_until(self, at: Instant) {
        tokio::time::sleep_until(self.to_tokio(at)).await;
    }

    /// Waits this long.
    pub async fn sleep(self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this file is the only reader of clocks"
)]
fn read_wall() -> Timestamp {
    Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}
