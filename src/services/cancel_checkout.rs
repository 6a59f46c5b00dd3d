//! A member goes back from Stripe's page: the session is expired there, so that nobody can pay it any more.

use super::Services;
use super::confirm::{Landing, Return};
use super::subscribe::{SubscribeError, token_hash};
use crate::domain::facts::{Cause, Fact, Freshness, Observation, Subject};
use crate::domain::ids::CheckoutId;
use crate::domain::subscription::{Basket, SessionStatus};
use crate::storage::baskets::{self, By};
use crate::storage::checkouts;

impl Services {
    /// Ends a checkout by the link that only its buyer has, and says where to send her. Never fails towards her:
    /// if Stripe can't be reached the session stays open there, and ours with it.
    pub async fn cancel_checkout(
        &self,
        id: CheckoutId,
        token: &str,
    ) -> Result<Return, SubscribeError> {
        // 1. The token is the checkout's; compared in constant time.
        let held = checkouts::find_cancel_token(&self.pool, id).await?;
        let given = token_hash(token);
        let is_hers = held.is_some_and(|held| {
            aws_lc_rs::constant_time::verify_slices_are_equal(&held, &given).is_ok()
        });
        if !is_hers {
            return Ok(Return::refused("invalid_link"));
        }
        let Some(basket) = baskets::find_by_id(&self.pool, id).await? else {
            return Ok(Return::refused("invalid_link"));
        };
        // 2. Only an open checkout can be cancelled; any other one says what it is.
        if basket.checkout.status != SessionStatus::Open {
            return Ok(Return::of(&basket));
        }
        // 3. Stripe decides: it expires the session, or says that it was paid meanwhile.
        let stored = basket.clone();
        match self.expire(basket).await {
            Ok(basket) => Ok(Return::of(&basket)),
            Err(SubscribeError::Stripe(error)) => {
                tracing::warn!(%error, checkout_id = %id, "the checkout could not be expired at Stripe");
                Ok(Return {
                    landing: Landing::Cancel,
                    code: "open",
                    ..Return::of(&stored)
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Expires a checkout's session at Stripe; if Stripe says that it is no longer open, its facts are read instead.
    pub(super) async fn expire(&self, basket: Basket) -> Result<Basket, SubscribeError> {
        // The wish first, so that the expiry is put down to the member even if Stripe's event is faster than we are.
        let user = basket.checkout.user.clone();
        let by = By {
            cause: Cause::Member,
            reference: None,
            actor: Some(&user),
        };
        let now = self.clock.now();
        let observation = Observation {
            subject: Subject {
                checkout: Some(basket.checkout.id),
                ..Subject::default()
            },
            at: now,
            freshness: Freshness::Event,
            facts: vec![Fact::CancelRequested(now)],
        };
        let basket = self.apply_to(basket, &observation, &by).await?.basket;
        let Some(session) = basket.checkout.stripe_session.clone() else {
            return Ok(basket);
        };
        match self.stripe.expire_session(&session).await {
            Ok(answer) => {
                self.apply_session(basket, &answer.body, answer.at, Cause::Member)
                    .await
            }
            Err(error) if error.is_refusal() => {
                Ok(self.read_session(basket, Cause::Member).await?.0)
            }
            Err(error) => Err(error.into()),
        }
    }
}
