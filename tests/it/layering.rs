//! Who may use whom, held to the source.
//!
//! Adapters depend on the core and on the neutral roots, never on each other; the core depends on
//! nothing that could wait, read a clock, or differ from run to run. A path is what the compiler
//! would see: groups are taken apart, `super` is followed, comments and strings do not count.

mod paths;

use std::fs;
use std::path::{Path, PathBuf};

/// Modules that belong to no layer and that every adapter may use.
const NEUTRAL: [&str; 3] = ["clock", "environment", "tls"];

/// Modules that touch the world, each through one door.
const ADAPTERS: [&str; 7] = [
    "config",
    "ecs",
    "emulator",
    "notify",
    "server",
    "store",
    "telemetry",
];

/// What the core must not know: clocks, waiting, randomness of its own, and IO.
const NOT_IN_CORE: [&str; 14] = [
    "async",
    "jiff::Timestamp::now",
    "jiff::Zoned",
    "rand::random",
    "rand::rng",
    "rand::rngs",
    "reqwest",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
];

/// Crates that have one place: `backoff` is unmaintained and must not spread, and `anyhow` erases
/// what modules are to say with types.
const ONE_PLACE: [(&str, &str); 2] = [("anyhow", "cli/"), ("backoff", "ecs/credentials/retry.rs")];

/// A file that has grown past this holds more than one thing.
const MOST_LINES: usize = 500;

