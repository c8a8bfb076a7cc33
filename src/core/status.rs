//! What a reply says of an instance: the provider's words, before any judgement of ours.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// The operating system family as `DescribeCloudAssistantStatus` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OsType {
    /// `Linux`
    Linux,
    /// `Windows`
    Windows,
    /// `FreeBSD`
    #[serde(rename = "FreeBSD")]
    FreeBsd,
}

impl OsType {
    /// Reads the provider's word in any case: one API writes `Linux`, its neighbours `linux`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Linux, Self::Windows, Self::FreeBsd]
            .into_iter()
            .find(|os_type| os_type.as_str().eq_ignore_ascii_case(text))
    }

    /// The provider's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Linux => "Linux",
            Self::Windows => "Windows",
            Self::FreeBsd => "FreeBSD",
        }
    }
}

impl fmt::Display for OsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One row of a reply. What the provider left out, sent as null or as "" is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// `CloudAssistantStatus`: a heartbeat within the window. The provider's word stands.
    pub fresh: bool,
    /// `LastHeartbeatTime`, in whole seconds of server time; kept while the agent is silent.
    pub last_heartbeat: Option<Timestamp>,
    /// `CloudAssistantVersion`; nothing where no agent was ever installed.
    pub agent_version: Option<String>,
    /// `OSType`.
    pub os_type: Option<OsType>,
    /// `SupportSessionManager`.
    pub session_manager: Option<bool>,
    /// `ActiveTaskCount`: commands running now.
    pub active_tasks: Option<u64>,
}

/// How one instance appears in an answer of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// It has a row.
    Row(Status),
    /// The reply was whole and has no row for it.
    NoRow,
    /// It was asked for alone and the call ended in 404 `InvalidInstance.NotFound`.
    NotFound,
}
