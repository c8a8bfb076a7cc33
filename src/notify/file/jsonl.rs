//! A log of events, one JSON object a line.
//!
//! Lanes append at the same time: lines that wait while the disk is busy are written together and
//! synced once.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{self, AtFlags, CWD, OFlags};
use tokio::sync::oneshot;
use tokio::task;
use tracing::warn;

use super::folder::{Folder, io_error, parent};
use super::{FileError, interrupted, locked};
use crate::core::delivery::DeliveryFailure;

/// The longest torn line that is cut off, in bytes: what an event may have (`CloudEvents` asks that
/// 64 KiB get through). Something longer without a line end was not written by us.
const LONGEST_LINE: usize = 64 * 1024;

/// A log file that is appended to, and opened again after it was rotated away.
#[derive(Debug)]
pub(super) struct JsonLog {
    path: PathBuf,
    queue: Mutex<Queue>,
    /// Used by one blocking task at a time. Closed after a failure, because the next opening cuts
    /// off what a failed write left behind.
    open: Mutex<Option<OpenLog>>,
}

/// Lines on their way. Bounded by the lanes, of which each waits for its line.
#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Line>,
    /// Whether a task is writing, which then takes these lines too.
    writing: bool,
}

#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    outcome: oneshot::Sender<Result<(), DeliveryFailure>>,
}

impl JsonLog {
    /// Opens the file, or creates it in a folder that is there.
    pub(super) fn new(path: PathBuf) -> Result<Self, FileError> {
        let open = OpenLog::open(&path)?;
        Ok(Self {
            path,
            queue: Mutex::default(),
            open: Mutex::new(Some(open)),
        })
    }

    /// Appends a line, which ends in a line end, and waits until it is on the disk.
    pub(super) async fn append(self: &Arc<Self>, bytes: Vec<u8>) -> Result<(), DeliveryFailure> {
        let (outcome, arrival) = oneshot::channel();
        if self.enqueue(Line { bytes, outcome }) {
            let log = Arc::clone(self);
            drop(task::spawn_blocking(move || log.write_waiting()));
        }
        arrival.await.unwrap_or_else(|_| Err(interrupted()))
    }

    /// Whether the caller has to see to the writing: nobody else does.
    fn enqueue(&self, line: Line) -> bool {
        let mut queue = locked(&self.queue);
        queue.waiting.push(line);
        !std::mem::replace(&mut queue.writing, true)
    }

    /// Writes until nothing waits. What happened to one line of a group is said of all: after an
    /// error nobody knows which of them are on the disk.
    fn write_waiting(&self) {
        let mut open = locked(&self.open);
        while let Some(group) = self.next_group() {
            let outcome = self
                .write_group(&mut open, &group)
                .map_err(DeliveryFailure::from);
            for line in group {
                // Whoever gave its attempt up does not listen any more.
                drop(line.outcome.send(outcome.clone()));
            }
        }
    }

    fn next_group(&self) -> Option<Vec<Line>> {
        let mut queue = locked(&self.queue);
        queue.writing = !queue.waiting.is_empty();
        queue.writing.then(|| std::mem::take(&mut queue.waiting))
    }

    fn write_group(&self, slot: &mut Option<OpenLog>, group: &[Line]) -> Result<(), FileError> {
        let mut log = match slot.take().filter(|log| log.is_still_at(&self.path)) {
            Some(log) => log,
            None => OpenLog::open(&self.path)?,
        };
        log.append(group)
            .map_err(|error| io_error("append to", &self.path, error))?;
        *slot = Some(log);
        Ok(())
    }
}

/// The file as it was opened.
#[derive(Debug)]
struct OpenLog {
    file: File,
    /// Device and inode: tells this file from another one of the same name.
    identity: (u64, u64),
    /// How long it was when we last looked, in bytes.
    length: u64,
}

impl OpenLog {
    fn open(path: &Path) -> Result<Self, FileError> {
        let name = path
            .file_name()
            .map(Path::new)
            .ok_or_else(|| FileError::NoFileName(path.to_owned()))?;
        let folder = Folder::open(parent(path))?;
        let flags = OFlags::RDWR | OFlags::APPEND;
        let file = match folder.open_file(name, flags)? {
            Some(file) => file,
            None => {
                let file = folder.create_file(name, flags)?;
                folder.sync()?;
                file
            }
        };
        let as_error = |error| io_error("open", path, error);
        let metadata = file.metadata().map_err(as_error)?;
        if !metadata.is_file() {
            return Err(FileError::NotRegular(path.to_owned()));
        }
        let length = cut_torn_line(&file, metadata.len(), path)?;
        Ok(Self {
            file,
            identity: (metadata.dev(), metadata.ino()),
            length,
        })
    }

    /// Whether the path still leads here: not after a rotation, nor where the file was removed.
    fn is_still_at(&self, path: &Path) -> bool {
        let Ok(found) = fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) else {
            return false;
        };
        let same = (found.st_dev, found.st_ino) == self.identity;
        let length = u64::try_from(found.st_size).unwrap_or(0);
        if same && length < self.length {
            warn!(
                path = %path.display(),
                length_before_bytes = self.length,
                length_bytes = length,
                "The log was made shorter by somebody else. Rotation that copies and truncates \
                 loses lines: rename the file instead, it is noticed",
            );
        }
        same
    }

    /// One write per line, so that who reads along seldom sees half of one; one sync for all.
    fn append(&mut self, group: &[Line]) -> io::Result<()> {
        for line in group {
            self.file.write_all(&line.bytes)?;
        }
        self.file.sync_data()?;
        self.length = self.file.metadata()?.len();
        Ok(())
    }
}

/// Cuts off a last line without a line end, which a crash or a full disk left. Its event was not
/// said to have arrived, so it comes again. Returns the length that remains.
fn cut_torn_line(file: &File, length: u64, path: &Path) -> Result<u64, FileError> {
    let as_error = |error| io_error("mend the end of", path, error);
    let tail = read_tail(file, length).map_err(as_error)?;
    let torn = match tail.iter().rposition(|&byte| byte == b'\n') {
        Some(line_end) => tail.len() - line_end - 1,
        None if tail.len() > LONGEST_LINE => {
            return Err(FileError::ForeignContent(path.to_owned()));
        }
        None => tail.len(),
    };
    if torn == 0 {
        return Ok(length);
    }
    let torn_bytes = u64::try_from(torn).unwrap_or(length);
    let kept = length.saturating_sub(torn_bytes);
    file.set_len(kept)
        .and_then(|()| file.sync_all())
        .map_err(as_error)?;
    warn!(
        path = %path.display(),
        torn_bytes,
        "Cut off a torn last line: its event is delivered again",
    );
    Ok(kept)
}

/// The end of the file, one byte longer than the longest line.
fn read_tail(file: &File, length: u64) -> io::Result<Vec<u8>> {
    let wanted = usize::try_from(length)
        .unwrap_or(usize::MAX)
        .min(LONGEST_LINE + 1);
    let start = length.saturating_sub(u64::try_from(wanted).unwrap_or(length));
    let mut tail = vec![0; wanted];
    file.read_exact_at(&mut tail, start)?;
    Ok(tail)
}

#[cfg(test)]
mod tests;
