//! Composes everything: who talks to whom, who starts and ends whom.
//!
//! [`Daemon::start`] opens the store and makes ready what the settings name; [`Daemon::run`] runs
//! it until it is asked to stop. Two long-lived tasks do the work:
//!
//! - the dispatcher owns the fleets: it starts calls, takes in answers, commits what follows;
//! - the deliverer carries what is committed to the receivers.
//!
//! They meet only in the store, which is why a kill between any two steps loses nothing.

mod assembly;
mod deliverer;
mod dispatcher;
mod poller;
mod scope;
mod scopes;
pub mod signals;
pub mod snapshot;
pub mod supervise;
pub mod systemd;

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::Settings;
use crate::environment::Environment;
use crate::store::{Health, Store};

pub use assembly::StartError;

use deliverer::Deliverer;
use dispatcher::{Dispatcher, Pace};
use snapshot::Snapshot;
use supervise::{Stopper, TaskFailure, Tasks};
use systemd::ServiceManager;

/// A daemon that is ready to run.
pub struct Daemon {
    dispatcher: Dispatcher,
    deliverer: Deliverer,
    store: Store,
    snapshot: watch::Receiver<Snapshot>,
    shutdown_grace: Duration,
    clock: Clock,
}

impl Daemon {
    /// Opens the store, loads credentials, makes the receivers and takes up the watches.
    ///
    /// # Errors
    /// Whatever of it cannot be done, with what to do about it.
    pub async fn start(
        settings: &Settings,
        environment: &Environment,
        clock: Clock,
    ) -> Result<Self, StartError> {
        assembly::assemble(settings, environment, clock).await
    }

    /// What the daemon looks like, kept up to date while it runs.
    #[must_use]
    pub fn snapshot(&self) -> watch::Receiver<Snapshot> {
        self.snapshot.clone()
    }

    /// Runs until `until` returns, and then ends in order: no more calls; what was decided is
    /// committed; what is due is delivered, as far as the grace time allows; the store is closed.
    /// The service manager hears when the daemon is ready, how it does, and when it begins to end.
    ///
    /// # Errors
    /// A part of the daemon that failed. Whatever was committed is in the store, and whatever was
    /// not will be observed again.
    pub async fn run(
        self,
        manager: &ServiceManager,
        until: impl Future<Output = ()>,
    ) -> Result<(), TaskFailure> {
        let Self {
            dispatcher,
            deliverer,
            store,
            snapshot,
            shutdown_grace,
            clock,
        } = self;
        let (pace, turns) = Pace::new(manager.turn_interval());
        let (stop_dispatcher, stop_deliverer) = (Stopper::new(), Stopper::new());
        let mut tasks = Tasks::default();
        let listener = stop_dispatcher.listener();
        tasks.start("dispatcher", async move {
            Ok(dispatcher.run(listener, pace).await?)
        });
        let listener = stop_deliverer.listener();
        tasks.start(
            "deliverer",
            async move { Ok(deliverer.run(listener).await?) },
        );
        let failed = store.clone();
        tokio::select! {
            () = until => {}
            ended = tasks.next_end() => return Err(ended_early(ended)),
            failure = failed.failed() => {
                let reason = supervise::with_causes(&failure);
                return Err(TaskFailure::Failed { name: "store", reason });
            }
            () = log_health(&store) => {}
            () = manager.follow(turns, snapshot) => {}
        }
        manager.stopping().await;
        tracing::info!(grace_s = shutdown_grace.as_secs_f64(), "stopping");
        let drain = drain(&mut tasks, &stop_dispatcher, &stop_deliverer);
        tokio::select! {
            drained = drain => drained?,
            () = clock.sleep(shutdown_grace) => {
                tracing::warn!("the grace time is over; what is still due is delivered after the next start");
            }
        }
        drop(tasks);
        store.close().await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Says when the disk is full and when it is not any more; never returns while the store works.
async fn log_health(store: &Store) {
    let mut health = store.health();
    while health.changed().await.is_ok() {
        match &*health.borrow_and_update() {
            Health::Full { since } => {
                tracing::error!(%since, "the disk of the state folder is full; make room: until then nothing new is told");
            }
            Health::Ok => tracing::info!("the state folder has room again; going on"),
            // Told by the one who ends the daemon for it.
            Health::Failed(_) | Health::Closed => {}
        }
    }
    std::future::pending().await
}

/// Ends the tasks one after the other: the deliverer only when nothing more can be committed.
async fn drain(
    tasks: &mut Tasks,
    stop_dispatcher: &Stopper,
    stop_deliverer: &Stopper,
) -> Result<(), TaskFailure> {
    stop_dispatcher.stop();
    if let Some(ended) = tasks.next_end().await {
        ended?;
    }
    stop_deliverer.stop();
    if let Some(ended) = tasks.next_end().await {
        ended?;
    }
    Ok(())
}

fn ended_early(ended: Option<Result<&'static str, TaskFailure>>) -> TaskFailure {
    match ended {
        Some(Err(failure)) => failure,
        Some(Ok(name)) => TaskFailure::EndedEarly(name),
        None => TaskFailure::EndedEarly("every"),
    }
}
