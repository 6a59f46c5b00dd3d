//! What a session offers, what the buyer chose of it, and what that costs.

use serde_json::{Value, json};

use super::buyer;
use super::checkout::Payment;
use super::tax::{self, Tax};
use crate::error::ApiError;
use crate::json::Json;
use crate::world::World;

/// Keeps what a session offers; its lines are priced from that whenever the buyer chooses.
pub(crate) fn open(world: &mut World, id: &str, items: Vec<Value>) {
    world.store.hide(id, "offer", items);
    let priced = price(world, id, &json!({}));
    keep(world, id, &priced);
}

/// What a session costs with the choices of its buyer.
pub(crate) struct Priced {
    pub items: Vec<Value>,
    /// The tax on each line, where it is known.
    taxes: Vec<Tax>,
    pub subtotal: i64,
    pub total: i64,
}

impl Priced {
    /// All taxes, whether they are in the prices or on top.
    pub(crate) fn tax(&self) -> i64 {
        self.taxes.iter().map(|tax| tax.amount).sum()
    }

    /// Taxes by rate, as the breakdown of the totals shows them.
    pub(crate) fn taxes(&self) -> Vec<Value> {
        let sums = tax::summed(&self.taxes);
        sums.iter().map(Tax::of_session).collect()
    }
}

/// The lines as they were offered, in the order of the request.
pub(crate) fn offered(world: &World, id: &str) -> Vec<Value> {
    let offer = world.store.hidden(id, "offer");
    // A state that was saved before there were choices knows the lines only.
    let lines = offer
        .as_array()
        .or_else(|| world.store.hidden(id, "line_items").as_array());
    lines.cloned().unwrap_or_default()
}

/// Prices a session without changing it.
pub(crate) fn price(world: &mut World, id: &str, choices: &Value) -> Priced {
    let mut items = offered(world, id);
    for item in &mut items {
        if let (Some(amount), true) = (
            choices.opt_int("amount"),
            item["price"].has("custom_unit_amount"),
        ) {
            item.set("amount_subtotal", amount);
        }
        if let Some(quantity) = choices["quantities"].opt_int(item.text("id")) {
            // A trial or a short first period has its say in the amount already: it is scaled.
            let amount = item.int("amount_subtotal") * quantity / item.int("quantity").max(1);
            item.set("amount_subtotal", amount);
            item.set("quantity", quantity);
        }
    }
    let session = world.store.copy(id);
    let country =
        tax::country(world, &session, choices).filter(|_| session["automatic_tax"].flag("enabled"));
    let mut taxes = vec![];
    for item in &mut items {
        let amount = item.int("amount_subtotal");
        let tax = country.as_deref().map(|country| {
            tax::on(
                world,
                country,
                (&item["price"], session.text("currency")),
                amount,
            )
        });
        item.set("amount_tax", tax.as_ref().map_or(0, |tax| tax.amount));
        item.set("amount_total", amount + tax.as_ref().map_or(0, Tax::on_top));
        taxes.extend(tax);
    }
    let sum = |key: &str| items.iter().map(|item| item.int(key)).sum();
    let (subtotal, total) = (sum("amount_subtotal"), sum("amount_total"));
    Priced {
        items,
        taxes,
        subtotal,
        total,
    }
}

/// What a session costs as far as its buyer has said: where nothing is known, at home.
pub(crate) fn preview(world: &mut World, id: &str) -> Priced {
    let mut choices = world.store.hidden(id, "choices").clone();
    if choices.is_null() {
        choices = json!({});
    }
    tax::guess(&mut choices);
    price(world, id, &choices)
}

