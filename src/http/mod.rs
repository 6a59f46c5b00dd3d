//! The HTTP API: routes, and what holds for all of them.
//!
//! From the outside in: the edge (id, log, metrics, problem documents), headers for browsers, CORS, a net for
//! panics, then for each group of routes its limits, then the handler. A resource has one file with its handlers and
//! their request and response types; it offers `routes()`, which one of the groups below names.

mod cancel;
mod change;
mod checkout;
mod edge;
mod entitlements;
mod errors;
pub mod extract;
mod health;
mod history;
mod limits;
mod money;
mod open_invoices;
mod openapi;
mod page;
mod plans;
mod portal;
pub mod problem;
pub mod state;
mod statement;
mod subscriptions;
#[cfg(test)]
mod tests;
mod webhooks;

use axum::extract::DefaultBodyLimit;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::{Router, middleware, routing};
use std::time::Duration;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

pub use self::health::Readiness;
use self::limits::Limits;
use self::state::AppState;
use crate::clock::Clock;
use crate::settings::Settings;

/// Routes for members and their browsers.
fn member_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(plans::routes())
        .merge(subscriptions::routes())
        .merge(cancel::routes())
        .merge(change::routes())
        .merge(history::routes())
        .merge(open_invoices::routes())
        .merge(portal::routes())
        .merge(entitlements::routes())
        .merge(checkout::routes())
        .merge(statement::routes())
}

/// Routes for Stripe. They have places of their own, so that a rush of members can't delay what they paid for.
fn webhook_routes() -> OpenApiRouter<AppState> {
    webhooks::routes()
}

/// The whole service on its main port.
pub fn router(state: AppState) -> Router {
    let mut machines = health::routes();
    if state.settings.http.metrics_listen.is_none() {
        machines = machines.merge(health::metrics_routes());
    }
    let limit = || {
        let limits = Limits::new(&state.settings.http, state.cut.clone());
        middleware::from_fn_with_state(limits, limits::limit)
    };
    let (router, openapi) = OpenApiRouter::with_openapi(openapi::ApiDoc::openapi())
        .merge(member_routes().layer(limit()))
        .merge(webhook_routes().layer(limit()))
        .merge(machines)
        .split_for_parts();
    let router = router.merge(openapi::routes(openapi));
    protect(router, &state.settings, state.clock.clone()).with_state(state)
}

/// Puts around every route, and around what no route answers, what holds for all.
fn protect<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    settings: &Settings,
    clock: Clock,
) -> Router<S> {
    let headers = ServiceBuilder::new()
        .layer(default_header(X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(default_header(REFERRER_POLICY, "no-referrer"))
        .layer(default_header(CACHE_CONTROL, "no-store"))
        .layer(default_header(
            CONTENT_SECURITY_POLICY,
            "frame-ancestors 'none'",
        ));
    router.layer(
        ServiceBuilder::new()
            .layer(middleware::from_fn_with_state(clock, edge::edge))
            .layer(headers)
            .layer(cors(settings))
            .layer(CatchPanicLayer::custom(edge::panicked))
            .layer(DefaultBodyLimit::max(settings.http.body_limit_bytes)),
    )
}

/// `/metrics` alone, for `http.metrics_listen`.
pub fn metrics_router(state: AppState) -> Router {
    Router::new()
        .route("/metrics", routing::get(health::metrics_page))
        .with_state(state)
}

fn default_header(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

/// Pages of the configured origins may call, and nobody else's. Tokens travel in a header, so no cookies are
/// allowed.
fn cors(settings: &Settings) -> CorsLayer {
    let origins = settings
        .client
        .allowed_origins
        .iter()
        .filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            HeaderName::from_static("idempotency-key"),
            edge::X_REQUEST_ID,
        ])
        .expose_headers([edge::X_REQUEST_ID, RETRY_AFTER])
        .max_age(Duration::from_mins(10))
}
