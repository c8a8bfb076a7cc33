//! A machine with settings and a state folder, on which one daemon after the other runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use readygate::clock::Clock;
use readygate::core::id::InstanceId;
use readygate::store::{StoreReader, StoredEvent};
use serde_json::Value;
use tempfile::TempDir;

use super::{Cloud, Ended, Hook, KEY, Process};

/// How long a start may take before the daemon watches; the machine may be busy.
const START: Duration = Duration::from_secs(20);

/// A folder with `readygate.toml`, `instances.txt`, `secret` and `state/`.
pub(crate) struct Site {
    folder: TempDir,
    clock: Clock,
}

impl Site {
    /// A site whose one scope asks the cloud about these instances. `settings` holds everything
    /// but the scope and the watch.
    pub(crate) fn new(cloud: &Cloud, instances: &[InstanceId], settings: &str) -> Self {
        Self::with_budget(cloud, instances, settings, 3000)
    }

    /// The same with so many calls in any 60 s.
    pub(crate) fn with_budget(
        cloud: &Cloud,
        instances: &[InstanceId],
        settings: &str,
        calls_per_minute: u32,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = &cloud.endpoint;
        let site = Self {
            folder,
            clock: cloud.clock,
        };
        let lines: Vec<String> = instances.iter().map(|id| format!("{id}\n")).collect();
        site.write("instances.txt", &lines.concat());
        site.write("secret", KEY);
        site.write(
            "readygate.toml",
            &format!(
                r#"{settings}
[store]
folder = "state"

[[scope]]
name = "prod"
region = "cn-hangzhou"
endpoint = "{endpoint}"
calls_per_minute = {calls_per_minute}

[[watch]]
scope = "prod"
file = "instances.txt"
"#
            ),
        );
        site
    }

    /// A path below the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        write_private(self.folder.path(), name, text);
    }

    /// Starts a daemon and waits until it watches.
    pub(crate) async fn start(&self) -> Daemon {
        let arguments = ["run", "--config", "readygate.toml"];
        let mut process = Process::start(self.clock, self.folder.path(), &arguments);
        process
            .until(START, "the start of the daemon", |process| {
                let logs = process.logs();
                let watches = logs.iter().any(|log| log["message"] == "watching");
                watches.then_some(()).ok_or_else(|| format!("{logs:?}"))
            })
            .await;
        Daemon { process }
    }

    /// The store, beside a daemon or after it.
    pub(crate) fn store(&self) -> StoreReader {
        StoreReader::open(&self.path("state")).unwrap()
    }

    /// Every event that is committed.
    pub(crate) fn events(&self) -> Vec<StoredEvent> {
        self.store().events(0, usize::MAX).unwrap()
    }
}

/// A daemon that watches.
pub(crate) struct Daemon {
    pub(crate) process: Process,
}

impl Daemon {
    /// Fails the test when it logged that something is broken.
    pub(crate) fn assert_no_errors(&self) {
        let errors: Vec<Value> = self
            .process
            .logs()
            .into_iter()
            .filter(|log| log["level"] == "ERROR")
            .collect();
        assert!(errors.is_empty(), "{errors:?}");
    }

    /// Asks it to stop, and waits for that.
    pub(crate) async fn stop(self, within: Duration) -> Ended {
        self.process.signal(rustix::process::Signal::TERM);
        self.process.ended(within).await
    }
}

/// Writes a file that only its owner can read, as secrets must be.
pub(crate) fn write_private(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The settings of a webhook receiver; more keys may follow.
pub(crate) fn webhook(hook: &Hook) -> String {
    let url = &hook.url;
    format!(
        r#"
[[receiver]]
name = "hook"
kind = "webhook"
url = "{url}"
secret = "file:secret"
"#
    )
}
