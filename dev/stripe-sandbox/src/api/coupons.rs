//! Coupons.

use serde_json::{Value, json};

use super::listing;
use super::{Call, Route, refuse, route, set_texts};
use crate::engine::discounts;
use crate::world::amounts::Percent;
use crate::world::error::{ApiError, ApiResult};
use crate::world::ids;
use crate::world::json::Json;
use crate::world::{Task, World, merge, new_metadata};

pub(super) const ROUTES: &[Route] = &[
    route("POST", "/v1/coupons", "coupon", create),
    route("GET", "/v1/coupons", "coupon", index),
    route("GET", "/v1/coupons/{}", "coupon", retrieve),
    route("POST", "/v1/coupons/{}", "coupon", update),
    route("DELETE", "/v1/coupons/{}", "coupon", delete),
];

fn create(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    refuse(params, &["currency_options"])?;
    check(world, params)?;
    let products = params["applies_to"].items("products");
    for (at, id) in products.iter().filter_map(Value::as_str).enumerate() {
        if world.store.find("product", id).is_none() {
            let param = format!("applies_to[products][{at}]");
            return Err(ApiError::missing_reference("product", id, &param));
        }
    }
    let id = params
        .opt_text("id")
        .map_or_else(|| ids::random(8), str::to_owned);
    if world.store.get(&id).is_some() {
        let message = "Coupon already exists.";
        return Err(ApiError::coded("resource_already_exists", message).param("id"));
    }
    let currency = params.opt_text("currency").map(str::to_lowercase);
    let coupon = json!({
        "id": id, "object": "coupon", "amount_off": params.get("amount_off"), "created": world.now(),
        "currency": currency.filter(|_| params.has("amount_off")), "duration": params.opt_text("duration").unwrap_or("once"),
        "duration_in_months": params.get("duration_in_months"), "livemode": false,
        "max_redemptions": params.get("max_redemptions"), "metadata": new_metadata(params.get("metadata")),
        "name": params.get("name"), "percent_off": params.get("percent_off"), "redeem_by": params.get("redeem_by"),
        "times_redeemed": 0, "valid": true,
    });
    if !products.is_empty() {
        world
            .store
            .hide(&id, "applies_to", json!({"products": products}));
    }
    if let Some(at) = params.opt_int("redeem_by") {
        world.plan(at, Task::EndOffer(id));
    }
    Ok(world.create(coupon, Some("coupon.created")))
}

fn check(world: &World, params: &Value) -> Result<(), ApiError> {
    let missing = |param: &str, message: &str| {
        Err(ApiError::parameter(
            Some("parameter_missing"),
            param,
            message,
        ))
    };
    match (params.get("percent_off"), params.opt_int("amount_off")) {
        (None, None) => {
            return missing(
                "percent_off",
                "You must pass either `percent_off` or `amount_off`.",
            );
        }
        (Some(_), Some(_)) => {
            let message = "You may only specify one of these parameters: percent_off, amount_off.";
            return Err(ApiError::parameter(
                Some("parameters_exclusive"),
                "amount_off",
                message,
            ));
        }
        (Some(percent), None) => {
            let known = serde_json::from_value::<Percent>(percent.clone());
            if known.is_ok_and(Percent::is_zero)
                || percent.as_f64().is_none_or(|given| given > 100.0)
            {
                let message = "`percent_off` must be greater than 0 and at most 100.";
                return Err(ApiError::parameter(None, "percent_off", message));
            }
            serde_json::from_value::<Percent>(percent.clone())
                .map_err(|_| ApiError::unmodelled("percent_off with more than two decimals"))?;
        }
        (None, Some(amount)) => {
            if amount < 1 {
                let message = "This value must be greater than or equal to 1.";
                return Err(invalid_integer("amount_off", message));
            }
            if !params.has("currency") {
                return missing(
                    "currency",
                    "You must pass `currency` when passing `amount_off`.",
                );
            }
        }
    }
    let repeats = params.text("duration") == "repeating";
    match params.opt_int("duration_in_months") {
        None if repeats => {
            return missing(
                "duration_in_months",
                "You must pass `duration_in_months` when `duration` is `repeating`.",
            );
        }
        Some(_) if !repeats => {
            let message = "`duration_in_months` can be passed only when `duration` is `repeating`.";
            return Err(ApiError::parameter(None, "duration_in_months", message));
        }
        Some(months) if months < 1 => {
            let message = "This value must be greater than or equal to 1.";
            return Err(invalid_integer("duration_in_months", message));
        }
        _ => {}
    }
    check_limits(world, params, "redeem_by")
}

fn invalid_integer(param: &str, message: &str) -> ApiError {
    ApiError::parameter(Some("parameter_invalid_integer"), param, message)
}

/// What coupons and promotion codes have in common: how often, and until when.
pub(super) fn check_limits(world: &World, params: &Value, until: &str) -> Result<(), ApiError> {
    if params
        .opt_int("max_redemptions")
        .is_some_and(|most| most < 1)
    {
        let message = "This value must be greater than or equal to 1.";
        return Err(invalid_integer("max_redemptions", message));
    }
    if params.opt_int(until).is_some_and(|at| at <= world.now()) {
        let message = format!("`{until}` must be a timestamp in the future.");
        return Err(ApiError::parameter(None, until, message));
    }
    Ok(())
}

fn retrieve(world: &mut World, call: &Call) -> ApiResult {
    live(world, call.id())
}

/// A coupon that was not deleted.
pub(super) fn live(world: &World, id: &str) -> ApiResult {
    let coupon = world.require("coupon", id)?;
    if coupon.flag("deleted") {
        return Err(ApiError::missing("coupon", id));
    }
    Ok(coupon)
}

fn index(world: &mut World, call: &Call) -> ApiResult {
    listing::page(world, "coupon", "/v1/coupons", &call.params, |_| true)
}

fn update(world: &mut World, call: &Call) -> ApiResult {
    live(world, call.id())?;
    refuse(&call.params, &["currency_options"])?;
    Ok(world.update(call.id(), "coupon.updated", |coupon| {
        set_texts(coupon, &call.params, &["name"]);
        merge(coupon, call.params.get("metadata"));
    }))
}

/// Nobody can redeem it any more; who has a discount keeps it.
fn delete(world: &mut World, call: &Call) -> ApiResult {
    let coupon = live(world, call.id())?;
    let stub = json!({"id": call.id(), "object": "coupon", "deleted": true});
    discounts::end_codes(world, call.id());
    world.change(call.id(), |object| object.clone_from(&stub));
    world.emit("coupon.deleted", &coupon, None);
    Ok(stub)
}
