//! What is sent back, and the shapes of Discourse's errors.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use axum::http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

/// What a call is answered.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub status: u16,
    pub content: Content,
    pub headers: Vec<(HeaderName, String)>,
}

/// The body of an answer.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Json(Value),
    Html(String),
    Text(&'static str),
    Nothing,
}

/// A call that goes well, or its refusal.
pub(super) type Outcome = Result<Value, Answer>;

impl Answer {
    pub(super) fn json(status: u16, body: Value) -> Self {
        Self::new(status, Content::Json(body))
    }

    pub(super) fn new(status: u16, content: Content) -> Self {
        Self {
            status,
            content,
            headers: Vec::new(),
        }
    }

    /// An error in the shape of `render_json_error` with a type.
    fn error(status: u16, kind: &str, message: &str) -> Self {
        Self::json(status, json!({"errors": [message], "error_type": kind}))
    }

    /// `Discourse::InvalidParameters`: the name of the parameter, or a sentence.
    pub(super) fn invalid_parameters(message: &str) -> Self {
        let message = format!("You supplied invalid parameters to the request: {message}");
        Self::error(400, "invalid_parameters", &message)
    }

    pub(super) fn not_found() -> Self {
        let message = "The requested URL or resource could not be found.";
        Self::error(404, "not_found", message)
    }

    pub(super) fn invalid_access() -> Self {
        let message = "You are not permitted to view the requested resource.";
        Self::error(403, "invalid_access", message)
    }

    pub(super) fn invalid_key() -> Self {
        let message = "You are not permitted to view the requested resource. The API username or key is invalid.";
        Self::error(403, "invalid_access", message)
    }

    /// What a change without a key gets, which a browser's form would have had to sign.
    pub(super) fn bad_csrf() -> Self {
        Self::json(403, json!(["BAD CSRF"]))
    }

    /// A validation that failed: no type is given with it.
    pub(super) fn unprocessable(message: &str) -> Self {
        Self::json(422, json!({"errors": [message]}))
    }

    /// What `sync_sso` says, which has a shape of its own.
    pub(super) fn failed(status: u16, message: &str) -> Self {
        Self::json(status, json!({"failed": "FAILED", "message": message}))
    }

    /// An exception that nobody caught.
    pub(super) fn exception() -> Self {
        Self::json(
            500,
            json!({"status": 500, "error": "Internal Server Error"}),
        )
    }

    /// A body that can't be parsed.
    pub(super) fn bad_request() -> Self {
        Self::json(400, json!({"status": 400, "error": "Bad Request"}))
    }

    pub(super) fn too_many(wait_seconds: u64) -> Self {
        let left = match wait_seconds {
            1 => "1 second".to_owned(),
            seconds => format!("{seconds} seconds"),
        };
        let message = format!(
            "You've performed this action too many times. Please wait {left} before trying again."
        );
        let body = json!({
            "errors": [message],
            "error_type": "rate_limit",
            "extras": {"wait_seconds": wait_seconds, "time_left": left},
        });
        Self {
            headers: vec![(RETRY_AFTER, wait_seconds.to_string())],
            ..Self::json(429, body)
        }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let (kind, body) = match self.content {
            Content::Json(value) => (
                Some("application/json; charset=utf-8"),
                Body::from(value.to_string()),
            ),
            Content::Html(text) => (Some("text/html; charset=utf-8"), Body::from(text)),
            Content::Text(text) => (Some("text/plain; charset=utf-8"), Body::from(text)),
            Content::Nothing => (None, Body::empty()),
        };
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if let Some(kind) = kind {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}
