//! Tests of behaviour through the public doors of the crate and of the binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod dependencies;
mod layering;
