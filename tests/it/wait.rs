//! `readygate wait`, which scripts build on: its exit code, stdout and stderr.

use std::path::Path;
use std::time::Duration;

use readygate::core::id::InstanceId;
use readygate::core::status::OsType;
use readygate::emulator::{FaultsChange, NewInstances, Scenario};
use rustix::process::Signal;

use crate::harness::{Cloud, Process};

/// More than anything here takes that does not wait for the cloud.
const AT_ONCE: Duration = Duration::from_secs(4);

/// The cloud's own pace: `wait` knows no other.
const WINDOW: Duration = Duration::from_secs(120);

fn wait(cloud: &Cloud, ids: &[InstanceId], arguments: &[&str]) -> Process {
    wait_with(cloud, ids, arguments, &[])
}

fn wait_with(
    cloud: &Cloud,
    ids: &[InstanceId],
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Process {
    let mut line = vec![
        "wait",
        "--region",
        "cn-hangzhou",
        "--endpoint",
        &cloud.endpoint,
    ];
    line.extend(arguments);
    line.extend(ids.iter().map(InstanceId::as_str));
    Process::start_with(cloud.clock, Path::new("/"), &line, variables)
}

/// One line for each of these, in any order.
fn assert_ready(stdout: &str, ids: &[InstanceId]) {
    let mut lines: Vec<&str> = stdout.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<String> = ids.iter().map(|id| format!("{id} ready")).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

fn boots(cloud: &Cloud, boot_delay: Duration) -> Vec<InstanceId> {
    let order = NewInstances {
        count: 1,
        region: None,
        os_type: OsType::Linux,
        boot_delay,
    };
    cloud.handle.create(&order).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_instances_are_told_on_stdout_a_line_each_with_exit_code_0() {
    let cloud = Cloud::healthy(150, WINDOW).await;
    let ended = wait(&cloud, &cloud.ids(), &[]).ended(AT_ONCE * 3).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_ready(&ended.stdout, &cloud.ids());
    assert_eq!(cloud.handle.calls().0, 2, "two calls hold 150 IDs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_out_is_124_with_the_reason_of_each_unmet_instance_on_stderr() {
    let scenario = r#"
[[group]]
name = "healthy"
count = 2

[[group]]
name = "bare"
count = 1
start = "never-installed"
"#;
    let cloud = Cloud::serve(&Scenario::parse(scenario, "the test").unwrap()).await;
    let unknown: InstanceId = "i-bp1nobodyknowsme00001".parse().unwrap();
    let [bare] = &cloud.handle.group("bare")[..] else {
        panic!("one bare instance");
    };
    let ids = [&cloud.ids()[..], std::slice::from_ref(&unknown)].concat();
    let ended = wait(&cloud, &ids, &["--timeout", "2s"])
        .ended(AT_ONCE * 3)
        .await;
    assert_eq!(ended.code, Some(124), "{}", ended.stderr);
    assert_ready(&ended.stdout, &cloud.handle.group("healthy"));
    let said = &ended.stderr;
    for reason in [
        "timed out after 2s".to_owned(),
        format!("{bare} is not ready: no heartbeat within the window"),
        format!("{unknown} is not ready: the API answers 404 InvalidInstance.NotFound for it"),
    ] {
        assert!(said.contains(&reason), "`{reason}` is not in: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_1_at_once_and_told_as_a_wrong_key() {
    let cloud = Cloud::healthy(1, WINDOW).await;
    for (variable, code) in [
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "SignatureDoesNotMatch"),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "InvalidAccessKeyId.NotFound"),
    ] {
        let wrong = [(variable, "somebody-elses-key")];
        let ended = wait_with(&cloud, &cloud.ids(), &[], &wrong)
            .ended(AT_ONCE)
            .await;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
        let said = &ended.stderr;
        assert!(said.contains(code) && said.contains("key"), "{said}");
        assert!(
            !said.contains("timed out") && !said.contains("not ready"),
            "{said}"
        );
        if code == "SignatureDoesNotMatch" {
            assert!(
                !said.contains("somebody-elses-key"),
                "a secret is told: {said}"
            );
        }
    }
    assert_eq!(cloud.handle.calls().0, 2, "wrong keys stay wrong");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_cannot_be_one_is_2_before_any_call() {
    let cloud = Cloud::healthy(1, WINDOW).await;
    let ended = wait(&cloud, &cloud.ids(), &["vm-42"]).ended(AT_ONCE).await;
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("vm-42") && ended.stderr.contains("i-"),
        "{}",
        ended.stderr
    );
    assert_eq!((ended.stdout.as_str(), cloud.handle.calls().0), ("", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_is_130_and_says_how_far_it_came() {
    let cloud = Cloud::healthy(1, WINDOW).await;
    let ids = [cloud.ids(), boots(&cloud, Duration::from_secs(600))].concat();
    let mut waiting = wait(&cloud, &ids, &[]);
    waiting
        .until(AT_ONCE, "the first line", |process| {
            let lines = process.stdout();
            lines
                .first()
                .map(drop)
                .ok_or_else(|| "nobody is ready".to_owned())
        })
        .await;
    waiting.signal(Signal::INT);
    let ended = waiting.ended(AT_ONCE).await;
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("interrupted; 1 of 2 were ready"),
        "{}",
        ended.stderr
    );
    assert_ready(&ended.stdout, &cloud.ids()[..1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_boots_is_waited_for() {
    let cloud = Cloud::healthy(1, WINDOW).await;
    let booting = boots(&cloud, Duration::from_secs(7));
    let ids = [cloud.ids()[..1].to_vec(), booting.clone()].concat();
    // At 5 s it does not beat yet; at 10 s it does.
    let waiting = wait(&cloud, &ids, &[]);
    let ended = waiting.ended(Duration::from_secs(10) + AT_ONCE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_ready(&ended.stdout, &ids);
    assert!(ended.stdout.ends_with(&format!("{} ready\n", booting[0])));
    assert!(ended.stderr.contains("1 of 2 ready"), "{}", ended.stderr);
    assert!(cloud.handle.calls().0 <= 3, "more than one each 5 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_in_the_middle_is_sat_out_and_not_fought() {
    let cloud = Cloud::healthy(1, WINDOW).await;
    let ids = [cloud.ids(), boots(&cloud, Duration::from_secs(6))].concat();
    let mut waiting = wait(&cloud, &ids, &[]);
    waiting
        .until(AT_ONCE, "the first line", |process| {
            let lines = process.stdout();
            lines
                .first()
                .map(drop)
                .ok_or_else(|| "nobody is ready".to_owned())
        })
        .await;
    let throttle = FaultsChange {
        calls_per_minute: Some(Some(0)),
        retry_after: Some(true),
        ..FaultsChange::default()
    };
    cloud.handle.change_faults(throttle).unwrap();
    let throttled = |cloud: &Cloud| {
        let (_, calls) = cloud.handle.calls();
        let code = Some("Throttling.User");
        let throttled = calls
            .into_iter()
            .filter(|call| call.code.as_deref() == code);
        throttled.collect::<Vec<_>>()
    };
    waiting
        .until(Duration::from_secs(5) + AT_ONCE, "a throttled call", |_| {
            let calls = throttled(&cloud);
            calls.first().map(drop).ok_or_else(|| "none".to_owned())
        })
        .await;
    let lifted = FaultsChange {
        calls_per_minute: Some(None),
        ..FaultsChange::default()
    };
    cloud.handle.change_faults(lifted).unwrap();
    let ended = waiting.ended(Duration::from_secs(62) + AT_ONCE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_ready(&ended.stdout, &ids);
    let [refused] = &throttled(&cloud)[..] else {
        panic!(
            "it asked again before it was allowed to: {:?}",
            throttled(&cloud)
        );
    };
    let (_, calls) = cloud.handle.calls();
    let next = calls.iter().find(|call| call.time > refused.time).unwrap();
    let minute = |seconds: i64| seconds.div_euclid(60);
    assert!(
        minute(next.time.as_seconds()) > minute(refused.time.as_seconds()),
        "throttled at {}, asked again at {}",
        refused.time,
        next.time
    );
}
