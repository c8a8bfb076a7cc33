//! The layers settings are made of.

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use crate::environment::Environment;

use super::files::Files;

/// The reference: every key with its default.
pub(super) const DEFAULTS: &str = include_str!("../../config/default.toml");

/// What the name of an environment variable begins with to be a setting.
const PREFIX: &str = "READYGATE_";

/// The sections that are lists: joined over all files, and replaced as a whole by a variable.
pub(super) const LISTS: [&str; 3] = ["scope", "watch", "receiver"];

/// Values that flags set: the uppermost layer.
#[derive(Debug, Clone, Default)]
pub struct Overrides(Vec<(String, String, Value)>);

impl Overrides {
    /// Adds a value. `flag` is the flag's name with its hyphens, for problems; `key` is the setting,
    /// such as `store.folder`.
    #[must_use]
    pub fn set(mut self, flag: &str, key: &str, value: impl Into<Value>) -> Self {
        self.0.push((flag.to_owned(), key.to_owned(), value.into()));
        self
    }
}

/// One source of values.
struct Layer {
    metadata: Metadata,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// Lays files, variables and flags over the defaults. Every file, variable and flag is a layer of its
/// own, so that a problem can name it. The lists of files are joined; a variable replaces them.
pub(super) fn stack(
    defaults: Dict,
    files: &Files,
    environment: &Environment,
    overrides: &Overrides,
) -> Figment {
    let is_section = |name: &str| defaults.contains_key(name) || LISTS.contains(&name);
    let variables: Vec<Layer> = environment
        .with_prefix(PREFIX)
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, value)| {
            let path = path_of(name);
            // Kubernetes sets READYGATE_PORT and its like beside a service named readygate, so what
            // is neither nested nor a section is not ours.
            let ours = path.len() > 1 || path.iter().all(|part| is_section(part));
            ours.then(|| layer(Metadata::from("variable", name), &path, parsed(value)))
        })
        .collect();
    let flags = overrides.0.iter().map(|(flag, key, value)| {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        layer(Metadata::from("flag", flag.as_str()), &path, value.clone())
    });
    let lowest = Figment::from(Layer {
        metadata: Metadata::named("default"),
        values: defaults.clone(),
    });
    let with_files = files.iter().fold(lowest, |below, file| {
        below.admerge(Layer {
            metadata: Metadata::from("file", file.path.as_path()),
            values: file.values.clone(),
        })
    });
    variables
        .into_iter()
        .chain(flags)
        .fold(with_files, Figment::merge)
}

/// Variables that name a setting with one underscore where two belong, and how they should be named.
pub(super) fn misspelt_variables<'a>(
    environment: &'a Environment,
    keys: impl Iterator<Item = &'a str>,
) -> Vec<(&'a str, String)> {
    let nested: Vec<&str> = keys.filter(|key| key.contains('.')).collect();
    let misspelt = |(name, _): (&'a str, &'a str)| {
        let path = path_of(name);
        let [only] = path.as_slice() else { return None };
        let key = nested.iter().find(|key| key.replace('.', "_") == *only)?;
        let right = key.replace('.', "__").to_ascii_uppercase();
        Some((name, format!("{PREFIX}{right}")))
    };
    environment
        .with_prefix(PREFIX)
        .filter_map(misspelt)
        .collect()
}

fn path_of(variable: &str) -> Vec<String> {
    let key = variable.strip_prefix(PREFIX).unwrap_or(variable);
    key.to_ascii_lowercase()
        .split("__")
        .map(str::to_owned)
        .collect()
}

/// The text as the TOML it looks like; what is no TOML is itself.
fn parsed(text: &str) -> Value {
    match text.parse() {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

fn layer(metadata: Metadata, path: &[String], value: Value) -> Layer {
    let (first, rest) = match path.split_first() {
        Some((first, rest)) => (first.clone(), rest),
        None => (String::new(), path),
    };
    let nest = |inner: Value, key: &String| Value::from(Dict::from([(key.clone(), inner)]));
    let value = rest.iter().rev().fold(value, nest);
    Layer {
        metadata,
        values: Dict::from([(first, value)]),
    }
}
