//! Whether the machine had time for the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use readygate::clock::Clock;
use tokio::task::JoinSet;

const BEAT: Duration = Duration::from_millis(50);

/// A delay from which on a late event may be the machine's fault.
const TOO_BUSY: Duration = Duration::from_millis(300);

/// A task that wakes up again and again and notes how much too late that was.
pub(crate) struct Pulse {
    worst_micros: Arc<AtomicU64>,
    _beating: JoinSet<()>,
}

impl Pulse {
    pub(crate) fn start(clock: Clock) -> Self {
        let worst_micros = Arc::new(AtomicU64::new(0));
        let worst = Arc::clone(&worst_micros);
        let mut beating = JoinSet::new();
        beating.spawn(async move {
            loop {
                let due = clock.now() + BEAT;
                clock.sleep_until(due).await;
                let delay = clock.now().saturating_since(due).as_micros();
                worst.fetch_max(u64::try_from(delay).unwrap(), Ordering::Relaxed);
            }
        });
        Self {
            worst_micros,
            _beating: beating,
        }
    }

    /// A sentence for messages of failures.
    pub(crate) fn verdict(&self) -> String {
        let worst = Duration::from_micros(self.worst_micros.load(Ordering::Relaxed));
        if worst > TOO_BUSY {
            format!("the machine was too busy: a task of the test woke up {worst:?} too late")
        } else {
            format!("the machine kept up: no task of the test woke up more than {worst:?} too late")
        }
    }
}
