//! What a customer does on the page of an invoice: pay it, with the bank's check where there is one.

use serde_json::{Value, json};

use super::checkout::NotPaid;
use super::instruments::{self, Behaviour};
use super::payments::{self, Attempt};
use super::{billing, subscriptions};
use crate::world::World;
use crate::world::error::ApiError;
use crate::world::json::Json;

/// What the customer enters.
#[derive(Debug, Default, Clone, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Payment {
    /// A test card's number.
    pub card: Option<String>,
    /// A test account's IBAN.
    pub iban: Option<String>,
    /// Whether the bank's check is passed, where there is one.
    pub authenticate: Option<bool>,
    /// A part of what is due, in minor units; all of it when missing. Stripe's own page has no such field: parts come
    /// through its API.
    pub amount: Option<i64>,
}

/// Whether an invoice takes a payment from its customer.
pub(crate) fn is_payable(invoice: &Value) -> bool {
    matches!(invoice.text("status"), "open" | "uncollectible")
}

/// The status of the payment that is under way or was made, if there is one.
pub(crate) fn payment_status(world: &World, invoice: &str) -> Option<String> {
    let payments = world.store.hidden(invoice, "payments").as_array()?;
    let payment = world.store.get(payments.last()?.as_str()?)?;
    let intent = world.store.get(payment["payment"].text("payment_intent"))?;
    Some(intent.text("status").to_owned())
}

/// Pays an invoice with its customer present; returns it as it is then.
pub(crate) fn pay(world: &mut World, id: &str, payment: &Payment) -> Result<Value, NotPaid> {
    let invoice = world.require("invoice", id)?;
    let is_under_way = payment_status(world, id).as_deref() == Some("processing");
    if !is_payable(&invoice) || is_under_way {
        return Err(NotPaid::NotOpen(invoice));
    }
    let number = payment.iban.as_deref().or(payment.card.as_deref());
    let Some(instrument) = instruments::find(number.unwrap_or("4242424242424242")) else {
        let message = "Your card number is incorrect. (The sandbox takes Stripe's test cards and accounts only.)";
        let error = ApiError::new(402, "card_error", Some("incorrect_number"), message);
        return Err(error.param("number").into());
    };
    let customer = world.store.copy(invoice.text("customer"));
    let billing = json!({
        "address": address(&customer), "email": customer["email"], "name": customer["name"], "phone": customer["phone"],
        "tax_id": null,
    });
    let method = instruments::payment_method(world, instrument, &billing);
    let method = method.text("id").to_owned();
    let intent = billing::intent_for(world, &invoice);
    let due = invoice.int("amount_remaining");
    let part = payment.amount.filter(|amount| *amount != due);
    if let Some(amount) = part {
        if !(1..due).contains(&amount) {
            let message = format!("A part of {due} is from 1 to {}.", due - 1);
            return Err(ApiError::invalid(message).param("amount").into());
        }
        billing::ask_for_part(world, id, amount);
    }
    world.change(id, |object| {
        // A try of the customer's is the first one, but no step of the retry ladder.
        let count = object.int("attempt_count").max(1);
        object.set("attempt_count", count);
        object.set("attempted", true);
    });
    let behaviour = instrument
        .on_session
        .after_authentication(payment.authenticate);
    let is_kept = subscriptions::of_invoice(&invoice).is_some() && !customer.flag("deleted");
    if is_kept && matches!(behaviour, Behaviour::Pays | Behaviour::Debits { .. }) {
        instruments::attach(world, &method, customer.text("id"));
    }
    match payments::attempt(world, &intent, &method, behaviour) {
        Attempt::Paid if part.is_some() => Ok(billing::part_paid(world, id)),
        Attempt::Paid => Ok(billing::mark_paid(world, id, false)),
        Attempt::Processing => Ok(world.store.copy(id)),
        Attempt::NeedsAction => {
            let message = "This payment requires authentication before it can be completed.";
            let error = ApiError::new(402, "card_error", Some("authentication_required"), message);
            Err(error
                .with("payment_intent", world.store.copy(&intent))
                .into())
        }
        Attempt::Failed(why) => {
            let failed = world.store.copy(id);
            world.emit("invoice.payment_failed", &failed, None);
            Err(payments::card_error(world, &intent, why).into())
        }
    }
}

fn address(customer: &Value) -> Value {
    if customer["address"].is_object() {
        return customer["address"].clone();
    }
    json!({"city": null, "country": null, "line1": null, "line2": null, "postal_code": null, "state": null})
}
