//! Asks the cloud API. One call is one request: whether and when to ask again is the scheduler's
//! to decide, because every attempt counts against the account's budget.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, DATE, HeaderMap, USER_AGENT};
use secrecy::ExposeSecret as _;
use thiserror::Error;

use super::credentials::{CachedCredentials, CredentialError, CredentialSource, Credentials};
use super::endpoint::{Endpoint, EndpointError};
use super::error::ApiError;
use super::refusal::{Cause, Refusal};
use super::sign::{Authorization, EMPTY_PAYLOAD_SHA256, SignedParts, canonical_query};
use super::wire::read::{Rows, UnreadableReply, refusal, rows};
use super::wire::{ACTION, VERSION, describe_query};
use crate::clock::Clock;
use crate::core::call::CallReport;
use crate::core::id::InstanceId;
use crate::core::time::{Instant, Timestamp};

/// How the client names itself.
const AGENT: &str = concat!("readygate/", env!("CARGO_PKG_VERSION"));

/// The reply's header that says how many milliseconds to wait after throttling.
const RETRY_AFTER: &str = "x-acs-retry-after";

/// Whom to ask, as whom, and with how much patience.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The ID of the region, like `cn-hangzhou`.
    pub region: String,
    /// Overrides the region's endpoint: `host`, `host:port`, or either with `http://` or
    /// `https://` before it; https where it does not say.
    pub endpoint: Option<String>,
    /// Where the keys come from.
    pub credentials: CredentialSource,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a call may take, from the connection to the last byte of the reply.
    pub timeout: Duration,
    /// How long a reply may be, in bytes. One of 100 rows takes some 30 kB.
    pub body_limit: usize,
}

impl ClientSettings {
    /// The region's own endpoint; 5 s to connect and 10 s in all, as the official SDKs have it,
    /// and 4 MiB for a reply.
    #[must_use]
    pub const fn new(region: String, credentials: CredentialSource) -> Self {
        Self {
            region,
            endpoint: None,
            credentials,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            body_limit: 4 * 1024 * 1024,
        }
    }
}

/// Why there is no client.
#[derive(Debug, Error)]
pub enum SetUpError {
    /// Nowhere to call.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// No TLS: most likely the machine has no certificates of authorities.
    #[error("could not set up TLS; check that CA certificates are installed on this machine")]
    Tls(#[source] reqwest::Error),
}

/// A call that has ended.
#[derive(Debug)]
pub struct Call {
    /// When, and with what outcome, in the core's words.
    pub report: CallReport,
    /// Why there are no rows, in words for people. `Some` just where the outcome is an error.
    pub error: Option<ApiError>,
    /// Rows of the reply that name no instance and were left out.
    pub unusable_rows: usize,
}

/// A client of one region under one source of credentials. Calls may run at the same time.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    region: String,
    credentials: CachedCredentials,
    clock: Clock,
    timeout: Duration,
    body_limit: usize,
    /// What to add to this machine's clock to date requests, in microseconds. 0 until the service
    /// refused a date; a request's date may be 15 minutes off, so it need not be exact.
    clock_correction: AtomicI64,
}

impl Client {
    /// A client that has neither connected nor loaded credentials yet.
    ///
    /// It uses no proxy, follows no redirect (the signature covers the host) and never sends a
    /// request twice.
    ///
    /// # Errors
    ///
    /// Where region or endpoint cannot be one, or TLS cannot be set up.
    pub fn new(settings: ClientSettings, clock: Clock) -> Result<Self, SetUpError> {
        let endpoint = Endpoint::of(&settings.region, settings.endpoint.as_deref())?;
        crate::tls::install_provider();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            .build()
            .map_err(SetUpError::Tls)?;
        Ok(Self {
            http,
            endpoint,
            region: settings.region,
            credentials: CachedCredentials::new(settings.credentials),
            clock,
            timeout: settings.timeout,
            body_limit: settings.body_limit,
            clock_correction: AtomicI64::new(0),
        })
    }

    /// Loads the credentials before the first call, waiting up to `patience` for a file that is
    /// about to be written. Without it the first call loads them, without waiting.
    ///
    /// # Errors
    ///
    /// Where there are none that can be used.
    pub async fn load_credentials(&self, patience: Duration) -> Result<(), CredentialError> {
        self.credentials.load_at_start(patience).await
    }

    /// Asks once for the status of these instances: at least one, and at most
    /// [`BATCH_MAX`](crate::core::call::BATCH_MAX), or the service refuses the call.
    ///
    /// Where it refuses the credentials, others are looked for, and where there are others the
    /// outcome is [`Disposition::Retry`](crate::core::call::Disposition::Retry): so rotated keys
    /// need no restart.
    pub async fn describe(&self, instances: &[InstanceId]) -> Call {
        let began = self.clock.now();
        let credentials = match self.credentials.get().await {
            Ok(credentials) => credentials,
            Err(error) => return ended(began, self.clock.now(), None, Err(error.into())),
        };
        let request = self.request(instances, &credentials);
        let sent = self.clock.now();
        let (date, mut outcome) = self.exchange(request).await;
        let received = self.clock.now();
        if let Err(ApiError::Refused { refusal, .. }) = &mut outcome {
            self.learn_from(refusal, date, &credentials).await;
        }
        ended(sent, received, date, outcome)
    }

