//! Signatures of the cloud API, V3 (`ACS3-HMAC-SHA256`), for both sides of the wire.
//!
//! Source: Alibaba Cloud, "V3 request body & signature mechanism". A signer and a verifier have
//! to agree on one canonical form of a request; it is written once, in [`canonical_request`].
//! A verifier never compares raw query strings: clients write the same query in several ways
//! (`+` or `%20` for a space, `*` raw or encoded), so it decodes and encodes again.

use std::fmt::Write as _;

use hmac::digest::common::Key;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// The name of the algorithm: the first word of an `Authorization` value and of a string to sign.
pub const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// SHA-256 of an empty body, in lower-case hexadecimal.
pub const EMPTY_PAYLOAD_SHA256: &str =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// RFC 3986's unreserved characters stay as they are, everything else is encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

type HmacSha256 = Hmac<Sha256>;

/// The parts of a request that a signature covers. Not printable: headers carry security tokens.
#[derive(Clone, Copy)]
pub struct SignedParts<'a> {
    /// The method in upper case.
    pub method: &'a str,
    /// The path as sent; `/` for ECS.
    pub path: &'a str,
    /// The query's names and values, decoded, in any order.
    pub query: &'a [(String, String)],
    /// Headers in any order. A signer's are all signed; a verifier may pass every header of a
    /// request, because only those that the request says it signed are looked at.
    pub headers: &'a [(String, String)],
    /// SHA-256 of the body in lower-case hexadecimal, see [`sha256_hex`].
    pub payload_sha256: &'a str,
}

/// Percent-encodes UTF-8 as RFC 3986 does it most strictly: all but `A-Z a-z 0-9 - _ . ~`.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    lower_hex(&Sha256::digest(bytes))
}

