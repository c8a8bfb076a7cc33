//! Profiles of the cloud's own command line: `~/.aliyun/config.json`.
//!
//! Source: what aliyun-cli writes. Every key is text; unknown ones are ignored. Modes are spelled
//! with their capitals, as the official libraries demand.

use std::path::Path;

use serde::Deserialize;

use super::{CredentialError, Credentials};

#[derive(Deserialize)]
struct ConfigFile {
    current: Option<String>,
    #[serde(default)]
    profiles: Vec<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    name: Option<String>,
    mode: Option<String>,
    access_key_id: Option<String>,
    access_key_secret: Option<String>,
    sts_token: Option<String>,
}

/// The keys of one profile in the content of the file at `path`. Without a name it is the file's
/// `current` one, or `default`.
///
/// # Errors
///
/// Where the content is not such a file (or not yet all of it), has no such profile, or the
/// profile's keys cannot be used.
pub(super) fn load(
    content: &[u8],
    path: &Path,
    name: Option<&str>,
) -> Result<Credentials, CredentialError> {
    let file: ConfigFile =
        serde_json::from_slice(content).map_err(|error| CredentialError::NotJson {
            path: path.to_owned(),
            line: error.line(),
            column: error.column(),
        })?;
    let name = name
        .or_else(|| file.current.as_deref().filter(|name| !name.is_empty()))
        .unwrap_or("default");
    let profile = file
        .profiles
        .iter()
        .find(|profile| profile.name.as_deref() == Some(name))
        .ok_or_else(|| CredentialError::UnknownProfile {
            path: path.to_owned(),
            profile: name.to_owned(),
            known: file
                .profiles
                .iter()
                .filter_map(|p| p.name.clone())
                .collect(),
        })?;
    profile.credentials(path, name)
}

impl Profile {
    fn credentials(&self, path: &Path, name: &str) -> Result<Credentials, CredentialError> {
        let origin = format!("the profile `{name}` of {}", path.display());
        let needed = |value: &'_ Option<String>, missing| {
            let value = value.clone().filter(|value| !value.is_empty());
            value.ok_or_else(|| CredentialError::Incomplete {
                origin: origin.clone(),
                missing,
            })
        };
        let mode = self.mode.as_deref().unwrap_or_default();
        let temporary = match mode {
            "AK" => false,
            "StsToken" => true,
            _ => {
                return Err(CredentialError::UnsupportedMode {
                    path: path.to_owned(),
                    profile: name.to_owned(),
                    mode: mode.to_owned(),
                });
            }
        };
        let id = needed(&self.access_key_id, "access_key_id")?;
        let secret = needed(&self.access_key_secret, "access_key_secret")?;
        let token = temporary
            .then(|| needed(&self.sts_token, "sts_token"))
            .transpose()?;
        Credentials::new(&id, &secret, token.as_deref(), &origin)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    const FILE: &str = r#"{"current":"work","meta_path":"","profiles":[
        {"name":"default","mode":"AK","access_key_id":"d","access_key_secret":"ds","sts_token":"old"},
        {"name":"work","mode":"StsToken","access_key_id":"w","access_key_secret":"ws",
         "sts_token":"wt","retry_count":3,"region_id":"cn-hangzhou"},
        {"name":"role","mode":"RamRoleArn","access_key_id":"r","access_key_secret":"hush"},
        {"name":"half","mode":"AK","access_key_id":"h","access_key_secret":""},
        {"name":"tokenless","mode":"StsToken","access_key_id":"h","access_key_secret":"hush"}]}"#;

    fn profile(name: Option<&str>) -> Result<Credentials, CredentialError> {
        load(FILE.as_bytes(), Path::new("/x/config.json"), name)
    }

    #[test]
    fn the_named_profile_is_loaded_else_the_current_one() {
        for (name, id, token) in [
            (None, "w", Some("wt")),
            (Some("work"), "w", Some("wt")),
            (Some("default"), "d", None),
        ] {
            let credentials = profile(name).unwrap();
            assert_eq!(credentials.access_key_id, id);
            let found = credentials.security_token.as_ref();
            assert_eq!(found.map(|token| token.expose_secret()), token, "{name:?}");
        }
    }

    #[test]
    fn a_file_without_a_current_profile_means_default() {
        let file = br#"{"profiles":[{"name":"default","mode":"AK","access_key_id":"d",
            "access_key_secret":"s"}]}"#;
        let credentials = load(file, Path::new("f"), None).unwrap();
        assert_eq!(credentials.access_key_id, "d");
    }

    #[test]
    fn what_is_wrong_is_said_with_file_and_profile_and_without_secrets() {
        for (name, words) in [
            (
                "nobody",
                "`nobody` in /x/config.json: it has `default`, `work`",
            ),
            ("role", "`role` of /x/config.json: its mode is `RamRoleArn`"),
            ("half", "no access_key_secret"),
            ("tokenless", "no sts_token"),
        ] {
            let error = profile(Some(name)).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(words), "{message}");
            assert!(!message.contains("hush"), "{message}");
            assert!(!error.is_passing(), "{message}");
        }
    }

    #[test]
    fn half_a_file_may_become_a_whole_one_and_is_not_quoted() {
        for content in [
            &FILE[..200],
            "",
            r#"{"profiles":[{"name":"hush","mode":7}]}"#,
        ] {
            let error = load(content.as_bytes(), Path::new("/x/config.json"), None).unwrap_err();
            assert!(error.is_passing(), "{error}");
            assert!(!format!("{error:?} {error}").contains("hush"), "{error}");
        }
    }
}
