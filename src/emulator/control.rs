//! What the cloud does not have: the truth about the fleet, and ways to trouble it.
//!
//! Not signed, because the emulator listens on loopback only and guards nothing.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

use super::api::CallRecord;
use super::faults::{Faults, FaultsChange};
use super::fleet::{ActionError, NewInstances, Portrait};
use super::instance::{Action, AgentState};
use super::server::EmulatorHandle;
use super::truth::InstanceTruth;
use crate::core::id::InstanceId;
use crate::core::status::OsType;
use crate::core::time::Timestamp;

/// How many instances one answer holds.
const PAGE_MAX: u32 = 10_000;

/// What a reboot takes when nothing else is said: near the median of Linux instances.
const DEFAULT_DOWNTIME: Duration = Duration::from_secs(30);

/// The routes under `/emulator/v1`.
pub(super) fn routes() -> Router<EmulatorHandle> {
    Router::new()
        .route("/instances", get(list_instances).post(create_instances))
        .route("/instances/{id}", get(show_instance))
        .route("/instances/{id}/{action}", post(act))
        .route("/calls", get(list_calls))
        .route("/settings", post(change_settings))
        .method_not_allowed_fallback(wrong_method)
}

/// An answer that says what was wrong with a request.
pub(super) struct Problem {
    status: StatusCode,
    message: String,
}

#[derive(Serialize)]
struct ProblemBody<'a> {
    message: &'a str,
}

impl Problem {
    fn new(status: StatusCode, message: impl ToString) -> Self {
        Self {
            status,
            message: message.to_string(),
        }
    }

    fn bad_request(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            message: &self.message,
        };
        (self.status, Json(body)).into_response()
    }
}

impl From<ActionError> for Problem {
    fn from(error: ActionError) -> Self {
        let status = match error {
            ActionError::Unknown(_) => StatusCode::NOT_FOUND,
            ActionError::NotApplicable { .. } => StatusCode::CONFLICT,
        };
        Self::new(status, error)
    }
}

/// For every path that is none of ours.
pub(super) async fn no_such_path(uri: Uri) -> Problem {
    let message = format!("there is nothing at {}", uri.path());
    Problem::new(StatusCode::NOT_FOUND, message)
}

async fn wrong_method() -> Problem {
    let message = "this path is not for that method";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, message)
}

/// One instance with its history. The fields of the history stand beside the others.
#[derive(Serialize)]
struct InstanceView {
    region: String,
    state: AgentState,
    /// `CloudAssistantStatus`; null once released.
    status: Option<bool>,
    os_type: Option<OsType>,
    agent_version: Option<String>,
    #[serde(flatten)]
    truth: InstanceTruth,
}

impl From<Portrait> for InstanceView {
    fn from(portrait: Portrait) -> Self {
        let row = portrait.status.as_ref();
        Self {
            region: portrait.region,
            state: portrait.state,
            status: row.map(|row| row.fresh),
            os_type: row.and_then(|row| row.os_type),
            agent_version: row.and_then(|row| row.agent_version.clone()),
            truth: portrait.truth,
        }
    }
}

