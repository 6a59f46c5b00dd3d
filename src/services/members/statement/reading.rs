//! Reads all that a statement is made of from Stripe, a few calls at once, and keeps of it only what can matter.

use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{try_join, try_join_all, try_join3};
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use super::{MAX_ENTRIES, Range, StatementError};
use crate::purchases::Error;
use crate::stripe::objects::{
    Charge, CreditNote, Dispute, Expandable, HasId, Invoice, InvoiceLine, LineItem, List, Refund,
    Session, time_of,
};
use crate::stripe::{Answer, Stripe, StripeError};

/// How many calls of one statement may be in flight.
const CALLS: usize = 8;

/// An invoice of a checkout is made a moment after the payment that it is for.
const LATER_INVOICE: time::Duration = time::Duration::DAY;

/// What Stripe says of a member's money, in no order.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Those in the range, and older ones of which something went back.
    pub charges: Vec<Charge>,
    /// All.
    pub invoices: Vec<Invoice>,
    /// Those that anybody tried to pay.
    pub sessions: Vec<Session>,
    /// Of the disputed charges.
    pub disputes: Vec<Dispute>,
    /// Where one may name what a refund was for.
    pub credit_notes: Vec<CreditNote>,
}

/// An object of which Stripe has lists.
trait Listed: HasId + Sized {
    /// One page of those that belong to `owner`, after the object `after`.
    fn page(
        stripe: &Stripe,
        owner: &str,
        to: OffsetDateTime,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Answer<List<Self>>, StripeError>> + Send;
}

macro_rules! listed {
    ($($object:ident: |$stripe:ident, $owner:ident, $to:pat_param, $after:ident| $call:expr;)+) => { $(
        impl Listed for $object {
            async fn page(
                $stripe: &Stripe,
                $owner: &str,
                $to: OffsetDateTime,
                $after: Option<&str>,
            ) -> Result<Answer<List<Self>>, StripeError> {
                $call.await
            }
        }
    )+ };
}
listed! {
    Charge: |stripe, customer, to, after| stripe.list_charges(customer, to, after);
    Invoice: |stripe, customer, to, after| stripe.list_invoices(customer, to + LATER_INVOICE, after);
    Session: |stripe, customer, to, after| stripe.list_sessions_with_lines(customer, to, after);
    CreditNote: |stripe, customer, _, after| stripe.list_credit_notes_of_customer(customer, after);
    InvoiceLine: |stripe, invoice, _, after| stripe.list_invoice_lines(invoice, after);
    LineItem: |stripe, session, _, after| stripe.list_session_lines(session, after);
}

/// Reads for one statement.
pub(super) struct Reader<'a> {
    pub(super) stripe: &'a Stripe,
    to: OffsetDateTime,
    calls: Semaphore,
    wanted: Wanted,
}

/// Which charges matter, and how many of them were found in the range so far.
struct Wanted {
    range: Range,
    found: AtomicUsize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(stripe: &'a Stripe, range: Range) -> Self {
        Self {
            stripe,
            to: range.to,
            calls: Semaphore::new(CALLS),
            wanted: Wanted::new(range),
        }
    }

    /// Everything of these customers.
    pub(super) async fn read(&self, customers: &[String]) -> Result<Read, StatementError> {
        let all = customers.iter().map(|customer| self.of_customer(customer));
        let mut all = try_join_all(all).await?.into_iter();
        let mut read = all.next().unwrap_or_default();
        for more in all {
            read.charges.extend(more.charges);
            read.invoices.extend(more.invoices);
            read.sessions.extend(more.sessions);
            read.disputes.extend(more.disputes);
            read.credit_notes.extend(more.credit_notes);
        }
        Ok(read)
    }

