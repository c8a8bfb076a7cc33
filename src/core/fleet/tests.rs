use proptest::prelude::*;

use super::*;
use crate::core::budget::Budget;
use crate::core::call::{CallReport, Disposition, Row};
use crate::core::event::EventType;
use crate::core::gate::Gate;
use crate::core::status::Status;
use crate::core::time::Timestamp;

mod region;

use region::Region;

const SETTINGS: FleetSettings = FleetSettings {
    rules: Rules::CLOUD,
    pending: Duration::from_secs(5),
    relaxes: true,
    calls_in_flight: 4,
};

/// Server time at the origin of the monotonic clock, off the whole second.
const SERVER_ORIGIN: Timestamp = Timestamp::from_micros(1_795_000_000_123_456);

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn server(at: Instant) -> Timestamp {
    SERVER_ORIGIN + at.since_origin()
}

fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_seconds(at.as_seconds())
}

fn id(number: usize) -> InstanceId {
    format!("i-{number:06}").parse().unwrap()
}

fn policy() -> Arc<Policy> {
    Arc::new(Policy {
        gate: Gate::default(),
        ready_deadline: Duration::from_secs(900),
    })
}

fn fleet_of(instances: usize, settings: &FleetSettings, now: Instant) -> Fleet {
    let mut fleet = Fleet::new(settings);
    fleet.add_watches(
        (0..instances).map(|number| (id(number), policy(), None)),
        now,
    );
    fleet
}

#[test]
fn stale_is_told_within_two_seconds_for_little_more_than_the_least_calls() {
    let hour = 1000.0 + 3600.0;
    let mut region = Region::healthy(1000, hour + 100.0, 7);
    // Every 50th stops some time within the hour, for good.
    for (index, number) in (0..1000).step_by(50).enumerate() {
        let stop = Instant::from_origin(seconds(
            1200.0 + 137.31 * f64::from(u16::try_from(index).unwrap()),
        ));
        region.beats[number].retain(|beat| *beat < stop);
    }
    let mut fleet = fleet_of(1000, &SETTINGS, region.now);
    region.run(&mut fleet, 1000.0 + 120.0);
    let calls_before = region.calls;
    region.run(&mut fleet, hour);

    let stale = region.told(EventType::Stale);
    assert_eq!(stale.len(), 20);
    for (at, number) in stale {
        let last_beat = *region.beats[number].last().unwrap();
        let delay = at.saturating_since(last_beat + SETTINGS.rules.stale_after());
        assert!(
            at > last_beat + SETTINGS.rules.stale_after(),
            "{number} was told too early"
        );
        assert!(delay < seconds(2.0), "{number} was told {delay:?} late");
    }
    assert_eq!(region.told(EventType::Ready).len(), 1000);
    let late = region.told(EventType::Late).len();
    assert_eq!(region.told.len() - late, 1020, "nothing else was told");
    // The stale ones are asked for every 15 to 60 s, mostly in calls of their own.
    let for_the_stale = 20 * 3600 / 15 / 2;
    let least = 10 * 3480 / 120;
    let spent = region.calls - calls_before;
    assert!(
        spent < least * 12 / 10 + for_the_stale,
        "{spent} calls, {least} are the least"
    );
}

#[test]
fn one_unknown_id_among_a_hundred_costs_the_others_nothing_but_their_first_round() {
    let mut region = Region::healthy(100, 3000.0, 8);
    region.unknown[42] = true;
    let mut fleet = fleet_of(100, &SETTINGS, region.now);
    region.run(&mut fleet, 1004.0);
    let ready = region.told(EventType::Ready);
    assert_eq!(ready.len(), 99);
    assert!(region.calls <= 15, "{} calls", region.calls);
    assert_eq!(fleet.count(Phase::Pending), 1);

    region.run(&mut fleet, 1000.0 + 590.0);
    assert_eq!(region.told(EventType::Gone), []);
    region.run(&mut fleet, 1000.0 + 605.0);
    let gone = region.told(EventType::Gone);
    assert_eq!(
        gone.iter().map(|(_, number)| *number).collect::<Vec<_>>(),
        [42]
    );
    let after = gone[0]
        .0
        .saturating_since(Instant::from_origin(seconds(1600.0)));
    assert!(after < seconds(2.0), "{after:?} after it could be known");
}

#[test]
fn a_batch_of_which_three_random_ones_do_not_exist_is_asked_alone_and_in_doubt() {
    let mut region = Region::healthy(200, 3000.0, 21);
    region.budget = Budget::new(300);
    // The first hundred are in another region; the others are here.
    region.unknown[..100].fill(true);
    let mut fleet = fleet_of(200, &SETTINGS, region.now);
    region.run(&mut fleet, 1006.0);
    assert_eq!(fleet.batches_in_doubt(), 1);
    assert_eq!(
        region.told(EventType::Ready).len(),
        100,
        "the good are not held up"
    );

    region.run(&mut fleet, 1300.0);
    let reasons = region.reasons.iter();
    let in_doubt = reasons
        .filter(|reason| reason.contains("wrong region"))
        .count();
    assert!(in_doubt >= 90, "{in_doubt} were asked for alone");
}

