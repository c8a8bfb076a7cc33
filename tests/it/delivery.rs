//! What receivers can count on when they are not well, and what files hold.

use std::fs;
use std::time::Duration;

use axum::http::StatusCode;
use readygate::core::event::EventType;
use readygate::emulator::Action;
use readygate::store::{DeliveryState, StoredEvent};

use crate::harness::{Answer, Cloud, Daemon, Hook, Received, Site, webhook};

const WINDOW: Duration = Duration::from_secs(4);

/// A pace at which an instance is stale some five seconds after its last heartbeat.
const SETTINGS: &str = r#"
[freshness]
window = "4s"
grace = "500ms"

[poll]
pending = "2s"
"#;

/// Longer than anything takes that has no time of its own.
const SOON: Duration = Duration::from_secs(20);

/// Longer than it takes from a stopped agent to `instance.stale`.
const HOLD: Duration = Duration::from_secs(7);

/// Waits until so many events are committed and everything is delivered.
async fn settled(site: &Site, daemon: &mut Daemon, events: usize) {
    daemon
        .process
        .until(Duration::from_secs(40), "the end of all deliveries", |_| {
            let (committed, outbox) = (site.events().len(), site.store().outbox().unwrap().total);
            let done = committed >= events && outbox.pending == 0;
            done.then_some(())
                .ok_or_else(|| format!("{committed} committed, {outbox:?}"))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ailing_receiver_gets_each_event_in_order_under_its_first_id() {
    let cloud = Cloud::healthy(3, WINDOW).await;
    let hook = Hook::serve(cloud.clock).await;
    hook.answer_with(ailing());
    // One at a time, so that nothing is under way when the receiver asks for a pause.
    let one_at_a_time = "[delivery]\nin_flight_per_receiver = 1\n";
    let settings = [SETTINGS, one_at_a_time, &webhook(&hook)].concat();
    let site = Site::new(&cloud, &cloud.ids(), &settings);
    let mut daemon = site.start().await;

    until_received(&mut daemon, &hook, 1).await;
    let held = hook.received()[0].instance.clone();
    // While its `ready` is held up, its `stale` is committed behind it.
    cloud.handle.act(&held, Action::StopAgent).unwrap();
    let committed = daemon.process.until(SOON, "four committed events", |_| {
        let events = site.events().len();
        (events == 4)
            .then_some(())
            .ok_or_else(|| events.to_string())
    });
    committed.await;
    assert_eq!(
        hook.received().len(),
        1,
        "the receiver was asked while it is held"
    );
    settled(&site, &mut daemon, 4).await;
    let received = hook.received();
    let (of_it, others): (Vec<_>, Vec<_>) = received.into_iter().partition(|r| r.instance == held);
    assert_eq!(others.len(), 2);
    for other in others {
        assert!(
            other.at >= of_it[0].at + HOLD,
            "{other:?} while the receiver is held"
        );
    }
    assert_attempts(&of_it, &site);
}

/// 503 with a pause for whoever comes first, 500 when that comes again, and 200 ever after.
fn ailing() -> impl FnMut(&Received) -> Answer {
    let mut first = None;
    let mut answers = [
        Answer {
            header: Some(("retry-after", HOLD.as_secs().to_string())),
            ..Answer::status(StatusCode::SERVICE_UNAVAILABLE)
        },
        Answer::status(StatusCode::INTERNAL_SERVER_ERROR),
    ]
    .into_iter();
    move |received| {
        let first = first.get_or_insert_with(|| received.instance.clone());
        let answer = if *first == received.instance {
            answers.next()
        } else {
            None
        };
        answer.unwrap_or(Answer::status(StatusCode::OK))
    }
}

/// One attempt that was throttled, one that failed, one that delivered; then the next event.
fn assert_attempts(received: &[Received], site: &Site) {
    let seen: Vec<(EventType, u16, u32)> = received
        .iter()
        .map(|r| (r.event_type, r.answered.as_u16(), r.attempt))
        .collect();
    // An attempt that was throttled does not count.
    let expected = [
        (EventType::Ready, 503, 1),
        (EventType::Ready, 500, 1),
        (EventType::Ready, 200, 2),
        (EventType::Stale, 200, 1),
    ];
    assert_eq!(seen, expected);
    let [held, failed, delivered, stale] = received else {
        panic!("four requests");
    };
    assert_eq!([&held.id, &failed.id], [&delivered.id; 2]);
    assert_eq!([&held.body, &failed.body], [&delivered.body; 2]);
    assert!(delivered.sequence < stale.sequence);
    let pause = failed.at.saturating_since(held.at);
    assert!(
        HOLD <= pause && pause <= HOLD + Duration::from_secs(1),
        "{pause:?}"
    );
    let pause = delivered.at.saturating_since(failed.at);
    assert!(pause >= Duration::from_millis(800), "{pause:?}");

    let store = site.store();
    let [delivery] = &store.deliveries_of(&held.id).unwrap()[..] else {
        panic!("one delivery");
    };
    assert_eq!(
        (delivery.state, delivery.attempts),
        (DeliveryState::Delivered, 2)
    );
    let attempts = store.attempts_of(&held.id).unwrap();
    let verdicts: Vec<&str> = attempts
        .iter()
        .map(|attempt| attempt.verdict.as_str())
        .collect();
    assert_eq!(verdicts, ["hold_receiver", "retry", "delivered"]);
}

async fn until_received(daemon: &mut Daemon, hook: &Hook, count: usize) {
    let received = daemon.process.until(SOON, "attempts", |_| {
        let received = hook.received().len();
        (received >= count)
            .then_some(())
            .ok_or_else(|| format!("{received} of {count}"))
    });
    received.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed_and_drops_nothing() {
    let cloud = Cloud::healthy(1, WINDOW).await;
    let (hook, elsewhere) = (
        Hook::serve(cloud.clock).await,
        Hook::serve(cloud.clock).await,
    );
    let location = elsewhere.url.clone();
    hook.answer_with(move |_| Answer {
        header: Some(("location", location.clone())),
        ..Answer::status(StatusCode::TEMPORARY_REDIRECT)
    });
    let site = Site::new(
        &cloud,
        &cloud.ids(),
        &(SETTINGS.to_owned() + &webhook(&hook)),
    );
    let mut daemon = site.start().await;
    until_received(&mut daemon, &hook, 2).await;
    let logs = daemon.process.logs();
    let mut errors = logs.iter().filter_map(|log| log["error"].as_str());
    let said = errors.any(|error| error.contains("redirects are not followed"));
    assert!(said, "{logs:?}");
    assert_eq!(
        elsewhere.received().len(),
        0,
        "what was signed for one was sent to another"
    );
    hook.answer_with(|_| Answer::status(StatusCode::OK));
    settled(&site, &mut daemon, 1).await;
    let ids: Vec<_> = hook
        .received()
        .into_iter()
        .map(|received| received.id)
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(elsewhere.received().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_hold_what_the_store_holds() {
    let cloud = Cloud::healthy(30, WINDOW).await;
    let files = r#"
[[receiver]]
name = "newest"
kind = "file"
layout = "state"
path = "newest"

[[receiver]]
name = "history"
kind = "file"
layout = "jsonl"
path = "history.jsonl"
"#;
    let site = Site::new(&cloud, &cloud.ids(), &(SETTINGS.to_owned() + files));
    let mut daemon = site.start().await;
    settled(&site, &mut daemon, 30).await;
    let ids = cloud.ids();
    for id in &ids[..5] {
        cloud.handle.act(id, Action::StopAgent).unwrap();
    }
    for id in &ids[5..7] {
        cloud.handle.act(id, Action::Release).unwrap();
    }
    settled(&site, &mut daemon, 37).await;
    let ended = daemon.stop(Duration::from_secs(10)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    let stored = site.events();
    let history = fs::read_to_string(site.path("history.jsonl")).unwrap();
    assert_eq!(history.lines().count(), stored.len());
    for id in &ids {
        let of_it = |event: &&StoredEvent| event.instance == *id;
        let bodies: Vec<&str> = stored.iter().filter(of_it).map(body).collect();
        // The lines of one instance stand in the order of its events, among those of others.
        let written: Vec<&str> = history.lines().filter(|l| bodies.contains(l)).collect();
        assert_eq!(written, bodies, "{id}");
        let newest = fs::read_to_string(site.path("newest").join(format!("{id}.json"))).unwrap();
        assert_eq!(newest.trim_end(), *bodies.last().unwrap(), "{id}");
    }
    let files = fs::read_dir(site.path("newest")).unwrap().count();
    assert_eq!(
        files,
        ids.len(),
        "one file for each instance and nothing else"
    );
}

fn body(event: &StoredEvent) -> &str {
    str::from_utf8(&event.body).unwrap()
}
