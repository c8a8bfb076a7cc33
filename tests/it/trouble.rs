//! A fleet in trouble, watched by a daemon: what happens to it, and how what was told is judged.
//!
//! Everything runs at six times the cloud's pace (window 20 s instead of 120 s). What happens is
//! drawn from a seed, but not played to the millisecond: the emulator's record of what really
//! happened is the measure, not the plan.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use readygate::core::event::EventType;
use readygate::core::id::InstanceId;
use readygate::core::time::Timestamp;
use readygate::emulator::{
    Action, ActionError, InstanceTruth, Promise, Report, Scenario, Told, Watched, check,
};
use readygate::store::DeliveryState;

use crate::harness::{Cloud, Daemon, Hook, Pulse, Received, Site, webhook};

/// From the first trouble to the last.
const TROUBLE: (f64, f64) = (6.0, 62.0);

/// How long the daemon is watched in all: the last trouble can still be told, and most of what it
/// ends in recover.
pub(crate) const WATCHED: Duration = Duration::from_secs(98);

/// How long after a restart what fell due meanwhile may take: every instance is asked once within
/// `poll.pending`, and the server's clock must be learned anew.
const AFTER_RESTART: Duration = Duration::from_secs(3);

/// How soon one is ready that boots when the queue of the start is gone: one poll, and the way of
/// the event.
const BOOTED_WITHIN: Duration = Duration::from_secs(3);

/// How late `instance.overdue` may be: a watch begins with its first poll, whose time is known to
/// a second.
const OVERDUE_WITHIN: Duration = Duration::from_secs(5);

/// What a daemon that was not disturbed is held to.
const PROMISE: Promise = Promise {
    window: Duration::from_secs(20),
    grace: Duration::from_millis(2500),
    slack: Duration::from_secs(2),
    // Everybody is ready at once after the start: one poll of a pending instance, and then
    // hundreds of events queue for the receiver. Others have less time, see below.
    ready_within: Duration::from_secs(10),
    // Two heartbeats, the first of which ends the silence, and one poll of a stale instance.
    recovered_within: Duration::from_secs(16),
    // Up to window and grace until it is asked for again, and three absences over half a window.
    gone_within: Some(Duration::from_secs(40)),
    overdue_after: Some(Duration::from_secs(25)),
};

/// The settings that the promise is made for.
fn promised(hook: &Hook) -> String {
    format!(
        r#"
[freshness]
window = "20s"
grace = "2500ms"

[poll]
pending = "2s"
ready_deadline = "25s"
absent_after = "10s"
{}
events = ["instance.ready", "instance.overdue", "instance.late", "instance.stale",
    "instance.recovered", "instance.gone"]
"#,
        webhook(hook)
    )
}

/// What is done at a moment of the plan.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Trouble(InstanceId, Action),
    /// SIGKILL for the daemon, and a new one on the same state at once.
    Kill {
        /// Only when an event is on its way, which is waited for a while.
        while_telling: bool,
    },
}

/// Steps by when they are taken, after the start of the daemon.
pub(crate) type Plan = Vec<(Duration, Step)>;

/// A daemon, the fleet it watches, and the receiver it tells.
pub(crate) struct Stage {
    cloud: Cloud,
    hook: Hook,
    site: Site,
    pulse: Pulse,
}

/// When no daemon watched: from before its end until the next one had begun.
#[derive(Debug, Clone, Copy)]
struct Outage {
    from: Timestamp,
    to: Timestamp,
}

/// What was seen of a run.
pub(crate) struct Outcome {
    stage: Stage,
    watched: Watched,
    outages: Vec<Outage>,
    truths: Vec<InstanceTruth>,
    /// Each event once, in the order of their first arrival.
    events: Vec<Received>,
}

