//! The webhook receiver of the demo: verifies what comes and remembers it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde::Deserialize;
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::core::event::{EventId, EventType, Reason};
use crate::core::id::InstanceId;
use crate::core::time::Timestamp;
use crate::notify::SigningKey;
use crate::notify::signing::SignedHeaders;

/// One event as it came.
#[derive(Debug, Clone)]
pub(super) struct Notice {
    pub(super) id: EventId,
    pub(super) event_type: EventType,
    pub(super) instance: InstanceId,
    /// Zero-padded, so that texts compare like numbers.
    pub(super) sequence: String,
    pub(super) reason: String,
    pub(super) at: Timestamp,
}

/// Everything that came.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pub(super) notices: Vec<Notice>,
    /// Why each request that was refused was refused.
    pub(super) refused: Vec<String>,
}

/// The mailbox, seen by the receiver and by who shows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Received(Arc<Mutex<Mailbox>>);

impl Received {
    /// Looks into the mailbox.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut Mailbox) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The receiver, bound to its address.
pub(super) struct Hook {
    listener: TcpListener,
    url: String,
    desk: Desk,
}

#[derive(Clone)]
struct Desk {
    key: Arc<SigningKey>,
    received: Received,
    clock: Clock,
}

/// What the receiver reads of an event.
#[derive(Deserialize)]
struct Body {
    id: EventId,
    #[serde(rename = "type")]
    event_type: EventType,
    subject: InstanceId,
    sequence: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    reason: Reason,
}

impl Hook {
    pub(super) async fn bind(
        listen: SocketAddr,
        key: SigningKey,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let bound = TcpListener::bind(listen).await;
        let listener = bound.context("failed to listen for webhooks")?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let desk = Desk {
            key: Arc::new(key),
            received: Received::default(),
            clock,
        };
        Ok(Self {
            listener,
            url,
            desk,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn received(&self) -> Received {
        self.desk.received.clone()
    }

    pub(super) async fn serve(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let router = Router::new()
            .route("/hook", post(receive))
            .with_state(self.desk);
        axum::serve(self.listener, router)
            .with_graceful_shutdown(shutdown)
            .await
    }
}

async fn receive(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let at = desk.clock.steady();
    match read(&desk, &headers, &body, at) {
        Ok(notice) => {
            desk.received.look(|mailbox| mailbox.notices.push(notice));
            StatusCode::NO_CONTENT
        }
        Err(why) => {
            desk.received.look(|mailbox| mailbox.refused.push(why));
            StatusCode::BAD_REQUEST
        }
    }
}

fn read(desk: &Desk, headers: &HeaderMap, body: &[u8], at: Timestamp) -> Result<Notice, String> {
    let header = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let signed = SignedHeaders {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
    };
    desk.key
        .verify(signed, body, desk.clock.wall())
        .map_err(|error| error.to_string())?;
    let body: Body = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if body.id.as_str() != header("webhook-id") {
        return Err("the header webhook-id names another event than the body".to_owned());
    }
    Ok(Notice {
        id: body.id,
        event_type: body.event_type,
        instance: body.subject,
        sequence: body.sequence,
        reason: body.data.reason.message,
        at,
    })
}