    async fn of_customer(&self, customer: &str) -> Result<Read, StatementError> {
        let charges = self.walk(customer, None, |charge| self.wanted.matters(charge));
        let invoices = self.walk(customer, None, |_: &Invoice| Ok(true));
        let sessions = self.walk(customer, None, |session: &Session| Ok(was_tried(session)));
        let (charges, invoices, sessions) = try_join3(charges, invoices, sessions).await?;
        let mut read = Read {
            charges,
            invoices,
            sessions,
            ..Read::default()
        };
        self.complete(&mut read).await?;
        let disputes = try_join_all(read.charges.iter().map(|charge| self.disputes_of(charge)));
        let credit_notes = async {
            if read.needs_credit_notes() {
                self.walk(customer, None, |_| Ok(true)).await
            } else {
                Ok(Vec::new())
            }
        };
        let (disputes, credit_notes) = try_join(disputes, credit_notes).await?;
        read.disputes = disputes.into_iter().flatten().collect();
        read.credit_notes = credit_notes;
        Ok(read)
    }

    /// Reads what lists leave out of the objects in them: long objects show their first lines, refunds or payments.
    pub(super) async fn complete(&self, read: &mut Read) -> Result<(), StatementError> {
        let wanted: HashSet<String> = read
            .charges
            .iter()
            .filter_map(payment_intent_of)
            .map(str::to_owned)
            .collect();
        let refunds = read
            .charges
            .iter_mut()
            .map(|charge| self.complete_refunds(charge));
        let invoices = read
            .invoices
            .iter_mut()
            .map(|invoice| self.complete_invoice(invoice, &wanted));
        let sessions = read.sessions.iter_mut().map(async |session: &mut Session| {
            let id = session.id.clone();
            match &mut session.line_items {
                Some(lines) => self.complete_list(&id, lines).await,
                None => Ok(()),
            }
        });
        try_join3(
            try_join_all(refunds),
            try_join_all(invoices),
            try_join_all(sessions),
        )
        .await?;
        Ok(())
    }

    async fn complete_refunds(&self, charge: &mut Charge) -> Result<(), StatementError> {
        let left_out = charge
            .refunds
            .as_ref()
            .is_some_and(|refunds| refunds.has_more);
        if let Some(intent) = payment_intent_of(charge).filter(|_| left_out) {
            let all: List<Refund> = self.call(self.stripe.list_refunds(intent)).await?;
            charge.refunds = Some(all);
        }
        Ok(())
    }

    async fn complete_invoice(
        &self,
        invoice: &mut Invoice,
        wanted: &HashSet<String>,
    ) -> Result<(), StatementError> {
        if invoice
            .payments
            .as_ref()
            .is_some_and(|payments| payments.has_more)
        {
            invoice.payments = Some(
                self.call(self.stripe.list_payments_of_invoice(&invoice.id))
                    .await?,
            );
        }
        let concerned = invoice.paid_off_stripe() > 0
            || invoice
                .payment_intent_ids()
                .any(|intent| wanted.contains(intent));
        let id = invoice.id.clone();
        match &mut invoice.lines {
            Some(lines) if concerned => self.complete_list(&id, lines).await,
            _ => Ok(()),
        }
    }

    async fn complete_list<T: Listed>(
        &self,
        owner: &str,
        list: &mut List<T>,
    ) -> Result<(), StatementError> {
        if list.has_more {
            let after = list.data.last().map(|line| line.id().to_owned());
            list.data
                .extend(self.walk(owner, after, |_| Ok(true)).await?);
            list.has_more = false;
        }
        Ok(())
    }

    pub(super) async fn disputes_of(
        &self,
        charge: &Charge,
    ) -> Result<Vec<Dispute>, StatementError> {
        match payment_intent_of(charge).filter(|_| charge.disputed) {
            Some(intent) => Ok(self.call(self.stripe.list_disputes(intent)).await?.data),
            None => Ok(Vec::new()),
        }
    }

