use std::time::Duration;

use tempfile::tempdir;

use super::super::writer::Turn;
use super::super::{CommitError, StoreReader};
use super::*;
use crate::core::budget::BudgetRecord;

#[tokio::test]
async fn one_commit_holds_the_phase_the_event_and_a_delivery_for_each_receiver() {
    let folder = tempdir().unwrap();
    let (store, _) = open(folder.path());
    let commit = telling(1, 7, receivers(["b", "a", "b"]));
    let committed = store.commit(vec![commit.clone()]).await.unwrap();

    let [committed] = <[_; 1]>::try_from(committed).unwrap();
    assert_eq!(committed.event, Some(event_id(7)));
    let expected = WatchRecord {
        sequence: committed.sequence,
        ..commit.record
    };
    assert_eq!(store.load_watches(&scope()).await.unwrap(), [expected]);

    let events = store.events(0, 9).await.unwrap();
    let body = commit
        .event
        .unwrap()
        .body(committed.sequence, committed.time)
        .unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].body, body);
    assert_eq!(events[0].time, committed.time);
    assert_eq!(store.events(events[0].position, 9).await.unwrap(), []);

    let heads = heads(&store).await;
    let told: Vec<_> = heads
        .iter()
        .map(|head| head.lane.receiver.as_str())
        .collect();
    assert_eq!(told, ["a", "b"]);
    assert!(
        heads
            .iter()
            .all(|head| head.body == body && head.attempts == 0)
    );
}

