//! The webhook against a real server on the loopback interface.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::Response as Answer;
use axum::http::request::Parts;
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::core::time::Timestamp;
use crate::notify::signing::SignedHeaders;
use crate::notify::tests::delivery;

const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// What must not be seen anywhere but in the request itself.
const SECRETS: [&str; 4] = ["us3r", "passw0rd", "t0ken", "qu3ry"];

/// Long enough not to be reached by a test that does not wait for it.
const AMPLE: Duration = Duration::from_secs(60);

/// Short, for tests in which the time-out is what happens.
const SHORT: Duration = Duration::from_millis(150);

/// Makes the answers of a test's server.
type Script = Arc<dyn Fn() -> Answer<Body> + Send + Sync>;

#[derive(Clone)]
struct Recorder {
    script: Script,
    requests: mpsc::UnboundedSender<(Parts, Bytes)>,
}

/// A server that keeps what it is sent.
struct Server {
    authority: String,
    requests: mpsc::UnboundedReceiver<(Parts, Bytes)>,
}

impl Server {
    async fn answering(script: impl Fn() -> Answer<Body> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let (sender, requests) = mpsc::unbounded_channel();
        let recorder = Recorder {
            script: Arc::new(script),
            requests: sender,
        };
        let router = Router::new().fallback(record).with_state(recorder);
        start(async { axum::serve(listener, router).await.unwrap() });
        Self {
            authority,
            requests,
        }
    }

    async fn answering_status(status: u16) -> Self {
        Self::answering(move || answer(status, &[])).await
    }

    fn webhook(&self) -> Webhook {
        webhook(&self.authority, AMPLE)
    }
}

async fn record(State(recorder): State<Recorder>, request: Request) -> Answer<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    recorder.requests.send((parts, body)).unwrap();
    (recorder.script)()
}

/// A listener that does to each connection what it is told to, without HTTP.
fn raw_server(mut serve: impl FnMut(TcpStream) + Send + 'static) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            serve(connection.unwrap());
        }
    });
    authority
}

/// A listener that takes connections and is silent.
fn silent_server() -> String {
    let mut held = Vec::new();
    raw_server(move |connection| held.push(connection))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a server of a test ends with its runtime"
)]
fn start(server: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(server);
}

fn answer(status: u16, headers: &[(&str, &str)]) -> Answer<Body> {
    let answer = Answer::builder().status(status);
    headers
        .iter()
        .fold(answer, |answer, (name, value)| answer.header(*name, *value))
        .body(Body::empty())
        .unwrap()
}

/// A webhook to this server, with secrets in every part of its URL.
fn webhook(authority: &str, timeout: Duration) -> Webhook {
    webhook_to("http", authority, timeout)
}

fn webhook_to(scheme: &str, authority: &str, timeout: Duration) -> Webhook {
    let url = format!("{scheme}://us3r:passw0rd@{authority}/hook/t0ken?key=qu3ry");
    let settings = WebhookSettings {
        key: Some(SigningKey::parse(KEY).unwrap()),
        timeout,
        ..WebhookSettings::new(SecretString::from(url))
    };
    Webhook::new(settings, "ops".parse().unwrap(), Clock::start()).unwrap()
}

/// The failure of one attempt, after a look for secrets in it.
async fn failure_of(webhook: &Webhook) -> DeliveryFailure {
    let failure = webhook.deliver(&delivery("i-a", 1)).await.unwrap_err();
    let shown = format!("{failure} {failure:?} {webhook:?}");
    for secret in SECRETS {
        assert!(!shown.contains(secret), "{shown}");
    }
    failure
}

fn header<'a>(parts: &'a Parts, name: &str) -> &'a str {
    parts.headers.get(name).unwrap().to_str().unwrap()
}

#[tokio::test]
async fn the_stored_bytes_are_posted_with_the_documented_headers() {
    let mut server = Server::answering_status(204).await;
    let sent = Delivery {
        attempts: 2,
        ..delivery("i-a", 42)
    };
    let receipt = server.webhook().deliver(&sent).await.unwrap();
    assert!(receipt.detail.starts_with("204 in "), "{}", receipt.detail);

    let (parts, body) = server.requests.recv().await.unwrap();
    assert_eq!(body, sent.body);
    assert_eq!(parts.method, "POST");
    assert_eq!(parts.uri, "/hook/t0ken?key=qu3ry");
    for (name, value) in [
        (
            "content-type",
            "application/cloudevents+json; charset=utf-8",
        ),
        (
            "user-agent",
            concat!("readygate/", env!("CARGO_PKG_VERSION")),
        ),
        ("webhook-id", sent.event_id.as_str()),
        ("readygate-attempt", "3"),
        ("readygate-receiver", "ops"),
        ("authorization", "Basic dXMzcjpwYXNzdzByZA=="),
    ] {
        assert_eq!(header(&parts, name), value, "{name}");
    }
}

