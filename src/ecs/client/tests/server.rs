//! A server on loopback that records what it is sent and answers what it was told to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::net::TcpListener;

use super::environment_keys;
use crate::clock::Clock;
use crate::ecs::client::{Client, ClientSettings};
use crate::ecs::credentials::CredentialSource;
use crate::ecs::sign::{
    Authorization, EMPTY_PAYLOAD_SHA256, SignatureMismatch, SignedParts, canonical_query,
    decode_query,
};

/// A server that gives each request the next of its answers.
pub(super) struct Server {
    pub(super) address: String,
    exchanges: Arc<Exchanges>,
}

#[derive(Default)]
struct Exchanges {
    requests: Mutex<Vec<Recorded>>,
    answers: Mutex<VecDeque<Response>>,
}

/// A request as it came.
#[derive(Clone)]
pub(super) struct Recorded {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    headers: Vec<(String, String)>,
}

impl Server {
    #[expect(
        clippy::disallowed_methods,
        reason = "the runtime of the test ends the server with the test"
    )]
    pub(super) async fn answering<const N: usize>(answers: [Response; N]) -> Self {
        let exchanges = Arc::new(Exchanges {
            requests: Mutex::default(),
            answers: Mutex::new(answers.into()),
        });
        let router = Router::new()
            .fallback(record_and_answer)
            .with_state(Arc::clone(&exchanges));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, exchanges }
    }

    pub(super) fn client(&self) -> Client {
        self.client_with(environment_keys(), |_| {})
    }

    pub(super) fn client_with(
        &self,
        credentials: CredentialSource,
        change: impl FnOnce(&mut ClientSettings),
    ) -> Client {
        let mut settings = ClientSettings::new("cn-hangzhou".to_owned(), credentials);
        settings.endpoint = Some(format!("http://{}", self.address));
        change(&mut settings);
        Client::new(settings, Clock::start()).unwrap()
    }

    pub(super) fn requests(&self) -> Vec<Recorded> {
        self.exchanges.requests.lock().unwrap().clone()
    }

    pub(super) fn only_request(&self) -> Recorded {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1);
        requests.remove(0)
    }
}

impl Recorded {
    pub(super) fn header(&self, name: &str) -> &str {
        let mut values = self.headers.iter().filter(|(other, _)| other == name);
        let value = values.next().map_or("", |(_, value)| value);
        assert!(values.next().is_none(), "{name} came twice");
        value
    }

    pub(super) fn authorization(&self) -> Authorization {
        Authorization::parse(self.header("authorization")).unwrap()
    }

    /// Verifies as a server does: from the raw query and all headers.
    pub(super) fn verified_as(&self, id: &str) -> Result<(), SignatureMismatch> {
        let authorization = self.authorization();
        assert_eq!(authorization.access_key_id, id);
        let query = decode_query(&self.query);
        assert_eq!(self.query, canonical_query(&query), "sent as it was signed");
        let parts = SignedParts {
            method: &self.method,
            path: &self.path,
            query: &query,
            headers: &self.headers,
            payload_sha256: EMPTY_PAYLOAD_SHA256,
        };
        authorization.verify(&parts, "secret")
    }
}

async fn record_and_answer(State(exchanges): State<Arc<Exchanges>>, request: Request) -> Response {
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    exchanges.requests.lock().unwrap().push(Recorded {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        headers,
    });
    let answer = exchanges.answers.lock().unwrap().pop_front();
    answer.expect("more requests than answers")
}

pub(super) fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
    let mut reply = Response::builder().status(status);
    for (name, value) in headers {
        reply = reply.header(*name, *value);
    }
    reply.body(Body::from(body.to_owned())).unwrap()
}
