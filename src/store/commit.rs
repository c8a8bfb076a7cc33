//! What a commit writes: the watch, its event, and one delivery per receiver.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, named_params};

use crate::clock::Clock;
use crate::core::event::EventDraft;
use crate::core::id::{ReceiverName, ScopeName};
use crate::core::time::Timestamp;
use crate::core::watch::WatchRecord;

use super::column::{from_u64, to_u64};
use super::error::{CommitError, Trouble};
use super::request::{Commit, Committed, EndedWatches};

/// Writes the commits in their order, or refuses them as a whole.
pub(super) fn commit(
    connection: &Connection,
    commits: &[Commit],
    clock: Clock,
) -> Result<Vec<Committed>, Trouble<CommitError>> {
    commits
        .iter()
        .map(|commit| commit_one(connection, commit, clock))
        .collect()
}

fn commit_one(
    connection: &Connection,
    commit: &Commit,
    clock: Clock,
) -> Result<Committed, Trouble<CommitError>> {
    let Commit { scope, record, .. } = commit;
    let time = clock.wall();
    let previous = newest_sequence(connection, scope, record)?.max(record.sequence);
    let sequence = match &commit.event {
        Some(draft) => {
            refuse_foreign(commit, draft)?;
            // Floored by time, so that a restored backup does not use a sequence a second time.
            let now = u64::try_from(time.as_micros()).unwrap_or(0);
            let sequence = previous.saturating_add(1).max(now);
            let position = insert_event(connection, draft, sequence, time)?;
            for receiver in commit.receivers.iter().collect::<BTreeSet<_>>() {
                insert_delivery(connection, receiver, draft, position, clock.steady())?;
            }
            sequence
        }
        None => previous,
    };
    upsert_watch(connection, scope, record, sequence)?;
    Ok(Committed {
        scope: scope.clone(),
        instance: record.instance.clone(),
        sequence,
        event: commit.event.as_ref().map(|draft| draft.id.clone()),
        time,
    })
}

/// An event filed under another instance would be told in the wrong order.
fn refuse_foreign(commit: &Commit, draft: &EventDraft) -> Result<(), Trouble<CommitError>> {
    if draft.scope == commit.scope && draft.instance == commit.record.instance {
        return Ok(());
    }
    Err(Trouble::Refused(CommitError::ForeignEvent {
        event: draft.id.clone(),
        scope: commit.scope.clone(),
        instance: commit.record.instance.clone(),
    }))
}

/// The newest sequence known of the instance, even if its watch ended and began again.
fn newest_sequence(
    connection: &Connection,
    scope: &ScopeName,
    record: &WatchRecord,
) -> rusqlite::Result<u64> {
    connection
        .prepare_cached(
            "SELECT max(
               coalesce((SELECT sequence FROM watch
                         WHERE scope = :scope AND instance = :instance), 0),
               coalesce((SELECT max(sequence) FROM event
                         WHERE scope = :scope AND instance = :instance), 0)) AS newest",
        )?
        .query_row(
            named_params! {":scope": scope.as_str(), ":instance": record.instance.as_str()},
            |row| to_u64(row, "newest"),
        )
}

/// Stores the event with the bytes every receiver will get, and returns its position.
fn insert_event(
    connection: &Connection,
    draft: &EventDraft,
    sequence: u64,
    time: Timestamp,
) -> Result<i64, Trouble<CommitError>> {
    let body = draft.body(sequence, time).map_err(|source| {
        Trouble::Refused(CommitError::Json {
            instance: draft.instance.clone(),
            source,
        })
    })?;
    connection
        .prepare_cached(
            "INSERT INTO event (id, type, scope, instance, sequence, time, body)
             VALUES (:id, :type, :scope, :instance, :sequence, :time, :body)
             ON CONFLICT (id) DO NOTHING
             RETURNING position",
        )?
        .query_row(
            named_params! {
                ":id": draft.id.as_str(),
                ":type": draft.event_type.as_str(),
                ":scope": draft.scope.as_str(),
                ":instance": draft.instance.as_str(),
                ":sequence": from_u64(sequence),
                ":time": time.as_micros(),
                ":body": body,
            },
            |row| row.get(0),
        )
        .optional()?
        .ok_or_else(|| Trouble::Refused(CommitError::DuplicateEvent(draft.id.clone())))
}

/// Puts the event at the end of the receiver's lane. A lane that was empty is due at once.
fn insert_delivery(
    connection: &Connection,
    receiver: &ReceiverName,
    draft: &EventDraft,
    position: i64,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let lane: i64 = connection
        .prepare_cached(
            "INSERT INTO lane
               (receiver, scope, instance, pending, delivered, dead, settled, next_at)
             VALUES (:receiver, :scope, :instance, 1, 0, 0, 0, :now)
             ON CONFLICT (receiver, scope, instance) DO UPDATE
               SET next_at = iif(pending = 0, excluded.next_at, next_at), pending = pending + 1
             RETURNING id",
        )?
        .query_row(
            named_params! {
                ":receiver": receiver.as_str(),
                ":scope": draft.scope.as_str(),
                ":instance": draft.instance.as_str(),
                ":now": now.as_micros(),
            },
            |row| row.get(0),
        )?;
    connection
        .prepare_cached(
            "INSERT INTO delivery (event, lane, state, attempts)
             VALUES (:event, :lane, 'pending', 0)",
        )?
        .execute(named_params! {":event": position, ":lane": lane})?;
    Ok(())
}

fn upsert_watch(
    connection: &Connection,
    scope: &ScopeName,
    record: &WatchRecord,
    sequence: u64,
) -> Result<(), Trouble<CommitError>> {
    let reason = serde_json::to_string(&record.reason).map_err(|source| {
        Trouble::Refused(CommitError::Json {
            instance: record.instance.clone(),
            source,
        })
    })?;
    connection
        .prepare_cached(
            "INSERT INTO watch (scope, instance, phase, since, sequence, generation, started,
                                overdue_told, seen, absent_since, reason)
             VALUES (:scope, :instance, :phase, :since, :sequence, :generation, :started,
                     :overdue_told, :seen, :absent_since, :reason)
             ON CONFLICT (scope, instance) DO UPDATE SET
               phase = excluded.phase, since = excluded.since, sequence = excluded.sequence,
               generation = excluded.generation, started = excluded.started,
               overdue_told = excluded.overdue_told, seen = excluded.seen,
               absent_since = excluded.absent_since, reason = excluded.reason",
        )?
        .execute(named_params! {
            ":scope": scope.as_str(),
            ":instance": record.instance.as_str(),
            ":phase": record.phase.as_str(),
            ":since": record.since.as_micros(),
            ":sequence": from_u64(sequence),
            ":generation": record.generation,
            ":started": record.started.as_micros(),
            ":overdue_told": record.overdue_told,
            ":seen": record.seen,
            ":absent_since": record.absent_since.map(Timestamp::as_micros),
            ":reason": reason,
        })?;
    Ok(())
}

/// Forgets watches; their events and deliveries stay. Returns how many there were.
pub(super) fn remove_watches<E>(
    connection: &Connection,
    ended: &EndedWatches,
) -> Result<usize, Trouble<E>> {
    let mut delete = connection
        .prepare_cached("DELETE FROM watch WHERE scope = :scope AND instance = :instance")?;
    let mut removed = 0;
    for instance in &ended.instances {
        removed += delete.execute(named_params! {
            ":scope": ended.scope.as_str(),
            ":instance": instance.as_str(),
        })?;
    }
    Ok(removed)
}
