//! What a member orders, and whether the catalogue allows it.

use aws_lc_rs::digest;
use time::OffsetDateTime;

use crate::catalogue::{OffSale, Offer};
use crate::domain::ids::{CheckoutId, SubscriptionId};
use crate::domain::invalid::Invalid;
use crate::domain::plan::{Kind, Plan};
use crate::domain::subscription::{Mode, Subscription};
use crate::stripe::requests::checkout::{self, LinePrice, NewLine};

/// Most lines of a basket.
pub const MAX_LINES: usize = 10;

/// What she wants.
#[derive(Clone, Debug)]
pub struct Order {
    /// The basket.
    pub lines: Vec<OrderLine>,
    /// ISO 4217; none takes the plans' own.
    pub currency: Option<String>,
    /// The language of Stripe's page; none lets the browser choose.
    pub locale: Option<String>,
    /// Where Stripe's page leads back to.
    pub back: Back,
}

/// Where Stripe's page leads back to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Back {
    /// To the return routes of our own API.
    #[default]
    Own,
    /// To those of the connector whose place we take.
    Connector,
}

/// One line of an order.
#[derive(Clone, Debug)]
pub struct OrderLine {
    /// A plan's code.
    pub plan: String,
    /// How many; none is one.
    pub quantity: Option<u32>,
    /// Minor units, where the plan lets the buyer choose.
    pub amount: Option<i64>,
}

/// A checked order.
pub(super) struct Chosen<'a> {
    pub lines: Vec<ChosenLine<'a>>,
    pub currency: String,
    pub mode: Mode,
}

/// A checked line of an order.
pub(super) struct ChosenLine<'a> {
    pub offer: &'a Offer,
    pub quantity: u32,
    /// Minor units, where the buyer chooses.
    pub amount: Option<i64>,
}

impl Chosen<'_> {
    /// Whether Stripe's page takes promotion codes: they reduce every line, so every plan must allow them.
    pub(super) fn promotion_codes(&self) -> bool {
        self.lines
            .iter()
            .all(|line| line.offer.plan.promotion_codes)
    }

    /// Whether nothing is bought.
    pub(super) fn is_donation(&self) -> bool {
        let mut kinds = self.lines.iter().map(|line| line.offer.plan.kind);
        kinds.all(|kind| kind == Kind::Donation)
    }

    /// The lines that require something of which the buyer neither holds anything nor buys another plan here.
    pub(super) fn unmet(&self, held: &[Kind]) -> Vec<Invalid> {
        let is_met = |index: usize, kind: Kind| {
            let mut others = self.lines.iter().enumerate().filter(|(at, _)| *at != index);
            held.contains(&kind) || others.any(|(_, line)| line.offer.plan.kind == kind)
        };
        let mut unmet = Problems::default();
        for (index, line) in self.lines.iter().enumerate() {
            if let Some(kind) = line
                .offer
                .plan
                .requires
                .filter(|kind| !is_met(index, *kind))
            {
                unmet.add(
                    format!("lines[{index}].plan"),
                    "requirement_unmet",
                    format!(
                        "This plan wants a live {} first, or in the same basket.",
                        kind.as_str()
                    ),
                );
            }
        }
        unmet.0
    }

    /// The line that starts with a trial for who never had its plan.
    fn on_trial(&self) -> Option<&Plan> {
        let mut plans = self.lines.iter().map(|line| &line.offer.plan);
        plans.find(|plan| plan.trial_days.is_some())
    }

    /// The days of its trial, for who never `had` the plan or another of its group.
    pub(super) fn trial_days(&self, had: bool) -> Option<u32> {
        self.on_trial()?.trial_days.filter(|_| !had)
    }
}

/// The plan of an order that starts with a trial, whether or not the order can be fulfilled.
pub(super) fn on_trial<'a>(order: &Order, offers: &'a [Offer]) -> Option<&'a Plan> {
    let mut plans = order.lines.iter().filter_map(|line| {
        let mut offers = offers.iter().map(|offer| &offer.plan);
        offers.find(|plan| plan.code == line.plan)
    });
    plans.find(|plan| plan.trial_days.is_some())
}

/// The lines of an order that ask for what is not sold for now.
pub(super) fn unavailable(order: &Order, off_sale: &[OffSale]) -> Vec<Invalid> {
    let lines = order.lines.iter().enumerate();
    let off = lines.filter(|(_, line)| off_sale.iter().any(|off| off.plan == line.plan));
    let named = off.map(|(index, _)| {
        let field = format!("lines[{index}].plan");
        Invalid::new(&field, "plan_unavailable", "It is not sold for now.")
    });
    named.collect()
}

/// What is wrong with an order, field by field.
#[derive(Default)]
struct Problems(Vec<Invalid>);

impl Problems {
    fn add(&mut self, field: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        self.0.push(Invalid::new(field, code, detail));
    }
}

/// Whether an order has so many lines as a basket can have: of more, each would cost a judgement, and a sentence in the
/// answer.
pub(super) fn count(order: &Order) -> Result<(), Vec<Invalid>> {
    if (1..=MAX_LINES).contains(&order.lines.len()) {
        return Ok(());
    }
    let detail = format!("A basket has 1 to {MAX_LINES} lines.");
    Err(vec![Invalid::new("lines", "out_of_range", detail)])
}

