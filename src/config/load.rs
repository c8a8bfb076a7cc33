//! From layers to settings.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::core::id::ScopeName;
use crate::environment::Environment;

use super::files::Files;
use super::layers::{self, DEFAULTS, Overrides};
use super::names::Names;
use super::problem::{Origin, Problem, SettingsError};
use super::report::Report;
use super::settings::{Settings, WatchSettings};
use super::table::Table;
use super::{files, receiver, scope, sections, watch};

impl Settings {
    /// Reads the settings: defaults, the file, the files of the `conf.d` beside it, `READYGATE_`
    /// variables, overrides, each over the one before. Files that settings name (secrets, lists of
    /// IDs) are read as well.
    ///
    /// # Errors
    ///
    /// Every problem of all layers at once. Where a file cannot be read or is no TOML, what may
    /// follow from that alone is left out: a scope that nobody names may be in that file.
    pub fn load(
        file: Option<&Path>,
        environment: &Environment,
        overrides: &Overrides,
    ) -> Result<Self, SettingsError> {
        read(file, environment, overrides).0
    }
}

/// Reads the settings, and tells the keys that exist.
pub(super) fn read(
    file: Option<&Path>,
    environment: &Environment,
    overrides: &Overrides,
) -> (Result<Settings, SettingsError>, BTreeSet<String>) {
    let defaults = match files::parse(DEFAULTS, &Origin::Default) {
        Ok(defaults) => defaults,
        Err(problem) => return (Err(SettingsError::new(vec![problem])), BTreeSet::new()),
    };
    let (files, unread) = file
        .map(|file| Files::read(file, &defaults))
        .unwrap_or_default();
    let figment = layers::stack(defaults, &files, environment, overrides);
    let report = Report::new(figment, files);
    unread.into_iter().for_each(|problem| report.note(problem));
    let settings = settings(&report, file, environment);
    let keys = report.keys();
    let keys_as_text = keys.iter().map(String::as_str);
    for (variable, right) in layers::misspelt_variables(environment, keys_as_text) {
        report.note(Problem {
            origin: Origin::Variable(variable.to_owned()),
            key: String::new(),
            what: "is not a setting".to_owned(),
            remedy: format!("did you mean `{right}`?"),
        });
    }
    let problems = report.into_problems();
    let settings = match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        Some(_) | None => Err(SettingsError::new(problems)),
    };
    (settings, keys)
}

fn settings(report: &Report, file: Option<&Path>, environment: &Environment) -> Option<Settings> {
    let mut root = Table::root(report);
    let store = root.table("store").and_then(sections::store);
    let freshness = root.table("freshness").and_then(sections::freshness);
    let poll = root.table("poll").and_then(sections::poll);
    let credentials = root.table("credentials").and_then(sections::credentials);
    let delivery = root.table("delivery").and_then(sections::delivery);
    let shutdown_grace = root.table("shutdown").and_then(sections::shutdown_grace);
    let log = root.table("log").and_then(sections::log);

    let mut names = Names::new();
    let scopes = root.tables("scope");
    if scopes.as_ref().is_some_and(Vec::is_empty) && !report.is_incomplete() {
        report.note(no_scope(file));
    }
    let scopes = whole(every(scopes, |table| scope::read(table, &mut names)));
    let deadline = poll.map(|poll| poll.ready_deadline);
    let watches = watches(report, &mut root, &names, deadline);
    let mut taken = receiver::Taken::new();
    let receivers = every(root.tables("receiver"), |table| {
        receiver::read(table, &mut taken, environment)
    });
    root.finish();
    Some(Settings {
        store: store?,
        freshness: freshness?,
        poll: poll?,
        scopes: scopes?,
        watches: watches?,
        receivers: whole(receivers)?,
        delivery: delivery?,
        shutdown_grace: shutdown_grace?,
        log: log?,
        credentials_config_file: credentials?,
    })
}

fn watches(
    report: &Report,
    root: &mut Table<'_>,
    scopes: &Names<ScopeName>,
    ready_deadline: Option<Duration>,
) -> Option<Vec<WatchSettings>> {
    let read = every(root.tables("watch"), |table| {
        watch::read(table, scopes, ready_deadline)
    });
    let all = read.iter().all(Option::is_some);
    let folded = watch::fold(read.into_iter().flatten().collect());
    let noted = |problems: Vec<Problem>| problems.into_iter().for_each(|p| report.note(p));
    folded.map_err(noted).ok().filter(|_| all)
}

/// Reads every table of a list, also after one that is wrong.
fn every<'r, T>(
    tables: Option<Vec<Table<'r>>>,
    read: impl FnMut(Table<'r>) -> Option<T>,
) -> Vec<Option<T>> {
    match tables {
        Some(tables) => tables.into_iter().map(read).collect(),
        // The list itself is wrong, so there is no whole one.
        None => vec![None],
    }
}

fn whole<T>(items: Vec<Option<T>>) -> Option<Vec<T>> {
    items.into_iter().collect()
}

fn no_scope(file: Option<&Path>) -> Problem {
    let origin = file.map_or(Origin::Default, |path| Origin::File {
        path: path.to_owned(),
        line: None,
    });
    Problem {
        origin,
        key: "scope".to_owned(),
        what: "there is none, so there is nobody to ask".to_owned(),
        remedy: "add a [[scope]] with a name and a region".to_owned(),
    }
}
