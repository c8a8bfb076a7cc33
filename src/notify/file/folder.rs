//! A configured folder, and what is opened beneath it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::FileError;

/// Ours to write, the group's to read.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP);

/// Ours to write, the group's to look into.
const FOLDER_MODE: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP);

/// A folder that is open, so that it stays the same one while several things are done in it.
pub(super) struct Folder {
    path: PathBuf,
    fd: OwnedFd,
}

impl Folder {
    /// Opens a folder that is there.
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| io_error("open the folder", path, errno))?;
        Ok(Self {
            path: path.to_owned(),
            fd,
        })
    }

    /// Opens a folder, and creates it where only its last name is missing.
    pub(super) fn open_or_create(path: &Path) -> Result<Self, FileError> {
        match fs::mkdirat(CWD, path, FOLDER_MODE) {
            // The name of the new folder is kept in its parent.
            Ok(()) => Self::open(parent(path))?.sync()?,
            Err(Errno::EXIST) => {}
            Err(Errno::NOENT) => return Err(FileError::ParentMissing(path.to_owned())),
            Err(errno) => return Err(io_error("create the folder", path, errno)),
        }
        Self::open(path)
    }

    /// Opens what has this name; nothing where nothing has it. Does not wait for the other end of
    /// a pipe.
    pub(super) fn open_file(&self, name: &Path, flags: OFlags) -> Result<Option<File>, FileError> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP) => Err(FileError::SymbolicLink(self.path.join(name))),
            Err(errno) => Err(self.error("open", name, errno)),
        }
    }

    /// Creates a file of this name, which must be free, with mode 0640 whatever the umask is.
    pub(super) fn create_file(&self, name: &Path, flags: OFlags) -> Result<File, FileError> {
        let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(&self.fd, name, flags, FILE_MODE)
            .map_err(|errno| self.error("create", name, errno))?;
        fs::fchmod(&fd, FILE_MODE).map_err(|errno| self.error("set the mode of", name, errno))?;
        Ok(File::from(fd))
    }

    /// Removes a file; it is well where there is none.
    pub(super) fn remove_file(&self, name: &Path) -> Result<(), FileError> {
        match fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.error("remove", name, errno)),
        }
    }

    /// Puts one file in the place of another, at once for everybody who looks.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        fs::renameat(&self.fd, from, &self.fd, to).map_err(|errno| self.error("replace", to, errno))
    }

    /// Waits until the names in this folder are on the disk.
    pub(super) fn sync(&self) -> Result<(), FileError> {
        fs::fsync(&self.fd).map_err(|errno| io_error("sync the folder", &self.path, errno))
    }

    /// An error about a file in this folder.
    pub(super) fn error(
        &self,
        action: &'static str,
        name: &Path,
        reason: impl Into<io::Error>,
    ) -> FileError {
        io_error(action, &self.path.join(name), reason)
    }
}

/// An error about this path.
pub(super) fn io_error(
    action: &'static str,
    path: &Path,
    reason: impl Into<io::Error>,
) -> FileError {
    FileError::Io {
        action,
        path: path.to_owned(),
        reason: reason.into(),
    }
}

/// The folder a path lies in: the current one for a bare name.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}
