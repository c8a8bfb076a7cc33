//! `readygate emulate`: the cloud API on loopback, with a simulated fleet behind it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::core::rules::Rules;
use crate::daemon::signals::StopSignals;
use crate::emulator::{Emulator, HEARTBEAT_MIN, Scenario, Span};

use super::{Context, Exit, block_on, complain};

/// The window of the cloud, and the interval in seconds of its agents within it.
const WINDOW: Duration = Rules::CLOUD.window;
const HEARTBEAT: (u32, u32) = (55, 65);

/// Serve the cloud API on this machine from a simulated fleet: no account, no cost.
///
/// Prints one line of JSON when it listens: `endpoint`, `access_key_id`, `access_key_secret`,
/// `regions`, `instances` and `sample_ids`. While it runs the fleet is looked at and changed
/// through `/emulator/v1/...`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// This many healthy instances.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        conflicts_with = "scenario"
    )]
    instances: u32,
    /// A scenario file instead, like those in config/scenarios.
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// How long a heartbeat counts; the cloud's is 120s. A shorter one plays everything faster.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    window: Option<Duration>,
    /// How long after a heartbeat the next one comes. Default: as much of the window as 55s..65s
    /// are of 120s.
    #[arg(long, value_name = "MIN..MAX", value_parser = parse_heartbeat)]
    heartbeat: Option<Span>,
    /// Fixes everything random.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Where to listen; a loopback address. Port 0 takes any free port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

fn parse_heartbeat(text: &str) -> Result<Span, String> {
    let expected = || "expected two durations, such as 55s..65s".to_owned();
    let (min, max) = text.split_once("..").ok_or_else(expected)?;
    let parse = |text: &str| humantime::parse_duration(text).map_err(|error| error.to_string());
    let (min, max) = (parse(min)?, parse(max)?);
    if min > max || min < HEARTBEAT_MIN {
        return Err(format!(
            "the first must be at least {HEARTBEAT_MIN:?} and not above the second"
        ));
    }
    Ok(Span { min, max })
}

pub(super) fn emulate(arguments: &Arguments, context: &Context) -> anyhow::Result<Exit> {
    let scenario = match scenario(arguments) {
        Ok(scenario) => scenario,
        Err(error) => {
            complain(&format!("{error:#}"));
            return Ok(Exit::Usage);
        }
    };
    block_on(async {
        let mut signals = StopSignals::listen().context("failed to listen for signals")?;
        let emulator = Emulator::bind(&scenario, arguments.listen, context.clock).await?;
        let announcement = serde_json::to_string(&emulator.announcement())?;
        writeln!(std::io::stdout(), "{announcement}").context("failed to tell where it listens")?;
        let stopped = async move {
            signals.next().await;
        };
        emulator.serve(stopped).await?;
        Ok(Exit::Done)
    })
}

fn scenario(arguments: &Arguments) -> anyhow::Result<Scenario> {
    let mut scenario = match &arguments.scenario {
        Some(file) => Scenario::load(file)?,
        None => {
            let window = arguments.window.unwrap_or(WINDOW);
            let heartbeat = arguments
                .heartbeat
                .unwrap_or_else(|| scaled_heartbeat(window));
            let seed = arguments.seed.unwrap_or(1);
            Scenario::healthy(arguments.instances, window, heartbeat, seed)?
        }
    };
    if let Some(window) = arguments.window {
        scenario.window = window;
        scenario.heartbeat = scaled_heartbeat(window);
    }
    scenario.heartbeat = arguments.heartbeat.unwrap_or(scenario.heartbeat);
    scenario.seed = arguments.seed.unwrap_or(scenario.seed);
    anyhow::ensure!(
        scenario.heartbeat.max < scenario.window,
        "a heartbeat interval of up to {:?} does not fit into a window of {:?}; make the window longer or the interval shorter",
        scenario.heartbeat.max,
        scenario.window,
    );
    Ok(scenario)
}

fn scaled_heartbeat(window: Duration) -> Span {
    let seconds = u32::try_from(WINDOW.as_secs()).unwrap_or(u32::MAX);
    let (min, max) = HEARTBEAT;
    Span {
        min: window * min / seconds,
        max: window * max / seconds,
    }
}
