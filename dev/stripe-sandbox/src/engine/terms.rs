//! What makes an invoice cost other than the sum of its lines.

use serde_json::{Value, json};

use super::tax::{self, Tax};
use crate::error::ApiError;
use crate::json::Json;
use crate::world::World;

/// Taxes of an invoice.
pub(crate) struct Terms {
    /// Whether tax is calculated.
    is_taxed: bool,
    /// Where the customer is.
    country: Option<String>,
}

/// What a subscription says about its invoices.
pub(crate) fn of_subscription(world: &World, subscription: &Value) -> Terms {
    let customer = world.store.copy(subscription.text("customer"));
    Terms {
        is_taxed: subscription["automatic_tax"].flag("enabled"),
        country: customer["address"].opt_text("country").map(str::to_owned),
    }
}

/// What a paid session says about the invoice that it asks for.
pub(crate) fn of_session(world: &World, session: &Value) -> Terms {
    let choices = world.store.hidden(session.text("id"), "choices");
    Terms {
        is_taxed: session["automatic_tax"].flag("enabled"),
        country: tax::country(world, session, choices),
    }
}

/// Applies terms to an invoice, also once more: a draft follows its customer until it is finalized.
pub(crate) fn apply(world: &mut World, invoice: &mut Value, terms: &Terms) {
    if !terms.is_taxed {
        return;
    }
    let currency = invoice.text("currency").to_owned();
    let mut lines = invoice["lines"].items("data").to_vec();
    let mut taxes: Vec<Tax> = vec![];
    for line in &mut lines {
        let price = world
            .store
            .copy(line["pricing"]["price_details"].text("price"));
        let amount = line.int("amount");
        let tax = terms
            .country
            .as_deref()
            .map(|country| tax::on(world, country, (&price, &currency), amount));
        line.set(
            "taxes",
            json!(tax.iter().map(Tax::of_invoice).collect::<Vec<_>>()),
        );
        taxes.extend(tax);
    }
    let subtotal: i64 = lines.iter().map(|line| line.int("amount")).sum();
    let on_top: i64 = taxes.iter().map(Tax::on_top).sum();
    let all: i64 = taxes.iter().map(|tax| tax.amount).sum();
    let total = subtotal + on_top;
    let more = total - invoice.int("total");
    for key in ["amount_due", "amount_remaining"] {
        let due = (invoice.int(key) + more).max(0);
        invoice.set(key, due);
    }
    let sums: Vec<Value> = tax::summed(&taxes).iter().map(Tax::of_invoice).collect();
    invoice["lines"].set("data", lines);
    invoice.set("subtotal", subtotal);
    invoice.set("subtotal_excluding_tax", subtotal + on_top - all);
    invoice.set("total", total);
    invoice.set("total_excluding_tax", total - all);
    invoice.set("total_taxes", sums);
    let mut automatic = tax::automatic(terms.is_taxed, terms.country.is_some());
    automatic.set("disabled_reason", Value::Null);
    invoice.set("automatic_tax", automatic);
}

/// Applies the terms of its subscription to a draft again, as they are now.
pub(crate) fn refresh(world: &mut World, id: &str) -> Value {
    let mut invoice = world.store.copy(id);
    let subscription = invoice["parent"]["subscription_details"].text("subscription");
    let subscription = world.store.copy(subscription);
    let terms = of_subscription(world, &subscription);
    apply(world, &mut invoice, &terms);
    world.change(id, |object| *object = invoice)
}

/// Whether the tax of an invoice cannot be told, so that it cannot be finalized.
pub(crate) fn has_unknown_place(invoice: &Value) -> bool {
    invoice["automatic_tax"].text("status") == "requires_location_inputs"
}

/// Why an invoice cannot be finalized: nobody knows where its customer is.
pub(crate) fn unknown_place() -> ApiError {
    let message = "The customer's location isn't recognized. Set a valid customer address in order to automatically \
                   calculate tax.";
    ApiError::coded("customer_tax_location_invalid", message)
}
