//! The rules, for one instance.

use std::time::Duration;

use super::{Promise, Report, Watched};
use crate::core::event::EventType;
use crate::core::id::InstanceId;
use crate::core::time::Timestamp;
use crate::core::watch::Phase;
use crate::emulator::truth::{InstanceTruth, Silence};

/// One instance: what was true of it and what was told of it, in the order of its time.
pub(super) struct Case<'a> {
    promise: &'a Promise,
    watched: Watched,
    truth: &'a InstanceTruth,
    told: &'a [(EventType, Timestamp)],
}

/// From when to when an instance beat without a silence longer than the window.
#[derive(Clone, Copy)]
struct Fresh {
    from: Timestamp,
    to: Timestamp,
}

impl Fresh {
    fn lasts(self, duration: Duration) -> bool {
        self.from + duration <= self.to
    }
}

impl<'a> Case<'a> {
    pub(super) const fn new(
        promise: &'a Promise,
        watched: Watched,
        truth: &'a InstanceTruth,
        told: &'a [(EventType, Timestamp)],
    ) -> Self {
        Self {
            promise,
            watched,
            truth,
            told,
        }
    }

    /// Adds to the report what is wrong about this instance, and its figures.
    pub(super) fn judge(&self, report: &mut Report) {
        if self.truth.silences_forgotten > 0 {
            report.violations.push(format!(
                "{}: cannot be checked, {} of its silences were forgotten",
                self.truth.id, self.truth.silences_forgotten
            ));
            return;
        }
        let mut wrong = wrong_order(self.told);
        for (event_type, at) in self.told.iter().copied() {
            match event_type {
                EventType::Ready => wrong.extend(self.ready_is_wrong(at)),
                EventType::Stale => wrong.extend(self.stale_is_wrong(at)),
                EventType::Recovered => wrong.extend(self.recovered_is_wrong(at)),
                EventType::Gone => wrong.extend(self.gone_is_wrong(at)),
                EventType::Overdue => wrong.extend(self.overdue_is_wrong(at)),
                // Which moment of a silence it falls on depends on the polling.
                EventType::Late => {}
            }
        }
        wrong.extend(self.ready_is_missing());
        wrong.extend(self.stale_is_missing(&mut report.silences_to_tell));
        wrong.extend(self.recovered_is_missing());
        wrong.extend(self.gone_is_missing());
        wrong.extend(self.overdue_is_missing());
        let id = &self.truth.id;
        let sentences = wrong.into_iter().map(|problem| format!("{id}: {problem}"));
        report.violations.extend(sentences);
        report.worst_stale_delay = report.worst_stale_delay.max(self.worst_stale_delay());
        report.worst_ready_delay = report.worst_ready_delay.max(self.ready_delay());
    }

    fn times_of(&self, wanted: EventType) -> impl Iterator<Item = Timestamp> {
        let told = self.told.iter();
        told.filter_map(move |(event_type, at)| (*event_type == wanted).then_some(*at))
    }

    fn told_within(&self, event_type: EventType, from: Timestamp, to: Timestamp) -> bool {
        self.times_of(event_type).any(|at| from <= at && at <= to)
    }

    /// When its history ends for the watcher.
    fn end(&self) -> Timestamp {
        let released = self.truth.released.unwrap_or(self.watched.to);
        released.min(self.watched.to)
    }

    /// The first moment a silence may be told, and the last.
    fn stale_due(&self, silence: Silence) -> (Timestamp, Timestamp) {
        let earliest = silence.start + self.promise.window + self.promise.grace;
        (earliest, earliest + self.promise.slack)
    }

    /// The newest silence that had begun by then.
    fn silence_at(&self, at: Timestamp) -> Option<Silence> {
        let begun = |silence: &&Silence| silence.start <= at;
        self.truth.silences.iter().rev().find(begun).copied()
    }

    /// The silence that a stale told at that time can only mean. It may just have ended.
    fn silence_meant(&self, at: Timestamp) -> Option<Silence> {
        let slack = self.promise.slack;
        self.silence_at(at)
            .filter(|silence| silence.end.is_none_or(|end| at <= end + slack))
    }

    /// Whether its status was false at that time, and for so long that no reply from before can
    /// be meant.
    fn is_silent(&self, at: Timestamp) -> bool {
        self.silence_at(at).is_some_and(|silence| {
            at > silence.start + self.promise.window + self.promise.slack
                && silence.end.is_none_or(|end| at < end)
        })
    }