#[tokio::test]
async fn the_signature_is_made_with_the_time_of_the_attempt() {
    let mut server = Server::answering_status(200).await;
    server
        .webhook()
        .deliver(&delivery("i-a", 42))
        .await
        .unwrap();
    let (parts, body) = server.requests.recv().await.unwrap();
    let headers = SignedHeaders {
        id: header(&parts, "webhook-id"),
        timestamp: header(&parts, "webhook-timestamp"),
        signature: header(&parts, "webhook-signature"),
    };
    let now = Clock::start().wall();
    let verdict = SigningKey::parse(KEY).unwrap().verify(headers, &body, now);
    assert_eq!(verdict, Ok(()));
    let signed_at = Timestamp::from_seconds(headers.timestamp.parse().unwrap());
    assert!(now.saturating_since(signed_at) < AMPLE);
}

#[tokio::test]
async fn without_a_key_there_is_no_signature() {
    let mut server = Server::answering_status(200).await;
    let url = SecretString::from(format!("http://{}\n", server.authority));
    let settings = WebhookSettings::new(url);
    let webhook = Webhook::new(settings, "ops".parse().unwrap(), Clock::start()).unwrap();
    webhook.deliver(&delivery("i-a", 1)).await.unwrap();
    let (parts, _) = server.requests.recv().await.unwrap();
    assert!(!parts.headers.contains_key("webhook-signature"));
    assert!(!parts.headers.contains_key("authorization"));
}

#[tokio::test]
async fn an_answer_that_refuses_says_its_status_and_what_to_do() {
    for (status, class, words) in [
        (400, FailureClass::PayloadRejected, "400 (Bad Request)"),
        (404, FailureClass::ReceiverConfig, "check the path"),
        (410, FailureClass::ReceiverConfig, "gone for good"),
        (429, FailureClass::Throttled, "asks for less"),
        (500, FailureClass::Transient, "500 (Internal Server Error)"),
        (599, FailureClass::Transient, "599"),
    ] {
        let server = Server::answering_status(status).await;
        let failure = failure_of(&server.webhook()).await;
        assert_eq!(failure.class, class, "{status}");
        assert_eq!(failure.retry_after, None);
        assert!(failure.message.contains(words), "{failure}");
        assert!(failure.message.contains(&server.authority), "{failure}");
    }
}

