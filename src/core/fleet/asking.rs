//! Which calls are made, and when.

use std::time::Duration;

use super::{Batch, BatchId, Call, Fleet, Place};
use crate::core::budget::Budget;
use crate::core::call::BATCH_MAX;
use crate::core::schedule::MIN_GAP;
use crate::core::time::Instant;

/// How many entries of the queue are looked at to fill the seats of one call.
const SEARCH_MAX: usize = 2 * BATCH_MAX;

impl Fleet {
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
}
