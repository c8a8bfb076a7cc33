//! Keys in environment variables, under the names every official SDK reads.

use super::{CredentialError, Credentials};
use crate::environment::Environment;

const ID: &str = "ALIBABA_CLOUD_ACCESS_KEY_ID";
const SECRET: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
const TOKEN: &str = "ALIBABA_CLOUD_SECURITY_TOKEN";

/// The keys in the environment; nothing where neither of the two variables is set.
///
/// # Errors
///
/// Where one is set without the other: to go on to the next source would use a key nobody meant.
pub(super) fn load(environment: &Environment) -> Result<Option<Credentials>, CredentialError> {
    let incomplete = |missing| CredentialError::Incomplete {
        origin: "the environment".to_owned(),
        missing,
    };
    match (environment.get(ID), environment.get(SECRET)) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(incomplete(SECRET)),
        (None, Some(_)) => Err(incomplete(ID)),
        (Some(id), Some(secret)) => {
            Credentials::new(id, secret, environment.get(TOKEN), "the environment").map(Some)
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn keys_come_whole_or_not_at_all() {
        assert!(load(&Environment::default()).unwrap().is_none());
        let full = Environment::from([(ID, "id"), (SECRET, "s"), (TOKEN, "t")]);
        let credentials = load(&full).unwrap().unwrap();
        assert_eq!(credentials.access_key_id, "id");
        assert_eq!(credentials.secret.expose_secret(), "s");
        let token = credentials.security_token.unwrap();
        assert_eq!(token.expose_secret(), "t");
        for (present, missing) in [(ID, SECRET), (SECRET, ID)] {
            let half = Environment::from([(present, "hush")]);
            let message = load(&half).unwrap_err().to_string();
            assert!(message.contains(missing), "{message}");
            assert!(!message.contains("hush"), "{message}");
        }
    }
}
