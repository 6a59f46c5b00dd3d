//! The one shape of every error answer: a problem document (RFC 9457).
//!
//! A handler returns an [`ApiError`]; it travels with the response to the edge, which adds the request's id, logs it
//! once and counts it by its code. What went wrong inside stays inside: a source is logged, never answered.

use std::error::Error;
use std::sync::Arc;

use axum::http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::codes::Code;
use crate::domain::invalid::Invalid;

/// Media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What a client may do is known after so many seconds, where nothing better is known.
const RETRY_SOON_SECONDS: u64 = 1;

/// An error answer: a stable code for programs, which has its status and title, and a detail for people.
#[derive(Clone, Debug)]
pub struct ApiError(Box<Inner>);

/// An error that is answered in another's words: logged and counted like any other, and the answer left as it is.
#[derive(Clone, Debug)]
pub(in crate::http) struct Unsaid(pub ApiError);

/// Boxed, so that a `Result` stays small on the way where nothing is wrong.
#[derive(Clone, Debug)]
struct Inner {
    code: Code,
    detail: Option<String>,
    errors: Vec<FieldError>,
    held: Option<HeldSubscription>,
    retry_after: Option<u64>,
    headers: Vec<(HeaderName, HeaderValue)>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// One thing that is wrong with the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Path of the field, such as `lines[0].plan`; empty for the whole body.
    #[schema(example = "lines[0].plan")]
    pub field: String,
    /// Stable code of what is wrong with it.
    #[schema(example = "unknown_plan")]
    pub code: String,
    /// The same for people.
    pub detail: String,
}

/// A problem document (RFC 9457), the body of every error answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// A URI of the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:dues:problem:validation_failed")]
    pub kind: String,
    /// The code in a few words, always the same for a code.
    pub title: &'static str,
    /// The HTTP status.
    #[schema(example = 422)]
    pub status: u16,
    /// What is wrong this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Stable code for programs.
    #[schema(example = "validation_failed")]
    pub code: Code,
    /// The request's id, as in the header `X-Request-Id` and in our log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The fields that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Of `already_held`: what the member holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription: Option<HeldSubscription>,
}

/// A subscription that keeps its member from buying the same again.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HeldSubscription {
    /// Ours.
    pub id: Uuid,
    /// Its plan's code.
    pub plan: String,
    /// Its status.
    #[schema(example = "CANCELLED")]
    pub status: &'static str,
    /// Why it has that status.
    #[schema(example = "cancel_scheduled")]
    pub status_reason: &'static str,
    /// What to do instead of buying: `wait`, `resume`, `pay`, `change_plan` or `portal`.
    #[schema(example = "resume")]
    pub advice: &'static str,
}

impl ApiError {
    /// An error with this code. What is 503 may soon be done, so it is told when to come again.
    pub fn new(code: Code) -> Self {
        let passes = code.status() == StatusCode::SERVICE_UNAVAILABLE;
        Self(Box::new(Inner {
            code,
            detail: None,
            errors: Vec::new(),
            held: None,
            retry_after: passes.then_some(RETRY_SOON_SECONDS),
            headers: Vec::new(),
            source: None,
        }))
    }

    /// Says what the code means, where no more can be said this time.
    #[must_use]
    pub fn explained(self) -> Self {
        let meaning = self.0.code.meaning();
        self.detail(meaning)
    }

    /// Says what is wrong this time; the text is for the client's developer.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Names a field that is wrong, by its path in the body or the query.
    #[must_use]
    pub fn field(
        mut self,
        field: impl Into<String>,
        code: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        self.0.errors.push(FieldError {
            field: field.into(),
            code: code.into(),
            detail: detail.into(),
        });
        self
    }

    /// Names every field that a use case found wrong.
    #[must_use]
    pub fn fields(self, wrong: Vec<Invalid>) -> Self {
        wrong.into_iter().fold(self, |problem, wrong| {
            problem.field(wrong.field, wrong.code, wrong.detail)
        })
    }

    /// Names what the member holds already.
    #[must_use]
    pub fn held(mut self, held: HeldSubscription) -> Self {
        self.0.held = Some(held);
        self
    }

    /// Tells after how many seconds the same request may succeed.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Keeps the cause for the log; the client never sees it.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// A fault of ours: the cause goes to the log and nowhere else.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Code::InternalError).source(source)
    }

    /// For a thing that is not there, or not the caller's.
    pub fn not_found() -> Self {
        Self::new(Code::NotFound)
    }

    /// Add what is wrong with [`ApiError::field`].
    pub fn validation_failed() -> Self {
        Self::new(Code::ValidationFailed)
    }

    /// The document for a bare error status that the framework answered by itself.
    pub(in crate::http) fn from_status(status: StatusCode) -> Self {
        Self::new(match status {
            StatusCode::NOT_FOUND => Code::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => Code::PayloadTooLarge,
            _ if status.is_client_error() => Code::BadRequest,
            _ => Code::InternalError,
        })
    }

    /// The code: also the label in metrics and the log.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The cause and its causes in one line, for the log.
    pub(in crate::http) fn cause(&self) -> Option<String> {
        let first = self.0.source.as_deref()?;
        let mut line = first.to_string();
        let mut next = first.source();
        while let Some(error) = next {
            let text = error.to_string();
            // Many error types repeat their source in their own text.
            if !line.contains(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            next = error.source();
        }
        Some(line)
    }

    /// The answer, with the request's id where it is known.
    pub(in crate::http) fn render(&self, request_id: Option<&str>) -> Response {
        let code = self.0.code;
        let problem = Problem {
            kind: format!("urn:dues:problem:{}", code.as_str()),
            title: code.title(),
            status: code.status().as_u16(),
            detail: self.0.detail.clone(),
            code,
            request_id: request_id.map(str::to_owned),
            errors: self.0.errors.clone(),
            subscription: self.0.held.clone(),
        };
        let mut response = (code.status(), axum::Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.0.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        for (name, value) in &self.0.headers {
            headers.append(name.clone(), value.clone());
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.render(None);
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the pool is empty")]
    struct Empty;

    #[derive(Debug, thiserror::Error)]
    #[error("can't read the row")]
    struct Outer(#[source] Empty);

    #[tokio::test]
    async fn a_cause_is_logged_with_its_causes_and_never_answered() {
        let error = ApiError::internal(Outer(Empty));
        assert_eq!(
            error.cause().as_deref(),
            Some("can't read the row: the pool is empty")
        );
        let body = to_bytes(error.render(None).into_body(), usize::MAX).await;
        let problem = String::from_utf8(body.expect("a body").to_vec()).expect("text");
        assert!(
            problem.contains("internal_error") && !problem.contains("row"),
            "{problem}"
        );
    }
}
