//! Invoices from draft to paid, void or uncollectible.

use serde_json::{Value, json};

use super::instruments::{default_method, of_method};
use super::payments::{self, Attempt, NewIntent};
use super::terms::Terms;
use super::{balance, buyer, discounts, dunning, proration, subscriptions, terms};
use crate::error::ApiError;
use crate::ids;
use crate::json::{Json, list};
use crate::world::{Task, World};

/// A draft stays open to changes for an hour.
pub(crate) const DRAFT_SECONDS: i64 = 3600;
/// How many lines an invoice shows; the others are on further pages.
const LINES_SHOWN: usize = 10;

/// One line of an invoice to be.
pub(crate) struct Line {
    pub price: Value,
    pub quantity: i64,
    pub amount: i64,
    pub description: String,
    pub period: (i64, i64),
    /// The subscription item that it bills; none for a one-off line.
    pub item: Option<String>,
    pub metadata: Value,
}

/// What an invoice is made of.
pub(crate) struct NewInvoice<'a> {
    pub customer: &'a str,
    pub currency: &'a str,
    pub subscription: Option<&'a str>,
    pub reason: &'static str,
    pub lines: Vec<Line>,
    pub period: (i64, i64),
    pub metadata: Value,
}

/// Creates a draft and announces it.
pub(crate) fn create(world: &mut World, new: &NewInvoice) -> Value {
    let draft = draft(world, new);
    world.emit("invoice.created", &draft, None);
    draft
}

/// Creates a draft that the caller announces, of what a checkout has charged: the customer's balance stays apart.
pub(super) fn draft_of_checkout(
    world: &mut World,
    new: &NewInvoice,
    terms: Option<&Terms>,
) -> Value {
    let id = ids::new("in");
    balance::keep_apart(world, &id);
    draft_as(world, &id, new, terms)
}

/// Creates a draft that the caller announces.
pub(crate) fn draft(world: &mut World, new: &NewInvoice) -> Value {
    draft_as(world, &ids::new("in"), new, None)
}

/// The terms are those of the subscription, where there is one.
fn draft_as(world: &mut World, id: &str, new: &NewInvoice, terms: Option<&Terms>) -> Value {
    let now = world.now();
    let customer = world.store.copy(new.customer);
    let subscription = new.subscription.map(|id| world.store.copy(id));
    let mut lines = new.subscription.map_or_else(Vec::new, |subscription| {
        proration::take(world, subscription, id)
    });
    let own = new.lines.iter();
    lines.extend(own.map(|line| line_object(id, new.currency, new.subscription, line)));
    let total: i64 = lines.iter().map(|line| line.int("amount")).sum();
    let sends = subscription
        .as_ref()
        .is_some_and(|s| s.text("collection_method") == "send_invoice");
    let due_date = subscription
        .as_ref()
        .filter(|_| sends)
        .map(|s| now + s.int("days_until_due") * 86_400);
    let parent = subscription.as_ref().map(|subscription| {
        json!({"quote_details": null, "type": "subscription_details", "subscription_details": {
            "metadata": subscription["metadata"], "subscription": subscription["id"]}})
    });
    let mut invoice = json!({
        "id": id, "object": "invoice", "account_country": "AT", "account_name": world.settings.organisation,
        "account_tax_ids": null, "amount_due": total, "amount_overpaid": 0, "amount_paid": 0,
        "amount_paid_off_stripe": 0, "amount_remaining": total, "amount_shipping": 0, "application": null,
        "attempt_count": 0, "attempted": false, "auto_advance": true,
        "automatic_tax": {"disabled_reason": null, "enabled": false, "liability": null, "provider": null, "status": null},
        "automatically_finalizes_at": null, "billing_reason": new.reason,
        "collection_method": if sends { "send_invoice" } else { "charge_automatically" },
        "created": now, "currency": new.currency, "custom_fields": null,
        "customer": new.customer, "customer_account": null, "customer_address": customer["address"],
        "customer_email": customer["email"], "customer_name": customer["name"], "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"], "customer_tax_exempt": "none", "customer_tax_ids": buyer::tax_ids_of(world, new.customer),
        "default_payment_method": null, "default_source": null, "default_tax_rates": [], "description": null,
        "discounts": [], "due_date": due_date, "effective_at": null, "ending_balance": null, "footer": null,
        "from_invoice": null, "hosted_invoice_url": null, "invoice_pdf": null,
        "issuer": {"type": "self"}, "last_finalization_error": null, "latest_revision": null,
        "lines": list(&format!("/v1/invoices/{id}/lines"), lines),
        "livemode": false, "metadata": new.metadata, "next_payment_attempt": null, "number": null,
        "on_behalf_of": null, "parent": parent,
        "payment_settings": {"default_mandate": null, "payment_method_options": null, "payment_method_types": null},
        "period_end": new.period.1, "period_start": new.period.0, "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0, "receipt_number": null, "rendering": null, "shipping_cost": null,
        "shipping_details": null, "starting_balance": 0, "statement_descriptor": null, "status": "draft",
        "status_details": null, "subtotal": total, "subtotal_excluding_tax": total, "test_clock": null,
        "threshold_reason": null, "total": total,
        "total_discount_amounts": [], "total_excluding_tax": total, "total_pretax_credit_amounts": [],
        "total_taxes": [], "webhooks_delivered_at": null,
    });
    invoice.set("status_transitions", json!({
        "finalized_at": null, "marked_uncollectible_at": null, "paid_at": null, "voided_at": null,
    }));
    let terms = match (&subscription, terms) {
        (Some(subscription), _) => Some(&terms::of_subscription(world, subscription)),
        (None, terms) => terms,
    };
    if let Some(terms) = terms {
        terms::apply(world, &mut invoice, terms);
    }
    if let Some(subscription) = new.subscription {
        let lines = invoice["lines"].items("data").iter();
        let net: Vec<Value> = lines.map(terms::discounted).collect();
        proration::note_debits(world, subscription, &net);
        discounts::use_up(world, subscription, &invoice);
    }
    reckon(world, &mut invoice);
    if let Some(subscription) = new.subscription {
        world.change(subscription, |object| {
            object.set("latest_invoice", id);
        });
    }
    world.create(invoice, None)
}

