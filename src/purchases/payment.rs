//! A payment with all that came of it, refunds and disputes: read from Stripe and applied; and whose it is, when none of
//! our rows names it.

use super::{Error, MAX_TRIES, Purchases};
use crate::domain::actor::By;
use crate::domain::facts::{Freshness, Observation, Subject};
use crate::domain::subscription::{Basket, Subscription};
use crate::storage::webhook_events::{self, Settled};
use crate::stripe::event::EventType;
use crate::stripe::money::PaymentNow;
use crate::stripe::objects::{Expandable, time_of};
use crate::stripe::observe::{News, Observer};

/// Why a person should look.
pub(crate) const NOT_ADOPTED: &str =
    "the payment is of a purchase of ours, but none of our rows takes it";

impl Purchases {
    /// Reads all that Stripe says of a payment (refunds, disputes) and applies it.
    pub(crate) async fn read_payment(&self, id: &str, by: &By) -> Result<Settled, Error> {
        let subject = Subject::payment(id);
        let mut adopted = false;
        for _ in 0..MAX_TRIES {
            let Some(basket) = self.find_one(&subject).await? else {
                // Once: whatever keeps it from being found then will do so again.
                if adopted {
                    return Ok(Settled::Flagged(NOT_ADOPTED));
                }
                match self.adopt_payment(id, by).await {
                    Ok(true) => adopted = true,
                    Ok(false) => return Ok(Settled::Ignored),
                    // It is in another account, or was never there: nothing of ours.
                    Err(Error::Stripe(error)) if error.is_no_such_object() => {
                        return Ok(Settled::Ignored);
                    }
                    Err(error) => return Err(error),
                }
                continue;
            };
            let (observation, flag) = self.observe_payment(&basket, id).await?;
            if let Some(applied) = self.write(&basket, &observation, by).await? {
                // What is paid for one line alone names it by itself.
                let paid_for = |line: &&Subscription| subject.concerns(&basket, line);
                let several = basket.lines.iter().filter(paid_for).count() > 1;
                let flag = applied.left.flag.or(flag.filter(|_| several));
                return Ok(flag.map_or(Settled::Applied, Settled::Flagged));
            }
        }
        Err(Error::Contended)
    }

    /// All that Stripe says of a payment of a basket, and why a person is needed, if one is: its refunds and disputes as
    /// they are now.
    pub(crate) async fn observe_payment(
        &self,
        basket: &Basket,
        id: &str,
    ) -> Result<(Observation, Option<&'static str>), Error> {
        let subject = Subject::payment(id);
        let intent = self.account.client.retrieve_payment_intent(id).await?;
        let refunds = self.account.client.list_refunds(id).await?.body.data;
        let disputes = self.account.client.list_disputes(id).await?.body.data;
        // The rest is needed only of an invoice that was disputed, or of which a part may have gone back.
        let for_invoice = basket
            .recurring()
            .is_some_and(|line| subject.concerns(basket, line));
        let for_lines = basket.lines.len() > 1 && !refunds.is_empty();
        let (mut invoice_paid_at, mut credit_notes) = (None, Vec::new());
        if for_invoice && (for_lines || !disputes.is_empty()) {
            for payment in self
                .account
                .client
                .list_invoices_of_payment(id)
                .await?
                .body
                .data
            {
                let Some(invoice) = payment.invoice.as_ref().and_then(Expandable::object) else {
                    continue;
                };
                invoice_paid_at = invoice_paid_at.max(invoice.paid_at());
                if for_lines {
                    credit_notes.extend(
                        self.account
                            .client
                            .list_credit_notes(&invoice.id)
                            .await?
                            .body
                            .data,
                    );
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
        Ok(self.account.observer.payment_now(&now, intent.at))
    }

    /// Finds out whose a payment is that none of our rows names, and applies it; false if it isn't ours.
    async fn adopt_payment(&self, id: &str, by: &By) -> Result<bool, Error> {
        let answer = self.account.client.list_invoices_of_payment(id).await?;
        for payment in &answer.body.data {
            let invoice = payment.invoice.as_ref().and_then(Expandable::object);
            let observed = invoice.and_then(|invoice| {
                self.account
                    .observer
                    .invoice(invoice, answer.at, Freshness::Event, News::Plain)
            });
            if let Some(observation) = observed
                && self.adopt(&observation, by).await?
            {
                let observation = Observer::invoice_payment(payment, answer.at);
                return self.adopt(&observation, by).await;
            }
        }
        if !answer.body.data.is_empty() {
            return Ok(false);
        }
        let answer = self.account.client.retrieve_payment_intent(id).await?;
        let observation = self
            .account
            .observer
            .payment_intent(&answer.body, answer.at);
        let subject = &observation.subject;
        if subject.subscriptions.is_empty() && subject.external.is_empty() {
            return Ok(false);
        }
        self.adopt(&observation, by).await
    }

    async fn adopt(&self, observation: &Observation, by: &By) -> Result<bool, Error> {
        for _ in 0..MAX_TRIES {
            let Some(basket) = self.find_one(&observation.subject).await? else {
                return Ok(false);
            };
            if self.write(&basket, observation, by).await?.is_some() {
                return Ok(true);
            }
        }
        Err(Error::Contended)
    }
}
