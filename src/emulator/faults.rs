//! What can be made to go wrong with the API itself while it runs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::refusal::Refusal;
use crate::core::time::Timestamp;

/// The faults that are on. By default none is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// How many calls a minute the account may make of one action in one region; nothing means
    /// no limit. Minutes are those of UTC, as the cloud counts.
    pub calls_per_minute: Option<u32>,
    /// Whether a throttled call is told in `x-acs-retry-after` when the next minute begins.
    pub retry_after: bool,
    /// How every call fails; nothing means that none does.
    pub fail: Option<Failure>,
}

/// A failure of the whole API, before any look at the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The HTTP status, 400 to 599.
    pub status: u16,
    /// The code; by default `ServiceUnavailable` for 503 and `InternalError` for all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

impl Failure {
    pub(super) fn refusal(&self) -> Refusal {
        let (code, message) = match self.status {
            503 => (
                "ServiceUnavailable",
                "The request has failed due to a temporary failure of the server.",
            ),
            _other => (
                "InternalError",
                "The request processing has failed due to some unknown error, exception or \
                 failure.",
            ),
        };
        Refusal::new(self.status, self.code.as_deref().unwrap_or(code), message)
    }
}

/// A change of the faults: what is not named stays as it is, null takes a limit or a failure
/// away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultsChange {
    /// See [`Faults::calls_per_minute`].
    #[serde(deserialize_with = "named")]
    pub calls_per_minute: Option<Option<u32>>,
    /// See [`Faults::retry_after`].
    pub retry_after: Option<bool>,
    /// See [`Faults::fail`].
    #[serde(deserialize_with = "named")]
    pub fail: Option<Option<Failure>>,
}

/// Tells a value that is null from one that is not named.
fn named<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl Faults {
    /// Applies a change. Answers whether it is one that can be; where not, nothing changes.
    pub(super) fn change(&mut self, change: FaultsChange) -> bool {
        let status = change.fail.iter().flatten().map(|failure| failure.status);
        if !status
            .into_iter()
            .all(|status| (400..600).contains(&status))
        {
            return false;
        }
        if let Some(calls_per_minute) = change.calls_per_minute {
            self.calls_per_minute = calls_per_minute;
        }
        if let Some(retry_after) = change.retry_after {
            self.retry_after = retry_after;
        }
        if let Some(fail) = change.fail {
            self.fail = fail;
        }
        true
    }
}

/// Counts calls by UTC minute, and per region and action: the emulator has one account.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    minute: i64,
    calls: BTreeMap<(String, String), u32>,
}

impl Throttle {
    /// Admits a call, or says how long the minute still lasts. What was refused counts for
    /// nothing.
    pub(super) fn admit(
        &mut self,
        region: &str,
        action: &str,
        calls_per_minute: Option<u32>,
        now: Timestamp,
    ) -> Result<(), Duration> {
        let minute = now.as_seconds().div_euclid(60);
        if minute != self.minute {
            self.minute = minute;
            self.calls.clear();
        }
        let Some(limit) = calls_per_minute else {
            return Ok(());
        };
        let calls = self
            .calls
            .entry((region.to_owned(), action.to_owned()))
            .or_default();
        if *calls >= limit {
            let next_minute = Timestamp::from_seconds((minute + 1) * 60);
            return Err(next_minute.saturating_since(now));
        }
        *calls += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_utc_minute_region_and_action() {
        let mut throttle = Throttle::default();
        let mut admit = |region: &str, action: &str, seconds| {
            throttle.admit(region, action, Some(2), Timestamp::from_seconds(seconds))
        };
        assert_eq!(admit("a", "x", 60), Ok(()));
        assert_eq!(admit("a", "x", 61), Ok(()));
        assert_eq!(admit("a", "x", 90), Err(Duration::from_secs(30)));
        assert_eq!(admit("a", "x", 119), Err(Duration::from_secs(1)));
        assert_eq!(admit("b", "x", 119), Ok(()));
        assert_eq!(admit("a", "y", 119), Ok(()));
        assert_eq!(admit("a", "x", 120), Ok(()));
    }

    #[test]
    fn a_change_touches_what_it_names_and_null_takes_away() {
        let mut faults = Faults::default();
        let mut change = |text: &str| {
            let accepted = faults.change(serde_json::from_str(text).unwrap());
            (accepted, faults.clone())
        };
        change(r#"{"calls_per_minute": 3, "retry_after": true}"#);
        let (_, both) = change(r#"{"fail": {"status": 503}}"#);
        assert_eq!(both.calls_per_minute, Some(3));
        assert!(both.retry_after && both.fail.is_some());
        let (accepted, unchanged) = change(r#"{"fail": {"status": 200}}"#);
        assert_eq!((accepted, unchanged), (false, both));
        let (_, none) = change(r#"{"fail": null, "calls_per_minute": null, "retry_after": false}"#);
        assert_eq!(none, Faults::default());
    }
}
