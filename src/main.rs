//! The `readygate` command.

fn main() {}
