//! What no request waits for: doubtful events are settled, lost checkouts repaired, terms ended. Any number of
//! replicas may run it at once.

use std::future::Future;
use std::time::{Duration, Instant};

use metrics::{counter, gauge};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::Services;
use super::subscribe::SubscribeError;
use crate::domain::facts::{Cause, Freshness, Observation, Subject};
use crate::storage::baskets::{self, By};
use crate::storage::{subscriptions, webhook_events};

/// What need not be looked at in every round.
const RARELY: Duration = Duration::from_secs(30);
/// Old events are purged so many at a time.
const PURGE_BATCH: i64 = 500;

/// Works until told to stop; what is under way then is finished first.
pub async fn run(services: Services, stop: CancellationToken) {
    let services = services.in_background();
    let (mut rarely, mut reconcile) = (Instant::now(), Instant::now());
    while !stop.is_cancelled() {
        let mut did = [
            step("settle_deferred", services.settle_deferred()).await,
            step("sweep_checkouts", services.sweep_checkouts()).await,
            step("end_terms", services.end_terms()).await,
            step("end_unpaid", services.cancel_unpaid()).await,
        ]
        .iter()
        .sum::<usize>();
        if rarely <= Instant::now() {
            did += step("purge_events", services.purge_events()).await;
            step("count_backlog", services.count_backlog()).await;
            rarely = Instant::now() + RARELY;
        }
        if reconcile <= Instant::now() {
            step("reconcile", services.walk_events(&stop)).await;
            reconcile = Instant::now() + services.settings.worker.reconcile_interval;
        }
        if did > 0 {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = services.deferred.notified() => {}
            () = tokio::time::sleep(services.settings.worker.interval) => {}
        }
    }
}

/// One kind of work; its failure keeps neither the others nor the next round from running.
async fn step(
    name: &'static str,
    work: impl Future<Output = Result<usize, SubscribeError>>,
) -> usize {
    match work.await {
        Ok(count) => count,
        Err(error) => {
            tracing::error!(step = name, %error, "the worker could not do a part of its work");
            0
        }
    }
}

impl Services {
    async fn walk_events(&self, stop: &CancellationToken) -> Result<usize, SubscribeError> {
        let walked = self.reconcile_events(stop, |_, _| {}).await?;
        counter!("reconciled_events_total")
            .increment(walked.applied.try_into().unwrap_or(u64::MAX));
        if walked.applied > 0 {
            tracing::warn!(
                walked.applied,
                walked.listed,
                "events were found that no webhook had brought"
            );
        }
        Ok(walked.applied)
    }

    /// Deletes settled events of which Stripe has no copy any more either.
    async fn purge_events(&self) -> Result<usize, SubscribeError> {
        let days = i64::from(self.settings.worker.purge_after_days);
        let before = self.clock.now() - time::Duration::days(days);
        let purged = webhook_events::delete_old(&self.pool, before, PURGE_BATCH).await?;
        Ok(usize::try_from(purged).unwrap_or(usize::MAX))
    }

    /// Keeps the figures that an alert looks at.
    async fn count_backlog(&self) -> Result<usize, SubscribeError> {
        let backlog = webhook_events::find_backlog(&self.pool).await?;
        let counts = [
            ("deferred", backlog.deferred),
            ("failed", backlog.failed),
            ("flagged", backlog.flagged),
        ];
        for (state, count) in counts {
            gauge!("webhook_events_unsettled", "state" => state)
                .set(u32::try_from(count).unwrap_or(u32::MAX));
        }
        let age = backlog
            .oldest_deferred
            .map_or(0.0, |oldest| (self.clock.now() - oldest).as_seconds_f64());
        gauge!("webhook_events_oldest_deferred_seconds").set(age);
        Ok(0)
    }

    /// Ends one-off purchases whose fixed term is over: no fact is new but the time.
    async fn end_terms(&self) -> Result<usize, SubscribeError> {
        let now: OffsetDateTime = self.clock.now();
        let due =
            subscriptions::find_terms_over(&self.pool, now, self.settings.worker.batch.into())
                .await?;
        for id in &due {
            let Some(basket) = baskets::find_by_id(&self.pool, *id).await? else {
                continue;
            };
            let subject = Subject {
                checkout: Some(*id),
                ..Subject::default()
            };
            let observation = Observation {
                subject,
                at: now,
                freshness: Freshness::Event,
                facts: Vec::new(),
            };
            let by = By {
                cause: Cause::Sweep,
                reference: None,
                actor: None,
            };
            self.apply_to(basket, &observation, &by).await?;
        }
        Ok(due.len())
    }
}
