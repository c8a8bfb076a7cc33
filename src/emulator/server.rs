//! The emulator as others see it: a listener on loopback, and a handle for the same process.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, DATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::any;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::net::TcpListener;

use super::api::{Answer, CallRecord, World};
use super::auth::{ACCESS_KEY_ID, ACCESS_KEY_SECRET, ApiRequest};
use super::control;
use super::faults::{Faults, FaultsChange};
use super::fleet::{ActionError, CreateError, NewInstances, Portrait};
use super::instance::Action;
use super::scenario::Scenario;
use super::truth::InstanceTruth;
use crate::clock::Clock;
use crate::core::id::InstanceId;
use crate::core::time::Timestamp;

/// How many IDs an announcement names.
const SAMPLE_IDS: usize = 10;

/// Why the emulator does not run.
#[derive(Debug, Error)]
pub enum EmulatorError {
    /// Anybody who reaches it controls it, so it is for this machine only.
    #[error("the emulator listens on loopback addresses only, and {0} is none")]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// Which one was asked for.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// It stopped serving.
    #[error("the emulator stopped serving")]
    Serve(#[source] std::io::Error),
}

/// What a user needs to know to call the emulator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Where it is: `http://127.0.0.1:PORT`.
    pub endpoint: String,
    /// The one access key's ID.
    pub access_key_id: String,
    /// What it signs with. Not a secret.
    pub access_key_secret: String,
    /// The regions it answers for.
    pub regions: Vec<String>,
    /// How many instances there are.
    pub instances: usize,
    /// The first of their IDs.
    pub sample_ids: Vec<InstanceId>,
}

/// The emulator, bound to its address. Its scenario has begun.
#[derive(Debug)]
pub struct Emulator {
    listener: TcpListener,
    address: SocketAddr,
    handle: EmulatorHandle,
}

impl Emulator {
    /// Listens, makes the fleet, and begins the scenario. Port 0 takes any free one.
    ///
    /// The emulator's time is the clock's steady one, so a jump of the wall clock ages nobody.
    ///
    /// # Errors
    /// When the address is not on loopback or cannot be listened on.
    pub async fn bind(
        scenario: &Scenario,
        listen: SocketAddr,
        clock: Clock,
    ) -> Result<Self, EmulatorError> {
        if !listen.ip().is_loopback() {
            return Err(EmulatorError::NotLoopback(listen));
        }
        let failed = |source| EmulatorError::Bind {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let world = World::new(scenario, clock.steady());
        let handle = EmulatorHandle {
            world: Arc::new(Mutex::new(world)),
            clock,
        };
        Ok(Self {
            listener,
            address,
            handle,
        })
    }

    /// What a user needs to know to call it.
    #[must_use]
    pub fn announcement(&self) -> Announcement {
        let (world, _) = self.handle.world();
        Announcement {
            endpoint: format!("http://{}", self.address),
            access_key_id: ACCESS_KEY_ID.to_owned(),
            access_key_secret: ACCESS_KEY_SECRET.to_owned(),
            regions: world.fleet.regions().to_vec(),
            instances: world.fleet.len(),
            sample_ids: world.fleet.ids(SAMPLE_IDS).cloned().collect(),
        }
    }

    /// A handle for the same process. It stays good after the emulator stopped serving.
    #[must_use]
    pub fn handle(&self) -> EmulatorHandle {
        self.handle.clone()
    }

    /// Serves until `shutdown` ends, and then the requests that are under way.
    ///
    /// # Errors
    /// When the listener fails for good.
    pub async fn serve(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), EmulatorError> {
        axum::serve(self.listener, router(self.handle))
            .with_graceful_shutdown(shutdown)
            .await
            .map_err(EmulatorError::Serve)
    }
}

/// Reads the truth and acts on the fleet without HTTP. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EmulatorHandle {
    world: Arc<Mutex<World>>,
    clock: Clock,
}

impl EmulatorHandle {
    /// The world and its time, which is read under the lock so that it only rises.
    pub(super) fn world(&self) -> (MutexGuard<'_, World>, Timestamp) {
        // A caller that panicked left no half-made change: every one is a plain assignment.
        let world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        (world, self.clock.steady())
    }

