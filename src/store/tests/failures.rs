use rusqlite::Connection;
use tempfile::tempdir;

use super::super::{CommitError, Health, ReadError, StoreFailure, Unavailable};
use super::*;

/// A store whose disk has no room for one page more.
async fn open_full(folder: &Path) -> (Store, Arc<Probe>) {
    let (store, probe) = open_with_probe(folder);
    store
        .commit(vec![telling(0, 0, receivers(["a"]))])
        .await
        .unwrap();
    probe.limit_pages(1);
    (store, probe)
}

/// Many enough that they need a page.
fn many() -> Vec<Commit> {
    (1..50)
        .map(|number| telling(number, number as u128, receivers(["a"])))
        .collect()
}

#[tokio::test]
async fn a_full_disk_keeps_what_waits_is_said_and_recovers_by_itself() {
    let folder = tempdir().unwrap();
    let (store, probe) = open_full(folder.path()).await;
    let mut health = store.health();
    let commits = store.commit(many());
    tokio::pin!(commits);
    tokio::select! {
        answer = &mut commits => panic!("{answer:?}"),
        full = health.wait_for(|health| matches!(health, Health::Full { .. })) => drop(full.unwrap()),
    }
    // Who only looks is not disturbed, and sees nothing of what waits.
    assert_eq!(store.events(0, 99).await.unwrap().len(), 1);
    let transactions = probe.transactions();

    probe.limit_pages(0);
    assert_eq!(commits.await.unwrap().len(), 49);
    assert!(matches!(*health.borrow_and_update(), Health::Ok));
    assert_eq!(probe.transactions(), transactions + 1);
    assert_eq!(store.events(0, 99).await.unwrap().len(), 50);
    assert_eq!(heads(&store).await.len(), 50);
}

#[tokio::test]
async fn closing_does_not_wait_for_a_full_disk() {
    let folder = tempdir().unwrap();
    let (store, _probe) = open_full(folder.path()).await;
    let mut health = store.health();
    let handle = store.clone();
    let (answer, ()) = tokio::join!(handle.commit(many()), async {
        let full = |health: &Health| matches!(health, Health::Full { .. });
        drop(health.wait_for(full).await.unwrap());
        store.close().await;
    });
    assert!(matches!(answer, Err(CommitError::Closed)), "{answer:?}");
    let (store, _) = open(folder.path());
    assert_eq!(store.events(0, 99).await.unwrap().len(), 1);
}

#[tokio::test]
async fn any_other_failure_is_final_for_all_who_wait() {
    let folder = tempdir().unwrap();
    let (store, writer) = Store::prepare(folder.path(), Clock::start()).unwrap();
    let outside = Connection::open(folder.path().join("readygate.db")).unwrap();
    outside.execute_batch("DROP TABLE watch").unwrap();
    writer.start().unwrap();
    let (first, second, failure) = tokio::join!(
        store.commit(vec![quiet(1)]),
        store.remove_watches(scope(), vec![instance(1)]),
        store.failed(),
    );
    assert!(matches!(first, Err(CommitError::Fatal(_))), "{first:?}");
    assert!(matches!(second, Err(Unavailable::Fatal(_))), "{second:?}");
    assert!(matches!(failure, StoreFailure::Sqlite { .. }), "{failure}");
    assert!(failure.to_string().contains("readygate.db"), "{failure}");
    let later = store.commit(vec![quiet(1)]).await;
    assert!(matches!(later, Err(CommitError::Fatal(_))), "{later:?}");
    assert!(matches!(*store.health().borrow(), Health::Failed(_)));
}

#[tokio::test]
async fn a_writing_thread_that_died_is_a_failure_and_a_closed_store_is_none() {
    let folder = tempdir().unwrap();
    let (store, writer) = Store::prepare(folder.path(), Clock::start()).unwrap();
    drop(writer);
    let failure = store.failed().await;
    assert!(matches!(failure, StoreFailure::WriterEnded), "{failure}");
    drop(store);

    let (store, _) = open(folder.path());
    let handle = store.clone();
    store.close().await;
    tokio::select! {
        biased;
        failure = handle.failed() => panic!("{failure}"),
        () = std::future::ready(()) => {}
    }
    let answer = handle.next_due(Except::default()).await;
    assert!(matches!(answer, Err(ReadError::Closed)), "{answer:?}");
}
