//! Events: the immutable record of a transition or of a fact, and the envelope it travels in.
//!
//! The envelope is `CloudEvents` 1.0 in structured JSON and at the same time what Standard Webhooks
//! asks of a payload (`type`, `timestamp`, `data`), so one body serves both kinds of consumer. It
//! is serialised once, when it is committed: every attempt and every receiver gets the same bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use ulid::Ulid;

use super::id::{InstanceId, ScopeName};
use super::status::OsType;
use super::time::Timestamp;
use super::watch::Phase;

/// What an event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EventType {
    /// The gate holds for the first time, or again after `gone`.
    #[serde(rename = "instance.ready")]
    Ready,
    /// The gate does not hold yet, `ready_deadline` after the watch began. Told once.
    #[serde(rename = "instance.overdue")]
    Overdue,
    /// Silent for longer than the window, not yet for window and grace. Only where asked for.
    #[serde(rename = "instance.late")]
    Late,
    /// No heartbeat for the window and the grace.
    #[serde(rename = "instance.stale")]
    Stale,
    /// Heartbeats again after `stale`.
    #[serde(rename = "instance.recovered")]
    Recovered,
    /// The API no longer knows it, or never did.
    #[serde(rename = "instance.gone")]
    Gone,
}

impl EventType {
    /// Every type, in the order of an instance's life.
    pub const ALL: [Self; 6] = [
        Self::Ready,
        Self::Overdue,
        Self::Late,
        Self::Stale,
        Self::Recovered,
        Self::Gone,
    ];

    /// The `type` attribute of the envelope.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "instance.ready",
            Self::Overdue => "instance.overdue",
            Self::Late => "instance.late",
            Self::Stale => "instance.stale",
            Self::Recovered => "instance.recovered",
            Self::Gone => "instance.gone",
        }
    }

    /// Whether a receiver that names no events gets it: `instance.late` is opt-in, because most
    /// late instances beat again within the grace.
    #[must_use]
    pub const fn told_by_default(self) -> bool {
        !matches!(self, Self::Late)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no event type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not an event type: known are {known}", known = known_types())]
pub struct UnknownEventType(pub String);

fn known_types() -> String {
    EventType::ALL.map(EventType::as_str).join(", ")
}

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str() == text)
            .ok_or_else(|| UnknownEventType(text.to_owned()))
    }
}

/// The ID of an event: `evt_` and a ULID. Drawn once, at the transition, and unique for ever.
///
/// It has no `.`, which Standard Webhooks reserves as the delimiter of what is signed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(String);

impl EventId {
    /// An ID from the time of the transition and 80 random bits (the upper 48 are not used).
    #[must_use]
    pub fn new(now: Timestamp, random: u128) -> Self {
        let milliseconds = u64::try_from(now.as_micros() / 1000).unwrap_or(0);
        Self(format!("evt_{}", Ulid::from_parts(milliseconds, random)))
    }

    /// The ID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes back an ID that was stored as text.
    #[must_use]
    pub const fn from_stored(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why an instance is in its phase: a code for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable, in `snake_case`.
    pub code: ReasonCode,
    /// Says the same with its figures, for people.
    pub message: String,
    /// The newest heartbeat known, in server time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_heartbeat: Option<Timestamp>,
}

/// The closed list of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// No reply has spoken of it yet.
    NotObserved,
    /// Fresh, and every condition of the gate holds.
    GateHolds,
    /// Fresh, but a condition of the gate does not hold.
    GateNotMet,
    /// The API has a row and no heartbeat time and no version: an agent was never there.
    NeverBeat,
    /// The status is false.
    Silent,
    /// Silent for the window and the grace.
    HeartbeatTimeout,
    /// Fresh again, but not yet for as many heartbeats as recovery asks.
    Recovering,
    /// A whole reply had no row for it.
    NoRow,
    /// Asked for alone, the API answers 404 `InvalidInstance.NotFound`.
    NotFound,
}

impl ReasonCode {
    /// The code as it is written in events and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotObserved => "not_observed",
            Self::GateHolds => "gate_holds",
            Self::GateNotMet => "gate_not_met",
            Self::NeverBeat => "never_beat",
            Self::Silent => "silent",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::Recovering => "recovering",
            Self::NoRow => "no_row",
            Self::NotFound => "not_found",
        }
    }
}

