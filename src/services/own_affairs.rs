//! What members do with what they hold: finding it, what keeps them from it, and what Stripe answered.

use super::Services;
use super::apply::ApplyError;
use super::order::Invalid;
use super::subscribe::SubscribeError;
use crate::domain::facts::{Cause, Subject};
use crate::domain::ids::{SubscriptionId, UserId};
use crate::domain::subscription::{Basket, Status, Subscription};
use crate::storage::baskets::By;
use crate::stripe::declines;
use crate::stripe::{Answer, StripeError, objects};

/// Why a member's wish was not fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum AffairError {
    /// She holds nothing of that id.
    #[error("the member holds nothing of that id")]
    NotFound,
    /// What she holds does not allow it.
    #[error("the subscription does not allow it: {}", .0.code())]
    Obstacle(Obstacle),
    /// The wish itself is wrong.
    #[error("the request is invalid")]
    Invalid(Vec<Invalid>),
    /// The payment that goes with it failed; nothing has changed.
    #[error("the payment failed: {}", .0.code)]
    PaymentFailed(declines::Cause),
    /// Stripe, the plans or the database.
    #[error(transparent)]
    Failed(#[from] SubscribeError),
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
    /// The member has no customer at Stripe.
    NoCustomer,
}

impl Obstacle {
    /// Stable, for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotCancellable => "not_cancellable",
            Self::NotResumable => "not_resumable",
            Self::NotChangeable => "not_changeable",
            Self::AwaitingPayment => "awaiting_payment",
            Self::PaymentProcessing => "payment_processing",
            Self::AlreadyEnded => "already_ended",
            Self::CancelNowNotAllowed => "cancel_now_not_allowed",
            Self::OnHold => "on_hold",
            Self::Cancelled => "cancelled",
            Self::PaymentRetrying => "payment_retrying",
            Self::NoCustomer => "no_customer",
        }
    }
}

impl From<Obstacle> for AffairError {
    fn from(obstacle: Obstacle) -> Self {
        Self::Obstacle(obstacle)
    }
}

impl From<StripeError> for AffairError {
    fn from(error: StripeError) -> Self {
        match error {
            StripeError::PaymentFailed { error, .. } => Self::PaymentFailed(error.cause()),
            error => Self::Failed(error.into()),
        }
    }
}

/// One of a member's subscriptions, with the basket in which it was bought.
#[derive(Debug)]
pub(super) struct Own {
    pub basket: Basket,
    /// As it stands in the basket.
    pub line: Subscription,
}

impl Own {
    /// Nothing, if the line isn't in the basket.
    fn of(basket: Basket, id: SubscriptionId) -> Option<Self> {
        let line = basket.lines.iter().find(|line| line.id == id)?.clone();
        Some(Self { basket, line })
    }

    /// `sub_…`; what renews and was paid has one.
    pub(super) fn at_stripe(&self) -> Result<String, AffairError> {
        let id = self.line.stripe_subscription.clone();
        id.ok_or_else(|| Obstacle::PaymentProcessing.into())
    }
}

/// What was never paid, or is over, leaves its member nothing to decide.
pub(super) fn is_alive(line: &Subscription) -> Result<(), Obstacle> {
    match line.status {
        Status::PendingActivation => Err(Obstacle::AwaitingPayment),
        Status::PendingCompletion => Err(Obstacle::PaymentProcessing),
        Status::Ended => Err(Obstacle::AlreadyEnded),
        Status::Active | Status::OnHold | Status::Cancelled => Ok(()),
    }
}

/// The member herself, as the one who caused a change of her subscription at Stripe.
pub(super) fn by_member<'a>(user: &'a UserId, stripe: &'a str) -> By<'a> {
    By {
        cause: Cause::Member,
        reference: Some(stripe),
        actor: Some(user),
    }
}

impl Services {
    /// One of the member's subscriptions; somebody else's is not there.
    pub(super) async fn own(&self, user: &UserId, id: SubscriptionId) -> Result<Own, AffairError> {
        let subject = Subject {
            subscriptions: vec![id],
            ..Subject::default()
        };
        let basket = self.find_one(&subject).await?;
        let hers = basket.filter(|basket| basket.checkout.user == *user);
        hers.and_then(|basket| Own::of(basket, id))
            .ok_or(AffairError::NotFound)
    }

    /// The subscription as Stripe has it now.
    pub(super) async fn look_again(&self, own: Own, by: &By<'_>) -> Result<Own, AffairError> {
        let stripe = own.at_stripe()?;
        let (basket, _) = self.read_subscription(own.basket, &stripe, by).await?;
        found_again(basket, own.line.id)
    }

    /// Writes what Stripe answered to a wish. Where Stripe refuses, the wish may have been fulfilled before, by a
    /// call whose answer was lost: then Stripe is read, and `is_done` decides.
    pub(super) async fn conclude(
        &self,
        own: Own,
        answer: Result<Answer<objects::Subscription>, StripeError>,
        by: &By<'_>,
        is_done: fn(&Subscription) -> bool,
    ) -> Result<Own, AffairError> {
        match answer {
            Ok(answer) => self.take_answer(own, answer, by).await,
            Err(error @ StripeError::PaymentFailed { .. }) => Err(error.into()),
            Err(error) if error.is_refusal() => {
                let own = self.look_again(own, by).await?;
                if is_done(&own.line) {
                    return Ok(own);
                }
                is_alive(&own.line)?;
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes what Stripe answered after the basket was read.
    pub(super) async fn take_answer(
        &self,
        own: Own,
        answer: Answer<objects::Subscription>,
        by: &By<'_>,
    ) -> Result<Own, AffairError> {
        let (basket, _) = self.apply_subscription(own.basket, answer, by).await?;
        found_again(basket, own.line.id)
    }
}

fn found_again(basket: Basket, id: SubscriptionId) -> Result<Own, AffairError> {
    let own = Own::of(basket, id);
    own.ok_or_else(|| SubscribeError::from(ApplyError::Contended).into())
}
