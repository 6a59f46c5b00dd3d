//! Puts together what Stripe keeps apart: which payment was for which lines, and which lines are which purchases.
//!
//! Amounts, descriptions and links are Stripe's; which purchase, plan and kind a line is comes from our rows. A line
//! belongs to a purchase, in this order, if its metadata names it; if its id is the one that we hold; if it bills the
//! purchase's subscription at Stripe; if it is the only one of its checkout at that price, or else of that product.

use std::collections::HashMap;

use time::OffsetDateTime;

use super::causes::Cause;
use super::ledger::{Ledger, emptied, fit, foreign};
use super::reading::{Read, payment_intent_of};
use super::{Entry, EntryType, Line, LineType, Purchase, Range};
use crate::domain::ids::{CheckoutId, SubscriptionId};
use crate::domain::subscription::DisputeState;
use crate::storage::subscriptions::OwnLine;
use crate::stripe::money;
use crate::stripe::objects::{
    Charge, CreditNote, Dispute, Invoice, InvoiceLine, LineItem, Metadata, Refund, Session, time_of,
};
use crate::stripe::observe::Observer;

/// Everything that was read and bought, found by its keys.
pub(super) struct Attribution<'a> {
    read: &'a Read,
    bought: &'a [OwnLine],
    observer: &'a Observer,
    by_id: HashMap<SubscriptionId, &'a OwnLine>,
    by_subscription: HashMap<&'a str, &'a OwnLine>,
    invoices: HashMap<&'a str, &'a Invoice>,
    invoice_of_payment: HashMap<&'a str, &'a Invoice>,
    session_of_payment: HashMap<&'a str, &'a Session>,
    session_of_invoice: HashMap<&'a str, &'a Session>,
    disputes: HashMap<&'a str, Vec<&'a Dispute>>,
}

/// What a charge was for.
struct Payment<'a> {
    charge: &'a Charge,
    invoice: Option<&'a Invoice>,
    lines: Vec<Line>,
    /// The ids of the invoice's lines, where the lines are the invoice's.
    line_ids: Vec<&'a str>,
    amount: i64,
    at: OffsetDateTime,
}

impl<'a> Attribution<'a> {
    pub(super) fn new(read: &'a Read, bought: &'a [OwnLine], observer: &'a Observer) -> Self {
        let mut this = Self {
            read,
            bought,
            observer,
            by_id: bought.iter().map(|bought| (bought.id, bought)).collect(),
            by_subscription: HashMap::new(),
            invoices: read
                .invoices
                .iter()
                .map(|invoice| (invoice.id.as_str(), invoice))
                .collect(),
            invoice_of_payment: HashMap::new(),
            session_of_payment: HashMap::new(),
            session_of_invoice: HashMap::new(),
            disputes: HashMap::new(),
        };
        for bought in bought {
            if let Some(id) = &bought.stripe_subscription {
                this.by_subscription.insert(id, bought);
            }
        }
        for invoice in &read.invoices {
            for intent in invoice.payment_intent_ids() {
                this.invoice_of_payment.insert(intent, invoice);
            }
        }
        for session in &read.sessions {
            if let Some(intent) = &session.payment_intent {
                this.session_of_payment.insert(intent.id(), session);
            }
            if let Some(invoice) = &session.invoice {
                this.session_of_invoice.insert(invoice.id(), session);
            }
        }
        for dispute in &read.disputes {
            if let Some(intent) = &dispute.payment_intent {
                this.disputes.entry(intent.id()).or_default().push(dispute);
            }
        }
        this
    }

    /// All entries in the range, oldest first.
    pub(super) fn entries(&self, range: Range) -> Vec<Entry> {
        let mut entries = Vec::new();
        for charge in &self.read.charges {
            let Some(payment) = self.payment(charge) else {
                continue;
            };
            entries.extend(payment.entry());
            self.what_went_back(&payment, &mut entries);
        }
        entries.extend(
            self.read
                .invoices
                .iter()
                .filter_map(|invoice| self.paid_off_stripe(invoice)),
        );
        entries.retain(|entry| range.holds(entry.at));
        entries.sort_by(|one, other| {
            (one.at, one.what, &one.reference).cmp(&(other.at, other.what, &other.reference))
        });
        entries
    }

