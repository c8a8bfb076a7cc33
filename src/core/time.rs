//! Points in time, as values: the core is handed them and never reads a clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point on this process's monotonic clock, in nanoseconds since an arbitrary origin.
///
/// All waiting is done on this clock, so that a wrong or jumping wall clock changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The clock's origin, before which there is nothing.
    pub const ORIGIN: Self = Self(0);

    /// The last point there is: what waits for it waits for something else.
    pub const END: Self = Self(u64::MAX);

    /// The point `elapsed` after the clock's origin; past 584 years it stays at the last one.
    #[must_use]
    pub fn from_origin(elapsed: Duration) -> Self {
        Self(nanoseconds(elapsed))
    }

    /// How long after the clock's origin this point is.
    #[must_use]
    pub const fn since_origin(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// This much earlier, or the origin where that would be before it.
    #[must_use]
    pub fn saturating_sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(nanoseconds(earlier)))
    }

    /// Time from `earlier` to here, zero where `earlier` is the later one.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(later)))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} after origin", self.since_origin())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A calendar time in microseconds since 1970-01-01T00:00:00Z.
///
/// Where it says so it is the server's time (from a reply's `Date`), never this machine's:
/// freshness is judged against the clock that stamped the heartbeats.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The time `microseconds` after the epoch.
    #[must_use]
    pub const fn from_micros(microseconds: i64) -> Self {
        Self(microseconds)
    }

    /// The time `seconds` after the epoch.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Time from `earlier` to here, zero where `earlier` is the later one.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        let micros = self.0.saturating_sub(earlier.0);
        if micros <= 0 {
            Duration::ZERO
        } else {
            Duration::from_micros(micros.unsigned_abs())
        }
    }

    /// Reads RFC 3339 (`2026-11-22T23:40:01Z`, with or without a fraction).
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let parsed: jiff::Timestamp = text.parse().ok()?;
        Some(Self(parsed.as_microsecond()))
    }

    /// Reads an HTTP date (`Sun, 22 Nov 2026 23:40:01 GMT`, RFC 9110 §5.6.7).
    #[must_use]
    pub fn parse_http_date(text: &str) -> Option<Self> {
        let parsed = jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(text)
            .ok()?;
        Some(Self(parsed.as_microsecond()))
    }

    /// The cloud API's own form: UTC in whole seconds, `2026-11-22T23:40:01Z`.
    #[must_use]
    pub fn to_whole_seconds(self) -> String {
        match jiff::Timestamp::from_second(self.as_seconds()) {
            Ok(timestamp) => timestamp.to_string(),
            Err(_) => self.to_string(),
        }
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(microseconds(later)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(microseconds(earlier)))
    }
}

fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC with exactly six digits of fraction, so that texts sort like times.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp:.6}"),
            // Outside the years -9999..9999, which no clock and no server names in earnest.
            Err(_) => write!(f, "{} µs since 1970", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse_rfc3339(&text)
            .ok_or_else(|| de::Error::custom(format!("`{text}` is not an RFC 3339 time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_with_six_digits_so_that_they_sort_as_text() {
        let time = Timestamp::from_micros(1_795_390_801_000_000);
        assert_eq!(time.to_string(), "2026-11-22T23:40:01.000000Z");
        assert_eq!(time.to_whole_seconds(), "2026-11-22T23:40:01Z");
        assert_eq!(Timestamp::parse_rfc3339("2026-11-22T23:40:01Z"), Some(time));
    }

    #[test]
    fn an_http_date_is_read_and_nonsense_is_not() {
        let expected = Timestamp::parse_rfc3339("2026-11-22T23:40:01Z");
        assert_eq!(
            Timestamp::parse_http_date("Sun, 22 Nov 2026 23:40:01 GMT"),
            expected
        );
        assert_eq!(Timestamp::parse_http_date("yesterday"), None);
    }

    #[test]
    fn differences_never_go_below_zero() {
        let (early, late) = (Timestamp::from_seconds(10), Timestamp::from_seconds(12));
        assert_eq!(late.saturating_since(early), Duration::from_secs(2));
        assert_eq!(early.saturating_since(late), Duration::ZERO);
    }
}
