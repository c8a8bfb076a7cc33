//! Whether what the demo's daemon said is what happened, and whether everybody was told the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;

use crate::core::event::{EventId, EventType};
use crate::core::id::InstanceId;
use crate::daemon::snapshot::Snapshot;
use crate::emulator::{Promise, Report, Told, Watched, check};
use crate::store::{StoreReader, StoredEvent};

use super::display::{calls_of_fixed_loop, fixed_loop};
use super::hook::Mailbox;
use super::stage::Stage;

/// From this time on every kind of event must have come.
const EVERY_KIND_BY: Duration = Duration::from_secs(60);

/// How many events are read from the store at a time.
const PAGE: usize = 1000;

/// How late `instance.stale` may be after window and grace.
const SLACK: Duration = Duration::from_secs(2);

/// The summary of a demo.
pub(super) struct Verdict {
    report: Report,
    delivered: usize,
    calls: u64,
    calls_of_fixed_loop: u128,
    fixed_loop: Duration,
    elapsed: Duration,
    folder: String,
    problems: Vec<String>,
}

impl Verdict {
    /// Compares the emulator's truth, the store, the webhook receiver and the files.
    pub(super) fn reach(
        stage: &Stage,
        watched: Watched,
        snapshot: &Snapshot,
        elapsed: Duration,
    ) -> anyhow::Result<Self> {
        let stored = stored_events(stage)?;
        let (report, mut problems) = stage.received.look(|mailbox| {
            (
                compare_truth(stage, watched, mailbox),
                judge_mailbox(mailbox, &stored),
            )
        });
        problems.extend(report.violations.iter().cloned());
        problems.extend(judge_outbox(stage)?);
        problems.extend(judge_lines(stage, &stored)?);
        problems.extend(judge_state(stage, &stored)?);
        if elapsed >= EVERY_KIND_BY {
            problems.extend(judge_kinds(&report));
        }
        Ok(Self {
            report,
            delivered: stored.len(),
            calls: snapshot.calls(),
            calls_of_fixed_loop: calls_of_fixed_loop(stage, elapsed),
            fixed_loop: fixed_loop(stage),
            elapsed,
            folder: stage.folder.display().to_string(),
            problems,
        })
    }

    pub(super) const fn is_consistent(&self) -> bool {
        self.problems.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nafter {:.0} s:", self.elapsed.as_secs_f64())?;
        for event_type in EventType::ALL
            .into_iter()
            .filter(|event_type| event_type.told_by_default())
        {
            let count = self.report.counts.get(&event_type).copied().unwrap_or(0);
            writeln!(f, "  {event_type:<20} {count}")?;
        }
        writeln!(
            f,
            "  events delivered     {}, each to a webhook and to two files",
            self.delivered
        )?;
        let worst = |delay: Option<Duration>| {
            delay.map_or_else(
                || "none".to_owned(),
                |delay| format!("{:.2} s", delay.as_secs_f64()),
            )
        };
        writeln!(
            f,
            "  worst delay          {} from window + grace to instance.stale, {} from the first heartbeat to instance.ready",
            worst(self.report.worst_stale_delay),
            worst(self.report.worst_ready_delay),
        )?;
        writeln!(
            f,
            "  calls                {}; a fixed loop every {:.2} s (5 s at the cloud's pace) would have made {}",
            self.calls,
            self.fixed_loop.as_secs_f64(),
            self.calls_of_fixed_loop,
        )?;
        writeln!(f, "  files                {}", self.folder)?;
        if self.problems.is_empty() {
            return writeln!(f, "consistent");
        }
        writeln!(f, "not consistent:")?;
        self.problems
            .iter()
            .try_for_each(|problem| writeln!(f, "  {problem}"))
    }
}

fn compare_truth(stage: &Stage, watched: Watched, mailbox: &Mailbox) -> Report {
    let freshness = stage.settings.freshness;
    let poll = stage.settings.poll;
    let promise = Promise {
        window: freshness.window,
        grace: freshness.grace,
        slack: SLACK,
        ready_within: poll.pending + SLACK,
        // Two heartbeats, one poll of a stale instance, and the slack.
        recovered_within: freshness.window + freshness.window / 8 + SLACK,
        // The poll that finds it missing, and the time over which it must be missing.
        gone_within: Some(freshness.window + freshness.grace + freshness.window),
        overdue_after: Some(poll.ready_deadline),
    };
    let told: Vec<Told> = mailbox
        .notices
        .iter()
        .map(|notice| Told {
            id: notice.id.clone(),
            instance: notice.instance.clone(),
            event_type: notice.event_type,
            at: notice.at,
        })
        .collect();
    check(&promise, watched, &stage.emulator.truths(), &told)
}

