//! Which calls are made, and when.

use super::{Batch, BatchId, Call, Fleet, Place};
use crate::core::budget::{Budget, Purpose};
use crate::core::call::BATCH_MAX;
use crate::core::schedule::{DueQueue, MIN_GAP};
use crate::core::time::Instant;

/// How many entries of the queue are looked at to fill the seats of one call.
const SEARCH_MAX: usize = 2 * BATCH_MAX;

const PURPOSES: [Purpose; 3] = [Purpose::Routine, Purpose::Bisection, Purpose::Suspect];

/// The order in which purposes are looked at after one had its turn.
const fn after(newest: Purpose) -> [Purpose; 3] {
    use Purpose::{Bisection, Routine, Suspect};
    match newest {
        Routine => [Bisection, Suspect, Routine],
        Bisection => [Suspect, Routine, Bisection],
        Suspect => [Routine, Bisection, Suspect],
    }
}

impl Fleet {
    /// When [`Self::handle_timeout`] next has something to do within this budget, and what;
    /// nothing while it waits for answers only.
    #[must_use]
    pub fn poll_timeout(&self, budget: &Budget) -> Option<(Instant, &'static str)> {
        if self.calls.len() >= self.calls_in_flight {
            return None;
        }
        let paused = (
            self.pause.until().unwrap_or(Instant::ORIGIN),
            "calls failed",
        );
        // Of each purpose the latest reason decides, of equals the first; of the purposes the
        // earliest.
        let later = |latest: (Instant, _), other: (Instant, _)| {
            if other.0 > latest.0 { other } else { latest }
        };
        PURPOSES
            .into_iter()
            .filter_map(|purpose| {
                let reasons = [budget.available_at(purpose), paused];
                Some(reasons.into_iter().fold(self.wanted(purpose)?, later))
            })
            .min_by_key(|(at, _)| *at)
    }

    /// From when on there is a reason for a call, and which.
    fn wanted(&self, purpose: Purpose) -> Option<(Instant, &'static str)> {
        let due = |queue: &DueQueue| Some((queue.peek()?.0, "an instance is due"));
        let part = (Instant::ORIGIN, "part of a failed batch waits to be asked");
        match purpose {
            Purpose::Routine => due(&self.due),
            Purpose::Suspect => due(&self.suspects),
            Purpose::Bisection => self.bisections.is_waiting().then_some(part),
        }
    }

    /// Decides on every call that may be made now and has a reason to be made.
    pub fn handle_timeout(&mut self, now: Instant, budget: &mut Budget) {
        while self.poll_timeout(budget).is_some_and(|(at, _)| at <= now) {
            let Some(call) = self.next_call(now, budget) else {
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
            budget.spend(call.purpose, now);
            self.calls_made += 1;
            self.calls.insert(id, call);
            self.outbound.push_back(Batch { id, instances });
        }
    }

    /// The next call to make.
    pub fn poll_batch(&mut self) -> Option<Batch> {
        self.outbound.pop_front()
    }

    /// Purposes take turns; while somebody is due, the others only within their shares.
    fn next_call(&mut self, now: Instant, budget: &Budget) -> Option<Call> {
        let is_wanted = |purpose| self.wanted(purpose).is_some_and(|(at, _)| at <= now);
        let contended = is_wanted(Purpose::Routine);
        let may_go = |purpose: &Purpose| {
            is_wanted(*purpose)
                && budget.available_at(*purpose).0 <= now
                && (!contended || budget.is_within_share(*purpose, now))
        };
        let purpose = after(self.newest).into_iter().find(may_go)?;
        self.newest = purpose;
        let (slots, part_of) = match purpose {
            Purpose::Routine => (self.take_shared(now), None),
            Purpose::Suspect => (self.suspects.pop().map(|(_, slot)| vec![slot])?, None),
            Purpose::Bisection => {
                let part = self.bisections.pop()?;
                (part.slots, Some(part.of))
            }
        };
        Some(Call {
            slots,
            purpose,
            part_of,
        })
    }

    /// The most urgent watches that are due, with the next most urgent in the seats that are free
    /// anyway.
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
}
