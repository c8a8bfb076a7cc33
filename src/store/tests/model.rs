//! Random histories against a model that is plain enough to be right by reading.
//!
//! Held after every step: the heads of the lanes, which of them are due, the counts, the watches.
//! Held at the end: the state of every delivery of every event. Not modelled: the log of attempts,
//! and the exact microsecond at which a lane is due (bounds are).

use std::collections::VecDeque;

use proptest::prelude::*;
use tempfile::tempdir;

use crate::core::delivery::{DeadReason, Lane};

use super::super::{DeliveryCounts, DeliveryState, RECEIVER_REMOVED};
use super::*;

const INSTANCES: usize = 3;
const RECEIVERS: [&str; 3] = ["a", "b", "c"];
const LONG: Duration = Duration::from_secs(900);

#[derive(Debug, Clone)]
enum Step {
    /// Which instances, and whom the event of each is for; nobody where there is no event.
    Commit(Vec<(usize, Option<Vec<usize>>)>),
    Settle(prop::sample::Index, Verdict),
    RemoveReceiver(usize),
    RemoveWatch(usize),
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    let wanted_by = prop::collection::vec(0..RECEIVERS.len(), 0..4);
    let commit = (0..INSTANCES, prop::option::weighted(0.8, wanted_by));
    let verdict = prop_oneof![
        4 => Just(Verdict::Delivered),
        1 => Just(Verdict::Dead(DeadReason::MaxAge)),
        1 => Just(Verdict::Retry(Duration::ZERO)),
        1 => Just(Verdict::Retry(LONG)),
        1 => Just(Verdict::HoldReceiver(LONG)),
    ];
    prop_oneof![
        5 => prop::collection::vec(commit, 1..4).prop_map(Step::Commit),
        8 => (any::<prop::sample::Index>(), verdict)
            .prop_map(|(lane, verdict)| Step::Settle(lane, verdict)),
        1 => (0..RECEIVERS.len()).prop_map(Step::RemoveReceiver),
        1 => (0..INSTANCES).prop_map(Step::RemoveWatch),
        1 => Just(Step::Reopen),
    ]
}

/// What one delivery should be.
#[derive(Debug, Clone)]
struct Expected {
    event: EventId,
    sequence: u64,
    attempts: u32,
}

/// What the store should hold.
#[derive(Debug, Default)]
struct Model {
    lanes: BTreeMap<Lane, VecDeque<Expected>>,
    /// No lane is due before, and each is due after.
    due: BTreeMap<Lane, (Timestamp, Timestamp)>,
    ended: BTreeMap<(EventId, Lane), (DeliveryState, Option<&'static str>, u32)>,
    counts: BTreeMap<ReceiverName, DeliveryCounts>,
    watches: BTreeMap<InstanceId, u64>,
    newest: BTreeMap<InstanceId, u64>,
    events: Vec<EventId>,
}

impl Model {
    fn handle_commit(
        &mut self,
        commits: &[Commit],
        sequences: &[u64],
        within: (Timestamp, Timestamp),
    ) {
        for (commit, &sequence) in commits.iter().zip(sequences) {
            let instance = commit.record.instance.clone();
            let newest = self.newest.entry(instance.clone()).or_default();
            match &commit.event {
                Some(_) => assert!(sequence > *newest, "{sequence} after {newest}"),
                // The end of a watch without events takes its sequence, which is 0, along.
                None => assert_eq!(sequence, *newest),
            }
            *newest = sequence;
            self.watches.insert(instance.clone(), sequence);
            let Some(draft) = &commit.event else { continue };
            self.events.push(draft.id.clone());
            let mut receivers = commit.receivers.clone();
            receivers.sort();
            receivers.dedup();
            for receiver in receivers {
                let lane = Lane {
                    receiver: receiver.clone(),
                    scope: commit.scope.clone(),
                    instance: instance.clone(),
                };
                let queue = self.lanes.entry(lane.clone()).or_default();
                if queue.is_empty() {
                    self.due.insert(lane, within);
                }
                queue.push_back(Expected {
                    event: draft.id.clone(),
                    sequence,
                    attempts: 0,
                });
                self.counts.entry(receiver).or_default().pending += 1;
            }
        }
    }

