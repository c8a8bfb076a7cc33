//! `[[watch]]`: which instances are followed, under which policy.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::core::gate::Gate;
use crate::core::id::{InstanceId, InvalidName, ScopeName};
use crate::core::status::OsType;

use super::ids;
use super::names::Names;
use super::problem::{Origin, Problem};
use super::report::{Found, Place};
use super::sections::READY_DEADLINE;
use super::settings::WatchSettings;
use super::table::Table;
use super::text_file;

/// The most a file of IDs may be, in bytes: more than two million IDs.
const LARGEST: u64 = 64 * 1024 * 1024;

/// How the names of the files end that count in a folder of IDs.
const ENDING: &str = ".txt";

/// How many bad IDs of one list are told one by one. A wrong file would drown everything else.
const TOLD: usize = 10;

/// Reads one watch. `ready_deadline` is the one of a watch that names none.
pub(super) fn read(
    mut table: Table<'_>,
    scopes: &Names<ScopeName>,
    ready_deadline: Option<Duration>,
) -> Option<Found<WatchSettings>> {
    let place = table.place().clone();
    let scope = scope(&mut table, scopes);
    let instances = instances(&mut table);
    let labels = table.table("labels").and_then(Table::into_texts);
    let gate = table.table("gate").and_then(gate);
    let own_deadline = table.optional("ready_deadline", |table, key| {
        table.duration(key, READY_DEADLINE)
    });
    table.finish();
    let value = WatchSettings {
        scope: scope?,
        instances: instances?,
        labels: labels?,
        gate: gate?,
        ready_deadline: own_deadline?.or(ready_deadline)?,
    };
    Some(Found { value, place })
}

fn scope(table: &mut Table<'_>, scopes: &Names<ScopeName>) -> Option<ScopeName> {
    let remedy = "name a scope: the `name` of one [[scope]]";
    let Found { value, place } = table.required_text("scope", remedy)?;
    match value.parse() {
        Ok(name) if scopes.contains(&name) => Some(name),
        Ok(_) | Err(_) => {
            table.note_unless_incomplete(
                place.problem(format!("there is no scope `{value}`"), remedy),
            );
            None
        }
    }
}

fn instances(table: &mut Table<'_>) -> Option<Vec<InstanceId>> {
    if table.has("instances") == table.has("file") {
        let (what, remedy) = if table.has("file") {
            ("has both `instances` and `file`", "keep one of them")
        } else {
            (
                "has neither `instances` nor `file`",
                "name the instances, or a file or folder with one ID a line",
            )
        };
        table.note(table.place().problem(what, remedy));
        table.set_aside(&["instances", "file"]);
        return None;
    }
    let listed = table.optional("instances", listed)?;
    let from_file = table.optional("file", from_file)?;
    let mut instances = listed.or(from_file)?;
    let mut seen = BTreeSet::new();
    instances.retain(|id| seen.insert(id.clone()));
    Some(instances)
}

fn listed(table: &mut Table<'_>, key: &'static str) -> Option<Vec<InstanceId>> {
    let Found { value, place } = table.texts(key)?;
    if value.is_empty() {
        table.note(place.problem("names no instance", "name one, or remove the watch"));
        return None;
    }
    let mut bad = Vec::new();
    let mut good = Vec::new();
    for text in &value {
        match text.parse() {
            Ok(id) => good.push(id),
            Err(error) => {
                bad.push(place.problem(InvalidName::to_string(&error), "correct or remove it"))
            }
        }
    }
    note_bad(table, &place, bad).then_some(good)
}

/// The IDs of one file, or of the files of a folder one after another.
fn from_file(table: &mut Table<'_>, key: &'static str) -> Option<Vec<InstanceId>> {
    let Found { value: path, place } = table.path(key)?;
    let files = if path.is_dir() {
        text_file::files_of(&path, ENDING)
    } else {
        Ok(vec![path.clone()])
    };
    let unreadable = |path: &Path, error: io::Error| {
        let what = format!("`{}` cannot be read: {error}", path.display());
        table.note(place.problem(what, "create it, with one ID a line"));
    };
    let files = files.map_err(|error| unreadable(&path, error)).ok()?;
    let mut all = Vec::new();
    let mut bad = Vec::new();
    let mut read_all = true;
    for file in files {
        match text_file::read(&file, LARGEST) {
            Ok((text, _)) => {
                let ids::Ids { ids, bad_lines } = ids::parse(&text);
                all.extend(ids);
                let problem = |line| no_id(&file, line, &place);
                bad.extend(bad_lines.into_iter().map(problem));
            }
            Err(error) => {
                read_all = false;
                unreadable(&file, error);
            }
        }
    }
    (note_bad(table, &place, bad) && read_all).then_some(all)
}

