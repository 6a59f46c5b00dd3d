//! What a member orders, and whether the catalogue allows it.

use aws_lc_rs::digest;
use serde::Serialize;

use super::catalogue::Offer;
use crate::domain::ids::{CheckoutId, SubscriptionId};
use crate::domain::plan::Quantity;
use crate::domain::subscription::Mode;
use crate::storage::checkouts::NewSubscription;
use crate::stripe::requests::checkout::{self, LinePrice, NewLine};

/// Most lines of a basket.
pub const MAX_LINES: usize = 10;

/// What she wants.
#[derive(Clone, Debug, Serialize)]
pub struct Order {
    /// The basket.
    pub lines: Vec<OrderLine>,
    /// ISO 4217; none takes the plans' own.
    pub currency: Option<String>,
    /// The language of Stripe's page; none lets the browser choose.
    pub locale: Option<String>,
}

/// One line of an order.
#[derive(Clone, Debug, Serialize)]
pub struct OrderLine {
    /// A plan's code.
    pub plan: String,
    /// How many; none is one.
    pub quantity: Option<u32>,
    /// Minor units, where the plan lets the buyer choose.
    pub amount: Option<i64>,
}

/// What is wrong with one field of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// As the client wrote it: `lines[0].plan`.
    pub field: String,
    /// For the client's code.
    pub code: &'static str,
    /// For the client's developer.
    pub detail: String,
}

/// A checked order.
pub(super) struct Chosen<'a> {
    pub lines: Vec<(&'a Offer, u32, Option<i64>)>,
    pub currency: String,
    pub mode: Mode,
}

/// What is wrong with an order, field by field.
#[derive(Default)]
struct Problems(Vec<Invalid>);

impl Problems {
    fn add(&mut self, field: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        let (field, detail) = (field.into(), detail.into());
        self.0.push(Invalid {
            field,
            code,
            detail,
        });
    }
}

/// Checks an order against the catalogue; every wrong field is named.
pub(super) fn choose<'a>(order: &Order, offers: &'a [Offer]) -> Result<Chosen<'a>, Vec<Invalid>> {
    let mut wrong = Problems::default();
    let mut lines: Vec<(&Offer, u32, Option<i64>)> = Vec::with_capacity(order.lines.len());
    if !(1..=MAX_LINES).contains(&order.lines.len()) {
        wrong.add(
            "lines",
            "out_of_range",
            format!("A basket has 1 to {MAX_LINES} lines."),
        );
    }
    for (index, line) in order.lines.iter().enumerate() {
        let field = |name| format!("lines[{index}].{name}");
        let Some(offer) = offers.iter().find(|offer| offer.plan.code == line.plan) else {
            wrong.add(
                field("plan"),
                "unknown_plan",
                "There is no plan with this code.",
            );
            continue;
        };
        if lines.iter().any(|(other, ..)| other.plan.code == line.plan) {
            wrong.add(
                field("plan"),
                "duplicate",
                "Each plan stands in a basket once; use quantity.",
            );
        }
        if offer.recurring.is_some() && lines.iter().any(|(other, ..)| other.recurring.is_some()) {
            wrong.add(
                field("plan"),
                "second_recurring",
                "A basket has at most one plan that renews.",
            );
        }
        let bounds = offer.plan.quantity;
        let quantity = line.quantity.unwrap_or(bounds.min);
        if !bounds.allows(quantity) {
            let Quantity { min, max, step, .. } = bounds;
            let steps = if step == 1 {
                String::new()
            } else {
                format!(" in steps of {step}")
            };
            wrong.add(
                field("quantity"),
                "out_of_range",
                format!("From {min} to {max}{steps} for this plan."),
            );
        }
        if let Some((code, detail)) = amount_problem(offer, line.amount) {
            wrong.add(field("amount"), code, detail);
        }
        lines.push((offer, quantity, line.amount));
    }
    if order
        .locale
        .as_deref()
        .is_some_and(|locale| !checkout::is_locale(locale))
    {
        wrong.add(
            "locale",
            "unknown_locale",
            "Stripe's page does not speak this language.",
        );
    }
    let own = || lines.first().map(|(offer, ..)| offer.currency.clone());
    let currency = order.currency.clone().or_else(own).unwrap_or_default();
    for (offer, ..) in lines
        .iter()
        .filter(|(offer, ..)| !offer.has_currency(&currency))
    {
        let detail = format!(
            "The plan {} can't be bought in this currency.",
            offer.plan.code
        );
        wrong.add("currency", "unavailable_currency", detail);
    }
    let recurring = lines.iter().any(|(offer, ..)| offer.recurring.is_some());
    let mode = if recurring {
        Mode::Subscription
    } else {
        Mode::Payment
    };
    if wrong.0.is_empty() {
        Ok(Chosen {
            lines,
            currency,
            mode,
        })
    } else {
        Err(wrong.0)
    }
}

/// What is wrong with the amount that a buyer chose, or did not choose.
fn amount_problem(offer: &Offer, amount: Option<i64>) -> Option<(&'static str, String)> {
    match (&offer.plan.amount, amount) {
        (None, Some(_)) => Some(("not_allowed", "The price of this plan is fixed.".into())),
        (Some(_), None) => Some((
            "required",
            "The buyer chooses the amount of this plan.".into(),
        )),
        (Some(bounds), Some(amount)) if !(bounds.min..=bounds.max).contains(&amount) => {
            let (min, max) = (bounds.min, bounds.max);
            Some((
                "out_of_range",
                format!("From {min} to {max} minor units for this plan."),
            ))
        }
        (None, None) | (Some(_), Some(_)) => None,
    }
}

pub(super) fn new_subscription(
    id: SubscriptionId,
    offer: &Offer,
    quantity: u32,
) -> NewSubscription<'_> {
    NewSubscription {
        id,
        plan: &offer.plan.code,
        kind: offer.plan.kind,
        // At most 999999: the catalogue was checked.
        quantity: i32::try_from(quantity).unwrap_or(i32::MAX),
        single: offer.plan.is_single(),
        upgrade_group: offer.plan.upgrade_group.as_deref(),
        adjustable: offer.plan.quantity.adjustable,
        recurring: offer.recurring.is_some(),
        term: offer.plan.term,
        stripe_price: &offer.price_id,
    }
}

pub(super) fn new_line(
    id: SubscriptionId,
    offer: &Offer,
    quantity: u32,
    amount: Option<i64>,
    currency: &str,
) -> NewLine {
    let price = match amount {
        None => LinePrice::Catalogue(offer.price_id.clone()),
        Some(unit_amount) => {
            let (product, currency) = (offer.product_id.clone(), currency.to_owned());
            LinePrice::Chosen {
                product,
                currency,
                unit_amount,
            }
        }
    };
    NewLine {
        subscription: id,
        recurring: offer.recurring.is_some(),
        price,
        quantity,
    }
}

/// Keyed by the checkout's id, so that equal orders of different people don't look equal in the database.
pub(super) fn request_hash(id: CheckoutId, order: &Order) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(id.0.as_bytes());
    // An order is strings and numbers; it can always be written as JSON.
    context.update(&serde_json::to_vec(order).unwrap_or_default());
    context.finish().as_ref().to_vec()
}