    /// When its status was true, within the time that was watched.
    fn fresh(&self) -> Vec<Fresh> {
        let Some(first) = self.truth.first_heartbeat else {
            return Vec::new();
        };
        let mut fresh = Vec::new();
        let mut from = Some(first.max(self.watched.from));
        for silence in &self.truth.silences {
            let dead = silence.start + self.promise.window;
            if silence.end.is_some_and(|end| end <= dead) {
                continue;
            }
            fresh.extend(from.map(|from| Fresh { from, to: dead }));
            from = silence.end.map(|end| end.max(self.watched.from));
        }
        let end = self.end();
        fresh.extend(from.map(|from| Fresh { from, to: end }));
        for period in &mut fresh {
            period.to = period.to.min(end);
        }
        fresh.retain(|period| period.from <= period.to);
        fresh
    }

    fn ready_is_wrong(&self, at: Timestamp) -> Option<String> {
        match self.truth.first_heartbeat {
            None => Some(format!("ready at {at}, but it never beat")),
            Some(first) if at < first => Some(format!(
                "ready at {at}, before its first heartbeat at {first}"
            )),
            Some(_) if self.is_silent(at) => Some(format!("ready at {at}, while it was silent")),
            Some(_) => self.told_after_release("ready", at),
        }
    }

    fn told_after_release(&self, what: &str, at: Timestamp) -> Option<String> {
        let released = self.truth.released?;
        (at > released + self.promise.slack)
            .then(|| format!("{what} at {at}, after it was released at {released}"))
    }

    fn ready_is_missing(&self) -> Option<String> {
        let within = self.promise.ready_within;
        let period = self.fresh().into_iter().find(|fresh| fresh.lasts(within))?;
        let deadline = period.from + within;
        let told = self.times_of(EventType::Ready).any(|at| at <= deadline);
        (!told).then(|| {
            format!(
                "not told ready by {deadline}, though it could be seen beating from {}",
                period.from
            )
        })
    }

    fn stale_is_wrong(&self, at: Timestamp) -> Option<String> {
        let Some(silence) = self.silence_meant(at) else {
            return Some(format!("stale at {at}, but it was not silent then"));
        };
        let start = silence.start;
        let (earliest, latest) = self.stale_due(silence);
        if at < earliest {
            let age = at.saturating_since(start);
            Some(format!(
                "stale at {at}, {age:?} after its last heartbeat: {:?} too early",
                earliest.saturating_since(at)
            ))
        } else if let Some(end) = silence.end.filter(|end| *end < earliest) {
            let length = end.saturating_since(start);
            Some(format!("stale at {at} for a silence of only {length:?}"))
        } else if at > latest {
            let delay = at.saturating_since(earliest);
            Some(format!("stale at {at}, {delay:?} after it was due"))
        } else {
            self.told_after_release("stale", at)
        }
    }

    /// The silences that outlast what may pass untold and began while the watcher said `ready`.
    fn stale_is_missing(&self, to_tell: &mut usize) -> Vec<String> {
        let mut missing = Vec::new();
        for silence in self.truth.silences.iter().copied() {
            let (earliest, latest) = self.stale_due(silence);
            let end = silence
                .end
                .map_or_else(|| self.end(), |end| end.min(self.end()));
            let lasted = end > latest;
            if !lasted || self.phase_before(silence.start, earliest) != Phase::Ready {
                continue;
            }
            *to_tell += 1;
            // One at a wrong time within the silence has been told of already.
            if !self.told_within(EventType::Stale, silence.start, end + self.promise.slack) {
                missing.push(format!(
                    "silent since {}, but not told stale by {latest}",
                    silence.start
                ));
            }
        }
        missing
    }

    /// The phase the watcher had told when a silence became due. A stale told too early for this
    /// very silence does not count against it.
    fn phase_before(&self, start: Timestamp, due: Timestamp) -> Phase {
        let mut phase = Phase::Pending;
        for (event_type, at) in self.told {
            let of_this_silence = *event_type == EventType::Stale && *at >= start;
            if *at <= due && !of_this_silence {
                phase = phase_after(*event_type, phase);
            }
        }
        phase
    }

    fn worst_stale_delay(&self) -> Option<Duration> {
        self.times_of(EventType::Stale)
            .filter_map(|at| {
                let (earliest, _) = self.stale_due(self.silence_meant(at)?);
                Some(at.saturating_since(earliest))
            })
            .max()
    }

    fn ready_delay(&self) -> Option<Duration> {
        let at = self.times_of(EventType::Ready).next()?;
        let fresh = self.fresh();
        let period = fresh.iter().rev().find(|period| period.from <= at)?;
        Some(at.saturating_since(period.from))
    }

    /// The silence that the last stale before `at` told.
    fn silence_told_before(&self, at: Timestamp) -> Option<Silence> {
        let stale = self.times_of(EventType::Stale).filter(|stale| *stale <= at);
        self.silence_at(stale.last()?)
    }

