//! Gates: the conditions that make an instance ready.

use serde::{Deserialize, Serialize};

use super::status::{OsType, Status};

/// What must hold besides a fresh heartbeat before an instance is ready. The default asks for
/// nothing more.
///
/// The gate decides the way in; once ready, only freshness decides the way out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gate {
    /// `SupportSessionManager` is true.
    pub session_manager: bool,
    /// `ActiveTaskCount` is 0: no command is running.
    pub idle: bool,
    /// `OSType` is this one.
    pub os_type: Option<OsType>,
}

impl Gate {
    /// The first condition that does not hold for a fresh row, in words; nothing where all hold.
    #[must_use]
    pub fn unmet(&self, status: &Status) -> Option<String> {
        if self.session_manager && status.session_manager != Some(true) {
            return Some("the agent does not support session manager".to_owned());
        }
        if self.idle && status.active_tasks != Some(0) {
            return Some(match status.active_tasks {
                Some(tasks) => format!("{tasks} commands are running, none wanted"),
                None => "the reply does not say how many commands are running".to_owned(),
            });
        }
        match (self.os_type, status.os_type) {
            (Some(wanted), Some(seen)) if wanted != seen => {
                Some(format!("it runs {seen}, {wanted} wanted"))
            }
            (Some(wanted), None) => Some(format!(
                "the reply does not name its system, {wanted} wanted"
            )),
            (Some(_) | None, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(active_tasks: u64) -> Status {
        Status {
            active_tasks: Some(active_tasks),
            ..Status::default()
        }
    }

    #[test]
    fn each_condition_is_named_when_it_does_not_hold() {
        let nothing_said = Status::default();
        let linux = Status {
            os_type: Some(OsType::Linux),
            ..Status::default()
        };
        let managed = Status {
            session_manager: Some(true),
            ..Status::default()
        };
        let session_manager = Gate {
            session_manager: true,
            ..Gate::default()
        };
        let idle = Gate {
            idle: true,
            ..Gate::default()
        };
        let windows = Gate {
            os_type: Some(OsType::Windows),
            ..Gate::default()
        };
        let not_supported = "the agent does not support session manager";
        let not_counted = "the reply does not say how many commands are running";
        let cases = [
            (&Gate::default(), &nothing_said, None),
            (&session_manager, &managed, None),
            (&session_manager, &nothing_said, Some(not_supported)),
            (&idle, &running(0), None),
            (
                &idle,
                &running(2),
                Some("2 commands are running, none wanted"),
            ),
            (&idle, &nothing_said, Some(not_counted)),
            (&windows, &linux, Some("it runs Linux, Windows wanted")),
            (
                &windows,
                &running(0),
                Some("the reply does not name its system, Windows wanted"),
            ),
        ];
        for (gate, status, expected) in cases {
            assert_eq!(
                gate.unmet(status).as_deref(),
                expected,
                "{gate:?} on {status:?}"
            );
        }
    }
}
