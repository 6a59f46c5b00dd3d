//! The edge: what happens to every request before and after its handler.
//!
//! One id, one span, one line in the log, one count: an error is logged here and nowhere else. Of the request only
//! the route's template, the method and the id are logged, never its URI, headers or body.

use std::any::Any;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::{NoContext, Timestamp, Uuid};

use super::codes::Code;
use super::extract::RequestId;
use super::problem::{ApiError, PROBLEM_JSON, Unsaid};
use crate::clock::Clock;

/// The header that carries a request's id in both directions.
pub(in crate::http) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is answered where a handler panics.
pub(in crate::http) const PANIC: &[Code] = &[Code::InternalError];

/// Longest id that we take over from a client or a proxy, in bytes.
const REQUEST_ID_BYTES: usize = 64;

/// While the service is about to stop, each answer is the last of its connection: the client opens the next one
/// elsewhere.
pub(in crate::http) async fn close_when_draining(
    State(draining): State<CancellationToken>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    if draining.is_cancelled() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

/// Gives the request an id and a span, and turns whatever comes back into one answer, one log line, one count.
pub(in crate::http) async fn edge(
    State(clock): State<Clock>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers()).unwrap_or_else(|| new_request_id(&clock));
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = method_label(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());

    let span = tracing::info_span!("request", request_id = %id, method, route);
    let response = next.run(request).instrument(span.clone()).await;

    let (response, error) = finish(response, &id);
    let status = response.status();
    let elapsed = started.elapsed();
    span.in_scope(|| log(&route, status, elapsed, error.as_ref()));
    metrics::counter!("http_requests_total",
        "route" => route.clone(), "method" => method, "status" => status.as_u16().to_string())
    .increment(1);
    metrics::histogram!("http_request_seconds", "route" => route, "method" => method)
        .record(elapsed.as_secs_f64());
    if let Some(error) = error {
        metrics::counter!("http_problems_total", "code" => error.code().as_str()).increment(1);
    }
    response
}

/// An id from outside is taken over when it can do no harm in a header, a log line or a document.
fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(X_REQUEST_ID)?.to_str().ok()?;
    let sane = (8..=REQUEST_ID_BYTES).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    sane.then(|| id.to_owned())
}

/// Sorts by time, so that a log of several replicas can be put in order.
fn new_request_id(clock: &Clock) -> String {
    let now = clock.wall();
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, now.nanosecond())).to_string()
}

/// Methods are free text on the wire; a label must not be.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

/// Adds the id; renders an error with it; makes a problem document of an error that the framework answered itself.
fn finish(mut response: Response, id: &str) -> (Response, Option<ApiError>) {
    let status = response.status();
    if let Some(Unsaid(error)) = response.extensions_mut().remove() {
        mark(&mut response, id);
        return (response, Some(error));
    }
    let mut error = response.extensions_mut().remove::<ApiError>();
    if error.is_none() && is_bare_error(status, response.headers()) {
        error = Some(ApiError::from_status(status));
    }
    if let Some(error) = &error {
        let rendered = error.render(Some(id));
        // Keeps what layers have added on the way, CORS for one, and `Allow`.
        let mut headers = std::mem::take(response.headers_mut());
        for (name, value) in rendered.headers() {
            headers.insert(name.clone(), value.clone());
        }
        headers.remove(axum::http::header::CONTENT_LENGTH);
        response = rendered;
        *response.headers_mut() = headers;
    }
    mark(&mut response, id);
    (response, error)
}

fn mark(response: &mut Response, id: &str) {
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
}

/// Redirects and pages that a handler made on purpose are left alone: only plain or empty texts are replaced.
fn is_bare_error(status: StatusCode, headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    (status.is_client_error() || status.is_server_error())
        && content_type.is_none_or(|text| text.starts_with("text/plain"))
        && content_type != Some(PROBLEM_JSON)
}

fn log(route: &str, status: StatusCode, elapsed: std::time::Duration, error: Option<&ApiError>) {
    // Of an error in another's words the status may hide that it is a fault.
    let is_fault = |error: &ApiError| error.code().status().is_server_error();
    let failed = status.is_server_error() || error.is_some_and(is_fault);
    let status = status.as_u16();
    let latency_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let code = error.map(|error| error.code().as_str());
    let cause = error.and_then(ApiError::cause);
    if failed {
        tracing::error!(status, latency_ms, code, cause, "request");
    } else if matches!(route, "/healthz" | "/readyz" | "/metrics") {
        // Probes come every few seconds and say nothing while all is well.
        tracing::debug!(status, latency_ms, code, "request");
    } else {
        tracing::info!(status, latency_ms, code, cause, "request");
    }
}

/// The answer to a panic. Its message may hold anything, so neither the client nor the log sees it; the panic hook
/// has logged where it happened.
pub(in crate::http) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    ApiError::internal("a handler panicked").into_response()
}
