//! What time it is at the server, as far as replies tell.
//!
//! A reply sent for at `t0` and complete at `t1` (monotonic) whose `Date` is D was made between the
//! two, and `Date` has whole seconds: so server minus monotonic time lies in
//! [D - t1, D + 1 s - t0]. Intervals of several replies are intersected, and widened by 100 ppm of
//! the time since, which is more than quartz drifts. The local wall clock has no part in it.

use std::time::Duration;

use super::time::{Instant, Timestamp};

/// Drift assumed between the two clocks: 100 microseconds a second, so in this many microseconds
/// they can part by one.
const MICROS_PER_DRIFT: i128 = 10_000;

/// An estimate of the server's clock that is never wrong while the server's own clock is steady.
#[derive(Debug, Clone, Default)]
pub struct ServerClock {
    bounds: Option<Bounds>,
    /// The newest reply contradicted the ones before it, and none has confirmed it yet.
    in_doubt: bool,
    contradictions: u64,
}

/// Server minus monotonic time as it was known at `at` (in microseconds).
///
/// The bounds count ten-thousandths of a microsecond: then drift is a whole number, and hundreds
/// of replies between two heartbeats add no rounding that would let a due time come too early.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    low: i128,
    high: i128,
    at: i128,
}

impl Bounds {
    fn widened_to(self, at: i128) -> Self {
        let drift = (at - self.at).max(0);
        Self {
            low: self.low - drift,
            high: self.high + drift,
            at: at.max(self.at),
        }
    }

    fn intersect(self, other: Self) -> Option<Self> {
        let (low, high) = (self.low.max(other.low), self.high.min(other.high));
        (low <= high).then_some(Self {
            low,
            high,
            at: other.at,
        })
    }
}

fn micros(at: Instant) -> i128 {
    // A Duration in microseconds is below 2^64 * 10^6, far from the end of an i128.
    i128::try_from(at.since_origin().as_micros()).unwrap_or(i128::MAX)
}

fn timestamp(micros: i128) -> Timestamp {
    let clamped = micros.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    Timestamp::from_micros(i64::try_from(clamped).unwrap_or(i64::MAX))
}

impl ServerClock {
    /// Takes in one reply: when it was sent for, when it was complete, what its `Date` said.
    pub fn handle_date(&mut self, sent: Instant, received: Instant, date: Timestamp) {
        let date = i128::from(date.as_micros());
        let told = Bounds {
            low: (date - micros(received)) * MICROS_PER_DRIFT,
            high: (date + 1_000_000 - micros(sent)) * MICROS_PER_DRIFT,
            at: micros(received),
        };
        let agreed = match self.bounds {
            None => Some(told),
            Some(known) => known.widened_to(told.at).intersect(told),
        };
        self.in_doubt = agreed.is_none();
        self.contradictions += u64::from(agreed.is_none());
        self.bounds = Some(agreed.unwrap_or(told));
    }

    /// Whether the server's time is known: at least one reply spoke, and the newest one agrees
    /// with those before it.
    #[must_use]
    pub const fn known(&self) -> bool {
        self.bounds.is_some() && !self.in_doubt
    }

    /// How many replies contradicted what was known.
    #[must_use]
    pub const fn contradictions(&self) -> u64 {
        self.contradictions
    }

    /// The earliest it can have been at the server at `at`; nothing before the first reply.
    #[must_use]
    pub fn earliest(&self, at: Instant) -> Option<Timestamp> {
        let bounds = self.bounds?.widened_to(micros(at));
        Some(timestamp(
            micros(at) + bounds.low.div_euclid(MICROS_PER_DRIFT),
        ))
    }

    /// The latest it can have been at the server at `at`; nothing before the first reply.
    #[must_use]
    pub fn latest(&self, at: Instant) -> Option<Timestamp> {
        let bounds = self.bounds?.widened_to(micros(at));
        Some(timestamp(
            micros(at) + bounds.high.div_euclid(MICROS_PER_DRIFT) + 1,
        ))
    }

    /// How far the estimate can be off.
    #[must_use]
    pub fn uncertainty(&self, at: Instant) -> Option<Duration> {
        let bounds = self.bounds?.widened_to(micros(at));
        let width = (bounds.high - bounds.low) / MICROS_PER_DRIFT + 1;
        u64::try_from(width).ok().map(Duration::from_micros)
    }

    /// The first moment at which [`Self::earliest`] says that `time` has come, should no reply
    /// come before it.
    #[must_use]
    pub fn when(&self, time: Timestamp) -> Option<Instant> {
        let bounds = self.bounds?;
        let undrifted = i128::from(time.as_micros()) - bounds.low.div_euclid(MICROS_PER_DRIFT);
        let ahead = (undrifted - bounds.at).max(0);
        // Solves t - (t - at) / MICROS_PER_DRIFT = undrifted, rounded up.
        let at = undrifted + ahead / (MICROS_PER_DRIFT - 1) + 2;
        let at = u64::try_from(at.max(0)).unwrap_or(u64::MAX);
        Some(Instant::from_origin(Duration::from_micros(at)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_origin(Duration::from_micros(micros))
    }

    #[test]
    fn a_contradiction_leaves_the_time_unknown_until_a_reply_confirms_it() {
        let mut clock = ServerClock::default();
        assert!(!clock.known());
        clock.handle_date(at(0), at(1000), Timestamp::from_seconds(100));
        assert!(clock.known());
        clock.handle_date(at(2_000_000), at(2_001_000), Timestamp::from_seconds(400));
        assert!(!clock.known());
        assert_eq!(clock.contradictions(), 1);
        clock.handle_date(at(3_000_000), at(3_001_000), Timestamp::from_seconds(401));
        assert!(clock.known());
    }

    proptest! {
        #[test]
        fn the_estimate_is_never_late_and_the_true_time_lies_in_it(
            offset in 0_i64..4_000_000_000_000_000,
            // Of a server clock that drifts by at most half of what is assumed.
            drift in -50_i64..=50,
            calls in prop::collection::vec((1_u64..300_000_000, 0_u64..2_000_000, 0_u64..1000), 1..30),
        ) {
            let server = |at: u64| {
                let at = i64::try_from(at).unwrap();
                offset + at + at * drift / 1_000_000
            };
            let mut clock = ServerClock::default();
            let mut now = 0;
            for (pause, round_trip, made_after) in calls {
                now += pause;
                let (sent, received) = (now, now + round_trip);
                let made = sent + round_trip * made_after / 1000;
                let date = Timestamp::from_seconds(server(made).div_euclid(1_000_000));
                clock.handle_date(at(sent), at(received), date);
                now = received;
                prop_assert!(clock.known());
                for later in [received, received + 140_000_000] {
                    let earliest = clock.earliest(at(later)).unwrap();
                    let truth = Timestamp::from_micros(server(later));
                    prop_assert!(earliest <= truth, "{earliest} is after {truth}");
                    prop_assert!(truth <= earliest + clock.uncertainty(at(later)).unwrap());
                    let latest = clock.latest(at(later)).unwrap();
                    prop_assert!(latest >= truth, "{latest} is before {truth}");
                }
            }
            let target = clock.earliest(at(now)).unwrap() + Duration::from_secs(136);
            let when = clock.when(target).unwrap();
            prop_assert!(clock.earliest(when).unwrap() >= target);
            let just_before = at(u64::try_from(when.since_origin().as_micros()).unwrap() - 50);
            prop_assert!(clock.earliest(just_before).unwrap() < target);
        }
    }
}
