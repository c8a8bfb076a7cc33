use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::tempdir;

use super::super::{OpenError, ReaderOpenError, StoreReader, schema};
use super::*;

#[tokio::test]
async fn folder_and_files_are_private_and_the_settings_are_those_promised() {
    let parent = tempdir().unwrap();
    let folder = parent.path().join("state/readygate");
    let (store, writer) = Store::prepare(&folder, Clock::start()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in ["readygate.db", "readygate.lock", "readygate.db-wal"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
    for (pragma, expected) in [
        ("journal_mode", Value::from("wal".to_owned())),
        ("synchronous", Value::from(2)),
        ("auto_vacuum", Value::from(2)),
        ("foreign_keys", Value::from(1)),
        ("mmap_size", Value::from(0)),
        ("busy_timeout", Value::from(5000)),
        ("journal_size_limit", Value::from(67108864)),
        ("user_version", Value::from(1)),
    ] {
        let found: Value = writer
            .connection
            .pragma_query_value(None, pragma, |row| row.get(0))
            .unwrap();
        assert_eq!(found, expected, "{pragma}");
    }
    drop(store);
}

#[tokio::test]
async fn a_second_daemon_is_refused_until_the_first_has_closed() {
    let folder = tempdir().unwrap();
    let (store, clock) = open(folder.path());
    let refused = Store::open(folder.path(), clock).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    let words = refused.to_string();
    assert!(words.contains(folder.path().to_str().unwrap()), "{words}");
    assert!(words.contains("stop it first"), "{words}");
    store.close().await;
    assert!(Store::open(folder.path(), clock).is_ok());
}

#[tokio::test]
async fn closing_leaves_one_database_file_without_a_log() {
    let folder = tempdir().unwrap();
    let (store, _) = open(folder.path());
    let clone = store.clone();
    clone.commit(vec![quiet(1)]).await.unwrap();
    store.close().await;
    assert!(!folder.path().join("readygate.db-wal").exists());
    assert!(clone.commit(vec![quiet(1)]).await.is_err());
    assert!(clone.outbox().await.is_err());
    let reader = StoreReader::open(folder.path()).unwrap();
    assert_eq!(reader.watches(&scope()).unwrap().len(), 1);
}

#[tokio::test]
async fn a_newer_schema_is_refused_without_a_write() {
    let folder = tempdir().unwrap();
    let (store, clock) = open(folder.path());
    store.commit(vec![quiet(1)]).await.unwrap();
    store.close().await;
    let database = folder.path().join("readygate.db");
    let newer = Connection::open(&database).unwrap();
    newer
        .pragma_update(None, "user_version", schema::KNOWN + 1)
        .unwrap();
    // As a crash leaves it: the new version stands in the log only, and opening and closing the
    // file for writing would move it.
    let log = folder.path().join("readygate.db-wal");
    let crashed = tempdir().unwrap();
    for file in [&database, &log] {
        fs::copy(file, crashed.path().join(file.file_name().unwrap())).unwrap();
    }
    drop(newer);

    let contents = || {
        ["readygate.db", "readygate.db-wal"]
            .map(|file| fs::read(crashed.path().join(file)).unwrap())
    };
    let before = contents();
    let refused = Store::open(crashed.path(), clock).unwrap_err();
    assert!(
        matches!(refused, OpenError::NewerSchema { .. }),
        "{refused}"
    );
    assert!(before == contents(), "the file was written to");
    let refused = StoreReader::open(crashed.path()).unwrap_err();
    assert!(
        matches!(refused, ReaderOpenError::Schema { .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_named() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("readygate.db"), vec![7; 5000]).unwrap();
    let refused = Store::open(folder.path(), Clock::start()).unwrap_err();
    assert!(matches!(refused, OpenError::Sqlite { .. }), "{refused}");
    assert!(refused.to_string().contains("readygate.db"), "{refused}");
}

#[tokio::test]
async fn a_delay_from_a_calendar_that_was_set_back_does_not_park_a_delivery() {
    let folder = tempdir().unwrap();
    let (store, _) = open(folder.path());
    let commits = vec![
        telling(1, 1, receivers(["a"])),
        telling(2, 2, receivers(["a"])),
    ];
    store.commit(commits).await.unwrap();
    let heads = heads(&store).await;
    for (head, seconds) in heads.iter().zip([3500, 7200]) {
        let verdict = Verdict::Retry(Duration::from_secs(seconds));
        store.settle(settlement(head, verdict)).await.unwrap();
    }
    store.close().await;

    let (store, clock) = open(folder.path());
    let due = store
        .due_deliveries(clock.steady(), 9, Except::default())
        .await
        .unwrap();
    let due: Vec<_> = due.into_iter().map(|delivery| delivery.lane).collect();
    assert_eq!(due, [heads[1].lane.clone()]);
}
