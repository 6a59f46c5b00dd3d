//! Drift: every checkout that has not ended is read from Stripe, and its rows compared with what Stripe alone says.

use std::time::Instant;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Events;
use crate::domain::actor::By;
use crate::domain::facts::{Freshness, Transaction};
use crate::domain::ids::{CheckoutId, SubscriptionId};
use crate::domain::lifecycle;
use crate::domain::subscription::{Basket, SessionStatus, Status, Subscription};
use crate::purchases::{Error, Followed, Judging, Left, MAX_TRIES};
use crate::storage::baskets::{self, Draft};
use crate::storage::{checkouts, cursors};
use crate::stripe::observe::News;

/// The walk's name among the cursors.
const CURSOR: &str = "compare";
/// Checkouts that are fetched at once.
const BATCH: i64 = 100;

/// A line whose status, plan, price or quantity isn't what Stripe's objects give.
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
    /// The plan whose price Stripe charges, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stripe_plan: Option<String>,
    /// `price_…` that Stripe charges, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stripe_price: Option<String>,
    /// How many Stripe charges, where that is another number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stripe_quantity: Option<i32>,
    /// Whether it was mended.
    pub mended: bool,
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

/// What a comparison has done so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Compared {
    /// Checkouts that were read from Stripe.
    pub checkouts: usize,
    /// What was found.
    pub drift: Vec<Drift>,
    /// Checkouts that could not be compared, and why.
    pub errors: Vec<String>,
}

impl Events {
    /// Compares every checkout that has not ended with Stripe, and with `apply` writes what Stripe says. It can be
    /// stopped; the next comparison goes on where this one ended.
    pub async fn compare(
        &self,
        apply: bool,
        stop: &CancellationToken,
        mut progress: impl FnMut(&Compared),
    ) -> Result<Compared, Error> {
        let mut compared = Compared::default();
        let stored = cursors::find(&self.pool, CURSOR).await?;
        let mut after: Option<CheckoutId> = stored.and_then(|text| text.parse().ok());
        loop {
            let batch = checkouts::find_open(&self.pool, after, BATCH).await?;
            let Some(last) = batch.last().copied() else {
                break;
            };
            for id in batch {
                if stop.is_cancelled() {
                    return Ok(compared);
                }
                // One checkout that can't be read must not hide the drift of the others.
                match self.compare_checkout(id, apply).await {
                    Ok(drift) => compared.drift.extend(drift),
                    Err(error) => compared.errors.push(format!("checkout {id}: {error}")),
                }
                compared.checkouts += 1;
                cursors::update(&self.pool, CURSOR, &id.to_string(), self.clock.now()).await?;
            }
            after = Some(last);
            progress(&compared);
        }
        cursors::delete(&self.pool, CURSOR).await?;
        Ok(compared)
    }

    async fn compare_checkout(&self, id: CheckoutId, apply: bool) -> Result<Vec<Drift>, Error> {
        for _ in 0..MAX_TRIES {
            let Some(ours) = baskets::find_by_id(&self.pool, id).await? else {
                return Ok(Vec::new());
            };
            let Some((theirs, money)) = self.according_to_stripe(&ours).await? else {
                return Ok(Vec::new());
            };
            let mut mended = Draft::of(ours);
            mended.after = self.with_plan(&mended.before, theirs).await?;
            mended.transactions = money;
            let (ours, theirs) = (&mended.before, &mended.after);
            let drift: Vec<Drift> = ours
                .lines
                .iter()
                .zip(&theirs.lines)
                .filter(|(ours, theirs)| differs(ours, theirs))
                .map(|(ours, theirs)| drift(ours, theirs, apply))
                .collect();
            if !drift.is_empty() && apply {
                let by = By::reconcile();
                let before = mended.before.clone();
                mended.note(&before, &by);
                let left = Left::default();
                if self.purchases.store(mended, left, &by).await?.is_none() {
                    continue;
                }
            }
            return Ok(drift);
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
    /// first, but for refunds and disputes. With the payments that go with it. None when there is no session to ask
    /// for, or no way to read it.
    async fn according_to_stripe(
        &self,
        ours: &Basket,
    ) -> Result<Option<(Basket, Vec<(SubscriptionId, Transaction)>)>, Error> {
        let Some(session) = &ours.checkout.stripe_session else {
            return Ok(None);
        };
        let answer = self.account.client.retrieve_session(session).await?;
        let observation =
            self.account
                .observer
                .session(&answer.body, answer.at, Freshness::Live, News::Plain);
        let Ok(observation) = observation else {
            return Ok(None);
        };
        observation
            .subject
            .check(ours)
            .map_err(Error::Contradiction)?;
        let mut theirs = ours.clone();
        theirs.checkout.status = SessionStatus::Open;
        for line in &mut theirs.lines {
            line.first_paid_at = None;
            line.payment_failed_at = None;
            line.ended_at = None;
            line.stripe = None;
        }
        let rules = self.purchases.rules();
        let merged = lifecycle::merge(&mut theirs, &observation, rules, self.clock.now());
        Ok(Some((theirs, merged.transactions)))
    }
}

/// What a member is charged with tells the plan; what is left alone by all of it agrees.
fn differs(ours: &Subscription, theirs: &Subscription) -> bool {
    let terms = |line: &Subscription| {
        let (plan, price) = (line.plan.clone(), line.stripe_price.clone());
        (line.status, line.quantity, plan, price)
    };
    terms(ours) != terms(theirs)
}

fn drift(ours: &Subscription, theirs: &Subscription, mended: bool) -> Drift {
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
        stripe_plan: other(&ours.plan, &theirs.plan),
        stripe_price: other(&ours.stripe_price, &theirs.stripe_price),
        stripe_quantity: other(&ours.quantity, &theirs.quantity),
        mended,
    }
}

fn other<T: Clone + PartialEq>(ours: &T, theirs: &T) -> Option<T> {
    (ours != theirs).then(|| theirs.clone())
}
