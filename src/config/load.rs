//! From layers to settings.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::providers::{Format as _, Toml};
use figment::value::Dict;

use crate::core::id::ScopeName;
use crate::environment::Environment;

use super::layers::{self, DEFAULTS, Overrides};
use super::lines::Lines;
use super::names::Names;
use super::problem::{Origin, Problem, SettingsError};
use super::report::Report;
use super::settings::{Settings, WatchSettings};
use super::table::Table;
use super::{receiver, scope, sections, text_file, watch};

/// The most a settings file may be, in bytes.
const LARGEST: u64 = 4 * 1024 * 1024;

/// A settings file that is TOML; whether it says anything sensible is not known yet.
pub(super) struct SettingsFile {
    pub(super) path: PathBuf,
    pub(super) values: Dict,
    lines: Lines,
}

impl Settings {
    /// Reads the settings: defaults, the file, `READYGATE_` variables, overrides, each over the one
    /// before. Files that settings name (secrets, lists of IDs) are read as well.
    ///
    /// # Errors
    ///
    /// Every problem of all layers at once, except that a file that cannot be read or is no TOML is
    /// told alone, because nothing can be said of the rest.
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
    let layered = file.map(SettingsFile::read).transpose().and_then(|file| {
        let defaults = parse(DEFAULTS, &Origin::Default)?;
        let figment = layers::stack(defaults, file.as_ref(), environment, overrides);
        let lines = file.map(|file| file.lines).unwrap_or_default();
        Ok(Report::new(figment, lines))
    });
    let report = match layered {
        Ok(report) => report,
        Err(problem) => return (Err(problem.into()), BTreeSet::new()),
    };
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

impl SettingsFile {
    fn read(path: &Path) -> Result<Self, Problem> {
        let origin = |line| Origin::File {
            path: path.to_owned(),
            line,
        };
        let (text, _) = text_file::read(path, LARGEST).map_err(|error| Problem {
            origin: origin(None),
            key: String::new(),
            what: format!("the settings file cannot be read: {error}"),
            remedy: "create it or name another".to_owned(),
        })?;
        Ok(Self {
            values: parse(&text, &origin(None))?,
            lines: Lines::of(&text),
            path: path.to_owned(),
        })
    }
}

/// Parses TOML. The parser's own text of an error shows the line, which can hold a secret, so only
/// its number and the reason are taken.
fn parse(text: &str, origin: &Origin) -> Result<Dict, Problem> {
    Toml::from_str::<Dict>(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map(|before| before.matches('\n').count() + 1);
        let origin = match origin {
            Origin::File { path, .. } => Origin::File {
                path: path.clone(),
                line,
            },
            Origin::Default | Origin::Variable(_) | Origin::Flag(_) => origin.clone(),
        };
        let reason = error.message().trim().replace('\n', ", ");
        Problem {
            origin,
            key: String::new(),
            what: format!("is not TOML: {reason}"),
            remedy: "correct this line; nothing else of the file was read".to_owned(),
        }
    })
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
    if scopes.as_ref().is_some_and(Vec::is_empty) {
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
