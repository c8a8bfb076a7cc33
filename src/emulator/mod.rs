//! The cloud API served from a simulated fleet.

mod chance;
mod checker;
mod fleet;
mod instance;
mod scenario;
mod truth;

pub use checker::{Promise, Report, Told, Watched, check};
pub use fleet::{ActionError, CreateError, Fleet, NewInstances, Portrait};
pub use instance::{Action, AgentState};
pub use scenario::{
    Group, HEARTBEAT_MIN, INSTANCES_MAX, Pick, Scenario, ScenarioError, Span, Start, Step,
};
pub use truth::{InstanceTruth, SILENCES_KEPT, Silence};
