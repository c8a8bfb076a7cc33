//! When to ask: the due time of each watch, and the queue of due times.
//!
//! Between heartbeats nothing can change, so asking is useless. A ready instance seen with a
//! heartbeat cannot be stale before that heartbeat plus window and grace: then it is due, and not
//! earlier. If it still beats, the reply moves the due time on; if not, it is stale, known at the
//! first moment it can be.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::rules::Rules;
use super::server_time::ServerClock;
use super::time::Instant;
use super::watch::{Newest, Phase, Watch};

/// Nothing is due sooner than this after its last reply, except one found silent shortly before
/// its silence can be judged: that one is due at the very moment.
pub const MIN_GAP: Duration = Duration::from_secs(2);

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// How often watches are due, by phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    /// The figures by which they are judged.
    pub rules: Rules,
    /// How often a watch is due while it is pending and young.
    pub pending: Duration,
    /// Whether due times move apart as time goes by without a change.
    pub relaxes: bool,
}

impl Cadence {
    /// When a watch whose last reply came at `last_reply` must next be observed.
    #[must_use]
    pub fn next_due(&self, watch: &Watch, last_reply: Instant, clock: &ServerClock) -> Instant {
        let soonest = last_reply + MIN_GAP;
        if watch.newest() == Newest::NotFound || self.is_missed(watch) {
            return self.absent_due(watch, last_reply, clock).max(soonest);
        }
        match watch.phase() {
            Phase::Pending => {
                let due = last_reply + self.pending_interval(watch, last_reply, clock);
                let overdue = watch.overdue_at().and_then(|at| clock.when(at));
                overdue.map_or(due, |overdue| due.min(overdue)).max(soonest)
            }
            Phase::Ready | Phase::Late => {
                let judged = watch.stale_at(&self.rules).and_then(|at| clock.when(at));
                match judged {
                    // Seconds count now, and the next answer decides.
                    Some(judged) if watch.newest() == Newest::Silent && clock.known() => {
                        judged.max(last_reply)
                    }
                    Some(judged) => judged.max(soonest),
                    None => (last_reply + self.rules.window).max(soonest),
                }
            }
            Phase::Stale => {
                (last_reply + self.stale_interval(watch, last_reply, clock)).max(soonest)
            }
            Phase::Gone => last_reply + self.gone_interval(watch, last_reply, clock),
        }
    }

    /// One that was seen and has no row in replies that are whole.
    fn is_missed(&self, watch: &Watch) -> bool {
        watch.newest() == Newest::NoRow && watch.gone_at(&self.rules).is_some()
    }

    /// Absent ones are asked 15 s later, then 30, 60, ... up to 10 minutes (at the cloud's
    /// window), and at the moment when their absence can be judged.
    fn absent_due(&self, watch: &Watch, last_reply: Instant, clock: &ServerClock) -> Instant {
        if watch.phase() == Phase::Gone {
            return last_reply + self.gone_interval(watch, last_reply, clock);
        }
        let first = self.rules.window / 8;
        let doublings = if self.relaxes {
            watch.absences().saturating_sub(1).min(6)
        } else {
            0
        };
        let due = last_reply + (first * (1 << doublings)).min(first * 40);
        let judged = watch.gone_at(&self.rules).and_then(|at| clock.when(at));
        let overdue = watch.overdue_at().and_then(|at| clock.when(at));
        [judged, overdue]
            .into_iter()
            .flatten()
            .filter(|at| *at > last_reply)
            .fold(due, Instant::min)
    }

    fn pending_interval(&self, watch: &Watch, now: Instant, clock: &ServerClock) -> Duration {
        let age = clock.earliest(now).zip(watch.started());
        match age.map(|(now, started)| now.saturating_since(started)) {
            Some(age) if self.relaxes && age >= HOUR => self.pending * 12,
            Some(age) if self.relaxes && age >= 5 * MINUTE => self.pending * 3,
            Some(_) | None => self.pending,
        }
    }

    /// 15 s, and 60 s after five minutes (at the cloud's window).
    fn stale_interval(&self, watch: &Watch, now: Instant, clock: &ServerClock) -> Duration {
        let short = self.rules.window / 8;
        let long = self.relaxes && time_in_phase(watch, now, clock) >= 5 * MINUTE;
        if long { short * 4 } else { short }
    }

    /// Every ten minutes, and every hour after a day.
    fn gone_interval(&self, watch: &Watch, now: Instant, clock: &ServerClock) -> Duration {
        if !self.relaxes {
            self.rules.window / 8
        } else if time_in_phase(watch, now, clock) >= 24 * HOUR {
            HOUR
        } else {
            10 * MINUTE
        }
    }
}

fn time_in_phase(watch: &Watch, now: Instant, clock: &ServerClock) -> Duration {
    clock
        .earliest(now)
        .map_or(Duration::ZERO, |now| now.saturating_since(watch.since()))
}

/// Slot numbers by due time. Entries that no longer hold are left in the heap and skipped.
#[derive(Debug, Clone, Default)]
pub struct DueQueue {
    heap: BinaryHeap<Reverse<(Instant, u32)>>,
    /// The due time of each slot that is in the queue.
    due: Vec<Option<Instant>>,
}

impl DueQueue {
    /// Puts a slot in, or moves it.
    pub fn schedule(&mut self, slot: u32, due: Instant) {
        let index = slot_index(slot);
        if self.due.len() <= index {
            self.due.resize(index + 1, None);
        }
        if let Some(entry) = self.due.get_mut(index) {
            *entry = Some(due);
        }
        self.heap.push(Reverse((due, slot)));
        self.skip_what_no_longer_holds();
    }

