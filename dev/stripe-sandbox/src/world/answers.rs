//! Answers kept under an `Idempotency-Key`; `transport::idempotency` says when they are given again.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is known about a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// Method, path and parameters of the first request.
    pub fingerprint: String,
    /// When it came, by the sandbox clock.
    pub at: i64,
    /// Status and body, once there is an answer.
    pub answer: Option<(u16, Value)>,
}

impl Stored {
    /// Whether there is an answer to replay.
    pub(crate) fn is_answered(&self) -> bool {
        self.answer.is_some()
    }
}
