//! Invoices from draft to paid, void or uncollectible.

use serde_json::{Value, json};

use super::instruments::{default_method, of_method};
use super::payments::{self, Attempt, NewIntent};
use super::{balance, drafts, dunning, subscriptions, terms};
use crate::world::error::ApiError;
use crate::world::ids;
use crate::world::json::Json;
use crate::world::{Task, World};

/// Finalizes a draft; what remains due is still to be collected.
pub(crate) fn finalize(world: &mut World, id: &str) -> Value {
    let now = world.now();
    world.invoice_numbers += 1;
    let number = world.invoice_numbers;
    let hosted = format!("{}/i/{id}", world.base_url);
    let draft = world.store.copy(id);
    let outcome = balance::outcome(world, &draft, draft.int("total"));
    let open = world.change(id, |invoice| {
        invoice.set("status", "open");
        invoice.set("number", format!("SANDBOX-{number:04}"));
        invoice.set("effective_at", now);
        invoice.set("automatically_finalizes_at", Value::Null);
        invoice.set("last_finalization_error", Value::Null);
        invoice.set("hosted_invoice_url", hosted.as_str());
        invoice.set("invoice_pdf", format!("{hosted}/pdf"));
        for key in ["amount_due", "amount_remaining"] {
            invoice.set(key, outcome.due);
        }
        invoice.set("starting_balance", outcome.starting);
        invoice.set("ending_balance", outcome.ending);
        invoice["status_transitions"].set("finalized_at", now);
    });
    world.emit("invoice.finalized", &open, None);
    balance::set(world, draft.text("customer"), outcome.ending);
    open
}

/// Ties a payment intent to an invoice.
pub(crate) fn add_payment(world: &mut World, invoice: &Value, intent: &str) -> Value {
    let id = invoice.text("id");
    let mut payments = world
        .store
        .hidden(id, "payments")
        .as_array()
        .cloned()
        .unwrap_or_default();
    let payment = json!({
        "id": ids::new("inpay"), "object": "invoice_payment", "amount_paid": null,
        "amount_requested": invoice["amount_remaining"], "created": world.now(), "currency": invoice["currency"],
        "invoice": invoice["id"], "is_default": payments.is_empty(), "livemode": false,
        "payment": {"payment_intent": intent, "type": "payment_intent"}, "status": "open",
        "status_transitions": {"canceled_at": null, "paid_at": null},
    });
    payments.push(payment["id"].clone());
    world.store.hide(id, "payments", payments);
    world.store.hide(intent, "invoice", id);
    world.create(payment, None)
}

/// The open payment of an invoice, with its payment intent.
pub(crate) fn open_payment(world: &World, invoice: &str) -> Option<(String, String)> {
    let payments = world.store.hidden(invoice, "payments").as_array()?.iter();
    let mut payments = payments.filter_map(|id| world.store.get(id.as_str()?));
    let payment = payments.find(|row| row.text("status") == "open")?;
    Some((
        payment.text("id").to_owned(),
        payment["payment"].text("payment_intent").to_owned(),
    ))
}

/// The invoice that a payment intent pays.
pub(crate) fn invoice_of(world: &World, intent: &str) -> Option<String> {
    world
        .store
        .hidden(intent, "invoice")
        .as_str()
        .map(str::to_owned)
}

/// The payment intent of an open invoice, made if there is none, for what is still due.
pub(crate) fn intent_for(world: &mut World, invoice: &Value) -> String {
    let amount = invoice.int("amount_remaining");
    if let Some((_, intent)) = open_payment(world, invoice.text("id")) {
        ask_for_part(world, invoice.text("id"), amount);
        return intent;
    }
    let description = match invoice.text("billing_reason") {
        "subscription_create" => "Subscription creation",
        "manual" => "Payment for Invoice",
        _ => "Subscription update",
    };
    let new = NewIntent {
        amount,
        currency: invoice.text("currency"),
        customer: invoice.opt_text("customer"),
        data: &Value::Null,
        description: Some(description),
        kind: "card",
    };
    let intent = payments::new_intent(world, &new).text("id").to_owned();
    add_payment(world, invoice, &intent);
    intent
}

/// How an open invoice is to be paid.
#[derive(Default)]
pub(crate) struct Collect {
    /// Instead of the default payment method.
    pub method: Option<String>,
    /// Whether dunning follows a failure.
    pub automatic: bool,
}

