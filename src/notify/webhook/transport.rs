//! Why no answer came: the HTTP client's errors in plain words.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::iter::successors;
use std::time::Duration;

use crate::core::delivery::FailureClass;

/// What ended a connection, by its kind.
const BY_KIND: &[(ErrorKind, &str)] = &[
    (
        ErrorKind::ConnectionRefused,
        "connection refused: nothing listens there",
    ),
    (
        ErrorKind::HostUnreachable,
        "no route to the host: check network and firewall",
    ),
    (
        ErrorKind::NetworkUnreachable,
        "no route to its network: check network and firewall",
    ),
    (ErrorKind::ConnectionReset, CUT_OFF),
    (ErrorKind::ConnectionAborted, CUT_OFF),
    (ErrorKind::BrokenPipe, CUT_OFF),
    (ErrorKind::UnexpectedEof, CUT_OFF),
];

const CUT_OFF: &str = "the connection was cut before the answer was complete";

/// What an exchange that broke means, and what happened. The error has no URL any more.
pub(super) fn explain(error: &reqwest::Error, connect_timeout: Duration) -> (FailureClass, String) {
    if error.is_builder() {
        let what = format!("no request can be made: {}", innermost(error));
        return (FailureClass::ReceiverConfig, what);
    }
    if error.is_dns() {
        return name_not_resolved(&innermost(error));
    }
    if let Some(tls) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return (FailureClass::ReceiverConfig, tls_failed(tls));
    }
    let what = if error.is_timeout() {
        format!("no connection within {connect_timeout:?}: host down, or a firewall drops it")
    } else if let Some(known) = by_kind(error) {
        known.to_owned()
    } else {
        format!("the exchange broke: {}", innermost(error))
    };
    (FailureClass::Transient, what)
}

/// A name that does not exist is a matter of settings; a resolver that does not answer passes.
///
/// The C library gives its code only as text; both texts of "try again" are listed, those of glibc
/// and of musl.
fn name_not_resolved(reason: &str) -> (FailureClass, String) {
    let passes = ["Temporary failure", "Try again"]
        .iter()
        .any(|text| reason.contains(text));
    if passes {
        let what = format!("the name of the host cannot be looked up now: {reason}");
        (FailureClass::Transient, what)
    } else {
        let what = format!("the name of the host is unknown: {reason}: check the URL");
        (FailureClass::ReceiverConfig, what)
    }
}

fn tls_failed(error: &rustls::Error) -> String {
    if let rustls::Error::InvalidCertificate(reason) = error {
        format!(
            "its certificate is not accepted: {reason}: check the host name, its expiry, and that \
             this machine trusts its issuer"
        )
    } else {
        format!("the TLS handshake failed: {error}: does it speak https on this port?")
    }
}

fn by_kind(error: &reqwest::Error) -> Option<&'static str> {
    let kind = causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .map(io::Error::kind)
        .last()?;
    BY_KIND
        .iter()
        .find(|(known, _)| *known == kind)
        .map(|(_, what)| *what)
}

/// The text of the cause behind all others, which is the one that names what happened.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error)
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

/// The error and what caused it, from the outside in.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&outer| {
        // An `io::Error` passes over the error it wraps: its source is that one's source.
        match outer.downcast_ref().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => outer.source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    #[test]
    fn an_unknown_name_is_a_matter_of_settings_and_a_silent_resolver_is_not() {
        for (reason, class) in [
            ("Name or service not known", FailureClass::ReceiverConfig),
            ("Name does not resolve", FailureClass::ReceiverConfig),
            (
                "failed to lookup address information: Temporary failure in name resolution",
                FailureClass::Transient,
            ),
            ("Try again", FailureClass::Transient),
        ] {
            assert_eq!(name_not_resolved(reason).0, class, "{reason}");
        }
    }

    #[test]
    fn a_bad_certificate_is_told_from_a_port_without_tls() {
        let expired = rustls::Error::InvalidCertificate(CertificateError::Expired);
        assert!(tls_failed(&expired).contains("certificate is not accepted"));
        let other = rustls::Error::HandshakeNotComplete;
        assert!(tls_failed(&other).contains("does it speak https"));
    }

    #[test]
    fn an_error_inside_an_io_error_is_found() {
        let wrapped = io::Error::other(io::Error::other(rustls::Error::DecryptError));
        let found = causes(&wrapped).any(|cause| cause.is::<rustls::Error>());
        assert!(found);
        assert_eq!(innermost(&wrapped), rustls::Error::DecryptError.to_string());
    }
}
