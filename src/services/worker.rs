//! What no request waits for: doubtful events are settled, lost checkouts repaired, terms ended. Any number of
//! replicas may run it at once.

use std::future::Future;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::Services;
use super::subscribe::SubscribeError;
use crate::domain::facts::{Cause, Freshness, Observation, Subject};
use crate::storage::baskets::{self, By};
use crate::storage::subscriptions;

/// Works until told to stop; what is under way then is finished first.
pub async fn run(services: Services, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let did = [
            step("settle_deferred", services.settle_deferred()).await,
            step("repair_checkouts", services.sweep_unattached()).await,
            step("end_terms", services.end_terms()).await,
        ];
        if did.iter().sum::<usize>() > 0 {
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
                reason: None,
            };
            self.apply_to(basket, &observation, &by).await?;
        }
        Ok(due.len())
    }
}
