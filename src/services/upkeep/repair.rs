//! Checkouts that were left alone: without a session, or overdue.

use time::Duration;

use super::{Upkeep, piece_failed};
use crate::domain::actor::By;
use crate::domain::ids::CheckoutId;
use crate::purchases::{Error, Repaired, SKEW};
use crate::storage::{baskets, checkouts};

impl Upkeep {
    /// Looks after checkouts that were left alone: those without a session are repaired, and of those that should have
    /// expired Stripe is asked whether they have. Returns how many were looked at.
    pub(super) async fn sweep_checkouts(&self) -> Result<usize, Error> {
        let now = self.clock.now();
        let batch = i64::from(self.settings.worker.batch);
        let lease_until = now + Duration::MINUTE;
        let due =
            checkouts::lock_neglected(&self.pool, now, now - SKEW, lease_until, batch).await?;
        let count = due.len();
        for id in due {
            // One checkout that can't be looked after must not keep the others waiting.
            if let Err(error) = self.sweep_checkout(id).await {
                piece_failed("sweep_checkouts");
                tracing::warn!(checkout_id = %id, %error, "the checkout could not be looked after yet");
            }
        }
        Ok(count)
    }

    async fn sweep_checkout(&self, id: CheckoutId) -> Result<(), Error> {
        let Some(basket) = baskets::find_by_id(&self.pool, id).await? else {
            return Ok(());
        };
        if basket.checkout.stripe_session.is_some() {
            self.purchases.read_session(basket, &By::sweep()).await?;
            return Ok(());
        }
        match self.purchases.repair(&basket, &By::sweep()).await? {
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
