//! What a child process is: the service, started as its own `main` starts it, or one of the references.
//!
//! All of them run on the same runtime with the same HTTP server beneath, so that only what they do differs.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;

use anyhow::Context;
use aws_lc_rs::hmac;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use dues::app::App;
use dues::clock::Clock;
use dues::settings::{Environment, Settings};
use dues::telemetry;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use stripe_sandbox::{Options, Sandbox};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use crate::options::Role;
use crate::signature;

pub(crate) const AUTH_SECRET: &str = "a secret of the benchmark, thirty-two bytes";

/// Prices are read from there; the worker calls it too.
pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What the service is told: what it must be told, and defaults for all else. It is no member's machine, so the rate at
/// which it calls Stripe is not held down.
pub(crate) fn variables(database: &str, sandbox: &str) -> Vec<(String, String)> {
    let page = || "https://app.example.org/".to_owned();
    let variables = [
        ("HTTP__LISTEN", "127.0.0.1:0".to_owned()),
        ("HTTP__PUBLIC_URL", "https://dues.example.org".to_owned()),
        ("DATABASE__URL", database.to_owned()),
        ("STRIPE__SECRET_KEY", "sk_test_sandbox".to_owned()),
        ("STRIPE__API_BASE", sandbox.to_owned()),
        ("STRIPE__WEBHOOK_SECRETS", signature::SECRET.to_owned()),
        ("STRIPE__REQUESTS_PER_SECOND", "10000".to_owned()),
        // Neither a member's bound nor work in the background is measured.
        ("HTTP__MEMBER_REQUESTS_PER_MINUTE", "1000000".to_owned()),
        ("WORKER__COMPARE_INTERVAL_SECONDS", "86400".to_owned()),
        ("AUTH__HS256_SECRET", AUTH_SECRET.to_owned()),
        ("AUTH__ISSUER", "https://login.example.org".to_owned()),
        ("AUTH__AUDIENCE", "dues".to_owned()),
        ("CLIENT__SUCCESS_URL", page()),
        ("CLIENT__CANCEL_URL", page()),
        ("CLIENT__ERROR_URL", page()),
        (
            "PLANS__FILE",
            project("config/plans.toml").display().to_string(),
        ),
    ];
    variables
        .map(|(name, value)| (format!("DUES__{name}"), value))
        .into()
}

/// Checked settings of these variables. Development alone mints tokens; nothing else depends on the environment.
pub(crate) fn settings(variables: &[(String, String)]) -> anyhow::Result<Settings> {
    let settings = Settings::load(Environment::Development, None, variables.iter().cloned())?;
    Ok(settings)
}

/// Serves until whoever started this process is gone.
pub(crate) async fn be(role: Role, announce: &Path) -> anyhow::Result<()> {
    let settings = || {
        let ours = std::env::vars()
            .filter(|(name, _)| name.starts_with("DUES__") || name == "PLAYER_SECRET");
        self::settings(&ours.collect::<Vec<_>>())
    };
    match role {
        Role::Service => {
            let settings = settings()?;
            telemetry::init(&settings.log)?;
            let app = App::build(settings).await?;
            say(announce, app.address()?)?;
            app.run(abandoned()).await;
        }
        Role::Bare => {
            let router = Router::new()
                .route("/webhooks/stripe", post(bare))
                .with_state(Arc::new(signature::key()));
            serve(router, announce).await?;
        }
        Role::Naive => {
            let settings = settings()?;
            let options = PgConnectOptions::from_str(settings.database.url.expose())?;
            // As the service opens it: so many connections, and no ping before each use.
            let pool = PgPoolOptions::new()
                .max_connections(settings.database.max_connections)
                .acquire_timeout(settings.database.acquire_timeout)
                .test_before_acquire(false)
                .connect_with(options.application_name("naive"))
                .await?;
            let state = (Arc::new(signature::key()), pool);
            let router = Router::new()
                .route("/webhooks/stripe", post(naive))
                .with_state(state);
            serve(router, announce).await?;
        }
        Role::Sandbox => {
            let sandbox = Sandbox::start(Options {
                catalogue: Some(project("config/sandbox-catalogue.toml")),
                ..Options::default()
            })
            .await?;
            let address = sandbox.url();
            let address = address.strip_prefix("http://").context("no address")?;
            say(announce, address.parse()?)?;
            abandoned().await;
        }
    }
    Ok(())
}

