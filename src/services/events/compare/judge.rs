//! What differs: a checkout as our rows have it, and as Stripe's objects alone would have it.

use std::time::Instant;

use serde::Serialize;
use uuid::Uuid;

use super::super::Events;
use super::LIVE;
use crate::domain::actor::By;
use crate::domain::facts::{Fact, Observation, Subject, Transaction, TransactionKind};
use crate::domain::ids::{CheckoutId, SubscriptionId};
use crate::domain::lifecycle::{self, Merged};
use crate::domain::subscription::{Basket, Mode, SessionStatus, Status, Subscription};
use crate::purchases::{Error, Followed, Judging, Knowing, Left, MAX_TRIES};
use crate::storage::baskets::{self, Draft};
use crate::storage::{differing, transactions};
use crate::stripe::objects::id_of;
use crate::stripe::observe::{News, Unknown};

/// A line that isn't what Stripe's objects give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// Ours.
    pub subscription_id: String,
    /// The plan's code.
    pub plan: String,
    /// In which direction.
    pub direction: Direction,
    /// What our row says.
    pub ours: &'static str,
    /// What Stripe's objects give.
    pub stripe: &'static str,
    /// What differs: `status`, `plan`, `price`, `quantity`, `paid_until`, `period`, `cancellation`, `end`, `payment`,
    /// `refund`, `dispute`.
    pub differs: Vec<&'static str>,
    /// The plan whose price Stripe charges, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stripe_plan: Option<String>,
    /// `price_…` that Stripe charges, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stripe_price: Option<String>,
    /// How many Stripe charges, where that is another number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stripe_quantity: Option<i32>,
    /// Why a person should look, where nothing that can be written makes up for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flag: Option<&'static str>,
    /// Whether it was mended.
    pub mended: bool,
}

/// Whether what Stripe says is written, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writes<'a> {
    /// It is only told.
    No,
    /// As a comparison.
    Yes,
    /// As somebody's act.
    By(&'a By),
}

impl From<bool> for Writes<'_> {
    fn from(apply: bool) -> Self {
        if apply { Self::Yes } else { Self::No }
    }
}

/// In which direction our rows and Stripe have drifted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Paid at Stripe and not in force here.
    PaidNotActive,
    /// In force here and not paid at Stripe.
    ActiveNotPaid,
    /// Anything else.
    Other,
}

impl Direction {
    /// The label in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PaidNotActive => "paid_not_active",
            Self::ActiveNotPaid => "active_not_paid",
            Self::Other => "other",
        }
    }

    /// What the list of what differs calls it; it holds only who paid without having, or has without paying.
    pub(super) fn in_the_list(self) -> Option<&'static str> {
        match self {
            Self::PaidNotActive => Some("paid_not_here"),
            Self::ActiveNotPaid => Some("here_not_paid"),
            Self::Other => None,
        }
    }
}

/// Forgets what a subscription at Stripe tells anew. Whether it was ever paid it does not tell.
pub(super) fn by_subscription(basket: &mut Basket) {
    for line in basket.lines.iter_mut().filter(|line| line.recurring) {
        line.stripe = None;
        line.ended_at = None;
    }
}

/// Forgets what a session tells anew.
pub(super) fn by_session(basket: &mut Basket) {
    // What was adopted has no session that would tell it.
    if basket.checkout.mode != Mode::Adopted {
        basket.checkout.status = SessionStatus::Open;
    }
    for line in &mut basket.lines {
        line.first_paid_at = None;
        line.payment_failed_at = None;
    }
}

/// Forgets all of our own facts that come from Stripe, but for refunds and disputes.
fn all(basket: &mut Basket) {
    by_subscription(basket);
    by_session(basket);
    for line in &mut basket.lines {
        line.last_paid_at = None;
        line.paid_period = None;
    }
}