    /// A signed request. Its URL is the canonical query itself, so what is signed and what is
    /// sent are the same text.
    fn request(
        &self,
        instances: &[InstanceId],
        credentials: &Credentials,
    ) -> reqwest::RequestBuilder {
        let query = describe_query(&self.region, instances);
        let mut headers = self.signed_headers(credentials);
        let authorization = Authorization::sign(
            &SignedParts {
                method: "POST",
                path: "/",
                query: &query,
                headers: &headers,
                payload_sha256: EMPTY_PAYLOAD_SHA256,
            },
            &credentials.access_key_id,
            credentials.secret.expose_secret(),
        );
        headers.extend(
            [
                (AUTHORIZATION.as_str(), authorization.to_header().as_str()),
                (ACCEPT.as_str(), "application/json"),
                (USER_AGENT.as_str(), AGENT),
                (CONTENT_LENGTH.as_str(), "0"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let request = self.http.post(self.endpoint.url(&canonical_query(&query)));
        headers.into_iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        })
    }

    fn signed_headers(&self, credentials: &Credentials) -> Vec<(String, String)> {
        let correction = self.clock_correction.load(Ordering::Relaxed);
        let now = self.clock.wall().as_micros().saturating_add(correction);
        // Unique for ever, as far as 128 random bits are.
        let nonce = format!("{:032x}", rand::random::<u128>());
        let mut headers = vec![
            ("host", self.endpoint.authority().to_owned()),
            ("x-acs-action", ACTION.to_owned()),
            ("x-acs-content-sha256", EMPTY_PAYLOAD_SHA256.to_owned()),
            ("x-acs-date", Timestamp::from_micros(now).to_whole_seconds()),
            ("x-acs-signature-nonce", nonce),
            ("x-acs-version", VERSION.to_owned()),
        ];
        if let Some(token) = &credentials.security_token {
            // The documentation asks for the token only; the official SDKs send both.
            headers.push(("x-acs-accesskey-id", credentials.access_key_id.clone()));
            headers.push(("x-acs-security-token", token.expose_secret().to_owned()));
        }
        headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Sends a request and reads the whole reply. The date is there wherever any reply came, so
    /// that refusals tell the service's time as well.
    async fn exchange(
        &self,
        request: reqwest::RequestBuilder,
    ) -> (Option<Timestamp>, Result<Rows, ApiError>) {
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return (None, Err(self.broken(error))),
        };
        let date = header(response.headers(), DATE.as_str()).and_then(Timestamp::parse_http_date);
        let body = self.body(&mut response).await;
        let outcome = body.and_then(|body| self.judge(&response, &body));
        (date, outcome)
    }

    /// Reads a body up to the limit.
    async fn body(&self, response: &mut reqwest::Response) -> Result<Vec<u8>, ApiError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(error))? {
            if body.len() + chunk.len() > self.body_limit {
                return Err(ApiError::TooLong {
                    asked: self.asked(),
                    limit: self.body_limit,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn judge(&self, response: &reqwest::Response, body: &[u8]) -> Result<Rows, ApiError> {
        let status = response.status();
        let after = retry_after(response.headers());
        if !status.is_success() {
            return Err(self.refused(match refusal(body) {
                Some(error) => Refusal::by_service(status.as_u16(), &error, after),
                None => Refusal::by_status(status.as_u16(), after),
            }));
        }
        rows(body).map_err(|error| match error {
            UnreadableReply::Refused(error) => {
                self.refused(Refusal::by_service(status.as_u16(), &error, after))
            }
            UnreadableReply::NotJson(_) | UnreadableReply::Shape(_) => ApiError::Unreadable {
                asked: self.asked(),
                source: error,
            },
        })
    }

    /// Draws the conclusions from a refusal that make the next call a better one.
    async fn learn_from(
        &self,
        refusal: &mut Refusal,
        date: Option<Timestamp>,
        credentials: &Credentials,
    ) {
        if refusal.blames_credentials() {
            refusal.renewed = self.credentials.renew(credentials).await;
        }
        if let (Cause::Clock, Some(date)) = (refusal.cause, date) {
            let wall = self.clock.wall().as_micros();
            let correction = date.as_micros().saturating_sub(wall);
            self.clock_correction.store(correction, Ordering::Relaxed);
        }
    }

    fn broken(&self, error: reqwest::Error) -> ApiError {
        let asked = self.asked();
        if error.is_timeout() && !error.is_connect() {
            let limit = self.timeout;
            return ApiError::TimedOut { asked, limit };
        }
        let source = error.without_url();
        ApiError::Disconnected { asked, source }
    }

    fn refused(&self, refusal: Refusal) -> ApiError {
        ApiError::Refused {
            asked: self.asked(),
            refusal: Box::new(refusal),
        }
    }

    fn asked(&self) -> String {
        format!("{} (region {})", self.endpoint, self.region)
    }
}

/// Puts together what is told of a call.
fn ended(
    sent: Instant,
    received: Instant,
    date: Option<Timestamp>,
    outcome: Result<Rows, ApiError>,
) -> Call {
    let (outcome, error, unusable_rows) = match outcome {
        Ok(rows) => (Ok(rows.rows), None, rows.unusable),
        Err(error) => (Err(error.disposition()), Some(error), 0),
    };
    let report = CallReport {
        sent,
        received,
        date,
        outcome,
    };
    Call {
        report,
        error,
        unusable_rows,
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// How long the reply asks to wait; only a positive whole number says anything.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let milliseconds: u64 = header(headers, RETRY_AFTER)?.trim().parse().ok()?;
    (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests;
