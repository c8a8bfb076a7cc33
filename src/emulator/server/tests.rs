//! Through real sockets on loopback.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::*;
use crate::core::status::OsType;
use crate::ecs::sign::{Authorization, SignedParts, canonical_query, sha256_hex};
use crate::ecs::wire::{ACTION, VERSION, describe_query, read};
use crate::emulator::scenario::Span;

/// A running emulator and a client for it.
struct Site {
    address: String,
    host: String,
    ids: Vec<InstanceId>,
    handle: EmulatorHandle,
    client: reqwest::Client,
}

impl Site {
    async fn open() -> Self {
        // A process has one; whoever comes first installs it.
        drop(rustls::crypto::ring::default_provider().install_default());
        let heartbeat = Span::new(Duration::from_secs(55), Duration::from_secs(65));
        let scenario = Scenario::healthy(12, Duration::from_secs(120), heartbeat, 7).unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let emulator = Emulator::bind(&scenario, listen, Clock::start())
            .await
            .unwrap();
        let announcement = emulator.announcement();
        assert_eq!(announcement.instances, 12);
        assert_eq!(announcement.sample_ids.len(), 10);
        let handle = emulator.handle();
        #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
        tokio::spawn(emulator.serve(std::future::pending()));
        Self {
            host: announcement.endpoint.replace("http://", ""),
            address: announcement.endpoint,
            ids: handle.ids(),
            handle,
            client: reqwest::Client::new(),
        }
    }

