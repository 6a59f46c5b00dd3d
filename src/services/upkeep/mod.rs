//! What no request waits for: doubtful events are settled, lost checkouts repaired, terms ended. Any number of
//! replicas may run it at once.

mod jobs;
mod looks;
mod repair;
mod today;

use std::sync::Arc;

use metrics::{counter, gauge};
use sqlx::postgres::PgPool;
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use self::jobs::Vitals;
use super::events::Events;
use super::operators::Operators;
use crate::clock::Clock;
use crate::domain::actor::By;
use crate::domain::facts::{Freshness, Observation, Subject};
use crate::domain::ids::CheckoutId;
use crate::outward::followers::Followers;
use crate::purchases::{Error, Purchases};
use crate::settings::Settings;
use crate::storage::{baskets, checkouts, feed, subscriptions, webhook_events};

/// Old events are purged so many at a time.
const PURGE_BATCH: i64 = 500;
/// A worker that dies gives what it took back after so long.
const LEASE: Duration = Duration::minutes(2);

/// Counts a piece of a job's work that failed and kept none of the others waiting.
fn piece_failed(job: &'static str) {
    counter!("upkeep_pieces_failed_total", "job" => job).increment(1);
}

/// What nobody calls; cloning copies references.
#[derive(Clone)]
pub struct Upkeep {
    purchases: Arc<Purchases>,
    events: Events,
    operators: Operators,
    followers: Followers,
    pool: PgPool,
    settings: Arc<Settings>,
    clock: Clock,
    vitals: Vitals,
}

impl Upkeep {
    pub(super) fn new(
        purchases: &Arc<Purchases>,
        events: Events,
        operators: Operators,
        followers: Followers,
    ) -> Self {
        Self {
            pool: purchases.pool.clone(),
            settings: Arc::clone(&purchases.settings),
            clock: purchases.clock.clone(),
            purchases: Arc::clone(purchases),
            events,
            operators,
            followers,
            vitals: Vitals::default(),
        }
    }