    fn recovered_is_wrong(&self, at: Timestamp) -> Option<String> {
        let beat_again = self
            .silence_told_before(at)
            .is_none_or(|silence| silence.end.is_some_and(|end| end <= at));
        if !beat_again || self.is_silent(at) {
            return Some(format!("recovered at {at}, while it was silent"));
        }
        self.told_after_release("recovered", at)
    }

    fn recovered_is_missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for stale in self.times_of(EventType::Stale) {
            let Some(end) = self.silence_at(stale).and_then(|silence| silence.end) else {
                continue;
            };
            let deadline = end.max(stale) + self.promise.recovered_within;
            let next = self.truth.silences.iter().find(|next| next.start >= end);
            let until = next.map_or_else(|| self.end(), |next| next.start.min(self.end()));
            if deadline <= until && !self.told_within(EventType::Recovered, stale, deadline) {
                missing.push(format!(
                    "beats again since {end}, but was not told recovered by {deadline}"
                ));
            }
        }
        missing
    }

    fn gone_is_wrong(&self, at: Timestamp) -> Option<String> {
        match self.truth.released {
            None => Some(format!("gone at {at}, but it was never released")),
            Some(released) if at < released => Some(format!(
                "gone at {at}, before it was released at {released}"
            )),
            Some(_) => None,
        }
    }

    fn gone_is_missing(&self) -> Option<String> {
        let released = self.truth.released?;
        let deadline = released + self.promise.gone_within?;
        let seen = self.watched.from + self.promise.ready_within <= released;
        // One before the release has been told of already.
        let told = self.times_of(EventType::Gone).any(|at| at <= deadline);
        (seen && deadline <= self.watched.to && !told)
            .then(|| format!("released at {released}, but not told gone by {deadline}"))
    }

    fn overdue_is_wrong(&self, at: Timestamp) -> Option<String> {
        let deadline = self.watched.from + self.promise.overdue_after?;
        (at < deadline).then(|| format!("overdue at {at}, before the deadline at {deadline}"))
    }

    fn overdue_is_missing(&self) -> Option<String> {
        let deadline = self.watched.from + self.promise.overdue_after?;
        let latest = deadline + self.promise.ready_within;
        let never_fresh = self.fresh().first().is_none_or(|fresh| fresh.from > latest);
        let watched = latest <= self.end();
        let told = self.told_within(EventType::Overdue, deadline, latest);
        (never_fresh && watched && !told)
            .then(|| format!("not ready, but not told overdue by {latest}"))
    }
}

/// An event must leave from the phase it is meant for; a second one for the same change finds
/// the phase changed already.
fn wrong_order(told: &[(EventType, Timestamp)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut phase, mut overdue) = (Phase::Pending, false);
    for (event_type, at) in told.iter().copied() {
        let fits = match event_type {
            EventType::Ready => phase == Phase::Pending,
            EventType::Overdue => phase == Phase::Pending && !overdue,
            EventType::Late | EventType::Stale => phase == Phase::Ready,
            EventType::Recovered => phase == Phase::Stale,
            EventType::Gone => phase != Phase::Gone,
        };
        if !fits {
            let before = if overdue && phase == Phase::Pending {
                "overdue"
            } else {
                phase.as_str()
            };
            wrong.push(format!(
                "{event_type} at {at}, though it was {before} before"
            ));
        }
        overdue |= event_type == EventType::Overdue;
        phase = phase_after(event_type, phase);
    }
    wrong
}

/// `late` does not count as a phase here: it is told only where asked for, and nothing follows
/// from it.
const fn phase_after(event_type: EventType, before: Phase) -> Phase {
    match event_type {
        EventType::Ready | EventType::Recovered => Phase::Ready,
        EventType::Stale => Phase::Stale,
        EventType::Gone => Phase::Gone,
        EventType::Overdue | EventType::Late => before,
    }
}

/// What may be told of an ID that never existed: that it is overdue, and that it is gone.
pub(super) fn judge_unknown(id: &InstanceId, told: &[(EventType, Timestamp)], report: &mut Report) {
    let mut wrong = wrong_order(told);
    for (event_type, at) in told {
        match event_type {
            EventType::Overdue | EventType::Gone => {}
            EventType::Ready | EventType::Late | EventType::Stale | EventType::Recovered => {
                wrong.push(format!("{event_type} at {at}, but it never existed"));
            }
        }
    }
    let sentences = wrong.into_iter().map(|problem| format!("{id}: {problem}"));
    report.violations.extend(sentences);
}