impl Stage {
    /// A fleet of which nine in ten run, some boot and a few never had an agent. `settings` are
    /// more for the daemon.
    pub(crate) async fn set(instances: usize, seed: u64, settings: &str) -> Self {
        let (booting, bare) = (instances * 8 / 100, instances * 2 / 100);
        let running = instances - booting - bare;
        let scenario = format!(
            r#"
window = "20s"
heartbeat = "9.2s..10.8s"
seed = {seed}
regions = ["cn-hangzhou"]

[[group]]
name = "running"
count = {running}

[[group]]
name = "booting"
count = {booting}
start = "boots"
over = "20s"

[[group]]
name = "bare"
count = {bare}
start = "never-installed"
"#
        );
        let scenario = Scenario::parse(&scenario, "the scenario of the test").unwrap();
        let cloud = Cloud::serve(&scenario).await;
        let hook = Hook::serve(cloud.clock).await;
        let settings = settings.to_owned() + &promised(&hook);
        let site = Site::new(&cloud, &cloud.ids(), &settings);
        let pulse = Pulse::start(cloud.clock);
        Self {
            cloud,
            hook,
            site,
            pulse,
        }
    }

    /// Troubles for about four in ten of the running, and late agents for half of the bare.
    pub(crate) fn plan(&self, seed: u64) -> Plan {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let mut plan = Plan::new();
        let mut running = self.cloud.handle.group("running");
        running.shuffle(&mut generator);
        let (first, last) = TROUBLE;
        for id in running.iter().take(running.len() * 2 / 5) {
            let at = generator.random_range(first..last);
            trouble(id, at, &mut generator, &mut plan);
        }
        for id in self.cloud.handle.group("bare").iter().step_by(2) {
            let at = generator.random_range(30.0..last);
            plan.push((seconds(at), Step::Trouble(id.clone(), Action::InstallAgent)));
        }
        plan.sort_by_key(|(at, _)| *at);
        plan
    }

    /// Makes the receiver slow, so that more often something is on its way to it.
    pub(crate) fn slow_down_receiver(&self, longest: Duration, seed: u64) {
        self.hook.hesitate(longest, seed);
    }

    async fn until_telling(&self, daemon: &mut Daemon) {
        let telling = daemon
            .process
            .until(Duration::from_secs(9), "an event", |_| {
                let telling = self.hook.is_being_told();
                telling.then_some(()).ok_or_else(|| "none".to_owned())
            });
        telling.await;
    }

    /// Runs a daemon through the plan, stops it, and collects what there is to judge.
    pub(crate) async fn play(self, plan: Plan) -> Outcome {
        let clock = self.cloud.clock;
        let (start, from) = (clock.now(), clock.steady());
        let mut daemon = self.site.start().await;
        let mut outages = Vec::new();
        for (at, step) in plan {
            clock.sleep_until(start + at).await;
            match step {
                Step::Trouble(id, action) => {
                    daemon.process.assert_alive();
                    act(&self.cloud, &id, action);
                }
                Step::Kill { while_telling } => {
                    if while_telling {
                        self.until_telling(&mut daemon).await;
                    }
                    let from = clock.steady();
                    daemon.process.kill();
                    daemon.assert_no_errors();
                    daemon = self.site.start().await;
                    let to = clock.steady();
                    outages.push(Outage { from, to });
                }
            }
        }
        clock.sleep_until(start + WATCHED).await;
        let to = clock.steady();
        stop(daemon).await;
        let (truths, events) = (self.cloud.handle.truths(), self.hook.events());
        Outcome {
            stage: self,
            watched: Watched { from, to },
            outages,
            truths,
            events,
        }
    }
}

