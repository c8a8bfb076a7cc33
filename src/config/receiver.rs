//! `[[receiver]]`: who is told of what, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::core::event::EventType;
use crate::core::id::ReceiverName;
use crate::environment::Environment;

use super::names::Names;
use super::report::{Found, Place};
use super::secret;
use super::settings::{FileLayout, ReceiverKind, ReceiverSettings};
use super::table::Table;
use super::url;

/// How long an attempt may take where a receiver does not say.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The keys of each kind, which a receiver of another kind must not have.
const WEBHOOK_KEYS: [&str; 3] = ["url", "secret", "timeout"];
const FILE_KEYS: [&str; 2] = ["layout", "path"];

#[derive(Clone, Copy)]
enum Kind {
    Webhook,
    File,
}

/// What no two receivers may share.
#[derive(Debug)]
pub(super) struct Taken {
    names: Names<ReceiverName>,
    paths: BTreeMap<PathBuf, Place>,
}

impl Taken {
    pub(super) const fn new() -> Self {
        Self {
            names: Names::new(),
            paths: BTreeMap::new(),
        }
    }
}

pub(super) fn read(
    mut table: Table<'_>,
    taken: &mut Taken,
    environment: &Environment,
) -> Option<ReceiverSettings> {
    let name = taken.names.read(&mut table);
    if !table.has("kind") {
        table.missing("kind", "write \"webhook\" or \"file\"");
    }
    let kinds = [("webhook", Kind::Webhook), ("file", Kind::File)];
    let kind = match table.word("kind", &kinds) {
        Some(Kind::Webhook) => {
            table.refuse(&FILE_KEYS, "belongs to receivers of kind \"file\"");
            webhook(&mut table, environment)
        }
        Some(Kind::File) => {
            table.refuse(&WEBHOOK_KEYS, "belongs to receivers of kind \"webhook\"");
            file(&mut table, taken)
        }
        None => {
            table.set_aside(&WEBHOOK_KEYS);
            table.set_aside(&FILE_KEYS);
            None
        }
    };
    let events = table.optional("events", events);
    table.finish();
    Some(ReceiverSettings {
        name: name?,
        events: events?.unwrap_or_else(told_by_default),
        kind: kind?,
    })
}

fn webhook(table: &mut Table<'_>, environment: &Environment) -> Option<ReceiverKind> {
    let remedy = "write \"https://\", a host and a path";
    let url = table.required_text("url", remedy).and_then(|found| {
        let valid = url::validate(&found.value);
        if let Err(what) = valid {
            table.note(found.place.problem(what, remedy));
        }
        valid.is_ok().then_some(found.value)
    });
    let secret = table.optional("secret", |table, key| {
        let reference = table.text(key)?;
        secret::resolve(&reference, environment)
            .map_err(|problem| table.note(problem))
            .ok()
    });
    let timeout = table.optional("timeout", |table, key| {
        table.duration(key, Duration::from_secs(1)..=Duration::from_secs(30))
    });
    Some(ReceiverKind::Webhook {
        url: url?,
        secret: secret?,
        timeout: timeout?.unwrap_or(TIMEOUT),
    })
}

fn file(table: &mut Table<'_>, taken: &mut Taken) -> Option<ReceiverKind> {
    if !table.has("layout") {
        table.missing("layout", "write \"state\" or \"jsonl\"");
    }
    if !table.has("path") {
        table.missing("path", "name the folder (state) or the file (jsonl)");
    }
    let layouts = [("state", FileLayout::State), ("jsonl", FileLayout::Jsonl)];
    let layout = table.word("layout", &layouts);
    let path = table.path("path");
    if let Some(Found { value, place }) = &path {
        if let Some(first) = taken.paths.get(value) {
            let what = format!("is also the path at {} ({})", first.origin, first.key);
            table.note(place.problem(what, "give each receiver its own"));
        } else {
            taken.paths.insert(value.clone(), place.clone());
        }
    }
    Some(ReceiverKind::File {
        layout: layout?,
        path: path?.value,
    })
}

fn events(table: &mut Table<'_>, key: &'static str) -> Option<BTreeSet<EventType>> {
    let Found { value, place } = table.texts(key)?;
    if value.is_empty() {
        let remedy = "name at least one event, or remove it for all that are told by default";
        table.note(place.problem("is empty", remedy));
        return None;
    }
    let mut known = BTreeSet::new();
    let mut all_known = true;
    for text in value {
        match text.parse::<EventType>() {
            Ok(event_type) => {
                known.insert(event_type);
            }
            Err(unknown) => {
                all_known = false;
                table.note(place.problem(unknown.to_string(), "correct or remove it"));
            }
        }
    }
    all_known.then_some(known)
}

fn told_by_default() -> BTreeSet<EventType> {
    let all = EventType::ALL.into_iter();
    all.filter(|event_type| event_type.told_by_default())
        .collect()
}
