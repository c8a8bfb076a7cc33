//! `readygate run`: the daemon.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use clap::Args;

use crate::config::{LogSettings, Settings};
use crate::daemon::Daemon;
use crate::daemon::signals::StopSignals;
use crate::daemon::supervise::with_causes;
use crate::daemon::systemd::ServiceManager;
use crate::telemetry::logs::{self, LogForm};

use super::config::SettingsArguments;
use super::{Context, Exit, block_on, complain};

/// Watch instances and tell receivers what becomes of them, until SIGTERM or Ctrl-C.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: SettingsArguments,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Exit> {
    let settings = match arguments.settings.load(context) {
        Ok(settings) => settings,
        Err(exit) => return Ok(exit),
    };
    if let Err(error) = start_logs(&settings.log, context) {
        complain(&with_causes(&error));
        return Ok(Exit::Settings);
    }
    block_on(daemon(&settings, context))
}

fn start_logs(settings: &LogSettings, context: &Context) -> Result<(), logs::LogsError> {
    let on_terminal = std::io::stderr().is_terminal();
    let form = if settings.format.is_text(on_terminal) {
        let colour = on_terminal && context.environment.get("NO_COLOR").is_none();
        LogForm::Text { colour }
    } else {
        LogForm::Json
    };
    logs::init(&settings.level, form, context.clock)
}

async fn daemon(settings: &Settings, context: &Context) -> anyhow::Result<Exit> {
    // Before anything that takes time, so that no signal is lost.
    let mut signals = StopSignals::listen().context("failed to listen for signals")?;
    let manager = ServiceManager::from_environment(&context.environment, context.clock)?;
    let starting = Daemon::start(settings, &context.environment, context.clock);
    let daemon = tokio::select! {
        started = starting => match started {
            Ok(daemon) => daemon,
            Err(error) => {
                tracing::error!(error = with_causes(&error), "cannot start");
                return Ok(if error.is_settings() { Exit::Settings } else { Exit::Failed });
            }
        },
        signal = signals.next() => {
            tracing::info!(signal, "stopped before the start was complete");
            return Ok(Exit::Done);
        }
    };
    let until = async {
        let signal = signals.next().await;
        tracing::info!(signal, "asked to stop; the same signal again ends at once");
    };
    match daemon.run(&manager, until).await {
        Ok(()) => Ok(Exit::Done),
        Err(failure) => {
            tracing::error!(error = with_causes(&failure), "the daemon failed");
            Ok(Exit::Failed)
        }
    }
}
