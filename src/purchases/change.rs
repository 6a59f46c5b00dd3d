//! Plan or quantity of what renews are changed at Stripe, or it is told what that would cost.

use time::{Duration, OffsetDateTime};

use super::line::{Line, Obstacle, WishError, is_alive};
use super::{Error, Purchases};
use crate::catalogue::Offer;
use crate::domain::actor::By;
use crate::domain::invalid::Invalid;
use crate::domain::subscription::{Reason, Status, Subscription};
use crate::settings::Proration;
use crate::storage::subscriptions;
use crate::stripe::declines;
use crate::stripe::objects::{Preview, SubscriptionItem, time_of};
use crate::stripe::requests::subscriptions::ItemChange;

/// How long the price of a preview can be had. A member who could choose the moment freely would choose the end of
/// the period for what costs more, and its beginning for what costs less.
const PREVIEW_LIFE: Duration = Duration::HOUR;
/// Clocks differ.
const TOLERANCE: Duration = Duration::MINUTE;

/// What a member wants changed: a plan, a quantity, or both.
#[derive(Clone, Debug, Default)]
pub struct ChangeWish {
    /// A plan's code; none keeps the plan.
    pub plan: Option<String>,
    /// How many; none keeps the quantity.
    pub quantity: Option<u32>,
    /// From when on the rest of the period is reckoned, as a preview said; none is now.
    pub proration_date: Option<OffsetDateTime>,
}

/// What a change would cost.
#[derive(Debug)]
pub struct ChangePreview {
    /// ISO 4217, lower case.
    pub currency: String,
    /// Minor units that are charged at once.
    pub due_now: i64,
    /// What makes up the invoice: the one that the change brings about at once, or else the next one.
    pub lines: Vec<ChangeLine>,
    /// When it renews after that.
    pub next_period_end: Option<OffsetDateTime>,
    /// To be sent with the change, so that it costs what the preview says.
    pub proration_date: OffsetDateTime,
}

/// A line of that invoice.
#[derive(Debug)]
pub struct ChangeLine {
    /// Written by Stripe for customers.
    pub description: Option<String>,
    /// Minor units; negative for a credit.
    pub amount: i64,
    /// Whether it is for a part of a period.
    pub proration: bool,
    /// What it is for.
    pub period: Option<(OffsetDateTime, OffsetDateTime)>,
}

/// A wish that was checked against what Stripe has now.
struct Prepared {
    line: Line,
    /// None: it is so already.
    change: Option<ItemChange>,
    currency: String,
    /// Stripe's time of its answer.
    at: OffsetDateTime,
    /// Whether the change starts a new period at once.
    restarts: bool,
}

/// What is to be billed after the change.
struct Target<'a> {
    offer: &'a Offer,
    /// `price_…`, if another plan is wanted.
    price: Option<&'a str>,
    quantity: u32,
}

impl Purchases {
    /// Changes what one of the member's subscriptions bills. If a payment is due at once and fails, nothing changes.
    pub(crate) async fn change(
        &self,
        line: Line,
        wish: &ChangeWish,
        by: &By,
    ) -> Result<Subscription, WishError> {
        is_changeable(&line.row)?;
        let stripe = line.at_stripe()?;
        let by = &by.clone().about(&stripe);
        let prepared = self.prepare(line, wish, by).await?;
        let Some(change) = prepared.change else {
            return Ok(prepared.line.row);
        };
        let answer = self.account.client.change_item(&stripe, &change).await;
        // She has no card or account at all; Stripe says it of no parameter.
        if let Err(error) = &answer
            && error.is_missing("")
        {
            let cause = declines::explain(None, Some("resource_missing"));
            return Err(WishError::PaymentFailed(cause));
        }
        let line = self.conclude(prepared.line, answer, by, |_| false).await?;
        Ok(line.row)
    }

