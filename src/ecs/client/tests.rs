//! The client against a real HTTP server on loopback.

use std::convert::Infallible;
use std::path::Path;

use axum::body::Body;
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use tokio::net::TcpListener;

use super::*;
use crate::core::call::{BATCH_MAX, Disposition};
use crate::ecs::sign::decode_query;
use crate::ecs::wire::DescribeQuery;
use crate::environment::Environment;

mod server;

use server::{Server, reply};

const ONE_ROW: &str = r#"{"InstanceCloudAssistantStatusSet":{"InstanceCloudAssistantStatus":[
    {"InstanceId":"i-1","CloudAssistantStatus":"true"},{"InstanceId":""}]}}"#;

const DATE_HEADER: (&str, &str) = ("date", "Tue, 01 Jan 2030 00:00:00 GMT");

#[tokio::test]
async fn a_call_is_one_signed_request_and_brings_rows_and_the_servers_date() {
    let server = Server::answering([reply(200, &[DATE_HEADER], ONE_ROW)]).await;
    let client = server.client();
    let before = client.clock.now();
    let call = client.describe(&ids(1)).await;

    assert!(call.error.is_none(), "{:?}", call.error);
    let rows = call.report.outcome.unwrap();
    assert_eq!(rows.len(), 1);
    assert!(rows[0].status.fresh);
    assert_eq!(call.unusable_rows, 1);
    assert_eq!(call.report.date, new_year_2030());
    assert!(before <= call.report.sent && call.report.sent <= call.report.received);

    let request = server.only_request();
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("POST", "/")
    );
    assert_eq!(request.header("host"), server.address);
    assert_eq!(request.header("content-length"), "0");
    assert_eq!(request.header("accept"), "application/json");
    assert_eq!(request.header("user-agent"), AGENT);
    assert_eq!(request.header("x-acs-action"), ACTION);
    assert_eq!(request.header("x-acs-version"), VERSION);
    assert_eq!(request.verified_as("id-env"), Ok(()));
}

#[tokio::test]
async fn a_full_batch_arrives_in_the_order_of_its_numbers() {
    let server = Server::answering([reply(200, &[], "{}")]).await;
    let batch = ids(BATCH_MAX);
    let call = server.client().describe(&batch).await;
    assert_eq!(call.report.outcome, Ok(Vec::new()));
    let request = server.only_request();
    let query = DescribeQuery::from_pairs(&decode_query(&request.query));
    assert_eq!(query.region.as_deref(), Some("cn-hangzhou"));
    let sent: Vec<_> = batch.iter().map(ToString::to_string).collect();
    assert_eq!(query.instances, sent);
    assert_eq!(request.verified_as("id-env"), Ok(()));
}

#[tokio::test]
async fn temporary_keys_send_their_token_signed() {
    let server = Server::answering([reply(200, &[], "{}")]).await;
    let token = "CAISxwF1q6Ft+/8==";
    let environment = Environment::from([
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "STS.id"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret"),
        ("ALIBABA_CLOUD_SECURITY_TOKEN", token),
    ]);
    let source = CredentialSource::new(None, None, &environment);
    let client = server.client_with(source, |_| {});
    assert!(client.describe(&ids(1)).await.error.is_none());
    let request = server.only_request();
    assert_eq!(request.header("x-acs-security-token"), token);
    let authorization = request.header("authorization");
    assert!(
        authorization.contains("x-acs-security-token"),
        "{authorization}"
    );
    assert_eq!(request.verified_as("STS.id"), Ok(()));
}

#[tokio::test]
async fn no_two_requests_share_a_nonce() {
    let server = Server::answering([reply(200, &[], "{}"), reply(200, &[], "{}")]).await;
    let client = server.client();
    for _ in 0..2 {
        assert!(client.describe(&ids(1)).await.error.is_none());
    }
    let requests = server.requests();
    let nonce = |index: usize| requests[index].header("x-acs-signature-nonce");
    assert_eq!(nonce(0).len(), 32);
    assert_ne!(nonce(0), nonce(1));
}

