//! A region to ask, under a virtual clock.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

/// A region whose instances are known only by their heartbeats, under a virtual clock.
pub(super) struct Region {
    pub(super) now: Instant,
    pub(super) budget: Budget,
    /// Of each instance: its heartbeats in monotonic time, rising.
    pub(super) beats: Vec<Vec<Instant>>,
    pub(super) unknown: Vec<bool>,
    pub(super) answer: Box<dyn Fn(Instant) -> Result<(), Disposition>>,
    pub(super) round_trip: Duration,
    pub(super) calls: usize,
    pub(super) told: Vec<(Instant, InstanceId, EventType)>,
    /// Why, of every change.
    pub(super) reasons: Vec<String>,
}

impl Region {
    fn new(beats: Vec<Vec<Instant>>) -> Self {
        Self {
            now: Instant::from_origin(seconds(1000.0)),
            budget: Budget::new(6000),
            unknown: vec![false; beats.len()],
            beats,
            answer: Box::new(|_| Ok(())),
            round_trip: seconds(0.03),
            calls: 0,
            told: Vec::new(),
            reasons: Vec::new(),
        }
    }

    /// Instances that beat every 55 to 65 s until `end`.
    pub(super) fn healthy(instances: usize, end: f64, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut between = |low: f64, high: f64| {
            low + (high - low) * f64::from(random.next_u32()) / f64::from(u32::MAX)
        };
        let beats = (0..instances)
            .map(|_| {
                let mut beat = 1000.0 - between(0.0, 60.0);
                let mut beats = Vec::new();
                while beat < end {
                    beats.push(Instant::from_origin(seconds(beat)));
                    beat += between(55.0, 65.0);
                }
                beats
            })
            .collect();
        Self::new(beats)
    }

    fn number(instance: &InstanceId) -> usize {
        instance.as_str()[2..].parse().unwrap()
    }

    fn row(&self, instance: &InstanceId, at: Instant) -> Row {
        let beats = &self.beats[Self::number(instance)];
        let beat = beats
            .partition_point(|beat| *beat <= at)
            .checked_sub(1)
            .map(|last| beats[last]);
        let status = Status {
            fresh: beat.is_some_and(|beat| at.saturating_since(beat) < SETTINGS.rules.window),
            last_heartbeat: beat.map(|beat| whole_second(server(beat))),
            agent_version: beat.map(|_| "2.2.3.857".to_owned()),
            ..Status::default()
        };
        Row {
            instance: instance.clone(),
            status,
        }
    }

    pub(super) fn call(&mut self, batch: &Batch) -> CallReport {
        self.calls += 1;
        let (sent, received) = (self.now, self.now + self.round_trip);
        let read_at = sent + self.round_trip / 2;
        let outcome = (self.answer)(sent).and_then(|()| {
            if batch
                .instances
                .iter()
                .any(|id| self.unknown[Self::number(id)])
            {
                return Err(Disposition::NotFound);
            }
            // In reverse, because order means nothing.
            Ok(batch
                .instances
                .iter()
                .rev()
                .map(|id| self.row(id, read_at))
                .collect())
        });
        CallReport {
            sent,
            received,
            date: Some(whole_second(server(read_at))),
            outcome,
        }
    }

    /// Runs the fleet until `end`, committing every change at once.
    pub(super) fn run(&mut self, fleet: &mut Fleet, end: f64) {
        let end = Instant::from_origin(seconds(end));
        while let Some((at, _)) = fleet.poll_timeout(&self.budget) {
            if at.max(self.now) >= end {
                break;
            }
            self.now = self.now.max(at);
            fleet.handle_timeout(self.now, &mut self.budget);
            while let Some(batch) = fleet.poll_batch() {
                let report = self.call(&batch);
                self.now = report.received;
                fleet.handle_report(batch.id, &report, 1 << 63, &mut self.budget);
            }
            self.commit(fleet);
        }
        self.now = self.now.max(end);
    }

    pub(super) fn commit(&mut self, fleet: &mut Fleet) {
        while let Some(change) = fleet.poll_change() {
            let instance = change.record.instance.clone();
            self.reasons.push(change.record.reason.message.clone());
            if let Some(event) = change.event {
                self.told.push((self.now, instance.clone(), event));
            }
            fleet.handle_committed(&instance, change.record.sequence + 1);
        }
    }

    pub(super) fn told(&self, event: EventType) -> Vec<(Instant, usize)> {
        let of_type = self.told.iter().filter(|(_, _, told)| *told == event);
        of_type
            .map(|(at, instance, _)| (*at, Self::number(instance)))
            .collect()
    }
}
