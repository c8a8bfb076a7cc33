//! readygate says when Alibaba Cloud ECS instances take commands, and when they stop taking them.

pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
pub mod daemon;
pub mod ecs;
pub mod emulator;
pub mod environment;
pub mod notify;
pub mod store;
pub mod telemetry;
pub mod tls;
