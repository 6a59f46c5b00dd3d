//! Promotion codes: what buyers type to get a coupon.

use serde_json::{Value, json};

use super::coupons::check_limits;
use super::listing;
use super::{Call, Route, refuse, route};
use crate::engine::discounts;
use crate::world::error::{ApiError, ApiResult};
use crate::world::ids;
use crate::world::json::Json;
use crate::world::{Task, World, merge, new_metadata};

pub(super) const ROUTES: &[Route] = &[
    route("POST", "/v1/promotion_codes", "promotion_code", create),
    route("GET", "/v1/promotion_codes", "promotion_code", index),
    route("GET", "/v1/promotion_codes/{}", "promotion_code", retrieve),
    route("POST", "/v1/promotion_codes/{}", "promotion_code", update),
];

fn create(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    refuse(params, &["customer_account"])?;
    refuse(
        &params["restrictions"],
        &["currency_options", "first_time_transaction"],
    )?;
    let Some(coupon) = params["promotion"].opt_text("coupon") else {
        let message = "Missing required param: promotion[coupon].";
        let param = "promotion[coupon]";
        return Err(ApiError::parameter(
            Some("parameter_missing"),
            param,
            message,
        ));
    };
    let known = world.store.find("coupon", coupon);
    let known = known.filter(|known| !known.flag("deleted")).cloned();
    let known =
        known.ok_or_else(|| ApiError::missing_reference("coupon", coupon, "promotion[coupon]"))?;
    check(world, params, &known)?;
    let code = params
        .opt_text("code")
        .map_or_else(|| ids::random(8).to_uppercase(), str::to_owned);
    if discounts::find_code(world, &code).is_some() {
        let message = "An active promotion code with this `code` exists already.";
        return Err(ApiError::invalid(message).param("code"));
    }
    let id = ids::new("promo");
    let restrictions = &params["restrictions"];
    let object = json!({
        "id": id, "object": "promotion_code", "active": params.get("active").cloned().unwrap_or(true.into()), "code": code,
        "created": world.now(), "customer": params.get("customer"), "customer_account": null,
        "expires_at": params.get("expires_at"), "livemode": false, "max_redemptions": params.get("max_redemptions"),
        "metadata": new_metadata(params.get("metadata")), "promotion": {"coupon": coupon, "type": "coupon"},
        "restrictions": {"first_time_transaction": false, "minimum_amount": restrictions.get("minimum_amount"),
            "minimum_amount_currency": restrictions.get("minimum_amount_currency")},
        "times_redeemed": 0,
    });
    if let Some(at) = params.opt_int("expires_at") {
        world.plan(at, Task::EndOffer(id));
    }
    Ok(world.create(object, Some("promotion_code.created")))
}

fn check(world: &World, params: &Value, coupon: &Value) -> Result<(), ApiError> {
    check_limits(world, params, "expires_at")?;
    if !coupon.flag("valid") {
        let message = "A promotion code needs a coupon that can still be redeemed.";
        return Err(ApiError::coded("coupon_expired", message).param("promotion[coupon]"));
    }
    let code = params.opt_text("code").unwrap_or("X");
    if !code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        let message = "A code can contain letters, digits and dashes only.";
        return Err(ApiError::parameter(None, "code", message));
    }
    for (param, of_coupon) in [
        ("max_redemptions", "max_redemptions"),
        ("expires_at", "redeem_by"),
    ] {
        let bound = coupon.opt_int(of_coupon).unwrap_or(i64::MAX);
        if params.opt_int(param).is_some_and(|given| given > bound) {
            let message = format!("`{param}` must not be greater than the coupon's `{of_coupon}`.");
            return Err(ApiError::parameter(None, param, message));
        }
    }
    if let Some(customer) = params.opt_text("customer") {
        let known = world.store.find("customer", customer);
        let known = known.filter(|known| !known.flag("deleted"));
        known.ok_or_else(|| ApiError::missing_reference("customer", customer, "customer"))?;
    }
    let restrictions = &params["restrictions"];
    if restrictions.has("minimum_amount") != restrictions.has("minimum_amount_currency") {
        let message = "`minimum_amount` and `minimum_amount_currency` must be passed together.";
        let param = "restrictions[minimum_amount_currency]";
        return Err(ApiError::parameter(
            Some("parameter_missing"),
            param,
            message,
        ));
    }
    Ok(())
}

fn retrieve(world: &mut World, call: &Call) -> ApiResult {
    world.require("promotion_code", call.id())
}

fn index(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    let url = "/v1/promotion_codes";
    listing::page(world, "promotion_code", url, params, |row| {
        params
            .get("active")
            .is_none_or(|active| row["active"] == *active)
            && params
                .opt_text("code")
                .is_none_or(|code| row.text("code").eq_ignore_ascii_case(code))
            && listing::matches(&row["promotion"], params, &["coupon"])
            && listing::matches(row, params, &["customer"])
    })
}

fn update(world: &mut World, call: &Call) -> ApiResult {
    let code = world.require("promotion_code", call.id())?;
    refuse(&call.params, &["restrictions"])?;
    if call.params.flag("active") && !code.flag("active") {
        let coupon = world.store.copy(code["promotion"].text("coupon"));
        let is_used_up = code
            .opt_int("max_redemptions")
            .is_some_and(|most| code.int("times_redeemed") >= most);
        let is_late = code
            .opt_int("expires_at")
            .is_some_and(|at| at <= world.now());
        if !coupon.flag("valid") || is_used_up || is_late {
            let message =
                "This promotion code cannot be redeemed any more: it cannot be activated.";
            return Err(ApiError::invalid(message).param("active"));
        }
        if discounts::find_code(world, code.text("code")).is_some() {
            let message = "An active promotion code with this `code` exists already.";
            return Err(ApiError::invalid(message).param("active"));
        }
    }
    Ok(world.update(call.id(), "promotion_code.updated", |object| {
        if let Some(active) = call.params.get("active") {
            object.set("active", active.clone());
        }
        merge(object, call.params.get("metadata"));
    }))
}
