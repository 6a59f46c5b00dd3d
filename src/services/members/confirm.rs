//! The buyer's return: believed only after the session was read from Stripe and found to be ours in every respect.

use super::Members;
use crate::domain::actor::By;
use crate::domain::facts::Subject;
use crate::domain::ids::{CheckoutId, SubscriptionId};
use crate::domain::subscription::{Basket, SessionStatus, Status};
use crate::purchases::Error;

/// Where to send a browser, and what to tell the page.
#[derive(Clone, Debug)]
pub struct Return {
    /// Which of the configured pages.
    pub landing: Landing,
    /// Ours; none when the return was not believed.
    pub checkout: Option<CheckoutId>,
    /// Its lines.
    pub subscriptions: Vec<SubscriptionId>,
    /// Of the least advanced line.
    pub status: Option<Status>,
    /// For the page's code.
    pub code: &'static str,
}

/// The client app's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    /// Paid, or the money is on its way.
    Success,
    /// Not paid.
    Cancel,
    /// The return can't be believed.
    Error,
}

impl Return {
    /// A return that is not believed: nothing is said about any checkout.
    pub fn refused(code: &'static str) -> Self {
        Self {
            landing: Landing::Error,
            checkout: None,
            subscriptions: Vec::new(),
            status: None,
            code,
        }
    }

    /// A return of which nothing can be said just now. Whoever paid shall not see an error, and the client's page asks
    /// for what she has.
    pub fn unverified() -> Self {
        Self {
            landing: Landing::Success,
            ..Self::refused("unverified")
        }
    }

    /// The return that the rows imply.
    pub(super) fn of(basket: &Basket) -> Self {
        let (status, _) = basket.least_advanced();
        let (landing, code) = match (status, basket.checkout.status) {
            (Status::Active | Status::Cancelled, _) => (Landing::Success, "paid"),
            (Status::PendingCompletion, _) => (Landing::Success, "processing"),
            (_, SessionStatus::Complete) => (Landing::Success, "completed"),
            (Status::PendingActivation | Status::OnHold, _) => (Landing::Cancel, "open"),
            (Status::Ended, _) if basket.checkout.cancel_requested_at.is_some() => {
                (Landing::Cancel, "cancelled")
            }
            (Status::Ended, _) => (Landing::Cancel, "expired"),
        };
        Self {
            landing,
            checkout: Some(basket.checkout.id),
            subscriptions: basket.lines.iter().map(|line| line.id).collect(),
            status: Some(status),
            code,
        }
    }
}

impl Members {
    /// Verifies a return and says where to send the buyer.
    pub async fn confirm(&self, session: &str) -> Result<Return, Error> {
        // 1. The session is one of ours. Stripe isn't asked about others, nor the database about what can't be an id:
        // anybody can call this address.
        if session.len() > 255 || !session.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Return::refused("unknown_session"));
        }
        let subject = Subject::session(session);
        let Some(basket) = self.purchases.find_one(&subject).await? else {
            return Ok(Return::refused("unknown_session"));
        };
        // 2. What is settled needs no answer from Stripe.
        if basket.is_settled() {
            return Ok(Return::of(&basket));
        }
        // 3. The session as Stripe has it now, read once for all who come back at the same moment.
        let read = Box::pin(self.verify(basket));
        self.returning.once(session, read).await
    }

    /// Reads the session of a checkout, checked and applied.
    async fn verify(&self, basket: Basket) -> Result<Return, Error> {
        let stored = basket.clone();
        match self.purchases.read_session(basket, &By::browser()).await {
            Ok((basket, ..)) => Ok(Return::of(&basket)),
            // 4. Someone who paid never sees an error because Stripe, or a row, is busy.
            Err(Error::Stripe(error)) => {
                tracing::warn!(%error, checkout_id = %stored.checkout.id, "a return could not be verified yet");
                Ok(Return {
                    landing: Landing::Success,
                    code: "unverified",
                    ..Return::of(&stored)
                })
            }
            Err(Error::Contradiction(contradiction)) => {
                let cause = contradiction.as_str();
                tracing::warn!(cause, checkout_id = %stored.checkout.id, "a return was refused");
                Ok(Return::refused("session_mismatch"))
            }
            Err(error) => Err(error),
        }
    }
}
