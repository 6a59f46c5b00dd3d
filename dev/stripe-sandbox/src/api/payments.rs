//! Payment intents, charges, refunds and balance transactions.

use serde_json::{Value, json};

use super::listing;
use super::{Call, Route, refuse, route, set_texts};
use crate::engine::payments::receipt;
use crate::engine::refunds;
use crate::world::error::{ApiError, ApiResult};
use crate::world::json::Json;
use crate::world::{World, merge};

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/v1/payment_intents", "payment_intent", list_intents),
    route(
        "GET",
        "/v1/payment_intents/{}",
        "payment_intent",
        retrieve_intent,
    ),
    route(
        "POST",
        "/v1/payment_intents/{}",
        "payment_intent",
        update_intent,
    ),
    route(
        "POST",
        "/v1/payment_intents/{}/cancel",
        "payment_intent",
        cancel_intent,
    ),
    route("GET", "/v1/charges", "charge", list_charges),
    route("GET", "/v1/charges/{}", "charge", retrieve_charge),
    route("POST", "/v1/charges/{}", "charge", update_charge),
    route("POST", "/v1/refunds", "refund", create_refund),
    route("GET", "/v1/refunds", "refund", list_refunds),
    route("GET", "/v1/refunds/{}", "refund", retrieve_refund),
    route("POST", "/v1/refunds/{}", "refund", update_refund),
    route("POST", "/v1/refunds/{}/cancel", "refund", cancel_refund),
    route(
        "GET",
        "/v1/balance_transactions",
        "balance_transaction",
        list_transactions,
    ),
    route(
        "GET",
        "/v1/balance_transactions/{}",
        "balance_transaction",
        retrieve_transaction,
    ),
];

fn retrieve_intent(world: &mut World, call: &Call) -> ApiResult {
    world.require("payment_intent", call.id())
}

fn list_intents(world: &mut World, call: &Call) -> ApiResult {
    listing::page(
        world,
        "payment_intent",
        "/v1/payment_intents",
        &call.params,
        |row| listing::matches(row, &call.params, &["customer"]),
    )
}

fn update_intent(world: &mut World, call: &Call) -> ApiResult {
    world.require("payment_intent", call.id())?;
    let editable = ["description", "expand", "metadata", "receipt_email"];
    if let Some(other) = call
        .params
        .fields()
        .keys()
        .find(|key| !editable.contains(&key.as_str()))
    {
        return Err(ApiError::unmodelled(other));
    }
    // Stripe has no event for an updated payment intent.
    Ok(world.change(call.id(), |intent| {
        set_texts(intent, &call.params, &["description", "receipt_email"]);
        merge(intent, call.params.get("metadata"));
    }))
}

fn cancel_intent(world: &mut World, call: &Call) -> ApiResult {
    let intent = world.require("payment_intent", call.id())?;
    let status = intent.text("status");
    if matches!(status, "succeeded" | "canceled" | "processing") {
        let message = format!(
            "You cannot cancel this PaymentIntent because it has a status of {status}. Only a PaymentIntent with one of \
             the following statuses may be canceled: requires_payment_method, requires_capture, requires_confirmation, \
             requires_action, processing."
        );
        return Err(ApiError::coded("payment_intent_unexpected_state", message)
            .with("payment_intent", intent));
    }
    let belongs_to_checkout = world
        .store
        .linked("checkout.session", call.id())
        .any(|s| s.reference("payment_intent") == Some(call.id()));
    if belongs_to_checkout {
        let message = "You cannot cancel a PaymentIntent that was created by Checkout. Expire the Checkout Session instead.";
        return Err(ApiError::invalid(message));
    }
    let now = world.now();
    let reason = call.params.get("cancellation_reason").cloned();
    let cancelled = world.change(call.id(), |intent| {
        intent.set("status", "canceled");
        intent.set("canceled_at", now);
        intent.set("cancellation_reason", reason);
    });
    world.emit("payment_intent.canceled", &cancelled, None);
    Ok(cancelled)
}

