//! Webhooks as Standard Webhooks 1.0 has them: signed, thin, with an id that stays the same however often one is sent.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::CONTENT_TYPE;
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use url::Url;
use uuid::Uuid;

use super::followers::file::Check;
use super::followers::receiver::{Failure, client};
use crate::clock::Clock;
use crate::domain::feed::Entry;
use crate::domain::ids::EntryId;
use crate::settings::Secret;

/// So much of an answer is read, which nobody looks at, so that the connection can be used again.
const ANSWER_BYTES: usize = 1024;
/// How long that is waited for.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// What a secret begins with; what follows is base64 of the key.
const SECRET_PREFIX: &str = "whsec_";
/// Bytes that a key has.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Where to, and signed with what.
#[derive(Clone, Debug)]
pub(super) struct Config {
    url: Url,
    /// The new one first, then the old one while rotating.
    secrets: Vec<Secret>,
}

impl Config {
    /// Reads what the file says of it.
    pub(super) fn check(check: &mut Check<'_>) -> Option<Self> {
        let url = check.url();
        let new = check.secret("secret_env", true);
        let old = check.secret("old_secret_env", false);
        let is_whole = new.is_some();
        let secrets: Vec<Secret> = new.into_iter().chain(old).collect();
        if secrets.iter().any(|secret| key(secret).is_none()) {
            check.problem("a secret is not whsec_ and the base64 of 24 to 64 bytes");
            return None;
        }
        is_whole.then_some(Self { url: url?, secrets })
    }
}

/// The key that a secret holds: not the secret's own text, as at Stripe.
fn key(secret: &Secret) -> Option<hmac::Key> {
    let text = secret.expose().strip_prefix(SECRET_PREFIX)?;
    let bytes = STANDARD.decode(text).ok()?;
    let fits = KEY_BYTES.contains(&bytes.len());
    fits.then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// A receiver of webhooks.
pub(super) struct Webhook {
    url: Url,
    keys: Vec<hmac::Key>,
    client: reqwest::Client,
    /// The machine's: receivers judge the time of an attempt by theirs, whatever a sandbox's clock says.
    clock: Clock,
}

/// What is sent, as an entry of the feed has it.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(with = "time::serde::rfc3339")]
    timestamp: OffsetDateTime,
    id: Uuid,
    position: i64,
    user_id: Option<&'a str>,
    subscription_id: Option<Uuid>,
    transaction_id: Option<Uuid>,
    origin: Option<&'a str>,
    data: &'a RawValue,
}

fn unwritable(_: serde_json::Error) -> Failure {
    Failure::refused("the row can't be written as JSON")
}

impl Webhook {
    pub(super) fn new(config: Config) -> Result<Self, reqwest::Error> {
        Ok(Self {
            url: config.url,
            keys: config.secrets.iter().filter_map(key).collect(),
            client: client()?,
            clock: Clock::system(),
        })
    }

    /// Tells one row.
    pub(super) async fn tell(&self, entry: &Entry) -> Result<(), Failure> {
        let data = serde_json::from_str(&entry.data).map_err(unwritable)?;
        let body = Body {
            kind: &entry.kind,
            timestamp: entry.at,
            id: entry.id,
            position: entry.position,
            user_id: Some(&entry.user_id),
            subscription_id: Some(entry.subscription_id),
            transaction_id: entry.transaction_id,
            origin: entry.origin.as_deref(),
            data,
        };
        self.post(&body).await
    }

    /// Whether anybody answers there at all.
    pub(super) async fn sign_of_life(&self) -> Result<String, Failure> {
        let response = self.client.head(self.url.clone()).send().await;
        let response = response.map_err(|error| Failure::of_error(&error))?;
        Ok(format!("answers (HEAD: {})", response.status().as_u16()))
    }

    /// Sends a signed message that tells of nothing.
    pub(super) async fn test(&self) -> Result<String, Failure> {
        let now = self.clock.wall();
        let body = Body {
            kind: "dues.test",
            timestamp: now,
            id: EntryId::new(now).0,
            position: 0,
            user_id: None,
            subscription_id: None,
            transaction_id: None,
            origin: None,
            data: &RawValue::from_string("{}".to_owned()).map_err(unwritable)?,
        };
        self.post(&body).await?;
        Ok("took a signed message of the type dues.test".to_owned())
    }

    async fn post(&self, body: &Body<'_>) -> Result<(), Failure> {
        let id = body.id.to_string();
        let body = serde_json::to_vec(body).map_err(unwritable)?;
        let timestamp = self.clock.wall().unix_timestamp();
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", self.signature(&id, timestamp, &body))
            .body(body);
        let sent = request.send().await;
        let mut response = sent.map_err(|error| Failure::of_error(&error))?;
        if let Some(failure) = Failure::of_status(&response) {
            return Err(failure);
        }
        let mut read = 0;
        let rest = async {
            while let Ok(Some(chunk)) = response.chunk().await {
                read += chunk.len();
                if read > ANSWER_BYTES {
                    break;
                }
            }
        };
        // It is taken; who does not end what nobody reads only loses the connection.
        drop(tokio::time::timeout(ANSWER_PATIENCE, rest).await);
        Ok(())
    }

    /// One for each key; receivers split the list at single spaces.
    fn signature(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut signed = format!("{id}.{timestamp}.").into_bytes();
        signed.extend_from_slice(body);
        let sign = |key: &hmac::Key| format!("v1,{}", STANDARD.encode(hmac::sign(key, &signed)));
        let signatures: Vec<String> = self.keys.iter().map(sign).collect();
        signatures.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_of_the_standard_s_example() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let webhook = Webhook::new(Config {
            url: Url::parse("https://example.org").expect("a URL"),
            secrets: vec![secret],
        })
        .expect("a client");
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            webhook.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_secret_is_24_to_64_bytes_in_base64() {
        let is_key = |text: &str| key(&Secret::new(text)).is_some();
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        assert!(is_key(&of(24)) && is_key(&of(64)));
        for wrong in [
            of(23),
            of(65),
            of(32).replace("whsec_", ""),
            "whsec_".to_owned(),
            "whsec_ä".to_owned(),
        ] {
            assert!(!is_key(&wrong), "{wrong}");
        }
    }
}
