//! Patience while a service starts: credentials may be written a moment after it.
//!
//! This is the one file that uses the crate `backoff`. It is unmaintained (RUSTSEC-2025-0012) and
//! brings `instant`, which is unmaintained too (RUSTSEC-2024-0384). Both advisories are
//! informational: no flaw is known, there is only nobody to mend one. It stays because what it
//! does here is small and away from the network: it computes pauses between reads of a local
//! file. Nothing else may build on it, so that to take it out is to rewrite one function.

use std::future::Future;
use std::time::Duration;

use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

use super::{CredentialError, Credentials};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A file that appears is noticed at most this much later, give or take half of it.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Calls `load` until it gives credentials, fails for a reason that does not pass, or `patience`
/// has run out; gives the last error then.
pub(super) async fn until_loaded<F>(
    patience: Duration,
    load: impl Fn() -> F,
) -> Result<Credentials, CredentialError>
where
    F: Future<Output = Result<Credentials, CredentialError>>,
{
    let pauses: ExponentialBackoff = ExponentialBackoffBuilder::new()
        .with_initial_interval(FIRST_PAUSE)
        .with_max_interval(LONGEST_PAUSE)
        .with_max_elapsed_time(Some(patience))
        .build();
    backoff::future::retry(pauses, || {
        let attempt = load();
        async { attempt.await.map_err(classify) }
    })
    .await
}

fn classify(error: CredentialError) -> backoff::Error<CredentialError> {
    if error.is_passing() {
        backoff::Error::transient(error)
    } else {
        backoff::Error::permanent(error)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::PathBuf;

    use super::*;

    fn not_there_yet() -> CredentialError {
        CredentialError::Nowhere {
            path: PathBuf::from("/x/config.json"),
        }
    }

    #[tokio::test]
    async fn a_file_that_comes_late_is_waited_for() {
        let attempts = Cell::new(0);
        let loaded = until_loaded(Duration::from_secs(60), || {
            attempts.set(attempts.get() + 1);
            let attempt = attempts.get();
            async move {
                if attempt < 3 {
                    Err(not_there_yet())
                } else {
                    Credentials::new("id", "secret", None, "a test")
                }
            }
        })
        .await;
        assert_eq!(loaded.unwrap().access_key_id, "id");
        assert_eq!(attempts.get(), 3);
    }

    #[tokio::test]
    async fn what_does_not_pass_is_told_at_once_and_patience_ends() {
        for (error, patience) in [
            (CredentialError::NoHome, Duration::from_secs(60)),
            (not_there_yet(), Duration::ZERO),
        ] {
            let expected = error.to_string();
            let error = Cell::new(Some(error));
            let given = until_loaded(patience, || {
                let error = error.take().unwrap();
                async move { Err(error) }
            })
            .await;
            assert_eq!(given.unwrap_err().to_string(), expected);
        }
    }
}
