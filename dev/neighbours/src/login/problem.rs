//! Errors as OAuth has them (RFC 6749, 5.2).

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, PRAGMA, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::keys::KeyError;

/// Why no token is given.
#[derive(Debug)]
pub(super) struct Problem {
    pub error: &'static str,
    pub description: String,
    /// The caller tried to prove who she is by a header, which the answer then has to name.
    pub basic: bool,
}

impl Problem {
    pub(super) fn new(error: &'static str, description: impl Into<String>) -> Self {
        Self {
            error,
            description: description.into(),
            basic: false,
        }
    }

    pub(super) fn request(description: impl Into<String>) -> Self {
        Self::new("invalid_request", description)
    }

    pub(super) fn grant(description: &str) -> Self {
        Self::new("invalid_grant", description)
    }

    pub(super) fn client(description: &str) -> Self {
        Self::new("invalid_client", description)
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        Self::new("server_error", error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = match self.error {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = json!({"error": self.error, "error_description": self.description});
        let mut response = unstored(status, Json(body));
        if self.basic {
            let scheme = axum::http::HeaderValue::from_static("Basic");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// An answer that nobody may keep.
pub(super) fn unstored(status: StatusCode, body: impl IntoResponse) -> Response {
    let headers = [(CACHE_CONTROL, "no-store"), (PRAGMA, "no-cache")];
    (status, headers, body).into_response()
}
