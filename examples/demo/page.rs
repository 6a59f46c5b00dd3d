//! The membership page: plain files, and what they must know of the rest.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tower::ServiceBuilder;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

use super::cli::project;
use super::{Login, Urls};

/// The membership page, and what it must know of the rest.
pub(crate) fn page(login: Login, urls: Urls) -> Router {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' {}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        urls.service
    );
    let config = move || async move {
        let token = login.token().await.unwrap_or_default();
        Json(json!({
            "api_base": urls.service,
            "token": token,
            "member": { "name": login.name },
            "links": [
                { "text": "All that there is to see", "href": "/start" },
                { "text": "Payments sandbox", "href": format!("{}/", urls.sandbox) },
                { "text": "API", "href": format!("{}/docs", urls.service) },
            ],
        }))
    };
    let header =
        |name: HeaderName, value: HeaderValue| SetResponseHeaderLayer::overriding(name, value);
    let constant = |name, value| header(name, HeaderValue::from_static(value));
    Router::new()
        .route("/config.json", get(config))
        .fallback_service(ServeDir::new(project().join("web")))
        .layer(
            ServiceBuilder::new()
                .layer(constant(CACHE_CONTROL, "no-cache"))
                .layer(constant(X_CONTENT_TYPE_OPTIONS, "nosniff"))
                .layer(constant(REFERRER_POLICY, "no-referrer"))
                .option_layer(
                    HeaderValue::from_str(&policy)
                        .ok()
                        .map(|value| header(CONTENT_SECURITY_POLICY, value)),
                ),
        )
}
