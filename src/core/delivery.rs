//! Deliveries: what an answer of a receiver means, and when the next attempt is due.
//!
//! One event to one receiver is a delivery; one try of it is an attempt. A lane is one (receiver,
//! instance): one delivery in flight, in order of `sequence`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::event::EventId;
use super::id::{InstanceId, ReceiverName, ScopeName};
use super::time::Timestamp;

/// One (receiver, instance): what orders and what waits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// To whom.
    pub receiver: ReceiverName,
    /// In which scope.
    pub scope: ScopeName,
    /// About which instance.
    pub instance: InstanceId,
}

/// The head of a lane: the delivery that is to be attempted next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Where it queues.
    pub lane: Lane,
    /// The event's place in its lane.
    pub sequence: u64,
    /// The event, stable over retries.
    pub event_id: EventId,
    /// The bytes that were stored with the commit, the same at every attempt.
    pub body: Vec<u8>,
    /// Attempts made so far that counted.
    pub attempts: u32,
    /// When the event was committed.
    pub committed: Timestamp,
}

/// What kind of failure an attempt ended in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The receiver asks for less (429, 503): it is held as a whole, the attempt does not count.
    Throttled,
    /// It may work next time: time-outs, resets, 5xx.
    Transient,
    /// The receiver does not want this one (400, 413, 415, 422): it must not block its lane.
    PayloadRejected,
    /// The receiver is set up wrongly (401, 403, 404, 3xx, TLS, ...): nothing is dropped for it.
    ReceiverConfig,
}

/// An attempt that did not deliver.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct DeliveryFailure {
    /// What it means.
    pub class: FailureClass,
    /// What happened, without secrets: no path and no query of a URL.
    pub message: String,
    /// What the receiver asked for with `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// Why a delivery is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// It could not be delivered within `max_age`.
    MaxAge,
    /// The receiver refused this payload three times.
    PayloadRejected,
}

impl DeadReason {
    /// The reason as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxAge => "max_age",
            Self::PayloadRejected => "payload_rejected",
        }
    }
}

/// What is to happen after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It arrived: the lane moves on.
    Delivered,
    /// The attempt counted; the next one after this delay.
    Retry(Duration),
    /// The whole receiver waits this long; the attempt did not count.
    HoldReceiver(Duration),
    /// It ends here; the lane moves on.
    Dead(DeadReason),
}

/// When a delivery that failed is tried again, and when it ends.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// The delay after the first, second, ... attempt; the last one repeats. State news ages
    /// fast, so it begins at one second.
    pub schedule: Vec<Duration>,
    /// How far a delay may move up or down, as a fraction of itself.
    pub jitter: f64,
    /// How long after its commit a delivery is given up.
    pub max_age: Duration,
    /// How many times a payload may be refused before it is given up.
    pub max_rejections: u32,
    /// The longest that `Retry-After` can hold a receiver.
    pub max_hold: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            schedule: [1, 5, 30, 120, 300, 600].map(Duration::from_secs).to_vec(),
            jitter: 0.2,
            max_age: Duration::from_secs(24 * 3600),
            max_rejections: 3,
            max_hold: Duration::from_secs(3600),
        }
    }
}

impl RetryPolicy {
    /// The delay after attempt number `attempts` (from 1), with `unit` in 0..1 placing it within
    /// the jitter.
    #[must_use]
    pub fn delay(&self, attempts: u32, unit: f64) -> Duration {
        let last = self.schedule.len().saturating_sub(1);
        let index = usize::try_from(attempts.saturating_sub(1)).map_or(last, |i| i.min(last));
        let base = self
            .schedule
            .get(index)
            .copied()
            .unwrap_or(Duration::from_secs(1));
        let unit = if unit.is_finite() {
            unit.clamp(0.0, 1.0)
        } else {
            0.5
        };
        base.mul_f64(1.0 + self.jitter.clamp(0.0, 1.0) * (2.0 * unit - 1.0))
    }

