//! What is to be delivered next: the heads of the lanes that are due, receivers taking turns.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row};

use crate::core::delivery::{Delivery, Lane};
use crate::core::event::EventId;
use crate::core::id::ReceiverName;
use crate::core::time::Timestamp;

use super::column::{parse, to_lane, to_time, to_u64};

/// What not to return: whoever delivers knows what is in flight and who is held, and the store
/// writes nothing when a delivery begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Except {
    /// Receivers that are held, broken or at their limit.
    pub receivers: BTreeSet<ReceiverName>,
    /// Lanes with a delivery in flight, from the moment it was returned until its settlement was
    /// answered.
    pub lanes: BTreeSet<Lane>,
}

impl Except {
    /// How many lanes of a receiver are in flight.
    fn lanes_of(&self, receiver: &ReceiverName) -> usize {
        self.lanes
            .iter()
            .filter(|lane| lane.receiver == *receiver)
            .count()
    }
}

/// A lane that waits, and its place among the lanes of its receiver.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    turn: usize,
    next_at: Timestamp,
    lane: i64,
}

/// The heads of at most `limit` lanes that are due: first the most overdue of each receiver, then
/// the second of each, so that nobody's backlog hides another's.
pub(super) fn deliveries(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
    except: &Except,
) -> rusqlite::Result<Vec<Delivery>> {
    let mut waiting = Vec::new();
    for receiver in receivers(connection, except)? {
        waiting.extend(lanes(connection, &receiver, now, limit, except)?);
    }
    waiting.sort_unstable();
    waiting.truncate(limit);
    waiting
        .iter()
        .map(|waiting| head(connection, waiting.lane))
        .collect()
}

/// When the next lane is due, which may be past.
pub(super) fn next(
    connection: &Connection,
    except: &Except,
) -> rusqlite::Result<Option<Timestamp>> {
    let mut earliest = None;
    for receiver in receivers(connection, except)? {
        let end = Timestamp::from_micros(i64::MAX);
        let first = lanes(connection, &receiver, end, 1, except)?;
        let first = first.first().map(|waiting| waiting.next_at);
        earliest = [earliest, first].into_iter().flatten().min();
    }
    Ok(earliest)
}

/// Every receiver for which something waits, in the order of names.
pub(super) fn waiting_receivers(connection: &Connection) -> rusqlite::Result<Vec<ReceiverName>> {
    // Jumps from name to name along the index, however many lanes wait for each.
    connection
        .prepare_cached(
            "WITH RECURSIVE waiting (receiver) AS (
               SELECT min(receiver) FROM lane WHERE pending > 0
               UNION ALL
               SELECT (SELECT min(receiver) FROM lane
                       WHERE pending > 0 AND receiver > waiting.receiver)
               FROM waiting WHERE receiver IS NOT NULL)
             SELECT receiver FROM waiting WHERE receiver IS NOT NULL",
        )?
        .query_map([], |row| parse(row, "receiver"))?
        .collect()
}

fn receivers(connection: &Connection, except: &Except) -> rusqlite::Result<Vec<ReceiverName>> {
    let mut waiting = waiting_receivers(connection)?;
    waiting.retain(|receiver| !except.receivers.contains(receiver));
    Ok(waiting)
}

/// At most `limit` lanes of a receiver that are due and not in flight, the most overdue first.
fn lanes(
    connection: &Connection,
    receiver: &ReceiverName,
    now: Timestamp,
    limit: usize,
    except: &Except,
) -> rusqlite::Result<Vec<Waiting>> {
    let read = limit.saturating_add(except.lanes_of(receiver));
    let mut query = connection.prepare_cached(
        "SELECT id, receiver, scope, instance, next_at FROM lane
         WHERE pending > 0 AND receiver = ?1 AND next_at <= ?2
         ORDER BY next_at LIMIT ?3",
    )?;
    let mut rows = query.query((
        receiver.as_str(),
        now.as_micros(),
        i64::try_from(read).unwrap_or(i64::MAX),
    ))?;
    let mut waiting = Vec::new();
    while let Some(row) = rows.next()? {
        if waiting.len() < limit && !except.lanes.contains(&to_lane(row)?) {
            waiting.push(Waiting {
                turn: waiting.len(),
                next_at: to_time(row, "next_at")?,
                lane: row.get("id")?,
            });
        }
    }
    Ok(waiting)
}

fn head(connection: &Connection, lane: i64) -> rusqlite::Result<Delivery> {
    connection
        .prepare_cached(
            "SELECT lane.receiver, lane.scope, lane.instance,
                    event.sequence, event.id, event.body, event.time, delivery.attempts
             FROM delivery
             JOIN lane ON lane.id = delivery.lane
             JOIN event ON event.position = delivery.event
             WHERE delivery.lane = ?1 AND delivery.state = 'pending'
             ORDER BY delivery.event LIMIT 1",
        )?
        .query_row([lane], to_delivery)
}

fn to_delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        lane: to_lane(row)?,
        sequence: to_u64(row, "sequence")?,
        event_id: EventId::from_stored(row.get("id")?),
        body: row.get("body")?,
        attempts: row.get("attempts")?,
        committed: to_time(row, "time")?,
    })
}
