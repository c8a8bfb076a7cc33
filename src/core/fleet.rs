//! The fleet of one scope: its watches, what is asked next, and what follows from the answers.
//!
//! It is told (`handle_*`) and asked (`poll_*`). The owner of the IO loops over it like this:
//! wait until [`Fleet::poll_timeout`], call [`Fleet::handle_timeout`], make every call that
//! [`Fleet::poll_batch`] gives, hand each answer to [`Fleet::handle_report`], commit every change
//! that [`Fleet::poll_change`] gives and confirm it with [`Fleet::handle_committed`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::budget::{FailurePause, Purpose};
use super::call::BATCH_MAX;
use super::id::InstanceId;
use super::rules::{Policy, Rules};
use super::schedule::{Cadence, DueQueue, slot_index};
use super::server_time::ServerClock;
use super::time::Instant;
use super::watch::{Change, Phase, Watch, WatchRecord};

mod answering;
mod asking;
mod bisection;
mod completeness;
#[cfg(test)]
mod tests;

use bisection::{BisectionId, Bisections};
use completeness::Completeness;

/// The figures a fleet works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FleetSettings {
    /// How instances are judged.
    pub rules: Rules,
    /// How often a pending watch is due.
    pub pending: Duration,
    /// Whether due times move apart as time goes by without a change. They do not for somebody
    /// who waits.
    pub relaxes: bool,
    /// At most so many calls at a time.
    pub calls_in_flight: usize,
}

/// Names one call between [`Fleet::poll_batch`] and [`Fleet::handle_report`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(u64);

/// The IDs of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Names the call.
    pub id: BatchId,
    /// 1 to 100 instances.
    pub instances: Vec<InstanceId>,
}

/// Things that should not happen and are counted when they do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Oddities {
    /// Rows for instances the call did not ask for.
    pub foreign_rows: u64,
    /// Second rows for one instance in one reply.
    pub repeated_rows: u64,
    /// Reports of calls nobody knows.
    pub unknown_reports: u64,
    /// Replies that came before any reply had said what time it is.
    pub undated_replies: u64,
}

/// Where a slot is between two due times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In one of the queues.
    Queued,
    /// In a call, or in half of a call that failed and is to be asked again.
    Asked,
    /// Its newest change is being committed: nothing is decided before that is known.
    Committing,
}

#[derive(Debug, Clone)]
struct Slot {
    watch: Watch,
    due: Instant,
    last_reply: Option<Instant>,
    place: Place,
    /// Three random ones of its batch do not exist: it is asked for alone until it was answered.
    in_doubt: bool,
}

/// A call in flight.
#[derive(Debug, Clone)]
struct Call {
    slots: Vec<u32>,
    purpose: Purpose,
    /// The batch that failed with these in it.
    part_of: Option<BisectionId>,
}

/// All watches of one scope.
#[derive(Debug, Clone)]
pub struct Fleet {
    cadence: Cadence,
    calls_in_flight: usize,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    index: HashMap<InstanceId, u32>,
    /// Watches whose IDs can share a call.
    due: DueQueue,
    /// Watches whose IDs would fail a call for everybody in it.
    suspects: DueQueue,
    bisections: Bisections,
    batches_in_doubt: u64,
    /// What the newest call was for: purposes take turns.
    newest: Purpose,
    calls: BTreeMap<BatchId, Call>,
    next_batch: u64,
    outbound: VecDeque<Batch>,
    changes: VecDeque<Change>,
    clock: ServerClock,
    pause: FailurePause,
    calls_made: u64,
    completeness: Completeness,
    phases: BTreeMap<Phase, usize>,
    oddities: Oddities,
}

impl Fleet {
    /// A fleet without watches.
    #[must_use]
    pub fn new(settings: &FleetSettings) -> Self {
        Self {
            cadence: Cadence {
                rules: settings.rules,
                pending: settings.pending,
                relaxes: settings.relaxes,
            },
            calls_in_flight: settings.calls_in_flight.max(1),
            slots: Vec::new(),
            free: Vec::new(),
            index: HashMap::new(),
            due: DueQueue::default(),
            suspects: DueQueue::default(),
            bisections: Bisections::default(),
            batches_in_doubt: 0,
            newest: Purpose::Suspect,
            calls: BTreeMap::new(),
            next_batch: 0,
            outbound: VecDeque::new(),
            changes: VecDeque::new(),
            clock: ServerClock::default(),
            pause: FailurePause::default(),
            calls_made: 0,
            completeness: Completeness::default(),
            phases: BTreeMap::new(),
            oddities: Oddities::default(),
        }
    }

