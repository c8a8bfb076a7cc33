//! One file per instance with its newest event, replaced as a whole.
//!
//! A reader sees the old file or the new one, never half of one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::OFlags;
use serde::Deserialize;

use super::folder::Folder;
use super::{FileError, locked};
use crate::core::id::InstanceId;

/// Locks for writers, shared by instances. Several, so that they can wait for the disk together,
/// which syncs many files about as fast as one.
const WRITERS: usize = 16;

/// The most that is read of a file that is there, in bytes: many times the longest event.
const READ_LIMIT: u64 = 1024 * 1024;

/// A folder of state files.
///
/// Sequences only rise and begin with the time of their commit, so the higher one is the newer one
/// even where two scopes follow the same instance.
#[derive(Debug)]
pub(super) struct StateFolder {
    path: PathBuf,
    /// One attempt per instance at a time: one that was given up while the disk hung may still be
    /// running when the next one begins, and must not win over it.
    writers: [Mutex<()>; WRITERS],
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// The file holds it now.
    Replaced,
    /// The file held this sequence, which is equal or higher.
    Kept(u64),
}

impl StateFolder {
    /// Creates the folder where it is missing.
    pub(super) fn new(path: PathBuf) -> Result<Self, FileError> {
        Folder::open_or_create(&path)?;
        Ok(Self {
            path,
            writers: std::array::from_fn(|_| Mutex::default()),
        })
    }

    /// Makes these bytes the file of this instance, unless it holds an equal or higher sequence.
    /// Waits for the disk.
    pub(super) fn store(
        &self,
        instance: &InstanceId,
        sequence: u64,
        bytes: &[u8],
    ) -> Result<Stored, FileError> {
        let _writer = locked(self.writer_of(instance));
        // Opened every time, and created again: folders under /run may be cleaned up.
        let folder = Folder::open_or_create(&self.path)?;
        let name = PathBuf::from(format!("{instance}.json"));
        if let Some(held) = held_sequence(&folder, &name)?
            && held >= sequence
        {
            // It may have been renamed by an attempt that did not get as far as this sync.
            folder.sync()?;
            return Ok(Stored::Kept(held));
        }
        replace(&folder, &name, bytes)?;
        Ok(Stored::Replaced)
    }

    fn writer_of(&self, instance: &InstanceId) -> &Mutex<()> {
        let sum: usize = instance.as_str().bytes().map(usize::from).sum();
        &self.writers[sum % WRITERS]
    }
}

/// Writes beside the file and renames over it.
fn replace(folder: &Folder, name: &Path, bytes: &[u8]) -> Result<(), FileError> {
    // Hidden, so that who reads `*.json` does not see it. Always the same one, so that a crash
    // leaves at most one behind, and the next attempt removes it.
    let temporary = PathBuf::from(format!(".{}.tmp", name.display()));
    folder.remove_file(&temporary)?;
    let written =
        write_synced(folder, &temporary, bytes).and_then(|()| folder.rename(&temporary, name));
    if let Err(error) = written {
        // What went wrong first is what is told; the next attempt removes what stays.
        drop(folder.remove_file(&temporary));
        return Err(error);
    }
    folder.sync()
}

fn write_synced(folder: &Folder, name: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = folder.create_file(name, OFlags::WRONLY)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|error| folder.error("write", name, error))
}

