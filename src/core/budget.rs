//! The budget: how many calls may be made now, and when the next one may.
//!
//! The provider counts calls per (account, region, operation) and does not publish how many it
//! allows, so the user says how many are ours: at most that many in any 60 s, every attempt
//! counted. After a throttling answer there is silence until the time the answer named, or else
//! the next UTC minute, because the provider counts in minutes.

use std::collections::VecDeque;
use std::time::Duration;

use super::call::Disposition;
use super::time::{Instant, Timestamp};

/// The span in which at most `calls_per_minute` are made. One second longer than the provider's
/// minute: two calls may travel for different times and arrive closer together than they left.
const SPAN: Duration = Duration::from_secs(61);

/// The longest silence after calls that failed for other reasons than throttling.
const FAILURE_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Counts the calls of one scope and says when the next one may be made.
#[derive(Debug, Clone)]
pub struct Budget {
    calls_per_minute: usize,
    /// When the calls of the last span were made, oldest first.
    calls: VecDeque<Instant>,
    held_until: Option<Instant>,
    failures: u32,
    made: u64,
    throttled: u64,
}

impl Budget {
    /// A budget of so many calls in any minute, none spent; at least one.
    #[must_use]
    pub fn new(calls_per_minute: u32) -> Self {
        Self {
            calls_per_minute: usize::try_from(calls_per_minute.max(1)).unwrap_or(usize::MAX),
            calls: VecDeque::new(),
            held_until: None,
            failures: 0,
            made: 0,
            throttled: 0,
        }
    }

    /// The first moment at which a call may be made.
    #[must_use]
    pub fn available_at(&self) -> Instant {
        let origin = Instant::from_origin(Duration::ZERO);
        let spent = match self.calls.len().checked_sub(self.calls_per_minute) {
            Some(index) => self
                .calls
                .get(index)
                .map_or(origin, |oldest| *oldest + SPAN),
            None => origin,
        };
        spent.max(self.held_until.unwrap_or(origin))
    }

    /// Whether no call may be made because the server or repeated failures forbid it.
    #[must_use]
    pub fn held_at(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    /// A call is made now.
    pub fn spend(&mut self, now: Instant) {
        while self
            .calls
            .front()
            .is_some_and(|oldest| *oldest + SPAN <= now)
        {
            self.calls.pop_front();
        }
        self.calls.push_back(now);
        self.made += 1;
    }

    /// A call ended. `server_now` is the server's time as far as known, `unit` in 0..1 spreads
    /// what would else return together.
    pub fn handle_outcome(
        &mut self,
        outcome: Result<(), Disposition>,
        now: Instant,
        server_now: Option<Timestamp>,
        unit: f64,
    ) {
        let pause = match outcome {
            // A 404 is an answer: the API works.
            Ok(()) | Err(Disposition::NotFound) => {
                self.failures = 0;
                return;
            }
            Err(Disposition::Throttled { after }) => {
                self.throttled += 1;
                after.unwrap_or_else(|| to_next_minute(server_now))
                    + Duration::from_secs(1).mul_f64(unit.clamp(0.0, 1.0))
            }
            Err(Disposition::Retry) => self.next_pause(Duration::from_secs(1)),
            Err(Disposition::Permanent) => self.next_pause(Duration::from_secs(5)),
        };
        let until = now + pause;
        self.held_until = Some(self.held_until.map_or(until, |held| held.max(until)));
    }

    fn next_pause(&mut self, first: Duration) -> Duration {
        let pause = first.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        pause.min(FAILURE_PAUSE_MAX)
    }

    /// How many calls were made so far.
    #[must_use]
    pub const fn made(&self) -> u64 {
        self.made
    }

    /// How many of them were throttled.
    #[must_use]
    pub const fn throttled(&self) -> u64 {
        self.throttled
    }
}

fn to_next_minute(server_now: Option<Timestamp>) -> Duration {
    let into_minute = server_now.map_or(0, |now| now.as_micros().rem_euclid(60_000_000));
    Duration::from_micros(60_000_000 - into_minute.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: f64) -> Instant {
        Instant::from_origin(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn throttling_silences_until_the_time_named_or_the_next_minute() {
        let server_now = Some(Timestamp::from_seconds(60 * 7 + 48));
        let named = Some(Duration::from_millis(1500));
        for (after, expected) in [(named, 101.5), (None, 112.0)] {
            let mut budget = Budget::new(300);
            let throttled = Err(Disposition::Throttled { after });
            budget.handle_outcome(throttled, at(100.0), server_now, 0.0);
            assert_eq!(budget.available_at(), at(expected), "{after:?}");
            assert_eq!(budget.throttled(), 1);
        }
    }

    #[test]
    fn failures_pause_longer_and_longer_and_one_success_ends_that() {
        let mut budget = Budget::new(300);
        for expected in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
            let now = budget.available_at();
            budget.handle_outcome(Err(Disposition::Retry), now, None, 0.5);
            assert_eq!(
                budget.available_at(),
                now + Duration::from_secs_f64(expected)
            );
        }
        let now = budget.available_at();
        budget.handle_outcome(Ok(()), now, None, 0.5);
        budget.handle_outcome(Err(Disposition::Retry), now, None, 0.5);
        assert_eq!(budget.available_at(), now + Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn no_minute_sees_more_calls_than_allowed(
            calls_per_minute in 1_u32..40,
            wishes in prop::collection::vec(0_u64..20_000, 1..300),
        ) {
            let mut budget = Budget::new(calls_per_minute);
            let mut now = Instant::from_origin(Duration::from_secs(1));
            let mut made = Vec::new();
            for wish in wishes {
                now = (now + Duration::from_millis(wish)).max(budget.available_at());
                budget.spend(now);
                made.push(now);
            }
            for (index, start) in made.iter().enumerate() {
                let within = made[index..]
                    .iter()
                    .filter(|call| call.saturating_since(*start) <= Duration::from_secs(60))
                    .count();
                prop_assert!(within <= usize::try_from(calls_per_minute).unwrap());
            }
        }
    }
}