fn stored_events(stage: &Stage) -> anyhow::Result<Vec<StoredEvent>> {
    let store = StoreReader::open(&stage.settings.store.folder)?;
    let mut events: Vec<StoredEvent> = Vec::new();
    loop {
        let after = events.last().map_or(0, |event| event.position);
        let page = store.events(after, PAGE)?;
        if page.is_empty() {
            return Ok(events);
        }
        events.extend(page);
    }
}

fn judge_outbox(stage: &Stage) -> anyhow::Result<Option<String>> {
    let outbox = StoreReader::open(&stage.settings.store.folder)?.outbox()?;
    let undelivered = outbox.total.pending + outbox.total.dead + outbox.total.settled;
    Ok((undelivered > 0).then(|| format!("{undelivered} deliveries did not arrive")))
}

fn judge_mailbox(mailbox: &Mailbox, stored: &[StoredEvent]) -> Vec<String> {
    let mut problems: Vec<String> = mailbox
        .refused
        .iter()
        .map(|why| format!("a webhook was refused: {why}"))
        .collect();
    let received = mailbox
        .notices
        .iter()
        .map(|notice| notice.id.clone())
        .collect();
    problems.extend(differences("the webhook receiver", &received, stored));
    let mut newest: BTreeMap<&InstanceId, &str> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for notice in &mailbox.notices {
        let first = seen.insert(&notice.id);
        let before = newest.insert(&notice.instance, &notice.sequence);
        if first && before.is_some_and(|before| before >= notice.sequence.as_str()) {
            problems.push(format!(
                "{} came after a newer event of {}",
                notice.id, notice.instance
            ));
        }
    }
    problems
}

fn judge_kinds(report: &Report) -> impl Iterator<Item = String> {
    let wanted = EventType::ALL
        .into_iter()
        .filter(|event_type| event_type.told_by_default());
    wanted
        .filter(|event_type| !report.counts.contains_key(event_type))
        .map(|event_type| format!("no {event_type} in the whole demo"))
}

/// What is read back from files.
#[derive(Deserialize)]
struct Line {
    id: EventId,
}

fn judge_lines(stage: &Stage, stored: &[StoredEvent]) -> anyhow::Result<Vec<String>> {
    let path = stage.events_file();
    let text = fs::read_to_string(&path);
    let text = text.with_context(|| format!("failed to read {}", path.display()))?;
    let ids: Result<BTreeSet<EventId>, serde_json::Error> = text
        .lines()
        .map(|line| serde_json::from_str(line).map(|Line { id }| id))
        .collect();
    Ok(match ids {
        Ok(ids) => differences("events.jsonl", &ids, stored),
        Err(error) => vec![format!("events.jsonl has a line that is no event: {error}")],
    })
}

fn judge_state(stage: &Stage, stored: &[StoredEvent]) -> anyhow::Result<Vec<String>> {
    let newest: BTreeMap<&InstanceId, &EventId> = stored
        .iter()
        .map(|event| (&event.instance, &event.id))
        .collect();
    let mut problems = Vec::new();
    for (instance, newest) in newest {
        let path = stage.state_folder().join(format!("{instance}.json"));
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("failed to read {}", path.display()))?;
        let shown = serde_json::from_str(&text).map(|Line { id }| id);
        if !shown.is_ok_and(|shown| shown == *newest) {
            problems.push(format!(
                "{} does not hold the newest event of {instance}",
                path.display()
            ));
        }
    }
    Ok(problems)
}

/// Events that are in the store and not at `place`, and the other way round.
fn differences(place: &str, there: &BTreeSet<EventId>, stored: &[StoredEvent]) -> Vec<String> {
    let stored: BTreeSet<&EventId> = stored.iter().map(|event| &event.id).collect();
    let lost = stored.iter().filter(|id| !there.contains(**id));
    let invented = there.iter().filter(|id| !stored.contains(id));
    lost.map(|id| format!("{id} did not reach {place}"))
        .chain(invented.map(|id| format!("{id} reached {place} and was never committed")))
        .collect()
}
