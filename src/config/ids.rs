//! Files with one instance ID a line.

use crate::core::id::InstanceId;

/// What a file of IDs holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ids {
    /// The IDs, with repetitions.
    pub(super) ids: Vec<InstanceId>,
    /// The lines that are neither an ID nor blank nor a comment, counted from 1.
    pub(super) bad_lines: Vec<usize>,
}

/// Reads one ID a line. Blank lines, lines that begin with `#`, and blanks around an ID are skipped;
/// lines may end in CRLF.
pub(super) fn parse(text: &str) -> Ids {
    let mut ids = Vec::new();
    let mut bad_lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.parse() {
            Ok(id) => ids.push(id),
            Err(_) => bad_lines.push(number),
        }
    }
    Ids { ids, bad_lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_comments_and_crlf_are_skipped_and_bad_lines_are_counted() {
        let parsed = parse("# fleet\r\ni-a\r\n\r\n  mi-b \nnonsense\n  # more\ni-a\ni-C\n");
        assert_eq!(
            parsed
                .ids
                .iter()
                .map(InstanceId::as_str)
                .collect::<Vec<_>>(),
            ["i-a", "mi-b", "i-a"]
        );
        assert_eq!(parsed.bad_lines, [5, 8]);
    }
}
