//! Credentials in use: loaded when first needed, and again after they were refused.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::{CredentialError, CredentialSource, Credentials};

/// The credentials of one source, shared by all calls that use them. At most one load is under
/// way; whoever comes meanwhile waits for its result.
#[derive(Debug)]
pub struct CachedCredentials {
    source: CredentialSource,
    current: Mutex<Option<Arc<Credentials>>>,
}

impl CachedCredentials {
    /// Nothing is loaded yet.
    #[must_use]
    pub fn new(source: CredentialSource) -> Self {
        Self {
            source,
            current: Mutex::new(None),
        }
    }

    /// Loads credentials at the start of a service, see [`CredentialSource::load_at_start`].
    ///
    /// # Errors
    ///
    /// Where there are none that can be used.
    pub async fn load_at_start(&self, patience: Duration) -> Result<(), CredentialError> {
        let mut current = self.current.lock().await;
        *current = Some(Arc::new(self.source.load_at_start(patience).await?));
        Ok(())
    }

    /// The credentials to use; loads them where none are.
    ///
    /// # Errors
    ///
    /// Where there are none that can be used. The next call tries again.
    pub async fn get(&self) -> Result<Arc<Credentials>, CredentialError> {
        let mut current = self.current.lock().await;
        if let Some(credentials) = &*current {
            return Ok(Arc::clone(credentials));
        }
        let loaded = Arc::new(self.source.load().await?);
        *current = Some(Arc::clone(&loaded));
        Ok(loaded)
    }

    /// Looks for other credentials than these, which were refused, and says whether there are:
    /// somebody may have rotated the keys. Where they cannot be loaded none are kept, so that the
    /// next call loads again and tells why it could not.
    pub async fn renew(&self, refused: &Credentials) -> bool {
        let mut current = self.current.lock().await;
        if let Some(credentials) = &*current
            && !credentials.same_as(refused)
        {
            return true;
        }
        *current = self.source.load().await.ok().map(Arc::new);
        current
            .as_ref()
            .is_some_and(|credentials| !credentials.same_as(refused))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::environment::Environment;

    fn write(path: &Path, id: &str) {
        let file = format!(
            r#"{{"profiles":[{{"name":"default","mode":"AK","access_key_id":"{id}",
                "access_key_secret":"s"}}]}}"#
        );
        std::fs::write(path, file).unwrap();
    }

    #[tokio::test]
    async fn keys_are_read_once_until_they_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let source = CredentialSource::new(None, Some(path.clone()), &Environment::default());
        let cached = CachedCredentials::new(source);
        assert!(cached.get().await.is_err());

        write(&path, "old");
        let old = cached.get().await.unwrap();
        assert!(!cached.renew(&old).await, "nothing else was there");
        write(&path, "new");
        assert_eq!(cached.get().await.unwrap().access_key_id, "old");
        assert!(cached.renew(&old).await);
        assert_eq!(cached.get().await.unwrap().access_key_id, "new");

        std::fs::remove_file(&path).unwrap();
        assert!(
            cached.renew(&old).await,
            "a call that began earlier is told of the new keys, without another load"
        );
        let new = cached.get().await.unwrap();
        assert!(!cached.renew(&new).await);
        assert!(cached.get().await.is_err());
    }
}
