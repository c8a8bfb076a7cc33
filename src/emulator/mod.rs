//! The cloud API served from a simulated fleet, on loopback, so that everything here can be run
//! and measured without an account.
//!
//! What is pure is the fleet and the judgement of what was told about it: [`Fleet`] is seeded and
//! told the time, and knows the truth to the microsecond; [`check`] holds a watcher's events
//! against that truth. Around it, `api.rs` answers requests as values, `auth.rs` verifies their
//! signatures with the same code that signs them, and [`Emulator`] puts both behind a socket:
//! `POST /` or `GET /` for the cloud's operation, `/emulator/v1/...` for what the cloud does not
//! have.

mod api;
mod auth;
mod chance;
mod checker;
mod control;
mod faults;
mod fleet;
mod instance;
mod refusal;
mod scenario;
mod server;
mod truth;

pub use api::{CALLS_KEPT, CallRecord};
pub use auth::{ACCESS_KEY_ID, ACCESS_KEY_SECRET};
pub use checker::{Promise, Report, Told, Watched, check};
pub use faults::{Failure, Faults, FaultsChange};
pub use fleet::{ActionError, CreateError, Fleet, NewInstances, Portrait};
pub use instance::{Action, AgentState};
pub use scenario::{
    Group, HEARTBEAT_MIN, INSTANCES_MAX, Pick, Scenario, ScenarioError, Span, Start, Step,
};
pub use server::{Announcement, Emulator, EmulatorError, EmulatorHandle};
pub use truth::{InstanceTruth, SILENCES_KEPT, Silence};
