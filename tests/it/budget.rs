//! The budget of calls, counted by the emulator, which is where it matters.

use std::time::Duration;

use readygate::core::event::EventType;
use readygate::core::time::Timestamp;
use readygate::emulator::{CallRecord, FaultsChange, Scenario};

use crate::harness::{Cloud, Hook, Site, webhook};

const MINUTE: Duration = Duration::from_secs(60);

/// `poll.calls_in_flight` by default: a kill cannot take back what is on its way.
const IN_FLIGHT: usize = 4;

const LIMIT: u32 = 60;

/// Thirty calls are due every two seconds: more than any budget here allows.
const HUNGRY: &str = r#"
window = "20s"
heartbeat = "9.2s..10.8s"
seed = 3
regions = ["cn-hangzhou"]

[[group]]
name = "bare"
count = 3000
start = "never-installed"
"#;

/// The most calls in any 60 s.
fn most_in_a_minute(calls: &[CallRecord]) -> usize {
    let within = |index: usize, first: &CallRecord| {
        let later = calls[index..].iter();
        later
            .take_while(|call| call.time < first.time + MINUTE)
            .count()
    };
    let all = calls.iter().enumerate();
    all.map(|(index, first)| within(index, first))
        .max()
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_refills_the_budget() {
    let scenario = Scenario::parse(HUNGRY, "the scenario of the test").unwrap();
    let cloud = Cloud::serve(&scenario).await;
    let settings = "[poll]\npending = \"2s\"\n";
    let site = Site::with_budget(&cloud, &cloud.ids(), settings, LIMIT);
    for _ in 0..4 {
        let mut daemon = site.start().await;
        cloud.clock.sleep(Duration::from_secs(18)).await;
        daemon.process.assert_alive();
        daemon.assert_no_errors();
        daemon.process.kill();
    }
    let (total, calls) = cloud.handle.calls();
    let (most, limit) = (most_in_a_minute(&calls), usize::try_from(LIMIT).unwrap());
    eprintln!("{total} calls, at most {most} in a minute");
    assert!(most <= limit + IN_FLIGHT, "{most} calls in a minute");
    // Each kill costs at most the ten calls that were reserved.
    assert!(most >= limit / 2, "only {most} of {limit} were made");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_asks_for_a_pause_gets_it_and_nobody_is_told_of_it() {
    let cloud = Cloud::healthy(200, Duration::from_secs(20)).await;
    let hook = Hook::serve(cloud.clock).await;
    let settings = "[freshness]\nwindow = \"20s\"\ngrace = \"2500ms\"\n".to_owned();
    let site = Site::new(&cloud, &cloud.ids(), &(settings + &webhook(&hook)));
    let mut daemon = site.start().await;
    let soon = Duration::from_secs(25);
    let all_ready = daemon.process.until(soon, "everybody to be ready", |_| {
        let told = hook.events().len();
        (told == 200)
            .then_some(())
            .ok_or_else(|| format!("{told} are"))
    });
    all_ready.await;

    let throttle = FaultsChange {
        calls_per_minute: Some(Some(0)),
        retry_after: Some(true),
        ..FaultsChange::default()
    };
    cloud.handle.change_faults(throttle).unwrap();
    let refused = |calls: &[CallRecord]| calls.iter().find(|call| call.status == 400).cloned();
    let first = daemon.process.until(soon, "a call to be throttled", |_| {
        refused(&cloud.handle.calls().1).ok_or_else(|| "none".to_owned())
    });
    let first = first.await;
    let free = FaultsChange {
        calls_per_minute: Some(None),
        ..FaultsChange::default()
    };
    cloud.handle.change_faults(free).unwrap();
    let minute = Timestamp::from_seconds((first.time.as_seconds().div_euclid(60) + 1) * 60);
    // What was on its way when the answer came does not count.
    let known = first.time + Duration::from_millis(500);
    let later = |calls: &[CallRecord]| calls.iter().find(|call| call.time > known).cloned();
    let next = daemon
        .process
        .until(MINUTE + soon, "the calls after the pause", |_| {
            later(&cloud.handle.calls().1).ok_or_else(|| "none".to_owned())
        });
    let next = next.await;
    let pause = next.time.saturating_since(minute);
    assert!(
        next.time >= minute,
        "called {next:?} in the pause until {minute}"
    );
    assert!(
        pause <= Duration::from_secs(3),
        "{pause:?} after the end of the pause"
    );

    cloud.clock.sleep(soon).await;
    let ended = daemon.stop(soon).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let events = hook.events();
    assert_eq!(events.len(), 200, "somebody was told of the pause");
    assert!(
        events
            .iter()
            .all(|event| event.event_type == EventType::Ready)
    );
}
