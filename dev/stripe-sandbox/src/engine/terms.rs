//! What makes an invoice cost other than the sum of its lines.

use serde_json::{Value, json};

use super::discounts;
use super::tax::{self, Tax};
use crate::world::World;
use crate::world::error::ApiError;
use crate::world::json::Json;

/// Taxes and discounts of an invoice.
pub(crate) struct Terms {
    /// Ids of discounts.
    discounts: Vec<String>,
    /// Whether tax is calculated.
    is_taxed: bool,
    /// Where the customer is.
    country: Option<String>,
}

/// What a subscription says about its invoices.
pub(crate) fn of_subscription(world: &World, subscription: &Value) -> Terms {
    let customer = world.store.copy(subscription.text("customer"));
    Terms {
        discounts: discounts::of_subscription(world, subscription),
        is_taxed: subscription["automatic_tax"].flag("enabled"),
        country: customer["address"].opt_text("country").map(str::to_owned),
    }
}

/// What a paid session says about the invoice that it asks for.
pub(crate) fn of_session(world: &World, session: &Value) -> Terms {
    let choices = world.store.hidden(session.text("id"), "choices");
    Terms {
        discounts: choices
            .opt_text("discount")
            .map(str::to_owned)
            .into_iter()
            .collect(),
        is_taxed: session["automatic_tax"].flag("enabled"),
        country: tax::country(world, session, choices),
    }
}

/// Applies terms to an invoice, also once more: a draft follows its customer until it is finalized.
pub(crate) fn apply(world: &mut World, invoice: &mut Value, terms: &Terms) {
    if !terms.is_taxed && terms.discounts.is_empty() {
        return;
    }
    let currency = invoice.text("currency").to_owned();
    let mut lines = invoice["lines"].items("data").to_vec();
    let off = take_off(world, invoice, &mut lines, &terms.discounts);
    let mut taxes: Vec<Tax> = vec![];
    // What the subtotal holds of tax, which is more than what remains of it after a discount.
    let mut held = 0;
    for line in &mut lines {
        let price = world
            .store
            .copy(line["pricing"]["price_details"].text("price"));
        let (amount, less) = (line.int("amount"), discount_of(line));
        let country = terms.country.as_deref().filter(|_| terms.is_taxed);
        let mut tax_on =
            |amount| country.map(|country| tax::on(world, country, (&price, &currency), amount));
        held += tax_on(amount)
            .filter(|tax| tax.inclusive)
            .map_or(0, |tax| tax.amount);
        let tax = tax_on(amount - less);
        line.set(
            "taxes",
            json!(tax.iter().map(Tax::of_invoice).collect::<Vec<_>>()),
        );
        taxes.extend(tax);
    }
    let subtotal: i64 = lines.iter().map(|line| line.int("amount")).sum();
    let on_top: i64 = taxes.iter().map(Tax::on_top).sum();
    let all: i64 = taxes.iter().map(|tax| tax.amount).sum();
    let total = subtotal - off + on_top;
    let sums: Vec<Value> = tax::summed(&taxes).iter().map(Tax::of_invoice).collect();
    invoice["lines"].set("data", lines);
    invoice.set("subtotal", subtotal);
    invoice.set("subtotal_excluding_tax", subtotal - held);
    invoice.set("total", total);
    invoice.set("total_excluding_tax", total - all);
    invoice.set("total_taxes", sums);
    let mut automatic = tax::automatic(terms.is_taxed, terms.country.is_some());
    automatic.set("disabled_reason", Value::Null);
    invoice.set("automatic_tax", automatic);
}

/// Takes discounts off lines, one after the other, and returns what they take off in all.
fn take_off(world: &World, invoice: &mut Value, lines: &mut [Value], discounts: &[String]) -> i64 {
    let mut sums = vec![];
    let mut of_lines: Vec<Vec<(&String, i64)>> = vec![vec![]; lines.len()];
    for id in discounts {
        let charges: Vec<(Value, i64)> = lines
            .iter()
            .zip(&of_lines)
            .map(|(line, taken)| {
                let price = world
                    .store
                    .copy(line["pricing"]["price_details"].text("price"));
                let taken: i64 = taken.iter().map(|(_, amount)| amount).sum();
                let is_left_alone = line.get("discountable") == Some(&Value::Bool(false));
                (
                    price,
                    if is_left_alone {
                        0
                    } else {
                        line.int("amount") - taken
                    },
                )
            })
            .collect();
        let shares = discounts::shares(world, id, &charges);
        let sum: i64 = shares.iter().sum();
        if sum > 0 {
            sums.push((id, sum));
        }
        for (taken, share) in of_lines.iter_mut().zip(shares) {
            if share > 0 {
                taken.push((id, share));
            }
        }
    }
    for (line, taken) in lines.iter_mut().zip(&of_lines) {
        line.set("discount_amounts", amounts(taken));
        line.set("pretax_credit_amounts", credits(taken));
    }
    invoice.set("discounts", discounts.to_vec());
    invoice.set("total_discount_amounts", amounts(&sums));
    invoice.set("total_pretax_credit_amounts", credits(&sums));
    sums.iter().map(|(_, amount)| amount).sum()
}

fn amounts(taken: &[(&String, i64)]) -> Vec<Value> {
    let taken = taken.iter();
    taken
        .map(|(id, amount)| json!({"amount": amount, "discount": id}))
        .collect()
}

fn credits(taken: &[(&String, i64)]) -> Vec<Value> {
    let taken = taken.iter();
    taken
        .map(|(id, amount)| {
            json!({"amount": amount, "credit_balance_transaction": null, "discount": id, "type": "discount"})
        })
        .collect()
}

/// What discounts take off a line.
fn discount_of(line: &Value) -> i64 {
    let taken = line.items("discount_amounts").iter();
    taken.map(|taken| taken.int("amount")).sum()
}

/// A line with what discounts leave of it.
pub(super) fn discounted(line: &Value) -> Value {
    let mut line = line.clone();
    let left = line.int("amount") - discount_of(&line);
    line.set("amount", left);
    line
}

/// Applies the terms of its subscription to a draft again, as they are now.
pub(super) fn renew(world: &mut World, invoice: &mut Value) {
    let subscription = invoice["parent"]["subscription_details"].text("subscription");
    let Some(subscription) = world.store.find("subscription", subscription).cloned() else {
        return;
    };
    let mut terms = of_subscription(world, &subscription);
    // The discounts are those that it was made with: one for once is used up by now.
    let discounts = invoice.items("discounts").iter();
    terms.discounts = discounts
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect();
    apply(world, invoice, &terms);
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

/// Whether the tax of a subscription can be told now.
///
/// # Errors
/// [`unknown_place`].
pub(super) fn check_place(world: &World, subscription: &str) -> Result<(), ApiError> {
    let terms = of_subscription(world, &world.store.copy(subscription));
    if terms.is_taxed && terms.country.is_none() {
        return Err(unknown_place());
    }
    Ok(())
}
