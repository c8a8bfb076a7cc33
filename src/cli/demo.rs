//! `readygate demo`: the whole line on this machine, and a check of what it said.

mod display;
mod hook;
mod stage;
mod verdict;

use std::io::Write as _;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::sync::oneshot;

use crate::daemon::Daemon;
use crate::daemon::signals::StopSignals;
use crate::daemon::supervise::{Stopper, Tasks};
use crate::daemon::systemd::ServiceManager;
use crate::emulator::Watched;

use super::{Context, Exit, block_on};

use display::Display;
use stage::{Cast, Stage};
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
    let (stage, cast) = Stage::set(context).await?;
    let daemon = Daemon::start(&stage.settings, &stage.environment, context.clock).await?;
    let snapshot = daemon.snapshot();
    let (began, from) = (context.clock.now(), stage.emulator.now());
    let curtain = Stopper::new();
    let mut tasks = raise_curtain(cast, &curtain);

    let (tell_end, end) = oneshot::channel();
    let emulator = stage.emulator.clone();
    let until = async move {
        wait_for_end(arguments.duration, signals, context).await;
        tell_end.send(emulator.now()).ok();
    };
    let nobody = ServiceManager::none(context.clock);
    let mut running = pin!(daemon.run(&nobody, until));
    let mut display = Display::open(&stage)?;
    let elapsed = loop {
        let ended = tokio::select! {
            ended = &mut running => Some(ended),
            ended = tasks.next_end() => {
                let name = ended.context("nothing plays any more")??;
                anyhow::bail!("the {name} of the demo stopped by itself");
            }
            () = context.clock.sleep(TICK) => None,
        };
        let elapsed = context.clock.now().saturating_since(began);
        display.show(&stage, elapsed, &snapshot.borrow())?;
        if let Some(ended) = ended {
            ended?;
            break elapsed;
        }
    };
    display.close();
    let watched = Watched {
        from,
        to: end.await?,
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

/// Starts the emulator and the receiver, which play until the curtain falls.
fn raise_curtain(cast: Cast, curtain: &Stopper) -> Tasks {
    let Cast { emulator, hook } = cast;
    let mut tasks = Tasks::default();
    let mut stop = curtain.listener();
    tasks.start("emulator", async move {
        Ok(emulator
            .serve(async move { stop.requested().await })
            .await?)
    });
    let mut stop = curtain.listener();
    tasks.start("receiver", async move {
        Ok(hook.serve(async move { stop.requested().await }).await?)
    });
    tasks
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
