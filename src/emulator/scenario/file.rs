//! The TOML form of a scenario.

use std::collections::BTreeSet;
use std::time::Duration;

use figment::providers::{Format, Toml};
use serde::Deserialize;

use super::{DEFAULT_REGION, Group, Pick, Scenario, Span, Start, Step, default_version};
use crate::core::status::OsType;
use crate::emulator::instance::Action;

/// Reads and validates. The errors are sentences that begin with the key they are about.
pub(super) fn parse(text: &str) -> Result<Scenario, Vec<String>> {
    let file = <Toml as Format>::from_str::<File>(text)
        .map_err(|error| vec![error.to_string().trim_end().replace('\n', "\n  ")])?;
    let mut problems = Vec::new();
    let scenario = file.validate(&mut problems);
    problems.extend(scenario.problems());
    if problems.is_empty() {
        Ok(scenario)
    } else {
        Err(problems)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    window: String,
    heartbeat: String,
    seed: u64,
    regions: Vec<String>,
    group: Vec<GroupTable>,
    step: Vec<StepTable>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            window: "120s".to_owned(),
            heartbeat: "55s..65s".to_owned(),
            seed: 0,
            regions: vec![DEFAULT_REGION.to_owned()],
            group: Vec::new(),
            step: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupTable {
    name: String,
    count: u32,
    #[serde(default = "linux")]
    os_type: OsType,
    version: Option<String>,
    region: Option<String>,
    #[serde(default)]
    start: StartWord,
    over: Option<String>,
    delay: Option<String>,
}

const fn linux() -> OsType {
    OsType::Linux
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "kebab-case")]
enum StartWord {
    #[default]
    Running,
    Boots,
    NeverInstalled,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepTable {
    at: String,
    over: Option<String>,
    group: String,
    count: Option<u32>,
    share: Option<f64>,
    action: ActionWord,
    downtime: Option<String>,
    heartbeats: Option<u32>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum ActionWord {
    StartAgent,
    StopAgent,
    CrashAgent,
    Reboot,
    LoseHeartbeats,
    Release,
    InstallAgent,
}

impl File {
    /// The scenario with stand-ins wherever `problems` says that something is wrong.
    fn validate(&self, problems: &mut Vec<String>) -> Scenario {
        let mut problems = Problems(problems);
        let window = problems.duration("window", &self.window);
        let heartbeat = problems.span("heartbeat", &self.heartbeat);
        for region in &self.regions {
            problems.expect(is_region(region), "regions", || {
                format!("`{region}` is not a region: lower-case letters, digits and hyphens")
            });
        }
        let first_region = self.regions.first().map_or("", String::as_str);
        let mut names = BTreeSet::new();
        let mut groups = Vec::new();
        for (place, table) in (1..).zip(&self.group) {
            let key = format!("group {place} (`{}`)", table.name);
            problems.expect(names.insert(&table.name), &key, || {
                "another group has this name".to_owned()
            });
            groups.push(table.validate(&key, first_region, &self.regions, &mut problems));
        }
        let mut steps = Vec::new();
        for (place, table) in (1..).zip(&self.step) {
            steps.push(table.validate(&format!("step {place}"), &groups, &mut problems));
        }
        Scenario {
            window,
            heartbeat,
            seed: self.seed,
            regions: self.regions.clone(),
            groups,
            steps,
        }
    }
}

fn is_region(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !text.is_empty() && text.bytes().all(allowed)
}

impl GroupTable {
    fn validate(
        &self,
        key: &str,
        first_region: &str,
        regions: &[String],
        problems: &mut Problems<'_>,
    ) -> Group {
        problems.expect(self.count > 0, key, || "count must be 1 or more".to_owned());
        let region = self.region.as_deref().unwrap_or(first_region);
        problems.expect(regions.iter().any(|known| known == region), key, || {
            format!("region: `{region}` is not among the regions of the scenario")
        });
        let boots = self.start == StartWord::Boots;
        problems.expect(
            boots || (self.over.is_none() && self.delay.is_none()),
            key,
            || "`over` and `delay` are for `start = \"boots\"`".to_owned(),
        );
        let over = problems.optional(&format!("{key}: over"), self.over.as_deref());
        let delay_key = format!("{key}: delay");
        let delay = problems.span(&delay_key, self.delay.as_deref().unwrap_or("0s"));
        Group {
            name: self.name.clone(),
            region: region.to_owned(),
            count: self.count,
            os_type: self.os_type,
            version: self
                .version
                .clone()
                .unwrap_or_else(|| default_version(self.os_type).to_owned()),
            start: match self.start {
                StartWord::Running => Start::Running,
                StartWord::NeverInstalled => Start::NeverInstalled,
                StartWord::Boots => Start::Boots { over, delay },
            },
        }
    }
}

impl StepTable {
    fn validate(&self, key: &str, groups: &[Group], problems: &mut Problems<'_>) -> Step {
        let group = groups.iter().find(|group| group.name == self.group);
        problems.expect(group.is_some(), key, || {
            format!("group: there is no group `{}`", self.group)
        });
        let size = group.map_or(u32::MAX, |group| group.count);
        Step {
            at: problems.duration(&format!("{key}: at"), &self.at),
            over: problems.optional(&format!("{key}: over"), self.over.as_deref()),
            group: self.group.clone(),
            pick: self.pick(key, size, problems),
            action: self.action(key, problems),
        }
    }

    fn pick(&self, key: &str, size: u32, problems: &mut Problems<'_>) -> Pick {
        match (self.count, self.share) {
            (None, None) => Pick::All,
            (Some(count), None) => {
                problems.expect((1..=size).contains(&count), key, || {
                    "count must be 1 or more and at most the group's".to_owned()
                });
                Pick::Count(count)
            }
            (None, Some(share)) => {
                problems.expect(share > 0.0 && share <= 1.0, key, || {
                    "share must be above 0 and at most 1".to_owned()
                });
                Pick::Share(share)
            }
            (Some(_), Some(_)) => {
                problems.expect(false, key, || {
                    "count and share exclude each other".to_owned()
                });
                Pick::All
            }
        }
    }

    fn action(&self, key: &str, problems: &mut Problems<'_>) -> Action {
        let reboot = self.action == ActionWord::Reboot;
        problems.expect(reboot == self.downtime.is_some(), key, || {
            "`downtime` belongs to `action = \"reboot\"`, and to nothing else".to_owned()
        });
        let loses = self.action == ActionWord::LoseHeartbeats;
        problems.expect(loses || self.heartbeats.is_none(), key, || {
            "`heartbeats` is for `action = \"lose-heartbeats\"`".to_owned()
        });
        problems.expect(self.heartbeats != Some(0), key, || {
            "heartbeats must be 1 or more".to_owned()
        });
        match self.action {
            ActionWord::StartAgent => Action::StartAgent,
            ActionWord::StopAgent => Action::StopAgent,
            ActionWord::CrashAgent => Action::CrashAgent,
            ActionWord::Release => Action::Release,
            ActionWord::InstallAgent => Action::InstallAgent,
            ActionWord::Reboot => Action::Reboot {
                downtime: problems.optional(&format!("{key}: downtime"), self.downtime.as_deref()),
            },
            ActionWord::LoseHeartbeats => Action::LoseHeartbeats {
                count: self.heartbeats.unwrap_or(1),
            },
        }
    }
}

/// Collects problems instead of stopping at the first.
struct Problems<'a>(&'a mut Vec<String>);

impl Problems<'_> {
    fn expect(&mut self, holds: bool, key: &str, problem: impl FnOnce() -> String) {
        if !holds {
            self.0.push(format!("{key}: {}", problem()));
        }
    }

    fn duration(&mut self, key: &str, text: &str) -> Duration {
        humantime::parse_duration(text).unwrap_or_else(|error| {
            self.0.push(format!(
                "{key}: `{text}` is not a duration like `90s` or `2m 30s`: {error}"
            ));
            Duration::ZERO
        })
    }

    fn optional(&mut self, key: &str, text: Option<&str>) -> Duration {
        text.map_or(Duration::ZERO, |text| self.duration(key, text))
    }

    /// `55s..65s`, or one duration for both ends.
    fn span(&mut self, key: &str, text: &str) -> Span {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let (min, max) = (
            self.duration(key, min.trim()),
            self.duration(key, max.trim()),
        );
        self.expect(min <= max, key, || format!("`{text}` runs backwards"));
        Span::new(min, max)
    }
}
