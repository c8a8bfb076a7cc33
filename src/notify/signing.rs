//! Signatures of webhooks: scheme `v1` of Standard Webhooks 1.0.
//!
//! What is signed is `id.timestamp.body`, with HMAC-SHA256. The ID is the same at every attempt and
//! the timestamp is that of the attempt, so a receiver can drop repeats and refuse old requests.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, ExposeSecretMut, SecretBox};
use sha2::Sha256;
use thiserror::Error;

use crate::core::time::Timestamp;

/// How far the clocks of sender and receiver may be apart, in either direction: what the official
/// libraries of Standard Webhooks allow.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// What a key begins with when it is written down.
const KEY_PREFIX: &str = "whsec_";

/// What a signature of this scheme begins with.
const SCHEME_PREFIX: &str = "v1,";

/// The block of SHA-256 in bytes. The longest key allowed is just as long.
const BLOCK: usize = 64;

/// The fewest bytes a key may have (Standard Webhooks, "Signature scheme").
const SHORTEST_KEY: usize = 24;

/// Why a text is not a signing key. None of these repeats the text: it is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidKey {
    /// It begins with something else.
    #[error("a signing key begins with `whsec_`")]
    Prefix,
    /// What follows the prefix cannot be decoded.
    #[error("after `whsec_` a signing key is standard base64 with its padding")]
    Base64,
    /// It decodes to too few or too many bytes.
    #[error("a signing key has 24 to 64 bytes, this one has {0}")]
    Length(usize),
}

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// The timestamp is not a whole number of seconds.
    #[error("the timestamp is not a whole number of seconds")]
    Timestamp,
    /// It was signed too long ago, or in the future.
    #[error("the timestamp is {0} s away from now, more than 300 s: is one of the clocks wrong?")]
    TooFarFromNow(u64),
    /// No signature of scheme `v1` was made with this key over these bytes.
    #[error("no `v1` signature matches: other key, or other bytes")]
    Mismatch,
}

/// What a receiver is sent beside the body, as it stands in the headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedHeaders<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`, in seconds since 1970.
    pub timestamp: &'a str,
    /// `webhook-signature`: one or several signatures, with blanks between them.
    pub signature: &'a str,
}

/// A symmetric key, wiped from memory when it is dropped and absent from `Debug`.
#[derive(Debug)]
pub struct SigningKey {
    /// Filled up with zeros to one block, as HMAC does with shorter keys (RFC 2104 §2).
    block: SecretBox<[u8; BLOCK]>,
}