#[test]
fn bad_ids_found_by_halves_put_nobody_in_doubt_where_others_are_found() {
    let mut region = Region::healthy(100, 3000.0, 22);
    for bad in [1, 30, 31, 77, 99] {
        region.unknown[bad] = true;
    }
    let mut fleet = fleet_of(100, &SETTINGS, region.now);
    region.run(&mut fleet, 1004.0);
    assert_eq!(fleet.batches_in_doubt(), 0);
    assert_eq!(region.told(EventType::Ready).len(), 95);
    assert!(region.calls <= 60, "{} calls", region.calls);
}

#[test]
fn a_released_instance_is_gone_after_a_minute_and_the_others_stay_ready() {
    let mut region = Region::healthy(300, 3000.0, 9);
    let mut fleet = fleet_of(300, &SETTINGS, region.now);
    region.run(&mut fleet, 1200.0);
    for released in [3, 141, 299] {
        region.unknown[released] = true;
    }
    region.run(&mut fleet, 1600.0);
    let mut gone: Vec<_> = region
        .told(EventType::Gone)
        .iter()
        .map(|(_, n)| *n)
        .collect();
    gone.sort_unstable();
    assert_eq!(gone, [3, 141, 299]);
    assert_eq!(
        (fleet.count(Phase::Ready), fleet.count(Phase::Gone)),
        (297, 3)
    );
    assert_eq!(region.told(EventType::Stale), []);
}

#[test]
fn an_empty_answer_for_everybody_makes_nobody_gone() {
    let mut region = Region::healthy(500, 5000.0, 10);
    let mut fleet = fleet_of(500, &SETTINGS, region.now);
    region.run(&mut fleet, 1300.0);
    while region.now < Instant::from_origin(seconds(1600.0)) {
        let (at, _) = fleet.poll_timeout(&region.budget).unwrap();
        region.now = region.now.max(at);
        fleet.handle_timeout(region.now, &mut region.budget);
        while let Some(batch) = fleet.poll_batch() {
            let report = CallReport {
                outcome: Ok(Vec::new()),
                ..region.call(&batch)
            };
            fleet.handle_report(batch.id, &report, 1 << 63, &mut region.budget);
        }
        region.commit(&mut fleet);
    }
    assert_eq!(region.told(EventType::Gone), []);
    region.run(&mut fleet, 2000.0);
    assert_eq!(fleet.count(Phase::Ready), 500);
}

#[test]
fn an_api_that_fails_for_ten_minutes_makes_nobody_stale_and_is_asked_rarely() {
    let mut region = Region::healthy(200, 5000.0, 11);
    let outage = Instant::from_origin(seconds(1200.0))..Instant::from_origin(seconds(1800.0));
    region.answer = Box::new(move |at| {
        if outage.contains(&at) {
            Err(Disposition::Retry)
        } else {
            Ok(())
        }
    });
    let mut fleet = fleet_of(200, &SETTINGS, region.now);
    region.run(&mut fleet, 1200.0);
    let before = region.calls;
    region.run(&mut fleet, 1800.0);
    assert!(
        region.calls - before < 60,
        "{} calls into the outage",
        region.calls - before
    );
    region.run(&mut fleet, 2400.0);
    assert_eq!(
        region.told.len(),
        200,
        "each was told ready, and nothing else"
    );
}

#[test]
fn rows_for_others_and_second_rows_are_counted_and_the_newest_is_believed() {
    let mut region = Region::healthy(3, 3000.0, 12);
    let mut fleet = fleet_of(2, &SETTINGS, region.now);
    fleet.handle_timeout(region.now, &mut region.budget);
    let batch = fleet.poll_batch().unwrap();
    let row = |number: usize, fresh, beat| Row {
        instance: id(number),
        status: Status {
            fresh,
            last_heartbeat: Some(beat),
            ..Status::default()
        },
    };
    let (old, new) = (
        Timestamp::from_seconds(1_795_000_900),
        Timestamp::from_seconds(1_795_000_990),
    );
    let rows = vec![
        row(0, true, new),
        row(2, true, new),
        row(0, false, old),
        row(1, true, new),
    ];
    let date = Some(whole_second(server(region.now)));
    let report = CallReport {
        sent: region.now,
        received: region.now,
        date,
        outcome: Ok(rows),
    };
    fleet.handle_report(batch.id, &report, 1 << 63, &mut region.budget);
    fleet.handle_report(batch.id, &report, 1 << 63, &mut region.budget);
    let expected = Oddities {
        foreign_rows: 1,
        repeated_rows: 1,
        unknown_reports: 1,
        undated_replies: 0,
    };
    assert_eq!(fleet.oddities(), expected);
    assert_eq!(fleet.count(Phase::Ready), 2);
}

