//! What the faults do that the control API has planted: which call they hit, and what it gets instead.

use serde_json::Value;

use super::answer::Outgoing;
use crate::world::error::ApiError;
use crate::world::faults::{Fault, FaultKind};

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
fn permission(method: &str, path: &str) -> String {
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
pub(super) fn take(faults: &mut Vec<Fault>, method: &str, path: &str) -> Option<Fault> {
    let at = faults.iter().position(|fault| fault.hits(method, path))?;
    let fault = faults[at].clone();
    faults[at].times = fault.times.saturating_sub(1);
    faults.retain(|fault| fault.times > 0);
    Some(fault)
}

/// The answer of a fault that has no effect and is not stored.
pub(super) fn refusal(fault: &Fault) -> Option<Outgoing> {
    let limited = |code: &str, message: &str| {
        ApiError::new(429, "invalid_request_error", Some(code), message)
    };
    let too_many = "Request rate limit exceeded. You can learn more about rate limits here \
                    https://stripe.com/docs/rate-limits.";
    let mut outgoing: Outgoing = match fault.kind {
        FaultKind::Error500 | FaultKind::ShouldNotRetry500 => server_error().into(),
        FaultKind::RateLimited | FaultKind::RateLimitedWithReason => {
            limited("rate_limit", too_many).into()
        }
        FaultKind::LockTimeout => {
            let message = "This object cannot be accessed right now because another API request or Stripe process is \
                           currently accessing it. If you see this error intermittently, retry the request.";
            limited("lock_timeout", message).into()
        }
        _ => return None,
    };
    match fault.kind {
        FaultKind::ShouldNotRetry500 => outgoing
            .headers
            .push(("stripe-should-retry", "false".to_owned())),
        FaultKind::RateLimitedWithReason => {
            outgoing
                .headers
                .push(("stripe-rate-limited-reason", "endpoint-rate".to_owned()));
            outgoing
                .headers
                .push(("stripe-should-retry", "true".to_owned()));
        }
        FaultKind::LockTimeout => outgoing
            .headers
            .push(("stripe-should-retry", "true".to_owned())),
        _ => {}
    }
    Some(outgoing)
}

/// Puts a text with personal data wherever a number stands.
pub(super) fn confuse(body: &mut Value) {
    match body {
        Value::Number(_) => *body = PERSONAL.into(),
        Value::Array(values) => values.iter_mut().for_each(confuse),
        Value::Object(fields) => fields.values_mut().for_each(confuse),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// A mail address, a phone number, a card's number: nobody may write them down.
const PERSONAL: &str = "ada@example.org, +49 170 1234567, 4242 4242 4242 4242";

/// What a restricted key gets that lacks a permission.
pub(super) fn forbidden(key: &str, method: &str, path: &str) -> ApiError {
    let hidden = key.len().saturating_sub(4);
    let end = key.get(hidden..).unwrap_or_default();
    let message = format!(
        "The API key 'rk_test_****{end}' does not have the permission that this request needs. Grant it '{}' to let the \
         request through.",
        permission(method, path)
    );
    ApiError::new(403, "invalid_request_error", None, message)
}

pub(super) fn server_error() -> ApiError {
    let message = "An unknown error occurred. (The sandbox was told to fail.)";
    ApiError::new(500, "api_error", None, message)
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
