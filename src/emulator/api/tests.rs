//! Requests signed as a client signs them, answered at times that are passed in.

use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::ecs::sign::{Authorization, SignedParts, canonical_query, sha256_hex};
use crate::ecs::wire::describe_query;
use crate::emulator::auth::{ACCESS_KEY_ID, ACCESS_KEY_SECRET};
use crate::emulator::faults::{Failure, FaultsChange};
use crate::emulator::instance::Action;
use crate::emulator::scenario::Span;

/// The first second of a minute.
const START: Timestamp = Timestamp::from_seconds(1_795_390_800);

fn after(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

fn world(instances: u32) -> (World, Vec<InstanceId>) {
    let heartbeat = Span::new(Duration::from_secs(55), Duration::from_secs(65));
    let scenario = Scenario::healthy(instances, Duration::from_secs(120), heartbeat, 7).unwrap();
    let world = World::new(&scenario, START);
    let ids = world.fleet.ids(instances as usize).cloned().collect();
    (world, ids)
}

/// A request as a client would build it, open to be spoiled before it is signed.
struct Client {
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    key: &'static str,
    secret: &'static str,
}

impl Client {
    fn asking(region: &str, ids: &[InstanceId], nonce: &str, date: Timestamp) -> Self {
        let headers = [
            ("host", "127.0.0.1:1"),
            ("x-acs-action", ACTION),
            ("x-acs-version", VERSION),
            ("x-acs-signature-nonce", nonce),
            ("x-acs-date", &date.to_whole_seconds()),
            ("x-acs-content-sha256", &sha256_hex(b"")),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            query: describe_query(region, ids),
            headers: headers.into(),
            key: ACCESS_KEY_ID,
            secret: ACCESS_KEY_SECRET,
        }
    }

    fn set(mut self, header: &str, value: &str) -> Self {
        self.headers.retain(|(name, _)| name != header);
        if !value.is_empty() {
            self.headers.push((header.to_owned(), value.to_owned()));
        }
        self
    }

    fn signed(self) -> ApiRequest {
        let parts = SignedParts {
            method: "POST",
            path: "/",
            query: &self.query,
            headers: &self.headers,
            payload_sha256: &sha256_hex(b""),
        };
        let authorization = Authorization::sign(&parts, self.key, self.secret).to_header();
        let mut headers = self.headers;
        headers.push(("Authorization".to_owned(), authorization));
        ApiRequest {
            method: "POST".to_owned(),
            raw_query: canonical_query(&self.query),
            headers,
            body: Vec::new(),
        }
    }
}

fn body(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// The status and the code of a refusal.
fn refused(answer: &Answer) -> (u16, String) {
    let code = body(answer)["Code"].as_str().unwrap_or_default().to_owned();
    (answer.status, code)
}

#[test]
fn a_signed_call_gets_a_row_for_each_of_its_ids() {
    let (mut world, ids) = world(100);
    let request = Client::asking("cn-hangzhou", &ids, "1", START).signed();
    let answer = world.answer(&request, after(1));
    assert_eq!(answer.status, 200);
    let body = body(&answer);
    assert_eq!(body["PageSize"], 100);
    assert_eq!(body["TotalCount"], 100);
    assert_eq!(body["NextToken"], "");
    assert_eq!(body["RequestId"], answer.request_id);
    let rows = &body["InstanceCloudAssistantStatusSet"]["InstanceCloudAssistantStatus"];
    assert_eq!(rows.as_array().unwrap().len(), 100);
    assert_eq!(rows[0]["CloudAssistantStatus"], "true");
    let heartbeat = rows[0]["LastHeartbeatTime"].as_str().unwrap();
    assert_eq!(heartbeat.len(), "2026-11-22T23:40:01Z".len());
}

#[test]
fn instances_without_an_agent_have_empty_words() {
    let bare = "[[group]]\nname = \"bare\"\ncount = 1\nstart = \"never-installed\"\n";
    let mut world = World::new(&Scenario::parse(bare, "test").unwrap(), START);
    let ids: Vec<InstanceId> = world.fleet.ids(1).cloned().collect();
    let request = Client::asking("cn-hangzhou", &ids, "1", START).signed();
    let mut row = body(&world.answer(&request, after(1)));
    let row = row["InstanceCloudAssistantStatusSet"]["InstanceCloudAssistantStatus"][0].take();
    let expected = serde_json::json!({
        "InstanceId": ids[0].as_str(), "CloudAssistantStatus": "false",
        "CloudAssistantVersion": "", "LastHeartbeatTime": "", "LastInvokedTime": "",
        "InvocationCount": 0, "ActiveTaskCount": 0, "OSType": "Linux",
        "SupportSessionManager": false,
    });
    assert_eq!(row, expected);
}

#[test]
fn one_unknown_id_fails_the_whole_call() {
    let (mut world, mut ids) = world(3);
    for bad in ["i-bp1doesnotexist00000", "mi-hz0unknown"] {
        ids.push(bad.parse().unwrap());
        let request = Client::asking("cn-hangzhou", &ids, bad, START).signed();
        let answer = world.answer(&request, after(1));
        let expected = (404, "InvalidInstance.NotFound".to_owned());
        assert_eq!(refused(&answer), expected);
        ids.pop();
    }
    let released = ids[0].clone();
    world
        .fleet
        .act(&released, Action::Release, after(2))
        .unwrap();
    let request = Client::asking("cn-hangzhou", &ids, "2", START).signed();
    assert_eq!(world.answer(&request, after(3)).status, 404);
    let request = Client::asking("cn-hangzhou", &ids[1..], "3", START).signed();
    assert_eq!(world.answer(&request, after(3)).status, 200);
}

#[test]
fn parameters_are_refused_in_the_words_of_the_operation() {
    let (mut world, ids) = world(101);
    let mut malformed = Client::asking("cn-hangzhou", &ids[..1], "m", START);
    malformed
        .query
        .push(("InstanceId.7".to_owned(), "web 7".to_owned()));
    for (client, status, code) in [
        (
            Client::asking("cn-hangzhou", &ids, "a", START),
            403,
            "InstanceIds.ExceedLimit",
        ),
        (
            Client::asking("mars", &ids[..1], "b", START),
            404,
            "InvalidRegionId.NotFound",
        ),
        (
            Client::asking("", &ids[..1], "c", START),
            400,
            "MissingRegionId",
        ),
        (
            Client::asking("cn-hangzhou", &[], "d", START),
            400,
            "MissingParam.InstanceId",
        ),
        (malformed, 404, "InvalidInstance.NotFound"),
    ] {
        let answer = world.answer(&client.signed(), after(1));
        assert_eq!(refused(&answer), (status, code.to_owned()));
    }
}

#[test]
fn checks_come_in_the_order_of_the_cloud() {
    let (mut world, ids) = world(1);
    let good = |nonce: &str| Client::asking("cn-hangzhou", &ids, nonce, START);
    let wrong_key = Client {
        key: "somebody",
        ..good("k")
    };
    let wrong_secret = Client {
        secret: "guessed",
        ..good("s")
    };
    let early = START - Duration::from_secs(901);
    let stale = |date| Client::asking("cn-hangzhou", &ids, "t", date);
    for (client, status, code) in [
        (
            good("a").set("x-acs-version", "2013-01-01"),
            400,
            "InvalidVersion",
        ),
        (
            good("b").set("x-acs-action", "RunInstances"),
            404,
            "InvalidAction.NotFound",
        ),
        (good("c").set("x-acs-date", ""), 400, "MissingTimestamp"),
        (
            good("d").set("x-acs-signature-nonce", ""),
            400,
            "MissingSignatureNonce",
        ),
        (
            good("e").set("x-acs-date", "yesterday"),
            400,
            "InvalidTimeStamp.Format",
        ),
        (stale(early), 400, "InvalidTimeStamp.Expired"),
        (stale(after(902)), 400, "InvalidTimeStamp.Expired"),
        (
            Client {
                key: "somebody",
                ..stale(early)
            },
            400,
            "InvalidTimeStamp.Expired",
        ),
        (wrong_key, 404, "InvalidAccessKeyId.NotFound"),
        (wrong_secret, 400, "SignatureDoesNotMatch"),
    ] {
        let answer = world.answer(&client.signed(), after(1));
        assert_eq!(refused(&answer), (status, code.to_owned()));
    }
    let unsigned = ApiRequest {
        headers: good("u").headers,
        ..good("u").signed()
    };
    let answer = world.answer(&unsigned, START);
    assert_eq!(refused(&answer), (400, "IncompleteSignature".to_owned()));
}

#[test]
fn a_wrong_signature_is_answered_with_both_texts_and_a_colon() {
    let (mut world, ids) = world(1);
    let mut request = Client::asking("cn-hangzhou", &ids, "1", START).signed();
    request.raw_query.push_str("&OSType=Linux");
    let body = body(&world.answer(&request, after(1)));
    let message = body["Message"].as_str().unwrap();
    assert!(
        message.starts_with(
            "Specified signature does not match our calculation. server StringToSign is \
             [ACS3-HMAC-SHA256\n"
        ),
        "{message}"
    );
    assert!(message.contains("] server CanonicalRequest is [POST\n/\nInstanceId.1="));
    assert!(message.split(':').nth(1).is_some());
    assert_eq!(body["HostId"], "127.0.0.1:1");
    let recommend = body["Recommend"].as_str().unwrap();
    assert!(recommend.contains("q=SignatureDoesNotMatch&product=Ecs&requestId="));
}

#[test]
fn every_way_to_write_the_same_query_is_verified() {
    let (mut world, ids) = world(1);
    for (nonce, written) in [
        ("plus", "a+b%2A~"),
        ("encoded", "a%20b*%7E"),
        ("raw", "a%20b*~"),
    ] {
        let mut client = Client::asking("cn-hangzhou", &ids, nonce, START);
        let signed_value = "a b*~".to_owned();
        client.query.push(("NextToken".to_owned(), signed_value));
        let mut request = client.signed();
        request.raw_query = request.raw_query.replace("a%20b%2A~", written);
        assert!(request.raw_query.contains(written));
        assert_eq!(world.answer(&request, after(1)).status, 200, "{nonce}");
    }
}

#[test]
fn a_request_is_answered_once() {
    let (mut world, ids) = world(1);
    let request = Client::asking("cn-hangzhou", &ids, "1", START).signed();
    assert_eq!(world.answer(&request, after(1)).status, 200);
    let again = world.answer(&request, after(2));
    assert_eq!(refused(&again), (400, "SignatureNonceUsed".to_owned()));
}

#[test]
fn throttling_ends_with_the_minute_and_says_so_if_asked() {
    let (mut world, ids) = world(1);
    let limit = |retry_after| FaultsChange {
        calls_per_minute: Some(Some(1)),
        retry_after: Some(retry_after),
        fail: None,
    };
    let call = |world: &mut World, seconds: u64| {
        let nonce = seconds.to_string();
        let request = Client::asking("cn-hangzhou", &ids, &nonce, START).signed();
        world.answer(&request, after(seconds))
    };
    assert!(world.faults.change(limit(false)));
    assert_eq!(call(&mut world, 1).status, 200);
    let throttled = call(&mut world, 40);
    assert_eq!(refused(&throttled), (400, "Throttling.User".to_owned()));
    assert_eq!(throttled.retry_after, None);
    assert!(world.faults.change(limit(true)));
    assert_eq!(call(&mut world, 45).retry_after, Some(15_000));
    assert_eq!(call(&mut world, 60).status, 200);
}

#[test]
fn calls_are_logged_with_what_became_of_them() {
    let (mut world, ids) = world(2);
    let request = Client::asking("cn-hangzhou", &ids, "1", START).signed();
    world.answer(&request, after(1));
    world.faults.fail = Some(Failure {
        status: 503,
        code: None,
    });
    world.answer(&request, after(2));
    let (total, calls) = world.calls();
    assert_eq!(total, 2);
    let record = |seconds, status, code: Option<&str>| CallRecord {
        time: after(seconds),
        action: ACTION.to_owned(),
        instances: 2,
        status,
        code: code.map(str::to_owned),
    };
    assert_eq!(
        calls,
        [
            record(1, 200, None),
            record(2, 503, Some("ServiceUnavailable"))
        ]
    );
}
