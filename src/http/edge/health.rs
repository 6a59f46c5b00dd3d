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

/// An answer to `/readyz` is good for so long: anyone may ask, and each look takes a connection of the database.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// The last look at what the service needs; one request looks, the others wait for it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<Option<(Instant, bool)>>>);

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
    let mut last = state.readiness.0.lock().await;
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
    let (size, idle) = state.services.pool_stats();
    metrics::gauge!("database_connections", "state" => "idle").set(f64::from(idle));
    metrics::gauge!("database_connections", "state" => "busy")
        .set(f64::from(size.saturating_sub(idle)));
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        state.metrics.render(),
    )
}