    /// Says what a change would cost, without making it.
    pub(crate) async fn preview_change(
        &self,
        line: Line,
        wish: &ChangeWish,
        by: &By,
    ) -> Result<ChangePreview, WishError> {
        is_changeable(&line.row)?;
        let stripe = line.at_stripe()?;
        let by = &by.clone().about(&stripe);
        let prepared = self.prepare(line, wish, by).await?;
        let proration_date = wish.proration_date.unwrap_or(prepared.at);
        let Some(mut change) = prepared.change else {
            return Ok(ChangePreview {
                currency: prepared.currency,
                due_now: 0,
                lines: Vec::new(),
                next_period_end: prepared.line.row.current_period_end(),
                proration_date,
            });
        };
        if change.proration != Proration::None {
            change.at = Some(proration_date);
        }
        let preview = self
            .account
            .client
            .preview_change(&stripe, &change)
            .await?
            .body;
        // Any other preview is of the next invoice, which is due when the period ends.
        let line = &prepared.line.row;
        let at_once = line.reason != Reason::Trialing
            && (prepared.restarts || change.proration == Proration::AlwaysInvoice);
        let next_period_end = if at_once && prepared.restarts {
            new_period_end(&preview)
        } else {
            line.current_period_end()
        };
        Ok(ChangePreview {
            due_now: if at_once { preview.amount_due } else { 0 },
            next_period_end,
            proration_date,
            lines: lines(&preview),
            currency: preview.currency,
        })
    }

    /// Checks a wish against the catalogue, then against the subscription as Stripe has it now.
    async fn prepare(&self, line: Line, wish: &ChangeWish, by: &By) -> Result<Prepared, WishError> {
        let priced = self.catalogue.priced().await.map_err(Error::from)?;
        let offers = priced.offers;
        let is_off = |code: &String| priced.off_sale.iter().any(|off| off.plan == *code);
        if wish.plan.as_ref().is_some_and(is_off) {
            let off = Invalid::new("plan", "plan_unavailable", "It is not sold for now.");
            return Err(WishError::Unavailable(vec![off]));
        }
        let target = choose(&line.row, wish, &offers)?;
        self.check_requires(&line, target.offer).await?;
        let answer = self
            .account
            .client
            .retrieve_subscription(&line.at_stripe()?)
            .await?;
        let item = answer.body.item().cloned();
        let item = item.ok_or(Obstacle::NotChangeable)?;
        let currency = answer.body.currency.clone();
        let currency = currency.unwrap_or_else(|| target.offer.currency.clone());
        let at = answer.at;
        let line = self.take_answer(line, answer, by).await?;
        is_changeable(&line.row)?;
        // What Stripe says may differ from what our row said: the wish is for what she has now.
        let target = choose(&line.row, wish, &offers)?;
        if target.price.is_some() && !target.offer.has_currency(&currency) {
            let detail = "The plan is not sold in the subscription's currency.";
            return Err(wrong("plan", "unavailable_currency", detail));
        }
        // Stripe may have a quantity that our row can't.
        let at_stripe = item.quantity.unwrap_or(line.row.quantity.into());
        let is_new = target.price.is_some() || i64::from(target.quantity) != at_stripe;
        // A wish that was fulfilled may have begun a period that is younger than its preview.
        if is_new {
            check_date(wish.proration_date, at, &item)?;
        }
        let proration = self.settings.changes.proration;
        let change = is_new.then(|| ItemChange {
            item: item.id.clone(),
            price: target.price.map(str::to_owned),
            quantity: target.quantity,
            proration,
            at: wish.proration_date.filter(|_| proration != Proration::None),
        });
        Ok(Prepared {
            line,
            change,
            currency,
            at,
            restarts: target.price.is_some() && is_another_interval(&item, target.offer),
        })
    }

    /// Another plan may be for those alone who hold something else.
    async fn check_requires(&self, line: &Line, offer: &Offer) -> Result<(), WishError> {
        let Some(kind) = offer
            .plan
            .requires
            .filter(|_| offer.plan.code != line.row.plan)
        else {
            return Ok(());
        };
        let user = &line.basket.checkout.user;
        let held = subscriptions::find_in_force(&self.pool, user).await?;
        let now = self.clock.now();
        let holds = |other: &Subscription| {
            other.id != line.row.id && other.kind == kind && other.entitled(now)
        };
        if held.iter().any(holds) {
            return Ok(());
        }
        let detail = format!("Only for members who hold a {} already.", kind.as_str());
        let unmet = Invalid::new("plan", "requirement_unmet", detail);
        Err(WishError::RequirementUnmet(vec![unmet]))
    }
}

