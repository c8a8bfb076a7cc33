//! Durable phases, events and deliveries.
//!
//! The promise kept here: each committed event ends, for every receiver that wanted it when it was
//! committed, delivered, or dead, or settled with a reason, and all three can be seen.
//!
//! One transaction holds the new phase, the event, and one delivery per receiver. An answer means
//! that the transaction is on the disk. [`Store`] is the door of the daemon: one thread writes and
//! commits in groups, two others read. [`StoreReader`] looks at the same file without a lock.
//!
//! - `folder`: the state folder, its lock, the database file
//! - `sqlite`, `schema`: connections, settings, migrations
//! - `handle`, `request`: what can be asked of a [`Store`]
//! - `writer`: the writing thread, group commit, and what follows a failure
//! - `commit`, `settle`, `budget`: what a request writes
//! - `reader`, `due`, `read_thread`: what can be read, and where
//! - `column`: values of ours as columns

mod budget;
mod column;
mod commit;
mod due;
mod error;
mod folder;
mod handle;
mod read_thread;
mod reader;
mod request;
mod schema;
mod settle;
mod sqlite;
mod writer;

#[cfg(test)]
mod tests;

pub use due::Except;
pub use error::{
    CommitError, OpenError, ReadError, ReaderOpenError, SettleError, StoreFailure, Unavailable,
};
pub use handle::Store;
pub use reader::{
    DeliveryCounts, DeliveryState, OutboxSummary, StoreReader, StoredAttempt, StoredDelivery,
    StoredEvent,
};
pub use request::{Commit, Committed, Settlement};
pub use settle::RECEIVER_REMOVED;
pub use writer::Health;
