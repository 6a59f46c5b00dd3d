//! `items[]` of a change to a subscription: checked, and turned into the items as they will be.

use serde_json::Value;

use super::refuse;
use crate::engine::changes::{Change, Prorate};
use crate::engine::{subscriptions, tax};
use crate::spec::older;
use crate::world::error::ApiError;
use crate::world::json::Json;
use crate::world::{World, merge};

const REFUSED: &[&str] = &[
    "billing_thresholds",
    "clear_usage",
    "current_trial",
    "deleted",
    "discounts",
    "plan",
    "price_data",
    "tax_rates",
];

/// The change that parameters ask for; none where they name no items.
///
/// `place` is where `items` stands: `""`, or the name of a hash.
///
/// # Errors
/// Stripe's findings, and what the sandbox does not model.
pub(crate) fn change(
    world: &World,
    current: &Value,
    params: &Value,
    place: &str,
) -> Result<Option<Change>, ApiError> {
    let given = params.items("items");
    if given.is_empty() {
        return Ok(None);
    }
    check_status(current)?;
    let mut items = current["items"].items("data").to_vec();
    for (at, wanted) in given.iter().enumerate() {
        let place = inside(place, &format!("items[{at}]"));
        change_one(world, current, &mut items, wanted, &place)?;
    }
    check_together(&items)?;
    if params.text("proration_behavior") != "none" && !current.items("discounts").is_empty() {
        return Err(ApiError::unmodelled(
            "items of a discounted subscription without proration_behavior=none",
        ));
    }
    let prorate = match params.text("proration_behavior") {
        "none" => Prorate::Never,
        "always_invoice" => Prorate::Now,
        _ => Prorate::Later,
    };
    Ok(Some(Change {
        items,
        prorate,
        at: proration_date(world, current, params, place)?,
        only_if_paid: params.text("payment_behavior") == "error_if_incomplete",
        authenticate: None,
    }))
}

fn inside(place: &str, name: &str) -> String {
    match (place, name.split_once('[')) {
        ("", _) => name.to_owned(),
        (place, Some((first, rest))) => format!("{place}[{first}][{rest}"),
        (place, None) => format!("{place}[{name}]"),
    }
}

fn check_status(current: &Value) -> Result<(), ApiError> {
    match current.text("status") {
        "incomplete" => Err(ApiError::invalid(
            "You cannot change the items of a subscription with a status of `incomplete`: its first invoice must be \
             paid before.",
        )
        .param("items")),
        "paused" => Err(ApiError::unmodelled("items of a paused subscription")),
        _ => Ok(()),
    }
}

fn change_one(
    world: &World,
    current: &Value,
    items: &mut [Value],
    wanted: &Value,
    place: &str,
) -> Result<(), ApiError> {
    refuse(wanted, REFUSED)?;
    let Some(id) = wanted.opt_text("id") else {
        // Stripe adds an item then, beside the one that was meant.
        return Err(ApiError::unmodelled(&format!("{place} without an id")));
    };
    let Some(item) = items.iter_mut().find(|item| item.text("id") == id) else {
        return Err(ApiError::missing_reference(
            "subscription_item",
            id,
            &format!("{place}[id]"),
        ));
    };
    if let Some(price) = wanted.opt_text("price")
        && price != item["price"].text("id")
    {
        let price = usable_price(world, current, price, &format!("{place}[price]"))?;
        item.set("plan", older::plan_of(&price));
        item.set("price", price);
    }
    match wanted.opt_int("quantity") {
        Some(quantity) if quantity < 0 => {
            let message = "This value must be greater than or equal to 0.";
            return Err(ApiError::parameter(
                Some("parameter_invalid_integer"),
                &format!("{place}[quantity]"),
                message,
            ));
        }
        Some(quantity) => item.set("quantity", quantity),
        None => {}
    }
    merge(item, wanted.get("metadata"));
    Ok(())
}

/// A price that may be billed from now on, in the subscription's currency.
fn usable_price(world: &World, current: &Value, id: &str, param: &str) -> Result<Value, ApiError> {
    let price = world.store.find("price", id);
    let price = price.ok_or_else(|| ApiError::missing_reference("price", id, param))?;
    let currency = current.text("currency");
    let has_currency = world
        .store
        .hidden(id, "currency_options")
        .get(currency)
        .is_some();
    let product = world.store.copy(price.text("product"));
    let problem = if !price.flag("active") {
        "The price specified is inactive. This field only accepts active prices.".to_owned()
    } else if price.text("type") != "recurring" {
        "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`."
            .to_owned()
    } else if !product.flag("active") {
        format!("Price `{id}` is not available to be purchased because its product is not active.")
    } else if !has_currency {
        format!(
            "The price specified only supports `{}`. This doesn't match the expected currency: `{currency}`.",
            price.text("currency")
        )
    } else if current["automatic_tax"].flag("enabled")
        && tax::is_inclusive(world, price, currency).is_none()
    {
        format!(
            "Tax can be calculated only for prices that have a `tax_behavior`, which `{id}` lacks."
        )
    } else {
        return Ok(price.clone());
    };
    Err(ApiError::invalid(problem).param(param))
}

fn check_together(items: &[Value]) -> Result<(), ApiError> {
    for (at, item) in items.iter().enumerate() {
        let price = item["price"].text("id");
        if items[..at]
            .iter()
            .any(|other| other["price"].text("id") == price)
        {
            let message =
                format!("Cannot add multiple subscription items with the same plan: {price}");
            return Err(ApiError::invalid(message).param("items"));
        }
        let rhythm = |item: &Value| {
            let recurring = &item["price"]["recurring"];
            (
                recurring["interval"].clone(),
                recurring["interval_count"].clone(),
            )
        };
        if rhythm(item) != rhythm(&items[0]) {
            return Err(ApiError::unmodelled("items with different intervals"));
        }
    }
    Ok(())
}

fn proration_date(
    world: &World,
    current: &Value,
    params: &Value,
    place: &str,
) -> Result<i64, ApiError> {
    let Some(at) = params.opt_int("proration_date") else {
        return Ok(world.now());
    };
    let items = current["items"].items("data").iter();
    let start = items
        .map(|item| item.int("current_period_start"))
        .max()
        .unwrap_or_default();
    let end = subscriptions::period_end(current);
    if (start..=end).contains(&at) {
        return Ok(at);
    }
    let message = format!(
        "Invalid proration_date: {at} is not within the current billing period of the subscription ({start} to {end})."
    );
    Err(ApiError::invalid(message).param(&inside(place, "proration_date")))
}
