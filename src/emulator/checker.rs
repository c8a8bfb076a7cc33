//! Holds what a watcher told against what was true.
//!
//! Pure: it is given the histories, the events and the time that was watched, and answers what
//! was wrong, in words, and how quick the watcher was, in figures.

mod case;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use self::case::Case;
use super::truth::InstanceTruth;
use crate::core::event::{EventId, EventType};
use crate::core::id::InstanceId;
use crate::core::time::Timestamp;

/// What the watcher is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// How long a heartbeat counts.
    pub window: Duration,
    /// How much longer than the window a silence lasts before it is stale.
    pub grace: Duration,
    /// How late `instance.stale` may be: the API tells whole seconds, and a call takes time.
    pub slack: Duration,
    /// How long after an instance first can be seen beating `instance.ready` may take. Also how
    /// late `instance.overdue` may be.
    pub ready_within: Duration,
    /// How long after the end of a silence that was told `instance.recovered` may take: the
    /// heartbeats that recovery asks for, and one poll of a stale instance.
    pub recovered_within: Duration,
    /// How long after a release `instance.gone` may take; where nothing, it need not come.
    pub gone_within: Option<Duration>,
    /// The ready deadline; where nothing, `instance.overdue` need not come.
    pub overdue_after: Option<Duration>,
}

/// The time that was watched, in the emulator's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// Not later than the watches began.
    pub from: Timestamp,
    /// Up to when events were collected. The histories were taken then or later.
    pub to: Timestamp,
}

/// One event as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Delivery is at least once: the same ID again is the same event.
    pub id: EventId,
    /// About whom.
    pub instance: InstanceId,
    /// What.
    pub event_type: EventType,
    /// When it was committed, or received, in the emulator's time.
    pub at: Timestamp,
}

/// What came out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Everything that was wrong, a sentence each; none of a watcher that is right.
    pub violations: Vec<String>,
    /// How many events there were of each type, repeats left out.
    pub counts: BTreeMap<EventType, usize>,
    /// How many silences had to be told, and so could be missed.
    pub silences_to_tell: usize,
    /// From window and grace after the last heartbeat to `instance.stale`, at worst.
    pub worst_stale_delay: Option<Duration>,
    /// From when an instance first could be seen beating to `instance.ready`, at worst.
    pub worst_ready_delay: Option<Duration>,
}

impl Report {
    /// Whether the watcher was right in everything.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (event_type, count) in &self.counts {
            writeln!(f, "{event_type}: {count}")?;
        }
        writeln!(f, "silences to tell: {}", self.silences_to_tell)?;
        let worst = [
            ("stale", self.worst_stale_delay),
            ("ready", self.worst_ready_delay),
        ];
        for (name, delay) in worst {
            if let Some(delay) = delay {
                writeln!(f, "worst {name} delay: {:.3} s", delay.as_secs_f64())?;
            }
        }
        writeln!(f, "violations: {}", self.violations.len())?;
        for violation in &self.violations {
            writeln!(f, "  {violation}")?;
        }
        Ok(())
    }
}

/// Compares the events of a watcher with the histories of the instances it watched, all of them
/// from `watched.from` on.
///
/// An event of an instance that has no history is one of an ID that never existed. What is asked
/// for:
/// - a silence longer than window, grace and slack that began while the instance was ready is
///   told as stale, once, between window and grace after its last heartbeat and the slack later;
///   one shorter than window and grace is not; between the two either is right;
/// - an instance that beats is told ready, once, and not before its first heartbeat;
/// - recovered comes once after each stale that ended, and not while it lasts;
/// - gone is told only of what was released or never existed, overdue only of what is not ready.
#[must_use]
pub fn check(
    promise: &Promise,
    watched: Watched,
    truths: &[InstanceTruth],
    told: &[Told],
) -> Report {
    let mut report = Report::default();
    let mut by_instance = by_instance(told, &mut report.counts);
    for truth in truths {
        let events = by_instance.remove(&truth.id).unwrap_or_default();
        Case::new(promise, watched, truth, &events).judge(&mut report);
    }
    for (id, events) in by_instance {
        case::judge_unknown(&id, &events, &mut report);
    }
    report
}

/// What was told of each instance, in the order of its time, repeats left out and counted by
/// type.
fn by_instance(
    told: &[Told],
    counts: &mut BTreeMap<EventType, usize>,
) -> BTreeMap<InstanceId, Vec<(EventType, Timestamp)>> {
    let mut first: BTreeMap<&EventId, &Told> = BTreeMap::new();
    for event in told {
        let known = first.entry(&event.id).or_insert(event);
        if event.at < known.at {
            *known = event;
        }
    }
    let mut events: Vec<&Told> = first.into_values().collect();
    events.sort_by_key(|event| event.at);
    let mut by_instance: BTreeMap<InstanceId, Vec<(EventType, Timestamp)>> = BTreeMap::new();
    for event in events {
        *counts.entry(event.event_type).or_default() += 1;
        let list = by_instance.entry(event.instance.clone()).or_default();
        list.push((event.event_type, event.at));
    }
    by_instance
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
