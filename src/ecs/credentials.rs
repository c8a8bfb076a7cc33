//! Who asks: access keys, and where they come from.

use std::fmt;
use std::io;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;

mod cached;
mod environment;
mod profile;
mod retry;
mod source;

pub use cached::CachedCredentials;
pub use source::CredentialSource;

/// What a request is signed with.
#[derive(Clone)]
pub struct Credentials {
    /// Names the key. Not a secret.
    pub access_key_id: String,
    /// The key.
    pub secret: SecretString,
    /// Sent along with temporary keys.
    pub security_token: Option<SecretString>,
}

impl Credentials {
    /// Puts credentials together from texts as they were found; blanks around them are dropped,
    /// since a line break at the end of a secret is the classic mistake.
    fn new(
        access_key_id: &str,
        secret: &str,
        security_token: Option<&str>,
        origin: impl fmt::Display,
    ) -> Result<Self, CredentialError> {
        let clean = |what, text: &str| {
            let text = text.trim();
            if !text.is_empty() && text.bytes().all(|c| c.is_ascii_graphic()) {
                Ok(text.to_owned())
            } else {
                Err(CredentialError::Malformed {
                    origin: origin.to_string(),
                    what,
                })
            }
        };
        Ok(Self {
            access_key_id: clean("access key ID", access_key_id)?,
            secret: clean("access key secret", secret)?.into(),
            security_token: security_token
                .map(|token| clean("security token", token).map(SecretString::from))
                .transpose()?,
        })
    }

    fn same_as(&self, other: &Self) -> bool {
        let token = |credentials: &Self| {
            let token = credentials.security_token.as_ref();
            token.map(|token| token.expose_secret().to_owned())
        };
        self.access_key_id == other.access_key_id
            && self.secret.expose_secret() == other.secret.expose_secret()
            && token(self) == token(other)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .field("temporary", &self.security_token.is_some())
            .finish_non_exhaustive()
    }
}

/// Why there are no credentials. Names files, profiles and variables, never their values.
#[derive(Debug, Error)]
pub enum CredentialError {
    /// Nowhere to look.
    #[error(
        "could not find credentials: neither ALIBABA_CLOUD_ACCESS_KEY_ID nor HOME is set, so there \
         is no key and no place to look for one; set the variables or name a file"
    )]
    NoHome,
    /// Looked everywhere.
    #[error(
        "could not find credentials: ALIBABA_CLOUD_ACCESS_KEY_ID is not set and {} does not exist; \
         set the variables, or run `aliyun configure`", path.display()
    )]
    Nowhere {
        /// The file that is not there.
        path: PathBuf,
    },
    /// The file is there, or was asked for, and could not be read.
    #[error("could not read credentials from {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what the cloud's command line writes, or not yet all of it. The parser's
    /// own words are left out: they can quote the file.
    #[error(
        "could not read credentials from {}: it is not whole JSON of the aliyun command line, see \
         line {line}, column {column}", path.display()
    )]
    NotJson {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// The file has no such profile.
    #[error(
        "could not find the profile `{profile}` in {}: it has {}", path.display(), listed(known)
    )]
    UnknownProfile {
        /// The file.
        path: PathBuf,
        /// The profile asked for.
        profile: String,
        /// The profiles there are.
        known: Vec<String>,
    },
    /// The profile's way to get keys is not one of ours.
    #[error(
        "could not use the profile `{profile}` of {}: its mode is `{mode}`, and readygate loads \
         `AK` and `StsToken`; configure a profile of one of these modes", path.display()
    )]
    UnsupportedMode {
        /// The file.
        path: PathBuf,
        /// The profile.
        profile: String,
        /// Its mode.
        mode: String,
    },
    /// A part is missing.
    #[error("could not use the credentials of {origin}: there is no {missing}; add it")]
    Incomplete {
        /// The environment, or a profile of a file.
        origin: String,
        /// What is missing.
        missing: &'static str,
    },
    /// A part cannot be what it should be.
    #[error(
        "could not use the credentials of {origin}: the {what} is empty or has characters in it \
         that none has; copy it again"
    )]
    Malformed {
        /// The environment, or a profile of a file.
        origin: String,
        /// The part.
        what: &'static str,
    },
}

impl CredentialError {
    /// Whether it may go away by itself: a file that is not there yet, or not written to its end.
    /// Everything else waits for somebody to change something.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Nowhere { .. } | Self::NotJson { .. } => true,
            Self::Unreadable { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
            Self::NoHome
            | Self::UnknownProfile { .. }
            | Self::UnsupportedMode { .. }
            | Self::Incomplete { .. }
            | Self::Malformed { .. } => false,
        }
    }
}

fn listed(profiles: &[String]) -> String {
    if profiles.is_empty() {
        "none".to_owned()
    } else {
        format!("`{}`", profiles.join("`, `"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let credentials = Credentials::new("id", "hush", Some("token"), "a test").unwrap();
        let shown = format!("{credentials:?}");
        assert!(shown.contains("id") && !shown.contains("hush") && !shown.contains("token:"));
        assert_eq!(
            shown,
            r#"Credentials { access_key_id: "id", temporary: true, .. }"#
        );
    }

    #[test]
    fn blanks_around_a_key_are_dropped_and_within_are_refused() {
        let credentials = Credentials::new(" id\n", "s\r\n", None, "a test").unwrap();
        assert_eq!(credentials.access_key_id, "id");
        assert_eq!(credentials.secret.expose_secret(), "s");
        for bad in ["", " ", "a b", "a\nb", "schlüssel"] {
            assert!(
                Credentials::new("id", bad, None, "a test").is_err(),
                "{bad}"
            );
            assert!(
                Credentials::new("id", "s", Some(bad), "a test").is_err(),
                "{bad}"
            );
        }
    }
}
