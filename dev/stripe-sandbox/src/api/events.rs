//! Events of the last 30 days.

use serde_json::Value;

use super::listing;
use super::{Call, Route, route};
use crate::world::error::{ApiError, ApiResult};
use crate::world::json::Json;
use crate::world::{EVENTS_KEPT, World};

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/v1/events", "event", index),
    route("GET", "/v1/events/{}", "event", retrieve),
];

fn retrieve(world: &mut World, call: &Call) -> ApiResult {
    let event = world.require("event", call.id())?;
    if is_kept(world, &event) {
        Ok(event)
    } else {
        Err(ApiError::missing("event", call.id()))
    }
}

fn is_kept(world: &World, event: &Value) -> bool {
    world.now() - event.int("created") <= EVENTS_KEPT
}

fn index(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    let types = params.items("types");
    if types.len() > 20 {
        return Err(ApiError::parameter(
            None,
            "types",
            "You can only specify up to 20 types.",
        ));
    }
    if !types.is_empty() && params.has("type") {
        let message = "You may only specify one of these parameters: type, types.";
        return Err(ApiError::parameter(
            Some("parameters_exclusive"),
            "types",
            message,
        ));
    }
    if let Some(pattern) = types
        .iter()
        .filter_map(Value::as_str)
        .find(|kind| kind.contains('*'))
    {
        let message =
            format!("Invalid event type: {pattern}. Wildcards are only allowed in `type`.");
        return Err(ApiError::parameter(None, "types", message));
    }
    let wanted = params.get("delivery_success").and_then(Value::as_bool);
    listing::page(world, "event", "/v1/events", params, |event| {
        is_kept(world, event)
            && (types.is_empty() || types.contains(&event["type"]))
            && params
                .opt_text("type")
                .is_none_or(|pattern| fits(pattern, event.text("type")))
            && wanted.is_none_or(|success| success == (event.int("pending_webhooks") == 0))
    })
}

/// Whether a type fits a pattern such as `invoice.*`.
fn fits(pattern: &str, kind: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => kind.starts_with(start) && kind[start.len()..].ends_with(end),
        None => pattern == kind,
    }
}
