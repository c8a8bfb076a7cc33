//! Files as receivers, on this machine.
//!
//! Events have arrived when they would survive a power cut: what was written is synced before it
//! is said. Links are not followed, so whoever can write beside our files cannot make us write
//! elsewhere.

mod folder;
mod jsonl;
mod state;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tokio::task;

use self::jsonl::JsonLog;
use self::state::{StateFolder, Stored};
use super::Receipt;
use crate::core::delivery::{Delivery, DeliveryFailure, FailureClass};
use crate::core::id::ReceiverName;

/// What is written where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The path is a folder: `<instance ID>.json` in it holds the newest event of that instance.
    State,
    /// The path is a file, to which every event is appended as a line.
    Jsonl,
}

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSettings {
    /// The folder or the file, as the layout says.
    pub path: PathBuf,
    /// What is written there.
    pub layout: Layout,
}

/// Why nothing can be written.
#[derive(Debug, Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("could not {action} `{path}`: {reason}")]
    Io {
        /// What was tried, in the infinitive.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The operating system's words.
        reason: io::Error,
    },
    /// Only the last folder of a path is created.
    #[error(
        "could not create the folder `{0}`: the folder it is to be in does not exist, create that one"
    )]
    ParentMissing(PathBuf),
    /// The path ends in no name.
    #[error("`{0}` names no file")]
    NoFileName(PathBuf),
    /// It would have to be followed.
    #[error("`{0}` is a symbolic link, which is not followed: configure the path it leads to")]
    SymbolicLink(PathBuf),
    /// A folder, a pipe, a device.
    #[error("`{0}` is not a regular file")]
    NotRegular(PathBuf),
    /// What stands at the end is too long for a line that was cut off while being written.
    #[error("`{0}` ends in a long line without a line end, so it is no log of events: left alone")]
    ForeignContent(PathBuf),
}

impl From<FileError> for DeliveryFailure {
    /// All of them can be mended without changing the event, so it is tried again.
    fn from(error: FileError) -> Self {
        transient(error.to_string())
    }
}

fn transient(message: String) -> DeliveryFailure {
    DeliveryFailure {
        class: FailureClass::Transient,
        message,
        retry_after: None,
    }
}

/// The work did not run to its end: the runtime is being shut down.
fn interrupted() -> DeliveryFailure {
    transient("writing was interrupted".to_owned())
}

/// A receiver that gets its events as files.
#[derive(Debug)]
pub struct FileReceiver {
    name: ReceiverName,
    target: Target,
}

#[derive(Debug)]
enum Target {
    State(Arc<StateFolder>),
    Jsonl(Arc<JsonLog>),
}

impl FileReceiver {
    /// Creates the folder of [`Layout::State`] where it is missing, or opens the file of
    /// [`Layout::Jsonl`] and cuts off a torn last line. Waits for the disk, so it belongs to the
    /// start of the process.
    ///
    /// # Errors
    /// When the folder or the file cannot be opened or created, or is something else.
    pub fn new(settings: FileSettings, name: ReceiverName) -> Result<Self, FileError> {
        let target = match settings.layout {
            Layout::State => Target::State(Arc::new(StateFolder::new(settings.path)?)),
            Layout::Jsonl => Target::Jsonl(Arc::new(JsonLog::new(settings.path)?)),
        };
        Ok(Self { name, target })
    }

    /// What it is called in the settings.
    #[must_use]
    pub const fn name(&self) -> &ReceiverName {
        &self.name
    }

    /// Writes the event and waits until it is on the disk.
    ///
    /// # Errors
    /// When the operating system refuses; always [`FailureClass::Transient`], with path and reason.
    pub async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, DeliveryFailure> {
        let line = [&delivery.body[..], b"\n"].concat();
        let detail = match &self.target {
            Target::State(folder) => {
                let folder = Arc::clone(folder);
                let (instance, sequence) = (delivery.lane.instance.clone(), delivery.sequence);
                let stored = task::spawn_blocking(move || folder.store(&instance, sequence, &line))
                    .await
                    .map_err(|_| interrupted())??;
                match stored {
                    Stored::Replaced => "file replaced".to_owned(),
                    Stored::Kept(held) => format!("file kept, it holds sequence {held}"),
                }
            }
            Target::Jsonl(log) => {
                log.append(line).await?;
                "line appended".to_owned()
            }
        };
        Ok(Receipt { detail })
    }
}

/// Takes a lock whoever held it before: nothing it guards is left half changed by a panic.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::tests::delivery;

    fn ops() -> ReceiverName {
        "ops".parse().unwrap()
    }

    fn receiver(path: PathBuf, layout: Layout) -> Result<FileReceiver, FileError> {
        FileReceiver::new(FileSettings { path, layout }, ops())
    }

    #[tokio::test]
    async fn a_state_receiver_says_whether_it_replaced_or_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let receiver = receiver(scratch.path().join("state"), Layout::State).unwrap();
        let first = receiver.deliver(&delivery("i-a", 7)).await.unwrap();
        assert_eq!(first.detail, "file replaced");
        let older = receiver.deliver(&delivery("i-a", 6)).await.unwrap();
        assert_eq!(older.detail, "file kept, it holds sequence 7");
    }

    #[tokio::test]
    async fn a_file_in_place_of_the_folder_is_a_passing_failure_with_its_path() {
        let scratch = tempfile::tempdir().unwrap();
        for layout in [Layout::State, Layout::Jsonl] {
            let folder = scratch.path().join("events");
            let path = match layout {
                Layout::State => folder.clone(),
                Layout::Jsonl => {
                    std::fs::create_dir(&folder).unwrap();
                    folder.join("log.jsonl")
                }
            };
            let receiver = receiver(path.clone(), layout).unwrap();
            std::fs::remove_dir_all(&folder).unwrap();
            std::fs::write(&folder, "in the way").unwrap();
            let failure = receiver.deliver(&delivery("i-a", 1)).await.unwrap_err();
            assert_eq!(failure.class, FailureClass::Transient);
            let said = failure.message;
            assert!(said.contains(&folder.display().to_string()), "{said}");
            assert!(said.contains("Not a directory"), "{said}");
            std::fs::remove_file(&folder).unwrap();
        }
    }

    #[test]
    fn only_the_last_folder_of_a_path_is_created() {
        let scratch = tempfile::tempdir().unwrap();
        let deep = scratch.path().join("missing/state");
        let refused = receiver(deep.clone(), Layout::State).unwrap_err();
        assert!(refused.to_string().contains("create that one"), "{refused}");
        assert!(receiver(deep, Layout::Jsonl).is_err());
        assert!(!scratch.path().join("missing").exists());
    }
}
