//! Phases: our word for the state of an instance, and which may follow which.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Our word for the state of an instance, decided from observations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not ready yet on our watch.
    Pending,
    /// The gate held, and it has been fresh since.
    Ready,
    /// Silent, but not yet for the window and the grace.
    Late,
    /// Silent for the window and the grace.
    Stale,
    /// The API does not know it (any more).
    Gone,
}

impl Phase {
    /// Every phase, in the order of an instance's life.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Ready,
        Self::Late,
        Self::Stale,
        Self::Gone,
    ];

    /// The word as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Late => "late",
            Self::Stale => "stale",
            Self::Gone => "gone",
        }
    }

    /// Reads back the stored word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == text)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The edges a watch can take. `gone` to `ready` is `gone` to `pending` judged by the same row.
pub const EDGES: [(Phase, Phase); 12] = [
    (Phase::Pending, Phase::Ready),
    (Phase::Pending, Phase::Gone),
    (Phase::Ready, Phase::Late),
    (Phase::Ready, Phase::Stale),
    (Phase::Ready, Phase::Gone),
    (Phase::Late, Phase::Ready),
    (Phase::Late, Phase::Stale),
    (Phase::Late, Phase::Gone),
    (Phase::Stale, Phase::Ready),
    (Phase::Stale, Phase::Gone),
    (Phase::Gone, Phase::Pending),
    (Phase::Gone, Phase::Ready),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_documentation_of_the_crate_shows_these_edges_and_no_others() {
        let documented: BTreeSet<(Phase, Phase)> = include_str!("../lib.rs")
            .lines()
            .filter_map(|line| {
                let mut words = line.strip_prefix("//!  ")?.split_whitespace();
                let from = Phase::parse(words.next()?)?;
                let arrow = words.next()?;
                let to = Phase::parse(words.next()?)?;
                (arrow == "->").then_some((from, to))
            })
            .collect();
        assert_eq!(documented, EDGES.into());
    }
}
