//! The one loop through which everything goes that changes a fleet: answers, timers, commits.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use thiserror::Error;
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::core::event::EventType;
use crate::core::time::Instant;
use crate::store::{Commit, CommitError, Committed, Health, Store, Unavailable};

use super::poller::{Polled, Poller};
use super::scope::{Scope, Subscriptions};
use super::scopes::Scopes;
use super::snapshot::Snapshot;
use super::supervise::{Stop, TaskFailure};

/// How many changes go to the store in one request: the size of one group commit.
const COMMITS_PER_REQUEST: usize = 256;

/// Why the dispatcher gave up.
#[derive(Debug, Error)]
pub(super) enum DispatchError {
    /// Phases could not be made durable; whether they were is read at the next start.
    #[error("failed to commit changes")]
    Commit(#[from] CommitError),
    /// What calls are made could not be made durable.
    #[error("failed to store the calls that are made")]
    Record(#[from] Unavailable),
    /// A call panicked.
    #[error(transparent)]
    Call(#[from] TaskFailure),
}

/// What happens to a dispatcher.
enum Happening {
    Polled(Polled),
    Committed(Requested),
    /// The budget of this index is on the disk.
    Recorded(usize, Result<(), Unavailable>),
    /// The disk is full, or is not any more.
    Health,
    Timeout,
    Stop,
}

/// How often the dispatcher turns at least, and who hears that it does.
pub(super) struct Pace {
    interval: Option<Duration>,
    turns: watch::Sender<()>,
}

impl Pace {
    /// Without an interval it turns only when something happens.
    pub(super) fn new(interval: Option<Duration>) -> (Self, watch::Receiver<()>) {
        let (turns, heard) = watch::channel(());
        (Self { interval, turns }, heard)
    }

    /// Says that one more turn is done, and gives when the next one must be.
    fn turned(&self, now: Instant) -> Option<Instant> {
        self.turns.send_replace(());
        self.interval.map(|interval| now + interval)
    }
}

/// A request to the store that has ended: what was asked for, and what became of it.
type Requested = (Vec<Told>, Result<Vec<Committed>, CommitError>);

/// What is said of a change once it is durable.
struct Told {
    scope: usize,
    event_type: Option<EventType>,
    reason: String,
}

type Request = Pin<Box<dyn Future<Output = Requested> + Send>>;

type Recording = Pin<Box<dyn Future<Output = (usize, Result<(), Unavailable>)> + Send>>;

/// Owns all fleets.
pub(super) struct Dispatcher {
    scopes: Scopes,
    wanted: Subscriptions,
    poller: Poller,
    store: Store,
    requests: FuturesUnordered<Request>,
    recordings: FuturesUnordered<Recording>,
    health: watch::Receiver<Health>,
    /// Rung when there is something to deliver.
    outbox: Arc<Notify>,
    snapshot: watch::Sender<Snapshot>,
    events: BTreeMap<EventType, u64>,
    clock: Clock,
}

impl Dispatcher {
    pub(super) fn new(
        scopes: Scopes,
        wanted: Subscriptions,
        poller: Poller,
        store: Store,
        outbox: Arc<Notify>,
        snapshot: watch::Sender<Snapshot>,
        clock: Clock,
    ) -> Self {
        Self {
            scopes,
            wanted,
            poller,
            health: store.health(),
            store,
            requests: FuturesUnordered::new(),
            recordings: FuturesUnordered::new(),
            outbox,
            snapshot,
            events: BTreeMap::new(),
            clock,
        }
    }

    /// Runs until it is to stop, and until what it had decided by then is committed. Calls that
    /// are under way then are dropped: nothing was learned from them yet.
    pub(super) async fn run(mut self, mut stop: Stop, pace: Pace) -> Result<(), DispatchError> {
        loop {
            self.start_calls();
            self.request_commits();
            self.request_records();
            self.publish();
            let latest = pace.turned(self.clock.now());
            match self.next_happening(&mut stop, latest).await? {
                Happening::Polled(polled) => self.scopes.handle_polled(&polled),
                Happening::Committed((told, result)) => self.handle_committed(told, result)?,
                Happening::Recorded(budget, result) => {
                    result?;
                    self.handle_recorded(budget);
                }
                Happening::Health => self.handle_health(),
                Happening::Timeout => self.scopes.handle_timeout(self.clock.now()),
                Happening::Stop => break,
            }
        }
        self.request_commits();
        while let Some((told, result)) = self.requests.next().await {
            self.handle_committed(told, result)?;
        }
        self.record_for_the_last_time().await?;
        self.publish();
        Ok(())
    }

    /// Waits for what comes first, and not past `latest`.
    async fn next_happening(
        &mut self,
        stop: &mut Stop,
        latest: Option<Instant>,
    ) -> Result<Happening, TaskFailure> {
        let timeout = self.scopes.next_timeout().into_iter().chain(latest).min();
        let clock = self.clock;
        tokio::select! {
            () = stop.requested() => Ok(Happening::Stop),
            Some(requested) = self.requests.next() => Ok(Happening::Committed(requested)),
            Some((budget, result)) = self.recordings.next() => {
                Ok(Happening::Recorded(budget, result))
            }
            Ok(()) = self.health.changed() => Ok(Happening::Health),
            polled = self.poller.next() => polled.map(Happening::Polled),
            () = sleep_until(timeout, clock) => Ok(Happening::Timeout),
        }
    }

    fn start_calls(&mut self) {
        for (index, scope) in self.scopes.list.iter_mut().enumerate() {
            while let Some(batch) = scope.fleet.poll_batch() {
                self.poller.start(index, batch);
            }
        }
    }

    /// Hands every change to the store. Nothing is told to anybody before it is durable.
    fn request_commits(&mut self) {
        for (index, scope) in self.scopes.list.iter_mut().enumerate() {
            loop {
                let commits: Vec<Commit> =
                    std::iter::from_fn(|| scope.poll_commit(&self.wanted, self.clock))
                        .take(COMMITS_PER_REQUEST)
                        .collect();
                if commits.is_empty() {
                    break;
                }
                let told = commits.iter().map(|commit| told(index, commit)).collect();
                let store = self.store.clone();
                self.requests
                    .push(Box::pin(async move { (told, store.commit(commits).await) }));
            }
        }
    }

    /// Writes down which calls are going to be made.
    fn request_records(&mut self) {
        let (now, calendar) = (self.clock.now(), self.clock.steady());
        for (index, shared) in self.scopes.budgets.iter_mut().enumerate() {
            if let Some(record) = shared.budget.poll_record(now, calendar) {
                let (store, name) = (self.store.clone(), shared.name.clone());
                self.recordings.push(Box::pin(async move {
                    (index, store.save_budget(name, record).await)
                }));
            }
        }
    }

    /// Gives back what was reserved and is not going to be called. A disk that is full now must not
    /// hold up the end.
    async fn record_for_the_last_time(&mut self) -> Result<(), Unavailable> {
        if matches!(*self.health.borrow(), Health::Full { .. }) {
            return Ok(());
        }
        let (now, calendar) = (self.clock.now(), self.clock.steady());
        for shared in &self.scopes.budgets {
            if let Some(record) = shared.budget.last_record(now, calendar) {
                self.store.save_budget(shared.name.clone(), record).await?;
            }
        }
        Ok(())
    }

    fn handle_recorded(&mut self, budget: usize) {
        if let Some(shared) = self.scopes.budgets.get_mut(budget) {
            shared.budget.handle_recorded();
        }
    }

    fn handle_health(&mut self) {
        let full = matches!(*self.health.borrow_and_update(), Health::Full { .. });
        for shared in &mut self.scopes.budgets {
            shared.budget.set_recordable(!full);
        }
    }

    fn handle_committed(
        &mut self,
        told: Vec<Told>,
        result: Result<Vec<Committed>, CommitError>,
    ) -> Result<(), DispatchError> {
        let mut any_event = false;
        for (told, committed) in told.into_iter().zip(result?) {
            let Some(scope) = self.scopes.list.get_mut(told.scope) else {
                continue;
            };
            scope
                .fleet
                .handle_committed(&committed.instance, committed.sequence);
            if let (Some(event_type), Some(event_id)) = (told.event_type, &committed.event) {
                any_event = true;
                *self.events.entry(event_type).or_default() += 1;
                let Committed {
                    instance, sequence, ..
                } = &committed;
                tracing::info!(scope = %scope.name, %instance, %event_id, sequence, reason = told.reason, "{event_type}");
            }
        }
        if any_event {
            self.outbox.notify_one();
        }
        Ok(())
    }

    fn publish(&self) {
        let scopes = self.scopes.list.iter().map(Scope::snapshot).collect();
        let newest = Snapshot {
            scopes,
            events: self.events.clone(),
        };
        self.snapshot.send_if_modified(|known| {
            let changed = *known != newest;
            *known = newest;
            changed
        });
    }
}

fn told(scope: usize, commit: &Commit) -> Told {
    Told {
        scope,
        event_type: commit.event.as_ref().map(|event| event.event_type),
        reason: commit.record.reason.message.clone(),
    }
}

async fn sleep_until(timeout: Option<Instant>, clock: Clock) {
    match timeout {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}