/// Has the server refuse one call, and checks what every refusal has in common.
async fn refused_with(status: u16, retry_after: Option<&str>, body: &str) -> Disposition {
    let mut headers = vec![DATE_HEADER];
    headers.extend(retry_after.map(|after| (RETRY_AFTER, after)));
    let server = Server::answering([reply(status, &headers, body)]).await;
    let call = server.client().describe(&ids(1)).await;
    assert_eq!(call.report.date, new_year_2030(), "{status} {body}");
    let message = call.error.unwrap().to_string();
    assert!(message.contains(&server.address), "{message}");
    assert!(message.contains("cn-hangzhou"), "{message}");
    assert_eq!(server.requests().len(), 1, "{status} {body}");
    call.report.outcome.unwrap_err()
}

#[tokio::test]
async fn a_refusal_by_the_service_is_judged_by_its_code() {
    let after = Some(Duration::from_millis(1500));
    let waits = Disposition::Throttled { after };
    let throttled = Disposition::Throttled { after: None };
    for (status, retry_after, code, expected) in [
        (400, Some("1500"), "Throttling.User", waits),
        (400, Some("soon"), "Throttling", throttled),
        (200, Some("1500"), "Throttling.Api", waits),
        (429, None, "Anything", throttled),
        (404, None, "InvalidInstance.NotFound", Disposition::NotFound),
        (403, None, "Forbidden.RAM", Disposition::Permanent),
        (
            404,
            None,
            "InvalidAccessKeyId.NotFound",
            Disposition::Permanent,
        ),
        (
            404,
            None,
            "InvalidRegionId.NotFound",
            Disposition::Permanent,
        ),
        (500, None, "ServiceUnavailable", Disposition::Retry),
        (503, None, "ServiceUnavailable", Disposition::Retry),
    ] {
        let body = format!(r#"{{"Code":"{code}","Message":"why","RequestId":"R"}}"#);
        let disposition = refused_with(status, retry_after, &body).await;
        assert_eq!(disposition, expected, "{status} {code}");
    }
}

#[tokio::test]
async fn a_reply_that_is_not_the_services_is_judged_by_its_status() {
    let throttled = Disposition::Throttled { after: None };
    for (status, body, expected) in [
        (429, "", throttled),
        (500, "", Disposition::Retry),
        (502, "<html>bad gateway</html>", Disposition::Retry),
        (404, "<html>not found</html>", Disposition::Permanent),
        (200, "<html>log in</html>", Disposition::Retry),
        (200, "[]", Disposition::Retry),
    ] {
        let disposition = refused_with(status, None, body).await;
        assert_eq!(disposition, expected, "{status} {body}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = Server::answering([reply(302, &[("location", "/elsewhere")], "")]).await;
    let call = server.client().describe(&ids(1)).await;
    assert_eq!(call.report.outcome, Err(Disposition::Permanent));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn the_time_limit_covers_the_body() {
    let beginning = stream::iter([Ok::<_, Infallible>("{")]);
    let body = Body::from_stream(beginning.chain(stream::pending()));
    let server = Server::answering([Response::new(body)]).await;
    let limit = Duration::from_secs(2);
    let client = server.client_with(environment_keys(), |settings| settings.timeout = limit);
    let call = client.describe(&ids(1)).await;
    assert_eq!(call.report.outcome, Err(Disposition::Retry));
    assert!(call.report.date.is_some(), "the headers had come");
    let took = call.report.received.saturating_since(call.report.sent);
    assert!(took >= limit, "{took:?}");
    let error = call.error.unwrap();
    assert!(matches!(error, ApiError::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn a_reply_longer_than_the_limit_is_not_read_to_its_end() {
    let endless = stream::repeat_with(|| Ok::<_, Infallible>("{} "));
    let server = Server::answering([Response::new(Body::from_stream(endless))]).await;
    let client = server.client_with(environment_keys(), |settings| settings.body_limit = 4096);
    let call = client.describe(&ids(1)).await;
    assert_eq!(call.report.outcome, Err(Disposition::Retry));
    let error = call.error.unwrap();
    assert!(
        matches!(error, ApiError::TooLong { limit: 4096, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn without_a_connection_there_is_no_date_and_another_try() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut settings = ClientSettings::new("cn-hangzhou".to_owned(), environment_keys());
    settings.endpoint = Some(format!("http://{address}"));
    let client = Client::new(settings, Clock::start()).unwrap();
    let call = client.describe(&ids(1)).await;
    assert_eq!(call.report.outcome, Err(Disposition::Retry));
    assert_eq!(call.report.date, None);
    let error = call.error.unwrap().to_string();
    assert!(
        error.contains("no connection") && !error.contains("i-1"),
        "{error}"
    );
}

#[tokio::test]
async fn without_credentials_nothing_is_sent() {
    let server = Server::answering([]).await;
    let nothing = CredentialSource::new(None, None, &Environment::default());
    let client = server.client_with(nothing, |_| {});
    let call = client.describe(&ids(1)).await;
    assert_eq!(call.report.outcome, Err(Disposition::Permanent));
    assert!(
        client
            .load_credentials(Duration::from_secs(60))
            .await
            .is_err()
    );
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn rotated_keys_are_found_after_a_refusal() {
    let refusal = r#"{"Code":"InvalidAccessKeyId.NotFound"}"#;
    let server = Server::answering([
        reply(404, &[], refusal),
        reply(404, &[], refusal),
        reply(200, &[], ONE_ROW),
    ])
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    write_profile(&file, "id-old");
    let source = CredentialSource::new(None, Some(file.clone()), &Environment::default());
    let client = server.client_with(source, |_| {});

    let unchanged = client.describe(&ids(1)).await;
    assert_eq!(unchanged.report.outcome, Err(Disposition::Permanent));
    write_profile(&file, "id-new");
    let renewed = client.describe(&ids(1)).await;
    assert_eq!(renewed.report.outcome, Err(Disposition::Retry));
    assert!(client.describe(&ids(1)).await.error.is_none());
    let used: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.authorization().access_key_id)
        .collect();
    // The second refusal was of the old key too: only refused keys are looked up again.
    assert_eq!(used, ["id-old", "id-old", "id-new"]);
}

#[tokio::test]
async fn after_a_refused_date_requests_are_dated_by_the_servers_clock() {
    let refusal = r#"{"Code":"InvalidTimeStamp.Expired"}"#;
    let answers = [reply(400, &[DATE_HEADER], refusal), reply(200, &[], "{}")];
    let server = Server::answering(answers).await;
    let client = server.client();
    let call = client.describe(&ids(1)).await;
    assert_eq!(call.report.outcome, Err(Disposition::Retry));
    assert!(client.describe(&ids(1)).await.error.is_none());
    let corrected = server.requests()[1].header("x-acs-date").to_owned();
    assert!(corrected.starts_with("2030-01-01T00:0"), "{corrected}");
}

#[tokio::test]
async fn a_region_that_is_none_is_told_before_any_call() {
    let settings = ClientSettings::new("cn hangzhou".to_owned(), environment_keys());
    let error = Client::new(settings, Clock::start()).unwrap_err();
    assert!(error.to_string().contains("`cn hangzhou`"), "{error}");
}

fn environment_keys() -> CredentialSource {
    let environment = Environment::from([
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "id-env"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret"),
    ]);
    CredentialSource::new(None, None, &environment)
}

fn write_profile(path: &Path, id: &str) {
    let file = format!(
        r#"{{"profiles":[{{"name":"default","mode":"AK","access_key_id":"{id}",
            "access_key_secret":"secret"}}]}}"#
    );
    std::fs::write(path, file).unwrap();
}

fn ids(count: usize) -> Vec<InstanceId> {
    (1..=count)
        .map(|n| format!("i-{n}").parse().unwrap())
        .collect()
}

fn new_year_2030() -> Option<Timestamp> {
    Timestamp::parse_rfc3339("2030-01-01T00:00:00Z")
}
