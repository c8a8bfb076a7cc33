//! The sections that hold one value for each key.

use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::report::Found;
use super::settings::{
    DeliverySettings, Freshness, LogFormat, LogSettings, PollSettings, StoreSettings,
};
use super::table::Table;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// The bounds of a ready deadline, which a watch can set for itself.
pub(super) const READY_DEADLINE: std::ops::RangeInclusive<Duration> =
    SECOND..=Duration::from_hours(7 * 24);

pub(super) fn store(mut table: Table<'_>) -> Option<StoreSettings> {
    let folder = table.path("folder");
    table.finish();
    Some(StoreSettings {
        folder: folder?.value,
    })
}

pub(super) fn freshness(mut table: Table<'_>) -> Option<Freshness> {
    let window = table.duration("window", SECOND..=HOUR);
    let grace = table.duration("grace", Duration::ZERO..=10 * MINUTE);
    let recover_heartbeats = table.count("recover_heartbeats", 1..=10);
    table.finish();
    Some(Freshness {
        window: window?,
        grace: grace?,
        recover_heartbeats: recover_heartbeats?,
    })
}

pub(super) fn poll(mut table: Table<'_>) -> Option<PollSettings> {
    let pending = table.duration("pending", 2 * SECOND..=5 * MINUTE);
    let ready_deadline = table.duration("ready_deadline", READY_DEADLINE);
    let absent_after = table.duration("absent_after", 10 * SECOND..=DAY);
    let timeout = table.duration("timeout", SECOND..=MINUTE);
    let calls_in_flight = table.count("calls_in_flight", 1..=64);
    table.finish();
    Some(PollSettings {
        pending: pending?,
        ready_deadline: ready_deadline?,
        absent_after: absent_after?,
        timeout: timeout?,
        calls_in_flight: usize::try_from(calls_in_flight?).ok()?,
    })
}

/// The `config.json` to take credentials from; `Some(None)` where none is named.
pub(super) fn credentials(mut table: Table<'_>) -> Option<Option<PathBuf>> {
    let config_file = table.optional("config_file", Table::path);
    table.finish();
    config_file.map(|found| found.map(|found| found.value))
}

pub(super) fn delivery(mut table: Table<'_>) -> Option<DeliverySettings> {
    let each = table.place_of("in_flight_per_receiver");
    let in_flight_per_receiver = table.count("in_flight_per_receiver", 1..=256);
    let in_flight = table.count("in_flight", 1..=4096);
    let max_age = table.duration("max_age", SECOND..=30 * DAY);
    if let (Some(one), Some(all)) = (in_flight_per_receiver, in_flight)
        && one > all
    {
        let what = format!("{one} is more than the {all} of delivery.in_flight");
        table.note_unless_incomplete(each.problem(what, "lower it, or raise delivery.in_flight"));
    }
    table.finish();
    Some(DeliverySettings {
        in_flight_per_receiver: usize::try_from(in_flight_per_receiver?).ok()?,
        in_flight: usize::try_from(in_flight?).ok()?,
        max_age: max_age?,
    })
}

pub(super) fn shutdown_grace(mut table: Table<'_>) -> Option<Duration> {
    let grace = table.duration("grace", SECOND..=5 * MINUTE);
    table.finish();
    grace
}

pub(super) fn log(mut table: Table<'_>) -> Option<LogSettings> {
    let level = table.text("level");
    let format = table.word(
        "format",
        &[
            ("auto", LogFormat::Auto),
            ("text", LogFormat::Text),
            ("json", LogFormat::Json),
        ],
    );
    if let Some(Found { value, place }) = &level
        && let Err(what) = directive(value)
    {
        let remedy = "write error, warn, info, debug or trace, and module=level after commas";
        table.note(place.problem(what, remedy));
    }
    table.finish();
    Some(LogSettings {
        level: level?.value,
        format: format?,
    })
}

/// `EnvFilter` takes a word that is no level for the name of a module and then logs all of that and
/// nothing else, so `inof` would silence everything. A module must therefore come with its level.
fn directive(text: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let level = |part: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part));
    let parts = text.split(',').map(str::trim);
    // A directive for spans has a form of its own.
    if !text.contains('[')
        && let Some(odd) = parts.into_iter().find(|p| !p.contains('=') && !level(p))
    {
        return Err(format!("`{odd}` is not a level"));
    }
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("`{text}` is not understood: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_levels_and_modules_with_levels() {
        for good in [
            "info",
            "WARN",
            "info,readygate::ecs=debug",
            "off,readygate=trace",
            "[poll{scope=a}]=debug",
        ] {
            assert_eq!(directive(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "inof",
            "off, a=info",
            "info,",
            "readygate",
            "info,a=loud",
        ] {
            assert!(directive(bad).is_err(), "{bad}");
        }
    }
}
