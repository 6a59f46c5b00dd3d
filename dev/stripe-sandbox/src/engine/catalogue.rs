//! Products and prices as they are made, by the API, the catalogue file and inline `price_data` alike.

use serde_json::{Map, Value, json};

use crate::world::error::{ApiError, ApiResult};
use crate::world::ids;
use crate::world::json::Json;
use crate::world::{World, new_metadata, set_texts};

/// A product object.
pub(crate) fn new_product(world: &mut World, params: &Value, event: bool) -> Value {
    let now = world.now();
    let id = params
        .opt_text("id")
        .map_or_else(|| ids::new("prod"), str::to_owned);
    let mut product = json!({
        "id": id, "object": "product", "active": params.get("active").cloned().unwrap_or(true.into()), "created": now,
        "default_price": null, "description": null, "images": [], "livemode": false, "marketing_features": [],
        "metadata": new_metadata(params.get("metadata")), "name": params["name"], "package_dimensions": null,
        "shippable": null, "statement_descriptor": null, "tax_code": null, "tax_details": null, "type": "service", "unit_label": null,
        "updated": now, "url": null,
    });
    set_texts(
        &mut product,
        params,
        &[
            "description",
            "statement_descriptor",
            "tax_code",
            "unit_label",
            "url",
        ],
    );
    for key in ["images", "shippable", "marketing_features"] {
        if let Some(value) = params.get(key) {
            product.set(key, value.clone());
        }
    }
    world.create(product, event.then_some("product.created"))
}

/// A price object.
pub(crate) fn new_price(
    world: &mut World,
    params: &Value,
    product: &str,
    event: bool,
) -> ApiResult {
    let currency = params.text("currency").to_lowercase();
    if currency.len() != 3 {
        let message = format!(
            "Invalid currency: {currency}. Stripe currently supports these currencies: eur, usd, …"
        );
        return Err(ApiError::parameter(None, "currency", message));
    }
    let (amount, decimal) = unit_amount(params, "")?;
    if amount.is_none() && decimal.is_none() && !params.has("custom_unit_amount") {
        let message = "You must specify either `unit_amount`, `unit_amount_decimal`, or `custom_unit_amount`.";
        return Err(ApiError::parameter(
            Some("parameter_missing"),
            "unit_amount",
            message,
        ));
    }
    let recurring = params.get("recurring").filter(|recurring| recurring.is_object()).map(|given| {
        json!({
            "interval": given["interval"], "interval_count": given.opt_int("interval_count").unwrap_or(1), "meter": null,
            "trial_period_days": null, "usage_type": "licensed",
        })
    });
    let behavior = params.opt_text("tax_behavior").unwrap_or("unspecified");
    let id = params
        .opt_text("id")
        .map_or_else(|| ids::new("price"), str::to_owned);
    let custom = custom_unit_amount(params);
    let price = json!({
        "id": id, "object": "price", "active": params.get("active").cloned().unwrap_or(true.into()),
        "billing_scheme": "per_unit", "created": world.now(), "currency": currency,
        "custom_unit_amount": custom, "livemode": false,
        "lookup_key": params.get("lookup_key"), "metadata": new_metadata(params.get("metadata")),
        "nickname": params.get("nickname"), "product": product, "recurring": recurring, "tax_behavior": behavior,
        "tiers_mode": null, "transform_quantity": null,
        "type": if recurring.is_some() { "recurring" } else { "one_time" },
        "unit_amount": amount, "unit_amount_decimal": decimal,
    });
    let mut options = Map::new();
    let base = json!({"custom_unit_amount": custom, "tax_behavior": behavior, "unit_amount": amount, "unit_amount_decimal": decimal});
    options.insert(currency, base);
    for (code, option) in params["currency_options"].fields() {
        let (amount, decimal) = unit_amount(&option, &format!("currency_options[{code}]"))?;
        options.insert(code, json!({
            "custom_unit_amount": custom_unit_amount(&option), "tax_behavior": option.opt_text("tax_behavior").unwrap_or(behavior),
            "unit_amount": amount, "unit_amount_decimal": decimal,
        }));
    }
    world.store.hide(&id, "currency_options", options);
    Ok(world.create(price, event.then_some("price.created")))
}

/// `unit_amount` and its decimal form, whichever was given.
fn unit_amount(params: &Value, place: &str) -> Result<(Option<i64>, Option<String>), ApiError> {
    if let Some(amount) = params.opt_int("unit_amount") {
        if amount < 0 {
            let param = if place.is_empty() {
                "unit_amount".to_owned()
            } else {
                format!("{place}[unit_amount]")
            };
            let message = "This value must be greater than or equal to 0.";
            return Err(ApiError::parameter(
                Some("parameter_invalid_integer"),
                &param,
                message,
            ));
        }
        return Ok((Some(amount), Some(amount.to_string())));
    }
    let decimal = params.opt_text("unit_amount_decimal").map(str::to_owned);
    Ok((
        decimal.as_deref().and_then(|text| text.parse().ok()),
        decimal,
    ))
}

fn custom_unit_amount(params: &Value) -> Value {
    let given = &params["custom_unit_amount"];
    if !given.flag("enabled") {
        return Value::Null;
    }
    json!({"maximum": given.get("maximum"), "minimum": given.get("minimum"), "preset": given.get("preset")})
}