    fn handle_settlement(&mut self, lane: &Lane, verdict: Verdict, within: (Timestamp, Timestamp)) {
        let after = |delay| (within.0 + delay, within.1 + delay);
        match verdict {
            Verdict::Delivered => self.end_head(lane, DeliveryState::Delivered, None, within),
            Verdict::Dead(reason) => {
                self.end_head(lane, DeliveryState::Dead, Some(reason.as_str()), within);
            }
            Verdict::Retry(delay) => {
                self.lanes.get_mut(lane).unwrap()[0].attempts += 1;
                self.due.insert(lane.clone(), after(delay));
            }
            Verdict::HoldReceiver(delay) => {
                self.due.insert(lane.clone(), after(delay));
            }
        }
    }

    fn end_head(
        &mut self,
        lane: &Lane,
        state: DeliveryState,
        reason: Option<&'static str>,
        within: (Timestamp, Timestamp),
    ) {
        let head = self.lanes.get_mut(lane).unwrap().pop_front().unwrap();
        let counts = self.counts.get_mut(&lane.receiver).unwrap();
        counts.pending -= 1;
        if state == DeliveryState::Delivered {
            counts.delivered += 1;
        } else {
            counts.dead += 1;
        }
        self.ended.insert(
            (head.event, lane.clone()),
            (state, reason, head.attempts + 1),
        );
        self.due.insert(lane.clone(), within);
    }

    fn handle_removed_receiver(&mut self, removed: &ReceiverName) -> u64 {
        let mut settled = 0;
        for (lane, queue) in &mut self.lanes {
            if lane.receiver != *removed {
                continue;
            }
            for delivery in queue.drain(..) {
                settled += 1;
                self.ended.insert(
                    (delivery.event, lane.clone()),
                    (
                        DeliveryState::Settled,
                        Some(RECEIVER_REMOVED),
                        delivery.attempts,
                    ),
                );
            }
        }
        if let Some(counts) = self.counts.get_mut(removed) {
            counts.pending -= settled;
            counts.settled += settled;
        }
        settled
    }

    fn heads(&self) -> BTreeMap<Lane, Expected> {
        self.lanes
            .iter()
            .filter_map(|(lane, queue)| Some((lane.clone(), queue.front()?.clone())))
            .collect()
    }
}

/// A store and its model, driven side by side.
struct Run {
    store: Store,
    clock: Clock,
    model: Model,
    folder: tempfile::TempDir,
}

impl Run {
    fn new() -> Self {
        let folder = tempdir().unwrap();
        let (store, clock) = open(folder.path());
        Self {
            store,
            clock,
            model: Model::default(),
            folder,
        }
    }

    async fn step(&mut self, step: &Step) {
        let before = self.clock.steady();
        match step {
            Step::Commit(list) => {
                let commits = self.commits(list);
                let committed = self.store.commit(commits.clone()).await.unwrap();
                let sequences: Vec<_> = committed.iter().map(|done| done.sequence).collect();
                let within = (before, self.clock.steady());
                self.model.handle_commit(&commits, &sequences, within);
            }
            Step::Settle(index, verdict) => {
                let heads = heads(&self.store).await;
                if !heads.is_empty() {
                    let head = index.get(&heads);
                    let settled = self.store.settle(settlement(head, *verdict)).await;
                    settled.unwrap();
                    let within = (before, self.clock.steady());
                    self.model.handle_settlement(&head.lane, *verdict, within);
                }
            }
            Step::RemoveReceiver(number) => {
                let (removed, kept): (Vec<_>, Vec<_>) = receivers(RECEIVERS)
                    .into_iter()
                    .partition(|receiver| receiver.as_str() == RECEIVERS[*number]);
                let settled = self.store.settle_removed_receivers(&kept).await.unwrap();
                let expected = self.model.handle_removed_receiver(&removed[0]);
                assert_eq!(settled, expected);
            }
            Step::RemoveWatch(number) => {
                let gone = instance(*number);
                let removed = self.store.remove_watches(scope(), vec![gone.clone()]);
                let known = self.model.watches.remove(&gone).is_some();
                assert_eq!(removed.await.unwrap(), usize::from(known));
            }
            Step::Reopen => {
                self.store.clone().close().await;
                (self.store, self.clock) = open(self.folder.path());
            }
        }
    }

