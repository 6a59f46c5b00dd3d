//! From `line_items[]` to the lines of a session, and the rules that they obey.

use serde_json::{Value, json};

use super::{catalogue, session_options};
use crate::engine::subscriptions;
use crate::world::amounts::ZERO_DECIMAL;
use crate::world::clock::add_interval;
use crate::world::error::ApiError;
use crate::world::ids;
use crate::world::json::Json;
use crate::world::{World, new_metadata};

/// The lines of a session to be, with their currency.
pub(super) struct Lines {
    pub items: Vec<Value>,
    pub currency: String,
    pub total: i64,
}

/// Builds and checks the lines of a session.
pub(super) fn build(world: &mut World, params: &Value) -> Result<Lines, ApiError> {
    let mode = params.text("mode");
    let given = params.items("line_items");
    if given.is_empty() {
        let message = "You must provide `line_items` in `payment` and `subscription` mode.";
        return Err(ApiError::parameter(
            Some("parameter_missing"),
            "line_items",
            message,
        ));
    }
    let mut items = vec![];
    let mut currency = params.opt_text("currency").map(str::to_lowercase);
    for (at, line) in given.iter().enumerate() {
        let place = format!("line_items[{at}]");
        let item = one(world, line, &place, &mut currency)?;
        check_mode(mode, &item)?;
        items.push(item);
    }
    check_together(mode, params, &items)?;
    if mode == "subscription" {
        adjust_recurring(world, &mut items, &params["subscription_data"])?;
    }
    let currency = currency.unwrap_or_default();
    let total = items.iter().map(|item| item.int("amount_total")).sum();
    let open_amount = items
        .iter()
        .any(|item| item["price"].has("custom_unit_amount"));
    if mode == "payment" && total > 0 && total < 50 && !open_amount {
        let shown = if ZERO_DECIMAL.contains(&currency.as_str()) {
            "50".to_owned()
        } else {
            "0.50".to_owned()
        };
        let message = format!(
            "The Checkout Session's total amount due must add up to at least {shown} {currency}"
        );
        return Err(ApiError::coded("amount_too_small", message));
    }
    Ok(Lines {
        items,
        currency,
        total,
    })
}

fn one(
    world: &mut World,
    line: &Value,
    place: &str,
    currency: &mut Option<String>,
) -> Result<Value, ApiError> {
    super::refuse(line, &["tax_rates"])?;
    let price = match (line.opt_text("price"), line.get("price_data")) {
        (Some(_), Some(_)) => {
            let message = "You may only specify one of these parameters: price, price_data.";
            return Err(ApiError::parameter(
                Some("parameters_exclusive"),
                &format!("{place}[price]"),
                message,
            ));
        }
        (Some(id), None) => stored_price(world, id, &format!("{place}[price]"))?,
        (None, Some(data)) => {
            catalogue::inline_price(world, data, &format!("{place}[price_data]"))?
        }
        (None, None) => {
            let message = format!("Missing required param: {place}[price].");
            return Err(ApiError::parameter(
                Some("parameter_missing"),
                &format!("{place}[price]"),
                message,
            ));
        }
    };
    let wanted = currency
        .get_or_insert_with(|| price.text("currency").to_owned())
        .clone();
    let option = world
        .store
        .hidden(price.text("id"), "currency_options")
        .get(&wanted)
        .cloned();
    let Some(option) = option else {
        let message = format!(
            "The price specified only supports `{}`. This doesn't match the expected currency: `{wanted}`.",
            price.text("currency")
        );
        return Err(ApiError::invalid(message).param(&format!("{place}[price]")));
    };
    let quantity = match line.opt_int("quantity") {
        Some(quantity) if quantity >= 1 => quantity,
        Some(_) => {
            let message = "This value must be greater than or equal to 1.";
            return Err(ApiError::parameter(
                Some("parameter_invalid_integer"),
                &format!("{place}[quantity]"),
                message,
            ));
        }
        None => {
            let message = "Quantity is required. Add `quantity` to the line item.";
            return Err(ApiError::parameter(
                Some("parameter_missing"),
                &format!("{place}[quantity]"),
                message,
            ));
        }
    };
    let adjustable = session_options::adjustable(line, place, quantity)?;
    let amount = option.int("unit_amount") * quantity;
    let name = world
        .store
        .copy(price.text("product"))
        .text("name")
        .to_owned();
    Ok(json!({
        "id": ids::new("li"), "object": "item", "adjustable_quantity": adjustable, "amount_discount": 0,
        "amount_subtotal": amount, "amount_tax": 0, "amount_total": amount, "currency": wanted, "description": name,
        "metadata": new_metadata(line.get("metadata")), "price": price, "quantity": quantity,
    }))
}

