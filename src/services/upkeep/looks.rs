//! Subscriptions that may be overdue: Stripe is asked what was paid, and nothing is held up by our clock alone.

use time::Duration;

use super::{Upkeep, piece_failed};
use crate::domain::actor::By;
use crate::domain::facts::{Freshness, Observation, Subject};
use crate::domain::ids::{CheckoutId, SubscriptionId};
use crate::domain::lifecycle;
use crate::purchases::Error;
use crate::storage::{baskets, cursors, subscriptions};

/// One that could not be looked at is tried again after so long.
const LEASE: Duration = Duration::HOUR;
/// Under this name the cursors keep the grace by which all rows were last judged.
const JUDGED_BY: &str = "grace";
/// Rows that are marked at a stroke.
const MARKED: i64 = 500;

impl Upkeep {
    /// Looks at subscriptions whose time may be over. Returns how many.
    pub(super) async fn look_at_due(&self) -> Result<usize, Error> {
        let now = self.clock.now();
        let batch = self.settings.worker.batch.into();
        let due = subscriptions::lock_looks(&self.pool, now, now + LEASE, batch).await?;
        let count = due.len();
        for (checkout, line) in due {
            match self.look_at(checkout, line).await {
                Ok(()) => {}
                // With Stripe or the database away, all the others would fail as well.
                Err(error) if error.is_outage() => return Err(error),
                Err(error) => {
                    piece_failed("look_at_due");
                    tracing::warn!(subscription_id = %line, %error, "what was paid could not be asked yet");
                }
            }
        }
        Ok(count)
    }

    async fn look_at(&self, checkout: CheckoutId, line: SubscriptionId) -> Result<(), Error> {
        let Some(basket) = baskets::find_by_id(&self.pool, checkout).await? else {
            return Ok(());
        };
        let (grace, now) = (self.settings.lifecycle.grace, self.clock.now());
        let by = By::sweep();
        // By the grace as it is now: it may have been another when the row was written.
        let nothing_new = Observation {
            subject: Subject::checkout(checkout),
            at: now,
            freshness: Freshness::Event,
            facts: Vec::new(),
        };
        let applied = self.purchases.apply_to(basket, &nothing_new, &by).await?;
        let mut basket = applied.basket;
        let mut next = basket
            .line(line)
            .and_then(|line| lifecycle::look_due(line, grace));
        let stripe = basket
            .line(line)
            .and_then(|line| line.stripe_subscription.clone());
        if let Some(stripe) = stripe
            && next.is_some_and(|due| due <= now)
        {
            let by = by.about(&stripe);
            let (newer, not_before) = self.purchases.look(basket, &stripe, &by).await?;
            basket = newer;
            let due = || lifecycle::look_due(basket.line(line)?, grace);
            // Stripe's clock tells whole seconds, and is not ours: never the same again at once.
            next = not_before
                .or_else(due)
                .map(|next| next.max(now + Duration::MINUTE));
        }
        if let Some(line) = basket.line(line) {
            subscriptions::update_next_look(&self.pool, line.id, line.version, next).await?;
        }
        Ok(())
    }

    /// Has every live subscription looked at once after the grace was changed, and once after Dues has learnt to note
    /// until when was paid. Only what is due is then asked of Stripe.
    pub(super) async fn judge_by_new_grace(&self) -> Result<usize, Error> {
        let grace = self.settings.lifecycle.grace;
        let wanted = grace.map_or(0, Duration::whole_days).to_string();
        let stored = cursors::find(&self.pool, JUDGED_BY).await?;
        if stored.as_deref() == Some(wanted.as_str()) {
            return Ok(0);
        }
        // Under way to that grace already, and so far.
        let done = stored.as_deref().and_then(|text| text.split_once(' '));
        let done = done.filter(|(grace, _)| *grace == wanted);
        let mut after = done.and_then(|(_, id)| id.parse().ok());
        let now = self.clock.now();
        loop {
            after = subscriptions::update_looks_due(&self.pool, after, now, MARKED).await?;
            let position = match after {
                Some(id) => format!("{wanted} {id}"),
                None => wanted.clone(),
            };
            cursors::update(&self.pool, JUDGED_BY, &position, now).await?;
            if after.is_none() {
                return Ok(0);
            }
        }
    }
}
