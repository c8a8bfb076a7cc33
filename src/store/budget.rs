//! The budgets: one row for each, written over and over.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use crate::core::budget::BudgetRecord;

use super::column::{from_duration, to_time, to_u64, unreadable};
use super::error::Trouble;
use super::request::SpentBudget;

/// Writes a budget over what was stored of it before.
pub(super) fn save<E>(connection: &Connection, spent: &SpentBudget) -> Result<(), Trouble<E>> {
    let SpentBudget { name, record } = spent;
    let ages = record.calls.iter();
    let calls: Vec<(i64, u32)> = ages
        .map(|(age, count)| (from_duration(*age), *count))
        .collect();
    let calls = serde_json::to_string(&calls)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    connection
        .prepare_cached(
            "INSERT INTO budget (name, at, calls, reserved, held_for, share)
             VALUES (:name, :at, :calls, :reserved, :held_for, :share)
             ON CONFLICT (name) DO UPDATE SET
               at = excluded.at, calls = excluded.calls, reserved = excluded.reserved,
               held_for = excluded.held_for, share = excluded.share",
        )?
        .execute(named_params! {
            ":name": name,
            ":at": record.at.as_micros(),
            ":calls": calls,
            ":reserved": record.reserved,
            ":held_for": from_duration(record.held_for),
            ":share": record.share,
        })?;
    Ok(())
}

/// What is stored of a budget, if anything.
pub(super) fn load(connection: &Connection, name: &str) -> rusqlite::Result<Option<BudgetRecord>> {
    connection
        .prepare_cached("SELECT * FROM budget WHERE name = ?1")?
        .query_row([name], to_record)
        .optional()
}

fn to_record(row: &Row<'_>) -> rusqlite::Result<BudgetRecord> {
    let calls: String = row.get("calls")?;
    let calls: Vec<(u64, u32)> =
        serde_json::from_str(&calls).map_err(|error| unreadable(row, "calls", error))?;
    Ok(BudgetRecord {
        at: to_time(row, "at")?,
        calls: calls
            .into_iter()
            .map(|(age, count)| (Duration::from_micros(age), count))
            .collect(),
        reserved: row.get("reserved")?,
        held_for: Duration::from_micros(to_u64(row, "held_for")?),
        share: row.get("share")?,
    })
}
