//! Reading one table: every value with its type and bounds, every problem noted, nothing skipped.
//!
//! A reading method that answers `None` for a value that is there has noted a problem. The keys that
//! were asked for are the keys that exist, so what is left at the end is unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::value::{Dict, Value};

use super::problem::{Origin, Problem};
use super::report::{Found, Place, Report};

/// What sections are expected to be.
pub(super) const A_TABLE: &str = "a table";
pub(super) const A_LIST_OF_TABLES: &str = "a list of tables";

/// One table of the settings, being read.
pub(super) struct Table<'r> {
    report: &'r Report,
    place: Place,
    values: Dict,
    known: Vec<&'static str>,
}

impl<'r> Table<'r> {
    /// The table everything else is in.
    pub(super) fn root(report: &'r Report) -> Self {
        Self {
            report,
            place: Place {
                key: String::new(),
                origin: Origin::Default,
            },
            values: report.values(),
            known: Vec::new(),
        }
    }

    /// Where the table itself stands.
    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// Notes a problem.
    pub(super) fn note(&self, problem: Problem) {
        self.report.note(problem);
    }

    /// Notes a problem that a file which could not be read may disprove.
    pub(super) fn note_unless_incomplete(&self, problem: Problem) {
        if !self.report.is_incomplete() {
            self.report.note(problem);
        }
    }

    /// Whether a key is set; asks nothing of its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Where a key of this table stands, or would stand.
    pub(super) fn place_of(&self, key: &str) -> Place {
        let full = join(&self.place.key, key);
        let origin = match self.values.get(key) {
            Some(value) => self.report.origin(value.tag(), &full),
            None => self.place.origin.clone(),
        };
        Place { key: full, origin }
    }

    /// Notes that a key must be set and is not.
    pub(super) fn missing(&self, key: &str, remedy: &str) {
        self.note(self.place_of(key).problem("is missing", remedy));
    }

    fn take(&mut self, key: &'static str) -> Option<Found<Value>> {
        self.known.push(key);
        let place = self.place_of(key);
        self.report.note_key(without_indices(&place.key));
        let value = self.values.remove(key)?;
        Some(Found { value, place })
    }

    /// A value of one type, read by `read`, or a problem that says what was expected.
    fn read<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<Found<T>> {
        let Found { value, place } = self.take(key)?;
        let Some(read) = read(&value) else {
            let what = format!("is {}", kind_of(&value));
            self.note(place.problem(what, format!("write {expected}")));
            return None;
        };
        Some(Found { value: read, place })
    }

    /// A text. An environment variable or a flag cannot say that `123` is one, so there it counts.
    pub(super) fn text(&mut self, key: &'static str) -> Option<Found<String>> {
        let lenient = !matches!(self.place_of(key).origin, Origin::File { .. });
        self.read(key, "text in quotes", |value| text_of(value, lenient))
    }

    /// A text that must be there.
    pub(super) fn required_text(
        &mut self,
        key: &'static str,
        remedy: &str,
    ) -> Option<Found<String>> {
        if !self.has(key) {
            self.missing(key, remedy);
        }
        self.text(key)
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, key: &'static str) -> Option<Found<Vec<String>>> {
        let lenient = !matches!(self.place_of(key).origin, Origin::File { .. });
        self.read(key, "a list of texts in quotes", |value| {
            let items = value.as_array()?;
            items.iter().map(|item| text_of(item, lenient)).collect()
        })
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let found = self.read(key, "true or false", Value::to_bool)?;
        Some(found.value)
    }

    /// A whole number within bounds.
    pub(super) fn count(&mut self, key: &'static str, bounds: RangeInclusive<u32>) -> Option<u32> {
        let found = self.read(key, "a whole number", whole_number)?;
        match u32::try_from(found.value) {
            Ok(count) if bounds.contains(&count) => Some(count),
            _ => {
                let what = format!("{} is out of bounds", found.value);
                let remedy = format!("write {} to {}", bounds.start(), bounds.end());
                self.note(found.place.problem(what, remedy));
                None
            }
        }
    }

