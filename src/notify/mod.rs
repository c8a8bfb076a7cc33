//! Receivers: webhook and file.

pub mod signing;
