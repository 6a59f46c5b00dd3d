//! What a completed checkout brings about: subscription, invoices, links.

use serde_json::{Value, json};

use super::billing;
use super::buyer::Buyer;
use super::checkout::redirect_url;
use super::discounts;
use super::drafts::{self, Line, NewInvoice};
use super::subscriptions::{self, NewSubscription};
use super::terms;
use crate::world::World;
use crate::world::json::Json;

/// What the buyer and the session agreed on.
pub(crate) struct Deal {
    pub customer: Option<String>,
    /// None where the session collects one only if it is needed.
    pub method: Option<String>,
    /// None where nothing was due.
    pub intent: Option<String>,
    pub payment_status: &'static str,
    pub buyer: Buyer,
}

/// A session that the buyer has completed.
pub(crate) struct Completed {
    pub session: Value,
    pub redirect_url: String,
    /// The id of `checkout.session.completed`.
    pub event: String,
}

/// Completes a session whose payment went through, is under way, or is not needed.
pub(crate) fn complete(world: &mut World, id: &str, deal: &Deal) -> Completed {
    let session = world.store.copy(id);
    let mut links = json!({});
    if session.text("mode") == "subscription" {
        links = subscribe(world, &session, deal);
    } else if session["invoice_creation"].flag("enabled") {
        links.set("invoice", bill_once(world, &session, deal));
    }
    if let (Some(intent), "payment", "paid") =
        (&deal.intent, session.text("mode"), deal.payment_status)
    {
        settle_fee(world, intent);
    }
    if let Some(discount) = world.store.hidden(id, "choices").opt_text("discount") {
        let discount = discount.to_owned();
        world.change(&discount, |object| {
            object.set("customer", deal.customer.clone());
        });
        discounts::redeem(world, &discount);
    }
    let billing = &deal.buyer.billing;
    let done = world.change(id, |session| {
        session.set("status", "complete");
        session.set("payment_status", deal.payment_status);
        session.set("url", Value::Null);
        session.set("customer", deal.customer.clone());
        session.set("customer_details", json!({
            "address": billing["address"], "business_name": null, "email": billing["email"], "individual_name": null,
            "name": billing["name"], "phone": null, "tax_exempt": "none", "tax_ids": deal.buyer.tax_ids,
        }));
        session.set("consent", deal.buyer.consent.clone());
        for (key, value) in links.fields() {
            session.set(&key, value);
        }
    });
    let event = world.emit("checkout.session.completed", &done, None);
    Completed {
        redirect_url: redirect_url(&done),
        session: done,
        event,
    }
}

/// The fee of a one-off charge is known a moment later.
fn settle_fee(world: &mut World, intent: &str) {
    let charge = world
        .store
        .copy(world.store.copy(intent).text("latest_charge"));
    let previous = json!({"balance_transaction": null, "receipt_url": null}).fields();
    world.emit("charge.updated", &charge, Some(previous));
}

/// Creates the subscription of a paid session, with its first invoice.
fn subscribe(world: &mut World, session: &Value, deal: &Deal) -> Value {
    let customer = deal.customer.as_deref().unwrap_or_default();
    world.change(customer, |object| {
        object.set("currency", session["currency"].clone());
    });
    let id = session.text("id");
    let data = world.store.hidden(id, "subscription_data").clone();
    let lines = world
        .store
        .hidden(id, "line_items")
        .as_array()
        .cloned()
        .unwrap_or_default();
    let (recurring, once): (Vec<_>, Vec<_>) = lines
        .into_iter()
        .partition(|line| line["price"].text("type") == "recurring");
    let new = NewSubscription {
        customer,
        currency: session.text("currency"),
        items: recurring
            .iter()
            .map(|line| (line["price"].clone(), line.int("quantity")))
            .collect(),
        method: deal.method.as_deref(),
        data: &data,
        collection_method: "charge_automatically",
        days_until_due: None,
        status: "active",
    };
    let subscription = subscriptions::create(world, &new);
    let subscription_id = subscription.text("id").to_owned();
    if session["automatic_tax"].flag("enabled") {
        world.change(&subscription_id, |object| {
            object.set(
                "automatic_tax",
                json!({"disabled_reason": null, "enabled": true, "liability": {"type": "self"}}),
            );
        });
    }
    let discount = world.store.hidden(id, "choices").opt_text("discount");
    if let Some(discount) = discount.map(str::to_owned) {
        discounts::grant(world, &discount, &subscription_id, customer);
    }
    let subscription = world.store.copy(&subscription_id);
    let (start, end) = (world.now(), subscriptions::period_end(&subscription));
    let free = (subscription.text("status") == "trialing").then_some("Free trial for");
    let mut invoice_lines = subscriptions::lines(world, &subscription, (start, end), free);
    // What the session promised is what is billed: a trial costs nothing, a short first period less.
    for (line, promised) in invoice_lines.iter_mut().zip(&recurring) {
        line.amount = promised.int("amount_subtotal");
    }
    invoice_lines.extend(once.iter().map(|line| once_line(line, start)));
    let new = NewInvoice {
        customer,
        currency: session.text("currency"),
        subscription: Some(&subscription_id),
        reason: "subscription_create",
        lines: invoice_lines,
        period: (start, start),
        metadata: json!({}),
    };
    let draft = drafts::draft_of_checkout(world, &new, None);
    // The subscription is announced before its invoice, and names it.
    let subscription = world.store.copy(&subscription_id);
    world.emit("customer.subscription.created", &subscription, None);
    world.emit("invoice.created", &draft, None);
    let invoice = draft.text("id").to_owned();
    settle_first(world, &invoice, deal);
    json!({"subscription": subscription_id, "invoice": invoice})
}

/// Creates the invoice of a one-off session that asks for one.
fn bill_once(world: &mut World, session: &Value, deal: &Deal) -> Value {
    let lines = world
        .store
        .hidden(session.text("id"), "line_items")
        .as_array()
        .cloned()
        .unwrap_or_default();
    let now = world.now();
    let metadata = session["invoice_creation"]["invoice_data"]
        .get("metadata")
        .filter(|m| m.is_object())
        .cloned();
    let new = NewInvoice {
        customer: deal.customer.as_deref().unwrap_or_default(),
        currency: session.text("currency"),
        subscription: None,
        reason: "manual",
        lines: lines.iter().map(|line| once_line(line, now)).collect(),
        period: (now, now),
        metadata: metadata.unwrap_or_else(|| json!({})),
    };
    let terms = terms::of_session(world, session);
    let draft = drafts::draft_of_checkout(world, &new, Some(&terms));
    world.emit("invoice.created", &draft, None);
    let invoice = draft.text("id").to_owned();
    settle_first(world, &invoice, deal);
    invoice.into()
}

fn once_line(line: &Value, at: i64) -> Line {
    Line {
        price: line["price"].clone(),
        quantity: line.int("quantity"),
        amount: line.int("amount_subtotal"),
        description: line.text("description").to_owned(),
        period: (at, at),
        item: None,
        metadata: json!({}),
    }
}

/// Finalizes the invoice of a checkout, which was paid before it existed.
fn settle_first(world: &mut World, invoice: &str, deal: &Deal) {
    let open = billing::finalize(world, invoice);
    if let Some(intent) = &deal.intent {
        billing::add_payment(world, &open, intent);
    }
    world.change(invoice, |object| {
        object.set("attempted", true);
        object.set("attempt_count", i64::from(deal.intent.is_some()));
    });
    if deal.payment_status != "unpaid" {
        billing::mark_paid(world, invoice, false);
    }
}
