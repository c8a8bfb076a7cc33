//! The webhook: one signed POST per attempt.
//!
//! The URL is treated as a secret, because many services put a token into its path or query: no
//! error, receipt or `Debug` shows more of it than scheme, host and port.

mod answer;
#[cfg(test)]
mod tests;
mod transport;

use std::fmt;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderName};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url, redirect, retry};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use super::Receipt;
use super::signing::SigningKey;
use crate::clock::Clock;
use crate::core::delivery::{Delivery, DeliveryFailure, FailureClass};
use crate::core::id::ReceiverName;
use crate::tls;

/// The event format: `CloudEvents` 1.0, JSON in structured mode.
const EVENT_CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

const USER_AGENT: &str = concat!("readygate/", env!("CARGO_PKG_VERSION"));

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const ATTEMPT: HeaderName = HeaderName::from_static("readygate-attempt");
const RECEIVER: HeaderName = HeaderName::from_static("readygate-receiver");

/// How much of an answer's body is read, in bytes. Nothing in it is used: reading a short one to
/// its end lets the connection serve again, and a long one is not worth its bandwidth.
const ANSWER_LIMIT: usize = 8 * 1024;

/// How long a connection may lie idle. Short, so that a changed address is noticed soon.
const IDLE_CONNECTION: Duration = Duration::from_secs(60);

/// Where a webhook goes and how long it may take.
#[derive(Debug)]
pub struct WebhookSettings {
    /// `http` or `https`; may carry a token or `user:password@`, which is sent as basic
    /// authentication.
    pub url: SecretString,
    /// Signs every request; without it they go unsigned.
    pub key: Option<SigningKey>,
    /// How long a connection may take, its TLS handshake included.
    pub connect_timeout: Duration,
    /// How long the whole exchange may take: connection, request, and the answer with its body.
    pub timeout: Duration,
}

impl WebhookSettings {
    /// Unsigned, with 5 s to connect and 15 s for everything.
    #[must_use]
    pub const fn new(url: SecretString) -> Self {
        Self {
            url,
            key: None,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(15),
        }
    }
}

/// Why a webhook cannot be set up. None of these repeats the URL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WebhookError {
    /// The text is not a URL.
    #[error("the URL of receiver `{receiver}` cannot be read: {reason}")]
    Url {
        /// Whose.
        receiver: ReceiverName,
        /// What is wrong with it.
        reason: String,
    },
    /// It is a URL of another kind.
    #[error("the URL of receiver `{0}` must begin with `https://` or `http://`")]
    Scheme(ReceiverName),
    /// The HTTP client cannot start.
    #[error("the HTTP client of receiver `{receiver}` cannot start: {reason}")]
    Client {
        /// Whose.
        receiver: ReceiverName,
        /// Why, for example that the machine has no root certificates.
        reason: String,
    },
}

