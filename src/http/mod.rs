//! The HTTP API: routes, and what holds for all of them.
//!
//! From the outside in: the edge (id, log, metrics, problem documents), headers for browsers, CORS, a net for
//! panics, then for each group of routes its limits, then the handler. A resource has one file with its handlers and
//! their request and response types; it offers `routes()`, which its folder names: `members`, `operators` and `services` by who calls,
//! `stripe` for webhooks. What all of them share is in [`edge`].

pub mod edge;
mod members;
mod mosaic;
mod operators;
mod services;
mod stripe;
#[cfg(test)]
mod tests;

use axum::extract::DefaultBodyLimit;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::{Router, middleware, routing};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

pub use self::edge::health::Readiness;
use self::edge::limits::{DEADLINE, Door, LIMITS, Limits};
use self::edge::middleware::PANIC;
use self::edge::openapi::Problems as _;
use self::edge::state::AppState;
use self::edge::{health, limits, middleware as edge_middleware, openapi};
use crate::clock::Clock;
use crate::settings::Settings;

/// So many times as often as a member may an operator ask for what costs calls to Stripe.
const STAFF_RATE: u32 = 4;

/// The whole service on its main port.
pub fn router(state: AppState) -> Router {
    let mut machines = health::routes();
    if state.settings.http.metrics_listen.is_none() {
        machines = machines.merge(health::metrics_routes());
    }
    let (http, cut) = (&state.settings.http, &state.cut);
    // Each group has places of its own: strangers take nothing from members, who waits for Stripe nothing from who does
    // not, and nobody what members have paid for.
    let places = || Limits::new(http, cut.clone());
    let within = |routes: OpenApiRouter<AppState>, limits: Limits| {
        routes
            .layer(middleware::from_fn_with_state(limits, limits::limit))
            .problems(&[LIMITS])
    };
    let limited = |routes: OpenApiRouter<AppState>| within(routes, places());
    let door = || Door::new(http, Arc::clone(&state.verifier));
    let for_members = |routes: OpenApiRouter<AppState>, (limits, door): (Limits, Door)| {
        within(routes, limits).layer(middleware::from_fn_with_state(door, limits::admit))
    };
    let costly = (places(), door().with_rate(http.member_requests_per_minute));
    let returns = limited(members::returns())
        .layer(CatchPanicLayer::custom(edge_middleware::panicked))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&state.settings),
            members::unanswered,
        ));
    let signed = Limits::without_places(http, cut.clone());
    let signed = |routes: OpenApiRouter<AppState>| {
        let signed = middleware::from_fn_with_state(signed.clone(), limits::limit);
        routes.layer(signed).problems(&[DEADLINE])
    };
    let (router, openapi) = OpenApiRouter::with_openapi(openapi::ApiDoc::openapi())
        .merge(limited(members::public()))
        .merge(returns)
        .merge(for_members(members::from_rows(), (places(), door())))
        .merge(for_members(members::from_stripe(), costly.clone()))
        .merge(limited(services::following()))
        .merge(limited(services::from_stripe()))
        .merge(limited(services::hooks()))
        .merge(signed(stripe::routes()))
        .merge(machines)
        .problems(&[PANIC])
        .split_for_parts();
    // Pages of other origins have nothing to ask here: no CORS.
    // Whoever looks after many asks more than a member, and still takes nothing that members need.
    let staff_rate = http.member_requests_per_minute.saturating_mul(STAFF_RATE);
    let staff_door = || door().with_verifier(Arc::clone(&state.staff_verifier));
    let (staff, described) = OpenApiRouter::new()
        .merge(for_members(
            operators::from_rows(),
            (places(), staff_door()),
        ))
        .merge(for_members(
            operators::from_stripe(),
            (places(), staff_door().with_rate(staff_rate)),
        ))
        .problems(&[PANIC])
        .split_for_parts();
    let openapi = openapi.merge_from(described);
    let mut router = for_clients(router.merge(openapi::routes(openapi)), &state.settings);
    let staff = staff.merge(operators::console(&state.settings));
    router = router.merge(staff.layer(CatchPanicLayer::custom(edge_middleware::panicked)));
    if state.settings.mosaic.compatible_routes {
        // Behind the doors of our own, so that nobody has two shares.
        let bought = mosaic::open_to_all(for_members(mosaic::for_members(), costly));
        let returns = mosaic::led_on(limited(mosaic::returns()), &state);
        let webhooks = signed(stripe::as_the_connector());
        router = router.merge(bought.merge(returns).merge(webhooks));
    }
    let draining = state.draining.clone();
    let router = router.layer(middleware::from_fn_with_state(
        draining,
        edge_middleware::close_when_draining,
    ));
    protect(router, &state.settings, state.clock.clone()).with_state(state)
}

/// Puts around routes what our own clients' pages need.
fn for_clients<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    settings: &Settings,
) -> Router<S> {
    router.layer(
        ServiceBuilder::new()
            .layer(cors(settings))
            .layer(CatchPanicLayer::custom(edge_middleware::panicked)),
    )
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
            .layer(middleware::from_fn_with_state(clock, edge_middleware::edge))
            .layer(headers)
            .layer(CatchPanicLayer::custom(edge_middleware::panicked))
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
            edge_middleware::X_REQUEST_ID,
        ])
        .expose_headers([edge_middleware::X_REQUEST_ID, RETRY_AFTER])
        .max_age(Duration::from_mins(10))
}
