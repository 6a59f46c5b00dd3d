//! Doubtful events: the object is read from Stripe as it is now, and the answer counts only if the row stood still.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use metrics::counter;
use time::Duration;

use super::Events;
use super::ingest::Ingested;
use crate::domain::actor::{By, Cause};
use crate::domain::facts::Subject;
use crate::purchases::Error;
use crate::storage::StorageError;
use crate::storage::webhook_events::{self, Deferred, Settled};
use crate::stripe::event::{EventType, Reading};

/// Why a person should look.
pub(in crate::services) const NO_SUCH_OBJECT: &str =
    "Stripe knows no such object any more, though it belongs to a purchase of ours";

pub(in crate::services) const UNREADABLE: &str = "Stripe's copy of the event can't be read";

/// A worker that dies gives its events back after so long.
const LEASE: Duration = Duration::minutes(2);

impl Events {
    /// Settles due events, several at once; returns how many were looked at.
    pub(in crate::services) async fn settle_deferred(&self) -> Result<usize, Error> {
        let now = self.clock.now();
        let batch = i64::from(self.settings.worker.batch);
        let due = webhook_events::lock_deferred(&self.pool, now, now + LEASE, batch).await?;
        let count = due.len();
        let mut running = tokio::task::JoinSet::new();
        for event in due {
            if running.len() >= self.settings.worker.concurrency {
                running.join_next().await;
            }
            let events = self.clone();
            running.spawn(async move { events.settle(event).await });
        }
        while running.join_next().await.is_some() {}
        Ok(count)
    }

    /// Settles one event, and with it all other ones of the same object that are recorded by now. One that comes while
    /// Stripe is read waits for the next look: the rows that were read may not have known it.
    async fn settle(&self, event: Deferred) {
        let outcome = self.settle_all_of(&event).await;
        let label = if outcome.is_ok() { "settled" } else { "error" };
        counter!("deferred_events_total", "outcome" => label).increment(1);
        if let Err(error) = outcome {
            // The lease gives it back.
            tracing::error!(event_id = event.id, %error, "an event's outcome could not be recorded");
        }
    }

    async fn settle_all_of(&self, event: &Deferred) -> Result<(), StorageError> {
        let tries = i32::try_from(self.settings.worker.max_attempts).unwrap_or(i32::MAX);
        let waiting = match reading(&event.kind) {
            Reading::Nothing => vec![event.id.clone()],
            _ => self.settled_with(event).await?,
        };
        // Whatever is wrong with one object is wrong with that object alone, and counts as a try.
        let read = AssertUnwindSafe(self.read_object(event)).catch_unwind();
        match read.await.unwrap_or(Err(Error::Panicked)) {
            Ok(settled) => webhook_events::update_settled(&self.pool, &waiting, settled).await,
            // Stripe has answered, and will answer the same tomorrow.
            Err(Error::Stripe(error)) if error.is_no_such_object() => {
                let settled = Settled::Flagged(NO_SUCH_OBJECT);
                webhook_events::update_settled(&self.pool, &waiting, settled).await
            }
            // An outage is not the event's fault, however long it lasts.
            Err(error) if error.is_outage() => {
                tracing::warn!(event_id = event.id, %error, "an event must wait to be settled");
                let next = self.clock.now() + pause(event.attempt);
                let cause = error.to_string();
                webhook_events::update_put_off(&self.pool, &waiting, &cause, next).await
            }
            Err(error) => {
                let next = (event.attempt < tries).then(|| self.clock.now() + pause(event.attempt));
                tracing::warn!(event_id = event.id, %error, gave_up = next.is_none(), "an event could not be settled");
                let cause = error.to_string();
                webhook_events::update_failed(&self.pool, &waiting, &cause, next).await
            }
        }
    }

    /// The events of the same object that one reading settles: what they told is in the rows already, it was written with
    /// them.
    async fn settled_with(&self, event: &Deferred) -> Result<Vec<String>, StorageError> {
        let mut waiting = webhook_events::find_deferred(&self.pool, &event.object_id).await?;
        waiting.retain(|(_, kind)| reading(kind) != Reading::Nothing);
        Ok(waiting.into_iter().map(|(id, _)| id).collect())
    }

    async fn read_object(&self, event: &Deferred) -> Result<Settled, Error> {
        let id = &event.object_id;
        let by = By::event(&event.id, Cause::Webhook);
        match reading(&event.kind) {
            Reading::Session => {
                let basket = self.purchases.find_one(&Subject::session(id)).await?;
                let Some(basket) = basket else {
                    return Ok(Settled::Ignored);
                };
                let (.., flag) = self.purchases.read_session(basket, &by).await?;
                Ok(flag.map_or(Settled::Applied, Settled::Flagged))
            }
            Reading::Subscription => {
                let subject = Subject::stripe_subscription(id);
                let Some(basket) = self.purchases.find_one(&subject).await? else {
                    return Ok(Settled::Ignored);
                };
                let (_, flag) = self.purchases.read_subscription(basket, id, &by).await?;
                Ok(flag.map_or(Settled::Applied, Settled::Flagged))
            }
            Reading::Payment => self.purchases.read_payment(id, &by).await,
            Reading::Invoice => self.purchases.read_invoice(id, &by).await,
            Reading::InvoicePayments => {
                let payments = self.account.client.list_payments_of_invoice(id).await?;
                let mut settled = Settled::Ignored;
                for payment in &payments.body.data {
                    if let Some(intent) = payment.payment_intent_id() {
                        let next = self.purchases.read_payment(intent, &by).await?;
                        settled = settled.with(next);
                    }
                }
                Ok(settled)
            }
            // It was given up before it was applied: nothing but itself tells what it said.
            Reading::Nothing => {
                let body = self.account.client.retrieve_event(&event.id).await?;
                let Ok(told) = self.account.observer.event(body.get().as_bytes()) else {
                    return Ok(Settled::Flagged(UNREADABLE));
                };
                match self.take_again(&told).await? {
                    Ingested::Foreign | Ingested::Uninteresting => Ok(Settled::Ignored),
                    _ => Ok(Settled::Applied),
                }
            }
        }
    }
}

fn reading(kind: &str) -> Reading {
    EventType::parse(kind).map_or(Reading::Nothing, EventType::reading)
}

/// Two seconds doubled at each attempt, at most ten minutes, cut at random by up to half.
fn pause(attempt: i32) -> Duration {
    let exponent = u32::try_from(attempt).unwrap_or_default().min(11);
    let full = Duration::seconds(2_i64.pow(exponent)).min(Duration::minutes(10));
    full * (0.5 + fastrand::f64() / 2.0)
}
