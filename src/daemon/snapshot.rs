//! What a daemon looks like from outside at one moment.

use std::collections::BTreeMap;

use crate::core::event::EventType;
use crate::core::id::ScopeName;
use crate::core::phase::Phase;

/// The state of a daemon, for people and for the demo. Counters begin at the start of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// By scope, in the order of the settings.
    pub scopes: Vec<ScopeSnapshot>,
    /// Events committed, by type.
    pub events: BTreeMap<EventType, u64>,
}

/// One scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeSnapshot {
    /// Its name.
    pub name: ScopeName,
    /// Instances by phase.
    pub phases: BTreeMap<Phase, usize>,
    /// Calls made.
    pub calls: u64,
    /// What is wrong with the API, while something is.
    pub trouble: Option<String>,
}

impl Snapshot {
    /// How many instances are in a phase, over all scopes.
    #[must_use]
    pub fn count(&self, phase: Phase) -> usize {
        self.scopes
            .iter()
            .filter_map(|scope| scope.phases.get(&phase))
            .sum()
    }

    /// Calls made, over all scopes.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.scopes.iter().map(|scope| scope.calls).sum()
    }
}
