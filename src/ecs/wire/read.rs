//! The tolerant reader of replies.
//!
//! Missing, null and "" mean the same everywhere; numbers and booleans may come as strings, in
//! any case; unknown fields are ignored; rows are told apart by their ID, never by position.

use serde::{Deserialize as _, Deserializer};
use serde_json::{Map, Value};
use thiserror::Error;

use super::ErrorBody;
use crate::core::call::Row;
use crate::core::id::InstanceId;
use crate::core::status::{OsType, Status};
use crate::core::time::Timestamp;

/// What a whole, successful reply says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    /// Its rows, in the order of the reply.
    pub rows: Vec<Row>,
    /// Rows left out because they say of no instance what they say: without an ID, or with one
    /// that cannot be one.
    pub unusable: usize,
}

/// Why a reply with a status of success is none.
#[derive(Debug, Error)]
pub enum UnreadableReply {
    /// Not JSON.
    #[error("the reply is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// JSON of another shape.
    #[error("the reply's {0}")]
    Shape(&'static str),
    /// An error in the clothes of a success.
    #[error("the reply carries the error `{}`", .0.code)]
    Refused(Box<ErrorBody>),
}

/// Reads the body of a reply whose HTTP status says success.
///
/// # Errors
///
/// Where it is not a JSON object, carries the `Code` of an error, or has something else than a
/// list where the rows belong: to take such a reply for "no rows" would make instances disappear.
pub fn rows(body: &[u8]) -> Result<Rows, UnreadableReply> {
    let value: Value = serde_json::from_slice(body).map_err(UnreadableReply::NotJson)?;
    let reply = value
        .as_object()
        .ok_or(UnreadableReply::Shape("outermost value is not an object"))?;
    if let Some(refused) = error_in(&value) {
        return Err(UnreadableReply::Refused(Box::new(refused)));
    }
    let set = match field(reply, "InstanceCloudAssistantStatusSet") {
        None => return Ok(Rows::default()),
        Some(Value::Object(set)) => set,
        Some(_) => return Err(UnreadableReply::Shape("status set is not an object")),
    };
    match field(set, "InstanceCloudAssistantStatus") {
        None => Ok(Rows::default()),
        Some(Value::Array(list)) => {
            let rows: Vec<Row> = list.iter().filter_map(row).collect();
            let unusable = list.len() - rows.len();
            Ok(Rows { rows, unusable })
        }
        Some(_) => Err(UnreadableReply::Shape("status set has no list in it")),
    }
}

/// Reads the body of a refusal; nothing where it is not JSON with a `Code`.
#[must_use]
pub fn refusal(body: &[u8]) -> Option<ErrorBody> {
    error_in(&serde_json::from_slice(body).ok()?)
}

/// The error a JSON value carries. Some gateways put a `Code` that says success into a reply.
fn error_in(value: &Value) -> Option<ErrorBody> {
    let error = ErrorBody::deserialize(value).ok()?;
    let success = ["", "200", "ok", "success"];
    (!success.contains(&error.code.to_ascii_lowercase().as_str())).then_some(error)
}

fn row(value: &Value) -> Option<Row> {
    let row = value.as_object()?;
    let text = |name: &str| field(row, name).map(shown).filter(|text| !text.is_empty());
    let instance: InstanceId = text("InstanceId")?.parse().ok()?;
    let status = Status {
        fresh: text("CloudAssistantStatus").and_then(|word| truth(&word)) == Some(true),
        last_heartbeat: text("LastHeartbeatTime").and_then(|time| Timestamp::parse_rfc3339(&time)),
        agent_version: text("CloudAssistantVersion"),
        os_type: text("OSType").and_then(|word| OsType::parse(&word)),
        session_manager: text("SupportSessionManager").and_then(|word| truth(&word)),
        active_tasks: text("ActiveTaskCount").and_then(|count| count.parse().ok()),
    };
    Some(Row { instance, status })
}

/// A field that says something: neither missing nor null nor "".
fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object
        .get(name)
        .filter(|value| !value.is_null() && value.as_str() != Some(""))
}

/// A value as text, whatever its type; strings without their quotes and outer blanks.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.trim().to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn truth(word: &str) -> Option<bool> {
    [("true", true), ("false", false)]
        .into_iter()
        .find_map(|(known, truth)| known.eq_ignore_ascii_case(word).then_some(truth))
}

