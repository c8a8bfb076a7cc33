//! What the service's refusals mean.
//!
//! They are told apart by their code, not by their status: the same code comes with different
//! ones (`ServiceUnavailable` with 500 and with 503). Sources: the operation's API page, the
//! common error codes of ECS and of the gateway, and replies seen by others.

use std::fmt;
use std::time::Duration;

use super::wire::ErrorBody;
use crate::core::call::Disposition;

/// How much of the service's own sentence is repeated, in characters.
const MESSAGE_MAX: usize = 300;

/// The kinds of reasons for which the service refuses a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// At least one ID does not exist.
    NotFound,
    /// Too many calls.
    Throttled,
    /// The access key is unknown, disabled or missing.
    Key,
    /// The secret does not belong to the key.
    Signature,
    /// The security token is expired, malformed or another key's.
    Token,
    /// The request's date is too far from the service's.
    Clock,
    /// The key may not do this.
    Permission,
    /// There is no such region, or it does not have this operation.
    Region,
    /// The service does not understand the call.
    Call,
    /// A failure on its side, or one that the next call cannot have again.
    Passing,
}

impl Cause {
    /// Classifies a refusal. Codes are compared as documented; several come with endings.
    fn of(code: &str, status: u16, message: &str) -> Self {
        let begins = |beginnings: &[&str]| beginnings.iter().any(|b| code.starts_with(b));
        if code.contains("Throttling") || status == 429 {
            Self::Throttled
        } else if NOT_FOUND.contains(&code) {
            Self::NotFound
        } else if begins(&["InvalidAccessKeyId", "MissingAccessKeyId"])
            || code == "Forbidden.AccessKeyDisabled"
        {
            Self::Key
        } else if begins(&["SignatureDoesNotMatch", "IncompleteSignature"]) {
            Self::Signature
        } else if begins(&["InvalidSecurityToken", "MissingSecurityToken"])
            || (code == "InvalidParameter" && message.contains("SecurityToken"))
        {
            Self::Token
        } else if code == "InvalidTimeStamp.Expired" {
            Self::Clock
        } else if begins(&["Forbidden", "NoPermission", "Operation.Forbidden"]) {
            Self::Permission
        } else if begins(&["InvalidRegionId", "RegionId.", "MissingRegionId"]) {
            Self::Region
        } else if begins(&["InternalError", "ServiceUnavailable"])
            || ["UnknownError", "SignatureNonceUsed"].contains(&code)
            || PASSING_STATUS.contains(&status)
            || !(400..500).contains(&status)
        {
            Self::Passing
        } else {
            Self::Call
        }
    }

    /// What it means, and what to do.
    const fn advice(self) -> &'static str {
        match self {
            Self::NotFound => "at least one of the instances does not exist in this region",
            Self::Throttled => {
                "the account made too many calls in this minute; they are slowed down"
            }
            Self::Key => {
                "the access key is unknown or disabled; put a valid one into the profile or the \
                 environment"
            }
            Self::Signature => {
                "the secret does not belong to the access key; copy both again into the profile \
                 or the environment"
            }
            Self::Token => {
                "the security token is expired, or belongs to another key; get new temporary keys"
            }
            Self::Clock => {
                "this machine's clock is more than 15 minutes off; set it (the next call is dated \
                 by the service's clock)"
            }
            Self::Permission => {
                "the access key may not do this; grant it the RAM action \
                 ecs:DescribeCloudAssistantStatus"
            }
            Self::Region => {
                "the service does not know this region, or has no Cloud Assistant in it; correct \
                 the region"
            }
            Self::Call => {
                "the service does not understand the call; if the endpoint is the right one, \
                 report it as a fault of readygate"
            }
            Self::Passing => "the service has trouble; it is asked again",
        }
    }
}

const NOT_FOUND: [&str; 3] = [
    "InvalidInstance.NotFound",
    "InvalidInstanceIds.NotFound",
    "InvalidInstanceId.NotFound",
];

/// Below 500, and still nothing that somebody has to change: request time-out, too early.
const PASSING_STATUS: [u16; 2] = [408, 425];

/// A reply of the service, or of something in front of it, that refuses the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The service's code; nothing where the reply has none, as those of proxies.
    pub code: Option<String>,
    /// What it is about.
    pub cause: Cause,
    /// Whether other credentials than the refused ones have been found since.
    pub renewed: bool,
    message: String,
    request_id: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal by the service. `retry_after` is the reply's `x-acs-retry-after`.
    #[must_use]
    pub fn by_service(status: u16, body: &ErrorBody, retry_after: Option<Duration>) -> Self {
        let cause = Cause::of(&body.code, status, &body.message);
        Self {
            status,
            code: Some(body.code.clone()),
            cause,
            renewed: false,
            message: repeatable(cause, &body.message),
            request_id: body.request_id.clone(),
            retry_after,
        }
    }

    /// A status of failure whose body is not the service's: a proxy's or another server's.
    #[must_use]
    pub fn by_status(status: u16, retry_after: Option<Duration>) -> Self {
        let cause = match status {
            429 => Cause::Throttled,
            500.. => Cause::Passing,
            _ if PASSING_STATUS.contains(&status) => Cause::Passing,
            _ => Cause::Call,
        };
        Self {
            status,
            code: None,
            cause,
            renewed: false,
            message: String::new(),
            request_id: String::new(),
            retry_after,
        }
    }

    /// What it means for the calls after it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        let after = self.retry_after;
        match self.cause {
            Cause::NotFound => Disposition::NotFound,
            Cause::Throttled => Disposition::Throttled { after },
            // Newer gateways throttle with any code; the header is what tells.
            Cause::Passing | Cause::Call if after.is_some() => Disposition::Throttled { after },
            Cause::Passing | Cause::Clock => Disposition::Retry,
            Cause::Key | Cause::Signature | Cause::Token | Cause::Permission if self.renewed => {
                Disposition::Retry
            }
            Cause::Key
            | Cause::Signature
            | Cause::Token
            | Cause::Permission
            | Cause::Region
            | Cause::Call => Disposition::Permanent,
        }
    }

    /// Whether other credentials could help.
    #[must_use]
    pub const fn blames_credentials(&self) -> bool {
        match self.cause {
            Cause::Key | Cause::Signature | Cause::Token | Cause::Permission => true,
            Cause::NotFound
            | Cause::Throttled
            | Cause::Clock
            | Cause::Region
            | Cause::Call
            | Cause::Passing => false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(code) = &self.code else {
            return write!(
                f,
                "something answered {} that is not the cloud API, a proxy perhaps; if it stays, \
                 check the endpoint",
                self.status
            );
        };
        write!(f, "refused with {} {code}", self.status)?;
        if !self.message.is_empty() {
            write!(f, " ({})", self.message)?;
        }
        if !self.request_id.is_empty() {
            write!(f, ", request {}", self.request_id)?;
        }
        write!(f, ": {}", self.cause.advice())?;
        if self.renewed {
            f.write_str("; other credentials were found and are used from now on")?;
        }
        Ok(())
    }
}

/// The service's sentence, as far as it may be repeated: on one line, not endless, and not at all
/// where it echoes the request. Those about signatures do, security token included.
fn repeatable(cause: Cause, message: &str) -> String {
    let lower = message.to_ascii_lowercase();
    let echoes = ["string to sign", "stringtosign", "canonicalrequest"];
    if cause == Cause::Signature || echoes.iter().any(|word| lower.contains(word)) {
        return String::new();
    }
    message
        .chars()
        .take(MESSAGE_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests;
