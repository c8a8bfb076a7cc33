//! Logs: text for people on a terminal, one JSON object a line for programs; always to stderr, so
//! that stdout holds nothing but values.
//!
//! Levels: ERROR is broken, WARN would wake somebody, INFO tells what the daemon did for its users,
//! DEBUG is for one problem, TRACE is per item. Values are fields, units are in their names, and
//! identity (scope, instance, receiver) is on the span.

use std::fmt;

use thiserror::Error;
use tracing::Subscriber;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::clock::Clock;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogForm {
    /// For people.
    Text {
        /// With colours: only on a terminal, and never with `NO_COLOR`.
        colour: bool,
    },
    /// One object a line: `timestamp` (RFC 3339, UTC), `level`, `message`, `target`, every field of
    /// the event by its name, and `spans` from the outermost inwards.
    Json,
}

/// Why there are no logs.
#[derive(Debug, Error)]
pub enum LogsError {
    /// The directive is not one that `EnvFilter` takes.
    #[error("`{directive}` does not say what to log")]
    Directive {
        /// As it was given.
        directive: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Logs can be started once in a process.
    #[error("logs are already started")]
    AlreadyStarted(#[source] SetGlobalDefaultError),
}

/// Starts the logs of this process. `directive` says what is logged: a level, and exceptions by
/// module, such as `info,readygate::ecs=debug`.
///
/// # Errors
///
/// Where the directive is not understood, or the process has started its logs before.
pub fn init(directive: &str, form: LogForm, clock: Clock) -> Result<(), LogsError> {
    let subscriber = subscriber(directive, form, clock, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(LogsError::AlreadyStarted)
}

fn subscriber<W>(
    directive: &str,
    form: LogForm,
    clock: Clock,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogsError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(directive).map_err(|source| LogsError::Directive {
        directive: directive.to_owned(),
        source,
    })?;
    let base = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_timer(WallTime(clock));
    Ok(match form {
        LogForm::Text { colour } => Box::new(base.with_ansi(colour).finish()),
        LogForm::Json => Box::new(
            base.json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(true)
                .finish(),
        ),
    })
}

/// Stamps lines with the machine's calendar, in RFC 3339 and UTC.
struct WallTime(Clock);

impl FormatTime for WallTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", self.0.wall())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;
    use crate::core::time::Timestamp;

    #[test]
    fn a_json_line_has_the_fields_of_the_event_and_of_its_spans() {
        let line = logged("info", LogForm::Json);
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["level"], "INFO");
        assert_eq!(parsed["message"], "instance is stale");
        assert_eq!(parsed["age_seconds"], 135);
        assert_eq!(parsed["target"], "readygate::telemetry::logs::tests");
        assert_eq!(parsed["spans"][0]["scope"], "prod");
        assert_eq!(parsed["spans"][1]["instance"], "i-a");
        let timestamp = parsed["timestamp"].as_str().unwrap();
        assert!(timestamp.ends_with('Z'), "{timestamp}");
        assert!(Timestamp::parse_rfc3339(timestamp).is_some(), "{timestamp}");
    }

    #[test]
    fn text_has_colours_only_where_asked() {
        let plain = logged("info", LogForm::Text { colour: false });
        assert!(
            plain.contains("instance is stale age_seconds=135"),
            "{plain}"
        );
        assert!(!plain.contains('\u{1b}'), "{plain}");
        assert!(logged("info", LogForm::Text { colour: true }).contains('\u{1b}'));
    }

    #[test]
    fn what_comes_from_outside_cannot_forge_a_line_or_drive_a_terminal() {
        for form in [LogForm::Json, LogForm::Text { colour: false }] {
            let text = written("info", form, || {
                tracing::info!(message = "a\nb \u{1b}[2J", value = "c\nd \u{1b}[2J");
            });
            assert!(!text.contains('\u{1b}'), "{text:?}");
            if form == LogForm::Json {
                assert_eq!(text.lines().count(), 1, "{text:?}");
            }
        }
    }

    #[test]
    fn the_directive_decides_what_is_logged() {
        assert_eq!(logged("warn", LogForm::Json), "");
        assert!(!logged("warn,readygate::telemetry=info", LogForm::Json).is_empty());
        let error = subscriber("info,a=loud", LogForm::Json, Clock::start(), io::sink);
        assert!(matches!(error, Err(LogsError::Directive { .. })));
    }

    fn logged(directive: &str, form: LogForm) -> String {
        written(directive, form, || {
            let _scope = tracing::info_span!("poll", scope = "prod").entered();
            let _instance = tracing::info_span!("watch", instance = "i-a").entered();
            tracing::info!(age_seconds = 135, "instance is stale");
        })
    }

    fn written(directive: &str, form: LogForm, log: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let subscriber =
            subscriber(directive, form, Clock::start(), move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(written.bytes().clone()).unwrap()
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        fn bytes(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.bytes().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
