//! What the demo shows while it plays: bars on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::core::call::BATCH_MAX;
use crate::core::event::EventType;
use crate::core::phase::Phase;
use crate::daemon::snapshot::Snapshot;

use super::hook::Notice;
use super::stage::Stage;

/// How many events of one type at one time are shown one by one.
const SHOWN_SINGLY: usize = 4;

/// How often plain lines tell the state of the fleet.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// What a loop that asks for everybody on a fixed interval spends: 5 s at the cloud's window of
/// 120 s, and as much less as the window of the demo is shorter.
pub(super) fn fixed_loop(stage: &Stage) -> Duration {
    stage.settings.freshness.window / 24
}

/// How many calls that loop would have made.
pub(super) fn calls_of_fixed_loop(stage: &Stage, elapsed: Duration) -> u128 {
    let rounds = elapsed.as_millis() / fixed_loop(stage).as_millis().max(1);
    let calls = stage.instances.div_ceil(BATCH_MAX);
    rounds * u128::try_from(calls).unwrap_or(u128::MAX)
}

/// Shows the fleet, and events as they arrive.
pub(super) struct Display {
    bars: Option<Bars>,
    /// How many of the received events were shown.
    shown: usize,
    status_shown: Duration,
}

/// One bar per phase, and a line for calls, on a terminal.
struct Bars {
    all: MultiProgress,
    phases: Vec<(Phase, ProgressBar)>,
    calls: ProgressBar,
}

impl Display {
    /// Says what is where, and begins to show it.
    pub(super) fn open(stage: &Stage) -> anyhow::Result<Self> {
        let on_terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let bars = on_terminal.then(|| Bars::new(stage.instances));
        let display = Self {
            bars,
            shown: 0,
            status_shown: Duration::ZERO,
        };
        let Stage {
            instances,
            endpoint,
            folder,
            ..
        } = stage;
        display.line(&format!(
            "{instances} instances in an emulated region at {endpoint}"
        ))?;
        display.line(&format!(
            "settings, state and files in {}",
            folder.display()
        ))?;
        Ok(display)
    }

    pub(super) fn show(
        &mut self,
        stage: &Stage,
        elapsed: Duration,
        snapshot: &Snapshot,
    ) -> anyhow::Result<()> {
        let new = stage.received.look(|mailbox| {
            mailbox
                .notices
                .get(self.shown..)
                .unwrap_or_default()
                .to_vec()
        });
        self.shown += new.len();
        for line in event_lines(elapsed, &new) {
            self.line(&line)?;
        }
        let calls = calls_line(stage, elapsed, snapshot);
        if let Some(bars) = &self.bars {
            bars.update(snapshot, calls);
        } else if elapsed >= self.status_shown + STATUS_EVERY {
            self.status_shown = elapsed;
            self.line(&status_line(elapsed, snapshot, &calls))?;
        }
        Ok(())
    }

    /// Leaves the bars as they are.
    pub(super) fn close(&self) {
        if let Some(bars) = &self.bars {
            bars.phases.iter().for_each(|(_, bar)| bar.abandon());
            bars.calls.abandon();
            // The cursor is still behind the last bar.
            writeln!(std::io::stderr()).ok();
        }
    }

    fn line(&self, line: &str) -> anyhow::Result<()> {
        let written = match &self.bars {
            Some(bars) => bars.all.println(line),
            None => writeln!(std::io::stdout(), "{line}"),
        };
        written.context("failed to print")
    }
}

impl Bars {
    fn new(instances: usize) -> Self {
        let instances = u64::try_from(instances).unwrap_or(u64::MAX);
        let all = MultiProgress::new();
        let style = |template: &str| {
            let style = ProgressStyle::with_template(template);
            style
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("█▉▊▋▌▍▎▏ ")
        };
        let phases = Phase::ALL.map(|phase| {
            let colour = match phase {
                Phase::Pending => "blue",
                Phase::Ready => "green",
                Phase::Late => "yellow",
                Phase::Stale => "red",
                Phase::Gone => "magenta",
            };
            let bar = all.add(ProgressBar::new(instances));
            bar.set_style(style(&format!("{{prefix:>8}} {{bar:40.{colour}}} {{pos}}")));
            bar.set_prefix(phase.as_str());
            (phase, bar)
        });
        let calls = all.add(ProgressBar::new(1));
        calls.set_style(style("{prefix:>8} {msg}"));
        calls.set_prefix("calls");
        Self {
            all,
            phases: phases.into(),
            calls,
        }
    }

    fn update(&self, snapshot: &Snapshot, calls: String) {
        for (phase, bar) in &self.phases {
            bar.set_position(u64::try_from(snapshot.count(*phase)).unwrap_or(u64::MAX));
        }
        self.calls.set_message(calls);
    }
}

/// A line for each event, or one for many of a type that came together.
fn event_lines(elapsed: Duration, notices: &[Notice]) -> Vec<String> {
    let mut by_type: BTreeMap<EventType, Vec<&Notice>> = BTreeMap::new();
    for notice in notices {
        by_type.entry(notice.event_type).or_default().push(notice);
    }
    let seconds = elapsed.as_secs_f64();
    let mut lines = Vec::new();
    for (event_type, notices) in by_type {
        if notices.len() > SHOWN_SINGLY {
            lines.push(format!(
                "{seconds:6.1} s  {event_type:<18} {} instances",
                notices.len()
            ));
            continue;
        }
        for Notice {
            instance, reason, ..
        } in notices
        {
            lines.push(format!(
                "{seconds:6.1} s  {event_type:<18} {instance}  {reason}"
            ));
        }
    }
    lines
}

fn status_line(elapsed: Duration, snapshot: &Snapshot, calls: &str) -> String {
    let phases = Phase::ALL.map(|phase| format!("{phase} {}", snapshot.count(phase)));
    let elapsed = elapsed.as_secs_f64();
    format!("{elapsed:6.1} s  {}; calls {calls}", phases.join(", "))
}

fn calls_line(stage: &Stage, elapsed: Duration, snapshot: &Snapshot) -> String {
    let fixed = calls_of_fixed_loop(stage, elapsed);
    format!("{} (a fixed loop: {fixed})", snapshot.calls())
}
