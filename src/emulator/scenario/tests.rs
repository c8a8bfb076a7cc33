use super::*;

#[test]
fn every_scenario_that_comes_with_the_program_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/scenarios");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if let Err(error) = Scenario::load(&path) {
            panic!("{error}");
        }
        names.push(path.file_stem().unwrap().to_string_lossy().into_owned());
    }
    names.sort();
    assert_eq!(names, ["demo", "healthy", "rolling-trouble"]);
}

#[test]
fn an_empty_file_has_the_measures_of_the_cloud() {
    let scenario = Scenario::parse("", "nothing").unwrap();
    assert_eq!(scenario.window, Duration::from_secs(120));
    let heartbeat = Span::new(Duration::from_secs(55), Duration::from_secs(65));
    assert_eq!(scenario.heartbeat, heartbeat);
    assert_eq!(scenario.regions, ["cn-hangzhou"]);
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let error = Scenario::parse("window = \"20s\"\nwindwo = \"20s\"\n", "typo.toml").unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("typo.toml is not a scenario:"), "{text}");
    assert!(text.contains("line 2") && text.contains("windwo"), "{text}");
}

#[test]
fn every_problem_is_told_at_once() {
    let text = r#"
        window = "20s"
        heartbeat = "30s..10s"
        regions = ["cn hangzhou"]
        [[group]]
        name = "a"
        count = 0
        over = "5s"
        [[group]]
        name = "a"
        count = 3
        region = "mars"
        [[step]]
        at = "soon"
        group = "b"
        action = "reboot"
        [[step]]
        at = "1s"
        group = "a"
        count = 1
        share = 0.5
        action = "release"
        heartbeats = 2
    "#;
    let Err(ScenarioError::Invalid { problems, .. }) = Scenario::parse(text, "bad.toml") else {
        panic!("accepted");
    };
    insta::assert_snapshot!(problems.join("\n"), @r#"
    heartbeat: `30s..10s` runs backwards
    regions: `cn hangzhou` is not a region: lower-case letters, digits and hyphens
    group 1 (`a`): count must be 1 or more
    group 1 (`a`): `over` and `delay` are for `start = "boots"`
    group 2 (`a`): another group has this name
    group 2 (`a`): region: `mars` is not among the regions of the scenario
    step 1: group: there is no group `b`
    step 1: at: `soon` is not a duration like `90s` or `2m 30s`: expected number at 0
    step 1: `downtime` belongs to `action = "reboot"`, and to nothing else
    step 2: count and share exclude each other
    step 2: `heartbeats` is for `action = "lose-heartbeats"`
    heartbeat: the longest interval must be shorter than the window
    "#);
}

#[test]
fn a_healthy_fleet_can_be_asked_for_without_a_file() {
    let second = Duration::from_secs;
    let heartbeat = Span::new(second(9), second(11));
    let scenario = Scenario::healthy(3, second(20), heartbeat, 1).unwrap();
    assert_eq!(scenario.groups[0].count, 3);
    assert!(Scenario::healthy(3, second(10), heartbeat, 1).is_err());
    assert!(Scenario::healthy(INSTANCES_MAX + 1, second(20), heartbeat, 1).is_err());
}
