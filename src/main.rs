//! The `readygate` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    readygate::cli::main()
}
