//! Faults that the control API plants for calls to come; `transport::faults` says what they do.

use serde::{Deserialize, Serialize};

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultKind {
    /// 500 without effect, not stored under the idempotency key.
    #[serde(rename = "error_500")]
    Error500,
    /// 500 without effect, stored: the same key replays it.
    #[serde(rename = "error_500_stored")]
    Error500Stored,
    /// 500 after the effect, stored.
    #[serde(rename = "error_500_after_effect")]
    Error500AfterEffect,
    /// 500 with `Stripe-Should-Retry: false`.
    #[serde(rename = "should_not_retry_500")]
    ShouldNotRetry500,
    /// 429.
    RateLimited,
    /// 429 with `Stripe-Rate-Limited-Reason`.
    RateLimitedWithReason,
    /// 429 with code `lock_timeout`.
    LockTimeout,
    /// The effect happens, the answer comes after `stall_ms`.
    TimeoutAfterEffect,
    /// Nothing happens for `stall_ms`, then all goes well.
    Stall,
    /// The connection is cut without an effect.
    Disconnect,
    /// The connection is cut after the effect.
    DisconnectAfterEffect,
    /// 200 with a body that is not JSON, without an effect.
    Garbage,
    /// The answer as ever, but with a text where a number belongs, one that holds personal data.
    WrongTypes,
    /// 403 as a restricted key without the permission gets it, without an effect.
    Forbidden,
}

/// A fault waiting for its call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    /// Method of the calls it hits; any when missing.
    #[serde(default)]
    pub method: Option<String>,
    /// Path of the calls it hits: exact, or with `*` for one segment, or ending in `*`; any when missing.
    #[serde(default)]
    pub path: Option<String>,
    /// What goes wrong.
    pub kind: FaultKind,
    /// How many calls it still hits.
    #[serde(default = "once")]
    pub times: u32,
    /// How long it stalls, in wall milliseconds.
    #[serde(default = "long")]
    pub stall_ms: u64,
}

fn once() -> u32 {
    1
}

fn long() -> u64 {
    30_000
}
