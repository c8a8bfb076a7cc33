//! Tests of the store on real files, and what they share.

mod commits;
mod deliveries;
mod failures;
mod model;
mod opening;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;

use crate::clock::Clock;
use crate::core::delivery::{Delivery, Verdict};
use crate::core::event::{EventDraft, EventId, EventType, Reason, ReasonCode};
use crate::core::id::{InstanceId, ReceiverName, ScopeName};
use crate::core::time::Timestamp;
use crate::core::watch::{Phase, WatchRecord};

use super::{Commit, Except, Settlement, Store};

/// Later than anything is due.
const END_OF_TIME: Timestamp = Timestamp::from_micros(i64::MAX);

/// What tests see of the writing thread, and do to it.
#[derive(Debug, Default)]
pub(super) struct Probe {
    transactions: AtomicU64,
    page_limit: AtomicU32,
}

impl Probe {
    /// How many transactions were committed.
    fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Acquire)
    }

    /// Makes the disk full once the database has this many pages; 0 for a disk without end.
    fn limit_pages(&self, pages: u32) {
        self.page_limit.store(pages, Ordering::Release);
    }

    pub(super) fn before_transaction(&self, connection: &Connection) -> rusqlite::Result<()> {
        let limit = match self.page_limit.load(Ordering::Acquire) {
            0 => u32::MAX - 1,
            pages => pages,
        };
        connection.pragma_update_and_check(None, "max_page_count", limit, |_| Ok(()))
    }

    pub(super) fn after_transaction(&self) {
        self.transactions.fetch_add(1, Ordering::AcqRel);
    }
}

/// A store in `folder` on a clock of its own.
fn open(folder: &Path) -> (Store, Clock) {
    let clock = Clock::start();
    (Store::open(folder, clock).unwrap(), clock)
}

/// The same, with a probe in its writing thread.
fn open_with_probe(folder: &Path) -> (Store, Arc<Probe>) {
    let (store, writer) = Store::prepare(folder, Clock::start()).unwrap();
    let probe = writer.probe.clone();
    writer.start().unwrap();
    (store, probe)
}

fn scope() -> ScopeName {
    "prod".parse().unwrap()
}

fn instance(number: usize) -> InstanceId {
    format!("i-{number}").parse().unwrap()
}

fn receivers<const N: usize>(names: [&str; N]) -> Vec<ReceiverName> {
    names.map(|name| name.parse().unwrap()).to_vec()
}

fn event_id(number: u128) -> EventId {
    EventId::new(Timestamp::from_seconds(1_795_390_801), number)
}

fn record(number: usize, phase: Phase) -> WatchRecord {
    WatchRecord {
        instance: instance(number),
        phase,
        since: Timestamp::from_seconds(1_795_390_801),
        sequence: 0,
        generation: 2,
        started: Timestamp::from_seconds(1_795_390_000),
        overdue_told: true,
        seen: true,
        absent_since: Some(Timestamp::from_micros(-1)),
        reason: Reason {
            code: ReasonCode::HeartbeatTimeout,
            message: "no heartbeat for 135 s".to_owned(),
            last_heartbeat: Some(Timestamp::from_seconds(1_795_390_700)),
        },
    }
}

/// A watch that is stale now, without an event.
fn quiet(number: usize) -> Commit {
    Commit {
        scope: scope(),
        record: record(number, Phase::Stale),
        event: None,
        receivers: Vec::new(),
    }
}

/// A watch that is stale now, with event number `event` for these receivers.
fn telling(number: usize, event: u128, receivers: Vec<ReceiverName>) -> Commit {
    let quiet = quiet(number);
    let draft = EventDraft {
        id: event_id(event),
        event_type: EventType::Stale,
        scope: scope(),
        region: "cn-hangzhou".to_owned(),
        instance: instance(number),
        os_type: None,
        agent_version: None,
        labels: BTreeMap::new(),
        phase: Phase::Stale,
        previous_phase: Phase::Ready,
        since: quiet.record.since,
        previous_since: quiet.record.started,
        reason: quiet.record.reason.clone(),
        generation: quiet.record.generation,
    };
    Commit {
        event: Some(draft),
        receivers,
        ..quiet
    }
}

fn settlement(delivery: &Delivery, verdict: Verdict) -> Settlement {
    Settlement {
        lane: delivery.lane.clone(),
        sequence: delivery.sequence,
        event_id: delivery.event_id.clone(),
        verdict,
        result: "HTTP 500".to_owned(),
        started: Timestamp::from_seconds(1_795_390_900),
        duration: Duration::from_millis(120),
    }
}

/// The heads of all lanes, due or not.
async fn heads(store: &Store) -> Vec<Delivery> {
    store
        .due_deliveries(END_OF_TIME, usize::MAX, Except::default())
        .await
        .unwrap()
}
