//! The command line: one file per command.
//!
//! Values go to stdout, progress and reasons to stderr.

mod config;
mod demo;
mod emulate;
mod exit;
mod run;
mod wait;

use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::clock::Clock;
use crate::environment::Environment;

pub use exit::Exit;

/// Says when Alibaba Cloud ECS instances take commands, and when they stop taking them.
#[derive(Debug, Parser)]
#[command(name = "readygate", version, after_help = exit::HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Wait(wait::Arguments),
    Emulate(emulate::Arguments),
    Demo(demo::Arguments),
    Config(config::Arguments),
}

/// What every command works with.
#[derive(Debug, Clone)]
struct Context {
    clock: Clock,
    environment: Environment,
}

/// Reads the command line, does what it says, and tells how it went.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too, and go to stdout with code 0.
            error.print().ok();
            let shown = error.exit_code() == 0;
            return if shown { Exit::Done } else { Exit::Usage }.into();
        }
    };
    let context = Context {
        clock: Clock::start(),
        environment: Environment::of_process(),
    };
    let exit = match arguments.command {
        Command::Run(arguments) => run::run(&arguments, &context),
        Command::Wait(arguments) => wait::wait(&arguments, &context),
        Command::Emulate(arguments) => emulate::emulate(&arguments, &context),
        Command::Demo(arguments) => demo::demo(&arguments, &context),
        Command::Config(arguments) => config::config(&arguments, &context),
    };
    exit.unwrap_or_else(|error| {
        complain(&format!("{error:#}"));
        Exit::Failed
    })
    .into()
}

/// A sentence to stderr. That stderr is closed is no reason to fail.
fn complain(text: &str) {
    writeln!(std::io::stderr(), "readygate: {text}").ok();
}

/// Runs a command that waits for things.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all();
    runtime
        .build()
        .context("failed to start the threads of this process")?
        .block_on(command)
}