/// A receiver that gets its events as signed HTTP requests.
pub struct Webhook {
    name: ReceiverName,
    url: Url,
    /// What of the URL may be shown: scheme, host and port.
    origin: String,
    key: Option<SigningKey>,
    connect_timeout: Duration,
    timeout: Duration,
    client: Client,
    clock: Clock,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("name", &self.name)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl Webhook {
    /// Prepares the client; connects to nothing yet.
    ///
    /// # Errors
    /// When the URL is none, or not of HTTP, or the HTTP client cannot start.
    pub fn new(
        settings: WebhookSettings,
        name: ReceiverName,
        clock: Clock,
    ) -> Result<Self, WebhookError> {
        let url = read_url(&settings.url, &name)?;
        let client = client_for(&url, settings.connect_timeout)
            .build()
            .map_err(|error| WebhookError::Client {
                receiver: name.clone(),
                reason: transport::innermost(&error.without_url()),
            })?;
        Ok(Self {
            name,
            origin: url.origin().ascii_serialization(),
            url,
            key: settings.key,
            connect_timeout: settings.connect_timeout,
            timeout: settings.timeout,
            client,
            clock,
        })
    }

    /// What it is called in the settings.
    #[must_use]
    pub const fn name(&self) -> &ReceiverName {
        &self.name
    }

    /// Sends the stored bytes once, signed with the time of this attempt.
    ///
    /// # Errors
    /// For every answer but 2xx, and when no whole answer came within the timeout.
    pub async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, DeliveryFailure> {
        let started = self.clock.now();
        let status = tokio::time::timeout(self.timeout, self.exchange(delivery))
            .await
            .unwrap_or_else(|_| {
                let limit = self.timeout;
                let what = format!("no whole answer within {limit:?}");
                Err(self.failure(FailureClass::Transient, &what))
            })?;
        let milliseconds = self.clock.now().saturating_since(started).as_millis();
        Ok(Receipt {
            detail: format!("{} in {milliseconds} ms", status.as_u16()),
        })
    }

    async fn exchange(&self, delivery: &Delivery) -> Result<StatusCode, DeliveryFailure> {
        let mut answer = self
            .request(delivery)
            .send()
            .await
            .map_err(|error| self.broken_exchange(error))?;
        let status = answer.status();
        if let Some(refusal) = answer::refusal(status.as_u16()) {
            return Err(DeliveryFailure {
                retry_after: answer::retry_after(answer.headers(), self.clock.wall()),
                ..self.failure(refusal.class, &refusal.describe(status))
            });
        }
        read_to_limit(&mut answer)
            .await
            .map_err(|error| self.broken_exchange(error))?;
        Ok(status)
    }

    fn request(&self, delivery: &Delivery) -> reqwest::RequestBuilder {
        let id = delivery.event_id.as_str();
        let timestamp = self.clock.wall().as_seconds();
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, EVENT_CONTENT_TYPE)
            .header(WEBHOOK_ID, id)
            .header(WEBHOOK_TIMESTAMP, timestamp)
            .header(ATTEMPT, delivery.attempts.saturating_add(1))
            .header(RECEIVER, self.name.as_str());
        let request = match &self.key {
            Some(key) => request.header(WEBHOOK_SIGNATURE, key.sign(id, timestamp, &delivery.body)),
            None => request,
        };
        request.body(delivery.body.clone())
    }

    fn broken_exchange(&self, error: reqwest::Error) -> DeliveryFailure {
        let (class, what) = transport::explain(&error.without_url(), self.connect_timeout);
        self.failure(class, &what)
    }

    fn failure(&self, class: FailureClass, what: &str) -> DeliveryFailure {
        DeliveryFailure {
            class,
            message: format!("{}: {what}", self.origin),
            retry_after: None,
        }
    }
}

fn read_url(text: &SecretString, receiver: &ReceiverName) -> Result<Url, WebhookError> {
    let url = Url::parse(text.expose_secret().trim_end()).map_err(|error| WebhookError::Url {
        receiver: receiver.clone(),
        reason: error.to_string(),
    })?;
    if matches!(url.scheme(), "http" | "https") {
        Ok(url)
    } else {
        Err(WebhookError::Scheme(receiver.clone()))
    }
}

fn client_for(url: &Url, connect_timeout: Duration) -> ClientBuilder {
    tls::install_provider();
    let builder = Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(IDLE_CONNECTION)
        // A signature is for one receiver: it is not carried on to another.
        .redirect(redirect::Policy::none())
        // Attempts are counted by the deliverer, so none is made behind its back.
        .retry(retry::never())
        // A proxy would resolve names in our place; what is in the environment was not meant for
        // internal receivers.
        .no_proxy();
    if url.scheme() == "http" {
        // Without TLS there is nothing to trust, so a machine without root certificates will do.
        builder.tls_certs_only([])
    } else {
        builder
    }
}

/// Reads the body to its end or to [`ANSWER_LIMIT`], and forgets it.
async fn read_to_limit(answer: &mut Response) -> Result<(), reqwest::Error> {
    let mut read = 0;
    while read < ANSWER_LIMIT
        && let Some(chunk) = answer.chunk().await?
    {
        read += chunk.len();
    }
    Ok(())
}