/// The line is not repeated: this can be any file at all.
fn no_id(path: &Path, line: usize, place: &Place) -> Problem {
    Problem {
        origin: Origin::File {
            path: path.to_owned(),
            line: Some(line),
        },
        key: place.key.clone(),
        what: "the line is not an instance ID (`i-...` or `mi-...`)".to_owned(),
        remedy: "correct or remove it".to_owned(),
    }
}

/// Notes problems with IDs, but not thousands of them. True where there are none.
fn note_bad(table: &Table<'_>, place: &Place, mut bad: Vec<Problem>) -> bool {
    let none = bad.is_empty();
    let more = bad.len().saturating_sub(TOLD);
    bad.truncate(TOLD);
    bad.into_iter().for_each(|problem| table.note(problem));
    if more > 0 {
        let what = format!("{more} more are not instance IDs");
        table.note(place.problem(what, "correct or remove them"));
    }
    none
}

fn gate(mut table: Table<'_>) -> Option<Gate> {
    let session_manager = table.optional("session_manager", Table::boolean);
    let idle = table.optional("idle", Table::boolean);
    let os_type = table.optional("os_type", |table, key| {
        let Found { value, place } = table.text(key)?;
        let os_type = OsType::parse(&value);
        if os_type.is_none() {
            let what = format!("`{value}` is not known");
            table.note(place.problem(what, "write \"Linux\", \"Windows\" or \"FreeBSD\""));
        }
        os_type
    });
    table.finish();
    Some(Gate {
        session_manager: session_manager?.unwrap_or(false),
        idle: idle?.unwrap_or(false),
        os_type: os_type?,
    })
}

/// Folds instances that are in several watches of the same policy into the first of them. Watches
/// that have none (left) are dropped.
///
/// # Errors
///
/// One problem for each pair of watches that share an instance and differ in policy.
pub(super) fn fold(watches: Vec<Found<WatchSettings>>) -> Result<Vec<WatchSettings>, Vec<Problem>> {
    let mut owners: BTreeMap<(ScopeName, InstanceId), usize> = BTreeMap::new();
    let mut conflicts: BTreeMap<(usize, usize), (InstanceId, usize)> = BTreeMap::new();
    let mut folded: Vec<Found<WatchSettings>> = Vec::new();
    for (index, mut watch) in watches.into_iter().enumerate() {
        let Found { value, .. } = &mut watch;
        let all = std::mem::take(&mut value.instances);
        for id in all {
            match owners.get(&(value.scope.clone(), id.clone())) {
                None => {
                    owners.insert((value.scope.clone(), id.clone()), index);
                    value.instances.push(id);
                }
                Some(first) if same_policy(&folded[*first].value, value) => {}
                Some(first) => {
                    let conflict = conflicts.entry((*first, index));
                    conflict.or_insert((id, 0)).1 += 1;
                }
            }
        }
        folded.push(watch);
    }
    if conflicts.is_empty() {
        let watches = folded.into_iter().map(|watch| watch.value);
        return Ok(watches
            .filter(|watch| !watch.instances.is_empty())
            .collect());
    }
    let problem = |((first, second), (id, count)): ((usize, usize), (InstanceId, usize))| {
        let first = &folded[first].place;
        let others = match count {
            1 => String::new(),
            _ => format!(" and {} more", count - 1),
        };
        let what = format!(
            "`{id}`{others} is also in {} ({}), with another gate, ready_deadline or labels",
            first.key, first.origin
        );
        let remedy = "keep it in one of them, or make them agree";
        folded[second].place.problem(what, remedy)
    };
    Err(conflicts.into_iter().map(problem).collect())
}

fn same_policy(a: &WatchSettings, b: &WatchSettings) -> bool {
    a.gate == b.gate && a.ready_deadline == b.ready_deadline && a.labels == b.labels
}