fn keep(world: &mut World, id: &str, priced: &Priced) {
    world.store.hide(id, "line_items", priced.items.clone());
    let mut taxes = priced.taxes.iter();
    for item in &priced.items {
        let of_item: Vec<Value> = taxes.next().iter().map(|tax| tax.of_session()).collect();
        world.store.hide(item.text("id"), "taxes", of_item);
    }
    let breakdown = json!({"discounts": [], "taxes": priced.taxes()});
    world.store.hide(id, "breakdown", breakdown);
    let (subtotal, total, tax) = (priced.subtotal, priced.total, priced.tax());
    let is_known = !priced.taxes.is_empty();
    world.change(id, |session| {
        session.set("amount_subtotal", subtotal);
        session.set("amount_total", total);
        session["total_details"].set("amount_tax", tax);
        let enabled = session["automatic_tax"].flag("enabled");
        session.set("automatic_tax", tax::automatic(enabled, is_known));
    });
    // The intent of an earlier try follows.
    if let Some(intent) = world.store.hidden(id, "intent").as_str().map(str::to_owned) {
        world.change(&intent, |object| object.set("amount", total));
    }
}

/// The choices of an earlier try, with those of this one.
///
/// # Errors
/// What the hosted page would tell the buyer: a 402 that names the field.
pub(crate) fn choices(world: &World, id: &str, payment: &Payment) -> Result<Value, ApiError> {
    let mut choices = world.store.hidden(id, "choices").clone();
    if choices.is_null() {
        choices = json!({"quantities": {}});
    }
    let session = world.store.copy(id);
    let customer = world.store.copy(session.text("customer"));
    choices.set("country", buyer::country(&customer, payment)?);
    let items = offered(world, id);
    for (name, quantity) in &payment.quantities {
        let item = name
            .parse()
            .ok()
            .and_then(|at: usize| items.get(at))
            .or_else(|| items.iter().find(|item| item.text("id") == name));
        let item =
            item.ok_or_else(|| refused("quantities", &format!("There is no line '{name}'.")))?;
        check_quantity(item, *quantity)?;
        choices["quantities"].set(item.text("id"), *quantity);
    }
    if let Some(item) = items
        .iter()
        .find(|item| item["price"].has("custom_unit_amount"))
    {
        let known = choices.opt_int("amount");
        let amount = donation(
            &item["price"]["custom_unit_amount"],
            payment.amount.or(known),
        )?;
        choices.set("amount", amount);
    }
    Ok(choices)
}

/// Prices a session as its buyer wants it, and keeps that.
///
/// # Errors
/// As [`choices`], and when what is left to pay is too little.
pub(crate) fn choose(world: &mut World, id: &str, payment: &Payment) -> Result<(), ApiError> {
    let choices = choices(world, id, payment)?;
    let priced = price(world, id, &choices);
    world.store.hide(id, "choices", choices);
    keep(world, id, &priced);
    Ok(())
}

fn check_quantity(item: &Value, quantity: i64) -> Result<(), ApiError> {
    let bounds = &item["adjustable_quantity"];
    if quantity == item.int("quantity") {
        return Ok(());
    }
    if !bounds.flag("enabled") {
        let message = format!("The quantity of '{}' is fixed.", item.text("description"));
        return Err(refused("quantities", &message));
    }
    // Nobody buys nothing: taking a line out of the basket is not modelled.
    let (least, most) = (bounds.int("minimum").max(1), bounds.int("maximum"));
    if (least..=most).contains(&quantity) {
        return Ok(());
    }
    let message = format!(
        "The quantity of '{}' must be between {least} and {most}.",
        item.text("description")
    );
    Err(refused("quantities", &message))
}

/// The amount that a donor chose, where the price leaves it open.
fn donation(open: &Value, chosen: Option<i64>) -> Result<i64, ApiError> {
    let Some(amount) = chosen.or(open.opt_int("preset")) else {
        return Err(refused("amount", "Please choose an amount."));
    };
    let (least, most) = (
        open.opt_int("minimum").unwrap_or(50),
        open.opt_int("maximum").unwrap_or(99_999_999),
    );
    if (least..=most).contains(&amount) {
        return Ok(amount);
    }
    let message = format!("The amount must be between {least} and {most}.");
    Err(refused("amount", &message))
}

/// What the buyer must put right before paying.
pub(crate) fn refused(field: &str, message: &str) -> ApiError {
    ApiError::new(402, "invalid_request_error", None, message).param(field)
}
