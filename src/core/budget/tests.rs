use proptest::prelude::*;

use super::*;

fn at(seconds: f64) -> Instant {
    Instant::from_origin(Duration::from_secs_f64(seconds))
}

/// An answer at this second of our time, 48 s into a minute of the server's.
fn throttling(after: Option<Duration>, received: f64) -> Throttling {
    let server_now = Some(Timestamp::from_seconds(60 * 7 + 48));
    Throttling {
        after,
        sent: at(received - 0.1),
        received: at(received),
        date: server_now,
        server_now,
    }
}

#[test]
fn throttling_silences_until_the_time_named_or_the_next_minute() {
    let named = Some(Duration::from_millis(1500));
    for (after, expected) in [(named, 101.5), (None, 112.0)] {
        let mut budget = Budget::new(300);
        budget.handle_throttling(&throttling(after, 100.0), 0.0);
        assert_eq!(
            budget.available_at(Purpose::Routine).0,
            at(expected),
            "{after:?}"
        );
        assert_eq!(budget.throttled(), 1);
    }
}

#[test]
fn the_minute_that_counts_is_the_one_of_the_answer() {
    let mut budget = Budget::new(300);
    let mut late = throttling(None, 100.0);
    late.date = Some(Timestamp::from_seconds(60 * 8));
    budget.handle_throttling(&late, 0.0);
    assert_eq!(budget.available_at(Purpose::Routine).0, at(172.0));
}

/// Makes every call that may be made until `end`, and gives their times in seconds.
fn exhaust(budget: &mut Budget, mut now: f64, end: f64) -> Vec<f64> {
    let mut calls = Vec::new();
    loop {
        now = budget
            .available_at(Purpose::Routine)
            .0
            .since_origin()
            .as_secs_f64()
            .max(now);
        if now >= end {
            return calls;
        }
        budget.spend(Purpose::Routine, at(now));
        calls.push(now);
    }
}

#[test]
fn a_small_burst_comes_first_and_then_all_of_it_at_even_distances() {
    let mut budget = Budget::new(300);
    let calls = exhaust(&mut budget, 1000.0, 1305.0);
    let burst = calls.iter().filter(|call| **call < 1000.1).count();
    assert_eq!(burst, 30);
    let widest = calls
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .fold(0.0, f64::max);
    assert!(widest < 7.0, "{widest} s without a call");
    let settled: Vec<_> = calls.iter().filter(|call| **call >= 1070.0).collect();
    assert!(settled.windows(2).all(|pair| pair[1] - pair[0] < 0.21));
    assert!(calls.len() >= 1499, "{}", calls.len());
}

#[test]
fn after_throttling_half_the_rate_grows_back_without_a_burst() {
    let mut budget = Budget::new(300);
    let named = Some(Duration::from_secs(10));
    budget.handle_throttling(&throttling(named, 100.0), 0.0);
    // Sent before that answer came: the same throttling.
    let mut same = throttling(named, 100.2);
    same.sent = at(99.9);
    budget.handle_throttling(&same, 0.0);
    let calls = exhaust(&mut budget, 100.2, 400.0);
    let within = |from: f64, to: f64| {
        calls
            .iter()
            .filter(|call| (from..to).contains(*call))
            .count()
    };
    assert_eq!(within(0.0, 110.2), 0);
    assert!(
        (24..29).contains(&within(110.2, 120.2)),
        "{}",
        within(110.2, 120.2)
    );
    assert!(
        (45..50).contains(&within(190.0, 200.0)),
        "{}",
        within(190.0, 200.0)
    );
    assert!(calls.windows(2).all(|pair| pair[1] - pair[0] > 0.2));
}

#[test]
fn failures_pause_longer_and_longer_and_one_answer_ends_that() {
    let mut pause = FailurePause::default();
    let second = Duration::from_secs(1);
    let mut now = at(100.0);
    for expected in [1, 2, 4, 8, 16, 30, 30] {
        pause.handle_failure(second, now);
        assert_eq!(pause.until(), Some(now + second * expected));
        now = now + second * expected;
    }
    pause.handle_answer();
    assert_eq!(pause.until(), None);
    pause.handle_failure(second, now);
    assert_eq!(pause.until(), Some(now + second));
}