    /// The jobs that keep dying.
    pub fn dying(&self) -> Vec<&'static str> {
        self.vitals.dying()
    }

    async fn walk_events(&self, stop: &CancellationToken) -> Result<usize, Error> {
        // What was given up gets another try as often as somebody looks for what was lost.
        let batch = self.settings.worker.batch.into();
        webhook_events::update_tried_again(&self.pool, self.clock.now(), batch).await?;
        let walked = self.events.reconcile_events(stop, |_, _| {}).await?;
        counter!("reconciled_events_total")
            .increment(walked.applied.try_into().unwrap_or(u64::MAX));
        if walked.applied > 0 {
            tracing::warn!(
                walked.applied,
                walked.listed,
                "events were found that no webhook had brought"
            );
        }
        // What was found is applied: there is nothing to come back for at once.
        Ok(0)
    }

    /// Compares the next page of Stripe's lists with our rows: what differs is counted, and mended where the settings say
    /// so.
    async fn compare_next(&self) -> Result<usize, Error> {
        let worker = &self.settings.worker;
        let every = Duration::try_from(worker.compare_interval).unwrap_or(Duration::MAX);
        let next = self.events.compare_next(worker.compare_mends, every);
        let Some(compared) = next.await? else {
            return Ok(0);
        };
        for drift in &compared.drift {
            let direction = drift.direction.as_str();
            counter!("reconcile_drift_total", "direction" => direction).increment(1);
            let differs = drift.differs.join(" ");
            tracing::warn!(
                subscription_id = drift.subscription_id,
                direction,
                differs,
                flag = drift.flag,
                mended = drift.mended,
                "our row is not what Stripe says"
            );
        }
        for error in &compared.errors {
            tracing::warn!(error, "a checkout could not be compared");
        }
        if compared.is_whole {
            let now = u32::try_from(self.clock.wall().unix_timestamp()).unwrap_or(u32::MAX);
            gauge!("reconcile_compared_timestamp_seconds").set(now);
        }
        // One page a time, so that it takes a day and nobody feels it.
        Ok(0)
    }

    /// Deletes settled events of which Stripe has no copy any more either.
    async fn purge_events(&self) -> Result<usize, Error> {
        let days = i64::from(self.settings.worker.purge_after_days);
        let before = self.clock.now() - Duration::days(days);
        let purged = webhook_events::delete_old(&self.pool, before, PURGE_BATCH).await?;
        Ok(usize::try_from(purged).unwrap_or(usize::MAX))
    }

    /// Deletes what was told long ago, to every follower too.
    async fn purge_feed(&self) -> Result<usize, Error> {
        let before = self.clock.now() - self.settings.feed.keep;
        let told = self.followers.told_until().await?.unwrap_or(i64::MAX);
        let purged = feed::delete_old(&self.pool, before, told, PURGE_BATCH).await?;
        Ok(usize::try_from(purged).unwrap_or(usize::MAX))
    }

    /// Deletes checkouts that came to nothing, when nobody asks for them any more.
    async fn purge_unpaid(&self) -> Result<usize, Error> {
        let days = i64::from(self.settings.checkout.keep_unpaid_days);
        let before = self.clock.now() - Duration::days(days);
        Ok(checkouts::delete_unpaid(&self.pool, before, PURGE_BATCH).await?)
    }

    /// Ends one-off purchases whose fixed term is over: no fact is new but the time. One that can't be ended keeps none of
    /// the others from it.
    async fn end_terms(&self) -> Result<usize, Error> {
        let now: OffsetDateTime = self.clock.now();
        let batch = self.settings.worker.batch.into();
        let (mut ended, mut after) = (0, None);
        loop {
            let due = subscriptions::find_terms_over(&self.pool, now, after, batch).await?;
            let Some(last) = due.last().copied() else {
                return Ok(ended);
            };
            for (_, id) in due {
                match self.end_term(id, now).await {
                    Ok(()) => ended += 1,
                    Err(error) => {
                        piece_failed("end_terms");
                        tracing::error!(checkout_id = %id, %error, "a term that is over could not be ended");
                    }
                }
            }
            after = Some(last);
        }
    }

    async fn end_term(&self, id: CheckoutId, now: OffsetDateTime) -> Result<(), Error> {
        let Some(basket) = baskets::find_by_id(&self.pool, id).await? else {
            return Ok(());
        };
        let observation = Observation {
            subject: Subject::checkout(id),
            at: now,
            freshness: Freshness::Event,
            facts: Vec::new(),
        };
        let by = By::sweep();
        self.purchases.apply_to(basket, &observation, &by).await?;
        Ok(())
    }

    /// Ends subscriptions at Stripe whose first payment failed for good: the member can then buy again.
    async fn cancel_unpaid(&self) -> Result<usize, Error> {
        let now = self.clock.now();
        let batch = self.settings.worker.batch.into();
        let due =
            subscriptions::lock_first_payment_failed(&self.pool, now, now + LEASE, batch).await?;
        let mut ended = 0;
        for (checkout, stripe) in due {
            match self.cancel_if_unpaid(checkout, &stripe).await {
                Ok(cancelled) => ended += usize::from(cancelled),
                // One that can't be ended must not keep the others waiting.
                Err(error) => {
                    piece_failed("end_unpaid");
                    tracing::warn!(checkout_id = %checkout, %error, "an unpaid subscription could not be ended yet");
                }
            }
        }
        Ok(ended)
    }

    async fn cancel_if_unpaid(&self, checkout: CheckoutId, stripe: &str) -> Result<bool, Error> {
        let Some(basket) = baskets::find_by_id(&self.pool, checkout).await? else {
            return Ok(false);
        };
        let by = By::sweep().about(stripe);
        self.purchases.cancel_if_unpaid(basket, stripe, &by).await
    }
}