/// Everything of an event that is known before it is committed.
#[derive(Debug, Clone, PartialEq)]
pub struct EventDraft {
    /// Drawn at the transition.
    pub id: EventId,
    /// What happened.
    pub event_type: EventType,
    /// Where.
    pub scope: ScopeName,
    /// The region of the scope.
    pub region: String,
    /// To whom.
    pub instance: InstanceId,
    /// From the newest row, where one said so.
    pub os_type: Option<OsType>,
    /// From the newest row, where one said so.
    pub agent_version: Option<String>,
    /// The labels of the watch.
    pub labels: BTreeMap<String, String>,
    /// The phase it is in now.
    pub phase: Phase,
    /// The phase it was in before; the same for events that change none.
    pub previous_phase: Phase,
    /// Since when it is in `phase`.
    pub since: Timestamp,
    /// Since when it was in `previous_phase`.
    pub previous_since: Timestamp,
    /// Why.
    pub reason: Reason,
    /// How many times the ID came back after `gone`.
    pub generation: u32,
}

impl EventDraft {
    /// The body as every receiver gets it, given what the commit decides: the `sequence` and the
    /// time of the commit.
    ///
    /// # Errors
    /// None that these types can cause; `serde_json` does not promise it in its types.
    pub fn body(&self, sequence: u64, time: Timestamp) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Envelope {
            specversion: "1.0",
            id: &self.id,
            // Per instance: `sequence` orders within one `source` only.
            source: format!("/readygate/{}/{}", self.scope, self.instance),
            event_type: self.event_type,
            subject: &self.instance,
            time,
            timestamp: time,
            datacontenttype: "application/json",
            // Compared as text by the CloudEvents sequence extension, hence the zeros.
            sequence: format!("{sequence:020}"),
            data: Data {
                schema: 1,
                instance: Subject {
                    id: &self.instance,
                    scope: &self.scope,
                    region: &self.region,
                    os_type: self.os_type,
                    agent_version: self.agent_version.as_deref(),
                    labels: &self.labels,
                },
                phase: self.phase,
                previous_phase: self.previous_phase,
                since: self.since,
                previous_since: self.previous_since,
                reason: &self.reason,
                generation: self.generation,
            },
        })
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'static str,
    id: &'a EventId,
    source: String,
    #[serde(rename = "type")]
    event_type: EventType,
    subject: &'a InstanceId,
    time: Timestamp,
    timestamp: Timestamp,
    datacontenttype: &'static str,
    sequence: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    schema: u32,
    instance: Subject<'a>,
    phase: Phase,
    previous_phase: Phase,
    since: Timestamp,
    previous_since: Timestamp,
    reason: &'a Reason,
    generation: u32,
}

#[derive(Serialize)]
struct Subject<'a> {
    id: &'a InstanceId,
    scope: &'a ScopeName,
    region: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    os_type: Option<OsType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_version: Option<&'a str>,
    labels: &'a BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_reads_as_documented() {
        let at = |text| Timestamp::parse_rfc3339(text).unwrap();
        let draft = EventDraft {
            id: EventId::new(at("2026-11-22T23:40:01Z"), 7),
            event_type: EventType::Stale,
            scope: "prod".parse().unwrap(),
            region: "cn-hangzhou".to_owned(),
            instance: "i-bp1abc".parse().unwrap(),
            os_type: Some(OsType::Linux),
            agent_version: Some("2.2.3.857".to_owned()),
            labels: BTreeMap::from([("app".to_owned(), "api".to_owned())]),
            phase: Phase::Stale,
            previous_phase: Phase::Ready,
            since: at("2026-11-22T23:40:01Z"),
            previous_since: at("2026-11-22T20:11:09Z"),
            reason: Reason {
                code: ReasonCode::HeartbeatTimeout,
                message: "no heartbeat for 135 s".to_owned(),
                last_heartbeat: Some(at("2026-11-22T23:37:46Z")),
            },
            generation: 3,
        };
        let body = draft.body(42, at("2026-11-22T23:40:01.123456Z")).unwrap();
        let parsed: serde_json::Value = serde_json::from_slice(&body).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&parsed).unwrap());
    }

    #[test]
    fn event_ids_carry_no_dot_and_differ_by_their_random_bits() {
        let now = Timestamp::from_seconds(1_795_390_801);
        let (a, b) = (EventId::new(now, 1), EventId::new(now, 2));
        assert_ne!(a, b);
        assert!(a.as_str().starts_with("evt_") && !a.as_str().contains('.'));
    }

    #[test]
    fn every_type_is_read_back_from_its_text() {
        for event_type in EventType::ALL {
            assert_eq!(event_type.as_str().parse(), Ok(event_type));
        }
        assert!("instance.alive".parse::<EventType>().is_err());
    }
}
