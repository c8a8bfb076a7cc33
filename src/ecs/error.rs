//! Why a call brought no rows.

use std::time::Duration;

use thiserror::Error;

use super::credentials::CredentialError;
use super::refusal::Refusal;
use super::wire::read::UnreadableReply;
use crate::core::call::Disposition;

/// Why a call brought no rows. What it means for the calls after it is decided in one place,
/// [`ApiError::disposition`].
///
/// Messages name the endpoint and the region, and never a secret.
#[derive(Debug, Error)]
pub enum ApiError {
    /// There was nothing to sign with; no request was sent.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// No connection, or one that broke before the whole reply was there.
    #[error(
        "could not ask {asked} for the status of instances: {}",
        if source.is_connect() {
            "no connection; check the region, the endpoint and the network"
        } else {
            "the connection broke; it is asked again"
        }
    )]
    Disconnected {
        /// Endpoint and region.
        asked: String,
        /// What happened, without the URL.
        source: reqwest::Error,
    },
    /// The whole reply was not there in time.
    #[error(
        "could not ask {asked} for the status of instances: no whole reply within {limit:?}; \
         check the network, or give it more time"
    )]
    TimedOut {
        /// Endpoint and region.
        asked: String,
        /// The limit.
        limit: Duration,
    },
    /// The reply is longer than any of this operation can be.
    #[error(
        "could not ask {asked} for the status of instances: the reply is longer than {limit} \
         bytes; check that the endpoint is the cloud API"
    )]
    TooLong {
        /// Endpoint and region.
        asked: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// A reply that says success and has nothing readable in it.
    #[error(
        "could not ask {asked} for the status of instances: the reply cannot be read; check that \
         the endpoint is the cloud API"
    )]
    Unreadable {
        /// Endpoint and region.
        asked: String,
        /// What is wrong with it.
        source: UnreadableReply,
    },
    /// The service, or something in front of it, refused.
    #[error("could not ask {asked} for the status of instances: {refusal}")]
    Refused {
        /// Endpoint and region.
        asked: String,
        /// How and why.
        refusal: Box<Refusal>,
    },
}

impl ApiError {
    /// What it means for the calls after it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Credentials(error) if !error.is_passing() => Disposition::Permanent,
            // A reply that cannot be read may be a proxy's, on a bad day.
            Self::Credentials(_)
            | Self::Disconnected { .. }
            | Self::TimedOut { .. }
            | Self::TooLong { .. }
            | Self::Unreadable { .. } => Disposition::Retry,
            Self::Refused { refusal, .. } => refusal.disposition(),
        }
    }

    /// A text that is the same for all failures of one kind, unlike the message, which names the
    /// request: for telling a trouble that lasts once.
    #[must_use]
    pub fn topic(&self) -> String {
        match self {
            Self::Refused { refusal, .. } => refusal
                .code
                .clone()
                .unwrap_or_else(|| refusal.status.to_string()),
            Self::Credentials(_)
            | Self::Disconnected { .. }
            | Self::TimedOut { .. }
            | Self::TooLong { .. }
            | Self::Unreadable { .. } => self.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn asked() -> String {
        "https://ecs.cn-beijing.aliyuncs.com (region cn-beijing)".to_owned()
    }

    #[test]
    fn each_error_says_whether_to_ask_again() {
        let path = PathBuf::from("/x/config.json");
        let limit = Duration::from_secs(10);
        for (error, expected) in [
            (
                ApiError::from(CredentialError::NoHome),
                Disposition::Permanent,
            ),
            (
                ApiError::from(CredentialError::Nowhere { path }),
                Disposition::Retry,
            ),
            (
                ApiError::TimedOut {
                    asked: asked(),
                    limit,
                },
                Disposition::Retry,
            ),
            (
                ApiError::TooLong {
                    asked: asked(),
                    limit: 9,
                },
                Disposition::Retry,
            ),
            (
                ApiError::Unreadable {
                    asked: asked(),
                    source: UnreadableReply::Shape("status set has no list in it"),
                },
                Disposition::Retry,
            ),
            (
                ApiError::Refused {
                    asked: asked(),
                    refusal: Box::new(Refusal::by_status(404, None)),
                },
                Disposition::Permanent,
            ),
        ] {
            assert_eq!(error.disposition(), expected, "{error}");
        }
    }

    #[test]
    fn an_error_says_what_was_done_with_what_why_and_what_to_do() {
        let error = ApiError::TimedOut {
            asked: asked(),
            limit: Duration::from_secs(10),
        };
        assert_eq!(
            error.to_string(),
            "could not ask https://ecs.cn-beijing.aliyuncs.com (region cn-beijing) for the status \
             of instances: no whole reply within 10s; check the network, or give it more time"
        );
    }
}
