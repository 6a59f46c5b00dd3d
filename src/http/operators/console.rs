//! The console's pages: plain files in the program, and what they must know to sign somebody in.

use axum::extract::{Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use rust_embed::{EmbeddedFile, RustEmbed};
use serde::Serialize;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::settings::{Environment, Settings};

#[derive(RustEmbed)]
#[folder = "web/console/"]
struct Files;

/// Answered for every path that is no file: the page finds out what is meant.
const INDEX: &str = "index.html";

/// What the pages must know before anybody is signed in.
#[derive(Debug, Serialize)]
struct Config<'a> {
    environment: String,
    issuer: Option<&'a str>,
    client_id: Option<&'a str>,
    scope: Option<&'a str>,
    audience: Option<&'a str>,
    /// Whether a pasted token is taken: where operators have no login of their own, and in development.
    token_login: bool,
}

/// The pages, where the settings want them.
pub(in crate::http) fn console(settings: &Settings) -> Router<AppState> {
    if !settings.console.enabled {
        return Router::new();
    }
    Router::new()
        .route("/console", get(Redirect::permanent("/console/")))
        .route("/console/", get(index))
        .route("/console/config.json", get(config))
        .route("/console/{*path}", get(file))
}

async fn config(State(settings): State<Arc<Settings>>) -> Response {
    let login = settings.console.login.as_ref();
    let config = Config {
        environment: settings.environment.to_string(),
        issuer: login.and_then(|login| login.auth.issuer.as_deref()),
        client_id: login.map(|login| login.client_id.as_str()),
        scope: login.map(|login| login.scope.as_str()),
        audience: login.and_then(|login| login.auth.audience.as_deref()),
        token_login: login.is_none() || settings.environment == Environment::Development,
    };
    Json(config).into_response()
}

async fn index(State(settings): State<Arc<Settings>>, headers: HeaderMap) -> Response {
    answer(INDEX, &settings, &headers)
}

async fn file(
    State(settings): State<Arc<Settings>>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer(&path, &settings, &headers)
}

fn answer(path: &str, settings: &Settings, headers: &HeaderMap) -> Response {
    let (path, file) = match Files::get(path) {
        Some(file) => (path, file),
        // A misspelt file of ours must not be answered with a page that is taken for it.
        None if path.contains('.') => return ApiError::not_found().into_response(),
        None => match Files::get(INDEX) {
            Some(file) => (INDEX, file),
            None => return ApiError::not_found().into_response(),
        },
    };
    let tag = tag(&file);
    let is_known = headers
        .get(IF_NONE_MATCH)
        .is_some_and(|held| Some(held) == tag.as_ref());
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        file.data.into_owned().into_response()
    };
    let answered = response.headers_mut();
    answered.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    // Asked for again each time, and answered with nothing when it is still the same.
    answered.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(tag) = tag {
        answered.insert(ETAG, tag);
    }
    if let Ok(policy) = HeaderValue::from_str(&policy(settings)) {
        answered.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Nothing but our own files, and the login's origins.
fn policy(settings: &Settings) -> String {
    let mut policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'; connect-src 'self'"
            .to_owned();
    let login = settings.console.login.iter();
    for origin in login.flat_map(|login| &login.origins) {
        policy.push(' ');
        policy.push_str(origin);
    }
    policy
}

fn tag(file: &EmbeddedFile) -> Option<HeaderValue> {
    let mut tag = "\"".to_owned();
    for byte in file.metadata.sha256_hash() {
        // Writing to a string can't fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    HeaderValue::from_str(&tag).ok()
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}