    /// What a charge was for; none while nobody knows whether the money comes.
    fn payment(&self, charge: &'a Charge) -> Option<Payment<'a>> {
        let amount = match charge.status.as_deref()? {
            "succeeded" if charge.captured != Some(false) => charge
                .amount_captured
                .filter(|captured| *captured > 0)
                .or(charge.amount)?,
            "failed" => 0,
            _ => return None,
        };
        let at = charge.created.and_then(time_of)?;
        let intent = payment_intent_of(charge);
        let older = charge
            .invoice
            .as_ref()
            .and_then(|invoice| self.invoices.get(invoice.id()));
        let invoice = intent
            .and_then(|intent| self.invoice_of_payment.get(intent))
            .or(older)
            .copied();
        let session = intent
            .and_then(|intent| self.session_of_payment.get(intent))
            .copied();
        let (mut lines, due) = match (
            session.map(|session| self.session_lines(session, at)),
            invoice,
        ) {
            (Some(lines), _) if !lines.is_empty() => (lines, None),
            (_, Some(invoice)) => (self.invoice_lines(invoice, at), invoice.amount_due),
            _ => (vec![self.bare_line(charge, amount, at)], None),
        };
        let ids = invoice
            .filter(|_| session.is_none())
            .and_then(|invoice| invoice.lines.as_ref());
        let line_ids = ids
            .iter()
            .flat_map(|lines| &lines.data)
            .map(|line| line.id.as_str())
            .collect();
        lines = if charge.status.as_deref() == Some("failed") {
            emptied(&lines)
        } else {
            fit(lines, due, amount)
        };
        Some(Payment {
            charge,
            invoice,
            lines,
            line_ids,
            amount,
            at,
        })
    }

    fn session_lines(&self, session: &Session, at: OffsetDateTime) -> Vec<Line> {
        let items = session.line_items.iter().flat_map(|items| &items.data);
        items
            .map(|item| Line {
                what: LineType::Item,
                bought: self
                    .of_session_line(session, item)
                    .map(|bought| purchase(bought, at, None)),
                description: item.description.clone(),
                quantity: item.quantity,
                amount: item.amount_total.unwrap_or_default(),
                tax: item.amount_tax.unwrap_or_default(),
            })
            .collect()
    }

    fn invoice_lines(&self, invoice: &Invoice, at: OffsetDateTime) -> Vec<Line> {
        let lines = invoice.lines.iter().flat_map(|lines| &lines.data);
        lines
            .map(|line| Line {
                what: LineType::Item,
                bought: self
                    .of_invoice_line(invoice, line)
                    .map(|bought| purchase(bought, at, Some(line))),
                description: line.description.clone(),
                quantity: line.quantity,
                amount: line.total(),
                tax: line.tax(),
            })
            .collect()
    }

    /// Of a payment without invoice or session: what its own metadata names, if that is one purchase.
    fn bare_line(&self, charge: &Charge, amount: i64, at: OffsetDateTime) -> Line {
        Line {
            what: LineType::Item,
            bought: self
                .named(charge.metadata.as_ref())
                .map(|bought| purchase(bought, at, None)),
            description: charge.description.clone(),
            quantity: None,
            amount,
            tax: 0,
        }
    }

    /// The one purchase of hers that metadata names.
    fn named(&self, metadata: Option<&Metadata>) -> Option<&'a OwnLine> {
        match self.observer.internal_ids(metadata)[..] {
            [id] => self.by_id.get(&id).copied(),
            _ => None,
        }
    }

