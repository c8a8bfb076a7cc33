use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::core::gate::Gate;
use crate::core::phase::EDGES;
use crate::core::status::Status;

const RULES: Rules = Rules::CLOUD;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_000_000 + seconds)
}

fn view(seconds: i64) -> View {
    View {
        at: at(seconds),
        until: at(seconds),
        silence_counts: true,
        absence_counts: true,
    }
}

fn fresh(heartbeat: i64) -> Sighting {
    row(true, heartbeat)
}

fn silent(heartbeat: i64) -> Sighting {
    row(false, heartbeat)
}

fn row(fresh: bool, heartbeat: i64) -> Sighting {
    Sighting::Row(Status {
        fresh,
        last_heartbeat: Some(at(heartbeat)),
        agent_version: Some("2.2.3.857".to_owned()),
        ..Status::default()
    })
}

fn watch_with(gate: Gate) -> Watch {
    let policy = Policy {
        gate,
        ready_deadline: Duration::from_secs(900),
    };
    Watch::new("i-a".parse().unwrap(), Arc::new(policy))
}

fn watch() -> Watch {
    watch_with(Gate::default())
}

/// What a sighting at so many seconds changed: phases from and to, and what is told.
type Told = Option<(Phase, Phase, Option<EventType>)>;

/// Shows a watch one sighting after the other and collects what each of them changed.
fn show(watch: &mut Watch, sightings: &[(i64, Sighting)]) -> Vec<Told> {
    sightings
        .iter()
        .map(|(seconds, sighting)| {
            let change = watch.handle_sighting(sighting, view(*seconds), &RULES)?;
            Some((change.previous_phase, change.record.phase, change.event))
        })
        .collect()
}

const READY: Told = Some((Phase::Pending, Phase::Ready, Some(EventType::Ready)));
const LATE: Told = Some((Phase::Ready, Phase::Late, Some(EventType::Late)));
const BEGUN: Told = Some((Phase::Pending, Phase::Pending, None));

#[test]
fn fresh_at_first_sight_is_ready_and_told_once() {
    let told = show(
        &mut watch(),
        &[(0, fresh(0)), (60, fresh(58)), (120, fresh(119))],
    );
    assert_eq!(told, [READY, None, None]);
}

#[test]
fn silence_is_late_within_the_grace_and_stale_from_window_plus_grace() {
    let mut late = watch();
    let told = show(
        &mut late,
        &[
            (0, fresh(0)),
            (121, silent(0)),
            (135, silent(0)),
            (136, silent(0)),
            (150, silent(0)),
        ],
    );
    // 136, not 135: the heartbeat of second 0 can have come at 0.999.
    let stale = Some((Phase::Late, Phase::Stale, Some(EventType::Stale)));
    assert_eq!(told, [READY, LATE, None, stale, None]);
    assert_eq!(late.since(), at(136));
}

#[test]
fn one_that_beats_again_within_the_grace_was_never_stale() {
    let told = show(
        &mut watch(),
        &[(0, fresh(0)), (125, silent(0)), (130, fresh(129))],
    );
    assert_eq!(told, [READY, LATE, Some((Phase::Late, Phase::Ready, None))]);
}

#[test]
fn silence_found_long_after_it_began_is_stale_at_once() {
    let told = show(&mut watch(), &[(0, fresh(0)), (4000, silent(30))]);
    assert_eq!(
        told,
        [
            READY,
            Some((Phase::Ready, Phase::Stale, Some(EventType::Stale)))
        ]
    );
}

#[test]
fn spans_count_from_the_latest_moment_their_beginning_can_have_had() {
    let vague = View {
        until: at(1),
        ..view(0)
    };
    let never_beat = Sighting::Row(Status::default());
    for (sighting, span) in [(never_beat, 900), (Sighting::NotFound, 600)] {
        let mut watch = watch();
        watch.handle_sighting(&sighting, vague, &RULES);
        let told = show(
            &mut watch,
            &[(span, sighting.clone()), (span + 1, sighting)],
        );
        let events: Vec<_> = told
            .iter()
            .map(|told| told.and_then(|told| told.2))
            .collect();
        assert!(
            events[0].is_none() && events[1].is_some(),
            "{span}: {events:?}"
        );
    }
}

#[test]
fn while_the_servers_time_is_unknown_nothing_becomes_stale_or_gone() {
    let mut watch = watch();
    show(&mut watch, &[(0, fresh(0))]);
    let blind = |seconds| View {
        silence_counts: false,
        ..view(seconds)
    };
    let change = watch.handle_sighting(&silent(0), blind(500), &RULES);
    assert_eq!(change.map(|change| change.record.phase), Some(Phase::Late));
    for seconds in [600, 700, 800, 900] {
        let change = watch.handle_sighting(&Sighting::NotFound, blind(seconds), &RULES);
        assert_eq!(change.and_then(|change| change.event), None);
    }
    assert_eq!(watch.phase(), Phase::Late);
}

