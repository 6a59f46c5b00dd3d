//! Faults that the control API plants for calls to come.

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

impl Fault {
    fn hits(&self, method: &str, path: &str) -> bool {
        let method_fits = self
            .method
            .as_deref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method));
        method_fits
            && self
                .path
                .as_deref()
                .is_none_or(|pattern| path_fits(pattern, path))
    }
}

/// The permission that a restricted key needs for a call, as Stripe names it: `rak_checkout_session_write`.
pub(crate) fn permission(method: &str, path: &str) -> String {
    // A namespace belongs to the name of what is in it; ids and what hangs below them do not.
    let mut segments = path.trim_start_matches("/v1/").split('/');
    let mut name = segments.next().unwrap_or_default().to_owned();
    if matches!(
        name.as_str(),
        "checkout" | "billing_portal" | "test_helpers"
    ) {
        name = format!("{name}_{}", segments.next().unwrap_or_default());
    }
    let access = if method == "GET" { "read" } else { "write" };
    format!("rak_{}_{access}", name.strip_suffix('s').unwrap_or(&name))
}

fn path_fits(pattern: &str, path: &str) -> bool {
    let mut given = path.split('/');
    let mut wanted = pattern.split('/').peekable();
    while let Some(part) = wanted.next() {
        let is_last = wanted.peek().is_none();
        match given.next() {
            Some(_) if part == "*" && is_last => return true,
            Some(segment) if part == "*" || part == "{id}" || part == segment => {}
            _ => return false,
        }
    }
    given.next().is_none()
}

/// Takes the first fault that hits a call.
pub(crate) fn take(faults: &mut Vec<Fault>, method: &str, path: &str) -> Option<Fault> {
    let at = faults.iter().position(|fault| fault.hits(method, path))?;
    let fault = faults[at].clone();
    faults[at].times = fault.times.saturating_sub(1);
    faults.retain(|fault| fault.times > 0);
    Some(fault)
}

#[cfg(test)]
mod tests {
    use super::{path_fits, permission};

    #[test]
    fn a_permission_is_named_after_what_is_asked_for() {
        assert_eq!(
            permission("POST", "/v1/checkout/sessions/cs_1/expire"),
            "rak_checkout_session_write"
        );
        assert_eq!(
            permission("GET", "/v1/customers/cus_1"),
            "rak_customer_read"
        );
    }

    #[test]
    fn a_star_stands_for_a_segment_or_for_the_rest() {
        assert!(path_fits("/v1/customers", "/v1/customers"));
        assert!(!path_fits("/v1/customers", "/v1/customers/cus_1"));
        assert!(path_fits(
            "/v1/checkout/sessions/*",
            "/v1/checkout/sessions/cs_1/expire"
        ));
        assert!(path_fits(
            "/v1/checkout/sessions/*/expire",
            "/v1/checkout/sessions/cs_1/expire"
        ));
        assert!(!path_fits(
            "/v1/checkout/sessions/*/expire",
            "/v1/checkout/sessions/cs_1/line_items"
        ));
    }
}
