//! The customer portal: configurations and sessions.

use serde_json::{Map, Value, json};

use super::{Call, Route, refuse, route};
use crate::error::{ApiError, ApiResult};
use crate::ids;
use crate::json::Json;
use crate::listing;
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

fn new_configuration(world: &mut World, params: &Value, is_default: bool) -> Value {
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
    let mut profile =
        json!({"headline": null, "privacy_policy_url": null, "terms_of_service_url": null});
    overlay(&mut profile, &params["business_profile"].fields());
    let configuration = json!({
        "id": ids::new("bpc"), "object": "billing_portal.configuration", "active": true, "application": null,
        "business_profile": profile, "created": now, "default_return_url": params.get("default_return_url"),
        "features": features, "is_default": is_default, "livemode": false, "login_page": {"enabled": false, "url": null},
        "metadata": new_metadata(params.get("metadata")), "name": params.get("name"), "updated": now,
    });
    world.create(configuration, Some("billing_portal.configuration.created"))
}

fn create_configuration(world: &mut World, call: &Call) -> ApiResult {
    refuse(&call.params["login_page"], &["enabled"])?;
    refuse_features(&call.params)?;
    Ok(new_configuration(world, &call.params, false))
}

fn refuse_features(params: &Value) -> Result<(), ApiError> {
    for feature in ["subscription_pause", "subscription_update"] {
        if params["features"][feature].flag("enabled") {
            return Err(ApiError::unmodelled(&format!("features[{feature}]")));
        }
    }
    Ok(())
}

fn retrieve_configuration(world: &mut World, call: &Call) -> ApiResult {
    world.require("billing_portal.configuration", call.id())
}

fn update_configuration(world: &mut World, call: &Call) -> ApiResult {
    world.require("billing_portal.configuration", call.id())?;
    refuse(&call.params["login_page"], &["enabled"])?;
    refuse_features(&call.params)?;
    let now = world.now();
    Ok(world.update(
        call.id(),
        "billing_portal.configuration.updated",
        |object| {
            overlay(&mut object["features"], &call.params["features"].fields());
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
    let default = world
        .store
        .all("billing_portal.configuration")
        .iter()
        .find(|row| row.flag("is_default"))
        .cloned();
    Ok(match default {
        Some(default) => default,
        None => new_configuration(world, &Value::Null, true),
    })
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
    let flow = flow(world, params)?;
    let configuration = configuration(world, params)?;
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

/// A deep link to one action of the portal.
fn flow(world: &World, params: &Value) -> Result<Option<Value>, ApiError> {
    let Some(given) = params.get("flow_data").filter(|flow| flow.is_object()) else {
        return Ok(None);
    };
    let kind = given.text("type");
    if !matches!(kind, "subscription_cancel" | "payment_method_update") {
        return Err(ApiError::unmodelled(&format!("flow_data[type]={kind}")));
    }
    let subscription = given["subscription_cancel"].opt_text("subscription");
    if kind == "subscription_cancel" {
        let param = "flow_data[subscription_cancel][subscription]";
        let id = subscription.unwrap_or_default();
        let known = world
            .store
            .find("subscription", id)
            .filter(|s| s.text("customer") == params.text("customer"));
        let known = known.ok_or_else(|| ApiError::missing_reference("subscription", id, param))?;
        if known.has("cancel_at") || known.has("ended_at") {
            let message =
                "This subscription cannot be canceled because it is already set to be canceled.";
            return Err(ApiError::invalid(message).param(param));
        }
    }
    let after = &given["after_completion"];
    Ok(Some(json!({
        "after_completion": {"hosted_confirmation": after.get("hosted_confirmation"), "redirect": after.get("redirect"),
            "type": after.opt_text("type").unwrap_or("portal_homepage")},
        "customer_update": null, "subscription_cancel": subscription.map(|id| json!({"retention": null, "subscription": id})),
        "subscription_pause": null, "subscription_update": null, "subscription_update_confirm": null, "type": kind,
    })))
}
