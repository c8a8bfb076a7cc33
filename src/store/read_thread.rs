//! Threads that read, so that nobody who looks at the store waits for the one that writes.

use std::io;

use tokio::sync::{mpsc, oneshot};

use crate::core::budget::BudgetRecord;
use crate::core::delivery::Delivery;
use crate::core::event::EventId;
use crate::core::id::ScopeName;
use crate::core::time::Timestamp;
use crate::core::watch::WatchRecord;

use super::due::Except;
use super::error::ReadError;
use super::reader::{OutboxSummary, StoreReader, StoredAttempt, StoredDelivery, StoredEvent};

/// How many readings may wait for one thread; who comes later waits before asking.
const QUEUE: usize = 64;

/// The way back for what was read.
pub(super) type Reply<T> = oneshot::Sender<Result<T, ReadError>>;

/// Something to read.
#[derive(Debug)]
pub(super) enum Read {
    Watches(ScopeName, Reply<Vec<WatchRecord>>),
    Budget(String, Reply<Option<BudgetRecord>>),
    Due {
        now: Timestamp,
        limit: usize,
        except: Except,
        reply: Reply<Vec<Delivery>>,
    },
    NextDue(Except, Reply<Option<Timestamp>>),
    Outbox(Reply<OutboxSummary>),
    Events {
        after: u64,
        limit: usize,
        reply: Reply<Vec<StoredEvent>>,
    },
    DeliveriesOf(EventId, Reply<Vec<StoredDelivery>>),
    AttemptsOf(EventId, Reply<Vec<StoredAttempt>>),
    Close,
}

/// Starts a reading thread. It ends when told to, or when nobody can ask it any more.
///
/// # Errors
/// The system gives no thread.
pub(super) fn start(name: &str, reader: StoreReader) -> io::Result<mpsc::Sender<Read>> {
    let (sender, requests) = mpsc::channel(QUEUE);
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || run(reader, requests))?;
    Ok(sender)
}

fn run(reader: StoreReader, mut requests: mpsc::Receiver<Read>) {
    while let Some(request) = requests.blocking_recv() {
        // Whoever no longer waits for the answer does not need it.
        match request {
            Read::Watches(scope, reply) => reply.send(reader.watches(&scope)).ok(),
            Read::Budget(name, reply) => reply.send(reader.budget(&name)).ok(),
            Read::Due {
                now,
                limit,
                except,
                reply,
            } => reply.send(reader.due_deliveries(now, limit, &except)).ok(),
            Read::NextDue(except, reply) => reply.send(reader.next_due(&except)).ok(),
            Read::Outbox(reply) => reply.send(reader.outbox()).ok(),
            Read::Events {
                after,
                limit,
                reply,
            } => reply.send(reader.events(after, limit)).ok(),
            Read::DeliveriesOf(event, reply) => reply.send(reader.deliveries_of(&event)).ok(),
            Read::AttemptsOf(event, reply) => reply.send(reader.attempts_of(&event)).ok(),
            Read::Close => break,
        };
    }
    // The connection first: who waits for the channel to close waits for the file.
    drop(reader);
    drop(requests);
}
