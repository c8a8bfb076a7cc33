//! Makes calls and brings back how they ended. It knows nothing of watches.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::core::call::CallReport;
use crate::core::fleet::{Batch, BatchId};
use crate::core::id::InstanceId;
use crate::ecs::client::{Call, Client};
use crate::ecs::error::ApiError;

use super::supervise::{Jobs, TaskFailure};

/// A call that has ended.
#[derive(Debug)]
pub(super) struct Polled {
    /// The index of its scope.
    pub(super) scope: usize,
    pub(super) batch: BatchId,
    /// How many instances it asked for.
    pub(super) instances: usize,
    pub(super) report: CallReport,
    /// What went wrong, in words.
    pub(super) error: Option<ApiError>,
    /// Rows that named no instance.
    pub(super) unusable_rows: usize,
}

/// The calls that are under way, of all scopes.
#[derive(Debug)]
pub(super) struct Poller {
    clients: Vec<Arc<Client>>,
    permits: Arc<Semaphore>,
    calls: Jobs<Polled>,
}

impl Poller {
    /// A poller with one client per scope, which makes at most `calls_in_flight` at a time.
    pub(super) fn new(clients: Vec<Arc<Client>>, calls_in_flight: usize) -> Self {
        Self {
            clients,
            permits: Arc::new(Semaphore::new(calls_in_flight)),
            calls: Jobs::new(),
        }
    }

    /// Starts the call for a batch.
    pub(super) fn start(&mut self, scope: usize, batch: Batch) {
        let Some(client) = self.clients.get(scope).map(Arc::clone) else {
            return;
        };
        let permits = Arc::clone(&self.permits);
        self.calls.start(async move {
            // The semaphore is never closed; without a permit there is only one call too many.
            let _permit = permits.acquire_owned().await;
            let Batch { id, instances } = batch;
            call(&client, scope, id, &instances).await
        });
    }

    /// The next call that ends; never returns while none is under way.
    pub(super) async fn next(&mut self) -> Result<Polled, TaskFailure> {
        self.calls.next("call").await
    }
}

async fn call(client: &Client, scope: usize, batch: BatchId, ids: &[InstanceId]) -> Polled {
    let Call {
        report,
        error,
        unusable_rows,
    } = client.describe(ids).await;
    Polled {
        scope,
        batch,
        instances: ids.len(),
        report,
        error,
        unusable_rows,
    }
}
