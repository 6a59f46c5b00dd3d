//! An organisation's login: keys of every kind, and a server that publishes them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair,
};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A key that signs tokens.
pub(crate) struct SigningKey {
    pub(crate) id: String,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl SigningKey {
    /// A new RSA key of 2048 bits.
    pub(crate) fn rs256(id: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        // The library wants the key alone (PKCS #1), not its PKCS #8 wrapper.
        let wrapped = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der>::as_der(&pair).expect("a key");
        Self::new(
            id,
            Algorithm::RS256,
            EncodingKey::from_rsa_der(unwrap_pkcs8(wrapped.as_ref())),
        )
    }

    /// A new key on the curve P-256.
    pub(crate) fn es256(id: &str) -> Self {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let key =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        Self::new(id, Algorithm::ES256, EncodingKey::from_ec_der(key.as_ref()))
    }

    /// A new Ed25519 key.
    pub(crate) fn eddsa(id: &str) -> Self {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let key = Ed25519KeyPair::generate_pkcs8v1(&random).expect("a key");
        Self::new(id, Algorithm::EdDSA, EncodingKey::from_ed_der(key.as_ref()))
    }

    fn new(id: &str, algorithm: Algorithm, key: EncodingKey) -> Self {
        Self {
            id: id.to_owned(),
            algorithm,
            key,
        }
    }

    /// A token with these claims and this key's id.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.clone());
        jsonwebtoken::encode(&header, claims, &self.key).expect("claims that can be signed")
    }

    /// The public half, as an issuer publishes it.
    pub(crate) fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).expect("a public half");
        jwk.common.key_id = Some(self.id.clone());
        serde_json::to_value(jwk).expect("a key is JSON")
    }
}

/// What is inside of the wrapper: version, algorithm and three lengths take 26 bytes for every key of this size.
fn unwrap_pkcs8(der: &[u8]) -> &[u8] {
    &der[26..]
}

/// A server that publishes a key set, and counts how often it is asked.
pub(crate) struct Issuer {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Mutex<Published>,
    asked: AtomicUsize,
}

/// What the issuer answers.
#[derive(Clone)]
enum Published {
    Keys(String),
    Status(StatusCode),
    Redirect(String),
}

impl Issuer {
    /// Publishes these keys.
    pub(crate) async fn start(keys: &[&SigningKey]) -> Self {
        let shared = Arc::new(Shared {
            answer: Mutex::new(Published::Keys(key_set(keys))),
            asked: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/jwks.json", get(publish))
            .route("/elsewhere", get(publish_elsewhere))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound port"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// For `DUES__AUTH__JWKS_URL`.
    pub(crate) fn jwks_url(&self) -> String {
        format!("{}/jwks.json", self.url)
    }

    /// How often the keys were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Publishes other keys from now on.
    pub(crate) fn publish(&self, keys: &[&SigningKey]) {
        self.answer(Published::Keys(key_set(keys)));
    }

    /// Publishes exactly this document.
    pub(crate) fn publish_text(&self, text: impl Into<String>) {
        self.answer(Published::Keys(text.into()));
    }

    /// Answers with an error from now on.
    pub(crate) fn fail(&self) {
        self.answer(Published::Status(StatusCode::INTERNAL_SERVER_ERROR));
    }

    /// Sends whoever asks to a place that would answer with these keys.
    pub(crate) fn redirect(&self) {
        self.answer(Published::Redirect(format!("{}/elsewhere", self.url)));
    }

    fn answer(&self, answer: Published) {
        *self
            .shared
            .answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = answer;
    }
}

/// A key set of these keys.
pub(crate) fn key_set(keys: &[&SigningKey]) -> String {
    let keys: Vec<Value> = keys.iter().map(|key| key.public()).collect();
    json!({ "keys": keys }).to_string()
}

async fn publish(State(shared): State<Arc<Shared>>) -> Response {
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let answer = shared
        .answer
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    match answer {
        Published::Keys(text) => text.into_response(),
        Published::Status(status) => status.into_response(),
        Published::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
    }
}

async fn publish_elsewhere() -> &'static str {
    "{\"keys\":[]}"
}
