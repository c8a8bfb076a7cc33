//! `readygate emulate` as a command of its own.

use std::path::Path;
use std::time::Duration;

use readygate::clock::Clock;
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::Process;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn it_prints_one_line_of_json_that_is_enough_to_call_it() {
    let (clock, folder) = (Clock::start(), Path::new("/"));
    let mut emulator = Process::start(clock, folder, &["emulate", "--instances", "7"]);
    let line = emulator
        .until(SOON, "the announcement", |process| {
            process
                .stdout()
                .first()
                .cloned()
                .ok_or_else(|| "no line".to_owned())
        })
        .await;
    let told: Value = serde_json::from_str(&line).unwrap();
    let keys: Vec<&str> = told
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "access_key_id",
            "access_key_secret",
            "endpoint",
            "instances",
            "regions",
            "sample_ids"
        ]
    );
    assert_eq!(told["instances"], 7);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let endpoint = text(&told["endpoint"]);
    let port: u16 = endpoint
        .strip_prefix("http://127.0.0.1:")
        .unwrap()
        .parse()
        .unwrap();
    assert_ne!(port, 0);

    let (region, id) = (text(&told["regions"][0]), text(&told["sample_ids"][6]));
    let arguments = ["wait", "--endpoint", &endpoint, "--region", &region, &id];
    let (key_id, key_secret) = (
        text(&told["access_key_id"]),
        text(&told["access_key_secret"]),
    );
    let key = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", key_id.as_str()),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", key_secret.as_str()),
    ];
    let waited = Process::start_with(clock, folder, &arguments, &key)
        .ended(SOON)
        .await;
    assert_eq!(waited.code, Some(0), "{}", waited.stderr);

    emulator.signal(Signal::TERM);
    let ended = emulator.ended(SOON).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(
        ended.stdout,
        format!("{line}\n"),
        "stdout holds nothing but the announcement"
    );
}

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let arguments = ["emulate", "--listen", "0.0.0.0:0"];
    let ended = Process::start(Clock::start(), Path::new("/"), &arguments)
        .ended(SOON)
        .await;
    assert!(ended.code.is_some_and(|code| code != 0), "{:?}", ended.code);
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.contains("loopback"), "{}", ended.stderr);
}