fn stored_price(world: &World, id: &str, param: &str) -> Result<Value, ApiError> {
    let price = world
        .store
        .find("price", id)
        .ok_or_else(|| ApiError::missing_reference("price", id, param))?;
    if !price.flag("active") {
        let message = "The price specified is inactive. This field only accepts active prices.";
        return Err(ApiError::invalid(message).param(param));
    }
    let product = world.store.copy(price.text("product"));
    if !product.flag("active") {
        let message = format!(
            "Price `{id}` is not available to be purchased because its product is not active."
        );
        return Err(ApiError::invalid(message).param(param));
    }
    Ok(price.clone())
}

fn check_mode(mode: &str, item: &Value) -> Result<(), ApiError> {
    if mode == "payment" && item["price"].text("type") == "recurring" {
        return Err(ApiError::invalid(
            "You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or use only \
             one-time prices.",
        ));
    }
    Ok(())
}

/// Rules about all lines at once.
fn check_together(mode: &str, params: &Value, items: &[Value]) -> Result<(), ApiError> {
    let recurring: Vec<&Value> = items
        .iter()
        .filter(|item| item["price"].text("type") == "recurring")
        .collect();
    let once = items.len() - recurring.len();
    if mode == "subscription" {
        if recurring.is_empty() {
            let message = "You must provide at least one recurring price in `subscription` mode when using prices.";
            return Err(ApiError::invalid(message));
        }
        if recurring.len() > 20 || once > 20 {
            let message = "You can pass at most 20 recurring and 20 one-time line items in `subscription` mode.";
            return Err(ApiError::invalid(message).param("line_items"));
        }
        let interval = |item: &Value| {
            (
                item["price"]["recurring"]["interval"].clone(),
                item["price"]["recurring"]["interval_count"].clone(),
            )
        };
        if recurring
            .windows(2)
            .any(|pair| interval(pair[0]) != interval(pair[1]))
        {
            let message =
                "Checkout does not support multiple prices with different billing intervals.";
            return Err(ApiError::invalid(message));
        }
    } else if items.len() > 100 {
        let message = "You can pass at most 100 line items in `payment` mode.";
        return Err(ApiError::invalid(message).param("line_items"));
    }
    if items
        .iter()
        .any(|item| item["price"].has("custom_unit_amount"))
    {
        let alone = mode == "payment" && items.len() == 1 && items[0].int("quantity") == 1;
        let plain = !params.flag("allow_promotion_codes")
            && params.items("discounts").is_empty()
            && items.iter().all(|item| !item.has("adjustable_quantity"));
        if !alone || !plain {
            let message = "A price with `custom_unit_amount` must be the only line item, with a quantity of 1, in \
                           `payment` mode and without discounts, promotion codes or optional items.";
            return Err(ApiError::invalid(message).param("line_items"));
        }
    }
    Ok(())
}

/// A trial makes recurring lines free; an anchor in the future shortens the first period.
fn adjust_recurring(world: &World, items: &mut [Value], data: &Value) -> Result<(), ApiError> {
    let now = world.now();
    if data.has("trial_end") && data.has("trial_period_days") {
        let message = "You may only specify one of these parameters: trial_end, trial_period_days.";
        return Err(ApiError::parameter(
            Some("parameters_exclusive"),
            "subscription_data[trial_end]",
            message,
        ));
    }
    if data
        .opt_int("trial_end")
        .is_some_and(|end| end < now + 48 * 3600)
    {
        let message = "The `trial_end` date has to be at least 2 days in the future.";
        return Err(ApiError::parameter(
            None,
            "subscription_data[trial_end]",
            message,
        ));
    }
    if data
        .opt_int("trial_period_days")
        .is_some_and(|days| days < 1)
    {
        let message = "This value must be greater than or equal to 1.";
        return Err(ApiError::parameter(
            Some("parameter_invalid_integer"),
            "subscription_data[trial_period_days]",
            message,
        ));
    }
    let anchor = data.opt_int("billing_cycle_anchor");
    if anchor.is_some_and(|anchor| anchor <= now) {
        let message = "`billing_cycle_anchor` must be a timestamp in the future.";
        return Err(ApiError::parameter(
            None,
            "subscription_data[billing_cycle_anchor]",
            message,
        ));
    }
    let is_trial = subscriptions::trial_end(data, now).is_some();
    for item in items
        .iter_mut()
        .filter(|item| item["price"].text("type") == "recurring")
    {
        let full = item.int("amount_subtotal");
        let recurring = &item["price"]["recurring"];
        let share = match anchor {
            _ if is_trial => 0,
            Some(_) if data.text("proration_behavior") == "none" => 0,
            Some(anchor) => {
                let start = add_interval(
                    anchor,
                    recurring.text("interval"),
                    -recurring.int("interval_count"),
                );
                if start >= now {
                    full
                } else {
                    full * (anchor - now) / (anchor - start).max(1)
                }
            }
            None => full,
        };
        item.set("amount_subtotal", share);
        item.set("amount_total", share);
    }
    Ok(())
}