fn wrong(field: &str, code: &'static str, detail: impl Into<String>) -> WishError {
    WishError::Invalid(vec![Invalid::new(field, code, detail)])
}

/// Only what is in force, paid and going to renew.
fn is_changeable(line: &Subscription) -> Result<(), Obstacle> {
    if !line.recurring {
        return Err(Obstacle::NotChangeable);
    }
    is_alive(line)?;
    match (line.status, line.reason) {
        (Status::OnHold, _) => Err(Obstacle::OnHold),
        (Status::Cancelled, _) => Err(Obstacle::Cancelled),
        (_, Reason::PaymentRetrying) => Err(Obstacle::PaymentRetrying),
        _ => Ok(()),
    }
}

/// What a wish means for a line, if the catalogue allows it.
fn choose<'a>(
    line: &Subscription,
    wish: &ChangeWish,
    offers: &'a [Offer],
) -> Result<Target<'a>, WishError> {
    if wish.plan.is_none() && wish.quantity.is_none() {
        let detail = "Give a plan, a quantity, or both.";
        return Err(wrong("plan", "required", detail));
    }
    let find = |code: &str| offers.iter().find(|offer| offer.plan.code == code);
    let held = find(&line.plan);
    let offer = match &wish.plan {
        Some(code) => find(code)
            .ok_or_else(|| wrong("plan", "unknown_plan", "There is no plan with this code."))?,
        None => {
            held.ok_or_else(|| wrong("quantity", "not_allowed", "Its plan is no longer sold."))?
        }
    };
    let moves = offer.plan.code != line.plan;
    if moves {
        // The plans file may have got its groups after the purchase.
        let group = held.map_or(&line.upgrade_group, |held| &held.plan.upgrade_group);
        if group.is_none() || *group != offer.plan.upgrade_group || offer.recurring.is_none() {
            let detail = "Only to a plan of the same upgrade group.";
            return Err(wrong("plan", "other_upgrade_group", detail));
        }
        if offer.price_id == line.stripe_price {
            let detail = "It has the very price that is paid already.";
            return Err(wrong("plan", "same_price", detail));
        }
    }
    let kept = u32::try_from(line.quantity).unwrap_or_default();
    let quantity = wish.quantity.unwrap_or(kept);
    let bounds = offer.plan.quantity;
    if !bounds.allows(quantity) {
        return Err(wrong("quantity", "out_of_range", bounds.in_words()));
    }
    Ok(Target {
        offer,
        price: moves.then_some(offer.price_id.as_str()),
        quantity,
    })
}

fn check_date(
    wanted: Option<OffsetDateTime>,
    now: OffsetDateTime,
    item: &SubscriptionItem,
) -> Result<(), WishError> {
    let Some(wanted) = wanted else { return Ok(()) };
    let start = item.current_period_start.unwrap_or_default();
    let fits = (now - PREVIEW_LIFE..=now + TOLERANCE).contains(&wanted);
    if fits && wanted.unix_timestamp() >= start {
        return Ok(());
    }
    let detail = "Take it from a preview of the last hour.";
    Err(wrong("proration_date", "out_of_range", detail))
}

/// Stripe starts a new period at once when the interval changes.
fn is_another_interval(item: &SubscriptionItem, offer: &Offer) -> bool {
    let held = item.price.as_ref().and_then(|price| price.object());
    let held = held.and_then(|price| price.recurring.as_ref());
    held.zip(offer.recurring.as_ref())
        .is_some_and(|(held, new)| held.interval != new.unit || held.interval_count != new.count)
}

fn new_period_end(preview: &Preview) -> Option<OffsetDateTime> {
    let whole = preview
        .lines
        .data
        .iter()
        .filter(|line| !line.is_proration());
    let end = whole.filter_map(|line| Some(line.period?.end)).max()?;
    time_of(end)
}

fn lines(preview: &Preview) -> Vec<ChangeLine> {
    let lines = preview.lines.data.iter().map(|line| ChangeLine {
        description: line.description.clone(),
        amount: line.amount,
        proration: line.is_proration(),
        period: line
            .period
            .and_then(|period| time_of(period.start).zip(time_of(period.end))),
    });
    lines.collect()
}
