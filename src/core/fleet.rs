//! The fleet of one scope: its watches, what is asked next, and what follows from the answers.
//!
//! It is told (`handle_*`) and asked (`poll_*`). The owner of the IO loops over it like this:
//! wait until [`Fleet::poll_timeout`], call [`Fleet::handle_timeout`], make every call that
//! [`Fleet::poll_batch`] gives, hand each answer to [`Fleet::handle_report`], commit every change
//! that [`Fleet::poll_change`] gives and confirm it with [`Fleet::handle_committed`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::budget::{Budget, FailurePause};
use super::call::{BATCH_MAX, CallReport, Disposition, Row};
use super::id::InstanceId;
use super::rules::{Policy, Rules};
use super::schedule::{Cadence, DueQueue, MIN_GAP, slot_index};
use super::server_time::ServerClock;
use super::status::{Sighting, Status};
use super::time::{Instant, Timestamp};
use super::watch::{Change, Phase, View, Watch, WatchRecord};

mod completeness;
#[cfg(test)]
mod tests;

use completeness::Completeness;

/// How many entries of the queue are looked at to fill the seats of one call.
const SEARCH_MAX: usize = 2 * BATCH_MAX;

/// The pause after the first of several calls that failed for a reason that may pass.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The same where somebody has to change something first: keys, permissions, the region.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_secs(5);

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
}

