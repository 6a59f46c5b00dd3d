//! The routes of Axinom Mosaic's payment connector for Stripe, for clients that were made for it: its paths, its answers,
//! its one answer to whatever goes wrong. Behind them are the use cases and doors of our own.
//!
//! They are not in the description of the API: who writes a client shall not begin with them.

mod checkout;
mod overview;

pub(super) use self::checkout::led_on;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::http::edge::middleware::panicked;
use crate::http::edge::problem::{ApiError, Unsaid};
use crate::http::edge::state::AppState;

/// Pages of any origin may call: tokens travel in a header, and no cookies are taken.
const OPEN: [(HeaderName, &str); 3] = [
    (HeaderName::from_static("access-control-allow-origin"), "*"),
    (
        HeaderName::from_static("access-control-allow-headers"),
        "authorization, content-type",
    ),
    (
        HeaderName::from_static("access-control-allow-methods"),
        "GET, HEAD, PUT, PATCH, POST, DELETE",
    ),
];

/// For members, answered by Stripe.
pub(super) fn for_members() -> OpenApiRouter<AppState> {
    checkout::starting().merge(overview::routes())
}

/// For browsers that come from Stripe's page.
pub(super) fn returns() -> OpenApiRouter<AppState> {
    checkout::returns()
}

/// Puts around the routes for members what the connector says to any page, and in place of any problem what it says then.
pub(super) fn open_to_all(routes: OpenApiRouter<AppState>) -> OpenApiRouter<AppState> {
    routes
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(answer))
}

async fn answer(path: MatchedPath, request: Request, next: Next) -> Response {
    // Before a page's first call its browser asks whether it may, without a token.
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    if !response.status().is_success() {
        response = refused(&path, response);
    }
    for (name, value) in OPEN {
        let headers = response.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whatever went wrong, a client of the connector learns nothing but that.
fn refused(path: &MatchedPath, mut response: Response) -> Response {
    let bare = ApiError::from_status(response.status());
    let error = response.extensions_mut().remove::<ApiError>();
    let nothing: Value = match path.as_str() {
        overview::PATH => json!([]),
        _ => json!({ "subscriptionId": null, "redirectUrl": null }),
    };
    let mut refused = (StatusCode::BAD_REQUEST, axum::Json(nothing)).into_response();
    refused
        .extensions_mut()
        .insert(Unsaid(error.unwrap_or(bare)));
    refused
}
