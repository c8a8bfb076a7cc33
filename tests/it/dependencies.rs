//! What the crate is built from, judged without a network: licences, sources, known-dead crates, and
//! that there is one SQLite. `.deny.toml` says the same to cargo-deny, which knows advisories too.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// Licences whose terms are met by shipping the licence texts.
const LICENCES: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that nobody maintains and that have found their way into many trees.
const UNMAINTAINED: [&str; 20] = [
    "adler",
    "ansi_term",
    "atty",
    "backoff",
    "bincode",
    "derivative",
    "dotenv",
    "encoding",
    "failure",
    "fxhash",
    "instant",
    "mach",
    "net2",
    "number_prefix",
    "paste",
    "proc-macro-error",
    "rustls-pemfile",
    "serde_yaml",
    "tempdir",
    "yaml-rust",
];

/// The ones that are used all the same; `.deny.toml` says why.
const ACCEPTED: [&str; 2] = ["backoff", "instant"];

#[test]
fn every_dependency_may_be_shipped_and_comes_from_crates_io() {
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("none named");
        assert!(is_allowed(licence), "{name}: licence {licence}");
        if name != env!("CARGO_PKG_NAME") {
            let source = package["source"].as_str().unwrap_or("a local path");
            let crates_io = "registry+https://github.com/rust-lang/crates.io-index";
            assert_eq!(source, crates_io, "{name}");
        }
    }
}

#[test]
fn unmaintained_crates_are_only_those_that_are_accepted() {
    let packages = packages();
    let names: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let found: Vec<_> = UNMAINTAINED
        .into_iter()
        .filter(|name| names.contains(name))
        .collect();
    assert_eq!(found, ACCEPTED, "also change .deny.toml");
}

#[test]
fn there_is_one_sqlite_and_it_is_the_bundled_one() {
    let packages = packages();
    let links: Vec<_> = packages
        .iter()
        .filter(|package| package["links"] == "sqlite3")
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    assert_eq!(links, ["libsqlite3-sys"]);
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(is_allowed(good), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR ISC) AND (GPL-3.0 OR AGPL-3.0)",
        "MIT AND",
        "GPL-2.0 WITH Classpath-exception",
    ] {
        assert!(!is_allowed(bad), "{bad}");
    }
}

/// The packages of the lock file for this machine. Fails where the lock file is out of date.
fn packages() -> Vec<Value> {
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {complaint}");
        String::from_utf8(output.stdout).unwrap()
    };
    let version = run(Command::new("rustc").arg("-vV"));
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    // Other platforms' crates need not be on this machine.
    let metadata = run(Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version=1"])
        .args(["--filter-platform", host.unwrap()])
        .current_dir(env!("CARGO_MANIFEST_DIR")));
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Whether an SPDX expression can be met: AND binds more than OR, `/` is an old OR.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    any_of(&words, &mut at) && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = all_of(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        allowed |= all_of(words, at);
    }
    allowed
}

fn all_of(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        allowed &= one(words, at);
    }
    allowed
}

fn one(words: &[&str], at: &mut usize) -> bool {
    let Some(word) = words.get(*at) else {
        return false;
    };
    *at += 1;
    if *word == "(" {
        let allowed = any_of(words, at);
        *at += 1;
        return allowed;
    }
    if words.get(*at) == Some(&"WITH") {
        let exception = words.get(*at + 1).copied().unwrap_or_default();
        *at += 2;
        return LICENCES.contains(&format!("{word} WITH {exception}").as_str());
    }
    LICENCES.contains(word)
}
