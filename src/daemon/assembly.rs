//! From settings to parts that work together.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::config::{FileLayout, ReceiverKind, ReceiverSettings, ScopeSettings, Settings};
use crate::core::budget::Budget;
use crate::core::delivery::RetryPolicy;
use crate::core::fleet::{Fleet, FleetSettings};
use crate::core::id::{InstanceId, ReceiverName, ScopeName};
use crate::core::rules::{Policy, Rules};
use crate::core::watch::WatchRecord;
use crate::ecs::client::{Client, ClientSettings, SetUpError};
use crate::ecs::credentials::{CredentialError, CredentialSource};
use crate::environment::Environment;
use crate::notify::signing::{InvalidKey, SigningKey};
use crate::notify::{
    FileError, FileReceiver, FileSettings, Layout, Receiver, Webhook, WebhookError, WebhookSettings,
};
use crate::store::{OpenError, ReadError, Store, Unavailable};

use super::Daemon;
use super::deliverer::{Deliverer, Limits};
use super::dispatcher::Dispatcher;
use super::poller::Poller;
use super::scope::{Labels, Scope, Subscriptions};
use super::scopes::{Scopes, SharedBudget};
use super::snapshot::Snapshot;

/// Why a daemon could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The state folder cannot be used.
    #[error("failed to open the store")]
    Store(#[from] OpenError),
    /// The stored watches could not be read.
    #[error("failed to read the watches of scope `{scope}`")]
    Watches {
        /// Whose.
        scope: ScopeName,
        /// What the store said.
        source: ReadError,
    },
    /// What is spent of a budget could not be read.
    #[error("failed to read how many calls were made before")]
    Budget(#[source] ReadError),
    /// Changes that the new settings ask for could not be stored.
    #[error("failed to bring the store up to the settings")]
    Update(#[from] Unavailable),
    /// There are no credentials.
    #[error("failed to load the credentials of scope `{scope}`")]
    Credentials {
        /// Whose.
        scope: ScopeName,
        /// What is wrong with them.
        source: CredentialError,
    },
    /// The client could not be made.
    #[error("failed to prepare the calls of scope `{scope}`")]
    Client {
        /// Whose.
        scope: ScopeName,
        /// Why.
        source: SetUpError,
    },
    /// The secret of a webhook is no signing key.
    #[error("the secret of receiver `{receiver}` cannot be used")]
    Secret {
        /// Whose.
        receiver: ReceiverName,
        /// What is wrong with it, without the secret.
        source: InvalidKey,
    },
    /// A webhook could not be made.
    #[error("failed to prepare a webhook")]
    Webhook(#[from] WebhookError),
    /// The place of a file receiver cannot be used.
    #[error("failed to prepare receiver `{receiver}`")]
    File {
        /// Whose.
        receiver: ReceiverName,
        /// Why.
        source: FileError,
    },
}

impl StartError {
    /// Whether the settings are at fault: then starting again cannot help.
    #[must_use]
    pub fn is_settings(&self) -> bool {
        match self {
            Self::Client { .. } | Self::Secret { .. } | Self::Webhook(_) => true,
            Self::Credentials { source, .. } => !source.is_passing(),
            Self::Store(_)
            | Self::Watches { .. }
            | Self::Budget(_)
            | Self::Update(_)
            | Self::File { .. } => false,
        }
    }
}

/// How long a start waits for a credentials file that is just being written.
const CREDENTIALS_PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn assemble(
    settings: &Settings,
    environment: &Environment,
    clock: Clock,
) -> Result<Daemon, StartError> {
    let receivers = settings
        .receivers
        .iter()
        .map(|settings| receiver(settings, clock))
        .collect::<Result<_, _>>()?;
    let clients = clients(settings, environment, clock).await?;
    let store = Store::open(&settings.store.folder, clock)?;
    settle_removed_receivers(settings, &store).await?;
    let (shares, budget_of) = shared_budgets(&settings.scopes);
    let budgets = restore_budgets(shares, &store, clock).await?;
    let mut list = Vec::with_capacity(settings.scopes.len());
    for (scope_settings, budget) in settings.scopes.iter().zip(budget_of) {
        list.push(scope(settings, scope_settings, budget, &store, clock).await?);
    }
    let outbox = Arc::new(Notify::new());
    let (publisher, snapshot) = watch::channel(Snapshot::default());
    let dispatcher = Dispatcher::new(
        Scopes { list, budgets },
        subscriptions(&settings.receivers),
        Poller::new(clients, settings.poll.calls_in_flight),
        store.clone(),
        Arc::clone(&outbox),
        publisher,
        clock,
    );
    let policy = RetryPolicy {
        max_age: settings.delivery.max_age,
        ..RetryPolicy::default()
    };
    let limits = Limits {
        in_flight: settings.delivery.in_flight,
        in_flight_per_receiver: settings.delivery.in_flight_per_receiver,
    };
    let deliverer = Deliverer::new(receivers, store.clone(), policy, limits, outbox, clock);
    let shutdown_grace = settings.shutdown_grace;
    Ok(Daemon {
        dispatcher,
        deliverer,
        store,
        snapshot,
        shutdown_grace,
        clock,
    })
}

/// One client per scope, in the order of the scopes. The first credentials are tried here, so that
/// a wrong profile is told at the start and not with the first call.
async fn clients(
    settings: &Settings,
    environment: &Environment,
    clock: Clock,
) -> Result<Vec<Arc<Client>>, StartError> {
    let mut clients = Vec::with_capacity(settings.scopes.len());
    for scope in &settings.scopes {
        let config_file = settings.credentials_config_file.clone();
        let source = CredentialSource::new(scope.profile.clone(), config_file, environment);
        let client_settings = ClientSettings {
            endpoint: scope.endpoint.clone(),
            timeout: settings.poll.timeout,
            ..ClientSettings::new(scope.region.clone(), source)
        };
        let client = Client::new(client_settings, clock).map_err(|source| StartError::Client {
            scope: scope.name.clone(),
            source,
        })?;
        client
            .load_credentials(CREDENTIALS_PATIENCE)
            .await
            .map_err(|source| StartError::Credentials {
                scope: scope.name.clone(),
                source,
            })?;
        clients.push(Arc::new(client));
    }
    Ok(clients)
}

fn receiver(settings: &ReceiverSettings, clock: Clock) -> Result<Receiver, StartError> {
    let name = settings.name.clone();
    match &settings.kind {
        ReceiverKind::Webhook {
            url,
            secret,
            timeout,
        } => {
            let key = secret
                .as_ref()
                .map(|secret| SigningKey::parse(secret.expose_secret()));
            let key = key.transpose().map_err(|source| StartError::Secret {
                receiver: name.clone(),
                source,
            })?;
            let url = SecretString::from(url.clone());
            let settings = WebhookSettings {
                key,
                timeout: *timeout,
                ..WebhookSettings::new(url)
            };
            Ok(Receiver::Webhook(Webhook::new(settings, name, clock)?))
        }
        ReceiverKind::File { layout, path } => {
            let layout = match layout {
                FileLayout::State => Layout::State,
                FileLayout::Jsonl => Layout::Jsonl,
            };
            let settings = FileSettings {
                path: path.clone(),
                layout,
            };
            let file =
                FileReceiver::new(settings, name.clone()).map_err(|source| StartError::File {
                    receiver: name,
                    source,
                })?;
            Ok(Receiver::File(file))
        }
    }
}

/// The names and sizes of the budgets, and of each scope the index of its own. Scopes whose account
/// is set share one per (account, region), because that is how the provider counts; where they
/// disagree on how much is theirs, the smallest holds.
fn shared_budgets(scopes: &[ScopeSettings]) -> (Vec<(String, u32)>, Vec<usize>) {
    let mut budgets: Vec<(String, u32)> = Vec::new();
    let mut budget_of = Vec::with_capacity(scopes.len());
    for scope in scopes {
        // No name of a scope has a slash in it.
        let name = match &scope.account {
            Some(account) => format!("{account}/{}", scope.region),
            None => scope.name.to_string(),
        };
        let index = budgets.iter().position(|(known, _)| *known == name);
        let index = index.unwrap_or(budgets.len());
        match budgets.get_mut(index) {
            Some((_, known)) => *known = scope.calls_per_minute.min(*known),
            None => budgets.push((name, scope.calls_per_minute)),
        }
        budget_of.push(index);
    }
    (budgets, budget_of)
}

/// Budgets that go on where the store left them.
async fn restore_budgets(
    budgets: Vec<(String, u32)>,
    store: &Store,
    clock: Clock,
) -> Result<Vec<SharedBudget>, StartError> {
    let mut restored = Vec::with_capacity(budgets.len());
    for (name, calls_per_minute) in budgets {
        let record = store.load_budget(&name).await.map_err(StartError::Budget)?;
        let (now, calendar) = (clock.now(), clock.steady());
        let budget = Budget::restore(calls_per_minute, record.as_ref(), now, calendar);
        restored.push(SharedBudget { name, budget });
    }
    Ok(restored)
}

fn subscriptions(receivers: &[ReceiverSettings]) -> Subscriptions {
    let mut wanted = Subscriptions::new();
    for receiver in receivers {
        for event_type in &receiver.events {
            wanted
                .entry(*event_type)
                .or_default()
                .push(receiver.name.clone());
        }
    }
    wanted
}

async fn settle_removed_receivers(settings: &Settings, store: &Store) -> Result<(), StartError> {
    let configured: Vec<ReceiverName> = settings
        .receivers
        .iter()
        .map(|receiver| receiver.name.clone())
        .collect();
    let settled = store.settle_removed_receivers(&configured).await?;
    if settled > 0 {
        tracing::warn!(
            deliveries = settled,
            "settled deliveries of receivers that are no longer configured, unsent"
        );
    }
    Ok(())
}

/// A scope whose watches go on where the store left them. Stored watches that the settings no
/// longer name end here; their events and deliveries stay.
async fn scope(
    settings: &Settings,
    scope: &ScopeSettings,
    budget: usize,
    store: &Store,
    clock: Clock,
) -> Result<Scope, StartError> {
    let name = &scope.name;
    let stored = store
        .load_watches(name)
        .await
        .map_err(|source| StartError::Watches {
            scope: name.clone(),
            source,
        })?;
    let mut stored: BTreeMap<InstanceId, WatchRecord> = stored
        .into_iter()
        .map(|record| (record.instance.clone(), record))
        .collect();
    let mut fleet = Fleet::new(&fleet_settings(settings));
    let mut labels = HashMap::new();
    let mut watches = Vec::new();
    for watch in settings.watches.iter().filter(|watch| watch.scope == *name) {
        let policy = Arc::new(Policy {
            gate: watch.gate.clone(),
            ready_deadline: watch.ready_deadline,
        });
        let shared = Labels::new(watch.labels.clone());
        for instance in &watch.instances {
            watches.push((
                instance.clone(),
                Arc::clone(&policy),
                stored.remove(instance),
            ));
            labels.insert(instance.clone(), Arc::clone(&shared));
        }
    }
    let ended: Vec<InstanceId> = stored.into_keys().collect();
    tracing::info!(
        scope = %name,
        region = scope.region,
        instances = watches.len(),
        ended = ended.len(),
        "watching"
    );
    if !ended.is_empty() {
        store.remove_watches(name.clone(), ended).await?;
    }
    fleet.add_watches(watches, clock.now());
    Ok(Scope::new(
        name.clone(),
        scope.region.clone(),
        fleet,
        budget,
        labels,
    ))
}

const fn fleet_settings(settings: &Settings) -> FleetSettings {
    FleetSettings {
        rules: Rules {
            window: settings.freshness.window,
            grace: settings.freshness.grace,
            recover_heartbeats: settings.freshness.recover_heartbeats,
            absent_after: settings.poll.absent_after,
        },
        pending: settings.poll.pending,
        relaxes: true,
        calls_in_flight: settings.poll.calls_in_flight,
    }
}