/// A call in flight.
#[derive(Debug, Clone)]
struct Call {
    slots: Vec<u32>,
    /// Asked because a batch with these in it failed.
    is_part: bool,
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
    /// Parts of batches that failed because of some ID in them, each to be asked alone.
    parts: VecDeque<Vec<u32>>,
    part_is_next: bool,
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
            parts: VecDeque::new(),
            part_is_next: false,
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
        for asked in self
            .calls
            .values_mut()
            .map(|call| &mut call.slots)
            .chain(&mut self.parts)
        {
            asked.retain(|other| *other != slot);
        }
        self.parts.retain(|part| !part.is_empty());
        if let Some(removed) = self.slots.get_mut(slot_index(slot)).and_then(Option::take) {
            self.count_phase(Some(removed.watch.phase()), None);
        }
        self.free.push(slot);
    }

    /// When [`Self::handle_timeout`] next has something to do within this budget, and what;
    /// nothing while it waits for answers only.
    #[must_use]
    pub fn poll_timeout(&self, budget: &Budget) -> Option<(Instant, &'static str)> {
        if self.calls.len() >= self.calls_in_flight {
            return None;
        }
        let origin = Instant::from_origin(Duration::ZERO);
        let wanted = if self.parts.is_empty() {
            let queues = [self.due.peek(), self.suspects.peek()];
            let first = queues.into_iter().flatten().map(|(due, _)| due).min()?;
            (first, "an instance is due")
        } else {
            (origin, "part of a failed batch waits to be asked")
        };
        let paused = (self.pause.until().unwrap_or(origin), "calls failed");
        // The latest of the three decides; of equals the first.
        let later = |latest: (Instant, _), other: (Instant, _)| {
            if other.0 > latest.0 { other } else { latest }
        };
        Some(
            [budget.available_at(), paused]
                .into_iter()
                .fold(wanted, later),
        )
    }

    /// Decides on every call that may be made now and has a reason to be made.
    pub fn handle_timeout(&mut self, now: Instant, budget: &mut Budget) {
        while self.poll_timeout(budget).is_some_and(|(at, _)| at <= now) {
            let Some(call) = self.next_call(now) else {
                return;
            };
            let id = BatchId(self.next_batch);
            self.next_batch += 1;
            let mut instances = Vec::with_capacity(call.slots.len());
            for slot in &call.slots {
                if let Some(entry) = self.slot_mut(*slot) {
                    entry.place = Place::Asked;
                    instances.push(entry.watch.instance().clone());
                }
            }
            budget.spend(now);
            self.calls_made += 1;
            self.calls.insert(id, call);
            self.outbound.push_back(Batch { id, instances });
        }
    }

    /// The next call to make.
    pub fn poll_batch(&mut self) -> Option<Batch> {
        self.outbound.pop_front()
    }

    /// Parts of failed batches and what is due take turns, so that bad IDs do not stop the good.
    fn next_call(&mut self, now: Instant) -> Option<Call> {
        let part_first = self.part_is_next;
        self.part_is_next = !part_first;
        let part = |fleet: &mut Self| {
            fleet.parts.pop_front().map(|slots| Call {
                slots,
                is_part: true,
            })
        };
        let due = |fleet: &mut Self| {
            fleet.take_due(now).map(|slots| Call {
                slots,
                is_part: false,
            })
        };
        if part_first {
            part(self).or_else(|| due(self))
        } else {
            due(self).or_else(|| part(self))
        }
    }

    /// The most urgent watch that is due, with the next most urgent in the seats that are free
    /// anyway. A suspect goes alone.
    fn take_due(&mut self, now: Instant) -> Option<Vec<u32>> {
        let is_due = |entry: &(Instant, u32)| entry.0 <= now;
        let shared = self.due.peek().filter(is_due);
        let suspect = self.suspects.peek().filter(is_due);
        match (shared, suspect) {
            (None, None) => None,
            (Some(shared), Some(suspect)) if suspect < shared => self.take_suspect(),
            (None, Some(_)) => self.take_suspect(),
            (Some(_), _) => Some(self.take_shared(now)),
        }
    }

    fn take_suspect(&mut self) -> Option<Vec<u32>> {
        self.suspects.pop().map(|(_, slot)| vec![slot])
    }

    fn take_shared(&mut self, now: Instant) -> Vec<u32> {
        let mut taken = Vec::with_capacity(BATCH_MAX);
        let mut passed_over = Vec::new();
        while taken.len() < BATCH_MAX && taken.len() + passed_over.len() < SEARCH_MAX {
            let Some((due, slot)) = self.due.pop() else {
                break;
            };
            let last_reply = self.slot(slot).and_then(|entry| entry.last_reply);
            if due > now && last_reply.is_some_and(|reply| reply + MIN_GAP > now) {
                passed_over.push((due, slot));
            } else {
                taken.push(slot);
            }
        }
        for (due, slot) in passed_over {
            self.due.schedule(slot, due);
        }
        taken
    }

    /// Takes in how a call ended. `unit` in 0..1 spreads what would else be asked again together.
    pub fn handle_report(
        &mut self,
        id: BatchId,
        report: &CallReport,
        unit: f64,
        budget: &mut Budget,
    ) {
        let Some(call) = self.calls.remove(&id) else {
            self.oddities.unknown_reports += 1;
            return;
        };
        let expected = self.clock.earliest(report.sent);
        if let Some(date) = report.date {
            self.clock.handle_date(report.sent, report.received, date);
        }
        // What the reply says was true at some time after it was sent for. What was known of that
        // time before is as good as what the reply added: the due time was reckoned with it.
        let at = self
            .clock
            .earliest(report.sent)
            .max(expected.filter(|_| self.clock.known()));
        match &report.outcome {
            Ok(rows) => {
                self.pause.handle_answer();
                self.handle_rows(&call, rows, report, at);
            }
            Err(Disposition::NotFound) => {
                self.pause.handle_answer();
                self.handle_not_found(call, report, at);
            }
            Err(Disposition::Throttled { after }) => {
                let server_now = self.clock.earliest(report.received);
                budget.handle_throttling(*after, report.received, server_now, unit);
                self.ask_again(call);
            }
            Err(Disposition::Retry) => self.handle_failure(call, PAUSE_AFTER_FAILURE, report),
            Err(Disposition::Permanent) => self.handle_failure(call, PAUSE_AFTER_REFUSAL, report),
        }
    }

    fn handle_failure(&mut self, call: Call, pause: Duration, report: &CallReport) {
        self.pause.handle_failure(pause, report.received);
        self.ask_again(call);
    }

    /// Nothing was learned of these: they stay as urgent as they were.
    fn ask_again(&mut self, call: Call) {
        if call.is_part && !call.slots.is_empty() {
            self.parts.push_front(call.slots);
            return;
        }
        for slot in call.slots {
            if let Some(due) = self.slot(slot).map(|entry| entry.due) {
                self.enqueue(slot, due);
            }
        }
    }

    /// Some ID in these does not exist, and the API says which only of one that is alone.
    fn handle_not_found(&mut self, call: Call, report: &CallReport, at: Option<Timestamp>) {
        let Call { mut slots, .. } = call;
        if let [alone] = slots.as_slice() {
            self.handle_sighting(*alone, &Sighting::NotFound, report, at);
            return;
        }
        let second = slots.split_off(slots.len() / 2);
        self.parts
            .extend([slots, second].into_iter().filter(|part| !part.is_empty()));
    }

    fn handle_rows(
        &mut self,
        call: &Call,
        rows: &[Row],
        report: &CallReport,
        at: Option<Timestamp>,
    ) {
        let mut seen: BTreeMap<u32, &Status> = BTreeMap::new();
        for row in rows {
            let asked = self
                .index
                .get(&row.instance)
                .filter(|slot| call.slots.contains(slot));
            let Some(slot) = asked else {
                self.oddities.foreign_rows += 1;
                continue;
            };
            if let Some(first) = seen.insert(*slot, &row.status) {
                self.oddities.repeated_rows += 1;
                let newer = |status: &Status| (status.last_heartbeat, status.fresh);
                if newer(first) > newer(&row.status) {
                    seen.insert(*slot, first);
                }
            }
        }
        let known = call.slots.iter().filter(|slot| self.was_seen(**slot));
        let (asked, had_rows) = known.fold((0, 0), |(asked, had), slot| {
            (asked + 1, had + u32::from(seen.contains_key(slot)))
        });
        self.completeness
            .handle_reply(asked, had_rows, report.received);
        for slot in &call.slots {
            let sighting = match seen.get(slot) {
                Some(status) => Sighting::Row((*status).clone()),
                None => Sighting::NoRow,
            };
            self.handle_sighting(*slot, &sighting, report, at);
        }
    }

    fn was_seen(&self, slot: u32) -> bool {
        self.slot(slot).is_some_and(|entry| entry.watch.seen())
    }

    fn handle_sighting(
        &mut self,
        slot: u32,
        sighting: &Sighting,
        report: &CallReport,
        at: Option<Timestamp>,
    ) {
        let view = at.map(|at| View {
            at,
            silence_counts: self.clock.known(),
            absence_counts: self.completeness.holds(),
        });
        let rules = self.cadence.rules;
        let Some(entry) = self
            .slots
            .get_mut(slot_index(slot))
            .and_then(Option::as_mut)
        else {
            return;
        };
        entry.last_reply = Some(report.received);
        let before = entry.watch.phase();
        let change = match view {
            Some(view) => entry.watch.handle_sighting(sighting, view, &rules),
            None => {
                self.oddities.undated_replies += 1;
                None
            }
        };
        let after = entry.watch.phase();
        match change {
            None => self.reschedule(slot),
            Some(change) => {
                entry.place = Place::Committing;
                self.changes.push_back(change);
                self.count_phase(Some(before), Some(after));
            }
        }
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
        if entry.watch.is_suspect() {
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
