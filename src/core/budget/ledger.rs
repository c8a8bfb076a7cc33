//! What of a budget survives the process.
//!
//! A call is written down before it is made, or a kill between the two would forget it. One write
//! per call would cost a sync of the disk each, so calls are reserved in blocks: a record holds
//! the calls made so far and a number of calls that may be made after it. Only when it is on the
//! disk are they made, and when half of them are left the next record is due, at most once a
//! second. Whoever restores a record takes all that were reserved for made just now: a restart can
//! cost a block for a minute, and never grants a call too many.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Budget, Growth, SHARE_MIN, SPAN};
use crate::core::time::{Instant, Timestamp};

/// The shortest time between two records, but for throttling, which is recorded at once.
const RECORD_EVERY: Duration = Duration::from_secs(1);

/// Calls this close together are recorded as one time, the later one.
const RECORD_RESOLUTION: Duration = Duration::from_secs(1);

/// A budget as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetRecord {
    /// When this was so, on a calendar that goes on across restarts.
    pub at: Timestamp,
    /// The calls of the last span: how long before `at`, and how many; the oldest first.
    pub calls: Vec<(Duration, u32)>,
    /// How many calls may have been made since.
    pub reserved: u32,
    /// How long no call is to be made because the API asked for a pause.
    pub held_for: Duration,
    /// The share of the full rate at the end of that pause, above 0 and up to 1.
    pub share: f64,
}

/// How many calls are covered by what is written down.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    /// Calls that may still be made under the record that is on the disk.
    granted: u32,
    /// The same of the record that is being written.
    writing: Option<u32>,
    written_at: Option<Instant>,
    /// Something must be on the disk at once.
    urgent: bool,
    /// The disk takes nothing now: calls are made all the same.
    suspended: bool,
}

impl Ledger {
    /// One that must be written before the first call.
    fn begin() -> Self {
        Self {
            urgent: true,
            ..Self::default()
        }
    }

    /// Whether the next call is written down already.
    pub(super) const fn covers_a_call(&self) -> bool {
        self.granted > 0 || self.suspended
    }

    pub(super) const fn spend(&mut self) {
        self.granted = self.granted.saturating_sub(1);
        if let Some(writing) = &mut self.writing {
            *writing = writing.saturating_sub(1);
        }
    }

    pub(super) const fn handle_throttling(&mut self) {
        self.urgent = true;
    }

    fn due(&self, block: u32) -> Option<Instant> {
        if self.writing.is_some() {
            None
        } else if self.urgent {
            Some(Instant::ORIGIN)
        } else if self.granted <= block / 2 {
            let earliest = self.written_at.map(|at| at + RECORD_EVERY);
            Some(earliest.unwrap_or(Instant::ORIGIN))
        } else {
            None
        }
    }
}

impl Budget {
    /// A budget that goes on where an earlier process left it, or begins, and from here on makes
    /// no call that is not recorded first. `calendar` is the time of `now` on the calendar of the
    /// records.
    #[must_use]
    pub fn restore(
        calls_per_minute: u32,
        record: Option<&BudgetRecord>,
        now: Instant,
        calendar: Timestamp,
    ) -> Self {
        let mut budget = Self::new(calls_per_minute);
        budget.ledger = Some(Ledger::begin());
        let Some(record) = record else { return budget };
        // Nothing where the calendar was set back: then everything counts for longer.
        let elapsed = calendar.saturating_since(record.at);
        for (age, count) in &record.calls {
            let left = SPAN.saturating_sub(*age + elapsed);
            let count = if left.is_zero() { 0 } else { *count };
            budget.frees.extend((0..count).map(|_| now + left));
        }
        let reserved = (0..record.reserved).map(|_| now + SPAN);
        budget.frees.extend(reserved);
        budget.held_until = now + record.held_for.saturating_sub(elapsed);
        budget.growth = (record.share < 1.0).then(|| Growth {
            throttled_at: now,
            from: budget.held_until,
            share: record.share.max(SHARE_MIN),
        });
        budget
    }

    /// When [`Self::poll_record`] next has something to be stored; nothing while that is being
    /// done, or where this budget is not kept.
    #[must_use]
    pub fn record_due(&self) -> Option<(Instant, &'static str)> {
        let due = self.ledger.as_ref()?.due(self.burst())?;
        Some((due, "calls are to be recorded"))
    }

    /// What is to be stored now, if anything. [`Self::handle_recorded`] confirms it.
    pub fn poll_record(&mut self, now: Instant, calendar: Timestamp) -> Option<BudgetRecord> {
        self.record_due().filter(|(due, _)| *due <= now)?;
        let block = self.burst();
        let record = self.record(block, now, calendar);
        let ledger = self.ledger.as_mut()?;
        ledger.writing = Some(block);
        ledger.written_at = Some(now);
        ledger.urgent = false;
        Some(record)
    }

    /// The last record of this process: no call is made after it.
    #[must_use]
    pub fn last_record(&self, now: Instant, calendar: Timestamp) -> Option<BudgetRecord> {
        self.ledger.as_ref()?;
        Some(self.record(0, now, calendar))
    }

    /// The newest record is on the disk.
    pub fn handle_recorded(&mut self) {
        if let Some(ledger) = &mut self.ledger {
            ledger.granted = ledger.writing.take().unwrap_or(ledger.granted);
        }
    }

    /// Whether the disk takes records. While it does not, calls go on without: what is observed
    /// matters more than what a restart would count.
    pub const fn set_recordable(&mut self, recordable: bool) {
        if let Some(ledger) = &mut self.ledger {
            ledger.suspended = !recordable;
        }
    }

    fn record(&self, reserved: u32, now: Instant, calendar: Timestamp) -> BudgetRecord {
        let from = self.held_until.max(now);
        BudgetRecord {
            at: calendar,
            calls: ages(&self.frees, now),
            reserved,
            held_for: self.held_until.saturating_since(now),
            share: self.growth.map_or(1.0, |growth| growth.share_at(from)),
        }
    }
}

/// How long ago the calls were made that still count, close ones together.
fn ages(frees: &VecDeque<Instant>, now: Instant) -> Vec<(Duration, u32)> {
    let mut ages: Vec<(Instant, Instant, u32)> = Vec::new();
    for free in frees.iter().filter(|free| **free > now) {
        match ages.last_mut() {
            Some((first, last, count)) if *free <= *first + RECORD_RESOLUTION => {
                *last = *free;
                *count += 1;
            }
            Some(_) | None => ages.push((*free, *free, 1)),
        }
    }
    ages.into_iter()
        .map(|(_, last, count)| (SPAN.saturating_sub(last.saturating_since(now)), count))
        .collect()
}