fn retrieve_charge(world: &mut World, call: &Call) -> ApiResult {
    world.require("charge", call.id())
}

fn list_charges(world: &mut World, call: &Call) -> ApiResult {
    listing::page(world, "charge", "/v1/charges", &call.params, |row| {
        listing::matches(
            row,
            &call.params,
            &["customer", "payment_intent", "transfer_group"],
        )
    })
}

fn update_charge(world: &mut World, call: &Call) -> ApiResult {
    world.require("charge", call.id())?;
    refuse(
        &call.params,
        &["customer", "fraud_details", "shipping", "transfer_group"],
    )?;
    let updated = world.update(call.id(), "charge.updated", |charge| {
        set_texts(charge, &call.params, &["description", "receipt_email"]);
        merge(charge, call.params.get("metadata"));
    });
    // A new address gets the receipt of what is paid already.
    if updated.flag("paid") && call.params.has("receipt_email") {
        return Ok(receipt(world, &updated));
    }
    Ok(updated)
}

fn create_refund(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    refuse(
        params,
        &[
            "currency",
            "customer",
            "instructions_email",
            "origin",
            "refund_application_fee",
            "reverse_transfer",
        ],
    )?;
    let charge = match (params.opt_text("charge"), params.opt_text("payment_intent")) {
        (Some(charge), _) => world
            .store
            .find("charge", charge)
            .ok_or_else(|| ApiError::missing_reference("charge", charge, "charge"))?,
        (None, Some(id)) => {
            let intent = world.store.find("payment_intent", id);
            let intent = intent.ok_or_else(|| {
                ApiError::missing_reference("payment_intent", id, "payment_intent")
            })?;
            let charge = world.store.find("charge", intent.text("latest_charge"));
            charge
                .filter(|charge| charge.text("status") == "succeeded")
                .ok_or_else(|| {
                    let message = format!(
                        "This PaymentIntent ({id}) does not have a successful charge to refund."
                    );
                    ApiError::invalid(message).param("payment_intent")
                })?
        }
        (None, None) => {
            let message = "One of the following params should be provided for this request: payment_intent or charge.";
            return Err(ApiError::parameter(
                Some("parameter_missing"),
                "payment_intent",
                message,
            ));
        }
    };
    let charge = charge.text("id").to_owned();
    refunds::create(world, &charge, params)
}

fn retrieve_refund(world: &mut World, call: &Call) -> ApiResult {
    world.require("refund", call.id())
}

fn list_refunds(world: &mut World, call: &Call) -> ApiResult {
    listing::page(world, "refund", "/v1/refunds", &call.params, |row| {
        listing::matches(row, &call.params, &["charge", "payment_intent"])
    })
}

fn update_refund(world: &mut World, call: &Call) -> ApiResult {
    world.require("refund", call.id())?;
    Ok(world.update(call.id(), "refund.updated", |refund| {
        merge(refund, call.params.get("metadata"));
    }))
}

fn cancel_refund(world: &mut World, call: &Call) -> ApiResult {
    let refund = world.require("refund", call.id())?;
    if !matches!(refund.text("status"), "pending" | "requires_action") {
        let message = format!(
            "Refunds with a status of `{}` cannot be canceled.",
            refund.text("status")
        );
        return Err(ApiError::invalid(message));
    }
    Ok(refunds::undo(world, call.id(), "canceled", Value::Null))
}

fn retrieve_transaction(world: &mut World, call: &Call) -> ApiResult {
    world.require("balance_transaction", call.id())
}

fn list_transactions(world: &mut World, call: &Call) -> ApiResult {
    if call.params.has("payout") {
        // There are no payouts in the sandbox: nothing was ever paid out.
        return Ok(
            json!({"object": "list", "url": "/v1/balance_transactions", "has_more": false, "data": []}),
        );
    }
    listing::page(
        world,
        "balance_transaction",
        "/v1/balance_transactions",
        &call.params,
        |row| listing::matches(row, &call.params, &["currency", "source", "type"]),
    )
}