    /// The emulator's time: the server time of its answers.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.steady()
    }

    /// The true histories of all instances, in the order they were made.
    #[must_use]
    pub fn truths(&self) -> Vec<InstanceTruth> {
        let (mut world, now) = self.world();
        world.fleet.truths(now)
    }

    /// One instance with its state, its row and its history; nothing where there is none.
    #[must_use]
    pub fn portrait(&self, id: &InstanceId) -> Option<Portrait> {
        let (mut world, now) = self.world();
        world.fleet.portrait(id, now)
    }

    /// The IDs of all instances, in the order they were made.
    #[must_use]
    pub fn ids(&self) -> Vec<InstanceId> {
        let (world, _) = self.world();
        world.fleet.ids(usize::MAX).cloned().collect()
    }

    /// The IDs of a group of the scenario; none where it has no such group.
    #[must_use]
    pub fn group(&self, name: &str) -> Vec<InstanceId> {
        let (world, _) = self.world();
        world.fleet.group(name).cloned().collect()
    }

    /// Does something to an instance.
    ///
    /// # Errors
    /// When there is no such instance, or the action does nothing in the state it is in.
    pub fn act(&self, id: &InstanceId, action: Action) -> Result<(), ActionError> {
        let (mut world, now) = self.world();
        world.fleet.act(id, action, now)
    }

    /// Makes new instances, and answers their IDs.
    ///
    /// # Errors
    /// When the count or the region is not one the fleet can have.
    pub fn create(&self, order: &NewInstances) -> Result<Vec<InstanceId>, CreateError> {
        let (mut world, now) = self.world();
        world.fleet.create(order, now)
    }

    /// The newest calls of the API, oldest first, and how many were made in all.
    #[must_use]
    pub fn calls(&self) -> (u64, Vec<CallRecord>) {
        let (world, _) = self.world();
        world.calls()
    }

    /// Changes what goes wrong with the API, and answers what does now; nothing where the change
    /// is not one that can be (a failure with a status below 400 or above 599).
    pub fn change_faults(&self, change: FaultsChange) -> Option<Faults> {
        let (mut world, _) = self.world();
        let changed = world.faults.change(change);
        changed.then(|| world.faults.clone())
    }
}

fn router(handle: EmulatorHandle) -> Router {
    Router::new()
        .route("/", any(serve_api))
        .nest("/emulator/v1", control::routes())
        .fallback(control::no_such_path)
        .layer(middleware::from_fn_with_state(handle.clone(), stamp))
        .with_state(handle)
}

async fn serve_api(
    State(handle): State<EmulatorHandle>,
    method: axum::http::Method,
    uri: axum::http::Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let request = ApiRequest {
        method: method.as_str().to_owned(),
        raw_query: uri.query().unwrap_or_default().to_owned(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), text(value)))
            .collect(),
        body: body.to_vec(),
    };
    let (mut world, now) = handle.world();
    let answer = world.answer(&request, now);
    drop(world);
    let mut response = respond(answer);
    set_date(&mut response, now);
    response
}

fn respond(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json;charset=utf-8");
    headers.insert(CONTENT_TYPE, json);
    if let Ok(request_id) = HeaderValue::from_str(&answer.request_id) {
        headers.insert(HeaderName::from_static("x-acs-request-id"), request_id);
    }
    if let Some(Ok(wait)) = answer
        .retry_after
        .map(|wait| HeaderValue::from_str(&wait.to_string()))
    {
        headers.insert(HeaderName::from_static("x-acs-retry-after"), wait);
    }
    response
}

/// Dates every answer by the emulator's own time: a client learns the server's clock from it, and
/// the HTTP library would take the machine's.
async fn stamp(State(handle): State<EmulatorHandle>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if !response.headers().contains_key(DATE) {
        set_date(&mut response, handle.now());
    }
    response
}

fn set_date(response: &mut Response, now: Timestamp) {
    let date = jiff::Timestamp::from_microsecond(now.as_micros())
        .and_then(|at| jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at))
        .ok()
        .and_then(|date| HeaderValue::try_from(date).ok());
    if let Some(date) = date {
        response.headers_mut().insert(DATE, date);
    }
}

#[cfg(test)]
mod tests;
