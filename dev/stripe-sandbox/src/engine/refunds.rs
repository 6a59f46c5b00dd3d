//! Refunds: whole, in parts, and those that fail afterwards.

use serde_json::{Map, Value, json};

use super::payments::transaction;
use crate::world::error::{ApiError, ApiResult};
use crate::world::ids;
use crate::world::json::{Json, previous_attributes};
use crate::world::{Task, World, new_metadata};

/// Refunds a charge, or part of it.
pub(crate) fn create(world: &mut World, charge: &str, params: &Value) -> ApiResult {
    let current = world.store.copy(charge);
    if current.text("status") != "succeeded" {
        return Err(ApiError::coded(
            "charge_not_refundable",
            format!("Charge {charge} has not been paid and cannot be refunded."),
        ));
    }
    if super::disputes::is_disputed(world, charge) {
        let message = format!("Charge {charge} has been charged back; cannot issue a refund.");
        return Err(ApiError::coded("charge_disputed", message));
    }
    let left = current.int("amount") - current.int("amount_refunded");
    if left == 0 {
        let message = format!("Charge {charge} has already been refunded.");
        return Err(ApiError::coded("charge_already_refunded", message));
    }
    let amount = params.opt_int("amount").unwrap_or(left);
    if amount < 1 {
        let message = "Invalid positive integer";
        return Err(ApiError::parameter(
            Some("parameter_invalid_integer"),
            "amount",
            message,
        ));
    }
    if amount > left {
        let message = format!(
            "Refund amount ({amount}) is greater than unrefunded amount on charge ({left})."
        );
        return Err(ApiError::invalid(message).param("amount"));
    }
    let id = ids::new("re");
    let is_card = current["payment_method_details"].text("type") == "card";
    let kind = if is_card { "refund" } else { "payment_refund" };
    let mut refund = json!({
        "id": id, "object": "refund", "amount": amount, "balance_transaction": null, "charge": charge,
        "created": world.now(), "currency": current["currency"], "customer": current["customer"], "customer_account": null,
        "description": null, "destination_details": {"card": {"reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund"}, "type": "card"},
        "failure_balance_transaction": null, "failure_reason": null, "instructions_email": null,
        "metadata": new_metadata(params.get("metadata")), "next_action": null, "payment_intent": current["payment_intent"],
        "payment_method": current["payment_method"], "pending_reason": null, "presentment_details": null, "reason": params.get("reason"), "receipt_number": null,
        "source_transfer_reversal": null, "status": if is_card { "succeeded" } else { "pending" }, "transfer_reversal": null,
    });
    if !is_card {
        refund.set("destination_details", Value::Null);
        refund.set("pending_reason", "processing");
    }
    let booked = transaction(world, &refund, kind, "refund", -amount, 0);
    refund.set("balance_transaction", booked);
    let refund = world.create(refund, Some("refund.created"));
    if !is_card {
        let due = world.now() + world.settings.debit_seconds;
        world.plan(due, Task::SettleRefund(id));
    }
    let total = current.int("amount_refunded") + amount;
    let after = world.change(charge, |object| {
        object.set("amount_refunded", total);
        object.set("refunded", total == current.int("amount"));
    });
    // `refunded` and `amount_refunded` are cumulative, and the refunds themselves are not embedded.
    world.emit(
        "charge.refunded",
        &after,
        Some(previous_attributes(&current, &after)),
    );
    Ok(refund)
}

/// A refund that did not reach the buyer after all: the money is back in the balance.
pub(crate) fn undo(world: &mut World, id: &str, status: &str, reason: Value) -> Value {
    let refund = world.store.copy(id);
    let back = transaction(
        world,
        &refund,
        "refund_failure",
        "refund_failure",
        refund.int("amount"),
        0,
    );
    let undone = world.change(id, |object| {
        object.set("status", status);
        object.set("failure_reason", reason);
        object.set("pending_reason", Value::Null);
        object.set("failure_balance_transaction", back);
    });
    let previous = previous_attributes(&refund, &undone);
    world.update(refund.text("charge"), "charge.updated", |charge| {
        let left = charge.int("amount_refunded") - refund.int("amount");
        charge.set("amount_refunded", left);
        charge.set("refunded", false);
    });
    announce(world, &undone, previous);
    if status == "failed" {
        world.emit("refund.failed", &undone, None);
    }
    undone
}

/// A pending refund reaches the buyer.
pub(crate) fn succeed(world: &mut World, id: &str) -> Value {
    let before = world.store.copy(id);
    if before.text("status") != "pending" {
        return before;
    }
    let done = world.change(id, |object| {
        object.set("status", "succeeded");
        object.set("pending_reason", Value::Null);
    });
    announce(world, &done, previous_attributes(&before, &done));
    done
}

/// Two events for one change: the older one is still sent beside the newer.
fn announce(world: &mut World, refund: &Value, previous: Map<String, Value>) {
    world.emit("charge.refund.updated", refund, Some(previous.clone()));
    world.emit("refund.updated", refund, Some(previous));
}
