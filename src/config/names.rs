//! Names that must be given and must differ.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use crate::core::id::InvalidName;

use super::report::{Found, Place};
use super::table::Table;

/// The names that were given so far, and where.
#[derive(Debug)]
pub(super) struct Names<N>(BTreeMap<N, Place>);

impl<N: Ord + Clone + Display + FromStr<Err = InvalidName>> Names<N> {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Reads `name` of a table and notes a problem where it is missing, no name, or taken.
    pub(super) fn read(&mut self, table: &mut Table<'_>) -> Option<N> {
        let Found { value, place } = table.required_text("name", "give it a name")?;
        let name: N = match value.parse() {
            Ok(name) => name,
            Err(error) => {
                table.note(place.problem(InvalidName::to_string(&error), "choose another name"));
                return None;
            }
        };
        if let Some(first) = self.0.get(&name) {
            let what = format!(
                "`{name}` is also the name at {} ({})",
                first.origin, first.key
            );
            table.note(place.problem(what, "give each its own name"));
        } else {
            self.0.insert(name.clone(), place);
        }
        Some(name)
    }

    pub(super) fn contains(&self, name: &N) -> bool {
        self.0.contains_key(name)
    }
}
