//! The API without its HTTP: a request and the time in, an answer out.

use std::collections::VecDeque;

use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::auth::{self, ApiRequest, Nonces};
use super::chance::{Chance, Purpose, draw_request_id};
use super::faults::{Faults, Throttle};
use super::fleet::Fleet;
use super::refusal::Refusal;
use super::scenario::Scenario;
use crate::core::call::BATCH_MAX;
use crate::core::id::InstanceId;
use crate::core::status::Status;
use crate::core::time::Timestamp;
use crate::ecs::sign::decode_query;
use crate::ecs::wire::{
    ACTION, DescribeQuery, DescribeReply, ErrorBody, StatusRow, StatusSet, VERSION,
};

/// How many calls the log keeps; the oldest are dropped first.
pub const CALLS_KEPT: usize = 10_000;

/// One call that was made, refused or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallRecord {
    /// When it was answered, in the emulator's time.
    pub time: Timestamp,
    /// The action it named; empty where it named none.
    pub action: String,
    /// How many instance IDs it named.
    pub instances: usize,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The code of a refusal.
    pub code: Option<String>,
}

/// What goes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) request_id: String,
    /// Milliseconds for `x-acs-retry-after`.
    pub(super) retry_after: Option<u128>,
    pub(super) body: Vec<u8>,
}

/// The fleet and everything the server remembers of its callers.
#[derive(Debug)]
pub(super) struct World {
    pub(super) fleet: Fleet,
    pub(super) faults: Faults,
    calls: VecDeque<CallRecord>,
    calls_made: u64,
    throttle: Throttle,
    nonces: Nonces,
    request_ids: ChaCha8Rng,
}

impl World {
    pub(super) fn new(scenario: &Scenario, start: Timestamp) -> Self {
        Self {
            fleet: Fleet::new(scenario, start),
            faults: Faults::default(),
            calls: VecDeque::new(),
            calls_made: 0,
            throttle: Throttle::default(),
            nonces: Nonces::default(),
            request_ids: Chance::new(scenario.seed).stream(Purpose::RequestIds),
        }
    }

    /// Answers a request to `/`, and logs the call.
    pub(super) fn answer(&mut self, request: &ApiRequest, now: Timestamp) -> Answer {
        let request_id = draw_request_id(&mut self.request_ids);
        let call = Call::of(request);
        let outcome = self.admit(request, &call, now);
        let outcome = outcome.and_then(|query| self.describe(&query, now));
        let code = outcome.as_ref().err().map(|refusal| refusal.code.clone());
        let answer = match outcome {
            Ok(rows) => succeed(request_id, rows),
            Err(refusal) => refuse(request_id, request, refusal),
        };
        self.log(CallRecord {
            time: now,
            // A bound on the log's memory; no action of the cloud has a name as long.
            action: call.action.chars().take(64).collect(),
            instances: call.query.instances.len(),
            status: answer.status,
            code,
        });
        answer
    }

    /// Everything that is checked before the operation looks at its parameters, in the cloud's
    /// order.
    fn admit(
        &mut self,
        request: &ApiRequest,
        call: &Call,
        now: Timestamp,
    ) -> Result<DescribeQuery, Refusal> {
        if let Some(failure) = &self.faults.fail {
            return Err(failure.refusal());
        }
        if !matches!(request.method.as_str(), "GET" | "POST") {
            return Err(Refusal::unsupported_method());
        }
        if call.version != VERSION {
            return Err(Refusal::invalid_version());
        }
        if call.action != ACTION {
            return Err(Refusal::unknown_action());
        }
        let query = auth::verify(request, &mut self.nonces, now)?;
        let query = DescribeQuery::from_pairs(&query);
        let region = query.region.as_deref().unwrap_or_default();
        let limit = self.faults.calls_per_minute;
        let admitted = self.throttle.admit(region, &call.action, limit, now);
        let told = self.faults.retry_after;
        admitted.map_err(|wait| Refusal::throttled(told.then_some(wait)))?;
        Ok(query)
    }

