//! The budget: how many calls may be made now, and when the next one may.
//!
//! The provider counts calls per (account, region, operation) and does not publish how many it
//! allows, so the user says how many are ours: at most that many in any 60 s, every attempt
//! counted. After a throttling answer there is silence until the time the answer named, or else
//! the next UTC minute, because the provider counts in minutes.

use std::collections::VecDeque;
use std::time::Duration;

use super::time::{Instant, Timestamp};

/// The span in which at most `calls_per_minute` are made. One second longer than the provider's
/// minute: two calls may travel for different times and arrive closer together than they left.
const SPAN: Duration = Duration::from_secs(61);

/// The longest pause after calls that failed for other reasons than throttling.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Counts the calls of one (account, region) and says when the next one may be made. Scopes that
/// share an account and a region share it.
#[derive(Debug, Clone)]
pub struct Budget {
    calls_per_minute: usize,
    /// When the calls of the last span were made, oldest first.
    calls: VecDeque<Instant>,
    held_until: Option<Instant>,
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
            throttled: 0,
        }
    }

    /// The first moment at which a call may be made, and what forbids it until then.
    #[must_use]
    pub fn available_at(&self) -> (Instant, &'static str) {
        let origin = Instant::from_origin(Duration::ZERO);
        let spent = match self.calls.len().checked_sub(self.calls_per_minute) {
            Some(index) => self
                .calls
                .get(index)
                .map_or(origin, |oldest| *oldest + SPAN),
            None => origin,
        };
        let held = self.held_until.unwrap_or(origin);
        if held > spent {
            (held, "the API asked for a pause")
        } else {
            (spent, "the budget is spent")
        }
    }

    /// A call is made now.
    pub fn spend(&mut self, now: Instant) {
        while self
            .calls
            .pop_front_if(|oldest| *oldest + SPAN <= now)
            .is_some()
        {}
        self.calls.push_back(now);
    }

    /// A call was throttled. `after` is what the answer named, `server_now` the server's time as
    /// far as known, and `unit` in 0..1 spreads what would else return together.
    pub fn handle_throttling(
        &mut self,
        after: Option<Duration>,
        now: Instant,
        server_now: Option<Timestamp>,
        unit: f64,
    ) {
        self.throttled += 1;
        let pause = after.unwrap_or_else(|| to_next_minute(server_now));
        let until = now + pause + Duration::from_secs(1).mul_f64(unit.clamp(0.0, 1.0));
        self.held_until = self.held_until.max(Some(until));
    }

    /// How many calls were throttled so far.
    #[must_use]
    pub const fn throttled(&self) -> u64 {
        self.throttled
    }
}

fn to_next_minute(server_now: Option<Timestamp>) -> Duration {
    let into_minute = server_now.map_or(0, |now| now.as_micros().rem_euclid(60_000_000));
    Duration::from_micros(60_000_000 - into_minute.unsigned_abs())
}

/// Pauses one scope after calls that failed, longer after each: what fails for one scope (wrong
/// keys, say) is no reason to pause another.
#[derive(Debug, Clone, Default)]
pub struct FailurePause {
    failures: u32,
    until: Option<Instant>,
}

impl FailurePause {
    /// Until when no call is to be made.
    #[must_use]
    pub const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The API answered, if only with a 404.
    pub fn handle_answer(&mut self) {
        *self = Self::default();
    }

    /// A call failed; `first` is the pause after the first of several failures in a row.
    pub fn handle_failure(&mut self, first: Duration, now: Instant) {
        let pause = first
            .saturating_mul(1 << self.failures.min(10))
            .min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        self.until = self.until.max(Some(now + pause));
    }
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
            budget.handle_throttling(after, at(100.0), server_now, 0.0);
            assert_eq!(budget.available_at().0, at(expected), "{after:?}");
            assert_eq!(budget.throttled(), 1);
        }
    }

    #[test]
    fn failures_pause_longer_and_longer_and_one_answer_ends_that() {
        let mut pause = FailurePause::default();
        let second = Duration::from_secs(1);
        let mut now = at(100.0);
        for expected in [1, 2, 4, 8, 16, 30, 30] {
            pause.handle_failure(second, now);
            assert_eq!(pause.until(), Some(now + second * expected));
            now = now + second * expected;
        }
        pause.handle_answer();
        assert_eq!(pause.until(), None);
        pause.handle_failure(second, now);
        assert_eq!(pause.until(), Some(now + second));
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
                now = (now + Duration::from_millis(wish)).max(budget.available_at().0);
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
