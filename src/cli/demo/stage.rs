//! What the demo plays on: a folder, an emulated region, a receiver, settings.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::{Overrides, Settings};
use crate::core::id::InstanceId;
use crate::emulator::{Announcement, Emulator, EmulatorHandle, Scenario};
use crate::environment::Environment;
use crate::notify::SigningKey;

use super::super::Context;
use super::hook::{Hook, Received};

/// What happens in the demo.
const SCENARIO: &str = include_str!("../../../config/scenarios/demo.toml");

/// An ID that the region never knew, as somebody could have mistyped it.
const NEVER_EXISTED: &str = "i-bp1nosuchinstance000";

/// The settings beside the figures that the emulator gives.
const WINDOW: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_millis(2500);
const READY_DEADLINE: Duration = Duration::from_secs(25);
const ABSENT_AFTER: Duration = Duration::from_secs(25);
const PENDING: Duration = Duration::from_secs(2);

/// The demo's folder, and what is asked while it plays.
pub(super) struct Stage {
    pub(super) folder: PathBuf,
    pub(super) settings: Settings,
    /// The emulator's keys, in place of this process's variables.
    pub(super) environment: Environment,
    pub(super) emulator: EmulatorHandle,
    pub(super) endpoint: String,
    pub(super) instances: usize,
    pub(super) received: Received,
}

/// What plays by itself.
pub(super) struct Cast {
    pub(super) emulator: Emulator,
    pub(super) hook: Hook,
}

impl Stage {
    /// Makes a new folder and writes into it what the demo needs.
    pub(super) async fn set(context: &Context) -> anyhow::Result<(Self, Cast)> {
        let clock = context.clock;
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let scenario = Scenario::parse(SCENARIO, "config/scenarios/demo.toml")?;
        let emulator = Emulator::bind(&scenario, loopback, clock).await?;
        let announcement = emulator.announcement();
        let secret = new_secret();
        let hook = Hook::bind(loopback, SigningKey::parse(&secret)?, clock).await?;

        let folder = new_folder(&context.environment)?;
        let write = |name: &str, text: &str| write_private(&folder.join(name), text);
        write("webhook-secret", &secret)?;
        write("instances.txt", &instance_list(&emulator.handle())?)?;
        write("settings.toml", &settings_text(&announcement, hook.url()))?;
        let environment = Environment::from([
            (
                "ALIBABA_CLOUD_ACCESS_KEY_ID",
                announcement.access_key_id.as_str(),
            ),
            (
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
                announcement.access_key_secret.as_str(),
            ),
        ]);
        let file = folder.join("settings.toml");
        let settings = Settings::load(Some(&file), &environment, &Overrides::default())?;
        let stage = Self {
            settings,
            environment,
            emulator: emulator.handle(),
            endpoint: announcement.endpoint,
            instances: announcement.instances + 1,
            received: hook.received(),
            folder,
        };
        Ok((stage, Cast { emulator, hook }))
    }

    /// Where the JSON lines are.
    pub(super) fn events_file(&self) -> PathBuf {
        self.folder.join("events.jsonl")
    }

    /// Where the state of each instance is.
    pub(super) fn state_folder(&self) -> PathBuf {
        self.folder.join("instances")
    }
}

fn new_secret() -> String {
    format!("whsec_{}", STANDARD.encode(rand::random::<[u8; 32]>()))
}

fn new_folder(environment: &Environment) -> anyhow::Result<PathBuf> {
    let parent = environment
        .path("TMPDIR")
        .unwrap_or_else(|| PathBuf::from("/tmp"));
    let folder = parent.join(format!("readygate-demo-{:08x}", rand::random::<u32>()));
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700);
    builder
        .create(&folder)
        .with_context(|| format!("failed to make {}", folder.display()))?;
    Ok(folder)
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("failed to write {}", path.display()))
}

fn instance_list(emulator: &EmulatorHandle) -> anyhow::Result<String> {
    let never_existed: InstanceId = NEVER_EXISTED.parse()?;
    let mut text =
        String::from("# Every instance of the emulated region, and one that never existed.\n");
    for instance in emulator.ids().into_iter().chain([never_existed]) {
        text.push_str(instance.as_str());
        text.push('\n');
    }
    Ok(text)
}

fn settings_text(announcement: &Announcement, hook: &str) -> String {
    let region = announcement
        .regions
        .first()
        .map_or("cn-hangzhou", String::as_str);
    let Announcement { endpoint, .. } = announcement;
    let [window, grace, ready_deadline, absent_after, pending] =
        [WINDOW, GRACE, READY_DEADLINE, ABSENT_AFTER, PENDING].map(humantime::format_duration);
    format!(
        r#"# The settings of a readygate demo. Everything is six times as fast as at the cloud: times are a
# sixth, and so many more calls may be made in a minute.

[store]
folder = "state"

[freshness]
window = "{window}"
grace = "{grace}"

[poll]
pending = "{pending}"
ready_deadline = "{ready_deadline}"
absent_after = "{absent_after}"

[[scope]]
name = "demo"
region = "{region}"
endpoint = "{endpoint}"
calls_per_minute = 1800

[[watch]]
scope = "demo"
file = "instances.txt"
labels = {{ stage = "demo" }}

[[receiver]]
name = "hook"
kind = "webhook"
url = "{hook}"
secret = "file:webhook-secret"

[[receiver]]
name = "lines"
kind = "file"
layout = "jsonl"
path = "events.jsonl"

[[receiver]]
name = "state"
kind = "file"
layout = "state"
path = "instances"
"#
    )
}
