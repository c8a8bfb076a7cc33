//! Names of things: instances, scopes, receivers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidName {
    /// Not the ID of an instance.
    #[error(
        "`{0}` is not an instance ID: expected `i-` (ECS) or `mi-` (managed) and then up to 61 \
         lower-case letters, digits or hyphens"
    )]
    Instance(String),
    /// Not a name a scope or a receiver can have.
    #[error(
        "`{0}` is not a name: expected 1 to 64 lower-case letters, digits, `.`, `_` or `-`, \
         beginning with a letter or a digit"
    )]
    Name(String),
}

/// The ID of an instance: `i-...` (ECS) or `mi-...` (managed).
///
/// Its alphabet has no `/`, no `.` and no blank, so it is safe as a file name and in a URL.
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(Arc<str>);

impl InstanceId {
    /// The ID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InstanceId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let rest = text.strip_prefix("i-").or_else(|| text.strip_prefix("mi-"));
        let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        match rest {
            Some(rest) if (1..=61).contains(&rest.len()) && rest.bytes().all(allowed) => {
                Ok(Self(Arc::from(text)))
            }
            _ => Err(InvalidName::Instance(text.to_owned())),
        }
    }
}

fn parse_name(text: &str) -> Result<Arc<str>, InvalidName> {
    let allowed =
        |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'_' | b'-');
    let begins_well = text
        .bytes()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric());
    if begins_well && text.len() <= 64 && text.bytes().all(allowed) {
        Ok(Arc::from(text))
    } else {
        Err(InvalidName::Name(text.to_owned()))
    }
}

/// The name of a scope: one (credential profile, region). Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeName(Arc<str>);

impl ScopeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ScopeName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        parse_name(text).map(Self)
    }
}

/// The name of a receiver: a configured destination of events. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiverName(Arc<str>);

impl ReceiverName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReceiverName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        parse_name(text).map(Self)
    }
}

/// Names print as their text and travel as strings, validated on the way in.
macro_rules! textual {
    ($($name:ident),+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )+};
}

textual!(InstanceId, ScopeName, ReceiverName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_ids_are_ecs_or_managed_and_safe_as_file_names() {
        for good in ["i-bp1iudwa5b1tqa0001", "mi-hz018jrc1o0", "i-0"] {
            assert!(good.parse::<InstanceId>().is_ok(), "{good}");
        }
        let long = format!("i-{}", "a".repeat(62));
        for bad in [
            "", "i-", "mi-", "bp1", "i-../etc", "i-A", "i-a b", "i-a/b", "i-ä", &long,
        ] {
            assert!(bad.parse::<InstanceId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_begin_with_a_letter_or_digit() {
        for good in ["prod", "prod.cn-hangzhou", "9_a"] {
            assert!(good.parse::<ScopeName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a/b", "A", "a b", &"a".repeat(65)] {
            assert!(bad.parse::<ReceiverName>().is_err(), "{bad}");
        }
    }
}