impl Events {
    /// Whether a page says nothing else than our rows. What was never paid is always read for itself.
    pub(super) fn agrees(
        &self,
        ours: &Basket,
        said: &Observation,
        forget: fn(&mut Basket),
    ) -> bool {
        let pending = |line: &Subscription| {
            matches!(
                line.status,
                Status::PendingActivation | Status::PendingCompletion
            )
        };
        let is_by_subscription = said.subject.session.is_none();
        if is_by_subscription && ours.lines.iter().any(pending) || said.subject.check(ours).is_err()
        {
            return false;
        }
        let mut theirs = ours.clone();
        forget(&mut theirs);
        let merged = self.merge_said(ours, &mut theirs, said);
        let judging = Judging {
            at: said.at,
            prices_are_newer: false,
            again: true,
        };
        let followed = self.purchases.follow_price(ours, &mut theirs, judging);
        let lines = ours.lines.iter().zip(&theirs.lines);
        merged.flag.is_none() && followed == Followed::Fine && { lines }
            .all(|(ours, theirs)| differences(ours, theirs).is_empty())
    }

    /// Merges what Stripe says into a basket that has forgotten it. What was begun without a payment tells no time of its
    /// own: then ours is right, and not that of today's reading.
    fn merge_said(&self, ours: &Basket, theirs: &mut Basket, said: &Observation) -> Merged {
        let (rules, now) = (self.purchases.rules(), self.clock.now());
        let merged = lifecycle::merge(theirs, said, rules, now);
        for (theirs, ours) in theirs.lines.iter_mut().zip(&ours.lines) {
            let both = theirs.first_paid_at.zip(ours.first_paid_at);
            theirs.first_paid_at = both
                .map(|(one, other)| one.min(other))
                .or(theirs.first_paid_at);
        }
        let nothing = Observation {
            facts: Vec::new(),
            ..said.clone()
        };
        lifecycle::merge(theirs, &nothing, rules, now);
        merged
    }

    /// Compares one checkout, and what came of its payments, with all that Stripe says; with `by` our rows take it over.
    pub(in crate::services) async fn sync(
        &self,
        basket: &Basket,
        by: Option<&By>,
    ) -> Result<Vec<Drift>, Error> {
        let writes = match by {
            Some(by) => Writes::By(by),
            None => Writes::No,
        };
        let mut drift = self.compare_checkout(basket.checkout.id, writes).await?;
        if by.is_some() {
            let lines: Vec<Uuid> = basket.lines.iter().map(|line| line.id.0).collect();
            differing::delete(&self.pool, &lines).await?;
        }
        let Some(customer) = &basket.checkout.stripe_customer else {
            return Ok(drift);
        };
        // Of a hundred payments few ever went back, and one call tells which.
        let now = self.clock.now();
        let charges = self
            .account
            .client
            .list_charges(customer, now, None)
            .await?;
        let went_back = charges
            .body
            .data
            .iter()
            .filter(|charge| charge.ever_went_back());
        for payment in went_back.filter_map(|charge| id_of(charge.payment_intent.as_ref())) {
            let found = self.purchases.find_one(&Subject::payment(&payment)).await?;
            if let Some(own) = found.filter(|found| found.checkout.id == basket.checkout.id) {
                drift.extend(self.compare_payment(&own, &payment, writes).await?);
            }
        }
        Ok(drift)
    }

    /// Compares one checkout with all that Stripe says of it, object by object.
    pub(super) async fn compare_checkout(
        &self,
        id: CheckoutId,
        writes: Writes<'_>,
    ) -> Result<Vec<Drift>, Error> {
        let apply = writes != Writes::No;
        for _ in 0..MAX_TRIES {
            let Some(ours) = baskets::find_by_id(&self.pool, id).await? else {
                return Ok(Vec::new());
            };
            let Some((theirs, money, flag)) = self.according_to_stripe(&ours).await? else {
                return Ok(Vec::new());
            };
            let by = match writes {
                Writes::By(by) => by.clone(),
                Writes::No | Writes::Yes => teller(&ours),
            };
            let mut mended = Draft::of(ours);
            mended.after = self.with_plan(&mended.before, theirs).await?;
            mended.transactions = money;
            let drift = drifts(&mended, flag, apply);
            if !drift.is_empty() && apply {
                let before = mended.before.clone();
                mended.note(&before, &by, self.clock.now());
                let left = Left {
                    flag,
                    ..Left::default()
                };
                if self.purchases.store(mended, left, &by).await?.is_none() {
                    continue;
                }
            }
            return Ok(drift);
        }
        Err(Error::Contended)
    }