#[tokio::test]
async fn a_refused_commit_takes_its_whole_list_along_and_nothing_else() {
    let folder = tempdir().unwrap();
    let (store, _) = open(folder.path());
    let first = telling(1, 7, receivers(["a"]));
    store.commit(vec![first]).await.unwrap();

    let foreign = Commit {
        record: record(9, Phase::Ready),
        ..telling(4, 8, receivers(["a"]))
    };
    for refused in [telling(3, 7, receivers(["a"])), foreign] {
        let list = vec![telling(2, 9, receivers(["a"])), refused];
        let error = store.commit(list).await.unwrap_err();
        assert!(
            matches!(
                error,
                CommitError::DuplicateEvent(_) | CommitError::ForeignEvent { .. }
            ),
            "{error}"
        );
        assert_eq!(store.events(0, 9).await.unwrap().len(), 1);
        assert_eq!(store.load_watches(&scope()).await.unwrap().len(), 1);
        assert_eq!(store.outbox().await.unwrap().total.pending, 1);
    }
    let again = vec![telling(2, 9, receivers(["a"]))];
    assert_eq!(store.commit(again).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_sequence_rises_even_where_it_is_ahead_of_the_clock() {
    let folder = tempdir().unwrap();
    let (store, clock) = open(folder.path());
    let before = u64::try_from(clock.wall().as_micros()).unwrap();
    let ahead = before + 10_u64.pow(12);
    let mut sequences = Vec::new();
    for (event, floor) in [(1, 0), (2, ahead), (3, 0), (4, ahead - 5)] {
        let mut commit = telling(1, event, Vec::new());
        commit.record.sequence = floor;
        let committed = store.commit(vec![commit]).await.unwrap();
        sequences.push(committed[0].sequence);
    }
    assert!(sequences[0] >= before && sequences[0] < ahead);
    assert_eq!(sequences[1..], [ahead + 1, ahead + 2, ahead + 3]);

    // Not even the end of the watch lets it begin again.
    let removed = store.remove_watches(scope(), vec![instance(1), instance(2)]);
    assert_eq!(removed.await.unwrap(), 1);
    assert_eq!(store.load_watches(&scope()).await.unwrap(), []);
    let committed = store.commit(vec![quiet(1)]).await.unwrap();
    assert_eq!(committed[0].sequence, ahead + 3);
    assert_eq!(store.events(0, 9).await.unwrap().len(), 4);
}

#[tokio::test]
async fn without_an_event_the_record_changes_and_its_sequence_stays() {
    let folder = tempdir().unwrap();
    let (store, _) = open(folder.path());
    let told = store.commit(vec![telling(1, 1, Vec::new())]).await.unwrap();
    let mut later = quiet(1);
    later.record.phase = Phase::Gone;
    later.record.absent_since = None;
    later.receivers = receivers(["a"]);
    let kept = store.commit(vec![later.clone()]).await.unwrap();
    assert_eq!(kept[0].sequence, told[0].sequence);
    assert_eq!(kept[0].event, None);
    later.record.sequence = told[0].sequence;
    assert_eq!(store.load_watches(&scope()).await.unwrap(), [later.record]);
    assert_eq!(heads(&store).await, []);
}

#[test]
fn what_waits_is_committed_in_one_transaction_and_in_its_order() {
    let folder = tempdir().unwrap();
    let (store, mut writer) = Store::prepare(folder.path(), Clock::start()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    // Each is polled once, which sends it; the writer runs only when told to.
    let mut waiting: Vec<_> = (0..300_u128)
        .map(|event| Box::pin(store.commit(vec![telling(1, event, Vec::new())])))
        .collect();
    runtime.block_on(async {
        for commit in &mut waiting {
            tokio::select! {
                biased;
                _ = commit => panic!("answered before its transaction"),
                () = std::future::ready(()) => {}
            }
        }
    });
    for transactions in [1, 2] {
        assert_eq!(writer.turn(), Turn::Next);
        assert_eq!(writer.probe.transactions(), transactions);
    }
    let sequences: Vec<_> = waiting
        .into_iter()
        .map(|commit| runtime.block_on(commit).unwrap()[0].sequence)
        .collect();
    assert!(sequences.is_sorted_by(|a, b| a < b));
    assert_eq!(sequences.len(), 300);
    drop(store);
    assert_eq!(writer.turn(), Turn::End);
}

#[tokio::test]
async fn the_log_is_copied_into_the_database_before_it_grows_long() {
    let folder = tempdir().unwrap();
    let (store, _) = open(folder.path());
    for round in 0..40_u128 {
        let commits = (0..250)
            .map(|n| telling(n, round * 250 + n as u128, receivers(["a"])))
            .collect();
        store.commit(commits).await.unwrap();
    }
    let size = |file| folder.path().join(file).metadata().unwrap().len();
    // 10,000 events are well over 10 MB; a log is 4 MB long when it is copied.
    assert!(size("readygate.db") > 8_000_000, "{}", size("readygate.db"));
    assert!(
        size("readygate.db-wal") < 8_000_000,
        "{}",
        size("readygate.db-wal")
    );
    store.close().await;
    let reader = StoreReader::open(folder.path()).unwrap();
    assert_eq!(reader.outbox().unwrap().total.pending, 10_000);
}

#[tokio::test]
async fn a_request_whose_asker_left_is_carried_out_all_the_same() {
    let folder = tempdir().unwrap();
    let (store, _) = open(folder.path());
    let asked = tokio::time::timeout(Duration::ZERO, store.commit(vec![quiet(1)]));
    drop(asked.await);
    store.commit(Vec::new()).await.unwrap();
    assert_eq!(store.load_watches(&scope()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_budget_is_read_back_as_it_was_stored_last() {
    let folder = tempdir().unwrap();
    let (store, _) = open(folder.path());
    assert_eq!(store.load_budget("prod").await.unwrap(), None);
    let mut record = BudgetRecord {
        at: Timestamp::from_seconds(1_795_390_801),
        calls: vec![(Duration::from_micros(60_999_999), 7), (Duration::ZERO, 1)],
        reserved: 30,
        held_for: Duration::from_millis(1500),
        share: 0.5,
    };
    for share in [0.5, 1.0] {
        record.share = share;
        let saved = store.save_budget("prod".to_owned(), record.clone());
        saved.await.unwrap();
        let loaded = store.load_budget("prod").await.unwrap();
        assert_eq!(loaded, Some(record.clone()));
    }
}
