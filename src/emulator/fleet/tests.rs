//! Time is passed in: nothing here waits.

use proptest::prelude::*;

use super::*;
use crate::emulator::truth::{SILENCES_KEPT, Silence};

const START: Timestamp = Timestamp::from_seconds(1_795_390_800);

fn after(seconds: f64) -> Timestamp {
    START + Duration::from_secs_f64(seconds)
}

/// Seconds between two times.
fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.saturating_since(from).as_secs_f64()
}

fn scenario(instances: u32) -> Scenario {
    let heartbeat = Span::new(Duration::from_secs(55), Duration::from_secs(65));
    Scenario::healthy(instances, Duration::from_secs(120), heartbeat, 7).unwrap()
}

/// A fleet of one instance that runs, and its ID.
fn one() -> (Fleet, InstanceId) {
    let fleet = Fleet::new(&scenario(1), START);
    let id = fleet.ids(1).next().unwrap().clone();
    (fleet, id)
}

/// A heartbeat of that instance at about 100 s, learned from a twin that is not touched.
fn a_heartbeat() -> Timestamp {
    let (mut twin, id) = one();
    newest_beat(&mut twin, &id, after(100.0))
}

fn newest_beat(fleet: &mut Fleet, id: &InstanceId, now: Timestamp) -> Timestamp {
    let truth = fleet.portrait(id, now).unwrap().truth;
    truth.last_heartbeat.unwrap()
}

fn is_fresh(fleet: &mut Fleet, id: &InstanceId, now: Timestamp) -> bool {
    fleet.status("cn-hangzhou", id, now).unwrap().fresh
}

fn silences(fleet: &mut Fleet, id: &InstanceId, now: Timestamp) -> Vec<Silence> {
    fleet.portrait(id, now).unwrap().truth.silences
}

/// The heartbeats of an instance up to `until` seconds after the start, found by looking often.
fn beats(fleet: &mut Fleet, id: &InstanceId, until: u32) -> Vec<Timestamp> {
    let mut seen: Vec<Timestamp> = (0..=until)
        .map(|second| newest_beat(fleet, id, after(f64::from(second))))
        .collect();
    seen.dedup();
    seen
}

#[test]
fn the_same_seed_gives_the_same_heartbeats() {
    let (mut often, mut seldom) = (
        Fleet::new(&scenario(50), START),
        Fleet::new(&scenario(50), START),
    );
    let ids: Vec<InstanceId> = often.ids(50).cloned().collect();
    assert_eq!(ids, seldom.ids(50).cloned().collect::<Vec<_>>());
    for second in 0..600 {
        let id = &ids[second % ids.len()];
        often.portrait(id, after(second as f64));
    }
    assert_eq!(often.truths(after(600.0)), seldom.truths(after(600.0)));

    let other = Scenario {
        seed: 8,
        ..scenario(50)
    };
    let mut other = Fleet::new(&other, START);
    assert_ne!(other.truths(after(600.0)), often.truths(after(600.0)));
}

#[test]
fn intervals_fill_the_span_and_never_leave_it() {
    let (mut fleet, id) = one();
    let beats = beats(&mut fleet, &id, 12_000);
    let gaps: Vec<f64> = beats
        .windows(2)
        .map(|two| seconds(two[0], two[1]))
        .collect();
    assert!(gaps.len() > 190);
    assert!(
        gaps.iter().all(|gap| (55.0..=65.0).contains(gap)),
        "{gaps:?}"
    );
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    assert!((59.0..61.0).contains(&mean), "{mean}");
    assert!(gaps.iter().any(|gap| *gap < 56.0) && gaps.iter().any(|gap| *gap > 64.0));
    assert!(silences(&mut fleet, &id, after(12_000.0)).is_empty());
}

#[test]
fn running_instances_begin_with_heartbeats_of_every_age() {
    let mut fleet = Fleet::new(&scenario(200), START);
    let ages: Vec<f64> = fleet
        .truths(START)
        .iter()
        .map(|truth| seconds(truth.last_heartbeat.unwrap(), START))
        .collect();
    assert!(ages.iter().all(|age| (0.0..65.0).contains(age)));
    assert!(ages.iter().any(|age| *age < 5.0) && ages.iter().any(|age| *age > 50.0));
}

