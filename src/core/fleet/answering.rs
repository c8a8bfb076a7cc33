//! What follows from how calls ended.

use std::collections::BTreeMap;
use std::time::Duration;

use super::bisection::Part;
use super::{BatchId, Call, Fleet, Place};
use crate::core::budget::{Budget, Throttling};
use crate::core::call::{CallReport, Disposition, Row};
use crate::core::schedule::slot_index;
use crate::core::status::{Sighting, Status};
use crate::core::time::Timestamp;
use crate::core::watch::View;

/// The pause after the first of several calls that failed for a reason that may pass.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The same where somebody has to change something first: keys, permissions, the region.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_secs(5);

/// What may be the matter when nothing of a batch is found.
const MISPLACED: &str = "; so it is for others of its batch: wrong region or account?";

/// A number in 0..1.
fn unit(random: u64) -> f64 {
    let [first, second, third, fourth, ..] = random.to_be_bytes();
    f64::from(u32::from_be_bytes([first, second, third, fourth])) / f64::from(u32::MAX)
}

impl Fleet {
    /// Takes in how a call ended. `random` spreads what would else be asked again together, and
    /// draws the order in which a batch that failed is halved.
    pub fn handle_report(
        &mut self,
        id: BatchId,
        report: &CallReport,
        random: u64,
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
                if let Some(of) = call.part_of {
                    self.bisections.handle_answer(of);
                }
                self.handle_rows(&call, rows, report, at);
            }
            Err(Disposition::NotFound) => {
                self.pause.handle_answer();
                self.handle_not_found(call, random, report, at);
            }
            Err(Disposition::Throttled { after }) => {
                let throttling = Throttling {
                    after: *after,
                    sent: report.sent,
                    received: report.received,
                    date: report.date,
                    server_now: self.clock.earliest(report.received),
                };
                budget.handle_throttling(&throttling, unit(random));
                self.ask_again(call);
            }
            Err(Disposition::Retry) => self.handle_failure(call, PAUSE_AFTER_FAILURE, report),
            Err(Disposition::Permanent) => self.handle_failure(call, PAUSE_AFTER_REFUSAL, report),
        }
        let calls = &self.calls;
        self.bisections
            .forget_all_but(|of| calls.values().any(|call| call.part_of == Some(of)));
    }

    fn handle_failure(&mut self, call: Call, pause: Duration, report: &CallReport) {
        self.pause.handle_failure(pause, report.received);
        self.ask_again(call);
    }

    /// Nothing was learned of these: they stay as urgent as they were.
    fn ask_again(&mut self, call: Call) {
        if let Some(of) = call.part_of {
            let slots = call.slots;
            self.bisections.put_back(Part { slots, of });
            return;
        }
        for slot in call.slots {
            if let Some(due) = self.slot(slot).map(|entry| entry.due) {
                self.enqueue(slot, due);
            }
        }
    }

    /// Some ID in these does not exist, and the API says which only of one that is alone.
    fn handle_not_found(
        &mut self,
        call: Call,
        random: u64,
        report: &CallReport,
        at: Option<Timestamp>,
    ) {
        let Call { slots, part_of, .. } = call;
        match (slots.as_slice(), part_of) {
            ([], _) => {}
            ([alone], _) => {
                if let Some(of) = part_of {
                    let was_in_doubt = self.bisections.is_in_doubt(of);
                    self.bisections.handle_not_found(of);
                    let is_in_doubt = self.bisections.is_in_doubt(of);
                    self.batches_in_doubt += u64::from(is_in_doubt && !was_in_doubt);
                }
                self.handle_sighting(*alone, &Sighting::NotFound, report, at);
            }
            (_, None) => self.bisections.begin(slots, random),
            (_, Some(of)) => self.bisections.split(Part { slots, of }),
        }
        if let Some(of) = part_of.filter(|of| self.bisections.is_in_doubt(*of)) {
            for slot in self.bisections.give_up(of) {
                self.doubt(slot);
            }
        }
    }

    /// Asks for it alone, as soon as the share of suspects allows.
    fn doubt(&mut self, slot: u32) {
        let Some(entry) = self.slot_mut(slot) else {
            return;
        };
        entry.in_doubt = true;
        let due = entry.due;
        self.enqueue(slot, due);
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
        let view = at.zip(self.clock.latest(report.received));
        let view = view.map(|(at, until)| View {
            at,
            until,
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
        let was_in_doubt = std::mem::take(&mut entry.in_doubt);
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
            Some(mut change) => {
                if was_in_doubt && *sighting == Sighting::NotFound {
                    change.record.reason.message.push_str(MISPLACED);
                }
                entry.place = Place::Committing;
                self.changes.push_back(change);
                self.count_phase(Some(before), Some(after));
            }
        }
    }
}
