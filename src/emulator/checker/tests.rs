//! A checker that cannot fail is worthless: most of these are wrong watchers.

use super::*;
use crate::emulator::truth::Silence;

const PROMISE: Promise = Promise {
    window: Duration::from_secs(120),
    grace: Duration::from_secs(15),
    slack: Duration::from_secs(2),
    ready_within: Duration::from_secs(10),
    recovered_within: Duration::from_secs(90),
    gone_within: Some(Duration::from_secs(100)),
    overdue_after: Some(Duration::from_secs(300)),
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_000_000 + seconds)
}

const WATCHED: Watched = Watched {
    from: Timestamp::from_seconds(1_000_000),
    to: Timestamp::from_seconds(1_001_000),
};

fn id() -> InstanceId {
    "i-bp1one".parse().unwrap()
}

/// An instance that beat first at `first` and was silent then and then.
fn truth(first: i64, silences: &[(i64, Option<i64>)]) -> InstanceTruth {
    let silence = |(start, end): &(i64, Option<i64>)| Silence {
        start: at(*start),
        end: end.map(at),
    };
    InstanceTruth {
        id: id(),
        first_heartbeat: Some(at(first)),
        last_heartbeat: Some(at(first)),
        silences: silences.iter().map(silence).collect(),
        silences_forgotten: 0,
        released: None,
    }
}

fn never_beat() -> InstanceTruth {
    InstanceTruth {
        first_heartbeat: None,
        last_heartbeat: None,
        ..truth(0, &[])
    }
}

fn released(truth: InstanceTruth, seconds: i64) -> InstanceTruth {
    InstanceTruth {
        released: Some(at(seconds)),
        ..truth
    }
}

/// Events by their short names, each with an ID of its own.
fn told(events: &[(&str, i64)]) -> Vec<Told> {
    let event = |(number, (name, seconds)): (usize, &(&str, i64))| Told {
        id: EventId::new(at(0), number as u128),
        instance: id(),
        event_type: format!("instance.{name}").parse().unwrap(),
        at: at(*seconds),
    };
    events.iter().enumerate().map(event).collect()
}

fn judged(truth: &InstanceTruth, events: &[(&str, i64)]) -> Report {
    check(
        &PROMISE,
        WATCHED,
        std::slice::from_ref(truth),
        &told(events),
    )
}

fn right(truth: &InstanceTruth, events: &[(&str, i64)]) {
    let report = judged(truth, events);
    assert!(report.is_clean(), "{events:?}: {report}");
}

/// Exactly one violation, and it says this.
fn wrong(truth: &InstanceTruth, events: &[(&str, i64)], what: &str) {
    let report = judged(truth, events);
    let violations = &report.violations;
    assert_eq!(violations.len(), 1, "{events:?}: {violations:?}");
    assert!(violations[0].contains(what), "{events:?}: {violations:?}");
}

#[test]
fn a_right_watcher_is_found_right_with_its_figures() {
    let truth = truth(20, &[(200, Some(400)), (600, Some(725)), (800, None)]);
    let events = [
        ("ready", 24),
        ("stale", 336),
        ("recovered", 465),
        ("stale", 935),
    ];
    let report = judged(&truth, &events);
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.silences_to_tell, 2);
    assert_eq!(report.worst_stale_delay, Some(Duration::from_secs(1)));
    assert_eq!(report.worst_ready_delay, Some(Duration::from_secs(4)));
    assert_eq!(report.counts[&EventType::Stale], 2);
}

#[test]
fn a_long_silence_is_told_once_and_in_time() {
    let dead = truth(-30, &[(200, None)]);
    right(&dead, &[("ready", 1), ("stale", 335)]);
    right(&dead, &[("ready", 1), ("stale", 337)]);
    wrong(&dead, &[("ready", 1)], "not told stale by");
    wrong(&dead, &[("ready", 1), ("stale", 334)], "1s too early");
    wrong(
        &dead,
        &[("ready", 1), ("stale", 340)],
        "5s after it was due",
    );
    wrong(
        &dead,
        &[("ready", 1), ("stale", 335), ("stale", 336)],
        "instance.stale at 1970-01-12T13:52:16.000000Z, though it was stale before",
    );
}

#[test]
fn short_silences_are_not_told_and_those_between_may_be() {
    let at_the_limit = truth(-30, &[(200, Some(336))]);
    right(&at_the_limit, &[("ready", 1)]);
    right(
        &at_the_limit,
        &[("ready", 1), ("stale", 335), ("recovered", 400)],
    );
    let short = truth(-30, &[(200, Some(334))]);
    right(&short, &[("ready", 1)]);
    let events = [("ready", 1), ("stale", 335), ("recovered", 400)];
    wrong(&short, &events, "a silence of only 134s");
    let events = [("ready", 1), ("stale", 700), ("recovered", 702)];
    wrong(&short, &events, "it was not silent then");
}

