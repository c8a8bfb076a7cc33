//! A watch: our record of following one instance, and the rules by which its phase changes.

use std::sync::Arc;

use super::event::{EventType, Reason, ReasonCode};
use super::id::InstanceId;
pub use super::phase::Phase;
use super::rules::{HEARTBEAT_RESOLUTION, Policy, Rules};
use super::status::{OsType, Sighting};
use super::time::Timestamp;

mod judgement;

use judgement::Recovery;

/// What of a watch survives a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRecord {
    /// Whom it follows.
    pub instance: InstanceId,
    /// The phase.
    pub phase: Phase,
    /// Since when it is in that phase, in server time.
    pub since: Timestamp,
    /// The sequence of its newest event; 0 before the first.
    pub sequence: u64,
    /// How many times the ID came back after `gone`.
    pub generation: u32,
    /// When the watch began, in server time: `ready_deadline` counts from it.
    pub started: Timestamp,
    /// Whether `instance.overdue` was told.
    pub overdue_told: bool,
    /// Whether a row for it was ever seen in this generation.
    pub seen: bool,
    /// Since when the API answers that it does not exist, in server time.
    pub absent_since: Option<Timestamp>,
    /// Why it is in its phase.
    pub reason: Reason,
}

/// From where a sighting is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Server time when the question was sent, not later than it really was: what is silent by
    /// this time is silent for certain.
    pub at: Timestamp,
    /// Server time when the answer was here, not earlier than it really was: what lasts from then
    /// on lasts that long for certain.
    pub until: Timestamp,
    /// Whether silence may be judged: the server's time is known.
    pub silence_counts: bool,
    /// Whether a missing row means an absent instance: the replies of this scope are complete.
    pub absence_counts: bool,
}

/// What the newest sighting was, as far as the schedule needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newest {
    /// Not one yet in this process.
    None,
    /// A row with status true.
    Fresh,
    /// A row with status false.
    Silent,
    /// A whole reply had no row for it.
    NoRow,
    /// Asked for alone, it was answered with 404.
    NotFound,
}

/// Something about a watch that must be made durable: a transition, a fact told as an event, or a
/// mark without an event (a watch has begun, was first seen, is missing).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The watch as it is from here on.
    pub record: WatchRecord,
    /// The phase before; the same where only a mark changed.
    pub previous_phase: Phase,
    /// Since when it was in the phase before.
    pub previous_since: Timestamp,
    /// What is to be told, if anything.
    pub event: Option<EventType>,
    /// From the newest row.
    pub os_type: Option<OsType>,
    /// From the newest row.
    pub agent_version: Option<String>,
}

/// One instance that is followed: its phase and what the rules need to decide the next one.
#[derive(Debug, Clone)]
pub struct Watch {
    instance: InstanceId,
    policy: Arc<Policy>,
    phase: Phase,
    since: Timestamp,
    sequence: u64,
    generation: u32,
    /// Set by the first sighting: before it, server time may not be known.
    started: Option<Timestamp>,
    overdue_told: bool,
    seen: bool,
    absent_since: Option<Timestamp>,
    absences: u32,
    last_heartbeat: Option<Timestamp>,
    /// From where silence counts while no heartbeat time is known: the last fresh reply, or the
    /// first reply after a restart.
    silent_from: Option<Timestamp>,
    recovery: Option<Recovery>,
    newest: Newest,
}

impl Watch {
    /// A watch that begins with its first sighting.
    #[must_use]
    pub const fn new(instance: InstanceId, policy: Arc<Policy>) -> Self {
        Self {
            instance,
            policy,
            phase: Phase::Pending,
            since: Timestamp::from_micros(0),
            sequence: 0,
            generation: 0,
            started: None,
            overdue_told: false,
            seen: false,
            absent_since: None,
            absences: 0,
            last_heartbeat: None,
            silent_from: None,
            recovery: None,
            newest: Newest::None,
        }
    }

    /// A watch that goes on where an earlier process left it. Nothing is judged before it was
    /// observed again: a daemon that was down is no outage of an agent.
    #[must_use]
    pub fn restore(record: &WatchRecord, policy: Arc<Policy>) -> Self {
        Self {
            phase: record.phase,
            since: record.since,
            sequence: record.sequence,
            generation: record.generation,
            started: Some(record.started),
            overdue_told: record.overdue_told,
            seen: record.seen,
            absent_since: record.absent_since,
            ..Self::new(record.instance.clone(), policy)
        }
    }

