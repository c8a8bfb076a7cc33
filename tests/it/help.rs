//! What `--help` says of every command, as people read it.

use std::path::Path;
use std::time::Duration;

use readygate::clock::Clock;

use crate::harness::Process;

#[tokio::test]
async fn every_command_explains_itself() {
    for (name, command) in [
        ("readygate", None),
        ("run", Some("run")),
        ("wait", Some("wait")),
        ("emulate", Some("emulate")),
        ("demo", Some("demo")),
        ("config", Some("config")),
        ("config-check", Some("config check")),
    ] {
        let words = command.into_iter().flat_map(str::split_whitespace);
        let arguments: Vec<&str> = words.chain(["--help"]).collect();
        // The width must not depend on where the test runs.
        let width = [("COLUMNS", "100")];
        let help = Process::start_with(Clock::start(), Path::new("/"), &arguments, &width);
        let ended = help.ended(Duration::from_secs(20)).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        insta::assert_snapshot!(name, ended.stdout);
    }
}

#[tokio::test]
async fn a_command_line_that_makes_no_sense_is_2_and_says_so_on_stderr() {
    for arguments in [&["rnu"][..], &["run", "--confg", "a.toml"], &[]] {
        let process = Process::start(Clock::start(), Path::new("/"), arguments);
        let ended = process.ended(Duration::from_secs(20)).await;
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(2), ""),
            "{arguments:?}"
        );
        assert!(
            ended.stderr.contains("Usage: readygate"),
            "{}",
            ended.stderr
        );
    }
}
