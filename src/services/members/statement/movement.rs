//! What one transaction moved, read live from Stripe: the same figures as on the statement, from the one payment.

use time::OffsetDateTime;

use super::attributing::Attribution;
use super::reading::{Read, Reader};
use super::{Entry, Range, StatementError};
use crate::domain::ids::TransactionId;
use crate::domain::records::{Amount, Movement};
use crate::services::members::Members;
use crate::storage::transactions::Whereabouts;
use crate::storage::{subscriptions, transactions};
use crate::stripe::objects::Expandable;

impl Members {
    /// One transaction with what it moved; none if there is no such. What can't be told is none: a payment of which nobody
    /// says how much of it was for this line.
    pub async fn movement(
        &self,
        id: TransactionId,
    ) -> Result<Option<(Movement, Option<Amount>)>, StatementError> {
        let Some(movement) = transactions::find_movement(&self.pool, id).await? else {
            return Ok(None);
        };
        let amount = self.amount(&movement).await?;
        Ok(Some((movement, amount)))
    }

    /// What a transaction moved, for its line.
    pub async fn amount(&self, movement: &Movement) -> Result<Option<Amount>, StatementError> {
        if movement.transaction.kind == "payment_failed" {
            return Ok(Some(Amount {
                currency: movement.currency.clone(),
                amount: 0,
                tax: 0,
            }));
        }
        let id = movement.transaction.id;
        let Some(at) = transactions::find_whereabouts(&self.pool, id).await? else {
            return Ok(None);
        };
        let range = Range {
            from: OffsetDateTime::UNIX_EPOCH,
            to: self.clock.now() + time::Duration::DAY,
        };
        let read = Reader::new(&self.account.client, range)
            .payment(&at)
            .await?;
        let bought = subscriptions::find_own_lines(&self.pool, &movement.user_id).await?;
        let entries = Attribution::new(&read, &bought, &self.account.observer).entries(range);
        let transaction = &movement.transaction;
        // Of several payments of one invoice the later ones have theirs behind its id; here only this one's was read.
        let reference = transaction.stripe_reference.split('#').next();
        let is_meant = |entry: &&Entry| {
            entry.what.as_str() == transaction.kind && Some(entry.reference.as_str()) == reference
        };
        Ok(entries
            .iter()
            .find(is_meant)
            .and_then(|entry| of_line(entry, movement, at.lines))
            .or_else(|| of_nothing(&read, movement)))
    }
}

/// The part of an entry that was for the transaction's line.
fn of_line(entry: &Entry, movement: &Movement, lines: i64) -> Option<Amount> {
    let is_own = |line: &&super::Line| {
        let bought = line.bought.as_ref();
        bought.is_some_and(|bought| bought.id == movement.subscription_id)
    };
    let (own, others): (Vec<_>, Vec<_>) = { entry.lines.iter() }.partition(is_own);
    let is_whole = others.iter().all(|line| line.bought.is_none());
    let (amount, tax) = if lines == 1 && is_whole {
        // Whatever it says, there is nobody else for whom it could be.
        (entry.amount, entry.tax)
    } else if own.is_empty() && others.iter().any(|line| line.bought.is_none()) {
        return None;
    } else {
        // Of what was all for others, nothing was for this line.
        let amount = own.iter().map(|line| line.amount).sum();
        (amount, own.iter().map(|line| line.tax).sum())
    };
    Some(Amount {
        currency: entry.currency.clone(),
        amount,
        tax,
    })
}

/// An invoice that asked for nothing is a payment of nothing.
fn of_nothing(read: &Read, movement: &Movement) -> Option<Amount> {
    let invoice = read.invoices.first()?;
    let is_free = read.charges.is_empty() && invoice.amount_due == Some(0);
    is_free.then(|| Amount {
        currency: movement.currency.clone(),
        amount: 0,
        tax: 0,
    })
}

impl Reader<'_> {
    /// Everything of one payment.
    async fn payment(&self, at: &Whereabouts) -> Result<Read, StatementError> {
        let mut read = Read::default();
        let mut intent = at.payment_intent.clone();
        if let Some(id) = &at.invoice {
            let mut invoice = self.call(self.stripe.retrieve_invoice(id)).await?;
            let payments = self.call(self.stripe.list_payments_of_invoice(id)).await?;
            // The row learns by which payment it was paid a moment after it learns that it was.
            intent = intent.or_else(|| payments.paid_by().map(str::to_owned));
            invoice.payments = Some(payments);
            read.invoices.push(invoice);
        }
        if let Some(id) = &intent {
            let intent = self.call(self.stripe.retrieve_payment_intent(id)).await?;
            if let Some(mut charge) = intent.latest_charge.and_then(Expandable::into_object) {
                let refunds = self.call(self.stripe.list_refunds(id)).await?;
                charge.refunds = Some(refunds);
                read.disputes = self.disputes_of(&charge).await?;
                read.charges.push(charge);
            }
        }
        let is_first = |read: &Read| {
            let reason = read.invoices.first().map(|invoice| &invoice.billing_reason);
            reason.is_none_or(|reason| reason.as_deref() == Some("subscription_create"))
        };
        if let Some(id) = at.session.as_ref().filter(|_| is_first(&read)) {
            let session = self.call(self.stripe.retrieve_session(id)).await?;
            read.sessions.push(session);
        }
        self.complete(&mut read).await?;
        if let Some(invoice) = at.invoice.as_ref().filter(|_| read.needs_credit_notes()) {
            let notes = self.call(self.stripe.list_credit_notes(invoice)).await?;
            read.credit_notes = notes.data;
        }
        Ok(read)
    }
}