#[test]
fn recovery_takes_two_different_heartbeats_without_a_silent_reply_between() {
    let mut watch = watch();
    show(&mut watch, &[(0, fresh(0)), (200, silent(0))]);
    assert_eq!(watch.phase(), Phase::Stale);
    let told = show(
        &mut watch,
        &[
            (300, fresh(299)),
            (315, fresh(299)),
            (330, silent(299)),
            (360, fresh(359)),
            (375, fresh(359)),
            (420, fresh(419)),
        ],
    );
    let recovered = Some((Phase::Stale, Phase::Ready, Some(EventType::Recovered)));
    assert_eq!(told, [None, None, None, None, None, recovered]);
}

#[test]
fn pending_past_its_deadline_is_overdue_once_and_can_still_become_ready() {
    let never = Sighting::Row(Status::default());
    let mut watch = watch();
    let told = show(
        &mut watch,
        &[
            (0, never.clone()),
            (899, never.clone()),
            (900, never.clone()),
            (905, never),
            (910, fresh(909)),
        ],
    );
    let overdue = Some((Phase::Pending, Phase::Pending, Some(EventType::Overdue)));
    assert_eq!(told, [BEGUN, None, overdue, None, READY]);
}

#[test]
fn a_gate_that_does_not_hold_keeps_it_pending_and_never_takes_ready_back() {
    let mut watch = watch_with(Gate {
        session_manager: true,
        ..Gate::default()
    });
    let with_session_manager = |session_manager| {
        Sighting::Row(Status {
            fresh: true,
            session_manager,
            ..Status::default()
        })
    };
    let told = show(
        &mut watch,
        &[
            (0, with_session_manager(None)),
            (5, with_session_manager(Some(true))),
            (10, with_session_manager(Some(false))),
        ],
    );
    assert_eq!(told, [BEGUN, READY, None]);
}

#[test]
fn one_that_was_seen_is_gone_after_three_absences_over_a_minute() {
    for absent in [Sighting::NoRow, Sighting::NotFound] {
        let mut watch = watch();
        show(&mut watch, &[(0, fresh(0))]);
        let told = show(
            &mut watch,
            &[
                (10, absent.clone()),
                (40, absent.clone()),
                (60, absent.clone()),
                (70, absent.clone()),
                (80, absent),
            ],
        );
        let missing = Some((Phase::Ready, Phase::Ready, None));
        let gone = Some((Phase::Ready, Phase::Gone, Some(EventType::Gone)));
        assert_eq!(told, [missing, None, None, gone, None]);
    }
}

#[test]
fn two_absences_are_not_enough_however_far_apart() {
    let mut watch = watch();
    let told = show(
        &mut watch,
        &[
            (0, fresh(0)),
            (10, Sighting::NotFound),
            (500, Sighting::NotFound),
            (501, fresh(500)),
        ],
    );
    let missing = Some((Phase::Ready, Phase::Ready, None));
    assert_eq!(told, [READY, missing, None, missing]);
}

#[test]
fn one_never_seen_is_gone_after_ten_minutes_of_404_but_not_for_a_missing_row() {
    let mut never_found = watch();
    let told = show(
        &mut never_found,
        &[
            (0, Sighting::NotFound),
            (599, Sighting::NotFound),
            (600, Sighting::NotFound),
        ],
    );
    assert_eq!(
        told,
        [
            BEGUN,
            None,
            Some((Phase::Pending, Phase::Gone, Some(EventType::Gone)))
        ]
    );

    let mut no_agent = watch();
    let told = show(
        &mut no_agent,
        &[(0, Sighting::NoRow), (899, Sighting::NoRow)],
    );
    assert_eq!(told, [BEGUN, None]);
    let told = show(&mut no_agent, &[(900, Sighting::NoRow)]);
    assert_eq!(
        told,
        [Some((
            Phase::Pending,
            Phase::Pending,
            Some(EventType::Overdue)
        ))]
    );
}

#[test]
fn a_missing_row_in_an_incomplete_reply_says_nothing() {
    let mut watch = watch();
    show(&mut watch, &[(0, fresh(0))]);
    let incomplete = |seconds| View {
        absence_counts: false,
        ..view(seconds)
    };
    for seconds in (10..500).step_by(10) {
        assert_eq!(
            watch.handle_sighting(&Sighting::NoRow, incomplete(seconds), &RULES),
            None
        );
    }
}

#[test]
fn an_id_that_comes_back_starts_over_in_the_next_generation() {
    let mut watch = watch();
    let absences = [10, 40, 70].map(|seconds| (seconds, Sighting::NotFound));
    show(&mut watch, &[(0, fresh(0))]);
    show(&mut watch, &absences);
    assert_eq!(watch.phase(), Phase::Gone);
    let change = watch
        .handle_sighting(&fresh(100), view(101), &RULES)
        .unwrap();
    assert_eq!(
        (change.previous_phase, change.record.phase),
        (Phase::Gone, Phase::Ready)
    );
    assert_eq!(
        (change.event, change.record.generation),
        (Some(EventType::Ready), 1)
    );

    let mut silent_return = watch;
    show(
        &mut silent_return,
        &[200, 240, 280].map(|seconds| (seconds, Sighting::NotFound)),
    );
    let told = show(&mut silent_return, &[(300, silent(100))]);
    assert_eq!(told, [Some((Phase::Gone, Phase::Pending, None))]);
    assert_eq!(silent_return.overdue_at(), Some(at(1200)));
}

