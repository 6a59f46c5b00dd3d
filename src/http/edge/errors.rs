//! How the use cases' errors look from outside.

use axum::http::StatusCode;

use super::problem::{ApiError, HeldSubscription};
use crate::domain::invalid::Invalid;
use crate::purchases::line::{Obstacle, WishError};
use crate::purchases::{Error, Trouble};
use crate::services::members::subscribe::{Advice, SubscribeError};

/// After how many seconds a client should repeat what another request is working on.
const IN_PROGRESS_SECONDS: u64 = 2;
/// After how many seconds Stripe may be back.
const STRIPE_SECONDS: u64 = 5;

impl From<SubscribeError> for ApiError {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::Invalid(wrong) => Self::validation_failed().fields(wrong),
            SubscribeError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "The idempotency key was used for another order",
            )
            .field(
                "Idempotency-Key",
                "reused",
                "Send a new key with a new order.",
            ),
            SubscribeError::InProgress => Self::new(
                StatusCode::CONFLICT,
                "in_progress",
                "The same order is being worked on",
            )
            .detail("Repeat the request in a moment: it will then have its answer.")
            .retry_after(IN_PROGRESS_SECONDS),
            SubscribeError::AlreadyHeld(held) => Self::new(
                StatusCode::CONFLICT,
                "already_held",
                "The member already has this plan",
            )
            .detail(advice_text(held.advice))
            .held(HeldSubscription {
                id: held.line.id.0,
                plan: held.line.plan.clone(),
                status: held.line.status.as_str(),
                status_reason: held.line.reason.as_str(),
                advice: held.advice.as_str(),
            }),
            SubscribeError::RequirementUnmet(unmet) => Self::requirement_unmet(unmet),
            SubscribeError::TooManyOpen => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_open_checkouts",
                "Too many open checkouts",
            )
            .detail("Pay or cancel one of the open checkouts; an unpaid one closes by itself.")
            .retry_after(60),
            SubscribeError::Failed(error) => error.into(),
            SubscribeError::Random => Self::internal(error),
        }
    }
}

impl From<WishError> for ApiError {
    fn from(error: WishError) -> Self {
        match error {
            WishError::NotFound => Self::not_found(),
            WishError::Obstacle(obstacle) => {
                let (title, detail) = words(obstacle);
                Self::new(StatusCode::CONFLICT, obstacle.code(), title).detail(detail)
            }
            WishError::Invalid(wrong) => Self::validation_failed().fields(wrong),
            WishError::RequirementUnmet(unmet) => Self::requirement_unmet(unmet),
            WishError::PaymentFailed(decline) => Self::new(
                StatusCode::PAYMENT_REQUIRED,
                "payment_failed",
                "The payment failed",
            )
            .detail(format!("{} {}", decline.message, decline.advice))
            .field("", decline.code, decline.message),
            WishError::Failed(error) => error.into(),
        }
    }
}

impl ApiError {
    fn requirement_unmet(unmet: Vec<Invalid>) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "requirement_unmet",
            "The member lacks what a plan requires",
        )
        .fields(unmet)
    }
}

/// What stands in a member's way, and what she can do about it.
fn words(obstacle: Obstacle) -> (&'static str, &'static str) {
    match obstacle {
        Obstacle::NotCancellable => (
            "This can't be cancelled",
            "It was bought once: nothing will be charged again.",
        ),
        Obstacle::NotResumable => (
            "There is nothing to resume",
            "It was bought once, so it was never going to renew.",
        ),
        Obstacle::NotChangeable => (
            "This can't be changed",
            "Only what renews, and is billed as one item, can be changed.",
        ),
        Obstacle::AwaitingPayment => (
            "It was not paid yet",
            "Finish the checkout, leave it by its cancel link, or let it expire.",
        ),
        Obstacle::PaymentProcessing => (
            "The payment is on its way",
            "Come back when it has arrived.",
        ),
        Obstacle::AlreadyEnded => ("It has ended", "It can be bought again."),
        Obstacle::CancelNowNotAllowed => (
            "It can't be ended at once",
            "Its plan ends with the period that is paid: send {\"at\": \"period_end\"}.",
        ),
        Obstacle::OnHold => (
            "It is on hold",
            "Its status_reason says why; look at its open invoices, or cancel it.",
        ),
        Obstacle::Cancelled => ("It is cancelled", "It will not renew: resume it first."),
        Obstacle::PaymentRetrying => (
            "A payment is overdue",
            "Pay its open invoice first, then change it.",
        ),
        Obstacle::NoCustomer => (
            "There is no customer at Stripe",
            "Whoever never paid, in that currency if one was given, has nothing to look after there.",
        ),
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let stripe = |status, code, title| {
            Self::new(status, code, title)
                .detail("Nothing is lost: repeat the request, with the same Idempotency-Key where it had one.")
                .retry_after(STRIPE_SECONDS)
        };
        let problem = match error.trouble() {
            Trouble::StripeTimedOut => stripe(
                StatusCode::GATEWAY_TIMEOUT,
                "stripe_timeout",
                "Stripe did not answer in time",
            ),
            Trouble::StripeAway => stripe(
                StatusCode::BAD_GATEWAY,
                "stripe_unavailable",
                "Stripe can't be reached just now",
            ),
            Trouble::CurrencyLocked => Self::new(
                StatusCode::CONFLICT,
                "currency_locked",
                "The member already pays in another currency",
            )
            .detail(
                "Stripe keeps a customer to one currency while something in it is live. Nothing was charged.",
            ),
            Trouble::StripeRefused => {
                Self::new(StatusCode::BAD_GATEWAY, "stripe_refused", "Stripe refused")
                    .detail("Nothing was charged; the operator finds the cause in the log.")
            }
            Trouble::PlansWrong => {
                Self::unavailable("plans_unavailable", "The plans can't be sold just now")
            }
            Trouble::DatabaseAway => {
                Self::unavailable("database_unavailable", "The database does not answer")
            }
            Trouble::Busy => Self::new(
                StatusCode::CONFLICT,
                "in_progress",
                "The same order is being worked on",
            )
            .retry_after(IN_PROGRESS_SECONDS),
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