    fn commits(&self, list: &[(usize, Option<Vec<usize>>)]) -> Vec<Commit> {
        let mut next = self.model.events.len() as u128;
        list.iter()
            .map(|(number, wanted_by)| match wanted_by {
                Some(wanted_by) => {
                    let names = wanted_by.iter().map(|&i| RECEIVERS[i].parse().unwrap());
                    next += 1;
                    telling(*number, next, names.collect())
                }
                None => quiet(*number),
            })
            .collect()
    }

    async fn compare(&self) {
        let expected = self.model.heads();
        let found = heads(&self.store).await;
        assert_eq!(found.len(), expected.len());
        for head in &found {
            let expected = &expected[&head.lane];
            assert_eq!(head.event_id, expected.event);
            assert_eq!(head.sequence, expected.sequence);
            assert_eq!(head.attempts, expected.attempts);
        }
        self.compare_due(&expected).await;
        let mut counts = self.store.outbox().await.unwrap().receivers;
        for counts in counts.values_mut() {
            counts.oldest_pending = None;
        }
        assert_eq!(counts, self.model.counts);
        let watches = self.store.load_watches(&scope()).await.unwrap();
        let watches: BTreeMap<_, _> = watches
            .into_iter()
            .map(|watch| (watch.instance, watch.sequence))
            .collect();
        assert_eq!(watches, self.model.watches);
    }

    async fn compare_due(&self, heads: &BTreeMap<Lane, Expected>) {
        let now = self.clock.steady();
        let due = self.store.due_deliveries(now, 99, Except::default());
        let due: Vec<_> = due.await.unwrap().into_iter().map(|d| d.lane).collect();
        for lane in heads.keys() {
            let (earliest, latest) = self.model.due[lane];
            assert!(earliest <= now || !due.contains(lane), "{lane:?} too early");
            assert!(latest > now || due.contains(lane), "{lane:?} is missing");
        }
        let next = self.store.next_due(Except::default()).await.unwrap();
        let bounds = heads.keys().map(|lane| self.model.due[lane]);
        assert_eq!(next.is_some(), !heads.is_empty());
        if let Some(next) = next {
            assert!(next >= bounds.clone().map(|(earliest, _)| earliest).min().unwrap());
            assert!(next <= bounds.map(|(_, latest)| latest).min().unwrap());
        }
    }

    async fn compare_history(&self) {
        let events = self.store.events(0, usize::MAX).await.unwrap();
        let ids: Vec<_> = events.iter().map(|event| event.id.clone()).collect();
        assert_eq!(ids, self.model.events);
        let mut deliveries = 0;
        for event in ids {
            for found in self.store.deliveries_of(event.clone()).await.unwrap() {
                deliveries += 1;
                let found_as = (found.state, found.reason.as_deref(), found.attempts);
                let waiting = self.model.lanes[&found.lane]
                    .iter()
                    .find(|delivery| delivery.event == event)
                    .map(|delivery| (DeliveryState::Pending, None, delivery.attempts));
                let ended = self.model.ended.get(&(event.clone(), found.lane)).copied();
                assert_eq!(Some(found_as), waiting.or(ended));
            }
        }
        let waiting: usize = self.model.lanes.values().map(VecDeque::len).sum();
        assert_eq!(deliveries, waiting + self.model.ended.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_history_of_commits_and_settlements_gives_the_lanes_of_the_model(
        steps in prop::collection::vec(any_step(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new();
            for step in &steps {
                run.step(step).await;
                run.compare().await;
            }
            run.compare_history().await;
            run.store.close().await;
        });
    }
}