#[derive(Serialize)]
struct InstancePage {
    server_time: Timestamp,
    total: usize,
    instances: Vec<InstanceView>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PageQuery {
    offset: u32,
    limit: u32,
}

impl Default for PageQuery {
    fn default() -> Self {
        Self {
            offset: 0,
            limit: PAGE_MAX,
        }
    }
}

async fn list_instances(
    State(handle): State<EmulatorHandle>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<InstancePage>, Problem> {
    let Query(page) = query.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    if page.limit > PAGE_MAX {
        let message = format!("limit must be {PAGE_MAX} or less");
        return Err(Problem::bad_request(message));
    }
    let (mut world, now) = handle.world();
    let portraits = world.fleet.portraits(page.offset, page.limit, now);
    Ok(Json(InstancePage {
        server_time: now,
        total: world.fleet.len(),
        instances: portraits.into_iter().map(InstanceView::from).collect(),
    }))
}

async fn show_instance(
    State(handle): State<EmulatorHandle>,
    Path(id): Path<String>,
) -> Result<Json<InstanceView>, Problem> {
    view(&handle, &parse_id(&id)?)
}

fn view(handle: &EmulatorHandle, id: &InstanceId) -> Result<Json<InstanceView>, Problem> {
    let portrait = handle
        .portrait(id)
        .ok_or_else(|| ActionError::Unknown(id.clone()))?;
    Ok(Json(portrait.into()))
}

fn parse_id(text: &str) -> Result<InstanceId, Problem> {
    text.parse().map_err(Problem::bad_request)
}

/// What `POST instances` takes; everything has a default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CreateBody {
    count: u32,
    region: Option<String>,
    os_type: OsType,
    #[serde(deserialize_with = "duration")]
    boot_delay: Duration,
}

impl Default for CreateBody {
    fn default() -> Self {
        Self {
            count: 1,
            region: None,
            os_type: OsType::Linux,
            boot_delay: Duration::ZERO,
        }
    }
}

#[derive(Serialize)]
struct Created {
    ids: Vec<InstanceId>,
}

async fn create_instances(
    State(handle): State<EmulatorHandle>,
    body: Bytes,
) -> Result<(StatusCode, Json<Created>), Problem> {
    let body: CreateBody = parse_body(&body)?;
    let order = NewInstances {
        count: body.count,
        region: body.region,
        os_type: body.os_type,
        boot_delay: body.boot_delay,
    };
    let ids = handle.create(&order).map_err(Problem::bad_request)?;
    Ok((StatusCode::CREATED, Json(Created { ids })))
}

/// The measures of an action, where it has any.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ActionBody {
    #[serde(default, deserialize_with = "some_duration")]
    downtime: Option<Duration>,
    count: Option<u32>,
}

impl ActionBody {
    fn action(&self, word: &str) -> Result<Action, Problem> {
        let action = match word {
            "start-agent" => Action::StartAgent,
            "stop-agent" => Action::StopAgent,
            "crash-agent" => Action::CrashAgent,
            "release" => Action::Release,
            "install-agent" => Action::InstallAgent,
            "reboot" => Action::Reboot {
                downtime: self.downtime.unwrap_or(DEFAULT_DOWNTIME),
            },
            "lose-heartbeats" => Action::LoseHeartbeats {
                count: self.count.unwrap_or(1),
            },
            other => {
                let message = format!(
                    "`{other}` is not an action: known are start-agent, stop-agent, crash-agent, \
                     reboot, lose-heartbeats, release and install-agent"
                );
                return Err(Problem::new(StatusCode::NOT_FOUND, message));
            }
        };
        let reboots = matches!(action, Action::Reboot { .. });
        let loses = matches!(action, Action::LoseHeartbeats { .. });
        if (self.downtime.is_some() && !reboots) || (self.count.is_some() && !loses) {
            let message = format!(
                "{word} has no such measure: `downtime` is for reboot, `count` for lose-heartbeats"
            );
            return Err(Problem::bad_request(message));
        }
        Ok(action)
    }
}

async fn act(
    State(handle): State<EmulatorHandle>,
    Path((id, word)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<InstanceView>, Problem> {
    let id = parse_id(&id)?;
    let body: ActionBody = parse_body(&body)?;
    handle.act(&id, body.action(&word)?)?;
    view(&handle, &id)
}

#[derive(Serialize)]
struct CallLog {
    /// How many calls were made; the log keeps the newest.
    total: u64,
    calls: Vec<CallRecord>,
}

async fn list_calls(State(handle): State<EmulatorHandle>) -> Json<CallLog> {
    let (total, calls) = handle.calls();
    Json(CallLog { total, calls })
}

async fn change_settings(
    State(handle): State<EmulatorHandle>,
    body: Bytes,
) -> Result<Json<Faults>, Problem> {
    let change: FaultsChange = parse_body(&body)?;
    let faults = handle.change_faults(change);
    let message = "the status of a failure must be 400 to 599";
    faults
        .map(Json)
        .ok_or_else(|| Problem::bad_request(message))
}

/// A body is JSON whatever its content type says; an empty one stands for `{}`.
fn parse_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(format!("the body does not fit: {error}")))
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text).map_err(|error| {
        D::Error::custom(format!("`{text}` is not a duration like `30s`: {error}"))
    })
}

fn some_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    duration(from).map(Some)
}
