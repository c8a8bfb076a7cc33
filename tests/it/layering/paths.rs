//! The paths a Rust source names, read from its words.

/// Every path in a file, whole: `use a::{b, c::d}` is `a::b` and `a::c::d`, and what is reached by
/// `crate` or `super` begins with `crate`.
pub(super) fn references(text: &str, file: &[String]) -> Vec<String> {
    let words = &words(text);
    let mut references = Vec::new();
    let mut module = file.to_vec();
    let mut open_modules: Vec<usize> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while let Some(word) = words.get(at) {
        match word.as_str() {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if open_modules.last() == Some(&depth) {
                    open_modules.pop();
                    module.pop();
                }
            }
            "mod" if words.get(at + 2).is_some_and(|next| next == "{") => {
                open_modules.push(depth);
                module.push(words[at + 1].clone());
            }
            word if is_name(word) => {
                let mut paths = Vec::new();
                at = path_tree(words, at, &[], &mut paths);
                references.extend(paths.iter().map(|path| absolute(path, &module)));
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    references
}

/// Reads the path or group of paths at `at`, and says where it ends.
fn path_tree(
    words: &[String],
    at: usize,
    before: &[String],
    paths: &mut Vec<Vec<String>>,
) -> usize {
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    if word(at) == "{" {
        let mut at = at + 1;
        while !matches!(word(at), "}" | "") {
            at = if word(at) == "," {
                at + 1
            } else {
                path_tree(words, at, before, paths)
            };
        }
        return at + 1;
    }
    let mut path = before.to_vec();
    path.push(word(at).to_owned());
    let goes_on = is_name(word(at + 2)) || matches!(word(at + 2), "{" | "*");
    if word(at + 1) == "::" && goes_on {
        return path_tree(words, at + 2, &path, paths);
    }
    paths.push(path);
    at + 1
}

fn absolute(path: &[String], module: &[String]) -> String {
    let supers = path.iter().take_while(|part| *part == "super").count();
    if supers == 0 {
        return path.join("::");
    }
    let above = &module[..module.len().saturating_sub(supers)];
    let whole = [&["crate".to_owned()], above, &path[supers..]].concat();
    whole.join("::")
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The names and signs of a source, without comments and without what is in quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if let Some(skipped) = ignored(rest) {
            skipped
        } else if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            let end = end.unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            end
        } else {
            let sign = if rest.starts_with("::") {
                "::"
            } else {
                &rest[..first.len_utf8()]
            };
            words.push(sign.to_owned());
            sign.len()
        };
        rest = &rest[length..];
    }
    words
}

/// How much of what begins here is blank, comment, or quoted.
fn ignored(text: &str) -> Option<usize> {
    if let Some(first) = text.chars().next().filter(|c| c.is_whitespace()) {
        return Some(first.len_utf8());
    }
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    let marks = text.strip_prefix("br").or_else(|| text.strip_prefix('r'));
    if let Some(raw) = marks {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let start = text.len() - raw.len() + hashes + 1;
            let end = format!("\"{}", "#".repeat(hashes));
            return text[start..]
                .find(&end)
                .map(|found| start + found + end.len());
        }
    }
    if let Some(inner) = text.strip_prefix('"') {
        return Some(1 + until_quote(inner, '"'));
    }
    // A quote with one character and a quote is a character; anything else is a lifetime.
    let inner = text.strip_prefix('\'')?;
    if inner.starts_with('\\') {
        return Some(1 + until_quote(inner, '\''));
    }
    let length = inner.chars().next()?.len_utf8();
    Some(if inner[length..].starts_with('\'') {
        length + 2
    } else {
        1
    })
}

/// How long a quoted text is with its closing quote, minding backslashes.
fn until_quote(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == quote && !escaped {
            return at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}
