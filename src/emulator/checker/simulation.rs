//! The scenarios played through with the real decisions and no waiting: `core::fleet` as the
//! watcher, the simulated fleet as the cloud, and a clock that jumps from one call to the next.
//!
//! It shows that the checker passes a watcher that is right, and that the scenarios give it
//! enough to be wrong about.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::core::budget::Budget;
use crate::core::call::{CallReport, Disposition, Row};
use crate::core::fleet::{Batch, Fleet as Watcher, FleetSettings};
use crate::core::gate::Gate;
use crate::core::rules::{Policy, Rules};
use crate::core::time::Instant;
use crate::emulator::fleet::Fleet;
use crate::emulator::scenario::Scenario;

/// When the scenario begins: not at a whole second, because nothing in the world does.
const START: Timestamp = Timestamp::from_micros(1_795_390_800_370_000);

/// From a request to its reply.
const ROUND_TRIP: Duration = Duration::from_millis(40);

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A watcher, the cloud it asks, and what it has told so far.
struct Play {
    watcher: Watcher,
    cloud: Fleet,
    budget: Budget,
    now: Duration,
    told: Vec<Told>,
    calls: usize,
}

impl Play {
    fn begin(scenario: &str, rules: Rules, ready_deadline: Duration) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/scenarios");
        let scenario = Scenario::load(&folder.join(scenario)).unwrap();
        let cloud = Fleet::new(&scenario, START);
        let mut watcher = Watcher::new(&FleetSettings {
            rules,
            pending: rules.window / 24,
            relaxes: true,
            calls_in_flight: 4,
        });
        let policy = Arc::new(Policy {
            gate: Gate::default(),
            ready_deadline,
        });
        let watch = |id: &InstanceId| (id.clone(), Arc::clone(&policy), None);
        let watches: Vec<_> = cloud.ids(usize::MAX).map(watch).collect();
        watcher.add_watches(watches, Instant::from_origin(Duration::ZERO));
        Self {
            watcher,
            cloud,
            budget: Budget::new(300),
            now: Duration::ZERO,
            told: Vec::new(),
            calls: 0,
        }
    }

    /// Plays up to `end` and judges.
    fn judge(mut self, end: Duration, promise: &Promise) -> (Report, usize) {
        while self.now < end {
            let now = Instant::from_origin(self.now);
            self.watcher.handle_timeout(now, &mut self.budget);
            let batches: Vec<Batch> = std::iter::from_fn(|| self.watcher.poll_batch()).collect();
            self.ask(&batches);
            self.tell();
            let (next, _) = self.watcher.poll_timeout(&self.budget).unwrap();
            self.now = self.now.max(next.since_origin());
        }
        let watched = Watched {
            from: START,
            to: START + end,
        };
        self.told.retain(|event| event.at <= watched.to);
        let truths = self.cloud.truths(watched.to);
        (check(promise, watched, &truths, &self.told), self.calls)
    }

    fn ask(&mut self, batches: &[Batch]) {
        if batches.is_empty() {
            return;
        }
        let sent = self.now;
        self.now += ROUND_TRIP;
        self.calls += batches.len();
        for batch in batches {
            let report = CallReport {
                sent: Instant::from_origin(sent),
                received: Instant::from_origin(self.now),
                date: Some(Timestamp::from_seconds(
                    (START + sent + ROUND_TRIP / 2).as_seconds(),
                )),
                outcome: self.answer(&batch.instances, START + sent + ROUND_TRIP / 2),
            };
            let budget = &mut self.budget;
            self.watcher
                .handle_report(batch.id, &report, 1 << 63, budget);
        }
    }

    fn answer(&mut self, ids: &[InstanceId], at: Timestamp) -> Result<Vec<Row>, Disposition> {
        let row = |id: &InstanceId| {
            let status = self.cloud.portrait(id, at)?.status?;
            Some(Row {
                instance: id.clone(),
                status,
            })
        };
        let rows: Option<Vec<Row>> = ids.iter().map(row).collect();
        rows.ok_or(Disposition::NotFound)
    }

    fn tell(&mut self) {
        while let Some(change) = self.watcher.poll_change() {
            let (instance, sequence) = (change.record.instance, self.told.len() as u64 + 1);
            if let Some(event_type) = change.event {
                self.told.push(Told {
                    id: EventId::new(START, u128::from(sequence)),
                    instance: instance.clone(),
                    event_type,
                    at: START + self.now,
                });
            }
            self.watcher.handle_committed(&instance, sequence);
        }
    }
}