/// Checks an order against the catalogue; every wrong field is named.
///
/// Without a currency in the order the first of the member's own is taken in which every line is sold, else the first
/// plan's.
pub(super) fn choose<'a>(
    order: &Order,
    offers: &'a [Offer],
    members_own: &[String],
) -> Result<Chosen<'a>, Vec<Invalid>> {
    let mut wrong = Problems::default();
    let mut lines: Vec<ChosenLine> = Vec::with_capacity(order.lines.len());
    for (index, line) in order.lines.iter().enumerate() {
        let Some(offer) = offers.iter().find(|offer| offer.plan.code == line.plan) else {
            wrong.add(
                format!("lines[{index}].plan"),
                "unknown_plan",
                "There is no plan with this code.",
            );
            continue;
        };
        lines.push(wrong.line(index, line, offer, &lines));
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
    let currency = wrong.currency(order, &lines, members_own);
    let recurring = lines.iter().any(|line| line.offer.recurring.is_some());
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

impl Problems {
    fn line<'a>(
        &mut self,
        index: usize,
        line: &OrderLine,
        offer: &'a Offer,
        before: &[ChosenLine],
    ) -> ChosenLine<'a> {
        let field = |name| format!("lines[{index}].{name}");
        if before
            .iter()
            .any(|other| other.offer.plan.code == line.plan)
        {
            self.add(
                field("plan"),
                "duplicate",
                "Each plan stands in a basket once; use quantity.",
            );
        }
        if offer.recurring.is_some() && before.iter().any(|other| other.offer.recurring.is_some()) {
            self.add(
                field("plan"),
                "second_recurring",
                "A basket has at most one plan that renews.",
            );
        }
        let bounds = offer.plan.quantity;
        let quantity = line.quantity.unwrap_or(bounds.min);
        if !bounds.allows(quantity) {
            self.add(field("quantity"), "out_of_range", bounds.in_words());
        }
        if let Some((code, detail)) = amount_problem(offer, line.amount) {
            self.add(field("amount"), code, detail);
        }
        ChosenLine {
            offer,
            quantity,
            amount: line.amount,
        }
    }

    fn currency(&mut self, order: &Order, lines: &[ChosenLine], members_own: &[String]) -> String {
        let own = lines.first().map(|line| line.offer.currency.as_str());
        let sold_in =
            |currency: &&String| lines.iter().all(|line| line.offer.has_currency(currency));
        let habitual = members_own.iter().find(sold_in).map(String::as_str);
        let chosen = order.currency.as_deref().or(habitual).or(own);
        let currency = chosen.unwrap_or_default().to_owned();
        if order.currency.is_none()
            && Some(currency.as_str()) != own
            && lines.iter().any(|line| line.amount.is_some())
        {
            // 700 of which currency? Nobody may have to guess.
            let detail = format!(
                "The member pays in {currency}: say in which currency the chosen amount is."
            );
            self.add("currency", "required", detail);
        }
        for line in lines {
            if !line.offer.has_currency(&currency) {
                let detail = format!(
                    "The plan {} can't be bought in this currency.",
                    line.offer.plan.code
                );
                self.add("currency", "unavailable_currency", detail);
            }
        }
        currency
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

/// The line as it is recorded: nothing was told of it yet.
pub(super) fn new_subscription(
    id: SubscriptionId,
    line: &ChosenLine,
    now: OffsetDateTime,
) -> Subscription {
    let offer = line.offer;
    Subscription {
        // At most 999999: the catalogue was checked.
        quantity: i32::try_from(line.quantity).unwrap_or(i32::MAX),
        quantity_open: offer.plan.quantity.adjustable,
        ..Subscription::new(
            id,
            &offer.plan,
            &offer.price_id,
            offer.recurring.is_some(),
            now,
        )
    }
}

pub(super) fn new_line(id: SubscriptionId, line: &ChosenLine, currency: &str) -> NewLine {
    let (offer, bounds) = (line.offer, line.offer.plan.quantity);
    let price = match line.amount {
        None => LinePrice::Catalogue(offer.price_id.clone()),
        Some(unit_amount) => LinePrice::Chosen {
            product: offer.product_id.clone(),
            currency: currency.to_owned(),
            unit_amount,
            tax_behavior: offer.plan.tax_behavior,
        },
    };
    NewLine {
        subscription: id,
        recurring: offer.recurring.is_some(),
        price,
        quantity: line.quantity,
        adjustable: bounds.adjustable.then_some((bounds.min, bounds.max)),
    }
}

/// What tells a repeat from another order: the same lines in any order, the same currency and language. Keyed by the
/// checkout's id, so that equal orders of different people don't look equal in the database.
pub(super) fn request_hash(id: CheckoutId, order: &Order, chosen: &Chosen) -> Vec<u8> {
    let lines = chosen.lines.iter();
    let lines = lines.map(|line| (line.offer.plan.code.as_str(), line.quantity, line.amount));
    hash(id, order, lines.collect())
}

/// The same of an order that the catalogue does not know any more: where it doesn't say how many, it is one.
pub(super) fn hash_as_written(id: CheckoutId, order: &Order) -> Vec<u8> {
    let lines = order.lines.iter();
    let lines = lines.map(|line| (line.plan.as_str(), line.quantity.unwrap_or(1), line.amount));
    hash(id, order, lines.collect())
}

fn hash(id: CheckoutId, order: &Order, mut lines: Vec<(&str, u32, Option<i64>)>) -> Vec<u8> {
    lines.sort_unstable();
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(id.0.as_bytes());
    // Strings and numbers can always be written as JSON.
    let text = serde_json::to_vec(&(lines, &order.currency, &order.locale)).unwrap_or_default();
    context.update(&text);
    // A page that leads back elsewhere is another page; what was hashed before there was another way stays as it is.
    if order.back == Back::Connector {
        context.update(b"connector");
    }
    context.finish().as_ref().to_vec()
}