#[test]
fn one_lost_heartbeat_makes_a_gap_of_twice_the_interval() {
    let (mut fleet, id) = one();
    let (mut untouched, _) = one();
    let healthy = beats(&mut untouched, &id, 400);
    let interval = healthy[2].saturating_since(healthy[1]);

    let lost = Action::LoseHeartbeats { count: 1 };
    fleet.act(&id, lost, healthy[1]).unwrap();
    let beats = beats(&mut fleet, &id, 400);
    let before = beats.iter().position(|beat| *beat == healthy[1]).unwrap();
    assert_eq!(beats[before + 1], healthy[1] + interval * 2);
    assert_eq!(
        silences(&mut fleet, &id, after(400.0)),
        [Silence {
            start: healthy[1],
            end: Some(healthy[1] + interval * 2)
        }]
    );
}

#[test]
fn the_status_turns_false_exactly_one_window_after_the_last_heartbeat() {
    let (mut fleet, id) = one();
    fleet.act(&id, Action::StopAgent, after(100.0)).unwrap();
    let last = newest_beat(&mut fleet, &id, after(100.0));
    let window = Duration::from_secs(120);
    let instant = Duration::from_micros(1);
    assert!(is_fresh(&mut fleet, &id, last + window - instant));
    let false_row = fleet.status("cn-hangzhou", &id, last + window).unwrap();
    assert!(!false_row.fresh);
    assert_eq!(
        false_row.last_heartbeat,
        Some(Timestamp::from_seconds(last.as_seconds()))
    );
    assert_eq!(false_row.agent_version.as_deref(), Some("2.2.3.857"));
}

#[test]
fn a_reboot_shows_only_if_age_and_downtime_exceed_the_window() {
    for (age, downtime, shows) in [(50.0, 55, false), (29.0, 90, false), (31.0, 90, true)] {
        let (mut fleet, id) = one();
        let last = a_heartbeat();
        let down = last + Duration::from_secs_f64(age);
        let downtime = Duration::from_secs(downtime);
        fleet.act(&id, Action::Reboot { downtime }, down).unwrap();
        let back = down + downtime;
        let instant = Duration::from_micros(1);
        assert_eq!(is_fresh(&mut fleet, &id, back - instant), !shows, "{age}");
        assert_eq!(newest_beat(&mut fleet, &id, back), back);
    }
}

#[test]
fn a_crashed_agent_is_back_after_one_window_and_so_always_shows() {
    let (mut fleet, id) = one();
    let last = a_heartbeat();
    let crash = last + Duration::from_secs(30);
    fleet.act(&id, Action::CrashAgent, crash).unwrap();
    let back = crash + Duration::from_secs(120);
    assert!(!is_fresh(&mut fleet, &id, back - Duration::from_micros(1)));
    assert!(is_fresh(&mut fleet, &id, back));
    let silence = Silence {
        start: last,
        end: Some(back),
    };
    assert_eq!(silences(&mut fleet, &id, back), [silence]);
}

#[test]
fn a_silence_that_lasts_is_told_as_open_and_started_agents_close_it() {
    let (mut fleet, id) = one();
    fleet.act(&id, Action::StopAgent, after(10.0)).unwrap();
    let start = newest_beat(&mut fleet, &id, after(10.0));
    assert!(silences(&mut fleet, &id, after(12.0)).is_empty());
    let open = Silence { start, end: None };
    assert_eq!(silences(&mut fleet, &id, after(900.0)), [open]);
    fleet.act(&id, Action::StartAgent, after(1000.0)).unwrap();
    let closed = Silence {
        start,
        end: Some(after(1000.0)),
    };
    assert_eq!(silences(&mut fleet, &id, after(1000.0)), [closed]);
}