    fn of_session_line(&self, session: &Session, item: &LineItem) -> Option<&'a OwnLine> {
        let held = |bought: &&OwnLine| bought.stripe_line_item.as_ref() == Some(&item.id);
        self.named(item.metadata.as_ref())
            .or_else(|| self.bought.iter().find(held))
            .or_else(|| {
                let price = item.price.as_ref()?;
                let own = |bought: &&OwnLine| bought.stripe_session.as_ref() == Some(&session.id);
                only(
                    self.bought
                        .iter()
                        .filter(own)
                        .filter(|bought| bought.stripe_price == price.id),
                )
            })
    }

    fn of_invoice_line(&self, invoice: &Invoice, line: &InvoiceLine) -> Option<&'a OwnLine> {
        let billed = || {
            self.by_subscription
                .get(line.billed_subscription()?)
                .copied()
        };
        self.named(line.metadata.as_ref())
            .or_else(billed)
            .or_else(|| self.of_first_invoice(invoice, line))
    }

    /// What is bought once along with a subscription stands on its first invoice, and there without our metadata.
    fn of_first_invoice(&self, invoice: &Invoice, line: &InvoiceLine) -> Option<&'a OwnLine> {
        let session = self.session_of_invoice.get(invoice.id.as_str()).copied();
        let is_first = invoice.billing_reason.as_deref() == Some("subscription_create");
        if session.is_none() && !is_first {
            return None;
        }
        let subscription = invoice
            .subscription_id()
            .and_then(|id| self.by_subscription.get(id));
        let items = || {
            session
                .iter()
                .flat_map(|session| session.line_items.iter())
                .flat_map(|items| &items.data)
        };
        let of_item =
            |item: &LineItem| session.and_then(|session| self.of_session_line(session, item));
        let by_price = || only(items().filter(|item| line.is_priced_as(item)));
        let by_product = || only(items().filter(|item| line.is_product_of(item)));
        let by_row = || {
            let checkout: CheckoutId = subscription?.checkout;
            let own = self
                .bought
                .iter()
                .filter(|bought| bought.checkout == checkout);
            only(own.filter(|bought| Some(bought.stripe_price.as_str()) == line.price_id()))
        };
        by_price()
            .and_then(of_item)
            .or_else(|| by_product().and_then(of_item))
            .or_else(by_row)
    }

    /// An invoice that was paid in cash, by cheque or by transfer: no charge tells of it.
    fn paid_off_stripe(&self, invoice: &'a Invoice) -> Option<Entry> {
        let amount = invoice.paid_off_stripe();
        if amount <= 0 {
            return None;
        }
        let at = invoice.paid_at().and_then(time_of)?;
        let lines = fit(self.invoice_lines(invoice, at), invoice.amount_due, amount);
        let entry = Entry {
            at,
            what: EntryType::Payment,
            state: None,
            reference: invoice.id.clone(),
            currency: invoice.currency.clone()?,
            amount,
            attempted_amount: None,
            tax: 0,
            lines,
            receipt_url: None,
            invoice_url: invoice.hosted_invoice_url.clone(),
            invoice_pdf: invoice.invoice_pdf.clone(),
            cause: None,
        };
        Some(with_tax(entry))
    }

    fn what_went_back(&self, payment: &Payment<'_>, entries: &mut Vec<Entry>) {
        let refunds = payment
            .charge
            .refunds
            .iter()
            .flat_map(|refunds| &refunds.data);
        let mut refunds: Vec<&Refund> = refunds.collect();
        refunds.sort_by_key(|refund| (refund.created, &refund.id));
        let mut ledger = Ledger::new(&payment.lines);
        for refund in refunds {
            let amount = refund.amount.unwrap_or_default();
            let state = match refund.status.as_deref() {
                Some("failed" | "canceled") => "failed",
                Some("succeeded") => "succeeded",
                _ => "pending",
            };
            let lines = if state == "failed" || amount <= 0 {
                emptied(&payment.lines)
            } else {
                ledger.take(amount, &self.meant(payment, refund))
            };
            let cause = Cause::of_refund(refund);
            entries.extend(payment.back(
                EntryType::Refund,
                &refund.id,
                refund.created,
                state,
                lines,
                cause,
            ));
        }
        let disputes =
            payment_intent_of(payment.charge).and_then(|intent| self.disputes.get(intent));
        for dispute in disputes.into_iter().flatten() {
            let status = dispute.status.as_deref().unwrap_or_default();
            let Some(state) = money::dispute_state(status).map(DisputeState::as_str) else {
                continue;
            };
            let amount = dispute.amount.unwrap_or_default();
            let lines = if state == "won" || amount <= 0 {
                emptied(&payment.lines)
            } else if dispute.currency != payment.charge.currency {
                foreign(&payment.lines, amount)
            } else {
                // What was refunded before is another matter: the bank takes the payment as it was made.
                Ledger::new(&payment.lines).take(amount, &[])
            };
            let cause = Cause::of_dispute(dispute);
            let mut entry = payment.back(
                EntryType::Dispute,
                &dispute.id,
                dispute.created,
                state,
                lines,
                cause,
            );
            if let (Some(entry), Some(currency)) = (&mut entry, &dispute.currency) {
                entry.currency.clone_from(currency);
            }
            entries.extend(entry);
        }
    }

    /// The lines that a refund was for, as its metadata says, or its credit note's, or the credit note's lines.
    fn meant(&self, payment: &Payment<'_>, refund: &Refund) -> Vec<(usize, Option<i64>)> {
        let at = |ids: Vec<SubscriptionId>| -> Vec<(usize, Option<i64>)> {
            let is_meant = |line: &Line| {
                line.bought
                    .as_ref()
                    .is_some_and(|bought| ids.contains(&bought.id))
            };
            let lines = payment
                .lines
                .iter()
                .enumerate()
                .filter(|(_, line)| is_meant(line));
            lines.map(|(at, _)| (at, None)).collect()
        };
        let by_refund = at(self.observer.internal_ids(refund.metadata.as_ref()));
        if !by_refund.is_empty() {
            return by_refund;
        }
        let Some(note) = self
            .read
            .credit_notes
            .iter()
            .find(|note| note.has_refund(&refund.id))
        else {
            return Vec::new();
        };
        let by_note = at(self.observer.internal_ids(note.metadata.as_ref()));
        if by_note.is_empty() {
            by_lines(payment, note)
        } else {
            by_note
        }
    }
}

