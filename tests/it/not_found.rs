//! One ID that the cloud does not know makes every call fail that names it. The others must not
//! suffer for it.

use std::collections::BTreeSet;
use std::time::Duration;

use readygate::core::event::EventType;
use readygate::core::id::InstanceId;
use readygate::core::time::Timestamp;

use crate::harness::{Cloud, Daemon, Hook, Received, Site, webhook};

const SETTINGS: &str = r#"
[freshness]
window = "20s"
grace = "2500ms"

[poll]
pending = "2s"
absent_after = "10s"
"#;

const PENDING: Duration = Duration::from_secs(2);
const ABSENT_AFTER: Duration = Duration::from_secs(10);

/// Longer than anything takes that has no time of its own.
const SOON: Duration = Duration::from_secs(20);

/// Halving down to one of a hundred takes 1 + 2 * 7 calls.
const CALLS: usize = 15;

#[tokio::test(flavor = "multi_thread")]
async fn one_unknown_id_among_a_hundred_holds_nobody_up_and_ends_gone() {
    let cloud = Cloud::healthy(99, Duration::from_secs(20)).await;
    let hook = Hook::serve(cloud.clock).await;
    let unknown: InstanceId = "i-bp1nobodyknowsme00001".parse().unwrap();
    let mut ids = cloud.ids();
    ids.insert(41, unknown.clone());
    let site = Site::new(&cloud, &ids, &(SETTINGS.to_owned() + &webhook(&hook)));
    let mut daemon = site.start().await;

    let ready = events(&mut daemon, &hook, 99).await;
    assert_one_round(&cloud, &ready);
    until_logged(&mut daemon, &unknown).await;
    assert_eq!(hook.events().len(), 99, "more than the 99 were told of");

    let all = events(&mut daemon, &hook, 100).await;
    let gone = &all[99];
    assert_eq!(
        (gone.event_type, &gone.instance),
        (EventType::Gone, &unknown)
    );
    let absent = gone.at.saturating_since(first_asked_alone(&cloud));
    let latest = ABSENT_AFTER + Duration::from_secs(2);
    assert!(ABSENT_AFTER <= absent && absent <= latest, "{absent:?}");
    let ended = daemon.stop(SOON).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// Waits for so many events.
async fn events(daemon: &mut Daemon, hook: &Hook, count: usize) -> Vec<Received> {
    let events = daemon.process.until(SOON, "events", |_| {
        let events = hook.events();
        let enough = events.len() >= count;
        enough
            .then_some(events)
            .ok_or_else(|| format!("fewer than {count}"))
    });
    events.await
}

/// The good 99 are ready before anybody would be asked a second time, and for no more calls than
/// it takes to find the bad one.
fn assert_one_round(cloud: &Cloud, ready: &[Received]) {
    let told: BTreeSet<_> = ready.iter().map(|event| event.instance.clone()).collect();
    assert_eq!(told, cloud.ids().into_iter().collect());
    assert!(
        ready
            .iter()
            .all(|event| event.event_type == EventType::Ready)
    );
    let (_, calls) = cloud.handle.calls();
    let last = ready.iter().map(|event| event.at).max().unwrap();
    let round = last.saturating_since(calls[0].time);
    assert!(round <= PENDING, "the 99 took {round:?}");
    let in_round = calls.iter().filter(|call| call.time <= last).count();
    assert!(
        in_round <= CALLS,
        "{in_round} calls to find one of a hundred"
    );
}

async fn until_logged(daemon: &mut Daemon, unknown: &InstanceId) {
    let logged = daemon.process.until(SOON, "its log line", |process| {
        let logs = process.logs();
        let mut found = logs
            .iter()
            .filter(|log| log["message"] == "instance not found");
        let line = found.next().ok_or("there is none")?;
        assert_eq!(line["instance"], unknown.as_str());
        assert_eq!(line["level"], "WARN");
        Ok(())
    });
    logged.await;
}

/// When the API was first asked for a single ID and did not know it.
fn first_asked_alone(cloud: &Cloud) -> Timestamp {
    let (_, calls) = cloud.handle.calls();
    let mut alone = calls
        .iter()
        .filter(|call| call.instances == 1 && call.status == 404);
    alone.next().unwrap().time
}
