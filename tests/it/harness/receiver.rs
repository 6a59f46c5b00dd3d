//! A receiver of webhooks, as another service of the organisation is one: checks what it gets, keeps it, and answers as it
//! is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A secret of 32 bytes.
pub(crate) const SECRET: &str = "whsec_YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcyBsZW4=";
/// Another one.
pub(crate) const OTHER_SECRET: &str = "whsec_YW5vdGhlciBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXQ=";

/// What it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// With this status.
    Status(u16),
    /// With 429 and how many seconds to wait.
    Later(u64),
    /// Takes the message, and never answers.
    Never,
    /// With 200 and a body without end.
    Endless,
    /// With 302 to itself.
    Elsewhere,
}

/// A message that it took.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    /// `webhook-id`.
    pub(crate) id: String,
    /// Entries of `webhook-signature`.
    pub(crate) signatures: Vec<String>,
    /// The body.
    pub(crate) body: Value,
    /// The status it was answered with; 0: none.
    pub(crate) answered: u16,
}

#[derive(Default)]
struct Shared {
    got: Vec<Got>,
    /// By member; of all others under "".
    replies: HashMap<String, Reply>,
    wrong: Vec<String>,
}

/// A receiver of one test.
pub(crate) struct Receiver {
    /// Where it is.
    pub(crate) url: String,
    shared: Arc<Mutex<Shared>>,
    serving: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let router = Router::new()
            .route("/hooks/dues", post(receive))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let serving = tokio::spawn(async move {
            drop(axum::serve(listener, router).await);
        });
        Self {
            url: format!("http://{address}/hooks/dues"),
            shared,
            serving,
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers what concerns this member so from now on; what concerns nobody named, under "".
    pub(crate) fn reply(&self, user: &str, reply: Reply) {
        self.shared().replies.insert(user.to_owned(), reply);
    }

    /// Answers everybody with 200 again.
    pub(crate) fn be_well(&self) {
        self.shared().replies.clear();
    }

    /// Everything that it took, whatever it answered. Fails if anything was not signed as it should be.
    #[track_caller]
    pub(crate) fn got(&self) -> Vec<Got> {
        let shared = self.shared();
        assert_eq!(shared.wrong, [""; 0]);
        shared.got.clone()
    }

    /// What it answered with 200.
    #[track_caller]
    pub(crate) fn taken(&self) -> Vec<Got> {
        let mut got = self.got();
        got.retain(|got| got.answered == 200);
        got
    }
}

/// Checks and keeps a message; what is to be answered.
fn keep(shared: &Mutex<Shared>, headers: &HeaderMap, body: &[u8]) -> Reply {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let (id, time) = (text("webhook-id").to_owned(), text("webhook-timestamp"));
    let signatures: Vec<String> = text("webhook-signature")
        .split(' ')
        .map(str::to_owned)
        .collect();
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let mut signed = format!("{id}.{time}.").into_bytes();
    signed.extend_from_slice(body);
    if !signatures
        .iter()
        .any(|given| *given == signature(SECRET, &signed))
    {
        shared.wrong.push(format!("{id} is signed {signatures:?}"));
    }
    if value["id"] != id.as_str() {
        shared.wrong.push(format!("{id} has the body {value}"));
    }
    let user = value["user_id"].as_str().unwrap_or_default();
    let reply = shared.replies.get(user).or_else(|| shared.replies.get(""));
    let reply = reply.copied().unwrap_or(Reply::Status(200));
    let answered = match reply {
        Reply::Status(status) => status,
        Reply::Later(_) => 429,
        Reply::Never => 0,
        Reply::Endless => 200,
        Reply::Elsewhere => 302,
    };
    shared.got.push(Got {
        id,
        signatures,
        body: value,
        answered,
    });
    reply
}

async fn receive(
    State(shared): State<Arc<Mutex<Shared>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match keep(&shared, &headers, &body) {
        Reply::Status(status) => StatusCode::from_u16(status)
            .expect("a status")
            .into_response(),
        Reply::Later(seconds) => {
            let mut response = StatusCode::TOO_MANY_REQUESTS.into_response();
            response
                .headers_mut()
                .insert("retry-after", HeaderValue::from(seconds));
            response
        }
        Reply::Never => std::future::pending().await,
        Reply::Endless => {
            let chunk = Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 1024]));
            let chunks =
                stream::repeat_with(move || chunk.as_ref().map(Bytes::clone).map_err(|_| "no"));
            Body::from_stream(chunks).into_response()
        }
        Reply::Elsewhere => {
            let mut response = StatusCode::FOUND.into_response();
            response
                .headers_mut()
                .insert("location", HeaderValue::from_static("/hooks/dues"));
            response
        }
    }
}

/// As the standard has it: the key is what the secret's base64 decodes to.
pub(crate) fn signature(secret: &str, signed: &[u8]) -> String {
    let key = STANDARD
        .decode(secret.trim_start_matches("whsec_"))
        .expect("base64");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    format!("v1,{}", STANDARD.encode(hmac::sign(&key, signed)))
}

/// Somebody who accepts connections and hangs up on each; counts them.
pub(crate) async fn hanging_up() -> (String, Arc<std::sync::atomic::AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound port");
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            drop(connection);
        }
    });
    (format!("http://{address}/"), count)
}

/// Long enough for a receiver's answer to be given up.
pub(crate) const GIVEN_UP: Duration = Duration::from_secs(16);
