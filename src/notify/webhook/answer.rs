//! What the answer of a webhook means.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use crate::core::delivery::FailureClass;
use crate::core::time::Timestamp;

/// An answer that is no success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What follows from it.
    pub(super) class: FailureClass,
    /// What to look at, for people.
    advice: &'static str,
}

impl Refusal {
    /// The answer and the advice in one line. Nothing of the answer's headers or body is in it:
    /// they may repeat the URL.
    pub(super) fn describe(self, status: StatusCode) -> String {
        let code = status.as_u16();
        let reason = status.canonical_reason().unwrap_or("not a standard status");
        let advice = self.advice;
        format!("answered {code} ({reason}): {advice}")
    }
}

/// What an answer with this status means; nothing for 2xx, which is success.
///
/// Where it is doubtful whose fault it is, it is the receiver's settings: a mistake in a proxy must
/// not cost events.
pub(super) fn refusal(status: u16) -> Option<Refusal> {
    use FailureClass::{PayloadRejected, ReceiverConfig, Throttled, Transient};
    let (class, advice) = match status {
        200..=299 => return None,
        429 | 503 => (Throttled, "it asks for less, so everything to it waits"),
        408 | 425 | 409 | 500 | 502 | 504..=599 => (Transient, "it is tried again"),
        400 | 413 | 415 | 422 => (
            PayloadRejected,
            "it does not accept this event, its own log may say why",
        ),
        300..=399 => (
            ReceiverConfig,
            "redirects are not followed, set the URL it leads to",
        ),
        401 | 403 => (
            ReceiverConfig,
            "check the signing key and the credentials in the URL",
        ),
        404 | 405 => (ReceiverConfig, "check the path of the URL"),
        407 => (
            ReceiverConfig,
            "a proxy on the way asks for credentials, go around it",
        ),
        410 => (
            ReceiverConfig,
            "it is gone for good, remove the receiver or set its new URL",
        ),
        501 => (ReceiverConfig, "it does not know POST, check the URL"),
        _ => (
            ReceiverConfig,
            "no answer a webhook gives, check what the URL leads to",
        ),
    };
    Some(Refusal { class, advice })
}

/// What `Retry-After` asks for, in seconds or as a date (RFC 9110 §10.2.3).
///
/// A date is taken relative to the answer's own `Date`, so that a wrong clock on either side does
/// not matter, and to `now` where it has none.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let asked = text(headers, &RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = Timestamp::parse_http_date(asked)?;
    let answered = text(headers, &DATE)
        .and_then(Timestamp::parse_http_date)
        .unwrap_or(now);
    Some(until.saturating_since(answered))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn every_answer_of_the_table_has_its_class() {
        use FailureClass::{PayloadRejected, ReceiverConfig, Throttled, Transient};
        let table: [(&[u16], Option<FailureClass>); 5] = [
            (&[200, 201, 202, 204, 299], None),
            (&[429, 503], Some(Throttled)),
            (
                &[408, 409, 425, 500, 502, 504, 505, 507, 599],
                Some(Transient),
            ),
            (&[400, 413, 415, 422], Some(PayloadRejected)),
            (
                &[
                    101, 300, 301, 302, 303, 304, 307, 308, 401, 402, 403, 404, 405, 406, 407, 410,
                    418, 421, 451, 501, 600, 999,
                ],
                Some(ReceiverConfig),
            ),
        ];
        for (statuses, expected) in table {
            for &status in statuses {
                let class = refusal(status).map(|refusal| refusal.class);
                assert_eq!(class, expected, "{status}");
            }
        }
    }

    /// 2026-11-22T23:40:00Z.
    const NOW: Timestamp = Timestamp::from_seconds(1_795_390_800);

    fn asked(retry_after_value: &'static str, date: Option<&'static str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static(retry_after_value));
        if let Some(date) = date {
            headers.insert(DATE, HeaderValue::from_static(date));
        }
        retry_after(&headers, NOW)
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        const AT_41: &str = "Sun, 22 Nov 2026 23:41:00 GMT";
        const AT_40_30: &str = "Sun, 22 Nov 2026 23:40:30 GMT";
        for (value, date, expected) in [
            ("7", None, Some(7)),
            (" 0 ", None, Some(0)),
            (AT_41, None, Some(60)),
            (AT_41, Some(AT_40_30), Some(30)),
            (AT_40_30, Some(AT_41), Some(0)),
            (AT_41, Some("soon"), Some(60)),
            ("soon", None, None),
            ("-1", None, None),
            ("", None, None),
        ] {
            let expected = expected.map(Duration::from_secs);
            assert_eq!(asked(value, date), expected, "{value:?} at {date:?}");
        }
    }
}
