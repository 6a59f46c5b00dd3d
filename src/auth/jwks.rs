//! The issuer's public keys: fetched when needed, kept, fetched again when a token names a key that we don't have.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard, RwLock};
use url::Url;

use super::AuthError;

/// Longest answer that is read, in bytes.
const DOCUMENT_BYTES: usize = 64 * 1024;
/// Longest time for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often the issuer is asked.
#[derive(Clone, Copy)]
struct Pace {
    /// Keys are asked for again at this age, for that is how an issuer takes one back.
    max_age: Duration,
    /// Anyone can send tokens with invented key ids; they may not make us ask more often than this.
    unknown_key: Duration,
    /// Pause after a failure.
    failure: Duration,
}

const PACE: Pace = Pace {
    max_age: Duration::from_mins(15),
    unknown_key: Duration::from_mins(1),
    failure: Duration::from_secs(5),
};

/// A cached key set.
pub(super) struct Jwks {
    url: Url,
    client: reqwest::Client,
    pace: Pace,
    cache: RwLock<Cache>,
    /// Held while fetching, so that a crowd of requests asks once.
    fetching: Mutex<()>,
}

#[derive(Default)]
struct Cache {
    keys: Option<(Arc<[Key]>, Instant)>,
    /// When a token with an unknown key last made us ask.
    asked_for_unknown: Option<Instant>,
    failure: Option<(Arc<FetchError>, Instant)>,
}

/// A key that verifies signatures of one algorithm.
#[derive(Clone)]
pub(super) struct Key {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

pub(super) enum Lookup {
    Found(Box<Key>),
    Unknown,
}

/// Why the keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No answer, or not in time.
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Unanswered(#[source] reqwest::Error),
    /// Another status than 200; redirects are not followed, since they could lead anywhere.
    #[error("the answer has status {0}, where 200 was expected")]
    Status(u16),
    /// Too long.
    #[error("the answer is longer than {DOCUMENT_BYTES} bytes")]
    TooLong,
    /// Not a key set.
    #[error("the answer is not a JSON Web Key Set")]
    Malformed(#[source] serde_json::Error),
    /// A key set in which nothing can verify a token.
    #[error("the key set has no key for RS256, ES256 or EdDSA signatures")]
    NoUsableKey,
}

/// Keys are parsed one by one: an odd one must not take the others with it.
#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl Jwks {
    /// Nothing is fetched yet.
    pub(super) fn new(url: Url) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            url,
            client,
            pace: PACE,
            cache: RwLock::default(),
            fetching: Mutex::default(),
        })
    }

    /// The key of this id; without an id, the only key there is.
    pub(super) async fn find(&self, id: Option<&str>) -> Result<Lookup, AuthError> {
        let cached = self.cache.read().await.keys.clone();
        let Some((keys, fetched)) = cached else {
            return Ok(lookup(
                &self.fetch(self.fetching.lock().await, None).await?,
                id,
            ));
        };
        match pick(&keys, id) {
            Some(key) if fetched.elapsed() < self.pace.max_age => Ok(Lookup::Found(Box::new(key))),
            Some(key) => Ok(self.renewed(key, fetched, id).await),
            None => self.ask_for_unknown(fetched, id).await,
        }
    }

    /// Renews old keys. One request waits for it; for the others, and when it fails, old keys are better than none.
    async fn renewed(&self, old: Key, fetched: Instant, id: Option<&str>) -> Lookup {
        let Ok(turn) = self.fetching.try_lock() else {
            return Lookup::Found(Box::new(old));
        };
        match self.fetch(turn, Some(fetched)).await {
            Ok(keys) => lookup(&keys, id),
            Err(_) => Lookup::Found(Box::new(old)),
        }
    }

    /// The token names a key that we don't have: ask, but not for every such token.
    async fn ask_for_unknown(
        &self,
        fetched: Instant,
        id: Option<&str>,
    ) -> Result<Lookup, AuthError> {
        {
            let cache = self.cache.read().await;
            let pause = cache
                .asked_for_unknown
                .and_then(|asked| self.pace.unknown_key.checked_sub(asked.elapsed()));
            match (pause, &cache.failure) {
                (None, _) => {}
                (Some(_), None) => return Ok(Lookup::Unknown),
                // Nobody knows whether the issuer has that key.
                (Some(pause), Some((error, _))) => return Err(unavailable(error, pause)),
            }
        }
        let turn = self.fetching.lock().await;
        let keys = self.fetch(turn, Some(fetched)).await;
        // Also when it failed: strangers decide neither how often we ask nor when.
        self.cache.write().await.asked_for_unknown = Some(Instant::now());
        Ok(lookup(&keys?, id))
    }

    /// Fetches the keys, unless somebody else has replaced those of `known` meanwhile or has just failed to.
    async fn fetch(
        &self,
        _turn: MutexGuard<'_, ()>,
        known: Option<Instant>,
    ) -> Result<Arc<[Key]>, AuthError> {
        {
            let cache = self.cache.read().await;
            if let Some((keys, fetched)) = &cache.keys
                && known != Some(*fetched)
            {
                return Ok(Arc::clone(keys));
            }
            if let Some((error, failed)) = &cache.failure
                && let Some(wait) = self.pace.failure.checked_sub(failed.elapsed())
            {
                return Err(unavailable(error, wait));
            }
        }
        let answer = self.download().await;
        let mut cache = self.cache.write().await;
        match answer {
            Ok(keys) => {
                cache.keys = Some((Arc::clone(&keys), Instant::now()));
                cache.failure = None;
                Ok(keys)
            }
            Err(error) => {
                let error = Arc::new(error);
                cache.failure = Some((Arc::clone(&error), Instant::now()));
                Err(unavailable(&error, self.pace.failure))
            }
        }
    }

    async fn download(&self) -> Result<Arc<[Key]>, FetchError> {
        let request = self.client.get(self.url.clone());
        let mut response = request.send().await.map_err(unanswered)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if body.len() + chunk.len() > DOCUMENT_BYTES {
                return Err(FetchError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        let document: Document = serde_json::from_slice(&body).map_err(FetchError::Malformed)?;
        let keys: Arc<[Key]> = document.keys.into_iter().filter_map(usable).collect();
        if keys.is_empty() {
            return Err(FetchError::NoUsableKey);
        }
        Ok(keys)
    }
}

/// Without the address: its query may hold a key of the organisation's.
fn unanswered(error: reqwest::Error) -> FetchError {
    FetchError::Unanswered(error.without_url())
}

fn unavailable(error: &Arc<FetchError>, retry_after: Duration) -> AuthError {
    AuthError::KeysUnavailable {
        retry_after,
        source: Arc::clone(error),
    }
}

fn pick(keys: &[Key], id: Option<&str>) -> Option<Key> {
    match id {
        Some(id) => keys
            .iter()
            .find(|key| key.id.as_deref() == Some(id))
            .cloned(),
        None => match keys {
            [only] => Some(only.clone()),
            _ => None,
        },
    }
}

fn lookup(keys: &[Key], id: Option<&str>) -> Lookup {
    pick(keys, id).map_or(Lookup::Unknown, |key| Lookup::Found(Box::new(key)))
}

/// The key with its one algorithm, if it is for signatures that we verify. Where the key names its algorithm, both
/// must agree.
fn usable(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if !matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    ) {
        return None;
    }
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    if jwk.common.key_algorithm.is_some_and(|name| name != named) {
        return None;
    }
    Some(Key {
        id: jwk.common.key_id.clone(),
        algorithm,
        decoding: DecodingKey::from_jwk(&jwk).ok()?,
    })
}

#[cfg(test)]
mod tests;
