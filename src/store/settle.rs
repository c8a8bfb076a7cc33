//! What a settlement writes: the end or the next try of a delivery, and where its lane goes on.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, named_params};

use crate::core::delivery::Verdict;
use crate::core::id::ReceiverName;
use crate::core::time::Timestamp;

use super::column::{from_duration, from_u64};
use super::due::waiting_receivers;
use super::error::{SettleError, Trouble};
use super::request::Settlement;

/// Why deliveries of a receiver that is no longer configured end unsent.
pub const RECEIVER_REMOVED: &str = "receiver_removed";

/// The longest that any delay of a delivery can be (the cap of `Retry-After`).
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// How many attempts of one delivery are kept, the newest: enough to see how it went for hours.
const ATTEMPTS_PER_DELIVERY: i64 = 20;

/// How many attempts are kept in all, the newest: about 20 MB with short results.
const ATTEMPTS_IN_ALL: i64 = 100_000;

/// How much of an attempt's result is kept, in bytes.
const RESULT_MAX: usize = 2048;

/// Writes what follows from an attempt. `now` is the steady calendar time.
pub(super) fn settle(
    connection: &Connection,
    settlement: &Settlement,
    now: Timestamp,
) -> Result<(), Trouble<SettleError>> {
    let head = find_head(connection, settlement)?.ok_or_else(|| {
        Trouble::Refused(SettleError::NotHead {
            lane: settlement.lane.clone(),
            event: settlement.event_id.clone(),
        })
    })?;
    match settlement.verdict {
        Verdict::Delivered => {
            end(connection, &head, "delivered", None, now)?;
            run(
                connection,
                "UPDATE lane SET pending = pending - 1, delivered = delivered + 1, next_at = ?2
                 WHERE id = ?1",
                (head.lane, now.as_micros()),
            )?;
        }
        Verdict::Dead(reason) => {
            end(connection, &head, "dead", Some(reason.as_str()), now)?;
            run(
                connection,
                "UPDATE lane SET pending = pending - 1, dead = dead + 1, next_at = ?2
                 WHERE id = ?1",
                (head.lane, now.as_micros()),
            )?;
        }
        Verdict::Retry(delay) => {
            run(
                connection,
                "UPDATE delivery SET attempts = attempts + 1 WHERE id = ?1",
                [head.delivery],
            )?;
            postpone(connection, &head, now + delay)?;
        }
        Verdict::HoldReceiver(delay) => postpone(connection, &head, now + delay)?,
    }
    record_attempt(connection, &head, settlement)?;
    Ok(())
}

/// The rows of a delivery that heads its lane.
struct Head {
    delivery: i64,
    lane: i64,
}

fn find_head(connection: &Connection, settlement: &Settlement) -> rusqlite::Result<Option<Head>> {
    connection
        .prepare_cached(
            "SELECT delivery.id, lane.id
             FROM lane
             JOIN delivery ON delivery.id =
               (SELECT id FROM delivery WHERE lane = lane.id AND state = 'pending'
                ORDER BY event LIMIT 1)
             JOIN event ON event.position = delivery.event
             WHERE lane.receiver = :receiver AND lane.scope = :scope AND lane.instance = :instance
               AND event.id = :event AND event.sequence = :sequence",
        )?
        .query_row(
            named_params! {
                ":receiver": settlement.lane.receiver.as_str(),
                ":scope": settlement.lane.scope.as_str(),
                ":instance": settlement.lane.instance.as_str(),
                ":event": settlement.event_id.as_str(),
                ":sequence": from_u64(settlement.sequence),
            },
            |row| {
                Ok(Head {
                    delivery: row.get(0)?,
                    lane: row.get(1)?,
                })
            },
        )
        .optional()
}

fn end(
    connection: &Connection,
    head: &Head,
    state: &str,
    reason: Option<&str>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    run(
        connection,
        "UPDATE delivery SET state = ?2, reason = ?3, attempts = attempts + 1, ended = ?4
         WHERE id = ?1",
        (head.delivery, state, reason, now.as_micros()),
    )
}

fn postpone(connection: &Connection, head: &Head, until: Timestamp) -> rusqlite::Result<()> {
    run(
        connection,
        "UPDATE lane SET next_at = ?2 WHERE id = ?1",
        (head.lane, until.as_micros()),
    )
}

fn record_attempt(
    connection: &Connection,
    head: &Head,
    settlement: &Settlement,
) -> rusqlite::Result<()> {
    let verdict = match settlement.verdict {
        Verdict::Delivered => "delivered",
        Verdict::Retry(_) => "retry",
        Verdict::HoldReceiver(_) => "hold_receiver",
        Verdict::Dead(_) => "dead",
    };
    let kept = settlement.result.floor_char_boundary(RESULT_MAX);
    let result = settlement.result.get(..kept).unwrap_or_default();
    run(
        connection,
        "INSERT INTO attempt (delivery, started, duration, verdict, result)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        (
            head.delivery,
            settlement.started.as_micros(),
            from_duration(settlement.duration),
            verdict,
            result,
        ),
    )?;
    let newest = connection.last_insert_rowid();
    run(
        connection,
        "DELETE FROM attempt WHERE delivery = ?1 AND id <=
           (SELECT id FROM attempt WHERE delivery = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        (head.delivery, ATTEMPTS_PER_DELIVERY),
    )?;
    run(
        connection,
        "DELETE FROM attempt WHERE id <= ?1",
        [newest - ATTEMPTS_IN_ALL],
    )
}

/// Ends what waits for receivers that are no longer configured: settled, visible, never deleted.
/// Returns how many deliveries that were.
pub(super) fn settle_removed_receivers<E>(
    connection: &Connection,
    configured: &[ReceiverName],
    now: Timestamp,
) -> Result<u64, Trouble<E>> {
    let mut settled = 0;
    for receiver in waiting_receivers(connection)? {
        if configured.contains(&receiver) {
            continue;
        }
        settled += connection
            .prepare_cached(
                "UPDATE delivery SET state = 'settled', reason = ?2, ended = ?3
                 WHERE state = 'pending'
                   AND lane IN (SELECT id FROM lane WHERE receiver = ?1 AND pending > 0)",
            )?
            .execute((receiver.as_str(), RECEIVER_REMOVED, now.as_micros()))?
            as u64;
        run(
            connection,
            "UPDATE lane SET settled = settled + pending, pending = 0
             WHERE receiver = ?1 AND pending > 0",
            [receiver.as_str()],
        )?;
    }
    Ok(settled)
}

/// Brings back to `now` what is due later than any delay reaches: it was put there by a calendar
/// that has been set back since, and would wait for nothing.
pub(super) fn bring_back_parked(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    run(
        connection,
        "UPDATE lane SET next_at = ?1 WHERE pending > 0 AND next_at > ?2",
        (now.as_micros(), (now + LONGEST_DELAY).as_micros()),
    )
}

fn run(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute(parameters)?;
    Ok(())
}
