//! The discount that a session is created with.

use serde_json::Value;

use crate::engine::discounts::{self, Grant};
use crate::world::World;
use crate::world::error::ApiError;
use crate::world::json::Json;

/// The coupon or promotion code that a session is given; at most one, and none beside a field for codes.
pub(super) fn grant(
    world: &World,
    params: &Value,
    (items, currency): (&[Value], &str),
    customer: Option<&str>,
) -> Result<Option<Grant>, ApiError> {
    let given = params.items("discounts");
    let Some(first) = given.first() else {
        return Ok(None);
    };
    if params.flag("allow_promotion_codes") {
        let message =
            "You may only specify one of these parameters: allow_promotion_codes, discounts.";
        let code = Some("parameters_exclusive");
        return Err(ApiError::parameter(code, "allow_promotion_codes", message));
    }
    if given.len() > 1 {
        let message = "A Checkout Session takes one discount at most.";
        return Err(ApiError::parameter(None, "discounts", message));
    }
    let subtotal: i64 = items.iter().map(|item| item.int("amount_subtotal")).sum();
    let (grant, flaw, param) = match (first.opt_text("coupon"), first.opt_text("promotion_code")) {
        (Some(_), Some(_)) => {
            let message = "You may only specify one of these parameters: coupon, promotion_code.";
            let param = "discounts[0][promotion_code]";
            return Err(ApiError::parameter(
                Some("parameters_exclusive"),
                param,
                message,
            ));
        }
        (None, None) => {
            let message = "Missing required param: discounts[0][coupon].";
            let param = "discounts[0][coupon]";
            return Err(ApiError::parameter(
                Some("parameter_missing"),
                param,
                message,
            ));
        }
        (Some(coupon), None) => {
            let param = "discounts[0][coupon]";
            let known = world.store.find("coupon", coupon);
            known
                .filter(|known| !known.flag("deleted"))
                .ok_or_else(|| ApiError::missing_reference("coupon", coupon, param))?;
            let grant = Grant {
                coupon: coupon.to_owned(),
                promotion_code: None,
            };
            (
                grant,
                discounts::coupon_flaw(world, coupon, currency),
                param,
            )
        }
        (None, Some(id)) => {
            let param = "discounts[0][promotion_code]";
            let code = world.store.find("promotion_code", id);
            let code =
                code.ok_or_else(|| ApiError::missing_reference("promotion_code", id, param))?;
            let session = serde_json::json!({"currency": currency, "customer": customer});
            let grant = Grant {
                coupon: code["promotion"].text("coupon").to_owned(),
                promotion_code: Some(id.to_owned()),
            };
            let flaw = discounts::code_flaw(world, code, &session, subtotal);
            (grant, flaw, param)
        }
    };
    let coupon = world.store.copy(&grant.coupon);
    if let Some(flaw) = flaw {
        let refused = if coupon.flag("valid") {
            ApiError::invalid(flaw)
        } else {
            ApiError::coded("coupon_expired", flaw)
        };
        return Err(refused.param(param));
    }
    let charges: Vec<(Value, i64)> = items
        .iter()
        .map(|item| (item["price"].clone(), item.int("amount_subtotal")))
        .collect();
    let applies_to = world.store.hidden(&grant.coupon, "applies_to");
    let off: i64 = discounts::shares_of(&coupon, applies_to, &charges)
        .iter()
        .sum();
    if params.text("mode") == "payment" && (1..50).contains(&(subtotal - off)) {
        let message =
            "What the discount leaves to pay is less than the smallest amount that can be charged.";
        return Err(ApiError::coded("amount_too_small", message));
    }
    Ok(Some(grant))
}
