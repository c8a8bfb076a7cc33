//! What can be read of a store, beside its daemon or without one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, Row};
use thiserror::Error;

use crate::core::budget::BudgetRecord;
use crate::core::delivery::{Delivery, Lane};
use crate::core::event::{EventId, EventType};
use crate::core::id::{InstanceId, ReceiverName, ScopeName};
use crate::core::time::Timestamp;
use crate::core::watch::{Phase, WatchRecord};

use super::column::{parse, to_lane, to_optional_time, to_time, to_u64, unreadable};
use super::due::{self, Except};
use super::error::{ReadError, ReaderOpenError};
use super::{budget, folder, sqlite};

/// How the deliveries of a store, or of one receiver, stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Still to be delivered.
    pub pending: u64,
    /// Delivered, ever.
    pub delivered: u64,
    /// Dead, ever.
    pub dead: u64,
    /// Settled unsent, ever.
    pub settled: u64,
    /// When the oldest head of a lane was committed; its age is how far delivery is behind.
    pub oldest_pending: Option<Timestamp>,
}

/// How the deliveries stand, in all and per receiver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxSummary {
    /// Of all receivers.
    pub total: DeliveryCounts,
    /// Of each receiver that ever had a delivery.
    pub receivers: BTreeMap<ReceiverName, DeliveryCounts>,
}

/// A committed event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place in the order of all commits, from 1, with gaps. For going on from here.
    pub position: u64,
    /// Its ID.
    pub id: EventId,
    /// What it says.
    pub event_type: EventType,
    /// In which scope.
    pub scope: ScopeName,
    /// About which instance.
    pub instance: InstanceId,
    /// Its place among the events of the instance.
    pub sequence: u64,
    /// When it was committed.
    pub time: Timestamp,
    /// The bytes every receiver gets.
    pub body: Vec<u8>,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeliveryState {
    /// To be delivered.
    Pending,
    /// Delivered.
    Delivered,
    /// It used up its retries.
    Dead,
    /// It ended unsent.
    Settled,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Dead, Self::Settled];

    /// The state as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Settled => "settled",
        }
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A delivery of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDelivery {
    /// Where it queues or queued.
    pub lane: Lane,
    /// Where it stands.
    pub state: DeliveryState,
    /// Why it is dead or settled.
    pub reason: Option<String>,
    /// Attempts that counted, the one that delivered it included.
    pub attempts: u32,
    /// When it ended; nothing while it is pending.
    pub ended: Option<Timestamp>,
}

/// One try of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAttempt {
    /// To whom.
    pub receiver: ReceiverName,
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// What followed: `delivered`, `retry`, `hold_receiver` or `dead`.
    pub verdict: String,
    /// What the receiver answered, up to 2 KiB of it.
    pub result: String,
}

/// A stored word that is none of ours.
#[derive(Debug, Error)]
#[error("`{0}` is not known")]
struct UnknownWord(String);

/// Reads a store. It takes no lock and changes nothing, so it may look beside a running daemon.
///
/// Every call sees one committed state of the whole store, and blocks while it reads.
#[derive(Debug)]
pub struct StoreReader {
    connection: Connection,
    path: PathBuf,
}

impl StoreReader {
    /// Opens the store in a state folder.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it has another schema than this program reads.
    pub fn open(folder: &Path) -> Result<Self, ReaderOpenError> {
        let path = folder::database(folder);
        let connection = sqlite::open_reader(&path)?;
        Ok(Self { connection, path })
    }