fn line_object(invoice: &str, currency: &str, subscription: Option<&str>, line: &Line) -> Value {
    let parent = match &line.item {
        Some(item) => json!({"invoice_item_details": null, "type": "subscription_item_details",
            "subscription_item_details": {"invoice_item": null, "proration": false,
                "proration_details": {"credited_items": null}, "subscription": subscription, "subscription_item": item}}),
        None => json!({"subscription_item_details": null, "type": "invoice_item_details",
            "invoice_item_details": {"invoice_item": ids::new("ii"), "proration": false,
                "proration_details": {"credited_items": null}, "subscription": subscription}}),
    };
    let unit = proration::unit_of(line.amount, line.quantity);
    json!({
        "id": ids::new("il"), "object": "line_item", "amount": line.amount, "currency": currency,
        "description": line.description, "discount_amounts": [], "discountable": true, "discounts": [],
        "invoice": invoice, "livemode": false, "metadata": line.metadata, "parent": parent,
        "period": {"start": line.period.0, "end": line.period.1}, "pretax_credit_amounts": [],
        "pricing": {"type": "price_details", "unit_amount_decimal": unit,
            "price_details": {"price": line.price["id"], "product": line.price["product"]}},
        "quantity": line.quantity, "quantity_decimal": line.quantity.to_string(), "subscription": subscription,
        "subtotal": line.amount, "taxes": [],
    })
}

/// All lines of an invoice, of which the object itself shows the first.
pub(crate) fn lines_of<'a>(world: &'a World, invoice: &'a Value) -> &'a [Value] {
    let all = world.store.hidden(invoice.text("id"), "lines").as_array();
    all.map_or_else(|| invoice["lines"].items("data"), Vec::as_slice)
}

/// Keeps all lines of an invoice that has more than it shows.
fn cut_lines(world: &mut World, invoice: &mut Value) {
    let lines = invoice["lines"].items("data");
    if lines.len() > LINES_SHOWN {
        let (all, shown) = (lines.to_vec(), lines[..LINES_SHOWN].to_vec());
        world.store.hide(invoice.text("id"), "lines", all);
        invoice["lines"].set("data", shown);
        invoice["lines"].set("has_more", true);
    }
}

/// What is due of the total once the customer's balance has its say, and which lines are shown.
fn reckon(world: &mut World, invoice: &mut Value) {
    let expected = balance::outcome(world, invoice, invoice.int("total"));
    for key in ["amount_due", "amount_remaining"] {
        invoice.set(key, expected.due);
    }
    invoice.set("starting_balance", expected.starting);
    cut_lines(world, invoice);
}

/// Reckons a draft again: until it is finalized, its taxes follow its customer.
pub(crate) fn refresh(world: &mut World, id: &str) -> Value {
    let mut invoice = world.store.copy(id);
    let all = lines_of(world, &invoice).to_vec();
    invoice["lines"].set("data", all);
    terms::renew(world, &mut invoice);
    reckon(world, &mut invoice);
    world.change(id, |object| *object = invoice)
}

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
    let payment = json!({
        "id": ids::new("inpay"), "object": "invoice_payment", "amount_paid": null, "amount_requested": invoice["amount_due"],
        "created": world.now(), "currency": invoice["currency"], "invoice": invoice["id"], "is_default": true,
        "livemode": false, "payment": {"payment_intent": intent, "type": "payment_intent"}, "status": "open",
        "status_transitions": {"canceled_at": null, "paid_at": null},
    });
    let id = invoice.text("id");
    let mut payments = world
        .store
        .hidden(id, "payments")
        .as_array()
        .cloned()
        .unwrap_or_default();
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
        world.change(&intent, |object| object.set("amount", amount));
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
            let done = world.change(&payment, |payment| {
                payment.set("status", "paid");
                let amount = payment["amount_requested"].clone();
                payment.set("amount_paid", amount);
                payment["status_transitions"].set("paid_at", now);
            });
            world.emit("invoice_payment.paid", &done, None);
        }
    }
    subscriptions::invoice_settled(world, &paid);
    world.store.copy(id)
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
    let refreshed = refresh(world, id);
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
