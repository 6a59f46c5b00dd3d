//! Faults that the control API plants for calls to come.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::problem::unstored;

/// How a call goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Kind {
    /// 400 with an error of OAuth, without an effect.
    Refuse {
        #[serde(default = "invalid_grant")]
        error: String,
    },
    /// This status with a body that isn't JSON, without an effect.
    Status { status: u16 },
    /// The connection is cut without an effect.
    Close,
    /// The connection is cut after the effect: a refresh token is spent, and nobody has the next one.
    CloseAfter,
    /// Nothing happens for `ms`, then all goes well.
    Stall { ms: u64 },
}

/// A fault waiting for its call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Fault {
    #[serde(flatten)]
    pub kind: Kind,
    /// The path of the calls that it hits.
    #[serde(default = "token")]
    pub path: String,
    /// How many calls it still hits.
    #[serde(default = "once")]
    pub times: u32,
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

impl Kind {
    /// What is out of bounds.
    pub(super) fn wrong(&self) -> Option<&'static str> {
        match self {
            Self::Status { status } if !(400..600).contains(status) => {
                Some("status is from 400 to 599")
            }
            Self::Stall { ms } if *ms > 600_000 => Some("ms is at most 600000"),
            _ => None,
        }
    }

    /// The answer of a fault without an effect.
    pub(super) fn answer(&self) -> Option<Response> {
        match self {
            Self::Refuse { error } => {
                let body = json!({"error": error, "error_description": "told to refuse"});
                Some(unstored(StatusCode::BAD_REQUEST, Json(body)))
            }
            Self::Status { status } => {
                let status = StatusCode::from_u16(*status).ok()?;
                Some((status, "<h1>The stand-in was told to fail</h1>").into_response())
            }
            Self::Close | Self::CloseAfter | Self::Stall { .. } => None,
        }
    }
}

/// Takes the first fault that hits a call.
pub(super) fn take(faults: &mut Vec<Fault>, path: &str) -> Option<Kind> {
    let at = faults.iter().position(|fault| fault.path == path)?;
    let fault = faults.get_mut(at)?;
    fault.times = fault.times.saturating_sub(1);
    let kind = fault.kind.clone();
    faults.retain(|fault| fault.times > 0);
    Some(kind)
}
