//! How a daemon ends when it is asked to, while a slow receiver keeps it busy.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::http::StatusCode;
use readygate::core::event::EventId;
use rustix::process::Signal;

use crate::harness::{Answer, Cloud, Daemon, Hook, Site, webhook};

const INSTANCES: u32 = 60;
const GRACE: Duration = Duration::from_secs(3);

/// How long the slow receiver thinks: two answers fit into the grace time, not the whole queue.
const SLOW: Duration = Duration::from_millis(1300);

/// Starting and ending a process take a moment.
const MARGIN: Duration = Duration::from_secs(2);

const SETTINGS: &str = r#"
[poll]
pending = "2s"

[delivery]
in_flight_per_receiver = 4

[shutdown]
grace = "3s"
"#;

fn slow(_: &crate::harness::Received) -> Answer {
    Answer {
        after: SLOW,
        ..Answer::status(StatusCode::NO_CONTENT)
    }
}

/// A daemon with 60 events committed, of which the slow receiver has seen a few.
async fn under_load() -> (Cloud, Hook, Site, Daemon) {
    let cloud = Cloud::healthy(INSTANCES, Duration::from_secs(120)).await;
    let hook = Hook::serve(cloud.clock).await;
    hook.answer_with(slow);
    let settings = SETTINGS.to_owned() + &webhook(&hook);
    let site = Site::new(&cloud, &cloud.ids(), &settings);
    let mut daemon = site.start().await;
    daemon
        .process
        .until(Duration::from_secs(20), "a daemon under load", |_| {
            let (committed, received) = (site.events().len(), hook.received().len());
            let loaded = committed == INSTANCES as usize && received >= 6;
            loaded
                .then_some(())
                .ok_or_else(|| format!("{committed} committed, {received} received"))
        })
        .await;
    (cloud, hook, site, daemon)
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_ends_in_time_and_the_rest_is_delivered_after_the_next_start() {
    let (_cloud, hook, site, daemon) = under_load().await;
    let ended = daemon.stop(GRACE + MARGIN).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("the grace time is over"),
        "{}",
        ended.stderr
    );
    let left = site.store().outbox().unwrap().total;
    assert!(left.pending > 0 && left.delivered >= 4, "{left:?}");
    assert_eq!((left.dead, left.settled), (0, 0));
    let before: BTreeMap<EventId, Vec<u8>> = site
        .events()
        .into_iter()
        .map(|event| (event.id, event.body))
        .collect();
    let answered = hook.received().len();

    hook.answer_with(|_| Answer::status(StatusCode::NO_CONTENT));
    let mut daemon = site.start().await;
    daemon
        .process
        .until(
            Duration::from_secs(20),
            "the rest of the deliveries",
            |_| {
                let outbox = site.store().outbox().unwrap().total;
                (outbox.pending == 0)
                    .then_some(())
                    .ok_or_else(|| format!("{outbox:?}"))
            },
        )
        .await;
    let received = hook.received();
    let after: BTreeMap<EventId, Vec<u8>> = received
        .iter()
        .cloned()
        .map(|event| (event.id, event.body))
        .collect();
    assert_eq!(
        after, before,
        "not the events that were committed before the stop"
    );
    // What was under way at the end came again, under the same ID; nothing else did.
    let repeats = received.len() - before.len();
    assert!(repeats <= 4, "{repeats} repeats");
    let rest: BTreeSet<_> = received[answered..].iter().map(|event| &event.id).collect();
    assert_eq!(rest.len(), usize::try_from(left.pending).unwrap());
    let ended = daemon.stop(GRACE + MARGIN).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_at_once() {
    let (cloud, _hook, _site, mut daemon) = under_load().await;
    daemon.process.signal(Signal::TERM);
    daemon
        .process
        .until(
            Duration::from_secs(2),
            "the answer to the first signal",
            |process| {
                let heard = process
                    .logs()
                    .iter()
                    .any(|log| log["message"] == "stopping");
                heard
                    .then_some(())
                    .ok_or_else(|| "it does not stop".to_owned())
            },
        )
        .await;
    let asked = cloud.clock.now();
    let ended = daemon.stop(Duration::from_secs(2)).await;
    let took = cloud.clock.now().saturating_since(asked);
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    assert_eq!(ended.code, Some(128 + 15), "{}", ended.stderr);
}
