//! What can be asked of the writing thread.

use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::core::budget::BudgetRecord;
use crate::core::delivery::{Lane, Verdict};
use crate::core::event::{EventDraft, EventId};
use crate::core::id::{InstanceId, ReceiverName, ScopeName};
use crate::core::time::Timestamp;
use crate::core::watch::WatchRecord;

use super::error::{CommitError, SettleError, Trouble, Unavailable};

/// One watch as it is now, and what is to be told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// The scope of the watch.
    pub scope: ScopeName,
    /// The watch. Its `sequence` is only a floor: the store keeps the higher one.
    pub record: WatchRecord,
    /// The event that goes with it, about the same instance.
    pub event: Option<EventDraft>,
    /// Who wants the event; each gets it once, however often it stands here. Without an event
    /// nobody gets anything.
    pub receivers: Vec<ReceiverName>,
}

/// A commit that is on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The scope of the watch.
    pub scope: ScopeName,
    /// The instance of the watch.
    pub instance: InstanceId,
    /// The sequence of its newest event, this one if there is one; 0 before the first.
    pub sequence: u64,
    /// The event that was stored with it.
    pub event: Option<EventId>,
    /// When it was committed, by this machine's calendar.
    pub time: Timestamp,
}

/// How an attempt of the head of a lane ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The lane.
    pub lane: Lane,
    /// The sequence of the delivery.
    pub sequence: u64,
    /// The event of the delivery.
    pub event_id: EventId,
    /// What follows.
    pub verdict: Verdict,
    /// What the receiver answered, for people and without secrets. Kept up to 2 KiB.
    pub result: String,
    /// When the attempt began, by this machine's calendar.
    pub started: Timestamp,
    /// How long the attempt took.
    pub duration: Duration,
}

/// A request to the writing thread.
#[derive(Debug)]
pub(super) enum Write {
    Commit(Ask<Vec<Commit>, Vec<Committed>, CommitError>),
    RemoveWatches(Ask<EndedWatches, usize, Unavailable>),
    SaveBudget(Ask<SpentBudget, (), Unavailable>),
    Settle(Ask<Settlement, (), SettleError>),
    SettleRemovedReceivers(Ask<Vec<ReceiverName>, u64, Unavailable>),
    /// Wakes the thread so that it sees that it is to end.
    Close,
}

/// A budget as it is to be stored under its name.
#[derive(Debug)]
pub(super) struct SpentBudget {
    pub(super) name: String,
    pub(super) record: BudgetRecord,
}

/// Watches that nothing asks for any more.
#[derive(Debug)]
pub(super) struct EndedWatches {
    pub(super) scope: ScopeName,
    pub(super) instances: Vec<InstanceId>,
}

/// A question with the way back for its answer. Dropped unanswered, it tells the one who asked
/// that the store is gone.
#[derive(Debug)]
pub(super) struct Ask<Q, T, E> {
    question: Q,
    answer: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<Q, T, E> Ask<Q, T, E> {
    pub(super) fn new(question: Q) -> (Self, oneshot::Receiver<Result<T, E>>) {
        let (reply, answered) = oneshot::channel();
        let ask = Self {
            question,
            answer: None,
            reply,
        };
        (ask, answered)
    }

    /// Writes what the question asks for, all of it or, where it is refused, nothing. The answer
    /// is kept back until [`Ask::tell`].
    pub(super) fn apply(
        &mut self,
        connection: &Connection,
        write: impl FnOnce(&Connection, &Q) -> Result<T, Trouble<E>>,
    ) -> rusqlite::Result<()> {
        connection
            .prepare_cached("SAVEPOINT request")?
            .execute([])?;
        self.answer = match write(connection, &self.question) {
            Ok(answer) => Some(Ok(answer)),
            Err(Trouble::Refused(error)) => {
                connection
                    .prepare_cached("ROLLBACK TO request")?
                    .execute([])?;
                Some(Err(error))
            }
            Err(Trouble::Sqlite(error)) => return Err(error),
        };
        connection.prepare_cached("RELEASE request")?.execute([])?;
        Ok(())
    }

    /// Gives the answer to the one who asked, if still there.
    pub(super) fn tell(self) {
        if let Some(answer) = self.answer {
            self.reply.send(answer).ok();
        }
    }
}
