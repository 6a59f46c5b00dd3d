//! Webhook endpoints. The secret is told once, on creation.

use serde_json::{Value, json};

use super::listing;
use super::{Call, Route, refuse, route};
use crate::spec::version;
use crate::world::error::{ApiError, ApiResult};
use crate::world::ids;
use crate::world::json::Json;
use crate::world::{World, merge, new_metadata};

pub(super) const ROUTES: &[Route] = &[
    route("POST", "/v1/webhook_endpoints", "webhook_endpoint", create),
    route("GET", "/v1/webhook_endpoints", "webhook_endpoint", index),
    route(
        "GET",
        "/v1/webhook_endpoints/{}",
        "webhook_endpoint",
        retrieve,
    ),
    route(
        "POST",
        "/v1/webhook_endpoints/{}",
        "webhook_endpoint",
        update,
    ),
    route(
        "DELETE",
        "/v1/webhook_endpoints/{}",
        "webhook_endpoint",
        delete,
    ),
];

const MOST_ENDPOINTS: usize = 16;

fn create(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    refuse(params, &["connect"])?;
    let url = params.text("url");
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(ApiError::parameter(
            Some("url_invalid"),
            "url",
            format!("Invalid URL: {url}"),
        ));
    }
    if let Some(version) = params
        .opt_text("api_version")
        .filter(|version| !version::is_known(version))
    {
        let message = format!("Invalid Stripe API version: {version}.");
        return Err(ApiError::parameter(None, "api_version", message));
    }
    let live = world
        .store
        .all("webhook_endpoint")
        .iter()
        .filter(|endpoint| !endpoint.flag("deleted"));
    if live.count() >= MOST_ENDPOINTS {
        let message = "You have reached the maximum of 16 test webhook endpoints.";
        return Err(ApiError::invalid(message));
    }
    let id = ids::new("we");
    let secret = ids::webhook_secret();
    world.store.hide(&id, "secrets", vec![secret.clone()]);
    let mut endpoint = world.create(json!({
        "id": id, "object": "webhook_endpoint", "api_version": params.get("api_version"), "application": null,
        "created": world.now(), "description": params.get("description"), "enabled_events": params["enabled_events"],
        "livemode": false, "metadata": new_metadata(params.get("metadata")), "status": "enabled", "url": url,
    }), None);
    endpoint.set("secret", secret);
    Ok(endpoint)
}

/// A live endpoint.
fn live(world: &World, id: &str) -> ApiResult {
    let endpoint = world.require("webhook_endpoint", id)?;
    if endpoint.flag("deleted") {
        Err(ApiError::missing("webhook_endpoint", id))
    } else {
        Ok(endpoint)
    }
}

fn retrieve(world: &mut World, call: &Call) -> ApiResult {
    live(world, call.id())
}

fn update(world: &mut World, call: &Call) -> ApiResult {
    live(world, call.id())?;
    Ok(world.change(call.id(), |endpoint| {
        super::set_texts(endpoint, &call.params, &["description", "url"]);
        if let Some(events) = call.params.get("enabled_events") {
            endpoint.set("enabled_events", events.clone());
        }
        if let Some(disabled) = call.params.get("disabled").and_then(Value::as_bool) {
            endpoint.set("status", if disabled { "disabled" } else { "enabled" });
        }
        merge(endpoint, call.params.get("metadata"));
    }))
}

fn delete(world: &mut World, call: &Call) -> ApiResult {
    live(world, call.id())?;
    let stub = json!({"id": call.id(), "object": "webhook_endpoint", "deleted": true});
    Ok(world.change(call.id(), |endpoint| endpoint.clone_from(&stub)))
}

fn index(world: &mut World, call: &Call) -> ApiResult {
    listing::page(
        world,
        "webhook_endpoint",
        "/v1/webhook_endpoints",
        &call.params,
        |_| true,
    )
}