#[test]
fn a_short_budget_is_shared_and_a_free_one_is_not() {
    // Everybody wants every call; each purpose that is within its share comes first.
    let mut budget = Budget::new(300);
    let mut made = Vec::new();
    let mut now = at(1000.0);
    while now < at(1300.0) {
        now = now.max(budget.available_at(Purpose::Routine).0);
        let within = |purpose: &Purpose| {
            budget.available_at(*purpose).0 <= now && budget.is_within_share(*purpose, now)
        };
        let purpose = PURPOSES.into_iter().rev().find(within).unwrap();
        budget.spend(purpose, now);
        made.push((now, purpose));
    }
    let most = |purpose| {
        let of_it: Vec<_> = made.iter().filter(|call| call.1 == purpose).collect();
        let within = |from: Instant| {
            let later = of_it.iter().filter(|call| call.0 >= from);
            later
                .filter(|call| call.0 <= from + Duration::from_secs(60))
                .count()
        };
        of_it.iter().map(|call| within(call.0)).max().unwrap()
    };
    assert_eq!((most(Purpose::Bisection), most(Purpose::Suspect)), (60, 30));

    let mut budget = Budget::new(300);
    let mut calls = 0;
    while budget.available_at(Purpose::Bisection).0 < at(60.0) {
        now = budget.available_at(Purpose::Bisection).0;
        budget.spend(Purpose::Bisection, now);
        calls += 1;
    }
    assert_eq!(calls, 225);
}

#[test]
fn a_record_holds_the_pause_and_the_rate_after_it() {
    let calendar = |seconds: i64| Timestamp::from_seconds(1_795_000_000 + seconds);
    let mut budget = Budget::restore(300, None, at(100.0), calendar(100));
    assert_eq!(budget.available_at(Purpose::Routine).0, Instant::END);
    assert!(budget.poll_record(at(100.0), calendar(100)).is_some());
    budget.handle_recorded();
    assert_eq!(budget.record_due(), None);
    let pause = Some(Duration::from_secs(20));
    budget.handle_throttling(&throttling(pause, 100.0), 0.0);
    let record = budget.poll_record(at(100.0), calendar(100)).unwrap();
    assert_eq!(
        (record.held_for, record.share),
        (Duration::from_secs(20), 0.5)
    );

    let mut next = Budget::restore(300, Some(&record), at(1.0), calendar(106));
    assert!(next.poll_record(at(1.0), calendar(106)).is_some());
    next.handle_recorded();
    assert_eq!(next.available_at(Purpose::Routine).0, at(15.0));
    next.spend(Purpose::Routine, at(15.0));
    let apart = next
        .available_at(Purpose::Routine)
        .0
        .saturating_since(at(15.0));
    assert_eq!(apart, SPAN / 300 * 2);
}

#[test]
fn records_are_at_least_a_second_apart_and_calls_go_on_without_a_disk() {
    let calendar = Timestamp::from_seconds(1_795_000_000);
    let mut budget = Budget::restore(300, None, at(1.0), calendar);
    let mut records = 0;
    let mut now = at(1.0);
    while now < at(61.0) {
        if budget.poll_record(now, calendar).is_some() {
            records += 1;
            budget.handle_recorded();
        }
        while budget.available_at(Purpose::Routine).0 <= now {
            budget.spend(Purpose::Routine, now);
        }
        now = now + Duration::from_millis(50);
    }
    assert!(records <= 61, "{records} records in a minute");
    while budget.available_at(Purpose::Routine).0 < Instant::END {
        budget.spend(Purpose::Routine, budget.available_at(Purpose::Routine).0);
    }
    budget.set_recordable(false);
    assert!(budget.available_at(Purpose::Routine).0 < Instant::END);
}

const PURPOSES: [Purpose; 3] = [Purpose::Routine, Purpose::Bisection, Purpose::Suspect];

