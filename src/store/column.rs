//! Values of ours as columns, and back.

use std::error::Error;
use std::str::FromStr;
use std::time::Duration;

use rusqlite::Row;
use rusqlite::types::Type;

use crate::core::delivery::Lane;
use crate::core::time::Timestamp;

/// A count or a sequence as SQLite keeps it: 63 bits, which microseconds fill in 292,000 years.
pub(super) fn from_u64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count or a sequence as it was stored.
pub(super) fn to_u64(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|error| unreadable(row, column, error))
}

/// Microseconds of a duration.
pub(super) fn from_duration(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A time as it was stored.
pub(super) fn to_time(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_micros)
}

/// A time that may be missing.
pub(super) fn to_optional_time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    let microseconds: Option<i64> = row.get(column)?;
    Ok(microseconds.map(Timestamp::from_micros))
}

/// A name or a word, validated again on the way out.
pub(super) fn parse<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error| unreadable(row, column, error))
}

/// The columns `receiver`, `scope` and `instance`.
pub(super) fn to_lane(row: &Row<'_>) -> rusqlite::Result<Lane> {
    Ok(Lane {
        receiver: parse(row, "receiver")?,
        scope: parse(row, "scope")?,
        instance: parse(row, "instance")?,
    })
}

/// A stored value that is none of ours.
pub(super) fn unreadable(
    row: &Row<'_>,
    column: &str,
    error: impl Error + Send + Sync + 'static,
) -> rusqlite::Error {
    match row.as_ref().column_index(column) {
        Ok(index) => rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error)),
        Err(error) => error,
    }
}
