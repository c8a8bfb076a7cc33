//! Scenarios: which instances there are at the start, and what happens to them.

mod file;

use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::instance::Action;
use crate::core::status::OsType;

/// The most instances an emulator holds, so that a slip of the finger does not eat the machine's
/// memory: about 250 bytes each.
pub const INSTANCES_MAX: u32 = 2_000_000;

/// The shortest heartbeat interval: below it, catching up on an instance costs too much.
pub const HEARTBEAT_MIN: Duration = Duration::from_millis(10);

/// A range of durations, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

impl Span {
    /// The span between two durations, in either order.
    #[must_use]
    pub fn new(one: Duration, other: Duration) -> Self {
        Self {
            min: one.min(other),
            max: one.max(other),
        }
    }
}

/// What a fleet is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// How long a heartbeat counts. The cloud's is 120 s; a shorter one plays everything faster.
    pub window: Duration,
    /// What the interval after each heartbeat is drawn from; shorter than the window.
    pub heartbeat: Span,
    /// Fixes everything random.
    pub seed: u64,
    /// The regions that are known, at least one.
    pub regions: Vec<String>,
    /// The instances at the start.
    pub groups: Vec<Group>,
    /// What happens.
    pub steps: Vec<Step>,
}

/// Instances that begin alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// How steps name it.
    pub name: String,
    /// Where its instances are.
    pub region: String,
    /// How many they are.
    pub count: u32,
    /// Their system.
    pub os_type: OsType,
    /// The version their agents tell.
    pub version: String,
    /// How they begin.
    pub start: Start,
}

/// How an instance begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It has been beating for a while.
    Running,
    /// It begins to boot at a moment within `over` after the start, and beats for the first time
    /// a `delay` later.
    Boots {
        /// What the moments are spread over.
        over: Duration,
        /// What the delay of each is drawn from.
        delay: Span,
    },
    /// It has no agent.
    NeverInstalled,
}

/// Something that happens to instances of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// When, after the start.
    pub at: Duration,
    /// What the moments of the single instances are spread over, from `at` on.
    pub over: Duration,
    /// To which group.
    pub group: String,
    /// To how many of those it applies to. Which ones is drawn.
    pub pick: Pick,
    /// What.
    pub action: Action,
}

/// How many of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pick {
    /// All.
    All,
    /// This many.
    Count(u32),
    /// This part of the group, above 0 and at most 1; rounded, and at least one instance.
    Share(f64),
}

/// Why there is no scenario.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What it says is not a scenario.
    #[error("{origin} is not a scenario:\n  {}", problems.join("\n  "))]
    Invalid {
        /// The file, or what else the text came from.
        origin: String,
        /// Everything that is wrong, each with its key. A syntax error hides what follows it.
        problems: Vec<String>,
    },
}

impl Scenario {
    /// Reads a scenario from a TOML file.
    ///
    /// # Errors
    /// When the file cannot be read, or is not a scenario: then with every problem found.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads a scenario from TOML; `origin` names the text in errors.
    ///
    /// # Errors
    /// When the text is not a scenario: with every problem found.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ScenarioError> {
        file::parse(text).map_err(|problems| ScenarioError::Invalid {
            origin: origin.to_owned(),
            problems,
        })
    }

    /// A fleet of this many Linux instances in `cn-hangzhou` that all run and to which nothing
    /// happens by itself. They form the group `healthy`.
    ///
    /// # Errors
    /// When the measures contradict each other or the count is too large.
    pub fn healthy(
        instances: u32,
        window: Duration,
        heartbeat: Span,
        seed: u64,
    ) -> Result<Self, ScenarioError> {
        let scenario = Self {
            window,
            heartbeat,
            seed,
            regions: vec![DEFAULT_REGION.to_owned()],
            groups: vec![Group {
                name: "healthy".to_owned(),
                region: DEFAULT_REGION.to_owned(),
                count: instances,
                os_type: OsType::Linux,
                version: default_version(OsType::Linux).to_owned(),
                start: Start::Running,
            }],
            steps: Vec::new(),
        };
        let problems = scenario.problems();
        if problems.is_empty() {
            return Ok(scenario);
        }
        Err(ScenarioError::Invalid {
            origin: format!("a fleet of {instances} instances"),
            problems,
        })
    }

    /// What about the whole cannot be, in words.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut expect = |holds: bool, problem: &str| {
            if !holds {
                problems.push(problem.to_owned());
            }
        };
        expect(
            self.heartbeat.min >= HEARTBEAT_MIN,
            "heartbeat: the shortest interval must be 10ms or more",
        );
        expect(
            self.heartbeat.max < self.window,
            "heartbeat: the longest interval must be shorter than the window",
        );
        expect(
            !self.regions.is_empty() && self.regions.len() <= 64,
            "regions: 1 to 64 are needed",
        );
        let total: u64 = self.groups.iter().map(|group| u64::from(group.count)).sum();
        if total > u64::from(INSTANCES_MAX) {
            problems.push(format!(
                "group: {total} instances are more than {INSTANCES_MAX}"
            ));
        }
        problems
    }
}

const DEFAULT_REGION: &str = "cn-hangzhou";

/// A version as the agents of that system tell it: the first three fields name the family.
pub(super) const fn default_version(os_type: OsType) -> &'static str {
    match os_type {
        OsType::Linux => "2.2.3.857",
        OsType::Windows => "2.1.3.857",
        OsType::FreeBsd => "2.3.3.857",
    }
}

#[cfg(test)]
mod tests;