#[test]
fn the_demo_is_told_rightly_and_has_every_event() {
    let rules = Rules {
        window: seconds(20.0),
        grace: seconds(2.5),
        recover_heartbeats: 2,
        absent_after: seconds(100.0),
    };
    let promise = Promise {
        window: rules.window,
        grace: rules.grace,
        slack: seconds(2.0),
        ready_within: seconds(4.0),
        recovered_within: seconds(16.0),
        gone_within: Some(seconds(35.0)),
        overdue_after: Some(seconds(25.0)),
    };
    let play = Play::begin("demo.toml", rules, seconds(25.0));
    let (report, calls) = play.judge(seconds(55.0), &promise);
    assert!(report.is_clean(), "{report}");
    let count = |event_type| report.counts.get(&event_type).copied().unwrap_or(0);
    assert_eq!(count(EventType::Ready), 247, "{report}");
    assert_eq!(count(EventType::Overdue), 3);
    assert_eq!(count(EventType::Stale), 8);
    assert_eq!(report.silences_to_tell, 8);
    assert_eq!(count(EventType::Recovered), 6);
    assert_eq!(count(EventType::Gone), 4);
    assert!(calls < 500, "{calls}");
}

/// The promise of a watcher at the pace of the cloud, and its rules.
fn at_full_scale() -> (Rules, Promise) {
    let rules = Rules {
        window: seconds(120.0),
        grace: seconds(15.0),
        recover_heartbeats: 2,
        absent_after: seconds(600.0),
    };
    let promise = Promise {
        window: rules.window,
        grace: rules.grace,
        slack: seconds(2.0),
        ready_within: seconds(20.0),
        recovered_within: seconds(100.0),
        gone_within: Some(seconds(220.0)),
        overdue_after: Some(seconds(150.0)),
    };
    (rules, promise)
}

#[test]
fn rolling_trouble_at_the_pace_of_the_cloud_is_told_rightly() {
    let (rules, promise) = at_full_scale();
    let play = Play::begin("rolling-trouble.toml", rules, seconds(150.0));
    let (report, _) = play.judge(seconds(600.0), &promise);
    assert!(report.is_clean(), "{report}");
    assert!(report.silences_to_tell > 15, "{report}");
    assert!(report.worst_stale_delay < Some(seconds(1.2)), "{report}");
}

#[test]
fn a_healthy_fleet_is_ready_and_nothing_else_is_told() {
    let (rules, promise) = at_full_scale();
    let play = Play::begin("healthy.toml", rules, seconds(150.0));
    let (report, calls) = play.judge(seconds(600.0), &promise);
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.counts, BTreeMap::from([(EventType::Ready, 1000)]));
    // Ten calls cover the fleet; it must be asked anew about every two minutes.
    assert!(calls < 80, "{calls}");
}

/// The same trouble, but the watcher has the wrong idea of the window.
#[test]
fn a_watcher_with_wrong_figures_is_found_out() {
    let (_, promise) = at_full_scale();
    for window in [100.0, 140.0] {
        let (mut rules, _) = at_full_scale();
        rules.window = seconds(window);
        let play = Play::begin("rolling-trouble.toml", rules, seconds(150.0));
        let (report, _) = play.judge(seconds(600.0), &promise);
        assert!(report.violations.len() > 10, "{window}: {report}");
    }
}
