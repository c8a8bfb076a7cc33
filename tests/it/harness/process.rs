//! The real binary as a process that does not outlive its test.

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use readygate::clock::Clock;
use readygate::emulator::{ACCESS_KEY_ID, ACCESS_KEY_SECRET};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::until;

/// `readygate` with arguments. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    stdout: Output,
    stderr: Output,
    clock: Clock,
}

/// The lines of one stream, as they come.
struct Output {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

/// How a process ended, and everything it wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; nothing where a signal killed it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Process {
    /// Starts the binary in a folder, with nothing of the test's environment but the key of the
    /// emulator.
    pub(crate) fn start(clock: Clock, folder: &Path, arguments: &[&str]) -> Self {
        Self::start_with(clock, folder, arguments, &[])
    }

    /// The same with more variables, which win over those.
    pub(crate) fn start_with(
        clock: Clock,
        folder: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_readygate"))
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .env("HOME", folder)
            .env("ALIBABA_CLOUD_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", ACCESS_KEY_SECRET)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = Output::read(child.stdout.take().unwrap());
        let stderr = Output::read(child.stderr.take().unwrap());
        Self {
            child,
            stdout,
            stderr,
            clock,
        }
    }

    /// The lines on stdout so far.
    pub(crate) fn stdout(&self) -> Vec<String> {
        self.stdout.lines.lock().unwrap().clone()
    }

    /// The lines on stderr so far.
    pub(crate) fn stderr(&self) -> Vec<String> {
        self.stderr.lines.lock().unwrap().clone()
    }

    /// The lines on stderr so far as log lines, which are JSON objects.
    pub(crate) fn logs(&self) -> Vec<Value> {
        let parse = |line: &String| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("not a log line ({error}): {line}"))
        };
        self.stderr().iter().map(parse).collect()
    }

    /// Fails the test when the process has ended, with what it said last.
    pub(crate) fn assert_alive(&mut self) {
        let Some(status) = self.child.try_wait().unwrap() else {
            return;
        };
        self.stderr.finish();
        let said = self.stderr();
        let last = said.len().saturating_sub(20);
        panic!(
            "readygate ended with {status}, which nobody asked for:\n{}",
            said[last..].join("\n")
        );
    }

    /// Looks until there is an answer, as [`until`] does, and fails at once when the process ends.
    pub(crate) async fn until<T>(
        &mut self,
        within: Duration,
        what: &str,
        mut look: impl FnMut(&Self) -> Result<T, String>,
    ) -> T {
        let clock = self.clock;
        until(clock, within, what, || {
            let answer = look(self);
            if answer.is_err() {
                self.assert_alive();
            }
            answer
        })
        .await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kills it where it stands, and waits until the system has taken it away.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "it ended before it was killed");
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn ended(mut self, within: Duration) -> Ended {
        let clock = self.clock;
        let status: ExitStatus = until(clock, within, "the end of the process", || {
            let status = self.child.try_wait().unwrap();
            status.ok_or_else(|| format!("it runs; stderr: {:?}", self.stderr().last()))
        })
        .await;
        self.stdout.finish();
        self.stderr.finish();
        Ended {
            code: status.code(),
            stdout: whole(&self.stdout()),
            stderr: whole(&self.stderr()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Where it has ended already there is nothing to kill.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Output {
    fn read(stream: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                written.lock().unwrap().push(line.unwrap());
            }
        });
        Self {
            lines,
            reader: Some(reader),
        }
    }

    /// Waits for the rest of what a process that has ended wrote.
    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}

fn whole(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}
