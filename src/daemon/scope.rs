//! One scope at work: its fleet, and what is needed to tell of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::clock::Clock;
use crate::core::budget::Budget;
use crate::core::call::{CallReport, Disposition};
use crate::core::event::{EventDraft, EventId, EventType, Reason, ReasonCode};
use crate::core::fleet::{BatchId, Fleet};
use crate::core::id::{InstanceId, ReceiverName, ScopeName};
use crate::core::phase::Phase;
use crate::core::watch::Change;
use crate::ecs::error::ApiError;
use crate::store::Commit;

use super::snapshot::ScopeSnapshot;
use super::supervise::with_causes;

/// The labels of a watch, shared by its instances.
pub(super) type Labels = Arc<BTreeMap<String, String>>;

/// Who wants which events.
pub(super) type Subscriptions = BTreeMap<EventType, Vec<ReceiverName>>;

/// A fleet with its name, its region and its labels.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) name: ScopeName,
    pub(super) region: String,
    pub(super) fleet: Fleet,
    /// The index of its budget, which other scopes may share.
    pub(super) budget: usize,
    pub(super) labels: HashMap<InstanceId, Labels>,
    /// What is wrong with the API, while something is.
    trouble: Option<Trouble>,
}

/// What is wrong with the API.
#[derive(Debug)]
struct Trouble {
    /// The same for all failures of one kind.
    topic: String,
    /// The newest of them, in words.
    why: String,
}

impl Scope {
    pub(super) fn new(
        name: ScopeName,
        region: String,
        fleet: Fleet,
        budget: usize,
        labels: HashMap<InstanceId, Labels>,
    ) -> Self {
        Self {
            name,
            region,
            fleet,
            budget,
            labels,
            trouble: None,
        }
    }

    /// Takes in a call that has ended.
    pub(super) fn handle_report(
        &mut self,
        batch: BatchId,
        report: &CallReport,
        error: Option<&ApiError>,
        budget: &mut Budget,
    ) {
        let in_doubt = self.fleet.batches_in_doubt();
        self.fleet
            .handle_report(batch, report, rand::random(), budget);
        if self.fleet.batches_in_doubt() > in_doubt {
            tracing::warn!(
                scope = %self.name,
                region = self.region,
                "three random IDs of one call do not exist: wrong region or account?"
            );
        }
        match (&report.outcome, error) {
            // One ID is at fault, not the API: it is told where that ID is judged.
            (Ok(_) | Err(Disposition::NotFound), _) => {
                if self.trouble.take().is_some() {
                    tracing::info!(scope = %self.name, "the API answers again");
                }
            }
            (Err(_), error) => self.note_trouble(error),
        }
    }

    /// Says it once while it stays the same, however many calls it fails.
    fn note_trouble(&mut self, error: Option<&ApiError>) {
        let Some(error) = error else { return };
        let why = with_causes(error);
        let topic = error.topic();
        if self
            .trouble
            .as_ref()
            .is_some_and(|trouble| trouble.topic == topic)
        {
            tracing::debug!(scope = %self.name, error = %why, "a call of the API failed again");
        } else {
            tracing::warn!(scope = %self.name, error = %why, "a call of the API failed");
        }
        self.trouble = Some(Trouble { topic, why });
    }

    /// The next change, as it is to be committed.
    pub(super) fn poll_commit(&mut self, wanted: &Subscriptions, clock: Clock) -> Option<Commit> {
        let change = self.fleet.poll_change()?;
        let receivers = change.event.and_then(|event_type| wanted.get(&event_type));
        let receivers = receivers.cloned().unwrap_or_default();
        let told = |event_type: &EventType| event_type.told_by_default() || !receivers.is_empty();
        let event = change.event.filter(told).map(|event_type| {
            let id = EventId::new(clock.wall(), rand::random());
            self.draft(id, event_type, &change)
        });
        self.log_mark(&change);
        Some(Commit {
            scope: self.name.clone(),
            record: change.record,
            event,
            receivers,
        })
    }

    fn draft(&self, id: EventId, event_type: EventType, change: &Change) -> EventDraft {
        let record = &change.record;
        let labels = self.labels.get(&record.instance);
        EventDraft {
            id,
            event_type,
            scope: self.name.clone(),
            region: self.region.clone(),
            instance: record.instance.clone(),
            os_type: change.os_type,
            agent_version: change.agent_version.clone(),
            labels: labels.map(|labels| (**labels).clone()).unwrap_or_default(),
            phase: record.phase,
            previous_phase: change.previous_phase,
            since: record.since,
            previous_since: change.previous_since,
            reason: record.reason.clone(),
            generation: record.generation,
        }
    }

    /// Says what no event says, above all that one is missing.
    fn log_mark(&self, change: &Change) {
        let record = &change.record;
        let Reason {
            code,
            message: reason,
            ..
        } = &record.reason;
        let (instance, phase) = (&record.instance, record.phase);
        let missing = matches!(code, ReasonCode::NotFound | ReasonCode::NoRow);
        if change.event.is_none() && missing {
            tracing::warn!(scope = %self.name, %instance, %phase, reason, "instance not found");
        } else if change.event.is_none() {
            tracing::debug!(scope = %self.name, %instance, %phase, reason, "instance observed");
        }
    }

    pub(super) fn snapshot(&self) -> ScopeSnapshot {
        ScopeSnapshot {
            name: self.name.clone(),
            phases: Phase::ALL
                .map(|phase| (phase, self.fleet.count(phase)))
                .into(),
            calls: self.fleet.calls_made(),
            trouble: self.trouble.as_ref().map(|trouble| trouble.why.clone()),
        }
    }
}
