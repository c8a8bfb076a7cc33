//! Where credentials are looked for, and in which order.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::{CredentialError, Credentials, environment, profile, retry};
use crate::environment::Environment;

/// A place, or an order of places, to load credentials from. Nothing is read before it is asked,
/// and a file is read anew each time, so rotated keys are found.
#[derive(Debug, Clone)]
pub struct CredentialSource {
    profile: Option<String>,
    config_file: Option<PathBuf>,
    environment: Environment,
}

impl CredentialSource {
    /// With a `profile`, only that profile of the file of the aliyun command line; without one,
    /// the environment's variables and then the file, in it the profile that
    /// `ALIBABA_CLOUD_PROFILE` names, else its current one. `config_file` is
    /// `~/.aliyun/config.json` where it is `None`.
    #[must_use]
    pub fn new(
        profile: Option<String>,
        config_file: Option<PathBuf>,
        environment: &Environment,
    ) -> Self {
        Self {
            profile,
            config_file,
            environment: environment.clone(),
        }
    }

    /// Loads credentials once.
    ///
    /// # Errors
    ///
    /// Where there are none, or those that there are cannot be used;
    /// [`CredentialError::is_passing`] says whether to try again makes sense.
    pub async fn load(&self) -> Result<Credentials, CredentialError> {
        if self.profile.is_none()
            && let Some(credentials) = environment::load(&self.environment)?
        {
            return Ok(credentials);
        }
        let path = self.path()?;
        let content = match read(path.clone()).await {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.profile.is_none() => {
                return Err(CredentialError::Nowhere { path });
            }
            Err(source) => return Err(CredentialError::Unreadable { path, source }),
        };
        profile::load(&content, &path, self.profile_name())
    }

    /// Loads credentials at the start of a service, when the file may be about to be written:
    /// tries again for up to `patience` while the reason may pass.
    ///
    /// # Errors
    ///
    /// The last reason where patience ran out; at once, one that does not pass.
    pub async fn load_at_start(&self, patience: Duration) -> Result<Credentials, CredentialError> {
        retry::until_loaded(patience, || self.load()).await
    }

    fn path(&self) -> Result<PathBuf, CredentialError> {
        let in_home = || {
            let home = self.environment.path("HOME")?;
            Some(home.join(".aliyun").join("config.json"))
        };
        self.config_file
            .clone()
            .or_else(in_home)
            .ok_or(CredentialError::NoHome)
    }

    fn profile_name(&self) -> Option<&str> {
        self.profile
            .as_deref()
            .or_else(|| self.environment.get("ALIBABA_CLOUD_PROFILE"))
    }
}

/// Reads a file beside the runtime's threads: a home directory may be on a network.
async fn read(path: PathBuf) -> io::Result<Vec<u8>> {
    tokio::task::spawn_blocking(move || std::fs::read(path))
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"current":"a","profiles":[
        {"name":"a","mode":"AK","access_key_id":"id-a","access_key_secret":"s"},
        {"name":"b","mode":"AK","access_key_id":"id-b","access_key_secret":"s"}]}"#;

    const KEYS: [(&str, &str); 2] = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "id-env"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s"),
    ];

    #[tokio::test]
    async fn a_name_means_that_profile_only_and_without_one_the_environment_is_first() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, FILE).unwrap();
        let named_by_variable = [("ALIBABA_CLOUD_PROFILE", "b")];
        for (name, environment, expected) in [
            (None, Environment::from(KEYS), "id-env"),
            (Some("b"), Environment::from(KEYS), "id-b"),
            (None, Environment::default(), "id-a"),
            (None, Environment::from(named_by_variable), "id-b"),
            (Some("a"), Environment::from(named_by_variable), "id-a"),
        ] {
            let name = name.map(str::to_owned);
            let source = CredentialSource::new(name, Some(file.clone()), &environment);
            assert_eq!(source.load().await.unwrap().access_key_id, expected);
        }
    }

    #[tokio::test]
    async fn the_file_is_looked_for_at_home() {
        let home = tempfile::tempdir().unwrap();
        let environment = Environment::from([("HOME", home.path().to_str().unwrap())]);
        let source = CredentialSource::new(None, None, &environment);
        let error = source.load().await.unwrap_err();
        assert!(matches!(error, CredentialError::Nowhere { .. }), "{error}");
        assert!(error.is_passing());

        let folder = home.path().join(".aliyun");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("config.json"), FILE).unwrap();
        assert_eq!(source.load().await.unwrap().access_key_id, "id-a");

        let homeless = CredentialSource::new(None, None, &Environment::default());
        let error = homeless.load().await.unwrap_err();
        assert!(matches!(error, CredentialError::NoHome), "{error}");
    }

    #[tokio::test]
    async fn a_named_profile_of_a_missing_file_says_which_file() {
        let missing = PathBuf::from("/nonexistent/config.json");
        let environment = Environment::from(KEYS);
        let source = CredentialSource::new(Some("a".to_owned()), Some(missing), &environment);
        let error = source.load().await.unwrap_err();
        assert!(error.to_string().contains("/nonexistent/config.json"));
        assert!(error.is_passing());
    }
}
