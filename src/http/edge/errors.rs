//! How the use cases' errors look from outside.

use super::codes::Code;
use super::problem::{ApiError, HeldSubscription};
use crate::purchases::line::{Obstacle, WishError};
use crate::purchases::{Error, Trouble};
use crate::services::members::subscribe::{Advice, SubscribeError};

/// After how many seconds a client should repeat what another request is working on.
const IN_PROGRESS_SECONDS: u64 = 2;
/// After how many seconds Stripe may be back.
const STRIPE_SECONDS: u64 = 5;
/// After how many seconds a member may have paid or cancelled one of her checkouts.
const OPEN_CHECKOUT_SECONDS: u64 = 60;

// What an [`Error`] can come to, by what a use case needs. A fault of ours can come from anywhere.

/// A use case that reads or writes our rows.
pub(in crate::http) const DATABASE: &[Code] = &[Code::DatabaseUnavailable];
/// A use case that asks Stripe.
pub(in crate::http) const STRIPE: &[Code] = &[
    Code::StripeUnavailable,
    Code::StripeRefused,
    Code::StripeTimeout,
];
/// A use case that sells.
pub(in crate::http) const SALE: &[Code] = &[Code::PlanUnavailable];

impl From<SubscribeError> for ApiError {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::Invalid(wrong) => Self::validation_failed().fields(wrong),
            SubscribeError::Unavailable(plans) => Self::new(Code::PlanUnavailable).fields(plans),
            SubscribeError::KeyReused => Self::new(Code::IdempotencyKeyReused).field(
                "Idempotency-Key",
                "reused",
                "Send a new key with a new order.",
            ),
            SubscribeError::InProgress => Self::new(Code::InProgress)
                .explained()
                .retry_after(IN_PROGRESS_SECONDS),
            SubscribeError::AlreadyHeld(held) => Self::new(Code::AlreadyHeld)
                .detail(advice_text(held.advice))
                .held(HeldSubscription {
                    id: held.line.id.0,
                    plan: held.line.plan.clone(),
                    status: held.line.status.as_str(),
                    status_reason: held.line.reason.as_str(),
                    advice: held.advice.as_str(),
                }),
            SubscribeError::RequirementUnmet(unmet) => {
                Self::new(Code::RequirementUnmet).fields(unmet)
            }
            SubscribeError::TooManyOpen => Self::new(Code::TooManyOpenCheckouts)
                .explained()
                .retry_after(OPEN_CHECKOUT_SECONDS),
            SubscribeError::Failed(error) => error.into(),
            SubscribeError::Random => Self::internal(error),
        }
    }
}

impl From<WishError> for ApiError {
    fn from(error: WishError) -> Self {
        match error {
            WishError::NotFound => Self::not_found(),
            WishError::Obstacle(obstacle) => Self::new(obstacle.into()).explained(),
            WishError::Invalid(wrong) => Self::validation_failed().fields(wrong),
            WishError::Unavailable(plans) => Self::new(Code::PlanUnavailable).fields(plans),
            WishError::RequirementUnmet(unmet) => Self::new(Code::RequirementUnmet).fields(unmet),
            WishError::PaymentFailed(decline) => Self::new(Code::PaymentFailed)
                .detail(format!("{} {}", decline.message, decline.advice))
                .field("", decline.code, decline.message),
            WishError::Failed(error) => error.into(),
        }
    }
}

impl From<Obstacle> for Code {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::NotCancellable => Self::NotCancellable,
            Obstacle::NotResumable => Self::NotResumable,
            Obstacle::NotChangeable => Self::NotChangeable,
            Obstacle::AwaitingPayment => Self::AwaitingPayment,
            Obstacle::PaymentProcessing => Self::PaymentProcessing,
            Obstacle::AlreadyEnded => Self::AlreadyEnded,
            Obstacle::CancelNowNotAllowed => Self::CancelNowNotAllowed,
            Obstacle::OnHold => Self::OnHold,
            Obstacle::Cancelled => Self::Cancelled,
            Obstacle::PaymentRetrying => Self::PaymentRetrying,
            Obstacle::ManagedBySchedule => Self::ManagedBySchedule,
            Obstacle::NoCustomer => Self::NoCustomer,
        }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let stripe = |code| Self::new(code).explained().retry_after(STRIPE_SECONDS);
        let problem = match error.trouble() {
            Trouble::StripeTimedOut => stripe(Code::StripeTimeout),
            Trouble::StripeAway => stripe(Code::StripeUnavailable),
            Trouble::CurrencyLocked => Self::new(Code::CurrencyLocked).explained(),
            Trouble::StripeRefused => Self::new(Code::StripeRefused).explained(),
            Trouble::DatabaseAway => Self::new(Code::DatabaseUnavailable),
            Trouble::Busy => Self::new(Code::InProgress).retry_after(IN_PROGRESS_SECONDS),
            Trouble::Fault => return Self::internal(error),
        };
        problem.source(error)
    }
}

fn advice_text(advice: Advice) -> &'static str {
    match advice {
        Advice::Wait => "It can be held only once, and what the member holds has not ended: wait.",
        Advice::Resume => {
            "It can be held only once, and was cancelled but has not ended: withdraw the cancellation."
        }
        Advice::Pay => "It can be held only once, and an invoice of it is unpaid: pay that.",
        Advice::ChangePlan => {
            "The member holds another plan of the same group: change the plan of that."
        }
        Advice::Portal => {
            "It can be held only once, and it has not ended: it can be managed in the portal."
        }
    }
}