/// Tries to collect an open invoice.
pub(crate) fn collect(world: &mut World, id: &str, how: &Collect) -> Result<Value, ApiError> {
    let invoice = world.store.copy(id);
    if invoice.int("amount_remaining") == 0 {
        return Ok(mark_paid(world, id, false));
    }
    let subscription = invoice["parent"]["subscription_details"]
        .opt_text("subscription")
        .map(str::to_owned);
    let intent = intent_for(world, &invoice);
    if world.store.copy(&intent).text("status") == "processing" {
        let message = "The payment of this invoice is processing.";
        return Err(ApiError::coded("payment_intent_unexpected_state", message));
    }
    let method = how.method.clone().or_else(|| {
        let owner = subscription
            .as_deref()
            .map_or_else(|| invoice.clone(), |id| world.store.copy(id));
        default_method(world, &owner)
    });
    world.change(id, |invoice| {
        let count = invoice.int("attempt_count") + 1;
        invoice.set("attempt_count", count);
        invoice.set("attempted", true);
    });
    let usable = method.and_then(|method| Some((of_method(world, &method)?, method)));
    let Some((instrument, method)) = usable else {
        dunning::payment_failed(world, id, how.automatic, false);
        let message = "There is no default_payment_method set on this Customer or Invoice. Please set a \
                       default_payment_method.";
        return Err(ApiError::invalid(message).param("payment_method"));
    };
    match payments::attempt(world, &intent, &method, instrument.off_session) {
        Attempt::Paid => Ok(mark_paid(world, id, false)),
        Attempt::Processing => Ok(world.store.copy(id)),
        Attempt::NeedsAction => {
            dunning::payment_failed(world, id, how.automatic, true);
            let message = "This payment requires additional user action before it can be completed successfully.";
            Err(ApiError::new(
                402,
                "card_error",
                Some("invoice_payment_intent_requires_action"),
                message,
            ))
        }
        Attempt::Failed(why) => {
            dunning::payment_failed(world, id, how.automatic, false);
            Err(payments::card_error(world, &intent, why))
        }
    }
}

/// Marks an invoice as paid, by Stripe or outside it.
pub(crate) fn mark_paid(world: &mut World, id: &str, off_stripe: bool) -> Value {
    let now = world.now();
    let payment = open_payment(world, id);
    let paid = world.change(id, |invoice| {
        let due = invoice["amount_due"].clone();
        invoice.set("status", "paid");
        invoice.set("amount_remaining", 0);
        invoice.set("next_payment_attempt", Value::Null);
        invoice.set("attempted", true);
        invoice.set("amount_paid", due.clone());
        invoice.set(
            "amount_paid_off_stripe",
            if off_stripe { due } else { 0.into() },
        );
        invoice["status_transitions"].set("paid_at", now);
    });
    world.emit("invoice.paid", &paid, None);
    if !off_stripe {
        world.emit("invoice.payment_succeeded", &paid, None);
    }
    if let Some((payment, intent)) = payment {
        if off_stripe {
            cancel_payment(world, &payment, &intent, "requested_by_customer");
        } else {
            payment_made(world, &payment);
        }
    }
    subscriptions::invoice_settled(world, &paid);
    world.store.copy(id)
}

fn payment_made(world: &mut World, payment: &str) -> Value {
    let now = world.now();
    let done = world.change(payment, |payment| {
        payment.set("status", "paid");
        let amount = payment["amount_requested"].clone();
        payment.set("amount_paid", amount);
        payment["status_transitions"].set("paid_at", now);
    });
    world.emit("invoice_payment.paid", &done, None);
    done
}

/// Asks the open payment of an invoice for so much of what is due.
pub(crate) fn ask_for_part(world: &mut World, invoice: &str, amount: i64) {
    let Some((payment, intent)) = open_payment(world, invoice) else {
        return;
    };
    world.change(&payment, |payment| payment.set("amount_requested", amount));
    world.change(&intent, |intent| intent.set("amount", amount));
}

