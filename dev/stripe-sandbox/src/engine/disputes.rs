//! Disputes: the money leaves, and comes back if they are won.

use serde_json::{Value, json};

use super::payments::transaction;
use crate::world::World;
use crate::world::error::{ApiError, ApiResult};
use crate::world::ids;
use crate::world::json::{Json, previous_attributes};

const FEE: i64 = 2_000;
const DAYS_TO_RESPOND: i64 = 14;
const EVIDENCE: &[&str] = &[
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
];

/// Opens a dispute about a charge, or about a part of it; an inquiry moves no money.
pub(crate) fn open(
    world: &mut World,
    charge: &str,
    reason: &str,
    amount: Option<i64>,
) -> ApiResult {
    let before = world.require("charge", charge)?;
    if before.text("status") != "succeeded" {
        return Err(ApiError::invalid(format!(
            "Charge {charge} was not paid: there is nothing to dispute."
        )));
    }
    if is_disputed(world, charge) {
        return Err(ApiError::coded(
            "charge_disputed",
            format!("Charge {charge} is disputed already."),
        ));
    }
    let amount = amount.unwrap_or_else(|| before.int("amount"));
    if !(1..=before.int("amount")).contains(&amount) {
        let message = "A dispute claims something, and at most the whole charge.";
        return Err(ApiError::invalid(message).param("amount"));
    }
    let is_inquiry = reason == "inquiry";
    let now = world.now();
    let mut evidence = json!({"appeal": null, "enhanced_evidence": {}});
    for field in EVIDENCE {
        evidence.set(field, Value::Null);
    }
    let brand = before["payment_method_details"]["card"]
        .opt_text("brand")
        .unwrap_or("visa")
        .to_owned();
    let mut dispute = json!({
        "id": ids::new("du"), "object": "dispute", "amount": amount, "balance_transactions": [], "charge": charge,
        "created": now, "currency": before["currency"], "enhanced_eligibility_types": [], "evidence": evidence,
        "evidence_details": {"due_by": now + DAYS_TO_RESPOND * 86_400, "enhanced_eligibility": {}, "has_evidence": false,
            "past_due": false, "submission_count": 0, "submission_method": "not_submitted"},
        "intended_submission_method": null, "is_charge_refundable": is_inquiry, "livemode": false, "metadata": {}, "network_reason_code": "10.4",
        "payment_intent": before["payment_intent"], "payment_method_details": {"card": {"brand": brand, "case_type":
            if is_inquiry { "inquiry" } else { "chargeback" }, "network": brand, "network_reason_code": "10.4"}, "type": "card"},
        "reason": if is_inquiry { "general" } else { reason },
        "status": if is_inquiry { "warning_needs_response" } else { "needs_response" },
    });
    if before["payment_method_details"].text("type") != "card" {
        // Stripe tells details of cards and of a few wallets alone.
        dispute.set("payment_method_details", Value::Null);
    }
    let dispute = world.create(dispute, None);
    world.update(charge, "charge.updated", |object| {
        object.set("disputed", true);
    });
    world.emit("charge.dispute.created", &dispute, None);
    if is_inquiry {
        return Ok(dispute);
    }
    Ok(move_money(
        world,
        dispute.text("id"),
        -dispute.int("amount"),
        FEE,
        "charge.dispute.funds_withdrawn",
    ))
}

/// Whether a dispute about a charge is open or was lost.
pub(crate) fn is_disputed(world: &World, charge: &str) -> bool {
    let weighs =
        |row: &Value| !matches!(row.text("status"), "won" | "warning_closed" | "prevented");
    world
        .store
        .linked("dispute", charge)
        .any(|row| row.text("charge") == charge && weighs(row))
}

fn move_money(world: &mut World, id: &str, amount: i64, fee: i64, event: &str) -> Value {
    let dispute = world.store.copy(id);
    let category = if amount < 0 {
        "dispute"
    } else {
        "dispute_reversal"
    };
    let booked = transaction(world, &dispute, "adjustment", category, amount, fee);
    let booked = world.store.copy(&booked);
    let after = world.change(id, |object| {
        if let Some(transactions) = object["balance_transactions"].as_array_mut() {
            transactions.push(booked);
        }
    });
    world.emit(event, &after, Some(previous_attributes(&dispute, &after)));
    after
}

/// Adds evidence; submitted, it waits for the bank.
pub(crate) fn respond(world: &mut World, id: &str, params: &Value) -> Value {
    let submits = params
        .get("submit")
        .and_then(Value::as_bool)
        .unwrap_or(true)
        && params.has("evidence");
    world.update(id, "charge.dispute.updated", |object| {
        for (key, value) in params["evidence"].fields() {
            object["evidence"].set(&key, value);
            object["evidence_details"].set("has_evidence", true);
        }
        if submits {
            let status = if object.text("status").starts_with("warning") {
                "warning_under_review"
            } else {
                "under_review"
            };
            object.set("status", status);
            let count = object["evidence_details"].int("submission_count") + 1;
            object["evidence_details"].set("submission_count", count);
            object["evidence_details"].set("submission_method", "manual");
        }
        crate::world::merge(object, params.get("metadata"));
    })
}

/// Closes a dispute: `won`, `lost`, `warning_closed`, or `prevented`, an inquiry that was settled before it became one.
/// A lost one is opened again by an appeal, `appeal_under_review`, which is then won or lost.
pub(crate) fn close(world: &mut World, id: &str, status: &str) -> ApiResult {
    let before = world.require("dispute", id)?;
    let is_inquiry = before.text("status").starts_with("warning");
    let fits = match status {
        "won" | "lost" => !is_inquiry,
        "warning_closed" | "prevented" => is_inquiry,
        "appeal_under_review" => before.text("status") == "lost",
        _ => false,
    };
    let is_over = matches!(
        before.text("status"),
        "won" | "lost" | "warning_closed" | "prevented"
    );
    let appeals = status == "appeal_under_review";
    if !fits || is_over != appeals {
        let message = format!(
            "A dispute that is '{}' cannot become '{status}'.",
            before.text("status")
        );
        return Err(ApiError::invalid(message).param("status"));
    }
    let closed = world.change(id, |object| {
        object.set("status", status);
        object.set("is_charge_refundable", status != "lost" && !appeals);
    });
    let event = if appeals {
        "charge.dispute.updated"
    } else {
        "charge.dispute.closed"
    };
    world.emit(event, &closed, Some(previous_attributes(&before, &closed)));
    if status == "won" {
        return Ok(move_money(
            world,
            id,
            closed.int("amount"),
            -FEE,
            "charge.dispute.funds_reinstated",
        ));
    }
    Ok(closed)
}

/// The dispute that follows the payment with a certain test card.
pub(crate) fn open_planned(world: &mut World, charge: &str) {
    if let Some(reason) = world
        .store
        .hidden(charge, "dispute_reason")
        .as_str()
        .map(str::to_owned)
    {
        // Refunded or disputed in the meantime: there is nothing left to dispute.
        let _ = open(world, charge, &reason, None);
    }
}
