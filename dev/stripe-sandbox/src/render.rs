//! Objects in the shape of older API versions.

use serde_json::Value;

/// An event as an endpoint of an API version gets it.
pub(crate) fn event(event: &Value, _version: Option<&str>) -> Value {
    event.clone()
}

/// An answer as a request with `Stripe-Version` gets it.
pub(crate) fn answer(body: &Value, _version: Option<&str>) -> Value {
    body.clone()
}