    /// The operation, for calls that name IDs.
    fn describe(
        &mut self,
        query: &DescribeQuery,
        now: Timestamp,
    ) -> Result<Vec<StatusRow>, Refusal> {
        let region = query
            .region
            .as_deref()
            .ok_or_else(|| Refusal::missing("RegionId"))?;
        if !self.fleet.regions().iter().any(|known| known == region) {
            return Err(Refusal::unknown_region());
        }
        if query.instances.is_empty() {
            return Err(Refusal::missing_ids());
        }
        if query.instances.len() > BATCH_MAX {
            return Err(Refusal::too_many_ids());
        }
        let row = |text: &String| {
            let id: InstanceId = text.parse().ok()?;
            let status = self.fleet.status(region, &id, now)?;
            Some(row(&id, status))
        };
        // One that does not exist fails the whole call.
        let rows: Option<Vec<StatusRow>> = query.instances.iter().map(row).collect();
        rows.ok_or_else(Refusal::unknown_instance)
    }

    fn log(&mut self, record: CallRecord) {
        if self.calls.len() >= CALLS_KEPT {
            self.calls.pop_front();
        }
        self.calls.push_back(record);
        self.calls_made += 1;
    }

    /// The newest calls, oldest first, and how many were made in all.
    pub(super) fn calls(&self) -> (u64, Vec<CallRecord>) {
        (self.calls_made, self.calls.iter().cloned().collect())
    }
}

/// What a request says it wants, before anything of it is believed.
struct Call {
    action: String,
    version: String,
    query: DescribeQuery,
}

impl Call {
    /// V3 names action and version in headers, older schemes in the query.
    fn of(request: &ApiRequest) -> Self {
        let pairs = decode_query(&request.raw_query);
        let named = |header: &str, parameter: &str| {
            let pair = || pairs.iter().find(|(name, _)| name == parameter);
            let given = request.header(header).map(str::to_owned);
            given
                .or_else(|| pair().map(|(_, value)| value.clone()))
                .unwrap_or_default()
        };
        Self {
            action: named("x-acs-action", "Action"),
            version: named("x-acs-version", "Version"),
            query: DescribeQuery::from_pairs(&pairs),
        }
    }
}

fn row(id: &InstanceId, status: Status) -> StatusRow {
    let heartbeat = status.last_heartbeat.map(Timestamp::to_whole_seconds);
    StatusRow {
        instance_id: id.to_string(),
        cloud_assistant_status: status.fresh,
        cloud_assistant_version: status.agent_version.unwrap_or_default(),
        // Where there never was a time the cloud writes an empty one, as for all its strings.
        last_heartbeat_time: Some(heartbeat.unwrap_or_default()),
        last_invoked_time: Some(String::new()),
        invocation_count: 0,
        active_task_count: status.active_tasks.unwrap_or_default(),
        os_type: status.os_type.map_or_else(String::new, |os| os.to_string()),
        support_session_manager: status.session_manager.unwrap_or_default(),
    }
}

fn succeed(request_id: String, rows: Vec<StatusRow>) -> Answer {
    let count = rows.len() as u64;
    let reply = DescribeReply {
        request_id: request_id.clone(),
        total_count: count,
        page_size: count,
        page_number: 1,
        next_token: String::new(),
        instance_cloud_assistant_status_set: StatusSet {
            instance_cloud_assistant_status: rows,
        },
    };
    Answer {
        status: 200,
        request_id,
        retry_after: None,
        body: json(&reply),
    }
}

fn refuse(request_id: String, request: &ApiRequest, refusal: Refusal) -> Answer {
    let recommend = format!(
        "https://api.aliyun.com/troubleshoot?q={}&product=Ecs&requestId={request_id}",
        refusal.code
    );
    let body = ErrorBody {
        request_id: request_id.clone(),
        host_id: request.header("host").unwrap_or_default().to_owned(),
        code: refusal.code,
        message: refusal.message,
        recommend,
    };
    Answer {
        status: refusal.status,
        request_id,
        retry_after: refusal.retry_after.map(|wait| wait.as_millis().max(1)),
        body: json(&body),
    }
}

/// The types of this module have string keys and no floats: nothing of them fails to serialise.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