    /// Takes a slot out; nothing happens where it is not in.
    pub fn remove(&mut self, slot: u32) {
        if let Some(entry) = self.due.get_mut(slot_index(slot)) {
            *entry = None;
        }
        self.skip_what_no_longer_holds();
    }

    /// The slot that is due first, and when.
    #[must_use]
    pub fn peek(&self) -> Option<(Instant, u32)> {
        self.heap.peek().map(|Reverse(entry)| *entry)
    }

    /// Takes out the slot that is due first.
    pub fn pop(&mut self) -> Option<(Instant, u32)> {
        let entry = self.peek()?;
        self.remove(entry.1);
        Some(entry)
    }

    /// Keeps the top of the heap true, so that looking at it needs no search.
    fn skip_what_no_longer_holds(&mut self) {
        while let Some(Reverse((due, slot))) = self.heap.peek() {
            if self.due.get(slot_index(*slot)).copied().flatten() == Some(*due) {
                return;
            }
            self.heap.pop();
        }
    }
}

/// A slot number as an index; `usize` has at least 32 bits wherever this daemon runs.
#[must_use]
pub fn slot_index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::core::gate::Gate;
    use crate::core::rules::Policy;
    use crate::core::status::{Sighting, Status};
    use crate::core::time::Timestamp;
    use crate::core::watch::View;

    const CADENCE: Cadence = Cadence {
        rules: Rules::CLOUD,
        pending: Duration::from_secs(5),
        relaxes: true,
    };

    /// Monotonic and server time run alike here: second n is second n on both.
    fn server_clock(now: u64) -> ServerClock {
        let mut clock = ServerClock::default();
        let date = Timestamp::from_seconds(i64::try_from(now).unwrap());
        clock.handle_date(instant(now), instant(now), date);
        clock
    }

    fn instant(seconds: u64) -> Instant {
        Instant::from_origin(Duration::from_secs(seconds))
    }

    /// How many whole seconds after its last sighting a watch that saw these is due.
    fn due_after(sightings: &[(i64, Sighting)]) -> u64 {
        let policy = Policy {
            gate: Gate::default(),
            ready_deadline: Duration::from_secs(900),
        };
        let mut watch = Watch::new("i-a".parse().unwrap(), Arc::new(policy));
        let mut last = 0;
        for (seconds, sighting) in sightings {
            let at = Timestamp::from_seconds(*seconds);
            let view = View {
                at,
                until: at,
                silence_counts: true,
                absence_counts: true,
            };
            watch.handle_sighting(sighting, view, &CADENCE.rules);
            last = u64::try_from(*seconds).unwrap();
        }
        let due = CADENCE.next_due(&watch, instant(last), &server_clock(last));
        let after = due.saturating_since(instant(last));
        // The clock's drift allowance comes on top of what the rule says.
        (after - after.mul_f64(0.0005))
            .as_millis()
            .div_ceil(1000)
            .try_into()
            .unwrap()
    }

    fn row(fresh: bool, heartbeat: i64) -> Sighting {
        let last_heartbeat = Some(Timestamp::from_seconds(heartbeat));
        Sighting::Row(Status {
            fresh,
            last_heartbeat,
            ..Status::default()
        })
    }

    #[test]
    fn each_phase_is_due_when_something_can_have_changed() {
        let never = Sighting::Row(Status::default());
        let gone = [
            (10, row(true, 9)),
            (20, Sighting::NotFound),
            (50, Sighting::NotFound),
        ];
        let gone = [&gone[..], &[(80, Sighting::NotFound)]].concat();
        let stale = vec![(1000, row(true, 990)), (1200, row(false, 990))];
        let cases = [
            ("pending", vec![(10, never.clone())], 5),
            (
                "pending at its deadline",
                vec![(10, never.clone()), (907, never.clone())],
                3,
            ),
            (
                "pending after 5 min",
                vec![(10, never.clone()), (311, never.clone())],
                15,
            ),
            (
                "pending after 1 h",
                vec![(10, never.clone()), (3700, never)],
                60,
            ),
            ("ready", vec![(10, row(true, 5))], 131),
            ("late", vec![(10, row(true, 5)), (126, row(false, 5))], 15),
            (
                "silent just before it can be judged",
                vec![(10, row(true, 5)), (140, row(false, 5))],
                1,
            ),
            ("stale", stale.clone(), 15),
            (
                "stale for 5 min",
                [&stale[..], &[(1500, row(false, 990))]].concat(),
                60,
            ),
            ("not found", vec![(10, Sighting::NotFound)], 15),
            (
                "not found twice",
                vec![(10, Sighting::NotFound), (25, Sighting::NotFound)],
                30,
            ),
            (
                "ready, no row",
                vec![(10, row(true, 9)), (20, Sighting::NoRow)],
                15,
            ),
            ("never seen, no row", vec![(10, Sighting::NoRow)], 5),
            ("gone", gone, 600),
        ];
        for (name, sightings, expected) in cases {
            assert_eq!(due_after(&sightings), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn the_queue_gives_the_earliest_of_what_is_in_it(
            steps in prop::collection::vec((0_u32..8, prop::option::of(0_u64..50)), 1..200),
        ) {
            let mut queue = DueQueue::default();
            let mut model = BTreeMap::new();
            for (slot, due) in steps {
                match due {
                    Some(due) => {
                        queue.schedule(slot, instant(due));
                        model.insert(slot, instant(due));
                    }
                    None => {
                        queue.remove(slot);
                        model.remove(&slot);
                    }
                }
                let first = model.iter().map(|(slot, due)| (*due, *slot)).min();
                prop_assert_eq!(queue.peek(), first);
            }
        }
    }
}
