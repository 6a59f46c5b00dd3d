//! Limits of one request: a place, a deadline, a body.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::timeout::DeadlineBody;

use super::codes::Code;
use super::problem::ApiError;
use crate::settings::Http;

/// Longest time that a client may take to send its body, whatever the deadline of the request.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the limits answer instead of the handler.
pub(in crate::http) const LIMITS: &[Code] = &[Code::Overloaded, Code::Timeout, Code::ShuttingDown];

/// Places and deadline for one group of routes.
#[derive(Clone)]
pub(in crate::http) struct Limits {
    places: Arc<Semaphore>,
    timeout: Duration,
    cut: CancellationToken,
}

impl Limits {
    /// A group with places of its own, so that a full one can't starve another.
    pub(in crate::http) fn new(settings: &Http, cut: CancellationToken) -> Self {
        Self {
            places: Arc::new(Semaphore::new(settings.max_concurrency)),
            timeout: settings.request_timeout,
            cut,
        }
    }
}

/// Answers 503 at once where no place is free: a queue would only make every answer late.
pub(in crate::http) async fn limit(
    State(limits): State<Limits>,
    request: Request,
    next: Next,
) -> Response {
    let Ok(_place) = limits.places.try_acquire() else {
        return ApiError::new(Code::Overloaded).into_response();
    };
    // Before the deadline of the whole, so that the client learns which of the two it missed.
    let body_timeout = BODY_TIMEOUT.min(limits.timeout / 2);
    let request = request.map(|body| Body::new(DeadlineBody::new(body_timeout, body)));
    tokio::select! {
        response = next.run(request) => response,
        () = tokio::time::sleep(limits.timeout) => {
            ApiError::new(Code::Timeout).into_response()
        }
        () = limits.cut.cancelled() => {
            ApiError::new(Code::ShuttingDown).into_response()
        }
    }
}
