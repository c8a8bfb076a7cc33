//! The settings file and the files of the `conf.d` beside it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Value};

use super::layers::LISTS;
use super::lines::Lines;
use super::problem::{Origin, Problem};
use super::report::Place;
use super::table::{A_LIST_OF_TABLES, A_TABLE, kind_of};
use super::text_file;

/// The folder beside the settings file whose files are read after it.
const FOLDER: &str = "conf.d";

/// How the names of its files end.
const ENDING: &str = ".toml";

/// The most one file may be, in bytes.
const LARGEST: u64 = 4 * 1024 * 1024;

/// The files that could be read, in the order in which each is over the one before.
#[derive(Default)]
pub(super) struct Files {
    files: Vec<SettingsFile>,
    incomplete: bool,
}

/// A file that is TOML; whether it says anything sensible is not known yet.
pub(super) struct SettingsFile {
    pub(super) path: PathBuf,
    pub(super) values: Dict,
    lines: Lines,
    /// How many items of each list the files before it have, because the lists are joined.
    before: BTreeMap<String, usize>,
}

impl Files {
    /// Reads the settings file and its `conf.d`, and tells what of them could not be read.
    pub(super) fn read(file: &Path, defaults: &Dict) -> (Self, Vec<Problem>) {
        let folder = file.with_file_name(FOLDER);
        let mut problems = Vec::new();
        let dropped_in = match text_file::files_of(&folder, ENDING) {
            Ok(paths) => paths,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                problems.push(Problem {
                    origin: whole(&folder),
                    key: String::new(),
                    what: format!("the folder of settings files cannot be read: {error}"),
                    remedy: "make it a folder the daemon can read, or remove it".to_owned(),
                });
                Vec::new()
            }
        };
        let mut files = Self::default();
        for path in [file.to_owned()].into_iter().chain(dropped_in) {
            match SettingsFile::read(path) {
                Ok(mut file) => {
                    problems.extend(file.without_odd_sections(defaults));
                    files.add(file);
                }
                Err(problem) => problems.push(problem),
            }
        }
        files.incomplete = !problems.is_empty();
        (files, problems)
    }

    fn add(&mut self, mut file: SettingsFile) {
        if let Some(last) = self.files.last() {
            file.before.clone_from(&last.before);
            for (key, value) in &last.values {
                let items = value.as_array().map_or(0, <[Value]>::len);
                *file.before.entry(key.clone()).or_default() += items;
            }
        }
        self.files.push(file);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SettingsFile> {
        self.files.iter()
    }

    /// Whether something could not be read, so that what seems to be missing may be in that.
    pub(super) const fn are_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Where a key stands that is set in one of these files; lists count over all of them.
    pub(super) fn origin(&self, path: &Path, key: &str) -> Origin {
        let file = self.files.iter().find(|file| file.path == path);
        Origin::File {
            path: path.to_owned(),
            line: file.and_then(|file| file.lines.line_of(&file.own_key(key))),
        }
    }

    /// Where `section` or `section.key` is set. Only one of them wins, but all of them can be wrong.
    pub(super) fn all_of(&self, key: &str) -> Vec<Origin> {
        let sets = self.files.iter().filter(|file| file.sets(key));
        sets.map(|file| self.origin(&file.path, key)).collect()
    }
}

impl SettingsFile {
    fn read(path: PathBuf) -> Result<Self, Problem> {
        let (text, _) = text_file::read(&path, LARGEST).map_err(|error| Problem {
            origin: whole(&path),
            key: String::new(),
            what: format!("the settings file cannot be read: {error}"),
            remedy: "create it or name another".to_owned(),
        })?;
        Ok(Self {
            values: parse(&text, &whole(&path))?,
            lines: Lines::of(&text),
            path,
            before: BTreeMap::new(),
        })
    }

    /// Whether it sets `section` or `section.key`.
    fn sets(&self, key: &str) -> bool {
        let inner = |section: &str| self.values.get(section)?.as_dict();
        match key.split_once('.') {
            None => self.values.contains_key(key),
            Some((section, key)) => inner(section).is_some_and(|table| table.contains_key(key)),
        }
    }

    /// Takes out what has the name of a section and is none. It would hide that section of every
    /// other file, and with it what is wrong there.
    fn without_odd_sections(&mut self, defaults: &Dict) -> Vec<Problem> {
        let expected = |(key, value): (&String, &Value)| {
            let is_table = |item: &Value| item.as_dict().is_some();
            let is_tables = || value.as_array().is_some_and(|all| all.iter().all(is_table));
            if LISTS.contains(&key.as_str()) && !is_tables() {
                Some((key.clone(), A_LIST_OF_TABLES))
            } else if defaults.contains_key(key) && !is_table(value) {
                Some((key.clone(), A_TABLE))
            } else {
                None
            }
        };
        let odd: Vec<_> = self.values.iter().filter_map(expected).collect();
        let take_out = |(key, expected): (String, &str)| {
            let value = self.values.remove(&key)?;
            let place = Place {
                origin: Origin::File {
                    path: self.path.clone(),
                    line: self.lines.line_of(&key),
                },
                key,
            };
            let what = format!("is {}", kind_of(&value));
            Some(place.problem(what, format!("write {expected}")))
        };
        odd.into_iter().filter_map(take_out).collect()
    }

    /// The key as this file alone has it: its first `[[watch]]` is `watch[0]`, whatever the files
    /// before it have.
    fn own_key(&self, key: &str) -> String {
        let own = || {
            let (list, rest) = key.split_once('[')?;
            let (index, rest) = rest.split_once(']')?;
            let index: usize = index.parse().ok()?;
            let own = index.checked_sub(*self.before.get(list)?)?;
            Some(format!("{list}[{own}]{rest}"))
        };
        own().unwrap_or_else(|| key.to_owned())
    }
}

fn whole(path: &Path) -> Origin {
    Origin::File {
        path: path.to_owned(),
        line: None,
    }
}

/// Parses TOML. The parser's own text of an error shows the line, which can hold a secret, so only
/// its number and the reason are taken.
pub(super) fn parse(text: &str, origin: &Origin) -> Result<Dict, Problem> {
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
