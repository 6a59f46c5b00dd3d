//! Doubtful events: the object is read from Stripe as it is now, and the answer counts only if the row stood still.

use metrics::counter;
use time::Duration;

use super::Services;
use super::apply::{ApplyError, MAX_TRIES};
use super::subscribe::SubscribeError;
use crate::domain::facts::{Cause, Freshness, Subject};
use crate::domain::subscription::Basket;
use crate::storage::baskets::{self, By, Written};
use crate::storage::webhook_events::{self, Deferred};
use crate::stripe::observe::News;

/// A worker that dies gives its events back after so long.
const LEASE: Duration = Duration::minutes(2);

impl Services {
    /// Settles due events, several at once; returns how many were looked at.
    pub(super) async fn settle_deferred(&self) -> Result<usize, SubscribeError> {
        let now = self.clock.now();
        let batch = i64::from(self.settings.worker.batch);
        let due = webhook_events::lock_deferred(&self.pool, now, now + LEASE, batch).await?;
        let count = due.len();
        let mut running = tokio::task::JoinSet::new();
        for event in due {
            if running.len() >= self.settings.worker.concurrency {
                running.join_next().await;
            }
            let services = self.clone();
            running.spawn(async move { services.settle(event).await });
        }
        while running.join_next().await.is_some() {}
        Ok(count)
    }

    /// Settles one event, and with it all earlier ones of the same object.
    async fn settle(&self, event: Deferred) {
        let read_at = self.clock.now();
        let outcome = match self.read_object(&event).await {
            Ok(()) => webhook_events::update_settled(&self.pool, &event.object_id, read_at).await,
            Err(error) => {
                let tries = i32::try_from(self.settings.worker.max_attempts).unwrap_or(i32::MAX);
                let next = (event.attempt < tries).then(|| read_at + pause(event.attempt));
                tracing::warn!(event_id = event.id, %error, gave_up = next.is_none(), "an event could not be settled");
                webhook_events::update_failed(
                    &self.pool,
                    &event.object_id,
                    &error.to_string(),
                    next,
                )
                .await
            }
        };
        counter!("deferred_events_total", "outcome" => if outcome.is_ok() { "settled" } else { "error" }).increment(1);
        if let Err(error) = outcome {
            // The lease gives it back.
            tracing::error!(event_id = event.id, %error, "an event's outcome could not be recorded");
        }
    }

    async fn read_object(&self, event: &Deferred) -> Result<(), SubscribeError> {
        let id = Some(event.object_id.clone());
        if event.kind.starts_with("checkout.session.") {
            let subject = Subject {
                session: id,
                ..Subject::default()
            };
            let Some(basket) = baskets::find(&self.pool, &subject, None)
                .await?
                .baskets
                .pop()
            else {
                return Ok(());
            };
            self.read_session(basket, Cause::Webhook).await?;
        } else {
            let subject = Subject {
                stripe_subscription: id,
                ..Subject::default()
            };
            let Some(basket) = baskets::find(&self.pool, &subject, None)
                .await?
                .baskets
                .pop()
            else {
                return Ok(());
            };
            self.read_subscription(basket, &event.object_id, Cause::Webhook, &event.id)
                .await?;
        }
        Ok(())
    }

    /// Reads a subscription from Stripe and applies it, again whenever the rows have moved since before the call.
    pub(super) async fn read_subscription(
        &self,
        mut basket: Basket,
        id: &str,
        cause: Cause,
        reference: &str,
    ) -> Result<Basket, SubscribeError> {
        for _ in 0..MAX_TRIES {
            let answer = self.stripe.retrieve_subscription(id).await?;
            let observation = match self.observer.subscription(
                &answer.body,
                answer.at,
                Freshness::Live,
                News::Plain,
            ) {
                Ok(observation) => observation,
                Err(unknown) => {
                    tracing::warn!(%unknown, checkout_id = %basket.checkout.id, "a subscription was left as it is");
                    return Ok(basket);
                }
            };
            let by = By {
                cause,
                reference: Some(reference),
                actor: None,
                reason: None,
            };
            let (written, applied) = self.write(&basket, &observation, None, &by).await?;
            if written != Written::Moved {
                return Ok(applied.basket);
            }
            match baskets::find_by_id(&self.pool, basket.checkout.id).await? {
                Some(newer) => basket = newer,
                None => break,
            }
        }
        Err(ApplyError::Contended.into())
    }
}

/// Two seconds doubled at each attempt, at most an hour, cut at random by up to half.
fn pause(attempt: i32) -> Duration {
    let exponent = u32::try_from(attempt).unwrap_or_default().min(11);
    Duration::seconds(2_i64.pow(exponent)).min(Duration::HOUR) * (0.5 + fastrand::f64() / 2.0)
}
