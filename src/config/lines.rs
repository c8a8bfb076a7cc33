//! On which line of a TOML file a key stands.
//!
//! The parser keeps no positions, so they are found in the text by a scan that knows headers, keys
//! and multi-line strings. It is right for files as people write them; what it does not recognise
//! (a key inside an inline table) is answered with the line of what surrounds it.

use std::collections::BTreeMap;

/// The lines of a file's keys, as `section.key` and `list[index].key`; lines count from 1.
#[derive(Debug, Default)]
pub(super) struct Lines(BTreeMap<String, usize>);

impl Lines {
    /// Scans a file that parses as TOML.
    pub(super) fn of(text: &str) -> Self {
        let mut lines = BTreeMap::new();
        let mut lists: BTreeMap<String, usize> = BTreeMap::new();
        let mut section = String::new();
        let mut open_string: Option<&str> = None;
        for (number, line) in (1..).zip(text.lines()) {
            let inside = open_string.is_some();
            open_string = string_left_open(line, open_string);
            if inside {
                continue;
            }
            let line = line.trim_start_matches('\u{feff}').trim();
            if let Some(name) = between(line, "[[", "]]") {
                let index = lists.entry(name.clone()).and_modify(|i| *i += 1);
                section = format!("{name}[{}]", index.or_insert(0));
                lines.entry(section.clone()).or_insert(number);
            } else if let Some(name) = between(line, "[", "]") {
                section = within_newest_item(&name, &lists);
                lines.entry(section.clone()).or_insert(number);
            } else if let Some(key) = key_of(line) {
                let key = if section.is_empty() {
                    key
                } else {
                    format!("{section}.{key}")
                };
                lines.entry(key).or_insert(number);
            }
        }
        Self(lines)
    }

    /// The line of this very key.
    #[cfg(test)]
    pub(super) fn exact(&self, key: &str) -> Option<usize> {
        self.0.get(key).copied()
    }

    /// The line of a key, else of the nearest thing around it.
    pub(super) fn line_of(&self, key: &str) -> Option<usize> {
        let mut key = key;
        loop {
            if let Some(line) = self.0.get(key) {
                return Some(*line);
            }
            key = &key[..key.rfind(['.', '['])?];
        }
    }
}

/// The delimiter of the multi-line string that is open after this line.
fn string_left_open<'d>(line: &str, open: Option<&'d str>) -> Option<&'d str> {
    let mut open = open;
    let mut rest = line;
    loop {
        let next = match open {
            Some(delimiter) => rest.find(delimiter),
            None if rest.trim_start().starts_with('#') => None,
            None => [r#"""""#, "'''"].iter().filter_map(|d| rest.find(d)).min(),
        };
        let Some(at) = next else { return open };
        open = match open {
            Some(_) => None,
            None if rest[at..].starts_with('"') => Some(r#"""""#),
            None => Some("'''"),
        };
        rest = &rest[at + 3..];
    }
}

fn between(line: &str, start: &str, end: &str) -> Option<String> {
    let inner = line.strip_prefix(start)?;
    Some(bare(&inner[..inner.find(end)?]))
}

/// `a . "b"` as `a.b`.
fn bare(key: &str) -> String {
    let parts = key
        .split('.')
        .map(|part| part.trim().trim_matches(['"', '\'']));
    parts.collect::<Vec<_>>().join(".")
}

/// `[watch.gate]` belongs to the newest `[[watch]]`.
fn within_newest_item(name: &str, lists: &BTreeMap<String, usize>) -> String {
    match name.split_once('.') {
        Some((list, rest)) => match lists.get(list) {
            Some(index) => format!("{list}[{index}].{rest}"),
            None => name.to_owned(),
        },
        None => name.to_owned(),
    }
}

fn key_of(line: &str) -> Option<String> {
    let (key, _) = line.split_once('=')?;
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | '"' | '\'');
    (!key.trim().is_empty() && key.chars().all(allowed)).then(|| bare(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_sections_lists_and_their_tables() {
        let text = r#"# settings
[poll]
pending = "5s"
[[watch]]
scope = "a"
[watch.gate]
idle = true
[[watch]]
scope = """
scope = "no"
"""
labels = { app = "api" }
"#;
        let lines = Lines::of(text);
        let cases = [
            ("poll.pending", Some(3)),
            ("poll", Some(2)),
            ("poll.timeout", Some(2)),
            ("watch[0].scope", Some(5)),
            ("watch[0].gate.idle", Some(7)),
            ("watch[1].scope", Some(9)),
            ("watch[1].labels.app", Some(12)),
            ("watch[1].file", Some(8)),
            ("store.folder", None),
        ];
        for (key, expected) in cases {
            assert_eq!(lines.line_of(key), expected, "{key}");
        }
    }
}
