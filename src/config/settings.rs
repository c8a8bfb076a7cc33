//! What the settings say, once they are valid.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::core::event::EventType;
use crate::core::gate::Gate;
use crate::core::id::{InstanceId, ReceiverName, ScopeName};

/// Everything a daemon is told by its operator. Every value is within its bounds, every name is
/// unique, every reference is resolved. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where state is kept.
    pub store: StoreSettings,
    /// When a heartbeat counts.
    pub freshness: Freshness,
    /// When and how the cloud is asked.
    pub poll: PollSettings,
    /// Whom to ask, as whom: at least one, with different names.
    pub scopes: Vec<ScopeSettings>,
    /// Whom to follow. No (scope, instance) is in two of them.
    pub watches: Vec<WatchSettings>,
    /// Whom to tell, with different names.
    pub receivers: Vec<ReceiverSettings>,
    /// How events are carried to receivers.
    pub delivery: DeliverySettings,
    /// How long work under way may take to end after the first signal to stop: 1 s to 5 min. The
    /// service manager must wait longer than this.
    pub shutdown_grace: Duration,
    /// What is logged and how.
    pub log: LogSettings,
    /// The `config.json` of the `aliyun` command line; nothing: the one in the home folder.
    pub credentials_config_file: Option<PathBuf>,
}

/// Where state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// The state folder.
    pub folder: PathBuf,
}

/// When a heartbeat counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// How long one heartbeat counts: 1 s to 1 h. The provider's own is 120 s.
    pub window: Duration,
    /// How much longer than the window silence must last to be `stale`: up to 10 min.
    pub grace: Duration,
    /// How many different heartbeats in unbroken fresh replies end `stale`: 1 to 10.
    pub recover_heartbeats: u32,
}

/// When and how the cloud is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollSettings {
    /// How often a pending instance is due at first: 2 s to 5 min.
    pub pending: Duration,
    /// When a pending instance is overdue, counted from the beginning of its watch, where the watch
    /// does not say otherwise: 1 s to 7 days.
    pub ready_deadline: Duration,
    /// How long "not found" must last before an instance that was never seen is `gone`: 10 s to 24 h.
    pub absent_after: Duration,
    /// How long one call may take, its body included: 1 s to 60 s.
    pub timeout: Duration,
    /// How many calls may be under way at once, over all scopes: 1 to 64.
    pub calls_in_flight: usize,
}

/// One region, seen with one credential profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeSettings {
    /// Its name, unique among scopes.
    pub name: ScopeName,
    /// The region's ID, such as `cn-hangzhou`.
    pub region: String,
    /// The profile to sign with; nothing: whatever credentials are found first.
    pub profile: Option<String>,
    /// The account's ID, which tells which scopes share a budget.
    pub account: Option<String>,
    /// Where the API answers; nothing: the region's public endpoint.
    pub endpoint: Option<String>,
    /// The most calls in any 60 s: 1 to 6000.
    pub calls_per_minute: u32,
}

/// Instances of one scope that are followed under one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchSettings {
    /// The scope they are in; it exists.
    pub scope: ScopeName,
    /// Their IDs: at least one, each once, in the order of the settings.
    pub instances: Vec<InstanceId>,
    /// Sent with every event about them.
    pub labels: BTreeMap<String, String>,
    /// What makes them ready besides a fresh heartbeat.
    pub gate: Gate,
    /// When they are overdue, counted from the beginning of the watch: 1 s to 7 days.
    pub ready_deadline: Duration,
}

/// A configured destination of events.
#[derive(Debug, Clone)]
pub struct ReceiverSettings {
    /// Its name, unique among receivers.
    pub name: ReceiverName,
    /// What it is told of: at least one type.
    pub events: BTreeSet<EventType>,
    /// How it is told.
    pub kind: ReceiverKind,
}

/// How a receiver is told.
#[derive(Clone)]
pub enum ReceiverKind {
    /// By an HTTP POST for each event.
    Webhook {
        /// Where to: http or https with a host, without user name and password. Its path and query
        /// can hold tokens, so they belong in no log.
        url: String,
        /// What signs each event; nothing: unsigned.
        secret: Option<SecretString>,
        /// How long one attempt may take: 1 s to 30 s.
        timeout: Duration,
    },
    /// By files on this machine.
    File {
        /// How events are laid out.
        layout: FileLayout,
        /// A folder for [`FileLayout::State`], a file for [`FileLayout::Jsonl`].
        path: PathBuf,
    },
}

/// How a receiver of kind file lays out its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileLayout {
    /// One file for each instance, with its newest event.
    State,
    /// One line for each event, added to one file.
    Jsonl,
}

/// How events are carried to receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliverySettings {
    /// Deliveries one receiver may have under way: 1 to 256, not above `in_flight`.
    pub in_flight_per_receiver: usize,
    /// Deliveries that may be under way over all receivers: 1 to 4096.
    pub in_flight: usize,
    /// How long after its event a delivery is tried before it is dead: 1 s to 30 days.
    pub max_age: Duration,
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A directive that `tracing_subscriber::EnvFilter` takes, such as `info,readygate::ecs=debug`.
    pub level: String,
    /// The form of the lines.
    pub format: LogFormat,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One object a line, for programs.
    Json,
}

impl LogFormat {
    /// Whether the lines are text, given whether they go to a terminal.
    #[must_use]
    pub const fn is_text(self, on_terminal: bool) -> bool {
        match self {
            Self::Auto => on_terminal,
            Self::Text => true,
            Self::Json => false,
        }
    }
}

impl fmt::Debug for ReceiverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook {
                url,
                secret,
                timeout,
            } => f
                .debug_struct("Webhook")
                .field("url", &super::url::origin_of(url))
                .field("secret", secret)
                .field("timeout", timeout)
                .finish(),
            Self::File { layout, path } => f
                .debug_struct("File")
                .field("layout", layout)
                .field("path", path)
                .finish(),
        }
    }
}
