//! `readygate demo`: the whole line on this machine, and a check of what it said.

mod display;
mod hook;
mod stage;
mod verdict;

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::core::time::Timestamp;
use crate::daemon::Daemon;
use crate::daemon::signals::StopSignals;
use crate::daemon::supervise::{Stopper, Tasks};
use crate::emulator::Watched;

use super::{Context, Exit, block_on};

use display::Display;
use stage::Stage;
use verdict::Verdict;

/// How often the display is brought up to date.
const TICK: Duration = Duration::from_millis(250);

/// See it work: an emulated region, the daemon, a webhook receiver and files, all on this machine.
///
/// About 250 instances boot, beat, crash, reboot and disappear at six times the cloud's pace. What
/// the daemon says of them is compared with what really happened. Nothing is needed and nothing
/// is left behind but a folder, which it names.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// End after this time, with exit code 0 only if everything was consistent. Default: at Ctrl-C.
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
}

pub(super) fn demo(arguments: &Arguments, context: &Context) -> anyhow::Result<Exit> {
    block_on(play(arguments, context))
}

async fn play(arguments: &Arguments, context: &Context) -> anyhow::Result<Exit> {
    let signals = StopSignals::listen().context("failed to listen for signals")?;
    let clock = context.clock;
    let (stage, cast) = Stage::set(context).await?;
    let daemon = Daemon::start(&stage.settings, &stage.environment, clock).await?;
    let snapshot = daemon.snapshot();
    let (began, from) = (clock.now(), stage.emulator.now());

    let curtain = Stopper::new();
    let mut tasks = Tasks::default();
    let (mut emulator_stop, mut hook_stop) = (curtain.listener(), curtain.listener());
    tasks.start("emulator", async move {
        Ok(cast
            .emulator
            .serve(async move { emulator_stop.requested().await })
            .await?)
    });
    tasks.start("receiver", async move {
        Ok(cast
            .hook
            .serve(async move { hook_stop.requested().await })
            .await?)
    });

    let mut display =
        Display::new(std::io::stderr().is_terminal() && std::io::stdout().is_terminal());
    display.open(&stage)?;
    let (ended_at, mut to) = (tokio::sync::oneshot::channel(), None::<Timestamp>);
    let (tell_end, end) = ended_at;
    let emulator = stage.emulator.clone();
    let until = async move {
        wait_for_end(arguments.duration, signals, context).await;
        tell_end.send(emulator.now()).ok();
    };
    let mut running = std::pin::pin!(daemon.run(until));
    loop {
        tokio::select! {
            ended = &mut running => {
                ended?;
                break;
            }
            ended = tasks.next_end() => {
                let name = ended.context("nothing plays any more")??;
                anyhow::bail!("the {name} of the demo stopped by itself");
            }
            () = clock.sleep(TICK) => {
                let elapsed = clock.now().saturating_since(began);
                display.show(elapsed, &snapshot.borrow(), &stage.received)?;
            }
        }
    }
    if let Ok(at) = end.await {
        to = Some(at);
    }
    let elapsed = clock.now().saturating_since(began);
    display.show(elapsed, &snapshot.borrow(), &stage.received)?;
    display.close();
    let watched = Watched {
        from,
        to: to.unwrap_or_else(|| stage.emulator.now()),
    };
    let verdict = Verdict::reach(&stage, watched, &snapshot.borrow(), elapsed)?;
    curtain.stop();
    write!(std::io::stdout(), "{verdict}").context("failed to print the summary")?;
    Ok(if verdict.is_consistent() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

async fn wait_for_end(duration: Option<Duration>, mut signals: StopSignals, context: &Context) {
    let over = async {
        match duration {
            Some(duration) => context.clock.sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = over => {}
        _ = signals.next() => {}
    }
}
