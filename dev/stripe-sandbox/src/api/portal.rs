//! The customer portal: configurations and sessions.

use serde_json::{Map, Value, json};

use super::listing;
use super::{Call, Route, portal_features, portal_flow, refuse, route};
use crate::world::error::{ApiError, ApiResult};
use crate::world::ids;
use crate::world::json::Json;
use crate::world::{World, merge, new_metadata};

pub(super) const ROUTES: &[Route] = &[
    route(
        "POST",
        "/v1/billing_portal/configurations",
        "billing_portal.configuration",
        create_configuration,
    ),
    route(
        "GET",
        "/v1/billing_portal/configurations",
        "billing_portal.configuration",
        list_configurations,
    ),
    route(
        "GET",
        "/v1/billing_portal/configurations/{}",
        "billing_portal.configuration",
        retrieve_configuration,
    ),
    route(
        "POST",
        "/v1/billing_portal/configurations/{}",
        "billing_portal.configuration",
        update_configuration,
    ),
    route(
        "POST",
        "/v1/billing_portal/sessions",
        "billing_portal.session",
        create_session,
    ),
];

fn default_features() -> Value {
    json!({
        "customer_update": {"allowed_updates": [], "enabled": false}, "invoice_history": {"enabled": true},
        "payment_method_update": {"enabled": true, "payment_method_configuration": null},
        "subscription_cancel": {
            "cancellation_reason": {"enabled": false, "feedback_options": null, "options": []}, "enabled": true,
            "mode": "at_period_end", "proration_behavior": "none",
        },
        "subscription_pause": {"duration": {"interval_options": [], "type": "indefinite"}, "enabled": false},
        "subscription_update": {
            "billing_cycle_anchor": null, "default_allowed_updates": [], "enabled": false, "products": null,
            "proration_behavior": "none", "schedule_at_period_end": {"conditions": []}, "trial_update_behavior": "end_trial",
        },
    })
}

/// Replaces what was given, hash by hash.
fn overlay(target: &mut Value, with: &Map<String, Value>) {
    for (key, value) in with {
        match value {
            Value::Object(inner) if target.get(key).is_some_and(Value::is_object) => {
                overlay(&mut target[key], inner);
            }
            Value::String(text) if text.is_empty() => target.set(key, Value::Null),
            _ => target.set(key, value.clone()),
        }
    }
}

fn new_configuration(world: &mut World, params: &Value, is_default: bool) -> ApiResult {
    let now = world.now();
    let mut features = default_features();
    if !is_default {
        // What a configuration of one's own does not mention is off.
        for feature in [
            "invoice_history",
            "payment_method_update",
            "subscription_cancel",
        ] {
            features[feature].set("enabled", false);
        }
    }
    overlay(&mut features, &params["features"].fields());
    portal_features::complete(world, &mut features)?;
    let mut profile =
        json!({"headline": null, "privacy_policy_url": null, "terms_of_service_url": null});
    overlay(&mut profile, &params["business_profile"].fields());
    let configuration = json!({
        "id": ids::new("bpc"), "object": "billing_portal.configuration", "active": true, "application": null,
        "business_profile": profile, "created": now, "default_return_url": params.get("default_return_url"),
        "features": features, "is_default": is_default, "livemode": false, "login_page": {"enabled": false, "url": null},
        "metadata": new_metadata(params.get("metadata")), "name": params.get("name"), "updated": now,
    });
    Ok(world.create(configuration, Some("billing_portal.configuration.created")))
}

fn create_configuration(world: &mut World, call: &Call) -> ApiResult {
    refuse(&call.params["login_page"], &["enabled"])?;
    new_configuration(world, &call.params, false)
}

fn retrieve_configuration(world: &mut World, call: &Call) -> ApiResult {
    world.require("billing_portal.configuration", call.id())
}

fn update_configuration(world: &mut World, call: &Call) -> ApiResult {
    let current = world.require("billing_portal.configuration", call.id())?;
    refuse(&call.params["login_page"], &["enabled"])?;
    let now = world.now();
    let mut features = current["features"].clone();
    overlay(&mut features, &call.params["features"].fields());
    portal_features::complete(world, &mut features)?;
    Ok(world.update(
        call.id(),
        "billing_portal.configuration.updated",
        |object| {
            object.set("features", features);
            overlay(
                &mut object["business_profile"],
                &call.params["business_profile"].fields(),
            );
            super::set_texts(
                object,
                &call.params,
                &["default_return_url", "name", "active"],
            );
            merge(object, call.params.get("metadata"));
            object.set("updated", now);
        },
    ))
}

fn list_configurations(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    let url = "/v1/billing_portal/configurations";
    listing::page(world, "billing_portal.configuration", url, params, |row| {
        ["active", "is_default"]
            .iter()
            .all(|key| params.get(*key).is_none_or(|wanted| row[*key] == *wanted))
    })
}

fn configuration(world: &mut World, params: &Value) -> Result<Value, ApiError> {
    if let Some(id) = params.opt_text("configuration") {
        let known = world
            .store
            .find("billing_portal.configuration", id)
            .cloned();
        return known
            .ok_or_else(|| ApiError::missing_reference("configuration", id, "configuration"));
    }
    ensure_default(world)
}

/// The account's default configuration, which is made when it is first needed.
pub(crate) fn ensure_default(world: &mut World) -> ApiResult {
    let default = world
        .store
        .all("billing_portal.configuration")
        .iter()
        .find(|row| row.flag("is_default"))
        .cloned();
    match default {
        Some(default) => Ok(default),
        None => new_configuration(world, &Value::Null, true),
    }
}

fn create_session(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    refuse(
        params,
        &["after_expiration", "customer_account", "on_behalf_of"],
    )?;
    let customer = params.text("customer");
    if world
        .store
        .find("customer", customer)
        .is_none_or(|known| known.flag("deleted"))
    {
        return Err(ApiError::missing_reference(
            "customer", customer, "customer",
        ));
    }
    let configuration = configuration(world, params)?;
    let flow = portal_flow::build(world, params, &configuration["features"])?;
    let return_url = params
        .get("return_url")
        .or_else(|| configuration.get("default_return_url"))
        .cloned();
    let id = ids::new("bps");
    let session = json!({
        "id": id, "object": "billing_portal.session", "after_expiration": null, "configuration": configuration["id"],
        "created": world.now(), "customer": customer, "customer_account": null, "flow": flow, "livemode": false,
        "locale": params.get("locale"), "on_behalf_of": null, "return_url": return_url,
        "url": format!("{}/p/session/{id}", world.base_url),
    });
    Ok(world.create(session, Some("billing_portal.session.created")))
}