/// Names and values sorted by name in byte order (`InstanceId.10` before `InstanceId.2`), encoded
/// and joined. A client that puts exactly this on the wire cannot disagree with its signature.
#[must_use]
pub fn canonical_query(pairs: &[(String, String)]) -> String {
    let mut sorted: Vec<_> = pairs.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    sorted
        .into_iter()
        .map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// Decodes a raw query string, or a form body, into names and values: `+` and `%20` are both a
/// space. Bytes that are not UTF-8 become U+FFFD, which no signature over them survives.
#[must_use]
pub fn decode_query(raw: &str) -> Vec<(String, String)> {
    let decode = |part: &str| {
        percent_decode_str(&part.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    raw.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

/// The canonical form of a request, with these headers signed (lower-case names, sorted).
///
/// Headers of the same name count as one, their values sorted and joined with `,`. A name without
/// a header counts as an empty value, so that a verifier rejects what a signer cannot have meant.
#[must_use]
pub fn canonical_request(parts: &SignedParts<'_>, signed_headers: &[String]) -> String {
    let mut headers = String::new();
    for name in signed_headers {
        let mut values: Vec<&str> = parts
            .headers
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect();
        values.sort_unstable();
        headers.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    [
        parts.method,
        parts.path,
        &canonical_query(parts.query),
        &headers,
        &signed_headers.join(";"),
        parts.payload_sha256,
    ]
    .join("\n")
}

/// What the key signs: the algorithm's name and the hash of the canonical request.
#[must_use]
pub fn string_to_sign(canonical_request: &str) -> String {
    format!("{ALGORITHM}\n{}", sha256_hex(canonical_request.as_bytes()))
}

/// An `Authorization` value taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// The access key's ID.
    pub access_key_id: String,
    /// Names of the signed headers, in lower case, in the order in which they were signed.
    pub signed_headers: Vec<String>,
    /// The signature in lower-case hexadecimal.
    pub signature: String,
}

/// Why a text is not an `Authorization` value of this algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MalformedAuthorization {
    /// It begins with another word.
    #[error("the authorization does not begin with `{ALGORITHM}`")]
    Algorithm,
    /// A part is missing or empty.
    #[error("the authorization has no `{0}`")]
    Missing(&'static str),
}

/// A signature that is not the one the key gives. Carries what was expected, for the server's
/// reply to its client; both texts can contain a security token, so neither belongs in a log.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("the signature does not match")]
pub struct SignatureMismatch {
    /// The canonical request as the verifier sees it.
    pub canonical_request: String,
    /// The string to sign as the verifier sees it.
    pub string_to_sign: String,
}

impl std::fmt::Debug for SignatureMismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignatureMismatch").finish_non_exhaustive()
    }
}

impl Authorization {
    /// Signs a request, all its headers included. `authorization` must not be one of them.
    #[must_use]
    pub fn sign(parts: &SignedParts<'_>, access_key_id: &str, secret: &str) -> Self {
        let mut signed_headers: Vec<String> = parts
            .headers
            .iter()
            .map(|(name, _)| name.to_ascii_lowercase())
            .collect();
        signed_headers.sort_unstable();
        signed_headers.dedup();
        let text = string_to_sign(&canonical_request(parts, &signed_headers));
        Self {
            access_key_id: access_key_id.to_owned(),
            signed_headers,
            signature: lower_hex(&keyed(secret, &text).finalize().into_bytes()),
        }
    }

    /// The value of the `Authorization` header.
    #[must_use]
    pub fn to_header(&self) -> String {
        format!(
            "{ALGORITHM} Credential={},SignedHeaders={},Signature={}",
            self.access_key_id,
            self.signed_headers.join(";"),
            self.signature
        )
    }

    /// Takes the value of an `Authorization` header apart. Parts come in any order, with or
    /// without blanks around them; unknown ones are ignored.
    ///
    /// # Errors
    ///
    /// Where it names another algorithm, or one of the three parts is missing or empty.
    pub fn parse(header: &str) -> Result<Self, MalformedAuthorization> {
        let rest = header
            .trim()
            .strip_prefix(ALGORITHM)
            .filter(|rest| rest.starts_with(' '))
            .ok_or(MalformedAuthorization::Algorithm)?;
        let part = |wanted: &'static str| {
            rest.split(',')
                .filter_map(|part| part.trim().split_once('='))
                .find_map(|(name, value)| (name == wanted).then_some(value))
                .filter(|value| !value.is_empty())
                .ok_or(MalformedAuthorization::Missing(wanted))
        };
        Ok(Self {
            access_key_id: part("Credential")?.to_owned(),
            signed_headers: part("SignedHeaders")?
                .split(';')
                .map(str::to_ascii_lowercase)
                .collect(),
            signature: part("Signature")?.to_owned(),
        })
    }

    /// Says whether this is the signature of a request under a key. Takes the same time wherever
    /// the signatures differ.
    ///
    /// # Errors
    ///
    /// Where it is not: the request was changed, signed with another key, or signed differently.
    pub fn verify(&self, parts: &SignedParts<'_>, secret: &str) -> Result<(), SignatureMismatch> {
        let canonical_request = canonical_request(parts, &self.signed_headers);
        let string_to_sign = string_to_sign(&canonical_request);
        let claimed = from_hex(&self.signature).unwrap_or_default();
        keyed(secret, &string_to_sign)
            .verify_slice(&claimed)
            .map_err(|_| SignatureMismatch {
                canonical_request,
                string_to_sign,
            })
    }
}

/// HMAC-SHA256 over a text. The key is brought to the length of a block here, as RFC 2104 §2
/// says, because the crate's constructor for keys of any length returns a `Result`.
fn keyed(secret: &str, text: &str) -> HmacSha256 {
    let mut key = Key::<HmacSha256>::default();
    if secret.len() <= key.len() {
        key[..secret.len()].copy_from_slice(secret.as_bytes());
    } else {
        let digest = Sha256::digest(secret.as_bytes());
        key[..digest.len()].copy_from_slice(&digest);
    }
    let mut mac = HmacSha256::new(&key);
    mac.update(text.as_bytes());
    mac
}

fn lower_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs
        .remainder()
        .is_empty()
        .then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests;
