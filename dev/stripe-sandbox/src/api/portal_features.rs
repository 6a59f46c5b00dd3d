//! What a portal configuration lets members do: checked, and completed with defaults.

use serde_json::{Value, json};

use crate::world::World;
use crate::world::error::ApiError;
use crate::world::json::Json;

/// Products that a configuration may list.
const MAX_PRODUCTS: usize = 10;

/// Refuses features that are not modelled, and checks and completes the others.
///
/// # Errors
/// What Stripe would not accept, and what the sandbox does not model.
pub(super) fn complete(world: &World, features: &mut Value) -> Result<(), ApiError> {
    if features["subscription_pause"].flag("enabled") {
        return Err(ApiError::unmodelled("features[subscription_pause]"));
    }
    let update = &mut features["subscription_update"];
    if !update["default_allowed_updates"].is_array() {
        update.set("default_allowed_updates", json!([]));
    }
    let allows_quantity = allows(update, "quantity");
    if let Some(products) = update.get_mut("products").and_then(Value::as_array_mut) {
        for product in products {
            complete_product(product, allows_quantity);
        }
    }
    if features["subscription_update"].flag("enabled") {
        check_update(world, &features["subscription_update"])?;
    }
    Ok(())
}

/// Whether members may change this of a subscription.
pub(crate) fn allows(update: &Value, what: &str) -> bool {
    update
        .items("default_allowed_updates")
        .iter()
        .any(|allowed| allowed == what)
}

fn complete_product(product: &mut Value, allows_quantity: bool) {
    let given = &product["adjustable_quantity"];
    let enabled = given.get("enabled").and_then(Value::as_bool);
    let adjustable = json!({
        "enabled": enabled.unwrap_or(allows_quantity), "maximum": given.get("maximum"),
        "minimum": given.opt_int("minimum").unwrap_or(1),
    });
    product.set("adjustable_quantity", adjustable);
}

fn check_update(world: &World, update: &Value) -> Result<(), ApiError> {
    let param = |rest: &str| format!("features[subscription_update]{rest}");
    if allows(update, "promotion_code") {
        return Err(ApiError::unmodelled(
            "features[subscription_update][default_allowed_updates]=promotion_code",
        ));
    }
    if update.text("billing_cycle_anchor") == "now" {
        return Err(ApiError::unmodelled(
            "features[subscription_update][billing_cycle_anchor]=now",
        ));
    }
    if !update["schedule_at_period_end"]
        .items("conditions")
        .is_empty()
    {
        return Err(ApiError::unmodelled(
            "features[subscription_update][schedule_at_period_end]",
        ));
    }
    for needed in ["default_allowed_updates", "products"] {
        if update.items(needed).is_empty() {
            let param = param(&format!("[{needed}]"));
            let message = format!("Missing required param: {param}.");
            return Err(ApiError::parameter(
                Some("parameter_missing"),
                &param,
                message,
            ));
        }
    }
    let products = update.items("products");
    if products.len() > MAX_PRODUCTS {
        let message = format!("You can list at most {MAX_PRODUCTS} products.");
        return Err(ApiError::parameter(None, &param("[products]"), message));
    }
    for (at, product) in products.iter().enumerate() {
        check_product(world, product, &param(&format!("[products][{at}]")))?;
    }
    Ok(())
}

/// Prices must be of their product, recurring, active, and of different intervals, so that a member can tell them
/// apart.
fn check_product(world: &World, product: &Value, place: &str) -> Result<(), ApiError> {
    let id = product.text("product");
    if world.store.find("product", id).is_none() {
        return Err(ApiError::missing_reference(
            "product",
            id,
            &format!("{place}[product]"),
        ));
    }
    let mut seen = vec![];
    for (at, price) in product.items("prices").iter().enumerate() {
        let param = format!("{place}[prices][{at}]");
        let id = price.as_str().unwrap_or_default();
        let known = world.store.find("price", id);
        let known = known.ok_or_else(|| ApiError::missing_reference("price", id, &param))?;
        let recurring = &known["recurring"];
        let rhythm = (&recurring["interval"], &recurring["interval_count"]);
        let problem = if known["product"] != product["product"] {
            "The price does not belong to the product."
        } else if !recurring.is_object() || !known.flag("active") {
            "This field only accepts active prices with `type=recurring`."
        } else if seen.contains(&rhythm) {
            "The prices of a product must have different billing intervals."
        } else {
            seen.push(rhythm);
            continue;
        };
        return Err(ApiError::invalid(problem).param(&param));
    }
    Ok(())
}

/// The entry of a configuration for a price.
pub(crate) fn product_of<'a>(update: &'a Value, price: &str) -> Option<&'a Value> {
    let mut products = update.items("products").iter();
    products.find(|product| product.items("prices").iter().any(|listed| listed == price))
}
