//! Receivers: webhook and file.
//!
//! A receiver is handed one delivery at a time per lane and makes one attempt of it. It neither
//! retries nor orders: what follows from a failure is decided by its class, in
//! [`crate::core::delivery::RetryPolicy`].

use crate::core::delivery::{Delivery, DeliveryFailure};
use crate::core::id::ReceiverName;

pub mod file;
pub mod signing;
pub mod webhook;

pub use file::{FileError, FileReceiver, FileSettings, Layout};
pub use signing::SigningKey;
pub use webhook::{Webhook, WebhookError, WebhookSettings};

/// That an attempt delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// How, for logs and people: `204 in 12 ms`. Without secrets.
    pub detail: String,
}

/// A configured destination.
#[derive(Debug)]
pub enum Receiver {
    /// Gets a signed POST per event.
    Webhook(Webhook),
    /// Gets its events as files on this machine.
    File(FileReceiver),
}

impl Receiver {
    /// What it is called in the settings.
    #[must_use]
    pub const fn name(&self) -> &ReceiverName {
        match self {
            Self::Webhook(webhook) => webhook.name(),
            Self::File(file) => file.name(),
        }
    }

    /// Makes one attempt.
    ///
    /// # Errors
    /// When it did not arrive, or did but nobody said so: the class says what that means.
    pub async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, DeliveryFailure> {
        match self {
            Self::Webhook(webhook) => webhook.deliver(delivery).await,
            Self::File(file) => file.deliver(delivery).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::delivery::Lane;
    use crate::core::event::EventId;
    use crate::core::time::Timestamp;

    /// A delivery about this instance whose body names this sequence.
    pub(super) fn delivery(instance: &str, sequence: u64) -> Delivery {
        let at = Timestamp::from_seconds(1_795_390_801);
        Delivery {
            lane: Lane {
                receiver: "ops".parse().unwrap(),
                scope: "prod".parse().unwrap(),
                instance: instance.parse().unwrap(),
            },
            sequence,
            event_id: EventId::new(at, u128::from(sequence)),
            body: format!(r#"{{"sequence":"{sequence:020}","data":{{"phase":"ready"}}}}"#)
                .into_bytes(),
            attempts: 0,
            committed: at,
        }
    }

    #[tokio::test]
    async fn a_receiver_delivers_under_its_name() {
        let scratch = tempfile::tempdir().unwrap();
        let settings = FileSettings {
            path: scratch.path().join("events.jsonl"),
            layout: Layout::Jsonl,
        };
        let file = FileReceiver::new(settings, "ops".parse().unwrap()).unwrap();
        let receiver = Receiver::File(file);
        assert_eq!(receiver.name().as_str(), "ops");
        let receipt = receiver.deliver(&delivery("i-a", 1)).await.unwrap();
        assert_eq!(receipt.detail, "line appended");
    }
}
