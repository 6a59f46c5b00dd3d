//! Deep links to one action of the portal.

use serde_json::{Value, json};

use super::{portal_features, refuse};
use crate::engine::subscriptions::is_over;
use crate::world::World;
use crate::world::error::ApiError;
use crate::world::json::Json;

/// The flow of a session to be, checked against the features of its configuration.
///
/// # Errors
/// What Stripe would not accept, and what the sandbox does not model.
pub(super) fn build(
    world: &World,
    params: &Value,
    features: &Value,
) -> Result<Option<Value>, ApiError> {
    let Some(given) = params.get("flow_data").filter(|flow| flow.is_object()) else {
        return Ok(None);
    };
    let kind = given.text("type");
    let details = &given[kind];
    let place = format!("flow_data[{kind}]");
    let mut own = Value::Null;
    match kind {
        "payment_method_update" => {
            need(features, "payment_method_update")?;
        }
        "subscription_cancel" => {
            refuse(details, &["retention"])?;
            let subscription = subscription(world, params, details, &place)?;
            own = json!({"retention": null, "subscription": subscription["id"]});
        }
        "subscription_update" => {
            need(features, "subscription_update")?;
            let subscription = subscription(world, params, details, &place)?;
            own = json!({"subscription": subscription["id"]});
        }
        "subscription_update_confirm" => {
            need(features, "subscription_update")?;
            refuse(details, &["discounts"])?;
            let subscription = subscription(world, params, details, &place)?;
            let items = confirmed(&subscription, details, features, &place)?;
            own = json!({"discounts": null, "items": items, "subscription": subscription["id"]});
        }
        other => return Err(ApiError::unmodelled(&format!("flow_data[type]={other}"))),
    }
    let after = &given["after_completion"];
    let mut flow = json!({
        "after_completion": {"hosted_confirmation": after.get("hosted_confirmation"), "redirect": after.get("redirect"),
            "type": after.opt_text("type").unwrap_or("portal_homepage")},
        "customer_update": null, "subscription_cancel": null, "subscription_pause": null, "subscription_update": null,
        "subscription_update_confirm": null, "type": kind,
    });
    if !own.is_null() {
        flow.set(kind, own);
    }
    Ok(Some(flow))
}

fn need(features: &Value, feature: &str) -> Result<(), ApiError> {
    if features[feature].flag("enabled") {
        return Ok(());
    }
    let message = format!(
        "This flow cannot be used because the feature `{feature}` is disabled in the portal configuration."
    );
    Err(ApiError::invalid(message).param("flow_data[type]"))
}

/// The customer's own subscription, which must not be about to end.
fn subscription(
    world: &World,
    params: &Value,
    details: &Value,
    place: &str,
) -> Result<Value, ApiError> {
    let param = format!("{place}[subscription]");
    let id = details.text("subscription");
    let known = world
        .store
        .find("subscription", id)
        .filter(|known| known.text("customer") == params.text("customer"));
    let known = known.ok_or_else(|| ApiError::missing_reference("subscription", id, &param))?;
    if known.has("cancel_at") || is_over(known) {
        let message = "This subscription cannot be canceled or updated because it is already set to be canceled.";
        return Err(ApiError::invalid(message).param(&param));
    }
    Ok(known.clone())
}

/// The one item that the member is to confirm, within what the configuration allows.
fn confirmed(
    subscription: &Value,
    details: &Value,
    features: &Value,
    place: &str,
) -> Result<Value, ApiError> {
    let given = details.items("items");
    let own = subscription["items"].items("data");
    let ([wanted], [item]) = (given, own) else {
        let message = "Only one item can be updated, of a subscription that has only one.";
        return Err(ApiError::invalid(message).param(&format!("{place}[items]")));
    };
    let place = format!("{place}[items][0]");
    if wanted.text("id") != item.text("id") {
        return Err(ApiError::missing_reference(
            "subscription_item",
            wanted.text("id"),
            &format!("{place}[id]"),
        ));
    }
    let update = &features["subscription_update"];
    if let Some(price) = wanted.opt_text("price")
        && portal_features::product_of(update, price).is_none()
    {
        let message = format!("The price `{price}` is not listed in the portal configuration.");
        return Err(ApiError::invalid(message).param(&format!("{place}[price]")));
    }
    if wanted
        .opt_int("quantity")
        .is_some_and(|quantity| quantity < 0)
    {
        let message = "This value must be greater than or equal to 0.";
        return Err(ApiError::parameter(
            Some("parameter_invalid_integer"),
            &format!("{place}[quantity]"),
            message,
        ));
    }
    let quantity = wanted.get("quantity").or(item.get("quantity"));
    Ok(json!([{"id": item["id"], "price": wanted.get("price"), "quantity": quantity}]))
}
