//! Every task of the daemon has a name and somebody who notices when it ends.
//!
//! A daemon of which one part has died quietly is worse than one that is down: it looks well. So
//! any task that ends before it was asked to, or panics, ends the process, and the service manager
//! starts it again.

use std::error::Error;
use std::future::Future;

use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument as _;

/// Why a task gave up; each module has its own errors.
pub type TaskError = Box<dyn Error + Send + Sync>;

/// Why the daemon ends other than by being asked to.
#[derive(Debug, Error)]
pub enum TaskFailure {
    /// A task gave up.
    #[error("task `{name}` failed: {reason}")]
    Failed {
        /// Which one.
        name: &'static str,
        /// Why, with the causes of the cause.
        reason: String,
    },
    /// A task returned although nobody had asked it to.
    #[error("task `{0}` ended before it was asked to, which is a fault of this program")]
    EndedEarly(&'static str),
    /// A task panicked.
    #[error("task `{0}` panicked, which is a fault of this program")]
    Panicked(&'static str),
}

/// A question that is asked once of many: are we to stop? Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// The one who answers it.
#[derive(Debug, Clone)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// Nobody is to stop yet.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// From now on everybody is to stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// For somebody who is to stop when asked.
    #[must_use]
    pub fn listener(&self) -> Stop {
        Stop(self.0.subscribe())
    }
}

impl Default for Stopper {
    fn default() -> Self {
        Self::new()
    }
}

impl Stop {
    /// Returns when we are to stop. Also where the one who could ask is gone.
    pub async fn requested(&mut self) {
        // An error means that nobody is left to ask, which is reason enough.
        self.0.wait_for(|stop| *stop).await.ok();
    }

    /// Whether we are to stop.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}

/// The long-lived tasks of a daemon.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<(&'static str, Result<(), TaskError>)>,
    names: Vec<(tokio::task::Id, &'static str)>,
}

impl Tasks {
    /// Starts a task.
    pub fn start(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), TaskError>> + Send + 'static,
    ) {
        let span = tracing::info_span!("task", task = name);
        let handle = self
            .set
            .spawn(async move { (name, task.await) }.instrument(span));
        self.names.push((handle.id(), name));
    }

    /// Waits until one task ends: with the name of one that ended well, or with why it did not.
    /// Nothing once all have ended.
    ///
    /// # Errors
    /// A task that failed or panicked.
    pub async fn next_end(&mut self) -> Option<Result<&'static str, TaskFailure>> {
        let ended = self.set.join_next().await?;
        Some(match ended {
            Ok((name, Ok(()))) => Ok(name),
            Ok((name, Err(error))) => Err(TaskFailure::Failed {
                name,
                reason: with_causes(error.as_ref()),
            }),
            Err(panic) => {
                let known = self.names.iter().find(|(id, _)| *id == panic.id());
                Err(TaskFailure::Panicked(
                    known.map_or("unknown", |(_, name)| *name),
                ))
            }
        })
    }
}

/// An error and what caused it, in one line.
#[must_use]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Short tasks of one owner, whose results it collects: calls, attempts.
#[derive(Debug)]
pub struct Jobs<T> {
    set: JoinSet<T>,
}

impl<T: Send + 'static> Jobs<T> {
    /// None under way.
    #[must_use]
    pub fn new() -> Self {
        Self {
            set: JoinSet::new(),
        }
    }

    /// Starts one, in the span of the owner.
    pub fn start(&mut self, job: impl Future<Output = T> + Send + 'static) {
        self.set.spawn(job.in_current_span());
    }

    /// How many are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether none is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// The result of the next one that ends; never returns while none is under way.
    ///
    /// # Errors
    /// One that panicked.
    pub async fn next(&mut self, name: &'static str) -> Result<T, TaskFailure> {
        match self.set.join_next().await {
            Some(Ok(result)) => Ok(result),
            Some(Err(_)) => Err(TaskFailure::Panicked(name)),
            None => std::future::pending().await,
        }
    }
}

impl<T: Send + 'static> Default for Jobs<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_task_is_noticed_with_its_name_and_reason() {
        let mut tasks = Tasks::default();
        tasks.start("good", async { Ok(()) });
        assert_eq!(tasks.next_end().await.unwrap().unwrap(), "good");
        tasks.start("bad", async { Err("no luck".into()) });
        let failure = tasks.next_end().await.unwrap().unwrap_err().to_string();
        assert_eq!(failure, "task `bad` failed: no luck");
        tasks.start("worse", async { panic!("on purpose") });
        let failure = tasks.next_end().await.unwrap().unwrap_err();
        assert!(
            matches!(failure, TaskFailure::Panicked("worse")),
            "{failure:?}"
        );
        assert!(tasks.next_end().await.is_none());
    }

    #[tokio::test]
    async fn everybody_hears_the_call_to_stop_also_who_asks_later() {
        let stopper = Stopper::new();
        let mut early = stopper.listener();
        assert!(!early.is_requested());
        stopper.stop();
        early.requested().await;
        stopper.listener().requested().await;
        assert!(early.is_requested());
    }
}
