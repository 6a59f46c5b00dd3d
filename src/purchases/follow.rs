//! Which plan a subscription is on: the one whose price Stripe charges. Members change it here, in Stripe's portal or
//! through an operator; all three end in a snapshot with another price.

use time::OffsetDateTime;

use super::Purchases;
use crate::catalogue::Offer;
use crate::domain::actor::By;
use crate::domain::subscription::{Basket, Subscription};
use crate::storage::baskets::Draft;

/// Why a person should look, when a price belongs to no plan.
pub(crate) const UNKNOWN_PRICE: &str =
    "the subscription at Stripe is on a price that no plan has: the plan stays as it was";
/// Why a person should look, when the plan can't be taken over.
pub(crate) const HELD_ALREADY: &str = "the subscription at Stripe is on the price of a plan that the member holds \
     already: the plan stays as it was";

/// What another price at Stripe made of a line's plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    /// The price is the same, or belongs to a plan: the line is on it.
    Fine,
    /// No plan has that price: the line keeps its plan.
    Unknown,
    /// The plans' prices are not known, or older than what was said: nothing was taken over, so that the next look sees
    /// it again.
    Later,
}

/// By what it is judged which plan has a price.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judging {
    /// When Stripe told the price: only prices that are newer can tell that no plan has it.
    pub at: OffsetDateTime,
    /// Whether the prices were read since.
    pub prices_are_newer: bool,
    /// Whether also a price that is the same as before is judged: its plan may have been learnt since. Not for every
    /// webhook: what can't be followed would be flagged by each.
    pub again: bool,
}

impl Purchases {
    /// Lets the recurring line's plan follow its price.
    pub(crate) fn follow_price(
        &self,
        before: &Basket,
        after: &mut Basket,
        judging: Judging,
    ) -> Followed {
        let held = before.recurring().map(|line| line.stripe_price.clone());
        let Some(line) = after.lines.iter_mut().find(|line| line.recurring) else {
            return Followed::Fine;
        };
        let priced = self.catalogue.current().held();
        let offers = priced.as_ref().map_or(&[][..], |priced| &priced.offers);
        let held = held.filter(|held| *held != line.stripe_price);
        if held.is_none() && !judging.again {
            return Followed::Fine;
        }
        if let Some(offer) = plan_of(line, offers) {
            move_to(line, offer);
            return Followed::Fine;
        }
        // A price that was sold before, and is kept by who has it, is nobody's any more.
        let Some(held) = held else {
            return Followed::Fine;
        };
        let newer = priced.is_some_and(|priced| priced.are_newer_than(judging.at));
        if newer || judging.prices_are_newer {
            return Followed::Unknown;
        }
        line.stripe_price = held;
        Followed::Later
    }
}

/// The plan with the line's price; of several the one that it is on already, else one of its upgrade group, else the
/// first.
fn plan_of<'a>(line: &Subscription, offers: &'a [Offer]) -> Option<&'a Offer> {
    let with_price = || {
        offers
            .iter()
            .filter(|offer| offer.recurring.is_some() && offer.price_id == line.stripe_price)
    };
    with_price()
        .find(|offer| offer.plan.code == line.plan)
        .or_else(|| {
            let group = line.upgrade_group.as_ref()?;
            with_price().find(|offer| offer.plan.upgrade_group.as_ref() == Some(group))
        })
        .or_else(|| with_price().next())
}

fn move_to(line: &mut Subscription, offer: &Offer) {
    let plan = &offer.plan;
    line.plan.clone_from(&plan.code);
    line.kind = plan.kind;
    line.single = plan.is_single();
    line.upgrade_group.clone_from(&plan.upgrade_group);
}

/// Takes a change of plan back, in a draft of what one source said; price and quantity are facts and stay.
pub(crate) fn keep_plans(draft: &mut Draft, by: &By, now: OffsetDateTime) {
    let before = draft.before.clone();
    for (before, after) in before.lines.iter().zip(&mut draft.after.lines) {
        after.plan.clone_from(&before.plan);
        after.kind = before.kind;
        after.single = before.single;
        after.upgrade_group.clone_from(&before.upgrade_group);
    }
    draft.changes.clear();
    draft.feed.clear();
    draft.note(&before, by, now);
}
