//! The ways in which a call is refused: codes and wording of the cloud.
//!
//! Sources: the API page of 2024-12-17, the ECS table of common error codes, the gateway's codes,
//! and real replies quoted in issue trackers. Where documents disagree, what was seen wins (404
//! for an unknown access key).

use std::time::Duration;

use crate::ecs::sign::SignatureMismatch;

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) status: u16,
    /// The cloud's word for it.
    pub(super) code: String,
    /// The same in a sentence.
    pub(super) message: String,
    /// When to come again: the header `x-acs-retry-after`, in milliseconds.
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            retry_after: None,
        }
    }

    pub(super) fn invalid_version() -> Self {
        let message = "Specified parameter Version is not valid.";
        Self::new(400, "InvalidVersion", message)
    }

    pub(super) fn unknown_action() -> Self {
        let message = "Specified api is not found, please check your url and method.";
        Self::new(404, "InvalidAction.NotFound", message)
    }

    pub(super) fn unsupported_method() -> Self {
        let message = "This http method is not supported.";
        Self::new(403, "UnsupportedHTTPMethod", message)
    }

    /// A parameter that every call needs.
    pub(super) fn missing(name: &str) -> Self {
        let message = format!("{name} is mandatory for this action.");
        Self::new(400, format!("Missing{name}"), message)
    }

    pub(super) fn incomplete_signature() -> Self {
        // The cloud also takes RPC signatures; what this server takes is said in the message.
        let message = "The request signature does not conform to Aliyun standards. \
                       This server verifies ACS3-HMAC-SHA256 in the Authorization header.";
        Self::new(400, "IncompleteSignature", message)
    }

    pub(super) fn timestamp_format() -> Self {
        let message = "Specified time stamp or date value is not well formatted.";
        Self::new(400, "InvalidTimeStamp.Format", message)
    }

    pub(super) fn timestamp_expired() -> Self {
        let message = "Specified time stamp or date value is expired.";
        Self::new(400, "InvalidTimeStamp.Expired", message)
    }

    pub(super) fn unknown_access_key() -> Self {
        let message = "Specified access key is not found.";
        Self::new(404, "InvalidAccessKeyId.NotFound", message)
    }

    /// The real wording tells the client both texts. They contain colons, without which an older
    /// SDK dies over this code: it takes what follows the first one.
    pub(super) fn wrong_signature(mismatch: &SignatureMismatch) -> Self {
        let message = format!(
            "Specified signature does not match our calculation. server StringToSign is [{}] \
             server CanonicalRequest is [{}]",
            mismatch.string_to_sign, mismatch.canonical_request
        );
        Self::new(400, "SignatureDoesNotMatch", message)
    }

    pub(super) fn nonce_used() -> Self {
        let message = "Specified signature nonce was used already.";
        Self::new(400, "SignatureNonceUsed", message)
    }

    pub(super) fn throttled(retry_after: Option<Duration>) -> Self {
        let message = "Request was denied due to user flow control.";
        Self {
            retry_after,
            ..Self::new(400, "Throttling.User", message)
        }
    }

    pub(super) fn unknown_region() -> Self {
        let message = "The RegionId provided does not exist in our records.";
        Self::new(404, "InvalidRegionId.NotFound", message)
    }

    pub(super) fn missing_ids() -> Self {
        let message = "The parameter InstanceId is mandatory for this action.";
        Self::new(400, "MissingParam.InstanceId", message)
    }

    pub(super) fn too_many_ids() -> Self {
        let message = "The number of instance IDs exceeds the limit.";
        Self::new(403, "InstanceIds.ExceedLimit", message)
    }

    pub(super) fn unknown_instance() -> Self {
        let message = "The specified instance does not exist.";
        Self::new(404, "InvalidInstance.NotFound", message)
    }
}
