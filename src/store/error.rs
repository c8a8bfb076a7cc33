//! What can go wrong, one type per operation.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::core::delivery::Lane;
use crate::core::event::EventId;
use crate::core::id::{InstanceId, ScopeName};

/// Why a store could not be opened for the daemon.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The state folder could not be made or written to.
    #[error(
        "cannot use the state folder `{folder}`; it must be on a local disk and writable for the \
         user of this process"
    )]
    Folder {
        /// The state folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The lock or the database file could not be made or opened.
    #[error("cannot open `{path}`; it must be a file that the user of this process may write")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another daemon has the state folder.
    #[error(
        "another readygate is running on the state folder `{folder}`; stop it first, or give this \
         one a folder of its own"
    )]
    Locked {
        /// The state folder.
        folder: PathBuf,
    },
    /// The SQLite library has a known fault that loses committed writes.
    #[error(
        "SQLite {found} can lose committed writes (its fault with WAL resets); build readygate \
         with SQLite 3.51.3 or newer"
    )]
    Library {
        /// The version that is linked.
        found: &'static str,
    },
    /// The file was written by a newer readygate. It was not touched.
    #[error(
        "`{path}` has schema {found}, this readygate knows {known} at most and did not touch it; \
         start the newer readygate again, or restore a backup"
    )]
    NewerSchema {
        /// The database file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema known here.
        known: u32,
    },
    /// SQLite refused a step of opening.
    #[error(
        "cannot {step} `{path}`; if its disk is sound and not full, restore a backup or move the \
         file away"
    )]
    Sqlite {
        /// What was being done.
        step: &'static str,
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The system gave no thread.
    #[error("cannot start the threads of the store; raise the limit on threads of this process")]
    Thread(#[source] io::Error),
}

/// Why a store could not be opened for reading.
#[derive(Debug, Error)]
pub enum ReaderOpenError {
    /// SQLite could not open or read the file.
    #[error(
        "cannot read `{path}`; it must be the store of a readygate, and its folder writable for \
         the user of this process while no daemon runs"
    )]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file has another schema than this readygate reads.
    #[error(
        "`{path}` has schema {found}, this readygate reads {known}; use the readygate that runs \
         there, or start this one there once"
    )]
    Schema {
        /// The database file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The schema read here.
        known: u32,
    },
}

/// Why the store stopped for good. The daemon has to end and read the truth when it starts again.
#[derive(Debug, Clone, Error)]
pub enum StoreFailure {
    /// SQLite failed where nobody can know what of it reached the disk.
    #[error(
        "failed to {step} `{path}`: whether the last changes were stored is not known before it \
         is opened again; check its disk, then start readygate again"
    )]
    Sqlite {
        /// What was being done.
        step: &'static str,
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: Arc<rusqlite::Error>,
    },
    /// The writing thread ended without a word, which is a fault of this program.
    #[error("the writing thread of the store ended unexpectedly; start readygate again")]
    WriterEnded,
}

/// Why a request could not be carried out, whatever it was.
#[derive(Debug, Clone, Error)]
pub enum Unavailable {
    /// The store stopped for good; whether this request took effect is not known.
    #[error(transparent)]
    Fatal(#[from] StoreFailure),
    /// The store was closed before this request took effect.
    #[error("the store is closed")]
    Closed,
}

/// Why commits were not stored. Without [`CommitError::Fatal`] none of them was.
#[derive(Debug, Error)]
pub enum CommitError {
    /// An event with this ID was committed before.
    #[error("event {0} is already committed")]
    DuplicateEvent(EventId),
    /// The event tells of another instance than the record.
    #[error("event {event} is not about {instance} in scope {scope}")]
    ForeignEvent {
        /// The event.
        event: EventId,
        /// The scope of the commit.
        scope: ScopeName,
        /// The instance of the record.
        instance: InstanceId,
    },
    /// The event or the record could not be written as JSON.
    #[error("cannot write instance {instance} as JSON")]
    Json {
        /// The instance of the record.
        instance: InstanceId,
        /// What the serialiser said.
        source: serde_json::Error,
    },
    /// The store stopped for good; whether the commits were stored is not known.
    #[error(transparent)]
    Fatal(StoreFailure),
    /// The store was closed before.
    #[error("the store is closed")]
    Closed,
}

impl From<Unavailable> for CommitError {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::Fatal(failure) => Self::Fatal(failure),
            Unavailable::Closed => Self::Closed,
        }
    }
}

/// Why a settlement was not stored.
#[derive(Debug, Error)]
pub enum SettleError {
    /// The delivery does not head its lane: it was settled before, or never was there.
    #[error(
        "event {event} does not head the lane of {} and {}", lane.receiver, lane.instance
    )]
    NotHead {
        /// The lane.
        lane: Lane,
        /// The event.
        event: EventId,
    },
    /// The store stopped for good; whether the settlement was stored is not known.
    #[error(transparent)]
    Fatal(StoreFailure),
    /// The store was closed before.
    #[error("the store is closed")]
    Closed,
}

impl From<Unavailable> for SettleError {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::Fatal(failure) => Self::Fatal(failure),
            Unavailable::Closed => Self::Closed,
        }
    }
}

/// Why something could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// SQLite failed, or a stored value is none that this readygate writes.
    #[error("cannot read `{path}`; check its disk, and which readygate wrote it")]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The store is closed, or its reading thread ended.
    #[error("the store is closed")]
    Closed,
}

/// Why a request ends before its transaction does.
pub(super) enum Trouble<E> {
    /// The request itself is wrong: it alone is undone, and answered with this.
    Refused(E),
    /// SQLite failed: the whole transaction is in doubt.
    Sqlite(rusqlite::Error),
}

impl<E> From<rusqlite::Error> for Trouble<E> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}
