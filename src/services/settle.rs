//! Doubtful events: the object is read from Stripe as it is now, and the answer counts only if the row stood still.

use std::ops::ControlFlow;

use metrics::counter;
use time::Duration;

use super::Services;
use super::apply::{ApplyError, MAX_TRIES};
use super::subscribe::SubscribeError;
use crate::domain::facts::{Cause, Freshness, Observation, Subject};
use crate::domain::ids::CheckoutId;
use crate::domain::subscription::{Basket, Reason};
use crate::storage::baskets::{self, By, Written};
use crate::storage::webhook_events::{self, Deferred, Settled};
use crate::storage::{StorageError, subscriptions};
use crate::stripe::Answer;
use crate::stripe::event::EventType;
use crate::stripe::money::PaymentNow;
use crate::stripe::objects::{Expandable, Subscription, time_of};
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
        let waiting = webhook_events::find_deferred(&self.pool, &event.object_id).await?;
        match self.read_object(event).await {
            Ok(settled) => webhook_events::update_settled(&self.pool, &waiting, settled).await,
            Err(error) => {
                let tries = i32::try_from(self.settings.worker.max_attempts).unwrap_or(i32::MAX);
                let next = (event.attempt < tries).then(|| self.clock.now() + pause(event.attempt));
                tracing::warn!(event_id = event.id, %error, gave_up = next.is_none(), "an event could not be settled");
                let cause = error.to_string();
                webhook_events::update_failed(&self.pool, &waiting, &cause, next).await
            }
        }
    }

    async fn read_object(&self, event: &Deferred) -> Result<Settled, SubscribeError> {
        let id = &event.object_id;
        match EventType::parse(&event.kind) {
            Some(
                EventType::SessionCompleted
                | EventType::SessionAsyncPaymentSucceeded
                | EventType::SessionAsyncPaymentFailed
                | EventType::SessionExpired,
            ) => {
                let subject = Subject {
                    session: Some(id.clone()),
                    ..Subject::default()
                };
                let Some(basket) = self.find_one(&subject).await? else {
                    return Ok(Settled::Ignored);
                };
                let (.., flag) = self.look_at_session(basket, Cause::Webhook).await?;
                Ok(flag.map_or(Settled::Applied, Settled::Flagged))
            }
            Some(
                EventType::ChargeRefunded
                | EventType::RefundCreated
                | EventType::RefundUpdated
                | EventType::RefundFailed
                | EventType::DisputeCreated
                | EventType::DisputeUpdated
                | EventType::DisputeClosed
                | EventType::DisputeFundsWithdrawn
                | EventType::DisputeFundsReinstated,
            ) => self.read_payment(id, event).await,
            Some(EventType::CreditNoteCreated) => {
                let payments = self.stripe.list_payments_of_invoice(id).await?.body.data;
                let mut settled = Settled::Ignored;
                for payment in payments
                    .iter()
                    .filter_map(|payment| payment.payment_intent_id())
                {
                    settled = self.read_payment(payment, event).await?;
                }
                Ok(settled)
            }
            _ => {
                let subject = Subject {
                    stripe_subscription: Some(id.clone()),
                    ..Subject::default()
                };
                let Some(basket) = self.find_one(&subject).await? else {
                    return Ok(Settled::Ignored);
                };
                let by = By {
                    cause: Cause::Webhook,
                    reference: Some(&event.id),
                    actor: None,
                };
                let (_, flag) = self.read_subscription(basket, id, &by).await?;
                Ok(flag.map_or(Settled::Applied, Settled::Flagged))
            }
        }
    }

    pub(super) async fn find_one(
        &self,
        subject: &Subject,
    ) -> Result<Option<Basket>, SubscribeError> {
        Ok(baskets::find(&self.pool, subject, None)
            .await?
            .baskets
            .pop())
    }

    /// Reads a subscription with its newest invoice from Stripe and applies it. Returned with why a person should
    /// look, if one should.
    pub(super) async fn read_subscription(
        &self,
        basket: Basket,
        id: &str,
        by: &By<'_>,
    ) -> Result<(Basket, Option<&'static str>), SubscribeError> {
        let answer = self.stripe.retrieve_subscription(id).await?;
        self.apply_subscription(basket, answer, by).await
    }

    /// Applies what Stripe answered about a subscription after the basket was read; if the rows have moved since,
    /// Stripe is read again.
    pub(super) async fn apply_subscription(
        &self,
        mut basket: Basket,
        mut answer: Answer<Subscription>,
        by: &By<'_>,
    ) -> Result<(Basket, Option<&'static str>), SubscribeError> {
        for _ in 0..MAX_TRIES {
            let observation =
                self.observer
                    .subscription(&answer.body, answer.at, Freshness::Live, News::Plain);
            let observation = match observation {
                Ok(observation) => observation,
                Err(unknown) => {
                    tracing::warn!(%unknown, checkout_id = %basket.checkout.id, "a subscription was left as it is");
                    return Ok((basket, None));
                }
            };
            match self.write_read(&basket, &observation, by).await? {
                ControlFlow::Break(applied) => return Ok((applied.basket, applied.flag)),
                ControlFlow::Continue(newer) => basket = newer,
            }
            answer = self.stripe.retrieve_subscription(&answer.body.id).await?;
        }
        Err(ApplyError::Contended.into())
    }

    /// Reads all that Stripe says of a payment (refunds, disputes) and applies it.
    async fn read_payment(&self, id: &str, event: &Deferred) -> Result<Settled, SubscribeError> {
        let subject = Subject {
            payment_intent: Some(id.to_owned()),
            ..Subject::default()
        };
        let by = By {
            cause: Cause::Webhook,
            reference: Some(&event.id),
            actor: None,
        };
        for _ in 0..MAX_TRIES {
            let Some(basket) = self.find_one(&subject).await? else {
                if self.adopt_payment(id, &by).await? {
                    continue;
                }
                return Ok(Settled::Ignored);
            };
            let intent = self.stripe.retrieve_payment_intent(id).await?;
            let refunds = self.stripe.list_refunds(id).await?.body.data;
            let disputes = self.stripe.list_disputes(id).await?.body.data;
            // The rest is needed only of an invoice that was disputed, or of which a part may have gone back.
            let for_invoice = basket.recurring().is_some_and(|line| line.concerned);
            let for_lines = basket.lines.len() > 1 && !refunds.is_empty();
            let (mut invoice_paid_at, mut credit_notes) = (None, Vec::new());
            if for_invoice && (for_lines || !disputes.is_empty()) {
                for payment in self.stripe.list_invoices_of_payment(id).await?.body.data {
                    let Some(invoice) = payment.invoice.as_ref().and_then(Expandable::object)
                    else {
                        continue;
                    };
                    invoice_paid_at = invoice_paid_at.max(invoice.paid_at());
                    if for_lines {
                        credit_notes
                            .extend(self.stripe.list_credit_notes(&invoice.id).await?.body.data);
                    }
                }
            }
            // Of all events only the one that closes a dispute knows when; any other's time would be a guess.
            let closed_at = if disputes.is_empty() {
                None
            } else {
                let closed = EventType::DisputeClosed.as_str();
                webhook_events::find_newest(&self.pool, id, closed).await?
            };
            let now = PaymentNow {
                intent: intent.body,
                refunds,
                disputes,
                credit_notes,
                invoice_paid_at: invoice_paid_at.and_then(time_of),
                closed_at,
            };
            let (observation, flag) = self.observer.payment_now(&now, intent.at);
            let (written, _) = self.write(&basket, &observation, None, &by).await?;
            if written != Written::Moved {
                let flag = flag.filter(|_| basket.lines.len() > 1);
                return Ok(flag.map_or(Settled::Applied, Settled::Flagged));
            }
        }
        Err(ApplyError::Contended.into())
    }

    /// Finds out whose a payment is that none of our rows names, and applies it; false if it isn't ours.
    async fn adopt_payment(&self, id: &str, by: &By<'_>) -> Result<bool, SubscribeError> {
        let answer = self.stripe.list_invoices_of_payment(id).await?;
        for payment in &answer.body.data {
            let invoice = payment.invoice.as_ref().and_then(Expandable::object);
            let observed = invoice.and_then(|invoice| {
                self.observer
                    .invoice(invoice, answer.at, Freshness::Event, News::Plain)
            });
            if let Some(observation) = observed
                && self.adopt(&observation, by).await?
            {
                let observation =
                    crate::stripe::observe::Observer::invoice_payment(payment, answer.at);
                return self.adopt(&observation, by).await;
            }
        }
        if !answer.body.data.is_empty() {
            return Ok(false);
        }
        let answer = self.stripe.retrieve_payment_intent(id).await?;
        let observation = self.observer.payment_intent(&answer.body, answer.at);
        if observation.subject.subscriptions.is_empty() {
            return Ok(false);
        }
        self.adopt(&observation, by).await
    }

    async fn adopt(&self, observation: &Observation, by: &By<'_>) -> Result<bool, SubscribeError> {
        for _ in 0..MAX_TRIES {
            let Some(basket) = self.find_one(&observation.subject).await? else {
                return Ok(false);
            };
            if self.write(&basket, observation, None, by).await?.0 != Written::Moved {
                return Ok(true);
            }
        }
        Err(ApplyError::Contended.into())
    }

    /// Ends subscriptions at Stripe whose first payment failed for good, after Stripe has said once more that nothing
    /// was paid: the member can then buy again.
    pub(super) async fn cancel_unpaid(&self) -> Result<usize, SubscribeError> {
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
                    tracing::warn!(checkout_id = %checkout, %error, "an unpaid subscription could not be ended yet");
                }
            }
        }
        Ok(ended)
    }

    async fn cancel_if_unpaid(
        &self,
        checkout: CheckoutId,
        stripe: &str,
    ) -> Result<bool, SubscribeError> {
        let Some(basket) = baskets::find_by_id(&self.pool, checkout).await? else {
            return Ok(false);
        };
        let by = By {
            cause: Cause::Sweep,
            reference: Some(stripe),
            actor: None,
        };
        let (basket, _) = self.read_subscription(basket, stripe, &by).await?;
        let unpaid = basket
            .recurring()
            .is_some_and(|line| line.reason == Reason::FirstPaymentFailed);
        if unpaid {
            let answer = self.stripe.cancel_subscription(stripe).await?;
            self.apply_subscription(basket, answer, &by).await?;
        }
        Ok(unpaid)
    }
}

/// Two seconds doubled at each attempt, at most an hour, cut at random by up to half.
fn pause(attempt: i32) -> Duration {
    let exponent = u32::try_from(attempt).unwrap_or_default().min(11);
    Duration::seconds(2_i64.pow(exponent)).min(Duration::HOUR) * (0.5 + fastrand::f64() / 2.0)
}