    /// Walks a list to its end and keeps what is wanted. A customer whom Stripe doesn't know has nothing.
    async fn walk<T: Listed>(
        &self,
        owner: &str,
        mut after: Option<String>,
        keep: impl Fn(&T) -> Result<bool, StatementError>,
    ) -> Result<Vec<T>, StatementError> {
        let mut kept = Vec::new();
        loop {
            let page = T::page(self.stripe, owner, self.to, after.as_deref());
            let page = match self.call(page).await {
                Ok(page) => page,
                Err(StatementError::Failed(Error::Stripe(error)))
                    if error.is_missing("customer") =>
                {
                    tracing::warn!(customer = owner, "Stripe does not know a member's customer");
                    return Ok(kept);
                }
                Err(error) => return Err(error),
            };
            after = page.data.last().map(|last| last.id().to_owned());
            for object in page.data {
                if keep(&object)? {
                    kept.push(object);
                }
            }
            if !page.has_more || after.is_none() {
                return Ok(kept);
            }
        }
    }

    /// One call, when there is a place for it.
    pub(super) async fn call<T>(
        &self,
        call: impl Future<Output = Result<Answer<T>, StripeError>>,
    ) -> Result<T, StatementError> {
        // The semaphore is never closed.
        let _place = self.calls.acquire().await;
        Ok(call.await?.body)
    }
}

impl Read {
    /// Whether a credit note could tell what a refund was for: one exists, and the invoice has several lines.
    pub(super) fn needs_credit_notes(&self) -> bool {
        let refunded: HashSet<&str> = self
            .charges
            .iter()
            .filter(|charge| {
                charge
                    .refunds
                    .as_ref()
                    .is_some_and(|refunds| !refunds.data.is_empty())
            })
            .filter_map(payment_intent_of)
            .collect();
        self.invoices.iter().any(|invoice| {
            invoice.post_payment_credit_notes_amount != Some(0)
                && invoice
                    .lines
                    .as_ref()
                    .is_some_and(|lines| lines.data.len() > 1)
                && invoice
                    .payment_intent_ids()
                    .any(|intent| refunded.contains(intent))
        })
    }
}

impl Wanted {
    fn new(range: Range) -> Self {
        Self {
            range,
            found: AtomicUsize::new(0),
        }
    }

    /// Whether a charge can have an entry in the range.
    fn matters(&self, charge: &Charge) -> Result<bool, StatementError> {
        let at = charge.created.and_then(time_of);
        let refunded = charge
            .refunds
            .as_ref()
            .is_some_and(|refunds| !refunds.data.is_empty());
        if !at.is_some_and(|at| self.range.holds(at)) {
            return Ok(refunded || charge.disputed);
        }
        if self.found.fetch_add(1, Ordering::Relaxed) < MAX_ENTRIES {
            Ok(true)
        } else {
            Err(StatementError::TooLarge)
        }
    }
}

/// `pi_…` of a charge.
pub(super) fn payment_intent_of(charge: &Charge) -> Option<&str> {
    charge.payment_intent.as_ref().map(Expandable::id)
}

/// Whether anybody tried to pay a session: one that just expired tells nothing.
fn was_tried(session: &Session) -> bool {
    session.payment_intent.is_some() || session.subscription.is_some() || session.invoice.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_charge_matters_if_it_is_in_the_range_or_went_back_and_too_many_are_refused() {
        let range = Range {
            from: datetime!(2026-01-01 0:00 UTC),
            to: datetime!(2026-02-01 0:00 UTC),
        };
        let wanted = Wanted::new(range);
        let charge = |at: OffsetDateTime, more: &str| -> Charge {
            let text = format!(
                r#"{{"id": "ch_1", "created": {}{more}}}"#,
                at.unix_timestamp()
            );
            serde_json::from_str(&text).expect("a charge")
        };
        let matters = |at, more| wanted.matters(&charge(at, more)).ok();
        let before = datetime!(2025-12-31 23:59:59 UTC);
        assert_eq!(matters(before, ""), Some(false));
        assert_eq!(matters(before, r#", "disputed": true"#), Some(true));
        assert_eq!(matters(before, r#", "refunds": {"data": []}"#), Some(false));
        assert_eq!(
            matters(before, r#", "refunds": {"data": [{"id": "re_1"}]}"#),
            Some(true)
        );
        for _ in 0..MAX_ENTRIES {
            assert_eq!(matters(range.from, ""), Some(true));
        }
        assert!(matches!(
            wanted.matters(&charge(range.from, "")),
            Err(StatementError::TooLarge)
        ));
    }
}
