//! The door of the daemon to its store.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::core::budget::BudgetRecord;
use crate::core::delivery::Delivery;
use crate::core::event::EventId;
use crate::core::id::{InstanceId, ReceiverName, ScopeName};
use crate::core::time::Timestamp;
use crate::core::watch::WatchRecord;

use super::due::Except;
use super::error::{
    CommitError, OpenError, ReadError, ReaderOpenError, SettleError, StoreFailure, Unavailable,
};
use super::folder::LockedFolder;
use super::read_thread::{self, Read, Reply};
use super::reader::{OutboxSummary, StoreReader, StoredAttempt, StoredDelivery, StoredEvent};
use super::request::{Ask, Commit, Committed, EndedWatches, Settlement, SpentBudget, Write};
use super::writer::{Health, Writer};
use super::{settle, sqlite};

/// How many requests may wait for the writing thread; who comes later waits before asking. Four
/// groups: more would only add waiting.
const QUEUE: usize = 1024;

/// The durable state of a daemon. Cheap to clone; all clones are doors to the same threads.
///
/// A request that was sent is carried out even if the future that waits for it is dropped.
#[derive(Debug, Clone)]
pub struct Store {
    writes: mpsc::Sender<Write>,
    /// For the deliverer, so that nobody who pages through the history holds it up.
    due_reads: mpsc::Sender<Read>,
    history_reads: mpsc::Sender<Read>,
    health: watch::Receiver<Health>,
    closing: Arc<AtomicBool>,
}

impl Store {
    /// Opens the store in a state folder, made where it is missing, and takes the folder's lock.
    /// Blocks, for as long as a migration takes.
    ///
    /// # Errors
    /// The folder cannot be used or another daemon uses it, the schema is newer than this
    /// program, SQLite refuses, or the system gives no threads.
    pub fn open(folder: &Path, clock: Clock) -> Result<Self, OpenError> {
        let (store, writer) = Self::prepare(folder, clock)?;
        writer.start().map_err(OpenError::Thread)?;
        Ok(store)
    }

    /// Everything but the start of the writing thread.
    pub(super) fn prepare(folder: &Path, clock: Clock) -> Result<(Self, Writer), OpenError> {
        let locked = LockedFolder::take(folder)?;
        let connection = sqlite::open_writer(&locked.database)?;
        settle::bring_back_parked(&connection, clock.steady()).map_err(|source| {
            OpenError::Sqlite {
                step: "look for what is due in",
                path: locked.database.clone(),
                source,
            }
        })?;
        let (writes, requests) = mpsc::channel(QUEUE);
        let (health, watched) = watch::channel(Health::Ok);
        let closing = Arc::new(AtomicBool::new(false));
        let store = Self {
            writes,
            due_reads: start_reader("store-due", folder)?,
            history_reads: start_reader("store-history", folder)?,
            health: watched,
            closing: closing.clone(),
        };
        let writer = Writer {
            connection,
            folder: locked,
            clock,
            requests,
            health,
            closing,
            #[cfg(test)]
            probe: Arc::default(),
        };
        Ok((store, writer))
    }

    /// Stores watches with their events and deliveries, in this order and in one transaction.
    /// Once answered they are on the disk.
    ///
    /// # Errors
    /// One of them is refused, and so all are; or the store is gone.
    pub async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Committed>, CommitError> {
        self.write(commits, Write::Commit).await
    }

    /// Forgets watches that have ended; their events and deliveries stay. Returns how many of
    /// them there were.
    ///
    /// # Errors
    /// The store is gone.
    pub async fn remove_watches(
        &self,
        scope: ScopeName,
        instances: Vec<InstanceId>,
    ) -> Result<usize, Unavailable> {
        self.write(EndedWatches { scope, instances }, Write::RemoveWatches)
            .await
    }

    /// Stores what is spent of a budget. Once answered, the calls it reserves may be made.
    ///
    /// # Errors
    /// The store is gone.
    pub async fn save_budget(&self, name: String, record: BudgetRecord) -> Result<(), Unavailable> {
        self.write(SpentBudget { name, record }, Write::SaveBudget)
            .await
    }

    /// Stores how an attempt ended and what follows for its lane.
    ///
    /// Delivered and dead: the delivery ends, and the next one of the lane is due at once. Retry:
    /// the attempt is counted, and the lane is due again after the delay. Hold: the same without
    /// counting; it is for the caller to hold the other lanes of the receiver (see [`Except`]).
    ///
    /// # Errors
    /// The delivery does not head its lane, or the store is gone.
    pub async fn settle(&self, settlement: Settlement) -> Result<(), SettleError> {
        self.write(settlement, Write::Settle).await
    }

    /// Settles, with the reason [`super::RECEIVER_REMOVED`], everything that waits for receivers
    /// other than these. Returns how many deliveries that were.
    ///
    /// # Errors
    /// The store is gone.
    pub async fn settle_removed_receivers(
        &self,
        configured: &[ReceiverName],
    ) -> Result<u64, Unavailable> {
        self.write(configured.to_vec(), Write::SettleRemovedReceivers)
            .await
    }

    /// See [`StoreReader::watches`].
    ///
    /// # Errors
    /// It cannot be read, or the store is closed.
    pub async fn load_watches(&self, scope: &ScopeName) -> Result<Vec<WatchRecord>, ReadError> {
        read(&self.history_reads, |reply| {
            Read::Watches(scope.clone(), reply)
        })
        .await
    }

