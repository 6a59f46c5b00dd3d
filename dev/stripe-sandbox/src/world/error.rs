//! Errors in Stripe's own shape.

use serde_json::{Map, Value, json};

/// An answer that is an error: HTTP status and the fields of Stripe's error object.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// The error object.
    pub body: Map<String, Value>,
    /// Found before the request was executed: such answers are not stored under an idempotency key.
    pub before_execution: bool,
}

/// What handlers return.
pub(crate) type ApiResult = Result<Value, ApiError>;

impl ApiError {
    /// An error of any type.
    pub(crate) fn new(
        status: u16,
        kind: &str,
        code: Option<&str>,
        message: impl Into<String>,
    ) -> Self {
        let mut body = Map::new();
        body.insert("type".into(), kind.into());
        body.insert("message".into(), message.into().into());
        if let Some(code) = code {
            body.insert("code".into(), code.into());
            body.insert(
                "doc_url".into(),
                format!(
                    "https://stripe.com/docs/error-codes/{}",
                    code.replace('_', "-")
                )
                .into(),
            );
        }
        Self {
            status,
            body,
            before_execution: false,
        }
    }

    /// A 400 of type `invalid_request_error` found while executing.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", None, message)
    }

    /// A 400 about one parameter, found before execution.
    pub(crate) fn parameter(code: Option<&str>, param: &str, message: impl Into<String>) -> Self {
        let mut error = Self::new(400, "invalid_request_error", code, message).param(param);
        error.before_execution = true;
        error
    }

    /// A 400 with a code, found while executing.
    pub(crate) fn coded(code: &str, message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", Some(code), message)
    }

    /// An id that names nothing: 404 for the object in the path.
    pub(crate) fn missing(what: &str, id: &str) -> Self {
        let noun = what.rsplit('.').next().unwrap_or(what).replace('_', " ");
        Self::new(
            404,
            "invalid_request_error",
            Some("resource_missing"),
            format!("No such {noun}: '{id}'"),
        )
        .param(if what.contains("session") {
            "session"
        } else {
            "id"
        })
    }

    /// An id in a parameter that names nothing: 400.
    pub(crate) fn missing_reference(what: &str, id: &str, param: &str) -> Self {
        let noun = what.rsplit('.').next().unwrap_or(what).replace('_', " ");
        Self::coded("resource_missing", format!("No such {noun}: '{id}'")).param(param)
    }

    /// Something that Stripe has and the sandbox has not: says so, here and on standard error.
    pub(crate) fn unmodelled(param: &str) -> Self {
        let message = format!("The sandbox does not model the parameter '{param}'.");
        eprintln!("stripe-sandbox: {message}");
        Self::parameter(None, param, message)
    }

    /// An answer of our own that Stripe would never give: says so, here and on standard error.
    pub(crate) fn wrong(sentence: String) -> Self {
        eprintln!("stripe-sandbox: {sentence}");
        Self::new(500, "api_error", None, sentence)
    }

    /// Names the parameter that is to blame.
    pub(crate) fn param(self, param: &str) -> Self {
        self.with("param", param)
    }

    /// Adds a field to the error object.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.body.insert(key.to_owned(), value.into());
        self
    }

    /// The code, or `""`.
    pub(crate) fn code(&self) -> &str {
        self.body
            .get("code")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The sentence for people.
    pub(crate) fn message(&self) -> &str {
        self.body
            .get("message")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The JSON body of the answer.
    pub(crate) fn to_json(&self) -> Value {
        json!({"error": self.body})
    }
}
