//! Carries committed events to their receivers: several lanes at once, each lane in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::core::delivery::{Delivery, DeliveryFailure, Lane, RetryPolicy, Verdict};
use crate::core::id::ReceiverName;
use crate::core::time::Instant;
use crate::notify::Receiver;
use crate::store::{Except, ReadError, SettleError, Settlement, Store};

use super::supervise::{Jobs, Stop, TaskFailure};

/// The longest sleep without a look at the outbox. Only a second line of defence: whatever makes
/// a delivery due also rings.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// How many deliveries may be under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Over all receivers.
    pub(super) in_flight: usize,
    /// To one of them.
    pub(super) in_flight_per_receiver: usize,
}

/// Why the deliverer gave up.
#[derive(Debug, Error)]
pub(super) enum DeliverError {
    /// The outbox could not be read.
    #[error("failed to look for what is to be delivered")]
    Read(#[from] ReadError),
    /// The outcome of an attempt could not be stored: after the restart it is made again.
    #[error("failed to store the outcome of an attempt")]
    Settle(#[from] SettleError),
    /// An attempt panicked.
    #[error(transparent)]
    Attempt(#[from] TaskFailure),
}

/// An attempt whose outcome is stored.
#[derive(Debug)]
struct Settled {
    lane: Lane,
    verdict: Verdict,
}

/// What the attempts share.
#[derive(Debug)]
struct Shared {
    store: Store,
    policy: RetryPolicy,
    clock: Clock,
}

/// Attempts deliveries as they become due.
#[derive(Debug)]
pub(super) struct Deliverer {
    receivers: BTreeMap<ReceiverName, Arc<Receiver>>,
    shared: Arc<Shared>,
    limits: Limits,
    outbox: Arc<Notify>,
    /// Lanes with an attempt under way.
    busy: BTreeSet<Lane>,
    /// Receivers that asked to be left alone, until when.
    held: BTreeMap<ReceiverName, Instant>,
    attempts: Jobs<Result<Settled, SettleError>>,
}

impl Deliverer {
    pub(super) fn new(
        receivers: Vec<Receiver>,
        store: Store,
        policy: RetryPolicy,
        limits: Limits,
        outbox: Arc<Notify>,
        clock: Clock,
    ) -> Self {
        let named = receivers
            .into_iter()
            .map(|receiver| (receiver.name().clone(), receiver.into()));
        Self {
            receivers: named.collect(),
            shared: Arc::new(Shared {
                store,
                policy,
                clock,
            }),
            limits,
            outbox,
            busy: BTreeSet::new(),
            held: BTreeMap::new(),
            attempts: Jobs::new(),
        }
    }

    /// Runs until it is to stop, and then until nothing is due: what waits for its next attempt
    /// stays for the next start.
    pub(super) async fn run(mut self, mut stop: Stop) -> Result<(), DeliverError> {
        let outbox = Arc::clone(&self.outbox);
        loop {
            // Before looking, so that what is committed meanwhile rings.
            let rung = outbox.notified();
            let wake = self.start_attempts().await?;
            let stopping = stop.is_requested();
            if stopping && self.attempts.is_empty() {
                return Ok(());
            }
            tokio::select! {
                settled = self.attempts.next("attempt") => self.handle_settled(settled??),
                () = rung => {}
                () = self.shared.clock.sleep_until(wake) => {}
                () = stop.requested(), if !stopping => {}
            }
        }
    }

    /// Starts every attempt that is due and may be made, and gives the time of the next look.
    async fn start_attempts(&mut self) -> Result<Instant, DeliverError> {
        let clock = self.shared.clock;
        let now = clock.now();
        self.held.retain(|_, until| *until > now);
        let free = self.limits.in_flight.saturating_sub(self.attempts.len());
        let mut wake = now + LONGEST_SLEEP;
        if free == 0 {
            return Ok(wake);
        }
        let due = self
            .shared
            .store
            .due_deliveries(clock.steady(), free, self.except())
            .await?;
        let mut started = 0;
        for delivery in due {
            if self.in_flight_to(&delivery.lane.receiver) < self.limits.in_flight_per_receiver {
                self.start_attempt(delivery);
                started += 1;
            }
        }
        if started < free {
            let next = self.shared.store.next_due(self.except()).await?;
            let wait = next.map(|at| at.saturating_since(clock.steady()));
            wake = wait.map_or(wake, |wait| wake.min(clock.now() + wait));
        }
        Ok(self
            .held
            .values()
            .fold(wake, |wake, until| wake.min(*until)))
    }

    /// What is not to be looked at: lanes that are busy, receivers that are held or have enough.
    fn except(&self) -> Except {
        let full = |name: &&ReceiverName| {
            self.held.contains_key(*name)
                || self.in_flight_to(name) >= self.limits.in_flight_per_receiver
        };
        Except {
            receivers: self.receivers.keys().filter(full).cloned().collect(),
            lanes: self.busy.clone(),
        }
    }

    fn in_flight_to(&self, receiver: &ReceiverName) -> usize {
        self.busy
            .iter()
            .filter(|lane| lane.receiver == *receiver)
            .count()
    }

    fn start_attempt(&mut self, delivery: Delivery) {
        let Some(receiver) = self.receivers.get(&delivery.lane.receiver).map(Arc::clone) else {
            tracing::error!(receiver = %delivery.lane.receiver, "a delivery waits for a receiver that is not configured");
            return;
        };
        self.busy.insert(delivery.lane.clone());
        let shared = Arc::clone(&self.shared);
        self.attempts
            .start(async move { attempt(&receiver, delivery, &shared).await });
    }

    fn handle_settled(&mut self, settled: Settled) {
        self.busy.remove(&settled.lane);
        if let Verdict::HoldReceiver(delay) = settled.verdict {
            let until = self.shared.clock.now() + delay;
            self.held.insert(settled.lane.receiver, until);
        }
    }
}

/// One try of one delivery, and what follows from it made durable.
async fn attempt(
    receiver: &Receiver,
    delivery: Delivery,
    shared: &Shared,
) -> Result<Settled, SettleError> {
    let Shared {
        store,
        policy,
        clock,
    } = shared;
    let (started, began) = (clock.wall(), clock.now());
    let answer = receiver.deliver(&delivery).await;
    let duration = clock.now().saturating_since(began);
    let (result, outcome) = match answer {
        Ok(receipt) => (receipt.detail, Ok(())),
        Err(failure) => (failure.message.clone(), Err(failure)),
    };
    let attempts = delivery.attempts.saturating_add(1);
    let age = clock.steady().saturating_since(delivery.committed);
    let verdict = policy.judge(&outcome, attempts, age, rand::random());
    log_attempt(&delivery, &outcome, verdict, duration);
    let Delivery {
        lane,
        sequence,
        event_id,
        ..
    } = delivery;
    let settlement = Settlement {
        lane: lane.clone(),
        sequence,
        event_id,
        verdict,
        result,
        started,
        duration,
    };
    store.settle(settlement).await?;
    Ok(Settled { lane, verdict })
}

fn log_attempt(
    delivery: &Delivery,
    outcome: &Result<(), DeliveryFailure>,
    verdict: Verdict,
    duration: Duration,
) {
    let Delivery {
        lane,
        event_id,
        attempts,
        ..
    } = delivery;
    let Lane {
        receiver, instance, ..
    } = lane;
    let attempt = attempts.saturating_add(1);
    let duration_ms = duration.as_millis();
    match (outcome, verdict) {
        (Ok(()), _) => {
            tracing::debug!(%receiver, %instance, %event_id, attempt, duration_ms, "delivered");
        }
        (Err(error), Verdict::Dead(reason)) => {
            let reason = reason.as_str();
            tracing::error!(%receiver, %instance, %event_id, attempt, reason, %error, "delivery is dead");
        }
        (Err(error), Verdict::Retry(delay) | Verdict::HoldReceiver(delay)) => {
            let again_in_s = delay.as_secs_f64();
            tracing::warn!(%receiver, %instance, %event_id, attempt, again_in_s, %error, "delivery failed");
        }
        (Err(_), Verdict::Delivered) => {}
    }
}