#[test]
fn only_the_newest_silences_are_kept_and_the_others_counted() {
    let (mut fleet, id) = one();
    for round in 0..SILENCES_KEPT + 3 {
        let at = 400.0 * (round as f64 + 1.0);
        let downtime = Duration::from_secs(300);
        fleet
            .act(&id, Action::Reboot { downtime }, after(at))
            .unwrap();
    }
    let truth = fleet.portrait(&id, after(40_000.0)).unwrap().truth;
    assert_eq!(truth.silences.len(), SILENCES_KEPT);
    assert_eq!(truth.silences_forgotten, 3);
    assert!(truth.silences[0].start > after(1200.0));
}

#[test]
fn actions_that_would_do_nothing_are_refused_with_the_state() {
    let (mut fleet, id) = one();
    let refused = fleet.act(&id, Action::StartAgent, START).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("start-agent does nothing to {id} while it is beating")
    );
    fleet.act(&id, Action::Release, after(1.0)).unwrap();
    assert!(fleet.act(&id, Action::Release, after(2.0)).is_err());
    assert_eq!(fleet.status("cn-hangzhou", &id, after(2.0)), None);
    let truth = fleet.portrait(&id, after(2.0)).unwrap().truth;
    assert_eq!(truth.released, Some(after(1.0)));
    let stranger = "i-bp1stranger".parse().unwrap();
    assert!(matches!(
        fleet.act(&stranger, Action::Release, after(2.0)),
        Err(ActionError::Unknown(_))
    ));
}

#[test]
fn an_instance_answers_in_its_own_region_only() {
    let two_regions = Scenario {
        regions: vec!["cn-hangzhou".to_owned(), "cn-beijing".to_owned()],
        ..scenario(1)
    };
    let mut fleet = Fleet::new(&two_regions, START);
    let id = fleet.ids(1).next().unwrap().clone();
    assert!(fleet.status("cn-hangzhou", &id, START).is_some());
    assert_eq!(fleet.status("cn-beijing", &id, START), None);
}

#[test]
fn created_instances_boot_and_bare_ones_wait_for_an_agent() {
    let bare = "[[group]]\nname = \"bare\"\ncount = 1\nstart = \"never-installed\"\n";
    let mut fleet = Fleet::new(&Scenario::parse(bare, "test").unwrap(), START);
    let bare = fleet.ids(1).next().unwrap().clone();
    let empty = fleet.status("cn-hangzhou", &bare, after(9.0)).unwrap();
    assert_eq!(
        (
            empty.fresh,
            empty.last_heartbeat,
            empty.agent_version,
            empty.session_manager
        ),
        (false, None, None, Some(false))
    );
    fleet.act(&bare, Action::InstallAgent, after(9.0)).unwrap();
    assert!(is_fresh(&mut fleet, &bare, after(9.0)));

    let order = NewInstances {
        count: 2,
        region: None,
        os_type: OsType::Windows,
        boot_delay: Duration::from_secs(20),
    };
    let ids = fleet.create(&order, after(10.0)).unwrap();
    assert_eq!(fleet.len(), 3);
    assert!(!is_fresh(&mut fleet, &ids[0], after(29.9)));
    assert!(is_fresh(&mut fleet, &ids[1], after(30.0)));
    let windows = fleet.status("cn-hangzhou", &ids[1], after(30.0)).unwrap();
    assert_eq!(windows.agent_version.as_deref(), Some("2.1.3.857"));
    let none = NewInstances { count: 0, ..order };
    assert_eq!(fleet.create(&none, after(30.0)), Err(CreateError::Count));
}

#[test]
fn steps_take_as_many_as_they_say_of_those_they_apply_to() {
    let text = r#"
        [[group]]
        name = "web"
        count = 20
        [[step]]
        at = "10s"
        group = "web"
        share = 0.25
        action = "stop-agent"
        [[step]]
        at = "20s"
        over = "10s"
        group = "web"
        count = 3
        action = "start-agent"
    "#;
    let mut fleet = Fleet::new(&Scenario::parse(text, "test").unwrap(), START);
    let stopped = |fleet: &mut Fleet, seconds| {
        let portraits = fleet.portraits(0, 100, after(seconds));
        let stopped = |one: &&Portrait| one.state == AgentState::Stopped;
        portraits.iter().filter(stopped).count()
    };
    assert_eq!(stopped(&mut fleet, 9.9), 0);
    assert_eq!(stopped(&mut fleet, 10.0), 5);
    assert_eq!(stopped(&mut fleet, 30.0), 2);
    assert_eq!(fleet.group("web").count(), 20);
    assert_eq!(fleet.group("db").count(), 0);
}

