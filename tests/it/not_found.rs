//! One ID that the cloud does not know makes every call fail that names it. The others must not
//! suffer for it.

use std::collections::BTreeSet;
use std::time::Duration;

use readygate::core::event::EventType;
use readygate::core::id::InstanceId;

use crate::harness::{Cloud, Hook, Site, webhook};

const PENDING: Duration = Duration::from_secs(2);
const ABSENT_AFTER: Duration = Duration::from_secs(10);

/// Halving down to one of a hundred takes 1 + 2 * 7 calls.
const CALLS: usize = 15;

#[tokio::test(flavor = "multi_thread")]
async fn one_unknown_id_among_a_hundred_holds_nobody_up_and_ends_gone() {
    let cloud = Cloud::healthy(99, Duration::from_secs(20)).await;
    let hook = Hook::serve(cloud.clock).await;
    let unknown: InstanceId = "i-bp1nobodyknowsme00001".parse().unwrap();
    let mut ids = cloud.ids();
    ids.insert(41, unknown.clone());
    let settings = r#"
[freshness]
window = "20s"
grace = "2500ms"

[poll]
pending = "2s"
absent_after = "10s"
"#;
    let site = Site::new(&cloud, &ids, &(settings.to_owned() + &webhook(&hook)));
    let mut daemon = site.start().await;

    // In the same round: before anybody pending would be asked again.
    daemon
        .process
        .until(Duration::from_secs(20), "99 ready instances", |_| {
            let count = hook.events().len();
            (count >= 99)
                .then_some(())
                .ok_or_else(|| format!("{count}"))
        })
        .await;
    let (_, calls) = cloud.handle.calls();
    let ready = hook.events();
    let last = ready.iter().map(|event| event.at).max().unwrap();
    let round = last.saturating_since(calls[0].time);
    assert!(round <= PENDING, "the 99 took {round:?}");
    let in_round = calls.iter().filter(|call| call.time <= last).count();
    assert!(
        in_round <= CALLS,
        "{in_round} calls to find one of a hundred"
    );
    let told: BTreeSet<_> = ready.iter().map(|event| event.instance.clone()).collect();
    assert_eq!(told, cloud.ids().into_iter().collect());
    assert!(
        ready
            .iter()
            .all(|event| event.event_type == EventType::Ready)
    );

    let logged_at = daemon
        .process
        .until(
            Duration::from_secs(5),
            "the log line of the unknown ID",
            |process| {
                let logs = process.logs();
                let mut found = logs
                    .iter()
                    .filter(|log| log["message"] == "instance not found");
                let line = found.next().ok_or("there is none")?;
                assert_eq!(line["instance"], unknown.as_str());
                assert_eq!(line["level"], "WARN");
                Ok(cloud.clock.steady())
            },
        )
        .await;
    let gone = daemon
        .process
        .until(Duration::from_secs(20), "the end of the unknown ID", |_| {
            let events = hook.events();
            let gone = events.iter().find(|event| event.instance == unknown);
            gone.cloned().ok_or_else(|| "nothing told".to_owned())
        })
        .await;
    assert_eq!(gone.event_type, EventType::Gone);
    let (_, calls) = cloud.handle.calls();
    let first_alone = calls.iter().find(|call| call.instances == 1).unwrap().time;
    let absent = gone.at.saturating_since(first_alone);
    assert!(
        ABSENT_AFTER <= absent && absent <= ABSENT_AFTER + Duration::from_secs(2),
        "{absent:?}"
    );
    assert!(logged_at < gone.at);
    let other: Vec<_> = hook
        .events()
        .into_iter()
        .skip(99)
        .filter(|e| e.instance != unknown)
        .collect();
    assert!(other.is_empty(), "{other:?}");
    let ended = daemon.stop(Duration::from_secs(10)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
