//! The decisions, and nothing else: no IO, no async, no clock, and no randomness but what is
//! passed in.
//!
//! The core is told (`handle_*(input, now)`) and asked (`poll_*`). It never calls back.

pub mod budget;
pub mod call;
pub mod delivery;
pub mod event;
pub mod fleet;
pub mod gate;
pub mod id;
pub mod phase;
pub mod rules;
pub mod schedule;
pub mod server_time;
pub mod status;
pub mod time;
pub mod waiter;
pub mod watch;