    /// A call of the API for these instances, signed as a client signs it.
    async fn describe(&self, method: Method, ids: &[InstanceId], nonce: &str) -> Response {
        let query = describe_query("cn-hangzhou", ids);
        let mut headers = [
            ("Host", self.host.as_str()),
            ("X-Acs-Action", ACTION),
            ("x-acs-version", VERSION),
            ("x-acs-signature-nonce", nonce),
            ("x-acs-date", &self.handle.now().to_whole_seconds()),
            ("x-acs-content-sha256", &sha256_hex(b"")),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        let parts = SignedParts {
            method: method.as_str(),
            path: "/",
            query: &query,
            headers: &headers,
            payload_sha256: &sha256_hex(b""),
        };
        let authorization = Authorization::sign(&parts, ACCESS_KEY_ID, ACCESS_KEY_SECRET);
        headers.push(("Authorization".to_owned(), authorization.to_header()));
        let url = format!("{}/?{}", self.address, canonical_query(&query));
        let mut request = self.client.request(method, url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        // Unsigned, as some clients send it.
        let request = request.header("content-type", "application/octet-stream");
        request.send().await.unwrap()
    }

    async fn send(&self, method: Method, path: &str, body: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.address);
        let request = self.client.request(method, url).body(body.to_owned());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send(Method::GET, &format!("/emulator/v1/{path}"), "")
            .await
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        self.send(Method::POST, &format!("/emulator/v1/{path}"), body)
            .await
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let value = response.headers().get(name).map(|value| value.to_str());
    value.unwrap_or(Ok("")).unwrap()
}

#[tokio::test]
async fn signed_calls_are_answered_and_dated_by_the_emulators_time() {
    let site = Site::open().await;
    for (method, nonce) in [(Method::POST, "post"), (Method::GET, "get")] {
        let before = site.handle.now().as_seconds();
        let response = site.describe(method, &site.ids, nonce).await;
        let after = site.handle.now().as_seconds();
        assert_eq!(response.status(), 200);
        assert_eq!(
            header(&response, "content-type"),
            "application/json;charset=utf-8"
        );
        let date = Timestamp::parse_http_date(header(&response, "date")).unwrap();
        assert!((before..=after).contains(&date.as_seconds()));
        let request_id = header(&response, "x-acs-request-id").to_owned();
        let body = response.bytes().await.unwrap();
        let reply: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(reply["RequestId"], request_id);
        let rows = read::rows(&body).unwrap();
        assert_eq!(rows.rows.len(), 12);
        assert!(rows.rows.iter().all(|row| row.status.fresh));
    }
}

#[tokio::test]
async fn a_request_that_was_changed_on_its_way_is_refused() {
    let site = Site::open().await;
    let response = site.describe(Method::POST, &site.ids[..1], "1").await;
    assert_eq!(response.status(), 200);
    let url = format!("{}/?RegionId=cn-hangzhou", site.address);
    let now = site.handle.now().to_whole_seconds();
    let forged = site
        .client
        .post(url)
        .header("x-acs-action", ACTION)
        .header("x-acs-version", VERSION)
        .header("x-acs-date", now)
        .header("x-acs-signature-nonce", "2")
        .header(
            "authorization",
            format!("ACS3-HMAC-SHA256 Credential={ACCESS_KEY_ID},SignedHeaders=host,Signature=00"),
        );
    let response = forged.send().await.unwrap();
    assert_eq!(response.status(), 400);
    let refusal = read::refusal(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(refusal.code, "SignatureDoesNotMatch");
    assert!(refusal.message.contains(&format!("host:{}", site.host)));
    assert_eq!(refusal.host_id, site.host);
    let (status, body) = site.send(Method::PUT, "/", "").await;
    assert_eq!(
        (status, &body["Code"]),
        (403, &json!("UnsupportedHTTPMethod"))
    );
}

#[tokio::test]
async fn the_truth_can_be_read_and_troubled_over_http() {
    let site = Site::open().await;
    let id = &site.ids[0];
    let (status, all) = site.get("instances?offset=2&limit=3").await;
    assert_eq!((status, &all["total"]), (200, &json!(12)));
    let truth: InstanceTruth = serde_json::from_value(all["instances"][0].clone()).unwrap();
    assert_eq!(truth.id, site.ids[2]);

    let (status, one) = site.get(&format!("instances/{id}")).await;
    assert_eq!((status, &one["state"]), (200, &json!("beating")));
    assert_eq!(one["status"], true);
    let reboot = format!("instances/{id}/reboot");
    let (status, one) = site.post(&reboot, r#"{"downtime": "10m"}"#).await;
    assert_eq!((status, &one["state"]), (200, &json!("rebooting")));
    let (status, one) = site.post(&format!("instances/{id}/release"), "").await;
    assert_eq!((status, &one["status"]), (200, &Value::Null));
    assert!(site.handle.truths()[0].released.is_some());

    let order = r#"{"count": 2, "os_type": "Windows", "boot_delay": "5m"}"#;
    let (status, created) = site.post("instances", order).await;
    assert_eq!(status, 201);
    let id: InstanceId = serde_json::from_value(created["ids"][1].clone()).unwrap();
    let portrait = site.handle.portrait(&id).unwrap();
    let row = portrait.status.unwrap();
    assert_eq!((row.fresh, row.os_type), (false, Some(OsType::Windows)));
}

/// Path (`{id}` is a beating instance), body, and what the refusal is and says.
const BAD: [(&str, &str, u16, &str); 13] = [
    ("instances/{id}/explode", "", 404, "is not an action"),
    ("instances/{id}/start-agent", "", 409, "while it is beating"),
    (
        "instances/{id}/reboot",
        r#"{"downtime": "soon"}"#,
        400,
        "`soon` is not",
    ),
    (
        "instances/{id}/reboot",
        r#"{"dwntime": "1s"}"#,
        400,
        "unknown field",
    ),
    (
        "instances/{id}/release",
        r#"{"count": 1}"#,
        400,
        "no such measure",
    ),
    (
        "instances/i-bp1nobody/release",
        "",
        404,
        "there is no instance",
    ),
    ("instances/web-7/release", "", 400, "is not an instance ID"),
    ("instances", r#"{"count": 0}"#, 400, "count must be"),
    (
        "instances",
        r#"{"region": "mars"}"#,
        400,
        "`mars` is not a region",
    ),
    (
        "settings",
        r#"{"fail": {"status": 200}}"#,
        400,
        "400 to 599",
    ),
    ("settings", "[", 400, "the body does not fit"),
    ("calls", "", 405, "not for that method"),
    ("nothing", "", 404, "there is nothing at"),
];

#[tokio::test]
async fn bad_requests_are_refused_with_a_message() {
    let site = Site::open().await;
    for (path, body, status, message) in BAD {
        let path = path.replace("{id}", site.ids[0].as_str());
        let (answered, problem) = site.post(&path, body).await;
        let said = problem["message"].as_str().unwrap_or_default();
        assert_eq!(answered, status, "{path} {body}: {said}");
        assert!(said.contains(message), "{path} {body}: {said}");
    }
    let (status, problem) = site.get("instances?limit=many").await;
    assert_eq!(status, 400);
    assert!(problem["message"].is_string());
}

#[tokio::test]
async fn faults_can_be_switched_while_it_runs_and_calls_are_logged() {
    let site = Site::open().await;
    let one = &site.ids[..1];
    site.post("settings", r#"{"fail": {"status": 503}}"#).await;
    let failed = site.describe(Method::POST, one, "1").await;
    assert_eq!(failed.status(), 503);
    let limit = r#"{"fail": null, "calls_per_minute": 0, "retry_after": true}"#;
    let (_, settings) = site.post("settings", limit).await;
    let expected = json!({"calls_per_minute": 0, "retry_after": true, "fail": null});
    assert_eq!(settings, expected);
    let throttled = site.describe(Method::POST, one, "2").await;
    assert_eq!(throttled.status(), 400);
    let wait: u64 = header(&throttled, "x-acs-retry-after").parse().unwrap();
    assert!((1..=60_000).contains(&wait));
    site.post("settings", r#"{"calls_per_minute": null}"#).await;
    let answered = site.describe(Method::POST, one, "3").await;
    assert_eq!(answered.status(), 200);
    let (_, log) = site.get("calls").await;
    assert_eq!(log["total"], 3);
    let codes: Vec<&Value> = log["calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| &call["code"])
        .collect();
    assert_eq!(
        codes,
        [
            &json!("ServiceUnavailable"),
            &json!("Throttling.User"),
            &Value::Null
        ]
    );
}

#[tokio::test]
async fn it_listens_on_loopback_only_and_ends_when_told() {
    let heartbeat = Span::new(Duration::from_secs(9), Duration::from_secs(11));
    let scenario = Scenario::healthy(1, Duration::from_secs(20), heartbeat, 1).unwrap();
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let refused = Emulator::bind(&scenario, everywhere, Clock::start()).await;
    assert!(matches!(refused, Err(EmulatorError::NotLoopback(_))));

    let listen = "127.0.0.1:0".parse().unwrap();
    let emulator = Emulator::bind(&scenario, listen, Clock::start())
        .await
        .unwrap();
    let handle = emulator.handle();
    emulator.serve(std::future::ready(())).await.unwrap();
    assert_eq!(handle.truths().len(), 1);
}
