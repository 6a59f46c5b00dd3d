//! A checkout without a session: the process died between Stripe's answer and our row, or Stripe never answered.

use time::{Duration, OffsetDateTime};

use super::{Error, Purchases};
use crate::domain::actor::By;
use crate::domain::ids::CheckoutId;
use crate::domain::subscription::{Basket, SessionStatus};
use crate::storage::baskets;
use crate::stripe::StripeError;
use crate::stripe::objects::Session;

/// Stripe's clock may be behind ours by so much when the customer's sessions are listed.
pub(crate) const SKEW: Duration = Duration::minutes(5);

/// What became of a checkout without a session.
#[derive(Debug)]
pub(crate) enum Repaired {
    /// Its session was found and attached, or it had one meanwhile.
    Attached(Basket),
    /// Stripe has none, and it is too old to get one: it has ended, its idempotency key is free again.
    Failed,
    /// Stripe has none yet; the request that asks for it may still be under way.
    TooEarly,
}

impl Purchases {
    /// Finds the session of a checkout among its customer's at Stripe, by our id in `client_reference_id`.
    pub(crate) async fn repair(&self, basket: &Basket, by: &By) -> Result<Repaired, Error> {
        let checkout = &basket.checkout;
        if let Some(customer) = &checkout.stripe_customer
            && let Some((session, at)) = self
                .find_session(customer, checkout.id, checkout.created_at)
                .await?
        {
            let basket = self.apply_session(basket.clone(), &session, at, by).await?;
            return Ok(Repaired::Attached(basket));
        }
        // By the checkout's own times, both of our clock: no request is worked on for so long.
        let age = self.clock.now() - checkout.created_at;
        if age < self.settings.checkout.orphan {
            return Ok(Repaired::TooEarly);
        }
        self.end_unopened(checkout.id, by).await?;
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
                .account
                .client
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
}