    /// Whom it follows.
    #[must_use]
    pub const fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// The phase it is in.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Since when it is in its phase, in server time.
    #[must_use]
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// When it began, in server time; nothing before the first sighting.
    #[must_use]
    pub const fn started(&self) -> Option<Timestamp> {
        self.started
    }

    /// Whether a row for it was seen in this generation.
    #[must_use]
    pub const fn seen(&self) -> bool {
        self.seen
    }

    /// What the newest sighting was.
    #[must_use]
    pub const fn newest(&self) -> Newest {
        self.newest
    }

    /// Whether it must be asked for alone: a 404 for it would be a 404 for its whole batch.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        match self.newest {
            Newest::NotFound => true,
            Newest::None => self.phase == Phase::Gone || self.absent_since.is_some(),
            Newest::Fresh | Newest::Silent | Newest::NoRow => false,
        }
    }

    /// How often in a row it was absent.
    #[must_use]
    pub const fn absences(&self) -> u32 {
        self.absences
    }

    /// The first moment, in server time, at which silence could be judged `stale`: nothing where
    /// no heartbeat and no fresh reply is known.
    #[must_use]
    pub fn stale_at(&self, rules: &Rules) -> Option<Timestamp> {
        self.last_heartbeat
            .or(self.silent_from)
            .map(|beat| beat + rules.stale_after() + HEARTBEAT_RESOLUTION)
    }

    /// When it becomes overdue if it is still pending; nothing once that was told.
    #[must_use]
    pub fn overdue_at(&self) -> Option<Timestamp> {
        match (self.phase, self.started) {
            (Phase::Pending, Some(started)) if !self.overdue_told => {
                Some(started + self.policy.ready_deadline)
            }
            _ => None,
        }
    }

    /// When its absence can make it `gone`.
    #[must_use]
    pub fn gone_at(&self, rules: &Rules) -> Option<Timestamp> {
        let span = if self.seen {
            rules.absent_span()
        } else {
            rules.absent_after
        };
        self.absent_since.map(|since| since + span)
    }

    /// The commit of its newest change gave it this sequence.
    pub fn handle_committed(&mut self, sequence: u64) {
        self.sequence = self.sequence.max(sequence);
    }

    /// Judges one sighting. Total: what is impossible changes nothing.
    pub fn handle_sighting(
        &mut self,
        sighting: &Sighting,
        view: View,
        rules: &Rules,
    ) -> Option<Change> {
        if matches!(sighting, Sighting::NoRow) && !view.absence_counts {
            return None;
        }
        let before = (
            self.phase,
            self.since,
            self.seen,
            self.absent_since.is_some(),
        );
        let begins = self.started.is_none();
        if begins {
            self.started = Some(view.until);
            self.since = view.at;
        }
        let judgement = match sighting {
            Sighting::Row(status) => self.judge_row(status, view, rules),
            Sighting::NoRow => self.judge_absence(false, view, rules),
            Sighting::NotFound => self.judge_absence(true, view, rules),
        };
        let (previous_phase, previous_since, seen, absent) = before;
        if judgement.phase != previous_phase {
            self.transition_to(judgement.phase, view.at);
        }
        let marked = begins || seen != self.seen || absent != self.absent_since.is_some();
        if judgement.phase == previous_phase && judgement.event.is_none() && !marked {
            return None;
        }
        let status = match sighting {
            Sighting::Row(status) => Some(status),
            Sighting::NoRow | Sighting::NotFound => None,
        };
        Some(Change {
            previous_phase,
            previous_since: if begins { view.at } else { previous_since },
            event: judgement.event,
            os_type: status.and_then(|status| status.os_type),
            agent_version: status.and_then(|status| status.agent_version.clone()),
            record: self.record(judgement.code, judgement.message, view.at),
        })
    }

    fn record(&self, code: ReasonCode, message: String, at: Timestamp) -> WatchRecord {
        WatchRecord {
            instance: self.instance.clone(),
            phase: self.phase,
            since: self.since,
            sequence: self.sequence,
            generation: self.generation,
            started: self.started.unwrap_or(at),
            overdue_told: self.overdue_told,
            seen: self.seen,
            absent_since: self.absent_since,
            reason: Reason {
                code,
                message,
                last_heartbeat: self.last_heartbeat,
            },
        }
    }

    fn transition_to(&mut self, phase: Phase, at: Timestamp) {
        self.phase = phase;
        self.since = at;
        self.recovery = None;
    }
}

#[cfg(test)]
mod tests;
