//! How the process ends, one meaning a number.

use std::process::ExitCode;

/// The exit codes of every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done; for `wait`: every condition is met.
    Done,
    /// It failed while it ran; for `wait`: also when not one poll succeeded.
    Failed,
    /// The command line cannot be understood.
    Usage,
    /// The settings of a service cannot be used; `readygate.service` does not start it again.
    Settings,
    /// `wait` ran out of time.
    TimedOut,
    /// Ended by Ctrl-C or SIGTERM before it was done.
    Interrupted,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            // EX_CONFIG of sysexits.h.
            Self::Settings => 78,
            // As timeout(1) does.
            Self::TimedOut => 124,
            // 128 and the number of SIGINT, as shells do.
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The table that `--help` shows.
pub(super) const HELP: &str = "\
Exit codes:
    0  done; wait: every instance is ready
    1  failed while running; wait: also when not one poll succeeded
    2  the command line or its values cannot be used
   78  run, config: the settings cannot be used
  124  wait: timed out
  130  interrupted";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_help_names_every_code() {
        for exit in [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Settings,
            Exit::TimedOut,
            Exit::Interrupted,
        ] {
            let code = format!("\n{:>5}  ", exit.code());
            assert!(HELP.contains(&code), "{exit:?} is missing");
        }
    }
}
