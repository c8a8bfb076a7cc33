//! Tests of behaviour through the public doors of the crate and of the binary.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod budget;
mod config;
mod delivery;
mod dependencies;
mod emulate;
mod harness;
mod help;
mod kills;
mod layering;
mod main_job;
mod not_found;
mod settings;
mod stop;
mod systemd;
mod trouble;
mod wait;
