//! The schema and its migrations: forward only, each in one transaction.

use rusqlite::{Connection, TransactionBehavior};

/// What brings a file from schema `n` to `n + 1`, at index `n`. Entries are never changed once
/// released.
const MIGRATIONS: [&str; KNOWN as usize] = [include_str!("schema/1.sql")];

/// The schema this program reads and writes.
pub(super) const KNOWN: u32 = 1;

/// The schema of a file; 0 where it has no table yet.
pub(super) fn found(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings the file to [`KNOWN`]. After a kill it is at one schema or the next, never between.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let start = found(connection)?;
    for (version, migration) in (1_u32..).zip(MIGRATIONS) {
        if version > start {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.commit()?;
        }
    }
    Ok(())
}
