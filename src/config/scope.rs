//! `[[scope]]`: which regions are polled, as whom.

use crate::core::id::ScopeName;

use super::names::Names;
use super::report::Found;
use super::settings::ScopeSettings;
use super::table::Table;
use super::url;

/// The budget of a scope that names none, in calls a minute. The provider allows more, but counts
/// everybody else's calls of that account too.
const CALLS_PER_MINUTE: u32 = 300;

pub(super) fn read(mut table: Table<'_>, names: &mut Names<ScopeName>) -> Option<ScopeSettings> {
    let name = names.read(&mut table);
    let region = region(&mut table);
    let profile = table.optional("profile", filled);
    let account = table.optional("account", filled);
    let endpoint = table.optional("endpoint", endpoint);
    let calls_per_minute =
        table.optional("calls_per_minute", |table, key| table.count(key, 1..=6000));
    table.finish();
    Some(ScopeSettings {
        name: name?,
        region: region?,
        profile: profile?,
        account: account?,
        endpoint: endpoint?,
        calls_per_minute: calls_per_minute?.unwrap_or(CALLS_PER_MINUTE),
    })
}

fn region(table: &mut Table<'_>) -> Option<String> {
    let remedy = "name the region, such as \"cn-hangzhou\"";
    let Found { value, place } = table.required_text("region", remedy)?;
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if value.is_empty() || !value.bytes().all(allowed) {
        table.note(place.problem(format!("`{value}` is not the ID of a region"), remedy));
        return None;
    }
    Some(value)
}

fn filled(table: &mut Table<'_>, key: &'static str) -> Option<String> {
    let Found { value, place } = table.text(key)?;
    if value.trim().is_empty() {
        table.note(place.problem("is empty", "write a value or remove it"));
        return None;
    }
    Some(value)
}

fn endpoint(table: &mut Table<'_>, key: &'static str) -> Option<String> {
    let Found { value, place } = table.text(key)?;
    let valid = match url::validate(&value) {
        Ok(()) if value.contains('?') => Err("holds a query"),
        valid => valid,
    };
    if let Err(what) = valid {
        table.note(place.problem(what, "write \"https://\" and a host"));
        return None;
    }
    Some(value)
}