    /// What follows from the outcome of an attempt.
    ///
    /// `attempts` counts this one; `age` is the time since the commit.
    #[must_use]
    pub fn judge(
        &self,
        outcome: &Result<(), DeliveryFailure>,
        attempts: u32,
        age: Duration,
        unit: f64,
    ) -> Verdict {
        let Err(failure) = outcome else {
            return Verdict::Delivered;
        };
        if age >= self.max_age {
            return Verdict::Dead(DeadReason::MaxAge);
        }
        let delay = self.delay(attempts, unit);
        match failure.class {
            FailureClass::Throttled => {
                let asked = failure.retry_after.unwrap_or(delay);
                Verdict::HoldReceiver(asked.clamp(delay.min(self.max_hold), self.max_hold))
            }
            FailureClass::PayloadRejected if attempts >= self.max_rejections => {
                Verdict::Dead(DeadReason::PayloadRejected)
            }
            FailureClass::Transient
            | FailureClass::PayloadRejected
            | FailureClass::ReceiverConfig => Verdict::Retry(delay),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failure(class: FailureClass, retry_after: Option<u64>) -> Result<(), DeliveryFailure> {
        Err(DeliveryFailure {
            class,
            message: "refused".to_owned(),
            retry_after: retry_after.map(Duration::from_secs),
        })
    }

    const DAY: u64 = 24 * 3600;

    /// The verdict on an outcome after this many attempts, this many seconds after the commit.
    fn verdict(outcome: &Result<(), DeliveryFailure>, attempts: u32, age: u64) -> Verdict {
        RetryPolicy::default().judge(outcome, attempts, Duration::from_secs(age), 0.5)
    }

    #[test]
    fn failures_follow_the_schedule_until_the_delivery_is_too_old() {
        use FailureClass::{ReceiverConfig, Transient};
        for (class, attempts, delay) in [
            (Transient, 1, 1),
            (Transient, 3, 30),
            (Transient, 50, 600),
            (ReceiverConfig, 99, 600),
        ] {
            let expected = Verdict::Retry(Duration::from_secs(delay));
            assert_eq!(
                verdict(&failure(class, None), attempts, 9),
                expected,
                "{class:?}"
            );
        }
        let too_old = verdict(&failure(Transient, None), 50, DAY);
        assert_eq!(too_old, Verdict::Dead(DeadReason::MaxAge));
        assert_eq!(verdict(&Ok(()), 50, DAY), Verdict::Delivered);
    }

    #[test]
    fn a_payload_refused_three_times_leaves_its_lane() {
        let refused = failure(FailureClass::PayloadRejected, None);
        assert_eq!(
            verdict(&refused, 2, 9),
            Verdict::Retry(Duration::from_secs(5))
        );
        assert_eq!(
            verdict(&refused, 3, 9),
            Verdict::Dead(DeadReason::PayloadRejected)
        );
    }

    #[test]
    fn retry_after_holds_the_receiver_between_the_schedule_and_one_hour() {
        for (asked, expected) in [
            (Some(40), 40),
            (Some(0), 1),
            (Some(90_000), 3600),
            (None, 1),
        ] {
            let throttled = failure(FailureClass::Throttled, asked);
            let expected = Verdict::HoldReceiver(Duration::from_secs(expected));
            assert_eq!(verdict(&throttled, 1, 9), expected, "{asked:?}");
        }
    }

    proptest! {
        #[test]
        fn a_delay_stays_within_its_jitter_and_never_shrinks_along_the_schedule(
            attempts in 1_u32..200,
            unit in 0.0_f64..=1.0,
        ) {
            let policy = RetryPolicy::default();
            let middle = policy.delay(attempts, 0.5);
            let delay = policy.delay(attempts, unit);
            prop_assert!(delay >= middle.mul_f64(0.799) && delay <= middle.mul_f64(1.201));
            prop_assert!(policy.delay(attempts + 1, 0.5) >= middle);
        }
    }
}