fn say(announce: &Path, address: SocketAddr) -> anyhow::Result<()> {
    std::fs::write(announce, format!("{address}\n")).context("can't write the address")
}

/// Completes when the other end of our input is closed.
async fn abandoned() {
    let closed = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    drop(closed.await);
}

/// The service's own HTTP server, without its deadlines.
async fn serve(router: Router, announce: &Path) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(announce, listener.local_addr()?)?;
    let accept = async {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let router = router.clone();
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                router.clone().oneshot(request.map(Body::new))
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    };
    tokio::select! {
        failed = accept => failed,
        () = abandoned() => Ok(()),
    }
}

type Answer = (StatusCode, &'static str);

const APPLIED: Answer = (StatusCode::OK, r#"{"outcome":"applied"}"#);
const DUPLICATE: Answer = (StatusCode::OK, r#"{"outcome":"duplicate"}"#);
const REFUSED: Answer = (StatusCode::BAD_REQUEST, r#"{"code":"refused"}"#);
const BROKEN: Answer = (StatusCode::SERVICE_UNAVAILABLE, r#"{"code":"unavailable"}"#);

fn is_signed(key: &hmac::Key, headers: &HeaderMap, body: &[u8]) -> bool {
    let header = headers.get("Stripe-Signature");
    let header = header.and_then(|value| value.to_str().ok());
    let now = Clock::system().wall().unix_timestamp();
    signature::holds(key, header, body, now)
}

async fn bare(State(key): State<Arc<hmac::Key>>, headers: HeaderMap, body: Bytes) -> Answer {
    if is_signed(&key, &headers, &body) {
        APPLIED
    } else {
        REFUSED
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    created: i64,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    object: Object<'a>,
}

/// A subscription or an invoice, as little of them as the statement needs.
#[derive(Deserialize)]
struct Object<'a> {
    id: &'a str,
    status: &'a str,
    #[serde(borrow)]
    parent: Option<Parent<'a>>,
    items: Option<Items>,
}

#[derive(Deserialize)]
struct Parent<'a> {
    #[serde(borrow)]
    subscription_details: Details<'a>,
}

#[derive(Deserialize)]
struct Details<'a> {
    subscription: &'a str,
}

#[derive(Deserialize)]
struct Items {
    data: [Item; 1],
}

#[derive(Deserialize)]
struct Item {
    current_period_end: i64,
}

/// Inserts the event and updates the row that it is about, if the event is new: one statement, one commit.
const UPDATED: &str = "WITH new AS (
         INSERT INTO webhook_events (id, type, object_id, created, received_at, state)
         VALUES ($1, 'customer.subscription.updated', $2, $3, now(), 'applied') ON CONFLICT DO NOTHING RETURNING 1)
     UPDATE subscriptions SET stripe_status = $4, stripe_state_at = $3, current_period_end = $5, updated_at = now(),
            version = version + 1
       FROM new WHERE stripe_subscription_id = $2";
const PAID: &str = "WITH new AS (
         INSERT INTO webhook_events (id, type, object_id, created, received_at, state)
         VALUES ($1, 'invoice.paid', $2, $3, now(), 'applied') ON CONFLICT DO NOTHING RETURNING 1)
     UPDATE subscriptions SET last_paid_at = $3, updated_at = now(), version = version + 1
       FROM new WHERE stripe_subscription_id = $4";

async fn naive(
    State((key, pool)): State<(Arc<hmac::Key>, PgPool)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    if !is_signed(&key, &headers, &body) {
        return REFUSED;
    }
    let Ok(event) = serde_json::from_slice::<Event>(&body) else {
        return REFUSED;
    };
    let object = &event.data.object;
    let query = match (event.kind, &object.parent, &object.items) {
        ("invoice.paid", Some(parent), _) => sqlx::query(PAID)
            .bind(event.id)
            .bind(object.id)
            .bind(time(event.created))
            .bind(parent.subscription_details.subscription),
        ("customer.subscription.updated", _, Some(items)) => sqlx::query(UPDATED)
            .bind(event.id)
            .bind(object.id)
            .bind(time(event.created))
            .bind(object.status)
            .bind(time(items.data[0].current_period_end)),
        _ => return REFUSED,
    };
    match query.execute(&pool).await {
        Ok(done) if done.rows_affected() == 1 => APPLIED,
        Ok(_) => DUPLICATE,
        Err(error) => {
            eprintln!("naive: {error}");
            BROKEN
        }
    }
}

fn time(seconds: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(seconds).ok()
}
