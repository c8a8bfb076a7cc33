//! Settings that cannot be used: `readygate run` says everything that is wrong and ends with 78,
//! which the systemd unit does not restart.

use std::path::Path;
use std::time::Duration;

use readygate::clock::Clock;

use crate::harness::{Ended, Process, write_private};

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(20);

async fn run_with(folder: &Path, settings: &str) -> Ended {
    write_private(folder, "readygate.toml", settings);
    let file = folder.join("readygate.toml");
    let arguments = ["run", "--config", file.to_str().unwrap()];
    let ended = Process::start(Clock::start(), folder, &arguments)
        .ended(SOON)
        .await;
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    ended
}

#[tokio::test]
async fn every_problem_is_told_at_once_with_its_file_and_key() {
    let folder = tempfile::tempdir().unwrap();
    write_private(folder.path(), "instances.txt", "i-bp1a\n");
    let settings = r#"
[poll]
pendng = "5s"
timeout = "ten seconds"

[[scope]]
name = "prod"
region = "cn-hangzhou"

[[scope]]
name = "prod"
region = "cn-beijing"

[[watch]]
scope = "prod"
instances = ["i-bp1a"]
file = "instances.txt"

[[receiver]]
name = "hook"
kind = "webhook"
url = "https://hooks.example.com/readygate"
secret = "file:missing-secret"
"#;
    let ended = run_with(folder.path(), settings).await;
    let said = ended
        .stderr
        .replace(folder.path().to_str().unwrap(), "[folder]");
    insta::assert_snapshot!(said);
}

#[tokio::test]
async fn a_secret_that_is_no_signing_key_is_refused_and_never_repeated() {
    let settings = r#"
[store]
folder = "state"

[[scope]]
name = "prod"
region = "cn-hangzhou"

[[watch]]
scope = "prod"
instances = ["i-bp1a"]

[[receiver]]
name = "hook"
kind = "webhook"
url = "https://hooks.example.com/readygate"
secret = "file:secret"
"#;
    let a_key_is = [
        ("hunter2hunter2", "begins with `whsec_`"),
        ("whsec_hunter2!hunter2", "standard base64"),
        ("whsec_aHVudGVyMg==", "24 to 64 bytes"),
    ];
    for (secret, a_key_is) in a_key_is {
        let folder = tempfile::tempdir().unwrap();
        write_private(folder.path(), "secret", secret);
        let said = run_with(folder.path(), settings).await.stderr;
        for part in ["the secret of receiver `hook` cannot be used", a_key_is] {
            assert!(said.contains(part), "`{part}` is not in: {said}");
        }
        assert!(
            !said.contains("hunter2") && !said.contains("aHVudGVy"),
            "{said}"
        );
        let state = folder.path().join("state");
        assert!(!state.exists(), "a store was made all the same");
    }
}