    /// A duration within bounds.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let remedy = format!(
            "write a number and a unit, \"{}\" to \"{}\"",
            humantime::format_duration(*bounds.start()),
            humantime::format_duration(*bounds.end()),
        );
        let Found { value, place } = self.take(key)?;
        let Some(text) = text_of(&value, true) else {
            let what = format!("is {}", kind_of(&value));
            self.note(place.problem(what, remedy));
            return None;
        };
        match humantime::parse_duration(&text) {
            Ok(duration) if bounds.contains(&duration) => Some(duration),
            Ok(_) => {
                self.note(place.problem(format!("`{text}` is out of bounds"), remedy));
                None
            }
            Err(_) => {
                self.note(place.problem(format!("`{text}` is not a duration"), remedy));
                None
            }
        }
    }

    /// A path; a relative one in a file starts at the folder of that file.
    pub(super) fn path(&mut self, key: &'static str) -> Option<Found<PathBuf>> {
        let Found { value, place } = self.text(key)?;
        if value.is_empty() {
            self.note(place.problem("is empty", "write a path"));
            return None;
        }
        Some(Found {
            value: resolved(Path::new(&value), &place.origin),
            place,
        })
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let Found { value, place } = self.text(key)?;
        let known = words.iter().find(|(word, _)| *word == value);
        if known.is_none() {
            let quoted = words.iter().map(|(word, _)| format!("\"{word}\""));
            let remedy = format!("write {}", quoted.collect::<Vec<_>>().join(" or "));
            self.note(place.problem(format!("`{value}` is not known"), remedy));
        }
        known.map(|(_, meaning)| *meaning)
    }

    /// A table; empty where it is not set.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Self> {
        let place = self.place_of(key);
        if !self.has(key) {
            self.take(key);
            return Some(self.inner(place, Dict::new()));
        }
        let found = self.read(key, A_TABLE, |value| value.as_dict().cloned())?;
        Some(self.inner(found.place, found.value))
    }

    /// A list of tables; empty where it is not set.
    pub(super) fn tables(&mut self, key: &'static str) -> Option<Vec<Self>> {
        if !self.has(key) {
            self.take(key);
            return Some(Vec::new());
        }
        let found = self.read(key, A_LIST_OF_TABLES, |value| {
            let items = value.as_array()?.iter();
            let item = |value: &Value| Some((value.tag(), value.as_dict()?.clone()));
            items.map(item).collect::<Option<Vec<_>>>()
        })?;
        let tables = found.value.into_iter().enumerate();
        let table = |(index, (tag, values))| {
            let key = format!("{}[{index}]", found.place.key);
            let origin = self.report.origin(tag, &key);
            self.inner(Place { key, origin }, values)
        };
        Some(tables.map(table).collect())
    }

    const fn inner(&self, place: Place, values: Dict) -> Self {
        Self {
            report: self.report,
            place,
            values,
            known: Vec::new(),
        }
    }

    /// What may be left out: `Some(None)` where it is, `None` where it is wrong.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Option<T>,
    ) -> Option<Option<T>> {
        if self.has(key) {
            read(self, key).map(Some)
        } else {
            self.take(key);
            Some(None)
        }
    }

    /// Every entry of a table whose keys are free.
    pub(super) fn into_texts(self) -> Option<BTreeMap<String, String>> {
        let entry = |(key, value): (&String, &Value)| {
            let place = self.place_of(key);
            let lenient = !matches!(place.origin, Origin::File { .. });
            let text = text_of(value, lenient);
            if text.is_none() {
                let what = format!("is {}", kind_of(value));
                self.note(place.problem(what, "write text in quotes"));
            }
            Some((key.clone(), text?))
        };
        // All of them are read before one that is wrong ends it.
        let entries: Vec<_> = self.values.iter().map(entry).collect();
        entries.into_iter().collect()
    }

    /// Keys that exist but have no place here: noted as a problem where they are set.
    pub(super) fn refuse(&mut self, keys: &[&'static str], why: &str) {
        for key in keys {
            if let Some(found) = self.take(key) {
                self.note(found.place.problem(why, "remove it"));
            }
        }
    }

    /// Keys that cannot be judged, because what decides about them is itself wrong.
    pub(super) fn set_aside(&mut self, keys: &[&'static str]) {
        for key in keys {
            self.take(key);
        }
    }

    /// Ends the reading of this table: what is left is unknown.
    pub(super) fn finish(self) {
        for key in self.values.keys() {
            let near = self.known.iter().filter_map(|known| {
                let distance = edit_distance(key, known);
                (distance <= 2 && distance < known.len()).then_some((distance, *known))
            });
            let remedy = match near.min() {
                Some((_, known)) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            let place = self.place_of(key);
            // A later layer can set it too and hide those in files, which are as wrong.
            let in_files = self.report.in_files(&place.key).into_iter();
            let mut origins: BTreeSet<Origin> = in_files.collect();
            origins.insert(place.origin);
            for origin in origins {
                let key = place.key.clone();
                let place = Place { key, origin };
                self.note(place.problem("is not a setting", remedy.as_str()));
            }
        }
    }
}

fn join(table: &str, key: &str) -> String {
    if table.is_empty() {
        key.to_owned()
    } else {
        format!("{table}.{key}")
    }
}

fn without_indices(key: &str) -> String {
    let parts = key.split('.').map(|part| part.split('[').next());
    parts.flatten().collect::<Vec<_>>().join(".")
}

/// A relative path in a file starts at the folder of that file.
pub(super) fn resolved(path: &Path, origin: &Origin) -> PathBuf {
    match origin {
        Origin::File { path: file, .. } => match file.parent() {
            Some(folder) => folder.join(path),
            None => path.to_owned(),
        },
        Origin::Default | Origin::Variable(_) | Origin::Flag(_) => path.to_owned(),
    }
}

fn text_of(value: &Value, lenient: bool) -> Option<String> {
    if let Value::String(_, text) = value {
        return Some(text.clone());
    }
    if !lenient {
        return None;
    }
    let whole = whole_number(value).map(|number| number.to_string());
    let number = || value.to_f64().map(|number| number.to_string());
    let boolean = || value.to_bool().map(|boolean| boolean.to_string());
    whole.or_else(number).or_else(boolean)
}

fn whole_number(value: &Value) -> Option<i128> {
    let unsigned = || value.to_u128()?.try_into().ok();
    value.to_i128().or_else(unsigned)
}

/// What a value is, for people.
pub(super) const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::String(..) | Value::Char(..) => "text",
        Value::Bool(..) => "true or false",
        Value::Num(..) => "a number",
        Value::Empty(..) => "nothing",
        Value::Dict(..) => "a table",
        Value::Array(..) => "a list",
    }
}

/// How many letters must be changed, added or removed to make one word of the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, in_a) in (1..).zip(a.chars()) {
        let mut diagonal = std::mem::replace(&mut row[0], i);
        for (j, in_b) in (1..).zip(&b) {
            let changed = diagonal + usize::from(in_a != *in_b);
            diagonal = row[j];
            row[j] = changed.min(diagonal + 1).min(row[j - 1] + 1);
        }
    }
    row[b.len()]
}
