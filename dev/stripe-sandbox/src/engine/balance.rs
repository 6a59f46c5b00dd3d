//! The customer's balance: credit is negative, debt positive. Invoices use it up when they are finalized.
//!
//! <https://docs.stripe.com/billing/customer/balance>

use serde_json::Value;

use crate::world::World;
use crate::world::json::Json;

/// Less than this is not worth a charge: it is carried over to the next invoice.
const MINIMUM_CHARGE: i64 = 50;

/// What an invoice comes to.
pub(super) struct Outcome {
    /// What is charged.
    pub due: i64,
    /// The customer's balance before.
    pub starting: i64,
    /// The customer's balance after.
    pub ending: i64,
}

/// Total and balance together, where the balance takes part.
pub(super) fn outcome(world: &World, invoice: &Value, total: i64) -> Outcome {
    let starting = world.store.copy(invoice.text("customer")).int("balance");
    if is_apart(world, invoice.text("id")) {
        return Outcome {
            due: total,
            starting,
            ending: starting,
        };
    }
    let sum = total + starting;
    let is_charged = invoice.text("collection_method") == "charge_automatically";
    let too_little = sum <= 0 || (is_charged && sum < MINIMUM_CHARGE);
    Outcome {
        due: if too_little { 0 } else { sum },
        starting,
        ending: if too_little { sum } else { 0 },
    }
}

/// Leaves the balance out of an invoice: a checkout is paid in full before there is one.
pub(super) fn keep_apart(world: &mut World, invoice: &str) {
    world.store.hide(invoice, "balance_apart", true);
}

fn is_apart(world: &World, invoice: &str) -> bool {
    world.store.hidden(invoice, "balance_apart") == &Value::Bool(true)
}

/// Sets a customer's balance.
pub(super) fn set(world: &mut World, customer: &str, balance: i64) {
    if world
        .store
        .find("customer", customer)
        .is_some_and(|known| !known.flag("deleted"))
    {
        world.update(customer, "customer.updated", |object| {
            object.set("balance", balance);
        });
    }
}

/// Gives back what a void invoice had used up.
pub(super) fn restore(world: &mut World, invoice: &Value) {
    let Some(ending) = invoice.opt_int("ending_balance") else {
        return;
    };
    let customer = invoice.text("customer");
    let current = world.store.copy(customer).int("balance");
    set(
        world,
        customer,
        current + invoice.int("starting_balance") - ending,
    );
}