    /// See [`StoreReader::budget`].
    ///
    /// # Errors
    /// It cannot be read, or the store is closed.
    pub async fn load_budget(&self, name: &str) -> Result<Option<BudgetRecord>, ReadError> {
        read(&self.history_reads, |reply| {
            Read::Budget(name.to_owned(), reply)
        })
        .await
    }

    /// See [`StoreReader::due_deliveries`]. It sees every settlement answered before it is asked.
    ///
    /// # Errors
    /// It cannot be read, or the store is closed.
    pub async fn due_deliveries(
        &self,
        now: Timestamp,
        limit: usize,
        except: Except,
    ) -> Result<Vec<Delivery>, ReadError> {
        read(&self.due_reads, |reply| Read::Due {
            now,
            limit,
            except,
            reply,
        })
        .await
    }

    /// See [`StoreReader::next_due`].
    ///
    /// # Errors
    /// It cannot be read, or the store is closed.
    pub async fn next_due(&self, except: Except) -> Result<Option<Timestamp>, ReadError> {
        read(&self.due_reads, |reply| Read::NextDue(except, reply)).await
    }

    /// See [`StoreReader::outbox`].
    ///
    /// # Errors
    /// It cannot be read, or the store is closed.
    pub async fn outbox(&self) -> Result<OutboxSummary, ReadError> {
        read(&self.history_reads, Read::Outbox).await
    }

    /// See [`StoreReader::events`].
    ///
    /// # Errors
    /// It cannot be read, or the store is closed.
    pub async fn events(&self, after: u64, limit: usize) -> Result<Vec<StoredEvent>, ReadError> {
        read(&self.history_reads, |reply| Read::Events {
            after,
            limit,
            reply,
        })
        .await
    }

    /// See [`StoreReader::deliveries_of`].
    ///
    /// # Errors
    /// It cannot be read, or the store is closed.
    pub async fn deliveries_of(&self, event: EventId) -> Result<Vec<StoredDelivery>, ReadError> {
        read(&self.history_reads, |reply| {
            Read::DeliveriesOf(event, reply)
        })
        .await
    }

    /// See [`StoreReader::attempts_of`].
    ///
    /// # Errors
    /// It cannot be read, or the store is closed.
    pub async fn attempts_of(&self, event: EventId) -> Result<Vec<StoredAttempt>, ReadError> {
        read(&self.history_reads, |reply| Read::AttemptsOf(event, reply)).await
    }

    /// Whether the store commits, and every change of that.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Waits until the store has stopped for good; for ever where it never does, or is closed.
    /// The daemon then has to end: only a new start reads what is on the disk.
    pub async fn failed(&self) -> StoreFailure {
        let mut health = self.health.clone();
        let ended = health
            .wait_for(|health| matches!(health, Health::Failed(_) | Health::Closed))
            .await
            .map(|health| health.clone());
        match ended {
            Ok(Health::Failed(failure)) => failure,
            Ok(Health::Ok | Health::Full { .. } | Health::Closed) => std::future::pending().await,
            Err(_) => StoreFailure::WriterEnded,
        }
    }

    /// Ends the threads after what they are at, and waits until the file is closed and the lock
    /// released. Requests that come later, through whichever clone, find the store closed.
    pub async fn close(self) {
        // The writer last: the connection that is closed last tidies the log away.
        for reads in [&self.due_reads, &self.history_reads] {
            reads.send(Read::Close).await.ok();
            reads.closed().await;
        }
        self.closing.store(true, Ordering::Release);
        self.writes.send(Write::Close).await.ok();
        self.writes.closed().await;
    }

    async fn write<Q, T, E: From<Unavailable>>(
        &self,
        question: Q,
        write: impl FnOnce(Ask<Q, T, E>) -> Write,
    ) -> Result<T, E> {
        let (ask, answer) = Ask::new(question);
        if self.writes.send(write(ask)).await.is_err() {
            return Err(self.unavailable().into());
        }
        answer
            .await
            .unwrap_or_else(|_| Err(self.unavailable().into()))
    }

    /// Why the writing thread does not answer any more.
    fn unavailable(&self) -> Unavailable {
        match &*self.health.borrow() {
            Health::Failed(failure) => Unavailable::Fatal(failure.clone()),
            Health::Closed => Unavailable::Closed,
            Health::Ok | Health::Full { .. } => Unavailable::Fatal(StoreFailure::WriterEnded),
        }
    }
}

fn start_reader(name: &str, folder: &Path) -> Result<mpsc::Sender<Read>, OpenError> {
    let reader = StoreReader::open(folder).map_err(|error| match error {
        ReaderOpenError::Sqlite { path, source } => OpenError::Sqlite {
            step: "read",
            path,
            source,
        },
        ReaderOpenError::Schema { path, found, known } => {
            OpenError::NewerSchema { path, found, known }
        }
    })?;
    read_thread::start(name, reader).map_err(OpenError::Thread)
}

async fn read<T>(
    reads: &mpsc::Sender<Read>,
    request: impl FnOnce(Reply<T>) -> Read,
) -> Result<T, ReadError> {
    let (reply, answer) = oneshot::channel();
    let sent = reads.send(request(reply)).await;
    sent.map_err(|_| ReadError::Closed)?;
    answer.await.unwrap_or(Err(ReadError::Closed))
}