#[test]
fn without_heartbeat_times_age_counts_from_the_last_fresh_reply() {
    let row = |fresh| {
        Sighting::Row(Status {
            fresh,
            ..Status::default()
        })
    };
    let mut seen_fresh = watch();
    let told = show(
        &mut seen_fresh,
        &[(0, row(true)), (135, row(false)), (136, row(false))],
    );
    let stale = Some((Phase::Late, Phase::Stale, Some(EventType::Stale)));
    assert_eq!(told, [READY, LATE, stale]);
}

#[test]
fn a_restored_watch_goes_on_without_an_event_of_its_own() {
    let mut first = watch();
    let change = first.handle_sighting(&fresh(0), view(0), &RULES).unwrap();
    let policy = Policy {
        gate: Gate::default(),
        ready_deadline: Duration::from_secs(900),
    };
    let mut restored = Watch::restore(&change.record, Arc::new(policy));
    let mut without_times = restored.clone();
    assert_eq!(show(&mut restored, &[(500, fresh(499))]), [None]);
    assert_eq!((restored.phase(), restored.since()), (Phase::Ready, at(0)));

    // Where silent rows have no heartbeat time, silence counts from the first reply.
    let silent = Sighting::Row(Status::default());
    let told = show(
        &mut without_times,
        &[(500, silent.clone()), (635, silent.clone()), (636, silent)],
    );
    let stale = Some((Phase::Late, Phase::Stale, Some(EventType::Stale)));
    assert_eq!(told, [LATE, None, stale]);
}

#[test]
fn an_overtaken_reply_does_not_take_a_heartbeat_back() {
    let mut watch = watch();
    show(&mut watch, &[(0, fresh(0)), (100, fresh(99))]);
    let told = show(&mut watch, &[(137, silent(0))]);
    assert_eq!(told, [LATE]);
    assert_eq!(watch.stale_at(&RULES), Some(at(99 + 136)));
}

fn sightings() -> impl Strategy<Value = Vec<(i64, Sighting)>> {
    let sighting = prop_oneof![
        4 => (0_i64..130).prop_map(|age| Some((true, Some(age)))),
        2 => (0_i64..600).prop_map(|age| Some((false, Some(age)))),
        1 => any::<bool>().prop_map(|fresh| Some((fresh, None))),
        3 => Just(None),
    ];
    prop::collection::vec((0_i64..200, sighting, any::<bool>()), 1..60).prop_map(|steps| {
        let mut now = 0;
        steps
            .into_iter()
            .map(|(pause, shown, not_found)| {
                now += pause;
                let sighting = match shown {
                    Some((fresh, age)) => Sighting::Row(Status {
                        fresh,
                        last_heartbeat: age.map(|age| at(now - age)),
                        ..Status::default()
                    }),
                    None if not_found => Sighting::NotFound,
                    None => Sighting::NoRow,
                };
                (now, sighting)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn only_known_edges_are_taken_and_each_event_fits_its_edge(steps in sightings()) {
        let mut watch = watch();
        for (now, sighting) in steps {
            let before = watch.phase();
            let Some(change) = watch.handle_sighting(&sighting, view(now), &RULES) else {
                prop_assert_eq!(watch.phase(), before);
                continue;
            };
            let edge = (change.previous_phase, change.record.phase);
            prop_assert_eq!(change.previous_phase, before);
            prop_assert_eq!(change.record.phase, watch.phase());
            prop_assert!(edge.0 == edge.1 || EDGES.contains(&edge), "{:?}", edge);
            let fits = match change.event {
                None => edge.0 == edge.1
                    || matches!(edge, (Phase::Late, Phase::Ready) | (Phase::Gone, Phase::Pending)),
                Some(EventType::Ready) => {
                    matches!(edge, (Phase::Pending | Phase::Gone, Phase::Ready))
                }
                Some(EventType::Overdue) => {
                    matches!(edge, (Phase::Pending | Phase::Gone, Phase::Pending))
                }
                Some(EventType::Late) => edge == (Phase::Ready, Phase::Late),
                Some(EventType::Stale) => matches!(edge, (Phase::Ready | Phase::Late, Phase::Stale)),
                Some(EventType::Recovered) => edge == (Phase::Stale, Phase::Ready),
                Some(EventType::Gone) => edge.1 == Phase::Gone && edge.0 != Phase::Gone,
            };
            prop_assert!(fits, "{:?} on {:?}", change.event, edge);
        }
    }
}

#[test]
fn the_edges_are_listed_once_each() {
    assert_eq!(EDGES.iter().collect::<BTreeSet<_>>().len(), EDGES.len());
}