#[test]
fn time_that_goes_back_changes_nothing() {
    let (mut fleet, id) = one();
    let later = fleet.portrait(&id, after(500.0)).unwrap();
    assert_eq!(fleet.portrait(&id, after(100.0)).unwrap(), later);
}

proptest! {
    /// agent.md: false only if the age of the last heartbeat and the downtime exceed the window.
    #[test]
    fn a_reboot_flaps_exactly_when_its_gap_exceeds_the_window(
        at in 70.0_f64..400.0,
        downtime in 1_u64..200,
    ) {
        let (mut fleet, id) = one();
        let downtime = Duration::from_secs(downtime);
        let age = after(at).saturating_since(newest_beat(&mut fleet, &id, after(at)));
        fleet.act(&id, Action::Reboot { downtime }, after(at)).unwrap();
        let just_before = after(at) + downtime - Duration::from_micros(1);
        let fresh = is_fresh(&mut fleet, &id, just_before);
        prop_assert_eq!(fresh, age + downtime <= Duration::from_secs(120));
    }
}

/// Made for window 20 s and grace 2.5 s, over 55 s. What is to be told lasts three seconds longer
/// than that, so that no slow machine can miss it.
#[test]
fn the_demo_has_something_of_everything() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/scenarios/demo.toml");
    let demo = Scenario::load(std::path::Path::new(path)).unwrap();
    let mut fleet = Fleet::new(&demo, START);
    assert_eq!(fleet.len(), 250);
    let end = after(55.0);
    let truths = fleet.truths(end);
    let lengths = |group: &str| -> Vec<f64> {
        let ids: Vec<&InstanceId> = fleet.group(group).collect();
        let members = truths.iter().filter(|truth| ids.contains(&&truth.id));
        let silences = members.flat_map(|truth| &truth.silences);
        silences
            .map(|one| seconds(one.start, one.end.unwrap_or(end)))
            .collect()
    };
    assert!(lengths("steady").is_empty() && lengths("booting").is_empty());
    assert!(lengths("rebooting").iter().all(|length| *length < 20.0));
    let lossy = lengths("lossy");
    assert!(lossy.len() >= 20 && lossy.iter().all(|length| *length < 22.5));
    assert!(
        lossy.iter().any(|length| *length > 20.0),
        "the raw flag flaps"
    );
    for (group, count) in [("stopping", 5), ("crashing", 2), ("slow-reboot", 1)] {
        let told = lengths(group)
            .iter()
            .filter(|length| **length > 25.5)
            .count();
        assert_eq!(told, count, "{group}: {:?}", lengths(group));
    }
    let after_two_heartbeats = |truth: &&InstanceTruth| {
        let ended = truth.silences.first().and_then(|one| one.end);
        ended.is_some_and(|at| truth.last_heartbeat > Some(at))
    };
    let ids: Vec<&InstanceId> = fleet.group("stopping").collect();
    let members = truths.iter().filter(|truth| ids.contains(&&truth.id));
    assert_eq!(members.filter(after_two_heartbeats).count(), 3, "recovered");
    let late = after(15.0);
    let never = truths
        .iter()
        .filter(|truth| truth.first_heartbeat.is_none());
    assert_eq!(never.count(), 3, "overdue");
    let booted = truths.iter().filter_map(|truth| truth.first_heartbeat);
    assert!(booted.clone().all(|first| first <= late));
    assert_eq!(booted.filter(|first| *first >= START).count(), 40);
    assert_eq!(
        truths
            .iter()
            .filter(|truth| truth.released.is_some())
            .count(),
        4
    );
}