#[tokio::test]
async fn retry_after_is_passed_on() {
    let date = ("date", "Sun, 22 Nov 2026 23:40:00 GMT");
    let until = ("retry-after", "Sun, 22 Nov 2026 23:40:40 GMT");
    for (status, headers, expected) in [
        (429, vec![("retry-after", "17")], 17),
        (503, vec![date, until], 40),
    ] {
        let server = Server::answering(move || answer(status, &headers)).await;
        let failure = failure_of(&server.webhook()).await;
        assert_eq!(failure.class, FailureClass::Throttled);
        assert_eq!(failure.retry_after, Some(Duration::from_secs(expected)));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let mut elsewhere = Server::answering_status(200).await;
    let location = format!("http://{}/t0ken", elsewhere.authority);
    for status in [301, 302, 303, 307, 308] {
        let location = location.clone();
        let server = Server::answering(move || answer(status, &[("location", &location)])).await;
        let failure = failure_of(&server.webhook()).await;
        assert_eq!(failure.class, FailureClass::ReceiverConfig);
        assert!(failure.message.contains("not followed"), "{failure}");
    }
    assert!(elsewhere.requests.try_recv().is_err());
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut_by_the_timeout() {
    // The sender is kept, so that the body stays open without anybody sleeping.
    let (_open, chunks) = mpsc::unbounded_channel::<Result<Bytes, std::io::Error>>();
    let chunks = Arc::new(std::sync::Mutex::new(Some(chunks)));
    let server = Server::answering(move || {
        let chunks = chunks.lock().unwrap().take().unwrap();
        let body = stream::unfold(chunks, |mut chunks| async {
            chunks.recv().await.map(|chunk| (chunk, chunks))
        });
        Answer::new(Body::from_stream(body))
    })
    .await;
    let failure = failure_of(&webhook(&server.authority, SHORT)).await;
    assert_eq!(failure.class, FailureClass::Transient);
    assert!(
        failure.message.contains("no whole answer within 150ms"),
        "{failure}"
    );
}

#[tokio::test]
async fn of_a_long_body_only_the_beginning_is_read() {
    let server = Server::answering(|| {
        let chunk = Bytes::from_static(&[b'x'; 1024]);
        let endless = stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
        Answer::new(Body::from_stream(endless))
    })
    .await;
    let receipt = server.webhook().deliver(&delivery("i-a", 1)).await.unwrap();
    assert!(receipt.detail.starts_with("200 in "), "{}", receipt.detail);
}

#[tokio::test]
async fn no_answer_at_all_is_cut_by_the_timeout() {
    let authority = silent_server();
    let failure = failure_of(&webhook(&authority, SHORT)).await;
    assert_eq!(failure.class, FailureClass::Transient);
    assert!(failure.message.contains("no whole answer"), "{failure}");
}

#[tokio::test]
async fn a_port_nobody_listens_on_is_told_as_that() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    drop(listener);
    let failure = failure_of(&webhook(&authority, AMPLE)).await;
    assert_eq!(failure.class, FailureClass::Transient);
    assert!(failure.message.contains("connection refused"), "{failure}");
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_tried_again() {
    const TORN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
    for said in [&b""[..], b"SSH-2.0-OpenSSH_9.2\r\n", TORN] {
        let authority = raw_server(move |mut connection| {
            // Until the request is there, so that it is the answer that breaks off.
            let mut request = [0; 4096];
            assert!(connection.read(&mut request).unwrap() > 0);
            connection.write_all(said).unwrap();
        });
        let failure = failure_of(&webhook(&authority, AMPLE)).await;
        assert_eq!(failure.class, FailureClass::Transient, "{failure}");
    }
}

#[tokio::test]
async fn https_to_a_port_without_tls_is_a_matter_of_settings() {
    let authority = raw_server(|mut connection| {
        // Until its greeting is there, because closing earlier would reset the connection.
        let mut greeting = [0; 4096];
        assert!(connection.read(&mut greeting).unwrap() > 0);
        let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        connection.write_all(answer).unwrap();
    });
    let failure = failure_of(&webhook_to("https", &authority, AMPLE)).await;
    assert_eq!(failure.class, FailureClass::ReceiverConfig, "{failure}");
    assert!(failure.message.contains("TLS"), "{failure}");
}

#[tokio::test]
async fn a_handshake_that_hangs_ends_with_the_connect_timeout() {
    let authority = silent_server();
    let url = SecretString::from(format!("https://{authority}/t0ken"));
    let settings = WebhookSettings {
        connect_timeout: SHORT,
        timeout: AMPLE,
        ..WebhookSettings::new(url)
    };
    let webhook = Webhook::new(settings, "ops".parse().unwrap(), Clock::start()).unwrap();
    let failure = failure_of(&webhook).await;
    assert_eq!(failure.class, FailureClass::Transient);
    assert!(
        failure.message.contains("no connection within 150ms"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_told_as_that() {
    // RFC 6761: `.invalid` never resolves. Without a network the resolver may not answer at all.
    let failure = failure_of(&webhook("readygate.invalid", AMPLE)).await;
    assert!(
        failure.message.contains("the name of the host"),
        "{failure}"
    );
}

#[test]
fn a_url_that_cannot_serve_is_refused_without_being_repeated() {
    for url in [
        "",
        "/hook/t0ken",
        "ftp://host/t0ken",
        "http://",
        "https://us3r:passw0rd@host:port/t0ken?qu3ry",
    ] {
        let settings = WebhookSettings::new(SecretString::from(url));
        let refused = Webhook::new(settings, "ops".parse().unwrap(), Clock::start()).unwrap_err();
        let shown = format!("{refused} {refused:?}");
        assert!(shown.contains("ops"), "{shown}");
        for secret in SECRETS {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn settings_do_not_show_their_secrets() {
    let settings = WebhookSettings {
        key: Some(SigningKey::parse(KEY).unwrap()),
        ..WebhookSettings::new(SecretString::from("https://host/t0ken"))
    };
    let shown = format!("{settings:?}");
    assert!(
        !shown.contains("t0ken") && !shown.contains("C2FV"),
        "{shown}"
    );
}
