//! Opening SQLite: what is checked, and the settings the promises depend on.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::{OpenError, ReaderOpenError};
use super::schema;

/// SQLite 3.51.3, the first without the WAL-reset fault that can lose committed writes.
const VERSION_NEEDED: i32 = 3_051_003;

/// How long to wait for somebody who looks at the file from outside and holds it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// More than there are statements here, so that none is ever parsed twice.
const CACHED_STATEMENTS: usize = 64;

/// Opens the one connection that writes, at the schema known here.
///
/// # Errors
/// The library is too old, the schema too new, or SQLite refuses a step.
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    if rusqlite::version_number() < VERSION_NEEDED {
        return Err(OpenError::Library {
            found: rusqlite::version(),
        });
    }
    let failed = |step| {
        move |source| OpenError::Sqlite {
            step,
            path: path.to_owned(),
            source,
        }
    };
    refuse_newer_schema(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(failed("open the database"))?;
    set_up_writer(&connection).map_err(failed("set up the database"))?;
    schema::migrate(&mut connection).map_err(failed("migrate the database"))?;
    Ok(connection)
}

/// Looks at the schema through a connection that cannot write: a writing one would checkpoint the
/// log of a newer readygate into its database just by being closed.
fn refuse_newer_schema(path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Sqlite {
        step: "read the schema of",
        path: path.to_owned(),
        source,
    };
    let found = schema::found(&open_read_only(path).map_err(failed)?).map_err(failed)?;
    if found > schema::KNOWN {
        return Err(OpenError::NewerSchema {
            path: path.to_owned(),
            found,
            known: schema::KNOWN,
        });
    }
    Ok(())
}

fn set_up_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    // Only an empty file takes it, hence before WAL, which writes the first page.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| {
        let mode: String = row.get(0)?;
        if mode == "wal" {
            Ok(())
        } else {
            // A file system without shared memory silently stays in another mode.
            Err(rusqlite::Error::InvalidColumnType(
                0,
                format!("journal_mode {mode}"),
                rusqlite::types::Type::Text,
            ))
        }
    })?;
    // With NORMAL a power cut takes acknowledged commits away.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    // What undoes a refused request stays out of the disk that may be full.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    // SQLite's own checkpoints hide their errors, a failed fsync among them; the writer makes
    // them itself, at the same size.
    connection.pragma_update(None, "wal_autocheckpoint", 0)
}

/// Opens a connection that only reads, after looking that the schema is the one known here.
///
/// # Errors
/// SQLite cannot open the file, or its schema is another.
pub(super) fn open_reader(path: &Path) -> Result<Connection, ReaderOpenError> {
    let failed = |source| ReaderOpenError::Sqlite {
        path: path.to_owned(),
        source,
    };
    let connection = open_read_only(path).map_err(failed)?;
    let found = schema::found(&connection).map_err(failed)?;
    if found == schema::KNOWN {
        Ok(connection)
    } else {
        Err(ReaderOpenError::Schema {
            path: path.to_owned(),
            found,
            known: schema::KNOWN,
        })
    }
}

fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}
