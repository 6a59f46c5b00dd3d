//! One line of a checkout as something to act upon: finding it, what stands in the way, and what Stripe answered.

use super::{Error, Purchases};
use crate::domain::actor::By;
use crate::domain::facts::Subject;
use crate::domain::ids::SubscriptionId;
use crate::domain::invalid::Invalid;
use crate::domain::subscription::{Basket, Status, Subscription};
use crate::storage::StorageError;
use crate::stripe::declines;
use crate::stripe::{Answer, StripeError, objects};

/// Why a wish was not fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum WishError {
    /// There is no such line, or it isn't the caller's.
    #[error("there is nothing of that id")]
    NotFound,
    /// What is held does not allow it.
    #[error("the subscription does not allow it: {0:?}")]
    Obstacle(Obstacle),
    /// The wish itself is wrong.
    #[error("the request is invalid")]
    Invalid(Vec<Invalid>),
    /// The plan is not sold for now: its price at Stripe can't be.
    #[error("the plan is not sold for now")]
    Unavailable(Vec<Invalid>),
    /// The plan requires something that the member doesn't hold.
    #[error("the plan requires something that the member doesn't hold")]
    RequirementUnmet(Vec<Invalid>),
    /// The payment that goes with it failed; nothing has changed.
    #[error("the payment failed: {}", .0.code)]
    PaymentFailed(declines::Decline),
    /// Stripe, the plans or the database.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// What about a subscription stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It was bought once.
    NotCancellable,
    /// It was bought once.
    NotResumable,
    /// It was bought once, or Stripe bills more than one item of it.
    NotChangeable,
    /// It was never paid.
    AwaitingPayment,
    /// Its first payment is on its way.
    PaymentProcessing,
    /// It is over.
    AlreadyEnded,
    /// Its plan lets nobody end it before the period does.
    CancelNowNotAllowed,
    /// It is suspended.
    OnHold,
    /// It will not renew.
    Cancelled,
    /// A renewal is unpaid.
    PaymentRetrying,
    /// A schedule at Stripe says how it goes on.
    ManagedBySchedule,
    /// The member has no customer at Stripe.
    NoCustomer,
}

impl From<Obstacle> for WishError {
    fn from(obstacle: Obstacle) -> Self {
        Self::Obstacle(obstacle)
    }
}

impl From<StripeError> for WishError {
    fn from(error: StripeError) -> Self {
        match error {
            StripeError::PaymentFailed { error, .. } => Self::PaymentFailed(error.decline()),
            error => Self::Failed(error.into()),
        }
    }
}

impl From<StorageError> for WishError {
    fn from(error: StorageError) -> Self {
        Self::Failed(error.into())
    }
}

/// A line to act upon, with the basket in which it was bought.
#[derive(Debug)]
pub struct Line {
    /// The whole checkout, as it was read.
    pub basket: Basket,
    /// The line as it stands in the basket.
    pub row: Subscription,
}

impl Line {
    /// Nothing, if the line isn't in the basket.
    fn of(basket: Basket, id: SubscriptionId) -> Option<Self> {
        let row = basket.lines.iter().find(|line| line.id == id)?.clone();
        Some(Self { basket, row })
    }

    /// `sub_…`; what renews and was paid has one.
    pub(crate) fn at_stripe(&self) -> Result<String, Obstacle> {
        let id = self.row.stripe_subscription.clone();
        id.ok_or(Obstacle::PaymentProcessing)
    }
}

/// What was never paid, or is over, leaves its member nothing to decide.
pub(crate) fn is_alive(line: &Subscription) -> Result<(), Obstacle> {
    match line.status {
        Status::PendingActivation => Err(Obstacle::AwaitingPayment),
        Status::PendingCompletion => Err(Obstacle::PaymentProcessing),
        Status::Ended => Err(Obstacle::AlreadyEnded),
        Status::Active | Status::OnHold | Status::Cancelled => Ok(()),
    }
}

impl Purchases {
    /// A line by its id, with its basket.
    pub(crate) async fn line(&self, id: SubscriptionId) -> Result<Option<Line>, StorageError> {
        let basket = self.find_one(&Subject::line(id)).await?;
        Ok(basket.and_then(|basket| Line::of(basket, id)))
    }

    /// The subscription as Stripe has it now.
    pub(crate) async fn look_again(&self, line: Line, by: &By) -> Result<Line, WishError> {
        let stripe = line.at_stripe()?;
        let (basket, _) = self.read_subscription(line.basket, &stripe, by).await?;
        found_again(basket, line.row.id)
    }

    /// Writes what Stripe answered to a wish. Where Stripe refuses, the wish may have been fulfilled before, by a
    /// call whose answer was lost: then Stripe is read, and `is_done` decides.
    pub(crate) async fn conclude(
        &self,
        line: Line,
        answer: Result<Answer<objects::Subscription>, StripeError>,
        by: &By,
        is_done: fn(&Subscription) -> bool,
    ) -> Result<Line, WishError> {
        match answer {
            Ok(answer) => self.take_answer(line, answer, by).await,
            Err(error @ StripeError::PaymentFailed { .. }) => Err(error.into()),
            Err(error) if error.is_refusal() => {
                let line = self.look_again(line, by).await?;
                if is_done(&line.row) {
                    return Ok(line);
                }
                is_alive(&line.row)?;
                if self.is_scheduled(&line).await? {
                    return Err(Obstacle::ManagedBySchedule.into());
                }
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a schedule at Stripe says how the subscription goes on, so that nobody else can.
    async fn is_scheduled(&self, line: &Line) -> Result<bool, WishError> {
        let Ok(stripe) = line.at_stripe() else {
            return Ok(false);
        };
        let client = &self.account.client;
        let held = client.retrieve_subscription(&stripe).await?.body;
        Ok(held.schedule.is_some())
    }

    /// Writes what Stripe answered after the basket was read.
    pub(crate) async fn take_answer(
        &self,
        line: Line,
        answer: Answer<objects::Subscription>,
        by: &By,
    ) -> Result<Line, WishError> {
        let (basket, _) = self.apply_subscription(line.basket, answer, by).await?;
        found_again(basket, line.row.id)
    }
}

fn found_again(basket: Basket, id: SubscriptionId) -> Result<Line, WishError> {
    Line::of(basket, id).ok_or(WishError::Failed(Error::Contended))
}
