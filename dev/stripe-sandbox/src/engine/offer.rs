//! What a session offers, what the buyer chose of it, and what that costs.

use serde_json::{Value, json};

use super::buyer;
use super::checkout::Payment;
use super::discounts::{self, Grant};
use super::tax::{self, Tax};
use crate::world::World;
use crate::world::error::ApiError;
use crate::world::json::Json;

/// Keeps what a session offers; its lines are priced from that whenever the buyer chooses.
pub(crate) fn open(world: &mut World, id: &str, items: Vec<Value>, grant: Option<&Grant>) {
    world.store.hide(id, "offer", items);
    let mut choices = json!({"quantities": {}});
    if let Some(grant) = grant {
        let discount = discounts::create(world, id, grant);
        choices.set("discount", discount.as_str());
        world.store.hide(id, "fixed_discount", discount);
    }
    let priced = price(world, id, &choices);
    world.store.hide(id, "choices", choices);
    keep(world, id, &priced);
}

/// The discount that whoever made the session gave it.
pub(crate) fn fixed_grant(world: &World, id: &str) -> Option<Grant> {
    let discount = world.store.hidden(id, "fixed_discount").as_str()?;
    let discount = world.store.get(discount)?;
    Some(Grant {
        coupon: discount["source"].text("coupon").to_owned(),
        promotion_code: discount.opt_text("promotion_code").map(str::to_owned),
    })
}

/// What a session costs with the choices of its buyer.
pub(crate) struct Priced {
    pub items: Vec<Value>,
    /// The discount, as an object.
    pub discount: Option<Value>,
    /// The tax on each line, where it is known.
    taxes: Vec<Tax>,
    pub subtotal: i64,
    pub total: i64,
}

impl Priced {
    /// What the discount takes off.
    pub(crate) fn off(&self) -> i64 {
        let lines = self.items.iter();
        lines.map(|item| item.int("amount_discount")).sum()
    }

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
    let discount = choices.opt_text("discount");
    let charges: Vec<(Value, i64)> = items
        .iter()
        .map(|item| (item["price"].clone(), item.int("amount_subtotal")))
        .collect();
    let shares = discount.map(|id| discounts::shares(world, id, &charges));
    let mut taxes = vec![];
    for (at, item) in items.iter_mut().enumerate() {
        let off = shares.as_ref().map_or(0, |shares| shares[at]);
        item.set("amount_discount", off);
        let amount = item.int("amount_subtotal") - off;
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
        discount: discount.map(|id| world.store.copy(id)),
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
        let off = discounted(priced, item.int("amount_discount"));
        world.store.hide(item.text("id"), "discounts", off);
    }
    let off = priced.off();
    let breakdown = json!({"discounts": discounted(priced, off), "taxes": priced.taxes()});
    let shown: Vec<Value> = priced.discount.iter().map(shown_discount).collect();
    world.store.hide(id, "breakdown", breakdown);
    let (subtotal, total, tax) = (priced.subtotal, priced.total, priced.tax());
    let is_known = !priced.taxes.is_empty();
    world.change(id, |session| {
        session.set("amount_subtotal", subtotal);
        session.set("amount_total", total);
        session["total_details"].set("amount_tax", tax);
        session["total_details"].set("amount_discount", off);
        session.set("discounts", shown);
        let enabled = session["automatic_tax"].flag("enabled");
        session.set("automatic_tax", tax::automatic(enabled, is_known));
    });
    // The intent of an earlier try follows.
    if let Some(intent) = world.store.hidden(id, "intent").as_str().map(str::to_owned) {
        world.change(&intent, |object| object.set("amount", total));
    }
}

/// A discount with what it takes off, as lines and breakdowns show it; none where that is nothing.
fn discounted(priced: &Priced, amount: i64) -> Vec<Value> {
    let discount = priced.discount.iter().filter(|_| amount > 0);
    discount
        .map(|discount| json!({"amount": amount, "discount": discount}))
        .collect()
}

/// A discount as the session itself shows it: by what it was given as.
fn shown_discount(discount: &Value) -> Value {
    let code = discount.opt_text("promotion_code");
    let coupon = discount["source"].opt_text("coupon");
    json!({"coupon": coupon.filter(|_| code.is_none()), "promotion_code": code})
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
    let mut choices = choices(world, id, payment)?;
    choose_code(world, id, payment, &mut choices)?;
    let priced = price(world, id, &choices);
    let session = world.store.copy(id);
    if session.text("mode") == "payment" && (1..50).contains(&priced.total) {
        let message = "What is left to pay is less than the smallest amount that can be charged.";
        return Err(refused("amount", message));
    }
    world.store.hide(id, "choices", choices);
    keep(world, id, &priced);
    Ok(())
}

/// Redeems a promotion code for now, or takes that of an earlier try back; one that is redeemed must still be good.
fn choose_code(
    world: &mut World,
    id: &str,
    payment: &Payment,
    choices: &mut Value,
) -> Result<(), ApiError> {
    let session = world.store.copy(id);
    let subtotal = price(world, id, choices).subtotal;
    let known = world.store.copy(choices.text("discount"));
    let given = payment.promotion_code.as_deref().map(str::trim);
    let code = match given {
        None if known.has("promotion_code") => world.store.copy(known.text("promotion_code")),
        None => {
            let coupon = known["source"].opt_text("coupon");
            let flaw =
                coupon.and_then(|id| discounts::coupon_flaw(world, id, session.text("currency")));
            return flaw.map_or(Ok(()), |flaw| Err(refused("promotion_code", flaw)));
        }
        Some(_) if !session.flag("allow_promotion_codes") => {
            let message = "This session does not take promotion codes.";
            return Err(refused("promotion_code", message));
        }
        Some("") => {
            choices.set("discount", Value::Null);
            return Ok(());
        }
        Some(text) => discounts::find_code(world, text)
            .ok_or_else(|| refused("promotion_code", "This code is not valid."))?,
    };
    if let Some(flaw) = discounts::code_flaw(world, &code, &session, subtotal) {
        return Err(refused("promotion_code", flaw));
    }
    if known["promotion_code"] != code["id"] {
        let grant = Grant {
            coupon: code["promotion"].text("coupon").to_owned(),
            promotion_code: Some(code.text("id").to_owned()),
        };
        let discount = discounts::create(world, id, &grant);
        choices.set("discount", discount);
    }
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
