//! Events on their way to endpoints; `webhooks` says when they go.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeliveryState {
    /// Not yet tried.
    Waiting,
    /// On its way.
    InFlight,
    /// Answered 2xx.
    Delivered,
    /// Failed, to be tried again.
    Retrying,
    /// Failed for good.
    Failed,
    /// Lost on purpose.
    Dropped,
}

impl DeliveryState {
    /// Whether an answer is still to come.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::InFlight | Self::Retrying)
    }
}

/// One attempt and its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// Wall time in seconds.
    pub at: i64,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What went wrong otherwise.
    pub error: Option<String>,
}

/// An event on its way to an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Delivery {
    pub id: u64,
    pub event: String,
    pub endpoint: String,
    /// A forged body instead of the event's own.
    pub body: Option<Value>,
    pub attempts: usize,
    /// When the next attempt is due, in wall milliseconds.
    pub due_ms: i64,
    /// Its place among those that are due at the same time.
    pub rank: u64,
    pub state: DeliveryState,
    /// Sent only after those before it were answered: a release that names an order keeps it.
    #[serde(default)]
    pub in_line: bool,
    pub log: Vec<Attempt>,
}

/// Whether deliveries are held back.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Hold(pub bool);
