//! Faults that the control API plants for calls to come.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::problem::unstored;

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// 400 with an error of OAuth, `error`, without an effect.
    Refuse,
    /// `status` with a body that isn't JSON, without an effect.
    Status,
    /// The connection is cut without an effect.
    Close,
    /// The connection is cut after the effect: a refresh token is spent, and nobody has the next one.
    CloseAfter,
    /// Nothing happens for `ms`, then all goes well.
    Stall,
}

/// A fault waiting for its call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    pub kind: Kind,
    /// The path of the calls that it hits.
    #[serde(default = "token")]
    pub path: String,
    /// How many calls it still hits.
    #[serde(default = "once")]
    pub times: u32,
    #[serde(default = "invalid_grant")]
    pub error: String,
    #[serde(default)]
    pub status: Option<u16>,
    /// How long a stall lasts, in milliseconds.
    #[serde(default)]
    pub ms: Option<u64>,
}

fn invalid_grant() -> String {
    "invalid_grant".to_owned()
}

fn token() -> String {
    "/token".to_owned()
}

fn once() -> u32 {
    1
}

impl Fault {
    /// What is missing or out of bounds.
    pub(super) fn wrong(&self) -> Option<&'static str> {
        let is_failure = |status: u16| (400..600).contains(&status);
        match self.kind {
            _ if self.times == 0 => Some("times is at least 1"),
            Kind::Status if !self.status.is_some_and(is_failure) => {
                Some("status needs a status from 400 to 599")
            }
            Kind::Stall if self.ms.is_none_or(|ms| ms > 600_000) => {
                Some("a stall needs ms, at most 600000")
            }
            _ => None,
        }
    }

    /// The answer of a fault without an effect.
    pub(super) fn answer(&self) -> Option<Response> {
        match self.kind {
            Kind::Refuse => {
                let body = json!({"error": self.error, "error_description": "told to refuse"});
                Some(unstored(StatusCode::BAD_REQUEST, Json(body)))
            }
            Kind::Status => {
                let status = StatusCode::from_u16(self.status?).ok()?;
                Some((status, "<h1>The stand-in was told to fail</h1>").into_response())
            }
            Kind::Close | Kind::CloseAfter | Kind::Stall => None,
        }
    }
}

/// Takes the first fault that hits a call.
pub(super) fn take(faults: &mut Vec<Fault>, path: &str) -> Option<Fault> {
    let at = faults.iter().position(|fault| fault.path == path)?;
    let fault = faults.get_mut(at)?;
    fault.times = fault.times.saturating_sub(1);
    let taken = fault.clone();
    faults.retain(|fault| fault.times > 0);
    Some(taken)
}
