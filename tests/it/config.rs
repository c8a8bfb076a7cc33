//! `readygate config` through the real binary.

use std::fs;
use std::path::Path;
use std::time::Duration;

use readygate::clock::Clock;

use crate::harness::{Ended, KEY, Process, write_private};

const SETTINGS: &str = r#"
[store]
folder = "state"

[[scope]]
name = "prod"
region = "cn-hangzhou"

[[receiver]]
name = "hook"
kind = "webhook"
url = "https://hooks.example.com/t0ken?a=t0ken"
secret = "file:secret"
"#;

/// A folder with settings in two files.
fn site() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_private(folder.path(), "readygate.toml", SETTINGS);
    write_private(folder.path(), "secret", KEY);
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    let watch = "[[watch]]\nscope = \"prod\"\nfile = \"web.txt\"\n";
    write_private(folder.path(), "conf.d/web.toml", watch);
    write_private(folder.path(), "conf.d/web.txt", "i-a\ni-b\n");
    folder
}

async fn config(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let arguments: Vec<&str> = ["config"].iter().chain(arguments).copied().collect();
    Process::start_with(Clock::start(), folder, &arguments, variables)
        .ended(Duration::from_secs(20))
        .await
}

#[tokio::test]
async fn check_says_what_is_there_or_everything_that_is_wrong() {
    let folder = site();
    let check = ["check", "--config", "readygate.toml"];
    let ended = config(folder.path(), &check, &[]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let there = "readygate.toml: 1 scope, 1 watch, 2 instances, 1 receiver\n";
    assert_eq!(ended.stdout, there);

    write_private(folder.path(), "secret", "hunter2");
    let ended = config(folder.path(), &check, &[]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(78), ""));
    let what = "the secret of receiver `hook` cannot be used";
    assert!(ended.stderr.contains(what), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);

    write_private(folder.path(), "conf.d/web.txt", "i-a\nB\n");
    write_private(folder.path(), "conf.d/a.toml", "[poll]\npendng = \"5s\"\n");
    let ended = config(folder.path(), &check, &[]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(78), ""));
    insta::assert_snapshot!(ended.stderr);
}