impl SigningKey {
    /// Reads `whsec_` and base64. A line end after it is ignored: keys come out of files.
    ///
    /// # Errors
    /// When the prefix is missing, the rest is no base64, or the key is not 24 to 64 bytes long.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let encoded = text
            .trim_end()
            .strip_prefix(KEY_PREFIX)
            .ok_or(InvalidKey::Prefix)?;
        let key = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| InvalidKey::Base64)?);
        if key.len() < SHORTEST_KEY {
            return Err(InvalidKey::Length(key.len()));
        }
        let mut block = SecretBox::new(Box::new([0; BLOCK]));
        block
            .expose_secret_mut()
            .get_mut(..key.len())
            .ok_or(InvalidKey::Length(key.len()))?
            .copy_from_slice(&key);
        Ok(Self { block })
    }

    /// The signature of one attempt: `v1,` and base64, the value of `webhook-signature`.
    ///
    /// `id` has no `.`, as event IDs have none: it is the delimiter of what is signed.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp_seconds: i64, body: &[u8]) -> String {
        let digest = self.digest(id, &timestamp_seconds.to_string(), body);
        let encoded = STANDARD.encode(digest.finalize().into_bytes());
        format!("{SCHEME_PREFIX}{encoded}")
    }

    /// Whether one of the signatures was made with this key over these bytes, within
    /// [`TOLERANCE`] of `now`. Signatures are compared in constant time.
    ///
    /// # Errors
    /// When the timestamp cannot be read or is too far from `now`, or no signature matches.
    pub fn verify(
        &self,
        headers: SignedHeaders<'_>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), VerifyError> {
        let signed_at: i64 = headers
            .timestamp
            .parse()
            .map_err(|_| VerifyError::Timestamp)?;
        let apart = now.as_seconds().abs_diff(signed_at);
        if apart > TOLERANCE.as_secs() {
            return Err(VerifyError::TooFarFromNow(apart));
        }
        let digest = self.digest(headers.id, headers.timestamp, body);
        let matches = headers
            .signature
            .split(' ')
            .filter_map(|signature| signature.strip_prefix(SCHEME_PREFIX))
            .filter_map(|encoded| STANDARD.decode(encoded).ok())
            .any(|claimed| digest.clone().verify_slice(&claimed).is_ok());
        if matches {
            Ok(())
        } else {
            Err(VerifyError::Mismatch)
        }
    }

    fn digest(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut digest = Hmac::<Sha256>::new(self.block.expose_secret().into());
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            digest.update(part);
        }
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const SIGNED_AT: i64 = 1_649_367_553;
    const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;
    const SIGNATURE: &str = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";

    fn key() -> SigningKey {
        SigningKey::parse(KEY).unwrap()
    }

    fn key_of(bytes: usize) -> Result<SigningKey, InvalidKey> {
        SigningKey::parse(&format!("whsec_{}", STANDARD.encode(vec![7; bytes])))
    }

    fn verify_at(seconds: i64, signature: &str, body: &[u8]) -> Result<(), VerifyError> {
        let headers = SignedHeaders {
            id: ID,
            timestamp: "1649367553",
            signature,
        };
        key().verify(headers, body, Timestamp::from_seconds(seconds))
    }

    #[test]
    fn the_known_answer_of_standard_webhooks_comes_out() {
        assert_eq!(key().sign(ID, SIGNED_AT, BODY), SIGNATURE);
        assert_eq!(verify_at(SIGNED_AT, SIGNATURE, BODY), Ok(()));
    }

    #[test]
    fn keys_have_24_to_64_bytes() {
        for (bytes, allowed) in [(23, false), (24, true), (64, true), (65, false), (0, false)] {
            let expected = if allowed {
                None
            } else {
                Some(InvalidKey::Length(bytes))
            };
            assert_eq!(key_of(bytes).err(), expected, "{bytes} bytes");
        }
    }

    #[test]
    fn a_key_of_a_whole_block_signs_like_any_hmac() {
        let mut reference = Hmac::<Sha256>::new_from_slice(&[7; 64]).unwrap();
        reference.update(b"evt_1.5.{}");
        let expected = format!("v1,{}", STANDARD.encode(reference.finalize().into_bytes()));
        assert_eq!(key_of(64).unwrap().sign("evt_1", 5, b"{}"), expected);
    }

    #[test]
    fn a_refused_key_is_not_repeated_and_a_good_one_is_not_shown() {
        let texts = ["hunter2", "whsec_hunter2!", "whsec_aHVudGVyMg=="];
        for text in texts {
            let refused = SigningKey::parse(text).unwrap_err();
            let said = format!("{refused} {refused:?}");
            assert!(
                !said.contains("hunter2") && !said.contains("aHVudGVy"),
                "{said}"
            );
        }
        assert_eq!(format!("{:?}", key()).matches("REDACTED").count(), 1);
    }

    #[test]
    fn a_line_end_after_the_key_is_ignored() {
        let key = SigningKey::parse(&format!("{KEY}\n")).unwrap();
        assert_eq!(key.sign(ID, SIGNED_AT, BODY), SIGNATURE);
    }

    #[test]
    fn one_matching_signature_among_several_is_enough() {
        let several = format!("v1a,AAAA v1,AAAA v1,?? {SIGNATURE}");
        assert_eq!(verify_at(SIGNED_AT, &several, BODY), Ok(()));
        for none in ["", "v1,", "v1,AAAA", &SIGNATURE.replace("v1", "v2")] {
            let verdict = verify_at(SIGNED_AT, none, BODY);
            assert_eq!(verdict, Err(VerifyError::Mismatch), "{none}");
        }
    }

    #[test]
    fn changed_bytes_do_not_verify() {
        let verdict = verify_at(SIGNED_AT, SIGNATURE, b"{}");
        assert_eq!(verdict, Err(VerifyError::Mismatch));
    }

    #[test]
    fn requests_from_more_than_five_minutes_away_are_refused() {
        for (offset, expected) in [
            (300, Ok(())),
            (-300, Ok(())),
            (301, Err(VerifyError::TooFarFromNow(301))),
            (-301, Err(VerifyError::TooFarFromNow(301))),
        ] {
            assert_eq!(verify_at(SIGNED_AT + offset, SIGNATURE, BODY), expected);
        }
    }

    #[test]
    fn a_timestamp_that_is_no_number_is_refused() {
        let headers = SignedHeaders {
            id: ID,
            timestamp: "soon",
            signature: SIGNATURE,
        };
        let verdict = key().verify(headers, BODY, Timestamp::from_seconds(SIGNED_AT));
        assert_eq!(verdict, Err(VerifyError::Timestamp));
    }
}