/// Reads a text that may come as null or as another type.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Value::deserialize(deserializer).map(|value| shown(&value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reply(list: &Value) -> Vec<u8> {
        json!({"InstanceCloudAssistantStatusSet": {"InstanceCloudAssistantStatus": list}})
            .to_string()
            .into_bytes()
    }

    fn only(row: &Value) -> Status {
        let mut rows = rows(&reply(&json!([row]))).unwrap().rows;
        rows.remove(0).status
    }

    #[test]
    fn a_documented_reply_is_read_whole() {
        let body = br#"{ "TotalCount": 1, "PageSize": 1, "RequestId": "DB34", "NextToken": "",
            "PageNumber": 1, "InstanceCloudAssistantStatusSet": {
            "InstanceCloudAssistantStatus": [ { "CloudAssistantVersion": "2.2.3.857",
            "SupportSessionManager": true, "InstanceId": "i-bp1", "InvocationCount": 4,
            "OSType": "Linux", "CloudAssistantStatus": "true", "ActiveTaskCount": 3,
            "LastHeartbeatTime": "2024-12-10T02:38:04Z",
            "LastInvokedTime": "2024-12-08T16:02:45Z" } ] } }"#;
        let expected = Row {
            instance: "i-bp1".parse().unwrap(),
            status: Status {
                fresh: true,
                last_heartbeat: Timestamp::parse_rfc3339("2024-12-10T02:38:04Z"),
                agent_version: Some("2.2.3.857".to_owned()),
                os_type: Some(OsType::Linux),
                session_manager: Some(true),
                active_tasks: Some(3),
            },
        };
        let read = rows(body).unwrap();
        assert_eq!(read.rows, [expected]);
        assert_eq!(read.unusable, 0);
    }

    #[test]
    fn the_status_is_a_word_in_any_case_or_a_boolean() {
        for (status, fresh) in [
            (json!("true"), true),
            (json!("True"), true),
            (json!(true), true),
            (json!("false"), false),
            (json!(false), false),
            (json!(""), false),
            (json!(null), false),
            (json!("perhaps"), false),
        ] {
            let row = json!({"InstanceId": "i-1", "CloudAssistantStatus": status});
            assert_eq!(only(&row).fresh, fresh, "{status}");
        }
    }

    #[test]
    fn missing_null_and_empty_are_alike() {
        let names = [
            "CloudAssistantVersion",
            "LastHeartbeatTime",
            "OSType",
            "SupportSessionManager",
            "ActiveTaskCount",
        ];
        for nothing in [json!(""), json!(null)] {
            let mut row = json!({"InstanceId": "i-1"});
            for name in names {
                row[name] = nothing.clone();
            }
            assert_eq!(only(&row), Status::default(), "{nothing}");
        }
        assert_eq!(only(&json!({"InstanceId": "i-1"})), Status::default());
    }

    #[test]
    fn other_types_than_documented_are_read_where_they_make_sense() {
        let status = only(&json!({
            "InstanceId": "mi-1", "ActiveTaskCount": "7", "SupportSessionManager": "TRUE",
            "OSType": "linux", "LastHeartbeatTime": "yesterday", "Later": {"added": 1},
        }));
        assert_eq!(status.active_tasks, Some(7));
        assert_eq!(status.session_manager, Some(true));
        assert_eq!(status.os_type, Some(OsType::Linux));
        assert_eq!(status.last_heartbeat, None);
    }

    #[test]
    fn a_row_without_a_usable_id_is_counted_and_spoils_no_other() {
        let list = json!([{}, {"InstanceId": "I-1"}, 7, {"InstanceId": "i-2"}, null]);
        let read = rows(&reply(&list)).unwrap();
        assert_eq!(read.rows.len(), 1);
        assert_eq!(read.rows[0].instance.as_str(), "i-2");
        assert_eq!(read.unusable, 4);
    }

    #[test]
    fn replies_without_rows_are_replies() {
        for body in [
            r#"{}"#,
            r#"{"RequestId":"R","Code":"200"}"#,
            r#"{"InstanceCloudAssistantStatusSet":null}"#,
            r#"{"InstanceCloudAssistantStatusSet":{"InstanceCloudAssistantStatus":[]}}"#,
            r#"{"InstanceCloudAssistantStatusSet":{"InstanceCloudAssistantStatus":""}}"#,
        ] {
            assert_eq!(rows(body.as_bytes()).unwrap(), Rows::default(), "{body}");
        }
    }

    #[test]
    fn what_is_no_reply_is_never_taken_for_one_without_rows() {
        for body in [
            "",
            "<html>",
            "[]",
            "null",
            r#"{"InstanceCloudAssistantStatusSet":[]}"#,
            r#"{"InstanceCloudAssistantStatusSet":{"InstanceCloudAssistantStatus":{}}}"#,
            r#"{"Code":"Throttling.User"}"#,
        ] {
            assert!(rows(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_refusal_is_read_in_either_spelling_and_only_where_it_has_a_code() {
        for (body, code) in [
            (
                r#"{"Code":"A.B","Message":null,"RequestId":"R"}"#,
                Some("A.B"),
            ),
            (r#"{"code":"A.B","message":"m"}"#, Some("A.B")),
            (r#"{"Code":503}"#, Some("503")),
            (r#"{"Message":"m"}"#, None),
            ("<html>bad gateway</html>", None),
            ("", None),
        ] {
            let read = refusal(body.as_bytes()).map(|error| error.code);
            assert_eq!(read.as_deref(), code, "{body}");
        }
    }
}
