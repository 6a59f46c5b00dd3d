//! Delayed debits: the money arrives days later, or does not.

use serde_json::Value;

use super::instruments::DEBIT_FAILED;
use super::{billing, dunning, payments};
use crate::world::error::ApiError;
use crate::world::json::Json;
use crate::world::{Task, World};

/// Settles a debit that is under way.
///
/// # Errors
/// When the payment intent is not `processing`.
pub(crate) fn settle(world: &mut World, intent: &str, succeeds: bool) -> Result<Value, ApiError> {
    let current = world.require("payment_intent", intent)?;
    if current.text("status") != "processing" {
        let message = format!(
            "The payment is '{}', not 'processing'.",
            current.text("status")
        );
        return Err(ApiError::coded("payment_intent_unexpected_state", message));
    }
    let charge = current.text("latest_charge").to_owned();
    let invoice = billing::invoice_of(world, intent);
    let mut sessions = world
        .store
        .ids_linked("checkout.session", intent, |session| {
            session.reference("payment_intent") == Some(intent)
        });
    if let Some(invoice) = &invoice {
        sessions.extend(
            world
                .store
                .ids_linked("checkout.session", invoice, |session| {
                    session.reference("invoice") == Some(invoice.as_str())
                }),
        );
    }
    if succeeds {
        payments::succeed(world, intent, &charge, current.text("payment_method"));
        if let Some(invoice) = &invoice {
            billing::mark_paid(world, invoice, false);
        }
        for session in &sessions {
            let paid = world.change(session, |object| object.set("payment_status", "paid"));
            world.emit("checkout.session.async_payment_succeeded", &paid, None);
        }
        if world.store.hidden(&charge, "dispute_reason").is_string() {
            world.plan(world.now(), Task::OpenDispute(charge));
        }
    } else {
        payments::fail_charge(world, intent, &charge, &DEBIT_FAILED);
        for session in &sessions {
            let failed = world.store.copy(session);
            world.emit("checkout.session.async_payment_failed", &failed, None);
        }
        match &invoice {
            // The first debit of a checkout: Stripe voids the invoice, and the subscription stays active.
            Some(invoice) if !sessions.is_empty() => {
                billing::void(world, invoice);
            }
            Some(invoice) => dunning::payment_failed(world, invoice, true, false),
            None => {}
        }
    }
    Ok(world.store.copy(intent))
}