async fn stop(mut daemon: Daemon) {
    daemon.process.assert_alive();
    let ended = daemon.stop(Duration::from_secs(20)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        !ended.stderr.contains(r#""level":"ERROR""#),
        "{}",
        ended.stderr
    );
}

/// One of the things that happen to instances, with what ends it again where it must be ended.
fn trouble(id: &InstanceId, at: f64, generator: &mut ChaCha8Rng, plan: &mut Plan) {
    let mut step = |at: f64, action| plan.push((seconds(at), Step::Trouble(id.clone(), action)));
    match generator.random_range(0..100) {
        0..20 => {
            step(at, Action::StopAgent);
            if generator.random_bool(0.7) {
                // Around the length at which silence becomes stale, and beyond.
                step(at + generator.random_range(8.0..34.0), Action::StartAgent);
            }
        }
        20..35 => step(at, Action::CrashAgent),
        35..50 => step(at, reboot(generator.random_range(2.0..8.0))),
        50..62 => step(at, reboot(generator.random_range(12.0..34.0))),
        62..84 => step(at, Action::LoseHeartbeats { count: 1 }),
        84..93 => step(at, Action::LoseHeartbeats { count: 2 }),
        _ => step(at, Action::Release),
    }
}

fn reboot(downtime: f64) -> Action {
    Action::Reboot {
        downtime: seconds(downtime),
    }
}

fn act(cloud: &Cloud, id: &InstanceId, action: Action) {
    match cloud.handle.act(id, action) {
        // An agent whose heartbeat came first has started by itself.
        Ok(()) | Err(ActionError::NotApplicable { .. }) => {}
        Err(error @ ActionError::Unknown(_)) => panic!("{error}"),
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

impl Outcome {
    /// Everything that was told, held against what was true.
    ///
    /// Each instance is held to a promise of its own, which allows for the outages that can have
    /// delayed something about it. Gives the figures of those whose silences no outage can have
    /// delayed, and of the others.
    pub(crate) fn assert_told_rightly(&self) -> Judged {
        let mut told: BTreeMap<&InstanceId, Vec<Told>> = BTreeMap::new();
        for event in &self.events {
            told.entry(&event.instance).or_default().push(Told {
                id: event.id.clone(),
                instance: event.instance.clone(),
                event_type: event.event_type,
                at: event.at,
            });
        }
        let mut judged = Judged {
            undisturbed: Report::default(),
            disturbed: Report::default(),
            pulse: self.stage.pulse.verdict(),
        };
        for truth in &self.truths {
            let promise = self.promise_to(truth);
            let told = told.remove(&truth.id).unwrap_or_default();
            let report = check(&promise, self.watched, std::slice::from_ref(truth), &told);
            judged.add(report, promise.slack > PROMISE.slack);
        }
        assert!(told.is_empty(), "told of nobody we know: {told:?}");
        assert!(judged.is_clean(), "{judged}outages: {:?}", self.outages);
        judged
    }

    /// What an instance can be held to: the whole promise, and later by the longest outage and
    /// the time after one where something fell due so that an outage can have delayed it. What is
    /// counted in memory (heartbeats of a recovery, absences) is counted again from the beginning
    /// after each of two outages.
    fn promise_to(&self, truth: &InstanceTruth) -> Promise {
        let outages = self.outages.iter();
        let longest = outages
            .map(|outage| outage.to.saturating_since(outage.from))
            .max();
        let later = longest.unwrap_or_default() + AFTER_RESTART;
        let mut promise = PROMISE;
        let Promise {
            window,
            grace,
            slack,
            recovered_within,
            ..
        } = PROMISE;
        for silence in &truth.silences {
            if self.can_delay(silence.start + window + grace, slack) {
                promise.slack = slack.max(later);
            }
            if silence
                .end
                .is_some_and(|end| self.can_delay(end, recovered_within))
            {
                promise.recovered_within = recovered_within * 3 + later * 2;
            }
        }
        promise.ready_within = self.ready_within(truth, later);
        if let Some((at, within)) = truth.released.zip(PROMISE.gone_within)
            && self.can_delay(at, within)
        {
            promise.gone_within = Some(within + later * 2);
        }
        promise
    }

    /// How soon ready and overdue must be told of an instance.
    fn ready_within(&self, truth: &InstanceTruth, later: Duration) -> Duration {
        let from = self.watched.from;
        let overdue = PROMISE.overdue_after.map(|after| from + after);
        let first = truth.first_heartbeat.max(Some(from));
        let within = if truth.first_heartbeat.is_none() || first >= overdue {
            OVERDUE_WITHIN
        } else if first > Some(from + PROMISE.ready_within) {
            BOOTED_WITHIN
        } else {
            PROMISE.ready_within
        };
        let mut due = [first, overdue].into_iter().flatten();
        if due.any(|at| self.can_delay(at, within)) {
            within + later
        } else {
            within
        }
    }

    /// Whether an outage can delay what falls due at a time and is told within that much.
    fn can_delay(&self, at: Timestamp, within: Duration) -> bool {
        let mut outages = self.outages.iter();
        outages.any(|outage| at <= outage.to + AFTER_RESTART && outage.from <= at + within)
    }

    /// What the receiver got is what is committed, byte for byte, and all of it is settled as
    /// delivered.
    pub(crate) fn assert_store_and_receiver_agree(&self) {
        let stored = self.stage.site.events();
        let bodies: BTreeMap<_, _> = stored.iter().map(|e| (&e.id, &e.body)).collect();
        let received: BTreeMap<_, _> = self.events.iter().map(|e| (&e.id, &e.body)).collect();
        assert_eq!(
            bodies.len(),
            stored.len(),
            "an event ID was committed twice"
        );
        for (id, body) in &bodies {
            assert_eq!(received.get(id), Some(body), "{id} was lost or altered");
        }
        for id in received.keys() {
            assert!(bodies.contains_key(id), "{id} was told and never committed");
        }
        let store = self.stage.site.store();
        for event in &stored {
            for delivery in store.deliveries_of(&event.id).unwrap() {
                assert_eq!(delivery.state, DeliveryState::Delivered, "{delivery:?}");
            }
        }
        for again in self.stage.hook.received() {
            assert_eq!(
                Some(&&again.body),
                bodies.get(&again.id),
                "a repeat differs"
            );
        }
    }

    /// Per instance, first deliveries rise in `sequence`.
    pub(crate) fn assert_in_order(&self) {
        let mut newest: BTreeMap<&InstanceId, u64> = BTreeMap::new();
        for Received {
            instance, sequence, ..
        } in &self.events
        {
            let before = newest.insert(instance, *sequence);
            assert!(
                before < Some(*sequence),
                "{instance}: {sequence} came after {before:?}"
            );
        }
    }

    /// A run in which something never happened shows nothing about it.
    pub(crate) fn assert_every_kind_occurred(&self) {
        for event_type in EventType::ALL {
            let occurred = self.events.iter().any(|e| e.event_type == event_type);
            assert!(occurred, "there was no {event_type}");
        }
    }

    /// How many calls were made in all, and the most in any minute.
    pub(crate) fn calls(&self) -> (u64, usize) {
        let (total, calls) = self.stage.cloud.handle.calls();
        let minute = Duration::from_secs(60);
        let most = calls.iter().enumerate().map(|(index, first)| {
            let rest = calls[index..].iter();
            rest.take_while(|call| call.time < first.time + minute)
                .count()
        });
        (total, most.max().unwrap_or_default())
    }

    /// How many requests repeated an event that had come before.
    pub(crate) fn repeats(&self) -> usize {
        self.stage.hook.received().len() - self.events.len()
    }
}

/// How a run was judged.
#[derive(Debug)]
pub(crate) struct Judged {
    /// Instances whose silences no outage can have delayed.
    pub(crate) undisturbed: Report,
    /// The others.
    pub(crate) disturbed: Report,
    /// Whether the machine kept up.
    pulse: String,
}

impl Judged {
    fn is_clean(&self) -> bool {
        self.undisturbed.is_clean() && self.disturbed.is_clean()
    }

    /// Adds the report of one instance.
    fn add(&mut self, one: Report, disturbed: bool) {
        let all = if disturbed {
            &mut self.disturbed
        } else {
            &mut self.undisturbed
        };
        all.violations.extend(one.violations);
        for (event_type, count) in one.counts {
            *all.counts.entry(event_type).or_default() += count;
        }
        all.silences_to_tell += one.silences_to_tell;
        all.worst_stale_delay = all.worst_stale_delay.max(one.worst_stale_delay);
        all.worst_ready_delay = all.worst_ready_delay.max(one.worst_ready_delay);
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "undisturbed:\n{}", self.undisturbed)?;
        writeln!(f, "disturbed by outages:\n{}{}", self.disturbed, self.pulse)
    }
}