/// Books a payment of a part: the invoice stays open for the rest.
pub(crate) fn part_paid(world: &mut World, id: &str) -> Value {
    let Some((payment, _)) = open_payment(world, id) else {
        return world.store.copy(id);
    };
    let amount = payment_made(world, &payment).int("amount_paid");
    world.update(id, "invoice.updated", |invoice| {
        let (paid, left) = (invoice.int("amount_paid"), invoice.int("amount_remaining"));
        invoice.set("amount_paid", paid + amount);
        invoice.set("amount_remaining", left - amount);
    })
}

/// Cancels the open payment of an invoice that needs none any more.
fn cancel_payment(world: &mut World, payment: &str, intent: &str, reason: &str) {
    let now = world.now();
    world.change(payment, |payment| {
        payment.set("status", "canceled");
        payment["status_transitions"].set("canceled_at", now);
    });
    cancel_intent(world, intent, reason);
}

/// Cancels a payment intent that is not at its end yet.
pub(super) fn cancel_intent(world: &mut World, intent: &str, reason: &str) {
    let now = world.now();
    if matches!(
        world.store.copy(intent).text("status"),
        "succeeded" | "canceled"
    ) {
        return;
    }
    let cancelled = world.change(intent, |pi| {
        pi.set("status", "canceled");
        pi.set("canceled_at", now);
        pi.set("cancellation_reason", reason);
        pi.set("next_action", Value::Null);
    });
    world.emit("payment_intent.canceled", &cancelled, None);
}

/// Voids an open or uncollectible invoice.
pub(crate) fn void(world: &mut World, id: &str) -> Value {
    let now = world.now();
    if let Some((payment, intent)) = open_payment(world, id) {
        cancel_payment(world, &payment, &intent, "void_invoice");
    }
    let voided = world.change(id, |invoice| {
        invoice.set("status", "void");
        invoice.set("next_payment_attempt", Value::Null);
        invoice["status_transitions"].set("voided_at", now);
    });
    world.emit("invoice.voided", &voided, None);
    balance::restore(world, &voided);
    voided
}

/// Gives an open invoice up.
pub(crate) fn mark_uncollectible(world: &mut World, id: &str, reason: &str) -> Value {
    let now = world.now();
    let given_up = world.change(id, |invoice| {
        invoice.set("status", "uncollectible");
        invoice.set("next_payment_attempt", Value::Null);
        invoice.set(
            "status_details",
            json!({"uncollectible": {"reason": reason}}),
        );
        invoice["status_transitions"].set("marked_uncollectible_at", now);
    });
    world.emit("invoice.marked_uncollectible", &given_up, None);
    subscriptions::invoice_settled(world, &given_up);
    given_up
}

/// The draft's hour is over: finalize and collect it, unless something says otherwise.
pub(crate) fn advance_draft(world: &mut World, id: &str) {
    let invoice = world.store.copy(id);
    if invoice.text("status") != "draft" || !invoice.flag("auto_advance") {
        return;
    }
    let refreshed = drafts::refresh(world, id);
    if world.settings.finalization_fails || terms::has_unknown_place(&refreshed) {
        let failed = world.change(id, |invoice| {
            let error = terms::unknown_place();
            let error = json!({"code": error.code(), "message": error.message(), "type": "invalid_request_error"});
            invoice.set("last_finalization_error", error);
        });
        world.emit("invoice.finalization_failed", &failed, None);
        return;
    }
    let subscription = invoice["parent"]["subscription_details"]
        .text("subscription")
        .to_owned();
    let behaviour = world.store.copy(&subscription)["pause_collection"]
        .text("behavior")
        .to_owned();
    let open = finalize(world, id);
    match behaviour.as_str() {
        "void" => {
            void(world, id);
        }
        "mark_uncollectible" => {
            mark_uncollectible(world, id, "subscription_paused");
        }
        _ if open.int("amount_due") > 0 && open.text("collection_method") == "send_invoice" => {
            send(world, &open);
        }
        _ => {
            // What fails is told by events and dunning; there is nobody to answer.
            let _ = collect(
                world,
                id,
                &Collect {
                    automatic: true,
                    ..Collect::default()
                },
            );
        }
    }
}

/// Sends an invoice that is paid by transfer or in cash.
pub(crate) fn send(world: &mut World, invoice: &Value) {
    world.emit("invoice.sent", invoice, None);
    if let Some(due) = invoice.opt_int("due_date") {
        world.plan(due, Task::InvoiceOverdue(invoice.text("id").to_owned()));
    }
}
