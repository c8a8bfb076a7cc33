//! `readygate wait`: holds a script until its instances take commands.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::clock::Clock;
use crate::core::budget::Budget;
use crate::core::call::Disposition;
use crate::core::fleet::{Batch, Fleet, FleetSettings};
use crate::core::gate::Gate;
use crate::core::id::InstanceId;
use crate::core::rules::{Policy, Rules};
use crate::core::time::Instant;
use crate::core::waiter::Waiter;
use crate::daemon::signals::StopSignals;
use crate::daemon::supervise::{Jobs, TaskFailure, with_causes};
use crate::ecs::client::{Call, Client, ClientSettings};
use crate::ecs::credentials::CredentialSource;

use super::{Context, Exit, block_on, complain};

/// How long a wait pauses between two questions. The heartbeat of a booting instance comes once.
const INTERVAL: Duration = Duration::from_secs(5);

/// How many calls may be on their way at once.
const CALLS_IN_FLIGHT: usize = 4;

/// Longer than any wait: an ID that is not known yet is waited for to the end.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How many instances a progress line names.
const NAMED: usize = 3;

/// Hold until every instance is ready: its Cloud Assistant Agent beats.
///
/// Prints a line on stdout for each instance as it becomes ready. One that falls silent while
/// others are waited for is waited for again. An ID that the API does not know is waited for to
/// the end.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The IDs to wait for, `i-...` or `mi-...`.
    #[arg(required = true, value_name = "ID")]
    ids: Vec<InstanceId>,
    /// Give up after this time, with exit code 124.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_timeout)]
    timeout: Duration,
    /// The region of the instances. Default: `ALIBABA_CLOUD_REGION_ID` of the environment.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The profile of ~/.aliyun/config.json to sign with. Default: the environment's keys, then the
    /// profile that is current.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Where the API answers. Default: the region's public endpoint.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// At most this many calls in any minute.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=6000))]
    calls_per_minute: u32,
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if timeout.is_zero() {
        Err("must be longer than nothing".to_owned())
    } else {
        Ok(timeout)
    }
}

/// How a wait ends; each has one exit code.
enum Outcome {
    Met,
    TimedOut,
    /// Not one call succeeded, and why.
    NeverAnswered(String),
    Interrupted,
}

pub(super) fn wait(arguments: &Arguments, context: &Context) -> anyhow::Result<Exit> {
    let environment = &context.environment;
    let region = arguments
        .region
        .as_deref()
        .or_else(|| environment.get("ALIBABA_CLOUD_REGION_ID"));
    let Some(region) = region else {
        complain("which region? Name it with --region, or set ALIBABA_CLOUD_REGION_ID");
        return Ok(Exit::Usage);
    };
    let source = CredentialSource::new(arguments.profile.clone(), None, environment);
    let settings = ClientSettings {
        endpoint: arguments.endpoint.clone(),
        ..ClientSettings::new(region.to_owned(), source)
    };
    let client = match Client::new(settings, context.clock) {
        Ok(client) => client,
        Err(error) => {
            complain(&with_causes(&error));
            return Ok(Exit::Usage);
        }
    };
    block_on(async {
        let signals = StopSignals::listen().context("failed to listen for signals")?;
        client.load_credentials(Duration::ZERO).await?;
        let mut waiting = Waiting::new(arguments, client, context.clock);
        let outcome = waiting.run(arguments.timeout, signals).await?;
        Ok(waiting.conclude(outcome, arguments.timeout))
    })
}

/// A wait that is under way.
struct Waiting {
    waiter: Waiter,
    fleet: Fleet,
    budget: Budget,
    client: Arc<Client>,
    calls: Jobs<(Batch, Call)>,
    clock: Clock,
    answered: bool,
    /// Why the newest call brought nothing.
    trouble: Option<String>,
    shown: String,
}

impl Waiting {
    fn new(arguments: &Arguments, client: Client, clock: Clock) -> Self {
        let rules = Rules {
            absent_after: NEVER,
            ..Rules::CLOUD
        };
        let mut fleet = Fleet::new(&FleetSettings {
            rules,
            pending: INTERVAL,
            relaxes: false,
            calls_in_flight: CALLS_IN_FLIGHT,
        });
        let policy = Arc::new(Policy {
            gate: Gate::default(),
            ready_deadline: NEVER,
        });
        let watches = arguments
            .ids
            .iter()
            .map(|id| (id.clone(), Arc::clone(&policy), None));
        fleet.add_watches(watches, clock.now());
        Self {
            waiter: Waiter::new(arguments.ids.iter().cloned(), Gate::default()),
            fleet,
            budget: Budget::new(arguments.calls_per_minute),
            client: Arc::new(client),
            calls: Jobs::new(),
            clock,
            answered: false,
            trouble: None,
            shown: String::new(),
        }
    }

