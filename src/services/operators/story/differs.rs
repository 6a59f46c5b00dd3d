//! Where Stripe and our rows say different things: "Stripe says: active. Ours: awaiting payment."

use super::sentences::{
    self, CHANGE_THE_PLAN, SYNC, dispute_word, our_status, page_word, refund_word, stripe_status,
};
use super::{Money, Text};
use crate::domain::subscription::{self, Status};
use crate::stripe::objects::{Subscription, time_of};

/// A subscription at Stripe, and what we make of its price.
pub(super) struct Theirs<'a> {
    pub(super) one: &'a Subscription,
    /// The code of the plan that has its price.
    pub(super) plan: Option<&'a str>,
    /// Whether something that Stripe told of it waits for a person.
    pub(super) is_flagged: bool,
}

/// What is not the same of a subscription, and what to do about it.
pub(super) fn subscription(
    line: &subscription::Subscription,
    theirs: &Theirs<'_>,
) -> Option<(Text, &'static str)> {
    let mut said = Vec::new();
    let mut advice = SYNC;
    let status = theirs.one.status.as_deref().unwrap_or_default();
    let held = line.stripe.map(|held| held.status.as_str());
    let is_over = matches!(status, "canceled" | "incomplete_expired");
    if held != Some(status) && !(is_over && line.status == Status::Ended) {
        let ours = our_status(line.status, line.reason);
        said.push((stripe_status(status).to_owned(), ours.to_owned()));
    }
    if let Some(price) = theirs.one.price_id() {
        match theirs.plan {
            Some(plan) if plan != line.plan => {
                said.push((
                    format!("the plan {plan}"),
                    format!("the plan {}", line.plan),
                ));
            }
            None if price != line.stripe_price || theirs.is_flagged => {
                said.push((
                    format!("the price {price}, which no plan has"),
                    format!("the plan {}", line.plan),
                ));
                advice = CHANGE_THE_PLAN;
            }
            _ => {}
        }
    }
    let quantity = theirs.one.item_quantity();
    if let Some(quantity) = quantity.filter(|quantity| *quantity != i64::from(line.quantity)) {
        said.push((
            format!("{quantity} of it"),
            format!("{} of it", line.quantity),
        ));
    }
    let ends = theirs.one.cancel_at_period_end || theirs.one.cancel_at.is_some();
    let ours_ends = line.stripe.is_some_and(|held| held.will_end());
    if ends != ours_ends && !is_over && line.status != Status::Ended {
        let word = |ends| {
            if ends {
                "it ends by itself"
            } else {
                "it goes on"
            }
        };
        said.push((word(ends).to_owned(), word(ours_ends).to_owned()));
    }
    let period = |at: Option<time::OffsetDateTime>| at.map(sentences::day);
    let (theirs_until, ours_until) = (
        period(theirs.one.period_end().and_then(time_of)),
        period(line.stripe.and_then(|held| held.current_period_end)),
    );
    if line.stripe.is_some() && theirs_until != ours_until && !is_over {
        let until = |day: Option<String>| {
            day.map_or("no date".to_owned(), |day| format!("billed until {day}"))
        };
        said.push((until(theirs_until), until(ours_until)));
    }
    if said.is_empty() {
        return None;
    }
    let join = |all: Vec<String>| all.join(", ");
    let (theirs, ours) = said.into_iter().unzip();
    Some((both(&join(theirs), &join(ours), []), advice))
}

/// What is not the same of a payment page and its checkout.
pub(super) fn page(theirs: &str, is_paid: bool, ours: &str) -> Option<Text> {
    let same = theirs == ours || (ours == "failed" && theirs == "expired");
    (!same).then(|| both(page_word(theirs, is_paid), page_word(ours, false), []))
}

/// Money that we have no row of.
pub(super) fn paid(money: Money) -> Text {
    both("¤ were paid", "no payment", [money])
}

/// A refund that we have no row of, or that stands differently.
pub(super) fn refund(money: Money, theirs: &str, ours: Option<&str>) -> Text {
    let theirs = format!("a refund of ¤, {}", refund_word(theirs));
    let ours = ours.map_or("no refund".to_owned(), |ours| {
        format!("the refund is {}", refund_word(ours))
    });
    both(&theirs, &ours, [money])
}

/// The same of a dispute.
pub(super) fn dispute(money: Money, theirs: &str, ours: Option<&str>) -> Text {
    let theirs = format!("a dispute over ¤, {}", dispute_word(theirs));
    let ours = ours.map_or("no dispute".to_owned(), |ours| {
        format!("the dispute is {}", dispute_word(ours))
    });
    both(&theirs, &ours, [money])
}

/// What Stripe does not have.
pub(super) fn gone() -> Text {
    both("there is no such thing in this account", "it is there", [])
}

fn both(theirs: &str, ours: &str, amounts: impl IntoIterator<Item = Money>) -> Text {
    Text::new(format!("Stripe says: {theirs}. Ours: {ours}."), amounts)
}