    /// Compares what came of one payment: its refunds and disputes.
    pub(super) async fn compare_payment(
        &self,
        basket: &Basket,
        id: &str,
        writes: Writes<'_>,
    ) -> Result<Vec<Drift>, Error> {
        let apply = writes != Writes::No;
        let mut ours = basket.clone();
        for _ in 0..MAX_TRIES {
            let (said, unnamed) = self.purchases.observe_payment(&ours, id).await?;
            let by = match writes {
                Writes::By(by) => by.clone(),
                Writes::No | Writes::Yes => By::reconcile().about(id),
            };
            let mut draft = Draft::of(ours.clone());
            let mut left = self
                .purchases
                .merge(&mut draft, &said, &by, Knowing::More)?;
            let lines: Vec<SubscriptionId> = ours.lines.iter().map(|line| line.id).collect();
            let recorded = transactions::find_recorded(&self.pool, &lines).await?;
            let is_recorded = |line: SubscriptionId, told: &Transaction| {
                let state = match told.kind {
                    TransactionKind::Refund(progress) => Some(progress.as_str()),
                    TransactionKind::Payment | TransactionKind::PaymentFailed => None,
                };
                recorded.iter().any(|(id, kind, reference, held)| {
                    *id == line.0
                        && kind == told.kind.as_str()
                        && *reference == told.reference
                        && held.as_deref() == state
                })
            };
            draft
                .transactions
                .retain(|(line, told)| !is_recorded(*line, told));
            if draft.is_idle() {
                return Ok(Vec::new());
            }
            left.flag = left.flag.or(unnamed.filter(|_| ours.lines.len() > 1));
            let found = drifts(&draft, None, apply);
            if apply && self.purchases.store(draft, left, &by).await?.is_none() {
                let newer = self.purchases.find_one(&Subject::payment(id)).await?;
                let Some(newer) = newer else { break };
                ours = newer;
                continue;
            }
            return Ok(found);
        }
        Err(Error::Contended)
    }

    /// The same with the plan that its price belongs to.
    async fn with_plan(&self, ours: &Basket, theirs: Basket) -> Result<Basket, Error> {
        let read = Instant::now();
        let mut judging = Judging {
            at: self.clock.now(),
            prices_are_newer: false,
            again: true,
        };
        let mut followed = theirs.clone();
        if self.purchases.follow_price(ours, &mut followed, judging) == Followed::Later {
            self.purchases.catalogue.read_prices(read).await?;
            judging.prices_are_newer = true;
            followed = theirs;
            self.purchases.follow_price(ours, &mut followed, judging);
        }
        Ok(followed)
    }

    /// The basket as its objects at Stripe alone would have it: our own facts that come from Stripe are forgotten
    /// first, but for refunds and disputes. With the payments that go with it, and why a person should look, if one
    /// should. None when there is no session to ask for, and nothing that was adopted.
    async fn according_to_stripe(&self, ours: &Basket) -> Result<Option<Told>, Error> {
        let client = &self.account.client;
        let observer = &self.account.observer;
        let recurring = ours.recurring();
        let subscription = recurring.and_then(|line| line.stripe_subscription.as_deref());
        let mut said = match (&ours.checkout.stripe_session, subscription) {
            (Some(session), _) => {
                let answer = client.retrieve_session(session).await?;
                observer.session(&answer.body, answer.at, LIVE, News::Plain)?
            }
            (None, Some(id)) if ours.checkout.mode == Mode::Adopted => {
                let answer = client.retrieve_subscription(id).await?;
                observer.subscription(&answer.body, answer.at, LIVE, News::Plain)?
            }
            (None, _) => return Ok(None),
        };
        if let Some(id) = subscription {
            let invoices = client.list_newest_invoices(id).await?;
            said.facts.extend(self.purchases.paid(invoices).await?);
        }
        if said.facts.contains(&Fact::Unclear) {
            return Err(Unknown::Period.into());
        }
        said.subject.check(ours).map_err(Error::Contradiction)?;
        let mut theirs = ours.clone();
        all(&mut theirs);
        let merged = self.merge_said(ours, &mut theirs, &said);
        let flag = merged.flag.filter(|flag| !is_known(ours, flag));
        Ok(Some((theirs, merged.transactions, flag)))
    }
}

