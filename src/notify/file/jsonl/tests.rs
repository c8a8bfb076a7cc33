//! The log file against everything that happens to log files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use futures_util::future::join_all;
use tempfile::TempDir;

use super::*;

/// A log in a scratch folder of its own.
struct Fixture {
    scratch: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        Self { scratch }
    }

    fn with_content(content: &str) -> Self {
        let fixture = Self::new();
        fs::write(fixture.path(), content).unwrap();
        fixture
    }

    fn path(&self) -> PathBuf {
        self.beside("events.jsonl")
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn open(&self) -> Result<Arc<JsonLog>, FileError> {
        JsonLog::new(self.path()).map(Arc::new)
    }

    fn content(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }
}

async fn append(log: &Arc<JsonLog>, line: &str) -> Result<(), DeliveryFailure> {
    log.append(format!("{line}\n").into_bytes()).await
}

#[tokio::test]
async fn lines_are_appended_to_what_is_there() {
    let fixture = Fixture::with_content("{\"n\":0}\n");
    let log = fixture.open().unwrap();
    append(&log, "{\"n\":1}").await.unwrap();
    append(&log, "{\"n\":2}").await.unwrap();
    assert_eq!(fixture.content(), "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n");
}

#[test]
fn a_new_log_is_for_the_group_to_read() {
    let fixture = Fixture::new();
    fixture.open().unwrap();
    let mode = fs::metadata(fixture.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[tokio::test]
async fn a_torn_last_line_is_cut_off_when_the_log_is_opened() {
    for (content, kept) in [
        ("{\"n\":0}\n{\"n\":", "{\"n\":0}\n"),
        ("{\"n\":", ""),
        ("{\"n\":0}\n", "{\"n\":0}\n"),
        ("\n", "\n"),
        ("", ""),
    ] {
        let fixture = Fixture::with_content(content);
        let log = fixture.open().unwrap();
        assert_eq!(fixture.content(), kept, "{content:?}");
        append(&log, "{}").await.unwrap();
        assert_eq!(fixture.content(), format!("{kept}{{}}\n"), "{content:?}");
    }
}

#[test]
fn a_torn_line_as_long_as_an_event_can_be_is_cut_and_a_longer_one_is_left_alone() {
    let line = "x".repeat(LONGEST_LINE);
    for (content, kept) in [
        (format!("{{}}\n{line}"), Some("{}\n")),
        (line.clone(), Some("")),
        (format!("{{}}\n{line}x"), None),
    ] {
        let fixture = Fixture::with_content(&content);
        let opened = fixture.open();
        match kept {
            Some(kept) => assert_eq!(fixture.content(), kept),
            None => {
                assert!(matches!(opened, Err(FileError::ForeignContent(_))));
                assert_eq!(fixture.content(), content);
            }
        }
    }
}

#[tokio::test]
async fn a_log_that_was_renamed_away_is_begun_anew() {
    let fixture = Fixture::new();
    let log = fixture.open().unwrap();
    append(&log, "1").await.unwrap();
    fs::rename(fixture.path(), fixture.beside("rotated")).unwrap();
    append(&log, "2").await.unwrap();
    let rotated = fs::read_to_string(fixture.beside("rotated")).unwrap();
    assert_eq!(
        (rotated.as_str(), fixture.content().as_str()),
        ("1\n", "2\n")
    );
}

#[tokio::test]
async fn a_log_that_was_replaced_or_removed_is_opened_again() {
    let fixture = Fixture::new();
    let log = fixture.open().unwrap();
    fs::rename(fixture.path(), fixture.beside("rotated")).unwrap();
    fs::write(fixture.path(), "new\n").unwrap();
    append(&log, "1").await.unwrap();
    assert_eq!(fixture.content(), "new\n1\n");
    fs::remove_file(fixture.path()).unwrap();
    append(&log, "2").await.unwrap();
    assert_eq!(fixture.content(), "2\n");
}

#[tokio::test]
async fn a_log_that_was_truncated_in_place_goes_on_at_its_new_end() {
    let fixture = Fixture::new();
    let log = fixture.open().unwrap();
    append(&log, "1").await.unwrap();
    fs::write(fixture.path(), "").unwrap();
    append(&log, "2").await.unwrap();
    assert_eq!(fixture.content(), "2\n");
}

#[tokio::test]
async fn a_link_is_not_followed() {
    let fixture = Fixture::new();
    let victim = fixture.beside("victim");
    fs::write(&victim, "untouched").unwrap();
    let log = fixture.open().unwrap();
    fs::remove_file(fixture.path()).unwrap();
    symlink(&victim, fixture.path()).unwrap();
    let failure = append(&log, "1").await.unwrap_err();
    assert!(failure.message.contains("symbolic link"), "{failure}");
    assert!(matches!(fixture.open(), Err(FileError::SymbolicLink(_))));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
}

#[tokio::test]
async fn after_a_failure_the_log_is_opened_again() {
    let fixture = Fixture::new();
    let log = fixture.open().unwrap();
    fs::remove_file(fixture.path()).unwrap();
    fs::create_dir(fixture.path()).unwrap();
    append(&log, "1").await.unwrap_err();
    fs::remove_dir(fixture.path()).unwrap();
    append(&log, "1").await.unwrap();
    assert_eq!(fixture.content(), "1\n");
}

#[test]
fn what_is_no_file_is_refused() {
    let fixture = Fixture::new();
    assert!(matches!(
        JsonLog::new(fixture.beside("..")),
        Err(FileError::NoFileName(_))
    ));
    let pipe = rustix::fs::mknodat(
        CWD,
        fixture.path(),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    );
    pipe.unwrap();
    assert!(matches!(fixture.open(), Err(FileError::NotRegular(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_of_many_lanes_are_all_there_and_all_whole() {
    let fixture = Fixture::new();
    let log = fixture.open().unwrap();
    let lines: Vec<String> = (0..200).map(|n| format!("{{\"n\":{n:03}}}")).collect();
    let outcomes = join_all(lines.iter().map(|line| append(&log, line))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    let content = fixture.content();
    let mut written: Vec<&str> = content.lines().collect();
    written.sort_unstable();
    assert_eq!(written, lines);
}

#[tokio::test]
async fn an_attempt_that_was_given_up_does_not_stop_the_others() {
    let fixture = Fixture::new();
    let log = fixture.open().unwrap();
    let given_up = Line {
        bytes: b"1\n".to_vec(),
        outcome: oneshot::channel().0,
    };
    assert!(log.enqueue(given_up), "the first line asks for a writer");
    log.write_waiting();
    append(&log, "2").await.unwrap();
    assert_eq!(fixture.content(), "1\n2\n");
}