    async fn run(
        &mut self,
        timeout: Duration,
        mut signals: StopSignals,
    ) -> Result<Outcome, anyhow::Error> {
        let clock = self.clock;
        let deadline = clock.now() + timeout;
        while !self.waiter.is_met() {
            self.start_calls();
            let wake = self
                .fleet
                .poll_timeout(&self.budget)
                .map_or(deadline, |(at, _)| at);
            tokio::select! {
                call = self.calls.next("call") => {
                    if let Some(outcome) = self.handle_call(call)? {
                        return Ok(outcome);
                    }
                }
                () = clock.sleep_until(wake.min(deadline)) => {
                    if clock.now() >= deadline {
                        return Ok(self.timed_out());
                    }
                }
                _ = signals.next() => return Ok(Outcome::Interrupted),
            }
        }
        Ok(Outcome::Met)
    }

    fn timed_out(&self) -> Outcome {
        match &self.trouble {
            Some(trouble) if !self.answered => Outcome::NeverAnswered(trouble.clone()),
            Some(_) | None => Outcome::TimedOut,
        }
    }

    fn start_calls(&mut self) {
        let now: Instant = self.clock.now();
        self.fleet.handle_timeout(now, &mut self.budget);
        while let Some(batch) = self.fleet.poll_batch() {
            let client = Arc::clone(&self.client);
            self.calls.start(async move {
                let call = client.describe(&batch.instances).await;
                (batch, call)
            });
        }
    }

    /// Takes in a call, and gives the outcome where waiting on is useless.
    fn handle_call(
        &mut self,
        ended: Result<(Batch, Call), TaskFailure>,
    ) -> anyhow::Result<Option<Outcome>> {
        let (batch, Call { report, error, .. }) = ended?;
        for instance in self.waiter.handle_report(&batch.instances, &report) {
            writeln!(std::io::stdout(), "{instance} ready")
                .context("failed to tell who is ready")?;
        }
        self.fleet
            .handle_report(batch.id, &report, rand::random(), &mut self.budget);
        // Nothing is kept, so every change is as good as committed.
        while let Some(change) = self.fleet.poll_change() {
            self.fleet
                .handle_committed(&change.record.instance, change.record.sequence);
        }
        self.answered |= matches!(report.outcome, Ok(_) | Err(Disposition::NotFound));
        self.trouble = error.map(|error| with_causes(&error));
        if let (Err(Disposition::Permanent), false, Some(trouble)) =
            (&report.outcome, self.answered, &self.trouble)
        {
            // Wrong keys stay wrong: that is no time-out.
            return Ok(Some(Outcome::NeverAnswered(trouble.clone())));
        }
        self.show_progress();
        Ok(None)
    }

    /// A line on stderr when something has changed.
    fn show_progress(&mut self) {
        let unmet: Vec<_> = self.waiter.unmet().collect();
        let mut line = format!(
            "{} of {} ready",
            self.waiter.len() - unmet.len(),
            self.waiter.len()
        );
        for (instance, why) in unmet.iter().take(NAMED) {
            line.push_str(&format!("; {instance}: {why}"));
        }
        if unmet.len() > NAMED {
            line.push_str(&format!("; and {} more", unmet.len() - NAMED));
        }
        if let Some(trouble) = self.trouble.as_ref().filter(|_| !self.answered) {
            line = trouble.clone();
        }
        if line != self.shown {
            complain(&line);
            self.shown = line;
        }
    }

    fn conclude(&self, outcome: Outcome, timeout: Duration) -> Exit {
        match outcome {
            Outcome::Met => Exit::Done,
            Outcome::TimedOut => {
                let timeout = humantime::format_duration(timeout);
                let calls = self.fleet.calls_made();
                complain(&format!("timed out after {timeout} and {calls} calls"));
                for (instance, why) in self.waiter.unmet() {
                    complain(&format!("{instance} is not ready: {why}"));
                }
                Exit::TimedOut
            }
            Outcome::NeverAnswered(trouble) => {
                complain(&format!("not one call succeeded: {trouble}"));
                Exit::Failed
            }
            Outcome::Interrupted => {
                let met = self.waiter.len() - self.waiter.unmet().count();
                complain(&format!(
                    "interrupted; {met} of {} were ready",
                    self.waiter.len()
                ));
                Exit::Interrupted
            }
        }
    }
}