/// Who tells. What was adopted and never read, for the run was cut off, is past: nobody is to be greeted for it.
fn teller(ours: &Basket) -> By {
    let is_unread = |line: &Subscription| line.stripe.is_none();
    if ours.checkout.mode == Mode::Adopted && ours.recurring().is_some_and(is_unread) {
        By::adoption()
    } else {
        By::reconcile()
    }
}

/// Whether somebody was told already: the payment after the end is in our rows.
fn is_known(ours: &Basket, flag: &str) -> bool {
    flag == lifecycle::PAID_AFTER_END
        && ours.recurring().is_some_and(|line| {
            let both = line.last_paid_at.zip(line.ended_at);
            both.is_some_and(|(paid, end)| paid > end)
        })
}

/// A basket as Stripe would have it, with its payments, and why a person should look.
type Told = (
    Basket,
    Vec<(SubscriptionId, Transaction)>,
    Option<&'static str>,
);

/// What differs of a line.
fn differences(ours: &Subscription, theirs: &Subscription) -> Vec<&'static str> {
    let told = |line: &Subscription| line.paid_period;
    let cancellation = |line: &Subscription| (line.cancel_at(), line.will_end());
    let pairs = [
        ("status", ours.status != theirs.status),
        ("plan", ours.plan != theirs.plan),
        ("price", ours.stripe_price != theirs.stripe_price),
        ("quantity", ours.quantity != theirs.quantity),
        (
            "paid_until",
            told(theirs).is_some() && told(ours) != told(theirs),
        ),
        (
            "period",
            ours.current_period_end() != theirs.current_period_end(),
        ),
        ("cancellation", cancellation(ours) != cancellation(theirs)),
        ("end", ours.ended_at.is_some() != theirs.ended_at.is_some()),
        ("payment", ours.last_paid_at < theirs.last_paid_at),
        ("refund", ours.refund != theirs.refund),
        ("dispute", ours.disputes != theirs.disputes),
    ];
    let differs = pairs.into_iter().filter(|(_, differs)| *differs);
    differs.map(|(name, _)| name).collect()
}

/// What is to be told of a draft.
fn drifts(draft: &Draft, flag: Option<&'static str>, mended: bool) -> Vec<Drift> {
    let lines = draft.before.lines.iter().zip(&draft.after.lines);
    let told = lines.filter_map(|(ours, theirs)| {
        let mut differs = differences(ours, theirs);
        let news = draft
            .transactions
            .iter()
            .filter(|(line, _)| *line == ours.id);
        let went_back = { news }.any(|(_, told)| matches!(told.kind, TransactionKind::Refund(_)));
        if went_back && !differs.contains(&"refund") {
            differs.push("refund");
        }
        // What a person should look at concerns the line that renews.
        let flag = flag.filter(|_| ours.recurring);
        let is_told = !differs.is_empty() || flag.is_some();
        is_told.then(|| drift(ours, theirs, differs, flag, mended))
    });
    told.collect()
}

fn drift(
    ours: &Subscription,
    theirs: &Subscription,
    differs: Vec<&'static str>,
    flag: Option<&'static str>,
    mended: bool,
) -> Drift {
    let in_force = |line: &Subscription| matches!(line.status, Status::Active | Status::Cancelled);
    Drift {
        subscription_id: ours.id.to_string(),
        plan: ours.plan.clone(),
        direction: match (in_force(ours), in_force(theirs)) {
            (false, true) => Direction::PaidNotActive,
            (true, false) => Direction::ActiveNotPaid,
            (true, true) | (false, false) => Direction::Other,
        },
        ours: ours.status.as_str(),
        stripe: theirs.status.as_str(),
        mended: mended && !differs.is_empty(),
        differs,
        stripe_plan: other(&ours.plan, &theirs.plan),
        stripe_price: other(&ours.stripe_price, &theirs.stripe_price),
        stripe_quantity: other(&ours.quantity, &theirs.quantity),
        flag,
    }
}

fn other<T: Clone + PartialEq>(ours: &T, theirs: &T) -> Option<T> {
    (ours != theirs).then(|| theirs.clone())
}
