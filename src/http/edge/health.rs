//! Health, readiness and metrics: for machines, outside of the limits that hold for everybody else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::codes::Code;
use super::extract::Json;
use super::openapi::Problems as _;
use super::problem::ApiError;
use super::state::AppState;

/// An answer to `/readyz`, and what `/metrics` counts, is good for so long: anyone may ask, and each look takes a connection of the database.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// The last look at what the service needs; one request looks, the others wait for it.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    looked: Arc<Mutex<Option<(Instant, bool)>>>,
    /// When it was last counted what is not settled.
    counted: Arc<Mutex<Option<Instant>>>,
}

/// What is not settled, counted when somebody wants to know it: figures that are kept by a job stand still with it.
/// Without an answer of the database there is no number.
async fn tell_backlog(state: &AppState) {
    let mut counted = state.readiness.counted.lock().await;
    if counted.is_some_and(|at| at.elapsed() < GOOD_FOR) {
        return;
    }
    *counted = Some(Instant::now());
    let backlog = state.services.backlog().await;
    if let Err(error) = &backlog {
        tracing::warn!(%error, "what is not settled can't be counted");
    }
    let backlog = backlog.ok();
    let tell = |name: &'static str, count: Option<i64>| {
        let count = count.map_or(f64::NAN, |count| {
            f64::from(u32::try_from(count).unwrap_or(u32::MAX))
        });
        metrics::gauge!("webhook_events_unsettled", "state" => name).set(count);
    };
    tell("deferred", backlog.map(|backlog| backlog.deferred));
    tell("failed", backlog.map(|backlog| backlog.failed));
    tell("flagged", backlog.map(|backlog| backlog.flagged));
    let age = backlog.map_or(f64::NAN, |backlog| {
        let oldest = backlog.oldest_deferred;
        oldest.map_or(0.0, |oldest| (state.clock.now() - oldest).as_seconds_f64())
    });
    metrics::gauge!("webhook_events_oldest_deferred_seconds").set(age);
}

/// How the service is.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Health {
    /// `ok`, or `ready`.
    #[schema(example = "ok")]
    status: &'static str,
}

pub(in crate::http) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(healthz))
        .routes(routes!(readyz).problems(&[&[Code::NotReady]]))
}

/// `/metrics` on the main port; with `http.metrics_listen` it has a port of its own instead.
pub(in crate::http) fn metrics_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(metrics_page))
}

/// Is the process alive?
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, body = Health)))]
async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Can it serve? The database answers and its schema is current.
#[utoipa::path(get, path = "/readyz", tag = "operation", responses((status = 200, body = Health)))]
async fn readyz(State(state): State<AppState>) -> Result<Json<Health>, ApiError> {
    if state.draining.is_cancelled() {
        return Err(ApiError::new(Code::NotReady).detail("It is about to stop."));
    }
    let mut last = state.readiness.looked.lock().await;
    let ready = match *last {
        Some((looked, ready)) if looked.elapsed() < GOOD_FOR => ready,
        _ => {
            let outcome = state.services.ready().await;
            if let Err(error) = &outcome {
                tracing::warn!(%error, "not ready");
            }
            *last = Some((Instant::now(), outcome.is_ok()));
            outcome.is_ok()
        }
    };
    if !ready {
        return Err(ApiError::new(Code::NotReady).explained());
    }
    Ok(Json(Health { status: "ready" }))
}

/// Metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, body = String, content_type = "text/plain")))]
pub(in crate::http) async fn metrics_page(State(state): State<AppState>) -> impl IntoResponse {
    let silence = u32::try_from(state.services.events.webhook_silence()).unwrap_or_default();
    metrics::gauge!("webhook_seconds_since_last").set(f64::from(silence));
    let waiting = u32::try_from(state.services.events.waiting_deliveries()).unwrap_or(u32::MAX);
    metrics::gauge!("webhook_deliveries_waiting").set(f64::from(waiting));
    tell_backlog(&state).await;
    let (size, idle) = state.services.pool_stats();
    metrics::gauge!("database_connections", "state" => "idle").set(f64::from(idle));
    metrics::gauge!("database_connections", "state" => "busy")
        .set(f64::from(size.saturating_sub(idle)));
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        state.metrics.render(),
    )
}
