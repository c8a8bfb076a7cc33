//! What is wrong with settings, told all at once.

use std::fmt;
use std::path::PathBuf;

/// Who set a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody: it is the default, or it is missing.
    Default,
    /// A file.
    File {
        /// As it was named.
        path: PathBuf,
        /// Counted from 1; nothing where it could not be told.
        line: Option<usize>,
    },
    /// The environment variable of this name.
    Variable(String),
    /// The flag of this name, with its hyphens.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::File {
                path,
                line: Some(line),
            } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Who set it.
    pub origin: Origin,
    /// The key, such as `poll.pending` or `receiver[0].url` (counted from 0, over all files); empty
    /// where it is the file as a whole.
    pub key: String,
    /// What is wrong. Holds no secret.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// One line: origin, key, what is wrong; what to do.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = format!("{}: ", self.origin);
        if !self.key.is_empty() {
            line += &format!("{}: ", self.key);
        }
        line += &format!("{}; {}", self.what, self.remedy);
        // Names and values come from outside: they must not break the line or drive a terminal.
        for c in line.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

/// Why there are no settings: at least one problem, in the order of files and lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    problems: Vec<Problem>,
}

impl SettingsError {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.origin.cmp(&b.origin));
        Self { problems }
    }

    /// Every problem that was found.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for SettingsError {}

/// One line for each problem, without a line break after the last.
impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
