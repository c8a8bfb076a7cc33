//! A receiver of webhooks that verifies, records, and answers what it is told to.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use readygate::clock::Clock;
use readygate::core::event::{EventId, EventType};
use readygate::core::id::InstanceId;
use readygate::core::time::Timestamp;
use readygate::notify::signing::{SignedHeaders, SigningKey};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::cloud::LOOPBACK;

/// The key that signs, from the examples of Standard Webhooks.
pub(crate) const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// One request whose signature was right.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// When it was here as a whole, in the time of the clock.
    pub(crate) at: Timestamp,
    pub(crate) id: EventId,
    pub(crate) event_type: EventType,
    pub(crate) instance: InstanceId,
    pub(crate) sequence: u64,
    /// `readygate-attempt`.
    pub(crate) attempt: u32,
    pub(crate) body: Vec<u8>,
    /// The status it was answered with.
    pub(crate) answered: StatusCode,
}

/// What to answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) header: Option<(&'static str, String)>,
    /// How long to think first.
    pub(crate) after: Duration,
}

impl Answer {
    pub(crate) const fn status(status: StatusCode) -> Self {
        Self {
            status,
            header: None,
            after: Duration::ZERO,
        }
    }
}

type Behaviour = Box<dyn FnMut(&Received) -> Answer + Send>;

struct Desk {
    received: Vec<Received>,
    refused: Vec<String>,
    behaviour: Behaviour,
}

struct Shared {
    desk: Mutex<Desk>,
    /// How long it thinks before it takes an event in.
    hesitation: Mutex<Option<(ChaCha8Rng, Duration)>>,
    /// Requests that are here and not taken in yet.
    on_their_way: AtomicUsize,
    key: SigningKey,
    clock: Clock,
}

/// A receiver that serves until it is dropped.
pub(crate) struct Hook {
    pub(crate) url: String,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

impl Hook {
    /// A receiver that answers 204 to everything.
    pub(crate) async fn serve(clock: Clock) -> Self {
        let shared = Arc::new(Shared {
            desk: Mutex::new(Desk {
                received: Vec::new(),
                refused: Vec::new(),
                behaviour: Box::new(|_| Answer::status(StatusCode::NO_CONTENT)),
            }),
            hesitation: Mutex::new(None),
            on_their_way: AtomicUsize::new(0),
            key: SigningKey::parse(KEY).unwrap(),
            clock,
        });
        let listener = TcpListener::bind(LOOPBACK).await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/events", post(receive))
            .with_state(Arc::clone(&shared));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            shared,
            _serving: serving,
        }
    }

    /// From here on answers as `behaviour` says.
    pub(crate) fn answer_with(&self, behaviour: impl FnMut(&Received) -> Answer + Send + 'static) {
        self.shared.desk.lock().unwrap().behaviour = Box::new(behaviour);
    }

    /// From here on takes each event in only after a while of up to `longest`. One whose sender
    /// dies meanwhile was not received.
    pub(crate) fn hesitate(&self, longest: Duration, seed: u64) {
        let generator = ChaCha8Rng::seed_from_u64(seed);
        *self.shared.hesitation.lock().unwrap() = Some((generator, longest));
    }

    /// Whether an event is on its way.
    pub(crate) fn is_being_told(&self) -> bool {
        self.shared.on_their_way.load(Ordering::Relaxed) > 0
    }

    /// Every request so far, in the order they came. Fails the test where one was not one of ours
    /// to believe.
    pub(crate) fn received(&self) -> Vec<Received> {
        let desk = self.shared.desk.lock().unwrap();
        assert!(
            desk.refused.is_empty(),
            "requests that cannot be believed: {:?}",
            desk.refused
        );
        desk.received.clone()
    }

    /// The events so far, each once: the first time it came.
    pub(crate) fn events(&self) -> Vec<Received> {
        let mut known = HashSet::new();
        let mut events = self.received();
        events.retain(|received| known.insert(received.id.clone()));
        events
    }
}

/// Counts a request until it is taken in, or its sender has gone.
struct OnItsWay<'a>(&'a AtomicUsize);

impl<'a> OnItsWay<'a> {
    fn count(number: &'a AtomicUsize) -> Self {
        number.fetch_add(1, Ordering::Relaxed);
        Self(number)
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn hesitate(shared: &Shared) {
    let _on_its_way = OnItsWay::count(&shared.on_their_way);
    let pause = shared
        .hesitation
        .lock()
        .unwrap()
        .as_mut()
        .map(|(generator, longest)| longest.mul_f64(generator.random_range(0.0..1.0)));
    if let Some(pause) = pause {
        shared.clock.sleep(pause).await;
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    hesitate(&shared).await;
    let Answer {
        status,
        header,
        after,
    } = match read(&shared, &headers, &body) {
        Ok(mut received) => {
            let mut desk = shared.desk.lock().unwrap();
            let answer = (desk.behaviour)(&received);
            received.answered = answer.status;
            desk.received.push(received);
            answer
        }
        Err(why) => {
            shared.desk.lock().unwrap().refused.push(why);
            Answer::status(StatusCode::UNAUTHORIZED)
        }
    };
    if !after.is_zero() {
        shared.clock.sleep(after).await;
    }
    match header {
        Some((name, value)) => (status, [(name, value)]).into_response(),
        None => status.into_response(),
    }
}

/// A request, once its signature is verified and its headers agree with its body.
fn read(shared: &Shared, headers: &HeaderMap, body: &[u8]) -> Result<Received, String> {
    let text = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.ok_or_else(|| format!("no header {name}"))
    };
    let signed = SignedHeaders {
        id: text("webhook-id")?,
        timestamp: text("webhook-timestamp")?,
        signature: text("webhook-signature")?,
    };
    let verified = shared.key.verify(signed, body, shared.clock.wall());
    verified.map_err(|error| error.to_string())?;
    let event: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if event["id"] != signed.id {
        return Err(format!("webhook-id {} with {event}", signed.id));
    }
    let member = |name: &str| event[name].as_str().ok_or_else(|| format!("no {name}"));
    Ok(Received {
        at: shared.clock.steady(),
        id: EventId::from_stored(signed.id.to_owned()),
        event_type: member("type")?
            .parse()
            .map_err(|error| format!("{error}"))?,
        instance: member("subject")?
            .parse()
            .map_err(|error| format!("{error}"))?,
        sequence: member("sequence")?
            .parse()
            .map_err(|error| format!("{error}"))?,
        attempt: text("readygate-attempt")?
            .parse()
            .map_err(|error| format!("{error}"))?,
        body: body.to_vec(),
        answered: StatusCode::OK,
    })
}
