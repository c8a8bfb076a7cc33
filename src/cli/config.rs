//! `readygate config`: settings, looked at without a daemon.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;

use crate::config::{Overrides, ReceiverKind, Settings, SettingsError};
use crate::notify::signing::SigningKey;

use super::{Context, Exit, complain};

/// Where settings come from, the same for every command that reads them.
#[derive(Debug, Args)]
pub(super) struct SettingsArguments {
    /// The settings file; the files of the conf.d beside it are read after it.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/readygate/readygate.toml"
    )]
    config: PathBuf,
    /// Keep state in this folder (store.folder).
    #[arg(long, value_name = "FOLDER")]
    state_folder: Option<String>,
    /// What to log (log.level), such as `debug` or `info,readygate::ecs=trace`.
    #[arg(long, value_name = "DIRECTIVE")]
    log_level: Option<String>,
}

impl SettingsArguments {
    /// Reads the settings, or says everything that is wrong with them.
    pub(super) fn load(&self, context: &Context) -> Result<Settings, Exit> {
        Settings::load(Some(&self.config), &context.environment, &self.overrides())
            .map_err(|problems| refuse(&problems))
    }

    fn overrides(&self) -> Overrides {
        let given = [
            ("--state-folder", "store.folder", &self.state_folder),
            ("--log-level", "log.level", &self.log_level),
        ];
        given.into_iter().fold(
            Overrides::default(),
            |overrides, (flag, key, value)| match value {
                Some(value) => overrides.set(flag, key, value.as_str()),
                None => overrides,
            },
        )
    }
}

fn refuse(problems: &SettingsError) -> Exit {
    complain(&format!("the settings cannot be used:\n{problems}"));
    Exit::Settings
}

/// Look at settings: say what is wrong, what they add up to, and what can be set.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say everything that is wrong with the settings, or in one line what is there.
    ///
    /// Ends with 78 where `readygate run` would refuse them.
    Check(SettingsArguments),
}

pub(super) fn config(arguments: &Arguments, context: &Context) -> anyhow::Result<Exit> {
    match &arguments.command {
        Command::Check(arguments) => check(arguments, context),
    }
}

fn check(arguments: &SettingsArguments, context: &Context) -> anyhow::Result<Exit> {
    let settings = match arguments.load(context) {
        Ok(settings) => settings,
        Err(exit) => return Ok(exit),
    };
    let unusable = unusable_keys(&settings);
    if !unusable.is_empty() {
        complain(&format!(
            "the settings cannot be used:\n{}",
            unusable.join("\n")
        ));
        return Ok(Exit::Settings);
    }
    say(&format!(
        "{}: {}\n",
        arguments.config.display(),
        summary(&settings)
    ))
}

/// What only the signing of events finds out, and `run` would refuse.
fn unusable_keys(settings: &Settings) -> Vec<String> {
    let unusable = |(name, kind): (&_, &ReceiverKind)| match kind {
        ReceiverKind::Webhook { secret, .. } => {
            let error = SigningKey::parse(secret.as_ref()?.expose_secret()).err()?;
            Some(format!(
                "the secret of receiver `{name}` cannot be used: {error}"
            ))
        }
        ReceiverKind::File { .. } => None,
    };
    let receivers = settings.receivers.iter();
    receivers
        .map(|receiver| (&receiver.name, &receiver.kind))
        .filter_map(unusable)
        .collect()
}

fn summary(settings: &Settings) -> String {
    let instances = settings.watches.iter().map(|watch| watch.instances.len());
    let counts = [
        (settings.scopes.len(), "scope", "scopes"),
        (settings.watches.len(), "watch", "watches"),
        (instances.sum(), "instance", "instances"),
        (settings.receivers.len(), "receiver", "receivers"),
    ];
    let counted = counts.map(|(count, one, many)| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    });
    counted.join(", ")
}

/// Writes what was asked for to stdout.
fn say(text: &str) -> anyhow::Result<Exit> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("failed to write to stdout")?;
    Ok(Exit::Done)
}
