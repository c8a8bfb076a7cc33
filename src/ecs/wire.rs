//! `DescribeCloudAssistantStatus` on the wire: the one definition of its format.
//!
//! Written strictly, as the real service writes it, for whoever serves the API; read tolerantly,
//! because documentation, samples and observed replies disagree in details. Source: the API page
//! of 2024-12-17 and real replies in Alibaba Cloud's own documents.

use serde::{Deserialize, Serialize, Serializer};

use crate::core::id::InstanceId;

pub mod read;

/// The operation's name: the `x-acs-action` header.
pub const ACTION: &str = "DescribeCloudAssistantStatus";

/// The version of the ECS API: the `x-acs-version` header.
pub const VERSION: &str = "2014-05-26";

/// The query of a call for these instances: the region, and the IDs numbered from 1.
///
/// A filter by operating system is never sent with IDs: what the service makes of both is not
/// documented. Paging parameters have no effect with IDs and are left out.
#[must_use]
pub fn describe_query(region: &str, instances: &[InstanceId]) -> Vec<(String, String)> {
    let ids = instances
        .iter()
        .enumerate()
        .map(|(index, id)| (format!("InstanceId.{}", index + 1), id.to_string()));
    std::iter::once(("RegionId".to_owned(), region.to_owned()))
        .chain(ids)
        .collect()
}

/// What a server reads from a call's query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DescribeQuery {
    /// `RegionId`; nothing where it is missing or empty.
    pub region: Option<String>,
    /// The IDs in the order of their numbers, as sent: a server decides what to say of a text
    /// that is no ID, and of more than 100.
    pub instances: Vec<String>,
}

impl DescribeQuery {
    /// Reads decoded names and values. Gaps in the numbering are allowed, as everywhere in the
    /// cloud's APIs; an empty value is as good as none.
    #[must_use]
    pub fn from_pairs(pairs: &[(String, String)]) -> Self {
        let given = || pairs.iter().filter(|(_, value)| !value.is_empty());
        let mut numbered: Vec<(u32, &String)> = given()
            .filter_map(|(name, value)| {
                let number = name.strip_prefix("InstanceId.")?.parse().ok()?;
                Some((number, value))
            })
            .collect();
        numbered.sort_by_key(|(number, _)| *number);
        Self {
            region: given()
                .find(|(name, _)| name == "RegionId")
                .map(|(_, value)| value.clone()),
            instances: numbered.into_iter().map(|(_, id)| id.clone()).collect(),
        }
    }
}

/// A successful reply, as the service writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeReply {
    /// An upper-case UUID.
    pub request_id: String,
    /// How many rows there are in all pages. Means nothing in a reply to a call with a token.
    pub total_count: u64,
    /// Rows per page; the number of IDs where the call named IDs.
    pub page_size: u64,
    /// From 1.
    pub page_number: u64,
    /// The token of the next page; "" on the last one, and always where the call named IDs.
    pub next_token: String,
    /// The rows, in the wrapping the service gives every list.
    pub instance_cloud_assistant_status_set: StatusSet,
}

/// The wrapping around the rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct StatusSet {
    /// The rows, in any order.
    pub instance_cloud_assistant_status: Vec<StatusRow>,
}

/// One instance, as the service writes it. What is `None` is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct StatusRow {
    /// Whom the row is about.
    pub instance_id: String,
    /// A heartbeat within the last 2 minutes. A string, "true" or "false", on the wire.
    #[serde(serialize_with = "as_string")]
    pub cloud_assistant_status: bool,
    /// The agent's version; "" where no agent was ever installed.
    pub cloud_assistant_version: String,
    /// The newest heartbeat, UTC in whole seconds; kept while the agent is silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_heartbeat_time: Option<String>,
    /// When a command was last run, UTC in whole seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_invoked_time: Option<String>,
    /// Commands run so far.
    pub invocation_count: u64,
    /// Commands running now.
    pub active_task_count: u64,
    /// `Linux`, `Windows` or `FreeBSD`.
    #[serde(rename = "OSType")]
    pub os_type: String,
    /// Whether the agent can open sessions.
    pub support_session_manager: bool,
}

fn as_string<S: Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// The body of a refusal, both ways.
///
/// `Debug` leaves `message` out: the message of a wrong signature repeats the whole request,
/// security token included.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ErrorBody {
    /// The ID to name to the provider's support.
    #[serde(deserialize_with = "read::text")]
    pub request_id: String,
    /// The endpoint that answered.
    #[serde(deserialize_with = "read::text")]
    pub host_id: String,
    /// What is wrong, in a word. "" where the body says nothing of the kind.
    #[serde(alias = "code", deserialize_with = "read::text")]
    pub code: String,
    /// What is wrong, in a sentence.
    #[serde(alias = "message", deserialize_with = "read::text")]
    pub message: String,
    /// Where to read more.
    #[serde(deserialize_with = "read::text")]
    pub recommend: String,
}

impl std::fmt::Debug for ErrorBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ErrorBody")
            .field("code", &self.code)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_back_as_it_was_written() {
        let ids: Vec<InstanceId> = (1..=100)
            .map(|n| format!("i-{n}").parse().unwrap())
            .collect();
        let read = DescribeQuery::from_pairs(&describe_query("cn-hangzhou", &ids));
        assert_eq!(read.region.as_deref(), Some("cn-hangzhou"));
        let expected: Vec<String> = ids.iter().map(ToString::to_string).collect();
        assert_eq!(read.instances, expected);
    }

    #[test]
    fn ids_come_in_the_order_of_their_numbers_and_nothing_else_counts() {
        let pairs = [
            ("InstanceId.10", "ten"),
            ("InstanceId.2", "two"),
            ("InstanceId.3", ""),
            ("InstanceId.x", "no"),
            ("InstanceId", "no"),
            ("RegionId", ""),
            ("MaxResults", "50"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let read = DescribeQuery::from_pairs(&pairs);
        assert_eq!(read.instances, ["two", "ten"]);
        assert_eq!(read.region, None);
    }

    #[test]
    fn a_row_is_written_as_the_service_writes_it() {
        let row = StatusRow {
            instance_id: "i-1".to_owned(),
            cloud_assistant_status: true,
            cloud_assistant_version: "2.2.3.857".to_owned(),
            last_heartbeat_time: Some("2024-12-10T02:38:04Z".to_owned()),
            last_invoked_time: None,
            invocation_count: 4,
            active_task_count: 0,
            os_type: "Linux".to_owned(),
            support_session_manager: true,
        };
        assert_eq!(
            serde_json::to_value(&row).unwrap(),
            serde_json::json!({
                "InstanceId": "i-1", "CloudAssistantStatus": "true",
                "CloudAssistantVersion": "2.2.3.857",
                "LastHeartbeatTime": "2024-12-10T02:38:04Z", "InvocationCount": 4,
                "ActiveTaskCount": 0, "OSType": "Linux", "SupportSessionManager": true,
            })
        );
    }

    #[test]
    fn an_error_body_shows_its_code_but_never_its_message() {
        let body: ErrorBody =
            serde_json::from_str(r#"{"Code":"SignatureDoesNotMatch","Message":"the token"}"#)
                .unwrap();
        assert_eq!(body.message, "the token");
        let shown = format!("{body:?}");
        assert!(shown.contains("SignatureDoesNotMatch") && !shown.contains("token"));
    }
}