/// The sequence of the event in a file; nothing where there is no such file, or something else,
/// which is then replaced.
fn held_sequence(folder: &Folder, name: &Path) -> Result<Option<u64>, FileError> {
    let file = match folder.open_file(name, OFlags::RDONLY) {
        Ok(Some(file)) => file,
        Ok(None) | Err(FileError::SymbolicLink(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let content = read_regular(file).map_err(|error| folder.error("read", name, error))?;
    Ok(content.and_then(|content| sequence_in(&content)))
}

fn read_regular(file: File) -> io::Result<Option<Vec<u8>>> {
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut content = Vec::new();
    file.take(READ_LIMIT).read_to_end(&mut content)?;
    Ok(Some(content))
}

fn sequence_in(content: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Held {
        sequence: String,
    }
    let held: Held = serde_json::from_slice(content).ok()?;
    held.sequence.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A state folder in a scratch folder of its own.
    struct Fixture {
        scratch: tempfile::TempDir,
        states: StateFolder,
        instance: InstanceId,
    }

    impl Fixture {
        fn new() -> Self {
            let scratch = tempfile::tempdir().unwrap();
            let states = StateFolder::new(scratch.path().join("state")).unwrap();
            let instance = "i-a".parse().unwrap();
            Self {
                scratch,
                states,
                instance,
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.scratch.path().join("state").join(name)
        }

        fn store(&self, sequence: u64) -> Result<Stored, FileError> {
            self.states.store(&self.instance, sequence, &body(sequence))
        }

        fn content(&self) -> Vec<u8> {
            fs::read(self.path("i-a.json")).unwrap()
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<_> = fs::read_dir(self.path(""))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    fn body(sequence: u64) -> Vec<u8> {
        format!("{{\"sequence\":\"{sequence:020}\"}}\n").into_bytes()
    }

    #[test]
    fn the_file_is_the_body_and_a_newline_for_the_group_to_read() {
        let fixture = Fixture::new();
        assert_eq!(fixture.store(5).unwrap(), Stored::Replaced);
        assert_eq!(fixture.content(), body(5));
        let mode = fs::metadata(fixture.path("i-a.json"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(fixture.names(), ["i-a.json"]);
    }

    #[test]
    fn a_newer_event_replaces_the_file_and_does_not_write_into_it() {
        let fixture = Fixture::new();
        fixture.store(5).unwrap();
        let mut reader = File::open(fixture.path("i-a.json")).unwrap();
        assert_eq!(fixture.store(6).unwrap(), Stored::Replaced);
        let mut seen = Vec::new();
        reader.read_to_end(&mut seen).unwrap();
        assert_eq!(seen, body(5), "who has the old file open reads all of it");
        assert_eq!(fixture.content(), body(6));
    }

    #[test]
    fn an_equal_or_older_event_counts_as_delivered_and_changes_nothing() {
        let fixture = Fixture::new();
        fixture.store(5).unwrap();
        for sequence in [5, 4] {
            assert_eq!(fixture.store(sequence).unwrap(), Stored::Kept(5));
            assert_eq!(fixture.content(), body(5));
        }
    }

    #[test]
    fn a_file_without_a_sequence_is_replaced() {
        let fixture = Fixture::new();
        for content in ["", "{", "[]", r#"{"sequence":7}"#, r#"{"sequence":"x"}"#] {
            fs::write(fixture.path("i-a.json"), content).unwrap();
            assert_eq!(fixture.store(1).unwrap(), Stored::Replaced, "{content}");
        }
    }

    #[test]
    fn a_link_in_place_of_the_file_is_replaced_and_what_it_leads_to_is_not() {
        let fixture = Fixture::new();
        let victim = fixture.scratch.path().join("victim");
        fs::write(&victim, r#"{"sequence":"00000000000000000099"}"#).unwrap();
        symlink(&victim, fixture.path("i-a.json")).unwrap();
        assert_eq!(fixture.store(5).unwrap(), Stored::Replaced);
        assert!(!fixture.path("i-a.json").is_symlink());
        assert!(fs::read_to_string(&victim).unwrap().contains("99"));
    }

    #[test]
    fn a_leftover_or_a_link_in_place_of_the_temporary_file_does_no_harm() {
        let fixture = Fixture::new();
        let victim = fixture.scratch.path().join("victim");
        fs::write(&victim, "untouched").unwrap();
        symlink(&victim, fixture.path(".i-a.json.tmp")).unwrap();
        fixture.store(5).unwrap();
        fs::write(fixture.path(".i-a.json.tmp"), "half of an ev").unwrap();
        fixture.store(6).unwrap();
        assert_eq!(fixture.names(), ["i-a.json"]);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    }

    #[test]
    fn a_folder_in_place_of_the_file_is_an_error_that_leaves_nothing_behind() {
        let fixture = Fixture::new();
        fs::create_dir(fixture.path("i-a.json")).unwrap();
        let error = fixture.store(5).unwrap_err().to_string();
        assert!(error.contains("i-a.json"), "{error}");
        assert_eq!(fixture.names(), ["i-a.json"]);
    }

    #[test]
    fn a_folder_that_was_cleaned_up_is_made_again() {
        let fixture = Fixture::new();
        fs::remove_dir(fixture.path("")).unwrap();
        assert_eq!(fixture.store(5).unwrap(), Stored::Replaced);
        assert_eq!(fixture.content(), body(5));
    }

    #[test]
    fn concurrent_attempts_end_with_the_highest_sequence() {
        let fixture = Fixture::new();
        std::thread::scope(|scope| {
            for sequence in [3, 9, 1, 7, 5, 8, 2] {
                let fixture = &fixture;
                scope.spawn(move || fixture.store(sequence).unwrap());
            }
        });
        assert_eq!(fixture.content(), body(9));
        assert_eq!(fixture.names(), ["i-a.json"]);
    }
}
