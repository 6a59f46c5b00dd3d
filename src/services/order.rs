//! What a member orders, and whether the catalogue allows it.

use aws_lc_rs::digest;
use serde::Serialize;

use super::catalogue::Offer;
use crate::domain::ids::{CheckoutId, SubscriptionId};
use crate::domain::subscription::Mode;
use crate::storage::checkouts::NewSubscription;
use crate::stripe::requests::{self, LinePrice, NewLine};

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

/// Checks an order against the catalogue; every wrong field is named.
pub(super) fn choose<'a>(order: &Order, offers: &'a [Offer]) -> Result<Chosen<'a>, Vec<Invalid>> {
    let mut invalid = Vec::new();
    let mut wrong = |field: String, code, detail: String| {
        invalid.push(Invalid {
            field,
            code,
            detail,
        })
    };
    let mut lines: Vec<(&Offer, u32, Option<i64>)> = Vec::with_capacity(order.lines.len());
    if !(1..=MAX_LINES).contains(&order.lines.len()) {
        wrong(
            "lines".into(),
            "out_of_range",
            format!("A basket has 1 to {MAX_LINES} lines."),
        );
    }
    for (index, line) in order.lines.iter().enumerate() {
        let field = |name| format!("lines[{index}].{name}");
        let Some(offer) = offers.iter().find(|offer| offer.plan.code == line.plan) else {
            wrong(
                field("plan"),
                "unknown_plan",
                "There is no plan with this code.".into(),
            );
            continue;
        };
        if lines.iter().any(|(other, ..)| other.plan.code == line.plan) {
            wrong(
                field("plan"),
                "duplicate",
                "Each plan stands in a basket once; use quantity.".into(),
            );
        }
        if offer.recurring.is_some() && lines.iter().any(|(other, ..)| other.recurring.is_some()) {
            wrong(
                field("plan"),
                "second_recurring",
                "A basket has at most one plan that renews.".into(),
            );
        }
        let quantity = line.quantity.unwrap_or(1);
        if !(1..=offer.plan.max_quantity).contains(&quantity) {
            wrong(
                field("quantity"),
                "out_of_range",
                format!("From 1 to {} for this plan.", offer.plan.max_quantity),
            );
        }
        match (offer.plan.amount, line.amount) {
            (None, None) => {}
            (None, Some(_)) => wrong(
                field("amount"),
                "not_allowed",
                "The price of this plan is fixed.".into(),
            ),
            (Some(_), None) => {
                wrong(
                    field("amount"),
                    "required",
                    "The buyer chooses the amount of this plan.".into(),
                );
            }
            (Some(bounds), Some(amount)) if !(bounds.min..=bounds.max).contains(&amount) => {
                let detail = format!(
                    "From {} to {} minor units for this plan.",
                    bounds.min, bounds.max
                );
                wrong(field("amount"), "out_of_range", detail);
            }
            (Some(_), Some(_)) => {}
        }
        lines.push((offer, quantity, line.amount));
    }
    if order
        .locale
        .as_deref()
        .is_some_and(|locale| !requests::is_locale(locale))
    {
        wrong(
            "locale".into(),
            "unknown_locale",
            "Stripe's page does not speak this language.".into(),
        );
    }
    let asked = order
        .currency
        .as_ref()
        .map(|currency| currency.to_ascii_lowercase());
    let currency = asked
        .or_else(|| lines.first().map(|(offer, ..)| offer.currency.clone()))
        .unwrap_or_default();
    for (offer, ..) in lines
        .iter()
        .filter(|(offer, ..)| !offer.has_currency(&currency))
    {
        let detail = format!(
            "The plan {} can't be bought in this currency.",
            offer.plan.code
        );
        wrong("currency".into(), "unavailable_currency", detail);
    }
    let recurring = lines.iter().any(|(offer, ..)| offer.recurring.is_some());
    let mode = if recurring {
        Mode::Subscription
    } else {
        Mode::Payment
    };
    if invalid.is_empty() {
        Ok(Chosen {
            lines,
            currency,
            mode,
        })
    } else {
        Err(invalid)
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