/// What happens to a budget.
#[derive(Debug, Clone)]
enum Step {
    /// Nobody wants a call for so many milliseconds.
    Idle(u64),
    /// So many calls are wanted for a purpose, each as soon as it may be made.
    Calls(u8, u8),
    /// The newest call is throttled, for so many milliseconds or to the next minute.
    Throttled(Option<u64>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0_u64..40_000).prop_map(Step::Idle),
        4 => (1_u8..60, 0_u8..3).prop_map(|(calls, purpose)| Step::Calls(calls, purpose)),
        1 => prop::option::of(0_u64..30_000).prop_map(Step::Throttled),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #[test]
    fn no_minute_sees_more_calls_than_allowed_and_no_pause_sees_any(
        calls_per_minute in 1_u32..400,
        steps in steps(),
    ) {
        let mut budget = Budget::new(calls_per_minute);
        let mut now = at(1.0);
        let (mut made, mut told): (Vec<Instant>, Vec<(Instant, Instant)>) = (vec![], vec![]);
        for step in steps {
            match step {
                Step::Idle(pause) => now = now + Duration::from_millis(pause),
                Step::Calls(wanted, purpose) => {
                    let purpose = PURPOSES[usize::from(purpose)];
                    for _ in 0..wanted {
                        now = now.max(budget.available_at(purpose).0);
                        budget.spend(purpose, now);
                        made.push(now);
                    }
                }
                Step::Throttled(after) => {
                    let answer = throttling(after.map(Duration::from_millis), 2.0);
                    let answer = Throttling { sent: now, received: now, ..answer };
                    budget.handle_throttling(&answer, 0.5);
                    let pause = answer.after.unwrap_or(Duration::from_secs(12));
                    told.push((now, now + pause));
                    now = now + Duration::from_nanos(1);
                }
            }
        }
        for (index, start) in made.iter().enumerate() {
            let calls = made[index..].iter();
            let minute = Duration::from_secs(60);
            let within = calls.take_while(|call| call.saturating_since(*start) <= minute);
            prop_assert!(within.count() <= usize::try_from(calls_per_minute).unwrap());
        }
        for (from, until) in told {
            prop_assert!(!made.iter().any(|call| *call > from && *call < until));
        }
    }

    #[test]
    fn the_full_rate_is_back_within_two_minutes_of_the_pause(
        calls_per_minute in 1_u32..400,
        throttlings in prop::collection::vec(0_u64..20_000, 1..10),
    ) {
        let mut budget = Budget::new(calls_per_minute);
        let mut now = at(1.0);
        for after in throttlings {
            now = now.max(budget.available_at(Purpose::Routine).0);
            budget.spend(Purpose::Routine, now);
            let answer = throttling(Some(Duration::from_millis(after)), 2.0);
            let answer = Throttling { sent: now, received: now, ..answer };
            budget.handle_throttling(&answer, 0.5);
            now = now + Duration::from_nanos(1);
        }
        // All that may be called is called, so that there is no burst to save up.
        let start = budget.held_until.since_origin().as_secs_f64();
        let calls = exhaust(&mut budget, start, start + 250.0);
        let interval = SPAN.as_secs_f64() / f64::from(calls_per_minute);
        for pair in calls.windows(2).filter(|pair| pair[0] >= start + 120.0) {
            prop_assert!(pair[1] - pair[0] <= interval + 1e-6, "{pair:?}");
        }
    }

    #[test]
    fn a_kill_at_any_moment_refills_nothing(
        calls_per_minute in 1_u32..400,
        steps in prop::collection::vec((0_u64..3_000, 0_u8..20, 0_u8..8), 1..120),
    ) {
        let calendar = |now: Instant| Timestamp::from_seconds(1_795_000_000) + now.since_origin();
        let mut now = at(1.0);
        let mut budget = Budget::restore(calls_per_minute, None, now, calendar(now));
        // What is on the disk, and what is on its way there.
        let (mut stored, mut written): (Option<BudgetRecord>, Option<BudgetRecord>) = (None, None);
        let mut made: Vec<Instant> = Vec::new();
        for (pause, wanted, what) in steps {
            now = now + Duration::from_millis(pause);
            if let Some(record) = budget.poll_record(now, calendar(now)) {
                written = Some(record);
            }
            match what {
                // Killed; what was on its way may have arrived.
                0 | 1 => {
                    stored = if what == 0 { stored } else { written.take().or(stored) };
                    written = None;
                    budget = Budget::restore(calls_per_minute, stored.as_ref(), now, calendar(now));
                }
                2..5 => if let Some(record) = written.take() {
                    stored = Some(record);
                    budget.handle_recorded();
                }
                _ => {}
            }
            for _ in 0..wanted {
                if budget.available_at(Purpose::Routine).0 <= now {
                    budget.spend(Purpose::Routine, now);
                    made.push(now);
                }
            }
        }
        for (index, start) in made.iter().enumerate() {
            let minute = Duration::from_secs(60);
            let calls = made[index..].iter();
            let within = calls.take_while(|call| call.saturating_since(*start) <= minute);
            prop_assert!(within.count() <= usize::try_from(calls_per_minute).unwrap());
        }
    }
}
