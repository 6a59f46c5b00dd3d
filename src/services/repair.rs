//! A checkout without a session: the process died between Stripe's answer and our row, or Stripe never answered.

use super::Services;
use super::subscribe::SubscribeError;
use crate::domain::facts::Cause;
use crate::domain::ids::CheckoutId;
use crate::domain::subscription::{Basket, SessionStatus};
use crate::storage::baskets;
use crate::storage::checkouts;
use crate::stripe::StripeError;
use crate::stripe::objects::Session;
use time::{Duration, OffsetDateTime};

/// Stripe's clock may be behind ours by so much when the customer's sessions are listed.
const SKEW: Duration = Duration::minutes(5);

/// What became of a checkout without a session.
#[derive(Debug)]
pub enum Repaired {
    /// Its session was found and attached, or it had one meanwhile.
    Attached(Basket),
    /// Stripe has none, and it is too old to get one: it has ended, its idempotency key is free again.
    Failed,
    /// Stripe has none yet; the request that asks for it may still be under way.
    TooEarly,
}

impl Services {
    /// Finds the session of a checkout among its customer's at Stripe, by our id in `client_reference_id`.
    pub async fn repair(&self, basket: &Basket, cause: Cause) -> Result<Repaired, SubscribeError> {
        let checkout = &basket.checkout;
        if let Some(customer) = &checkout.stripe_customer
            && let Some((session, at)) = self
                .find_session(customer, checkout.id, checkout.created_at)
                .await?
        {
            let basket = self
                .apply_session(basket.clone(), &session, at, cause)
                .await?;
            return Ok(Repaired::Attached(basket));
        }
        // By the checkout's own times, both of our clock: no request is worked on for so long.
        let age = self.clock.now() - checkout.created_at;
        if age < self.settings.checkout.orphan {
            return Ok(Repaired::TooEarly);
        }
        self.end_unopened(checkout.id, cause).await?;
        match baskets::find_by_id(&self.pool, checkout.id).await? {
            Some(basket) if basket.checkout.status != SessionStatus::Failed => {
                Ok(Repaired::Attached(basket))
            }
            _ => Ok(Repaired::Failed),
        }
    }

    async fn find_session(
        &self,
        customer: &str,
        checkout: CheckoutId,
        created_at: OffsetDateTime,
    ) -> Result<Option<(Session, OffsetDateTime)>, StripeError> {
        let wanted = checkout.to_string();
        let mut after: Option<String> = None;
        loop {
            let answer = match self
                .stripe
                .list_sessions(customer, created_at - SKEW, after.as_deref())
                .await
            {
                // A customer who was deleted since has no session that could be paid.
                Err(error) if error.is_missing("customer") => return Ok(None),
                answer => answer?,
            };
            let more = answer.body.has_more;
            after = answer.body.data.last().map(|session| session.id.clone());
            let found = answer
                .body
                .data
                .into_iter()
                .find(|session| session.client_reference_id.as_ref() == Some(&wanted));
            if let Some(session) = found {
                return Ok(Some((session, answer.at)));
            }
            if !more || after.is_none() {
                return Ok(None);
            }
        }
    }

    /// Looks after checkouts that were left alone: those without a session are repaired, and of those that should have
    /// expired Stripe is asked whether they have. Returns how many were looked at.
    pub(super) async fn sweep_checkouts(&self) -> Result<usize, SubscribeError> {
        let now = self.clock.now();
        let batch = i64::from(self.settings.worker.batch);
        let lease_until = now + Duration::MINUTE;
        let due =
            checkouts::lock_neglected(&self.pool, now, now - SKEW, lease_until, batch).await?;
        let count = due.len();
        for id in due {
            let Some(basket) = baskets::find_by_id(&self.pool, id).await? else {
                continue;
            };
            // One checkout that can't be looked after must not keep the others waiting.
            if let Err(error) = self.sweep_checkout(basket).await {
                tracing::warn!(checkout_id = %id, %error, "the checkout could not be looked after yet");
            }
        }
        Ok(count)
    }

    async fn sweep_checkout(&self, basket: Basket) -> Result<(), SubscribeError> {
        let id = basket.checkout.id;
        if basket.checkout.stripe_session.is_some() {
            self.read_session(basket, Cause::Sweep).await?;
            return Ok(());
        }
        match self.repair(&basket, Cause::Sweep).await? {
            Repaired::TooEarly => {}
            Repaired::Attached(_) => {
                tracing::info!(checkout_id = %id, "the checkout's session was found");
            }
            Repaired::Failed => {
                tracing::warn!(checkout_id = %id, "the checkout was never opened at Stripe");
            }
        }
        Ok(())
    }
}
