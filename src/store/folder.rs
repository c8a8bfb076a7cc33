//! The state folder: made private, locked for one daemon, and synced so that a power cut cannot
//! take the database's name away.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::OpenError;

const DATABASE: &str = "readygate.db";
const LOCK: &str = "readygate.lock";

/// The database file of a state folder.
pub(super) fn database(folder: &Path) -> PathBuf {
    folder.join(DATABASE)
}

/// A state folder that no other daemon has. The lock lasts as long as the value, and ends with
/// the process whatever way that ends.
#[derive(Debug)]
pub(super) struct LockedFolder {
    /// The database file, which exists.
    pub(super) database: PathBuf,
    _lock: File,
}

impl LockedFolder {
    /// Makes the folder (0700) and the database file (0600) where they are missing, and takes the
    /// lock.
    ///
    /// # Errors
    /// The folder or a file in it cannot be made or opened, or another process has the lock.
    pub(super) fn take(folder: &Path) -> Result<Self, OpenError> {
        make_folder(folder).map_err(|source| OpenError::Folder {
            folder: folder.to_owned(),
            source,
        })?;
        let lock = take_lock(folder)?;
        let database = database(folder);
        open_private(&database).map_err(|source| OpenError::File {
            path: database.clone(),
            source,
        })?;
        sync_folder(folder).map_err(|source| OpenError::Folder {
            folder: folder.to_owned(),
            source,
        })?;
        Ok(Self {
            database,
            _lock: lock,
        })
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        Some(_) | None => sync_folder(Path::new(".")),
    }
}

fn take_lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(LOCK);
    let unusable = |source| OpenError::File {
        path: path.clone(),
        source,
    };
    let file = open_private(&path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