#[test]
fn layers_use_only_what_is_below_them() {
    let violations: Vec<String> = sources()
        .iter()
        .flat_map(|(path, text)| violations(path, text))
        .collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn no_source_file_outgrows_its_reader() {
    for (path, text) in sources() {
        let most = if path == "main.rs" { 40 } else { MOST_LINES };
        let lines = text.lines().count();
        assert!(lines <= most, "src/{path}: {lines} lines, at most {most}");
    }
}

#[test]
fn planted_violations_are_caught_however_they_are_written() {
    let cases = [
        ("core/fleet.rs", "use crate::store::Store;"),
        ("core/fleet.rs", "use std::time::{Duration, Instant};"),
        ("core/fleet.rs", "use std::{fmt, fs};"),
        ("core/fleet.rs", "use std::time::{self};"),
        ("core/fleet.rs", "use std::time;"),
        ("core/fleet.rs", "fn f() { let r = rand::rng(); }"),
        ("core/fleet.rs", "pub async fn wait() {}"),
        ("core/fleet.rs", "fn f() -> tokio::time::Instant { todo() }"),
        ("core/fleet.rs", "use tokio as t;"),
        ("core/fleet.rs", "fn f() { jiff::Timestamp::now(); }"),
        ("core/fleet.rs", "use super::super::clock::Clock;"),
        ("config/watch.rs", "use crate::{core::gate, ecs::client};"),
        (
            "config/watch.rs",
            "fn f() { crate::telemetry::logs::init() }",
        ),
        ("config/watch.rs", "use super::super::store;"),
        ("config/mod.rs", "use super::{store::Store};"),
        (
            "config/watch.rs",
            "mod tests { use super::super::super::store; }",
        ),
        ("config/watch.rs", "use crate::daemon::run;"),
        ("ecs/client.rs", "use crate::emulator::fleet;"),
        ("emulator/front.rs", "use crate::ecs::client::Client;"),
        ("emulator/front.rs", "use crate::ecs::{wire, credentials};"),
        ("emulator/front.rs", "use crate::ecs;"),
        ("server/waiters.rs", "use crate::ecs::wire;"),
        ("daemon/poller.rs", "use crate::cli::exit;"),
        ("clock.rs", "use crate::config::Settings;"),
        ("novelty/mod.rs", "pub fn f() {}"),
        ("store/mod.rs", "use anyhow::Context as _;"),
        ("ecs/client.rs", "fn f() { backoff::future::retry() }"),
    ];
    for (path, text) in cases {
        assert!(!violations(path, text).is_empty(), "{path}: {text}");
    }
}

#[test]
fn what_the_layers_allow_is_left_alone() {
    let cases = [
        (
            "core/fleet.rs",
            "use std::time::Duration; use super::id::{InstanceId};",
        ),
        (
            "core/fleet.rs",
            "use crate::core::time::Instant; fn f(time: Instant) {}",
        ),
        (
            "core/fleet.rs",
            "//! Unlike `crate::store`.\n/* use tokio; /* */ */ const A: &str = \"std::fs\";",
        ),
        (
            "core/fleet.rs",
            "const A: &str = r#\"a \" use tokio::x;\"#; const B: char = '\"'; fn f<'a>(a: &'a str) {}",
        ),
        (
            "core/fleet.rs",
            "mod tests { use super::*; use super::super::id; }",
        ),
        (
            "config/watch.rs",
            "use crate::{clock::Clock, core, environment::Environment};",
        ),
        (
            "config/watch.rs",
            "pub(crate) fn f() {} pub(in crate::config) fn g() {}",
        ),
        (
            "emulator/front.rs",
            "use crate::ecs::{sign, wire::{self, Row}};",
        ),
        ("server/mirror.rs", "use crate::ecs::wire::Row;"),
        (
            "daemon/run.rs",
            "use crate::{config, ecs, store, telemetry};",
        ),
        (
            "cli/run.rs",
            "use crate::{config, daemon}; use anyhow::Context as _;",
        ),
        ("ecs/credentials/retry.rs", "use backoff::future::retry;"),
        ("lib.rs", "pub mod config; pub use crate::config::Settings;"),
    ];
    for (path, text) in cases {
        let violations = violations(path, text);
        assert!(violations.is_empty(), "{path}: {text}: {violations:?}");
    }
}

/// Every file of `src/` with its path below it.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(&root).unwrap().to_str().unwrap();
                sources.push((below.to_owned(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(
        sources.len() > 10,
        "the sources are not where they should be"
    );
    sources
}

/// What a file, named by its path below `src/`, uses and must not.
fn violations(path: &str, text: &str) -> Vec<String> {
    let module = module_of(path);
    let Some(layer) = module.first().cloned() else {
        return Vec::new(); // lib.rs and main.rs, which put the layers together
    };
    let mut found: Vec<String> = paths::references(text, &module)
        .into_iter()
        .filter(|reference| !may_use(path, &layer, reference))
        .map(|reference| format!("src/{path}: {layer} must not use {reference}"))
        .collect();
    let known = ["core", "daemon", "cli"];
    if !known
        .iter()
        .chain(&NEUTRAL)
        .chain(&ADAPTERS)
        .any(|name| *name == layer)
    {
        found.push(format!("src/{path}: {layer} has no place among the layers"));
    }
    found
}

fn module_of(path: &str) -> Vec<String> {
    let parts = path.trim_end_matches(".rs").split('/');
    parts
        .filter(|part| !matches!(*part, "lib" | "main" | "mod"))
        .map(str::to_owned)
        .collect()
}

fn may_use(path: &str, layer: &str, reference: &str) -> bool {
    let Some(inside) = reference.strip_prefix("crate::") else {
        // A whole module under its own name hides what is taken out of it.
        let hides = matches!(reference, "std" | "std::time" | "std::time::self" | "rand");
        let forbidden = hides || NOT_IN_CORE.iter().any(|name| is_in(reference, name));
        let mut placed = ONE_PLACE.iter().filter(|(name, _)| is_in(reference, name));
        return (layer != "core" || !forbidden) && placed.all(|(_, place)| path.starts_with(place));
    };
    let target = inside.split("::").next().unwrap_or_default();
    match layer {
        "core" => target == "core",
        "daemon" => target != "cli",
        "cli" => true,
        _ if target == layer || target == "core" || NEUTRAL.contains(&target) => true,
        _ => {
            let speaks_the_api = layer == "emulator" || path.starts_with("server/mirror");
            speaks_the_api && (is_in(inside, "ecs::wire") || is_in(inside, "ecs::sign"))
        }
    }
}

/// Whether a path is this one or leads through it.
fn is_in(path: &str, module: &str) -> bool {
    let rest = path.strip_prefix(module);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