    /// Begins to watch instances, spread over one `pending` interval so that a large fleet does
    /// not start with a burst. `stored` is what an earlier process left of the watch. One that is
    /// watched already stays as it is.
    pub fn add_watches(
        &mut self,
        watches: impl IntoIterator<Item = (InstanceId, Arc<Policy>, Option<WatchRecord>)>,
        now: Instant,
    ) {
        let added: Vec<u32> = watches
            .into_iter()
            .filter_map(|(instance, policy, stored)| self.add_watch(instance, policy, stored, now))
            .collect();
        let calls = added.len().div_ceil(BATCH_MAX).max(1);
        for (index, slot) in added.chunks(BATCH_MAX).enumerate() {
            let share = u32::try_from(index).unwrap_or(u32::MAX);
            let wait = self.cadence.pending * share / u32::try_from(calls).unwrap_or(u32::MAX);
            for slot in slot {
                self.enqueue(*slot, now + wait);
            }
        }
    }

    fn add_watch(
        &mut self,
        instance: InstanceId,
        policy: Arc<Policy>,
        stored: Option<WatchRecord>,
        now: Instant,
    ) -> Option<u32> {
        if self.index.contains_key(&instance) {
            return None;
        }
        let watch = match stored {
            Some(record) => Watch::restore(&record, policy),
            None => Watch::new(instance.clone(), policy),
        };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => u32::try_from(self.slots.len()).ok()?,
        };
        self.count_phase(None, Some(watch.phase()));
        let entry = Slot {
            watch,
            due: now,
            last_reply: None,
            place: Place::Queued,
            in_doubt: false,
        };
        match self.slots.get_mut(slot_index(slot)) {
            Some(vacant) => *vacant = Some(entry),
            None => self.slots.push(Some(entry)),
        }
        self.index.insert(instance, slot);
        Some(slot)
    }

    /// Stops watching an instance. An answer that still comes for it is ignored.
    pub fn remove_watch(&mut self, instance: &InstanceId) {
        let Some(slot) = self.index.remove(instance) else {
            return;
        };
        self.due.remove(slot);
        self.suspects.remove(slot);
        for call in self.calls.values_mut() {
            call.slots.retain(|other| *other != slot);
        }
        self.bisections.remove(slot);
        if let Some(removed) = self.slots.get_mut(slot_index(slot)).and_then(Option::take) {
            self.count_phase(Some(removed.watch.phase()), None);
        }
        self.free.push(slot);
    }

    /// The next change that must be committed. Until [`Self::handle_committed`] confirms it,
    /// nothing further is decided on its instance.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// A change of this instance is durable, with this sequence.
    pub fn handle_committed(&mut self, instance: &InstanceId, sequence: u64) {
        let Some(slot) = self.index.get(instance).copied() else {
            return;
        };
        let Some(entry) = self.slot_mut(slot) else {
            return;
        };
        entry.watch.handle_committed(sequence);
        if entry.place == Place::Committing {
            self.reschedule(slot);
        }
    }

    fn reschedule(&mut self, slot: u32) {
        let Some(entry) = self.slot(slot) else { return };
        let Some(last_reply) = entry.last_reply else {
            return;
        };
        let due = self.cadence.next_due(&entry.watch, last_reply, &self.clock);
        self.enqueue(slot, due);
    }

    fn enqueue(&mut self, slot: u32, due: Instant) {
        let Some(entry) = self.slot_mut(slot) else {
            return;
        };
        entry.due = due;
        entry.place = Place::Queued;
        if entry.in_doubt || entry.watch.is_suspect() {
            self.suspects.schedule(slot, due);
        } else {
            self.due.schedule(slot, due);
        }
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(slot_index(slot))?.as_ref()
    }

    fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(slot_index(slot))?.as_mut()
    }

    fn count_phase(&mut self, before: Option<Phase>, after: Option<Phase>) {
        if let Some(count) = before.and_then(|phase| self.phases.get_mut(&phase)) {
            *count = count.saturating_sub(1);
        }
        if let Some(phase) = after {
            *self.phases.entry(phase).or_default() += 1;
        }
    }

    /// How many instances are in a phase.
    #[must_use]
    pub fn count(&self, phase: Phase) -> usize {
        self.phases.get(&phase).copied().unwrap_or(0)
    }

    /// The watch of an instance.
    #[must_use]
    pub fn watch(&self, instance: &InstanceId) -> Option<&Watch> {
        self.slot(*self.index.get(instance)?)
            .map(|entry| &entry.watch)
    }

    /// How many calls it has asked for so far.
    #[must_use]
    pub const fn calls_made(&self) -> u64 {
        self.calls_made
    }

    /// Of how many batches three random IDs did not exist and nothing else was found: perhaps they
    /// were asked for in the wrong region or account.
    #[must_use]
    pub const fn batches_in_doubt(&self) -> u64 {
        self.batches_in_doubt
    }

    /// What is known of the server's time.
    #[must_use]
    pub const fn server_clock(&self) -> &ServerClock {
        &self.clock
    }

    /// What was counted that should not happen.
    #[must_use]
    pub const fn oddities(&self) -> Oddities {
        self.oddities
    }
}