    /// The watches of a scope, in the order of their instance IDs.
    ///
    /// # Errors
    /// SQLite fails, or a value is none of ours.
    pub fn watches(&self, scope: &ScopeName) -> Result<Vec<WatchRecord>, ReadError> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT * FROM watch WHERE scope = ?1 ORDER BY instance")?
                .query_map([scope.as_str()], to_watch)?
                .collect()
        })
    }

    /// What is stored of a budget; nothing before its first call.
    ///
    /// # Errors
    /// SQLite fails, or a value is none of ours.
    pub fn budget(&self, name: &str) -> Result<Option<BudgetRecord>, ReadError> {
        self.read(|connection| budget::load(connection, name))
    }

    /// The heads of at most `limit` lanes that are due at `now` (steady time), the most overdue
    /// first, receivers taking turns.
    ///
    /// # Errors
    /// SQLite fails, or a value is none of ours.
    pub fn due_deliveries(
        &self,
        now: Timestamp,
        limit: usize,
        except: &Except,
    ) -> Result<Vec<Delivery>, ReadError> {
        self.read(|connection| due::deliveries(connection, now, limit, except))
    }

    /// When the next lane is due, in steady time, which may be past; nothing where none waits.
    ///
    /// # Errors
    /// SQLite fails, or a value is none of ours.
    pub fn next_due(&self, except: &Except) -> Result<Option<Timestamp>, ReadError> {
        self.read(|connection| due::next(connection, except))
    }

    /// How the deliveries stand.
    ///
    /// # Errors
    /// SQLite fails, or a value is none of ours.
    pub fn outbox(&self) -> Result<OutboxSummary, ReadError> {
        let receivers: BTreeMap<_, _> = self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT receiver, sum(pending) AS pending, sum(delivered) AS delivered,
                            sum(dead) AS dead, sum(settled) AS settled,
                            min((SELECT event.time FROM delivery
                                 JOIN event ON event.position = delivery.event
                                 WHERE delivery.lane = lane.id AND delivery.state = 'pending'
                                 ORDER BY delivery.event LIMIT 1)) AS oldest_pending
                     FROM lane GROUP BY receiver",
                )?
                .query_map([], to_counts)?
                .collect()
        })?;
        let mut total = DeliveryCounts::default();
        for counts in receivers.values() {
            total.pending += counts.pending;
            total.delivered += counts.delivered;
            total.dead += counts.dead;
            total.settled += counts.settled;
            let oldest = [total.oldest_pending, counts.oldest_pending];
            total.oldest_pending = oldest.into_iter().flatten().min();
        }
        Ok(OutboxSummary { total, receivers })
    }

    /// At most `limit` events in the order of commits, after a position (0: from the first).
    ///
    /// # Errors
    /// SQLite fails, or a value is none of ours.
    pub fn events(&self, after: u64, limit: usize) -> Result<Vec<StoredEvent>, ReadError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT * FROM event WHERE position > ?1 ORDER BY position LIMIT ?2",
                )?
                .query_map([after, limit], to_event)?
                .collect()
        })
    }

    /// The deliveries of an event, in the order of their receivers; none for an unknown event.
    ///
    /// # Errors
    /// SQLite fails, or a value is none of ours.
    pub fn deliveries_of(&self, event: &EventId) -> Result<Vec<StoredDelivery>, ReadError> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT lane.receiver, lane.scope, lane.instance,
                            delivery.state, delivery.reason, delivery.attempts, delivery.ended
                     FROM event
                     JOIN delivery ON delivery.event = event.position
                     JOIN lane ON lane.id = delivery.lane
                     WHERE event.id = ?1 ORDER BY lane.receiver",
                )?
                .query_map([event.as_str()], to_stored_delivery)?
                .collect()
        })
    }

    /// The newest attempts of an event, at most 20 per receiver, in the order they were made.
    ///
    /// # Errors
    /// SQLite fails, or a value is none of ours.
    pub fn attempts_of(&self, event: &EventId) -> Result<Vec<StoredAttempt>, ReadError> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT lane.receiver, attempt.* FROM event
                     JOIN delivery ON delivery.event = event.position
                     JOIN lane ON lane.id = delivery.lane
                     JOIN attempt ON attempt.delivery = delivery.id
                     WHERE event.id = ?1 ORDER BY attempt.id",
                )?
                .query_map([event.as_str()], to_attempt)?
                .collect()
        })
    }

    /// Reads in one transaction, so that several statements see the same state.
    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ReadError> {
        self.connection
            .unchecked_transaction()
            .and_then(|snapshot| read(&snapshot))
            .map_err(|source| ReadError::Sqlite {
                path: self.path.clone(),
                source,
            })
    }
}

fn to_watch(row: &Row<'_>) -> rusqlite::Result<WatchRecord> {
    let phase: String = row.get("phase")?;
    let reason: String = row.get("reason")?;
    Ok(WatchRecord {
        instance: parse(row, "instance")?,
        phase: Phase::parse(&phase).ok_or_else(|| unreadable(row, "phase", UnknownWord(phase)))?,
        since: to_time(row, "since")?,
        sequence: to_u64(row, "sequence")?,
        generation: row.get("generation")?,
        started: to_time(row, "started")?,
        overdue_told: row.get("overdue_told")?,
        seen: row.get("seen")?,
        absent_since: to_optional_time(row, "absent_since")?,
        reason: serde_json::from_str(&reason).map_err(|error| unreadable(row, "reason", error))?,
    })
}

fn to_counts(row: &Row<'_>) -> rusqlite::Result<(ReceiverName, DeliveryCounts)> {
    let counts = DeliveryCounts {
        pending: to_u64(row, "pending")?,
        delivered: to_u64(row, "delivered")?,
        dead: to_u64(row, "dead")?,
        settled: to_u64(row, "settled")?,
        oldest_pending: to_optional_time(row, "oldest_pending")?,
    };
    Ok((parse(row, "receiver")?, counts))
}

fn to_event(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    Ok(StoredEvent {
        position: to_u64(row, "position")?,
        id: EventId::from_stored(row.get("id")?),
        event_type: parse(row, "type")?,
        scope: parse(row, "scope")?,
        instance: parse(row, "instance")?,
        sequence: to_u64(row, "sequence")?,
        time: to_time(row, "time")?,
        body: row.get("body")?,
    })
}

fn to_stored_delivery(row: &Row<'_>) -> rusqlite::Result<StoredDelivery> {
    let state: String = row.get("state")?;
    Ok(StoredDelivery {
        lane: to_lane(row)?,
        state: DeliveryState::ALL
            .into_iter()
            .find(|known| known.as_str() == state)
            .ok_or_else(|| unreadable(row, "state", UnknownWord(state)))?,
        reason: row.get("reason")?,
        attempts: row.get("attempts")?,
        ended: to_optional_time(row, "ended")?,
    })
}

fn to_attempt(row: &Row<'_>) -> rusqlite::Result<StoredAttempt> {
    Ok(StoredAttempt {
        receiver: parse(row, "receiver")?,
        started: to_time(row, "started")?,
        duration: Duration::from_micros(to_u64(row, "duration")?),
        verdict: row.get("verdict")?,
        result: row.get("result")?,
    })
}
