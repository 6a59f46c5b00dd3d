//! Drafts of invoices: their lines, what they come to, and what they show.

use serde_json::{Value, json};

use super::terms::Terms;
use super::{balance, buyer, discounts, proration, terms};
use crate::world::World;
use crate::world::ids;
use crate::world::json::{Json, list};

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
