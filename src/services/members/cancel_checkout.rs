//! A member goes back from Stripe's page: the session is expired there, so that nobody can pay it any more.

use super::Members;
use super::confirm::{Landing, Return};
use super::subscribe::token_hash;
use crate::domain::actor::By;
use crate::domain::ids::CheckoutId;
use crate::domain::subscription::SessionStatus;
use crate::purchases::Error;
use crate::storage::{baskets, checkouts};

impl Members {
    /// Ends a checkout by the link that only its buyer has, and says where to send her. Never fails towards her:
    /// if Stripe can't be reached the session stays open there, and ours with it.
    pub async fn cancel_checkout(&self, id: CheckoutId, token: &str) -> Result<Return, Error> {
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
        let by = By::member(&stored.checkout.user);
        match self.purchases.expire(basket, &by).await {
            Ok(basket) => Ok(Return::of(&basket)),
            Err(Error::Stripe(error)) => {
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
}
