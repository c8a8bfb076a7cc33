//! What one reading of the settings collects: problems, and the keys that exist.

use std::cell::RefCell;
use std::collections::BTreeSet;

use figment::Figment;
use figment::value::{Dict, Tag, Value};

use super::files::Files;
use super::problem::{Origin, Problem};

/// What is shared by all tables of one reading.
pub(super) struct Report {
    figment: Figment,
    files: Files,
    problems: RefCell<Vec<Problem>>,
    keys: RefCell<BTreeSet<String>>,
}

/// A key and who set it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) key: String,
    pub(super) origin: Origin,
}

impl Place {
    /// A problem of this place.
    pub(super) fn problem(&self, what: impl Into<String>, remedy: impl Into<String>) -> Problem {
        Problem {
            origin: self.origin.clone(),
            key: self.key.clone(),
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl Report {
    /// A reading of these layers, which these files are part of.
    pub(super) fn new(figment: Figment, files: Files) -> Self {
        Self {
            figment,
            files,
            problems: RefCell::default(),
            keys: RefCell::default(),
        }
    }

    /// Notes a problem.
    pub(super) fn note(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Every key that was asked for, without indices: `scope.name`.
    pub(super) fn keys(&self) -> BTreeSet<String> {
        self.keys.borrow().clone()
    }

    /// The problems, at the end.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    /// Notes that a key exists.
    pub(super) fn note_key(&self, key: String) {
        self.keys.borrow_mut().insert(key);
    }

    /// The merged values of all layers.
    pub(super) fn values(&self) -> Dict {
        let merged = self.figment.find_value("").ok();
        merged.and_then(Value::into_dict).unwrap_or_default()
    }

    /// Whether a file could not be read, so that what seems to be missing may be there.
    pub(super) const fn is_incomplete(&self) -> bool {
        self.files.are_incomplete()
    }

    /// Where files set `section` or `section.key`, whoever wins.
    pub(super) fn in_files(&self, key: &str) -> Vec<Origin> {
        self.files.all_of(key)
    }

    /// Who set a value.
    pub(super) fn origin(&self, tag: Tag, key: &str) -> Origin {
        let Some(metadata) = self.figment.get_metadata(tag) else {
            return Origin::Default;
        };
        let source = metadata.source.as_ref();
        if let Some(path) = source.and_then(|source| source.file_path()) {
            return self.files.origin(path, key);
        }
        match source.and_then(|source| source.custom()) {
            Some(name) if metadata.name == "flag" => Origin::Flag(name.to_owned()),
            Some(name) => Origin::Variable(name.to_owned()),
            None => Origin::Default,
        }
    }
}