#[test]
fn nothing_more_is_decided_on_an_instance_until_its_change_is_committed() {
    let mut region = Region::healthy(1, 3000.0, 13);
    let mut fleet = fleet_of(1, &SETTINGS, region.now);
    fleet.handle_timeout(region.now, &mut region.budget);
    let batch = fleet.poll_batch().unwrap();
    let report = region.call(&batch);
    fleet.handle_report(batch.id, &report, 1 << 63, &mut region.budget);
    assert!(fleet.poll_change().is_some());
    assert_eq!(fleet.poll_timeout(&region.budget), None);
    fleet.handle_committed(&id(0), 9);
    assert!(fleet.poll_timeout(&region.budget).is_some());
}

#[test]
fn a_large_fleet_starts_spread_over_one_interval() {
    let start = Instant::from_origin(seconds(1000.0));
    let settings = FleetSettings {
        calls_in_flight: 1000,
        ..SETTINGS
    };
    let mut fleet = fleet_of(10_000, &settings, start);
    let mut budget = Budget::new(6000);
    let mut calls_by_second = [0; 5];
    for (second, calls) in calls_by_second.iter_mut().enumerate() {
        let now = start + Duration::from_secs(u64::try_from(second).unwrap());
        fleet.handle_timeout(now, &mut budget);
        *calls = std::iter::from_fn(|| fleet.poll_batch()).count();
    }
    assert_eq!(calls_by_second, [1, 20, 20, 20, 20]);
}

#[test]
fn a_removed_watch_is_never_asked_again_and_its_slot_is_used_again() {
    let mut region = Region::healthy(3, 3000.0, 14);
    let mut fleet = fleet_of(2, &SETTINGS, region.now);
    fleet.handle_timeout(region.now, &mut region.budget);
    let batch = fleet.poll_batch().unwrap();
    fleet.remove_watch(&id(1));
    let report = region.call(&batch);
    fleet.handle_report(batch.id, &report, 1 << 63, &mut region.budget);
    fleet.add_watches([(id(2), policy(), None)], region.now);
    region.commit(&mut fleet);
    region.run(&mut fleet, 1100.0);
    assert!(fleet.watch(&id(1)).is_none());
    assert_eq!(fleet.count(Phase::Ready), 2);
    assert_eq!(region.told.len(), 2);
}

/// What can happen to a fleet, for the property test.
#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Answer(u8),
    Commit,
    Remove(usize),
    Add(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u64..200_000).prop_map(Step::Wait),
        4 => (0_u8..6).prop_map(Step::Answer),
        2 => Just(Step::Commit),
        1 => (0_usize..260).prop_map(Step::Remove),
        1 => (0_usize..260).prop_map(Step::Add),
    ];
    prop::collection::vec(step, 1..120)
}

fn answer(region: &mut Region, batch: &Batch, kind: u8) -> CallReport {
    let report = region.call(batch);
    let outcome = match kind {
        0 => Err(Disposition::Retry),
        1 => Err(Disposition::Throttled { after: None }),
        2 => Err(Disposition::NotFound),
        3 => Ok(Vec::new()),
        _ => return report,
    };
    CallReport { outcome, ..report }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_a_timeout_does_was_announced_and_nothing_stays_overdue(
        steps in steps(),
        seed in any::<u64>(),
    ) {
        let mut region = Region::healthy(260, 8_000.0, seed);
        region.budget = Budget::new(30);
        let mut fleet = fleet_of(250, &SETTINGS, region.now);
        let mut in_flight = VecDeque::new();
        let mut removed = std::collections::BTreeSet::new();
        for step in steps {
            match step {
                Step::Wait(milliseconds) => region.now = region.now + Duration::from_millis(milliseconds),
                Step::Answer(kind) => {
                    if let Some(batch) = in_flight.pop_front() {
                        let report = answer(&mut region, &batch, kind);
                        region.now = report.received;
                        fleet.handle_report(batch.id, &report, 1 << 63, &mut region.budget);
                    }
                }
                Step::Commit => region.commit(&mut fleet),
                Step::Remove(number) => {
                    fleet.remove_watch(&id(number));
                    // Watched again, it may be asked for while an earlier call is on its way.
                    removed.insert(id(number));
                }
                Step::Add(number) => fleet.add_watches([(id(number), policy(), None)], region.now),
            }
            let announced = fleet.poll_timeout(&region.budget).is_some_and(|(at, _)| at <= region.now);
            fleet.handle_timeout(region.now, &mut region.budget);
            let batches: Vec<_> = std::iter::from_fn(|| fleet.poll_batch()).collect();
            prop_assert_eq!(announced, !batches.is_empty());
            prop_assert!(fleet.poll_timeout(&region.budget).is_none_or(|(at, _)| at > region.now));
            for batch in batches {
                prop_assert!((1..=BATCH_MAX).contains(&batch.instances.len()));
                in_flight.push_back(batch);
            }
            prop_assert!(in_flight.len() <= SETTINGS.calls_in_flight);
            let asked = in_flight.iter().flat_map(|batch| &batch.instances);
            let asked: Vec<_> = asked.filter(|instance| !removed.contains(*instance)).collect();
            let distinct: std::collections::BTreeSet<_> = asked.iter().collect();
            prop_assert_eq!(distinct.len(), asked.len(), "one instance is in two calls");
        }
    }
}
