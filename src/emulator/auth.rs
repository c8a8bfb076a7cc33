//! Who may call: dates, keys, signatures and nonces.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::refusal::Refusal;
use crate::core::time::Timestamp;
use crate::ecs::sign::{Authorization, SignedParts, decode_query, sha256_hex};

/// The access key's ID. Not a secret, and fixed, so that a command line can be written down.
pub const ACCESS_KEY_ID: &str = "emulator-access-key";

/// What the access key signs with. Not a secret: the emulator listens on loopback only, and its
/// instances are not real.
pub const ACCESS_KEY_SECRET: &str = "emulator-secret";

/// How far a request's date may be from the server's time, either way.
const DATE_TOLERANCE: Duration = Duration::from_mins(15);

/// How long a nonce is remembered. After twice the tolerance its date is refused anyway.
const NONCE_LIFETIME: Duration = Duration::from_mins(30);

/// How many nonces are remembered; the oldest are forgotten first. At 300 calls a minute 9,000
/// are in their lifetime.
const NONCES_KEPT: usize = 100_000;

/// A request as it came over HTTP.
#[derive(Debug, Clone)]
pub(super) struct ApiRequest {
    /// In upper case.
    pub(super) method: String,
    /// The query as sent.
    pub(super) raw_query: String,
    /// Every header, in any case.
    pub(super) headers: Vec<(String, String)>,
    /// The body.
    pub(super) body: Vec<u8>,
}

impl ApiRequest {
    /// The value of a header; nothing where it is missing or empty.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }
}

/// Checks that a request is signed with the key, recent, and not sent before, in that order of
/// codes in which the cloud is known to refuse. Answers the decoded query.
///
/// A security token is accepted as it is: the one key stands for temporary keys as well.
pub(super) fn verify(
    request: &ApiRequest,
    nonces: &mut Nonces,
    now: Timestamp,
) -> Result<Vec<(String, String)>, Refusal> {
    let authorization = request
        .header("authorization")
        .ok_or_else(Refusal::incomplete_signature)?;
    let authorization =
        Authorization::parse(authorization).map_err(|_| Refusal::incomplete_signature())?;
    let date = request
        .header("x-acs-date")
        .ok_or_else(|| Refusal::missing("Timestamp"))?;
    let nonce = request
        .header("x-acs-signature-nonce")
        .ok_or_else(|| Refusal::missing("SignatureNonce"))?;
    let date = Timestamp::parse_rfc3339(date).ok_or_else(Refusal::timestamp_format)?;
    if now.saturating_since(date).max(date.saturating_since(now)) > DATE_TOLERANCE {
        return Err(Refusal::timestamp_expired());
    }
    if authorization.access_key_id != ACCESS_KEY_ID {
        return Err(Refusal::unknown_access_key());
    }
    let query = decode_query(&request.raw_query);
    let parts = SignedParts {
        method: &request.method,
        path: "/",
        query: &query,
        headers: &request.headers,
        payload_sha256: &sha256_hex(&request.body),
    };
    authorization
        .verify(&parts, ACCESS_KEY_SECRET)
        .map_err(|mismatch| Refusal::wrong_signature(&mismatch))?;
    if !nonces.take(nonce, now) {
        return Err(Refusal::nonce_used());
    }
    Ok(query)
}

/// The nonces of the last half hour.
#[derive(Debug, Default)]
pub(super) struct Nonces {
    by_age: VecDeque<(Timestamp, String)>,
    known: HashSet<String>,
}

impl Nonces {
    /// Remembers a nonce. Answers whether it was new.
    pub(super) fn take(&mut self, nonce: &str, now: Timestamp) -> bool {
        self.forget(now);
        // Of one length whatever a client sends, so that the bound on their number is one on
        // memory.
        let digest = sha256_hex(nonce.as_bytes());
        let new = self.known.insert(digest.clone());
        if new {
            self.by_age.push_back((now, digest));
        }
        new
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some((at, digest)) = self.by_age.front()
            && (now.saturating_since(*at) > NONCE_LIFETIME || self.by_age.len() >= NONCES_KEPT)
        {
            self.known.remove(digest);
            self.by_age.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_new_once_in_half_an_hour() {
        let at = Timestamp::from_seconds;
        let mut nonces = Nonces::default();
        assert!(nonces.take("a", at(0)));
        assert!(nonces.take("b", at(1)));
        assert!(!nonces.take("a", at(1800)));
        assert!(nonces.take("a", at(1801)));
        assert!(!nonces.take("b", at(1801)));
    }

    #[test]
    fn remembered_nonces_are_bounded() {
        let mut nonces = Nonces::default();
        for number in 0..=NONCES_KEPT {
            assert!(nonces.take(&number.to_string(), Timestamp::from_seconds(0)));
        }
        assert_eq!(nonces.by_age.len(), NONCES_KEPT);
        assert_eq!(nonces.known.len(), NONCES_KEPT);
    }
}
