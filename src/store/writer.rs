//! The one thread that writes: it commits whatever waits in one transaction, and answers when that
//! is on the disk.
//!
//! Without a timer the group grows by itself: while one transaction is being synced, the next
//! requests gather.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::core::time::Timestamp;

use super::error::StoreFailure;
use super::folder::LockedFolder;
use super::request::Write;
use super::{budget, commit, settle};

/// How many requests share a transaction: enough to hide the sync, few enough that the first does
/// not wait for long.
const GROUP_MAX: usize = 256;

/// How long after finding the disk full the same group is tried again.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// The log is copied into the database when it holds this many pages that are not there yet.
const CHECKPOINT_PAGES: i64 = 1000;

/// Whether the store commits.
#[derive(Debug, Clone)]
pub enum Health {
    /// It does.
    Ok,
    /// The disk is full. Everything that waits is kept and tried again every second.
    Full {
        /// Since when, by this machine's calendar.
        since: Timestamp,
    },
    /// It stopped for good.
    Failed(StoreFailure),
    /// It was closed.
    Closed,
}

/// What there is to do after a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The next group.
    Next,
    /// Nothing any more.
    End,
}

/// The state of the writing thread. The connection comes before the lock, so that no other daemon
/// opens the file while this one still closes it.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) folder: LockedFolder,
    pub(super) clock: Clock,
    pub(super) requests: mpsc::Receiver<Write>,
    pub(super) health: watch::Sender<Health>,
    /// Set when the store is to be closed though handles remain.
    pub(super) closing: Arc<AtomicBool>,
    #[cfg(test)]
    pub(super) probe: Arc<super::tests::Probe>,
}

impl Writer {
    /// Starts the thread. It ends when it is told to, when no handle is left, or on a failure.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(self) -> io::Result<()> {
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || self.run())
            .map(drop)
    }

    fn run(mut self) {
        while self.turn() == Turn::Next {}
        let Self {
            connection,
            folder,
            requests,
            ..
        } = self;
        // In this order: who waits for the channel to close waits for the file and the lock.
        drop(connection);
        drop(folder);
        drop(requests);
    }

    /// Waits for a request and commits it together with all that wait by then.
    pub(super) fn turn(&mut self) -> Turn {
        let Some(first) = self.requests.blocking_recv() else {
            return self.close();
        };
        let mut group = vec![first];
        while group.len() < GROUP_MAX
            && let Ok(next) = self.requests.try_recv()
        {
            group.push(next);
        }
        self.commit_group(group)
    }

    /// Commits the group, however often that takes while the disk is full.
    fn commit_group(&mut self, mut group: Vec<Write>) -> Turn {
        while let Err(error) = self.try_commit(&mut group) {
            if error.sqlite_error_code() != Some(ErrorCode::DiskFull) {
                return self.fail("commit to", error);
            }
            // Unlike after an I/O error the outcome is known: SQLite wrote no end of the
            // transaction, and the next one goes over what it did write.
            if let Err(error) = self.roll_back() {
                return self.fail("roll back", error);
            }
            self.found_full();
            if self.is_closing() {
                return self.close();
            }
            std::thread::sleep(FULL_RETRY);
        }
        self.health.send_if_modified(|health| {
            let was_full = matches!(health, Health::Full { .. });
            *health = Health::Ok;
            was_full
        });
        for write in group {
            write.tell();
        }
        if let Err(error) = self.checkpoint_when_long() {
            return self.fail("checkpoint", error);
        }
        if self.is_closing() {
            return self.close();
        }
        Turn::Next
    }

    fn try_commit(&self, group: &mut [Write]) -> rusqlite::Result<()> {
        #[cfg(test)]
        self.probe.before_transaction(&self.connection)?;
        self.execute("BEGIN IMMEDIATE")?;
        for write in group {
            write.apply(&self.connection, self.clock)?;
        }
        self.execute("COMMIT")?;
        #[cfg(test)]
        self.probe.after_transaction();
        Ok(())
    }

    fn roll_back(&self) -> rusqlite::Result<()> {
        if self.connection.is_autocommit() {
            // SQLite has rolled back by itself.
            return Ok(());
        }
        self.execute("ROLLBACK")
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    /// Copies a long log into the database. A full disk is none of its business: the log still
    /// has everything, and the next commit finds out.
    fn checkpoint_when_long(&self) -> rusqlite::Result<()> {
        if self.pages_to_checkpoint("PRAGMA wal_checkpoint(NOOP)")? < CHECKPOINT_PAGES {
            return Ok(());
        }
        match self.pages_to_checkpoint("PRAGMA wal_checkpoint(PASSIVE)") {
            Err(error) if error.sqlite_error_code() != Some(ErrorCode::DiskFull) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn pages_to_checkpoint(&self, sql: &str) -> rusqlite::Result<i64> {
        self.connection
            .prepare_cached(sql)?
            .query_row([], |row| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?))
    }

    fn found_full(&self) {
        let since = self.clock.wall();
        self.health.send_if_modified(|health| {
            let was_full = matches!(health, Health::Full { .. });
            if !was_full {
                *health = Health::Full { since };
            }
            !was_full
        });
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire) || self.requests.is_closed()
    }

    /// Says that the store is closed, before the requests that are left are dropped: those who
    /// wait for them look here for the reason.
    fn close(&self) -> Turn {
        self.health.send_replace(Health::Closed);
        Turn::End
    }

    /// Says that the store failed, before the requests are dropped. Nothing is tried again: what
    /// memory holds may differ from what the disk has.
    fn fail(&self, step: &'static str, error: rusqlite::Error) -> Turn {
        // Closing must not write either. Where even this fails there is nothing left to do.
        self.connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .ok();
        self.health
            .send_replace(Health::Failed(StoreFailure::Sqlite {
                step,
                path: self.folder.database.clone(),
                source: Arc::new(error),
            }));
        Turn::End
    }
}

impl Write {
    /// Writes what is asked, in the transaction of the group.
    fn apply(&mut self, connection: &Connection, clock: Clock) -> rusqlite::Result<()> {
        let now = clock.steady();
        match self {
            Self::Commit(ask) => ask.apply(connection, |connection, commits| {
                commit::commit(connection, commits, clock)
            }),
            Self::RemoveWatches(ask) => ask.apply(connection, commit::remove_watches),
            Self::SaveBudget(ask) => ask.apply(connection, budget::save),
            Self::Settle(ask) => ask.apply(connection, |connection, settlement| {
                settle::settle(connection, settlement, now)
            }),
            Self::SettleRemovedReceivers(ask) => ask.apply(connection, |connection, configured| {
                settle::settle_removed_receivers(connection, configured, now)
            }),
            Self::Close => Ok(()),
        }
    }

    /// Answers, now that the transaction is on the disk.
    fn tell(self) {
        match self {
            Self::Commit(ask) => ask.tell(),
            Self::RemoveWatches(ask) => ask.tell(),
            Self::SaveBudget(ask) => ask.tell(),
            Self::Settle(ask) => ask.tell(),
            Self::SettleRemovedReceivers(ask) => ask.tell(),
            Self::Close => {}
        }
    }
}