fn by_lines(payment: &Payment<'_>, note: &CreditNote) -> Vec<(usize, Option<i64>)> {
    let credited = note.lines.iter().flat_map(|lines| &lines.data);
    let mut meant: Vec<(usize, Option<i64>)> = Vec::new();
    for line in credited {
        let found = payment
            .line_ids
            .iter()
            .position(|id| line.invoice_line_item.as_deref() == Some(*id));
        // One that credits something else as well says too little of each.
        let Some(at) = found.filter(|at| meant.iter().all(|(other, _)| other != at)) else {
            return Vec::new();
        };
        meant.push((at, line.amount));
    }
    meant
}

impl Payment<'_> {
    fn entry(&self) -> Option<Entry> {
        let failed = self.charge.status.as_deref() == Some("failed");
        let invoice = self.invoice.map(|invoice| invoice.id.as_str());
        let reference = invoice
            .or_else(|| payment_intent_of(self.charge))
            .unwrap_or(&self.charge.id);
        let entry = Entry {
            at: self.at,
            what: if failed {
                EntryType::PaymentFailed
            } else {
                EntryType::Payment
            },
            state: None,
            reference: reference.to_owned(),
            currency: self.charge.currency.clone()?,
            amount: self.amount,
            attempted_amount: self.charge.amount.filter(|_| failed),
            tax: 0,
            lines: self.lines.clone(),
            receipt_url: self.charge.receipt_url.clone().filter(|_| !failed),
            invoice_url: self
                .invoice
                .and_then(|invoice| invoice.hosted_invoice_url.clone()),
            invoice_pdf: self.invoice.and_then(|invoice| invoice.invoice_pdf.clone()),
            cause: failed.then(|| Cause::of_charge(self.charge)),
        };
        Some(with_tax(entry))
    }

    fn back(
        &self,
        what: EntryType,
        id: &str,
        created: Option<i64>,
        state: &'static str,
        lines: Vec<Line>,
        cause: Option<Cause>,
    ) -> Option<Entry> {
        let entry = Entry {
            at: created.and_then(time_of)?,
            what,
            state: Some(state),
            reference: id.to_owned(),
            amount: lines.iter().map(|line| line.amount).sum(),
            attempted_amount: None,
            lines,
            cause,
            ..self.entry()?
        };
        Some(with_tax(entry))
    }
}

fn with_tax(mut entry: Entry) -> Entry {
    entry.tax = entry.lines.iter().map(|line| line.tax).sum();
    entry
}

/// The purchase as it was: a line at another price than today's is of the plan before the next change, and one that gives
/// back what was left of a plan is of the plan before the last.
fn purchase(bought: &OwnLine, at: OffsetDateTime, line: Option<&InvoiceLine>) -> Purchase {
    let price = line.and_then(InvoiceLine::price_id);
    let is_todays = price == Some(bought.stripe_price.as_str());
    let next = bought
        .plans_before
        .iter()
        .find(|(changed, _)| *changed >= at);
    let gives_back = line.is_some_and(|line| line.total() < 0);
    let last = bought.plans_before.last().filter(|_| gives_back);
    let before = next.or(last).filter(|_| !is_todays).map(|(_, plan)| plan);
    Purchase {
        id: bought.id,
        plan: before.unwrap_or(&bought.plan).clone(),
        kind: bought.kind,
    }
}

/// The only one, if it is.
fn only<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests;