#[test]
fn silences_at_the_edges_of_the_watching_count_by_what_could_be_seen() {
    // Dead before anybody looked: not ready on this watch, and so overdue.
    right(&truth(-400, &[(-300, None)]), &[("overdue", 301)]);
    // Last beat before the watching, and still fresh then.
    let dying = truth(-400, &[(-60, None)]);
    right(&dying, &[("ready", 1), ("stale", 76)]);
    wrong(&dying, &[("ready", 1)], "not told stale by");
    wrong(&dying, &[("overdue", 301)], "not told ready by");
    // Open at the end, and not yet long enough to be due for certain.
    right(&truth(-30, &[(864, None)]), &[("ready", 1)]);
    wrong(
        &truth(-30, &[(862, None)]),
        &[("ready", 1)],
        "not told stale",
    );
}

#[test]
fn recovery_follows_a_stale_that_ended_unless_the_end_came_first() {
    let back = truth(-30, &[(200, Some(400))]);
    let stale = [("ready", 1), ("stale", 335)];
    let with = |seconds| [&stale[..], &[("recovered", seconds)]].concat();
    right(&back, &with(470));
    wrong(&back, &stale, "was not told recovered by");
    wrong(&back, &with(399), "recovered at");
    right(&truth(-30, &[(200, Some(950))]), &stale);
    wrong(
        &back,
        &[&with(470)[..], &[("recovered", 480)]].concat(),
        "ready before",
    );
    let no_need = truth(-30, &[(200, Some(330))]);
    wrong(
        &no_need,
        &[("ready", 1), ("recovered", 340)],
        "ready before",
    );
    // One heartbeat between two silences is not enough, and the second needs no event then.
    right(&truth(-30, &[(200, Some(400)), (400, None)]), &stale);
    wrong(
        &truth(-30, &[(200, Some(400)), (400, None)]),
        &with(600),
        "recovered at",
    );
}

#[test]
fn ready_is_told_once_and_not_before_the_first_heartbeat() {
    let boots = truth(50, &[]);
    right(&boots, &[("ready", 53)]);
    wrong(&boots, &[], "not told ready by");
    wrong(&boots, &[("ready", 70)], "not told ready by");
    wrong(&boots, &[("ready", 49)], "before its first heartbeat");
    wrong(&boots, &[("ready", 53), ("ready", 54)], "ready before");
    let report = judged(&never_beat(), &[("ready", 53)]);
    assert!(report.violations[0].contains("it never beat"));
    let silent = truth(-500, &[(-400, Some(500))]);
    let events = [("overdue", 300), ("ready", 505)];
    right(&silent, &events);
    let early = [("ready", 300)];
    assert!(judged(&silent, &early).violations[0].contains("while it was silent"));
    // It beat too short a time for any watcher to be held to it.
    right(&truth(995, &[]), &[("overdue", 300)]);
}

#[test]
fn only_what_was_released_is_gone() {
    let leaves = released(truth(-30, &[]), 500);
    right(&leaves, &[("ready", 1), ("gone", 560)]);
    wrong(&leaves, &[("ready", 1)], "not told gone by");
    wrong(
        &leaves,
        &[("ready", 1), ("gone", 499)],
        "before it was released",
    );
    wrong(
        &truth(-30, &[]),
        &[("ready", 1), ("gone", 560)],
        "never released",
    );
    right(&released(truth(-30, &[]), 950), &[("ready", 1)]);
    let silent = released(truth(-30, &[(400, None)]), 500);
    right(&silent, &[("ready", 1), ("gone", 560)]);
    let events = [("ready", 1), ("stale", 536), ("gone", 560)];
    wrong(&silent, &events, "after it was released");
}

#[test]
fn overdue_is_only_what_is_not_ready() {
    right(&never_beat(), &[("overdue", 301)]);
    wrong(&never_beat(), &[], "not told overdue by");
    wrong(
        &never_beat(),
        &[("overdue", 301), ("overdue", 302)],
        "overdue before",
    );
    let beats = truth(-30, &[]);
    wrong(&beats, &[("ready", 1), ("overdue", 301)], "ready before");
    let late = truth(400, &[]);
    right(&late, &[("overdue", 301), ("ready", 403)]);
    let report = judged(&late, &[("overdue", 299), ("ready", 403)]);
    assert!(report.violations[0].contains("before the deadline"));
}

#[test]
fn a_repeat_under_the_same_id_is_the_same_event() {
    let truth = truth(-30, &[]);
    let mut events = told(&[("ready", 1)]);
    events.push(Told {
        at: at(30),
        ..events[0].clone()
    });
    let report = check(&PROMISE, WATCHED, &[truth], &events);
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.counts[&EventType::Ready], 1);
}

#[test]
fn an_id_that_never_existed_is_at_most_overdue_and_gone() {
    let events = told(&[("overdue", 301), ("gone", 700)]);
    assert!(check(&PROMISE, WATCHED, &[], &events).is_clean());
    let events = told(&[("ready", 1)]);
    let report = check(&PROMISE, WATCHED, &[], &events);
    assert!(report.violations[0].contains("it never existed"));
}

#[test]
fn a_history_with_holes_is_not_passed_as_right() {
    let holes = InstanceTruth {
        silences_forgotten: 1,
        ..truth(-30, &[])
    };
    wrong(&holes, &[("ready", 1)], "cannot be checked");
}
