//! What Stripe's objects tell: pages, subscriptions, invoices and credit notes. Money that moved is in `money`.

use time::OffsetDateTime;

use super::ownership::{Owned, Whose, intent_of};
use super::reading::Read;
use super::rows::{Rows, Wanted};
use super::{Entry, EntryKind, Money, Rank, differs, sentences};
use crate::catalogue::Offer;
use crate::domain::ids::SubscriptionId;
use crate::services::operators::Operators;
use crate::stripe::objects::{
    Charge, CreditNote, Expandable, Invoice, Session, Subscription, time_of,
};

/// Tells what was read; what our rows tell alike is taken out of them.
pub(super) struct Teller<'a> {
    pub(super) rows: &'a mut Rows,
    pub(super) read: &'a Read,
    pub(super) owned: &'a Owned<'a>,
    pub(super) now: OffsetDateTime,
    offers: Vec<Offer>,
}

impl<'a> Teller<'a> {
    pub(super) fn new(
        operators: &Operators,
        rows: &'a mut Rows,
        read: &'a Read,
        owned: &'a Owned<'a>,
        now: OffsetDateTime,
    ) -> Self {
        let priced = operators.purchases.catalogue.current().held();
        Self {
            offers: priced.map_or_else(Vec::new, |priced| priced.offers.to_vec()),
            rows,
            read,
            owned,
            now,
        }
    }

    pub(super) fn entries(mut self) -> Vec<Entry> {
        let read = self.read;
        let mut entries = self.money();
        entries.extend(read.invoices.iter().filter_map(|it| self.invoice(it)));
        entries.extend(
            read.credit_notes
                .iter()
                .filter_map(|it| self.credit_note(it)),
        );
        entries.extend(read.sessions.iter().filter_map(|it| self.session(it)));
        let subscriptions = read.subscriptions.iter();
        entries.extend(subscriptions.filter_map(|(at, it)| self.subscription(*at, it)));
        entries.extend(read.gone.iter().map(|id| self.gone(id)));
        entries
    }

    /// The lines of an object that is told of; none at all where it is not, no line where it is nobody's.
    pub(super) fn told(&self, whose: Whose) -> Option<Vec<SubscriptionId>> {
        match whose {
            Whose::Lines(lines) => {
                { lines.iter().any(|line| self.rows.wanted.is_of(*line)) }.then_some(lines)
            }
            Whose::Nobody => (self.rows.wanted == Wanted::Member).then(Vec::new),
            Whose::Another => None,
        }
    }

    /// An entry of what Stripe alone has.
    pub(super) fn at_stripe(
        &self,
        rank: Rank,
        at: OffsetDateTime,
        (text, reference): (super::Text, &str),
        lines: &[SubscriptionId],
    ) -> Entry {
        let text = if lines.is_empty() {
            sentences::not_bought_here(text)
        } else {
            text
        };
        let mut entry = Entry::new(EntryKind::Stripe, rank, at, text);
        entry.reference = Some(reference.to_owned());
        self.rows.of_money(&mut entry, lines);
        entry
    }

    /// An invoice that no payment tells of.
    fn invoice(&mut self, invoice: &Invoice) -> Option<Entry> {
        let lines = self.told(self.owned.of_invoice(invoice))?;
        let at = invoice.created.and_then(time_of)?;
        let charges = || {
            let is_of = |charge: &&Charge| {
                self.owned
                    .invoice_of(charge)
                    .is_some_and(|it| it.id == invoice.id)
            };
            self.read.charges.iter().filter(is_of)
        };
        let has = |status| charges().any(|charge| charge.status.as_deref() == Some(status));
        let due = money_of(
            invoice.amount_due.or(invoice.total),
            invoice.currency.as_ref(),
        )?;
        let plans = self.rows.plans(&lines);
        let text = match invoice.status.as_deref()? {
            "paid" if has("succeeded") => return None,
            "paid" => return self.paid_without_a_charge(invoice, &lines),
            "open" if has("pending") => return None,
            "open" => {
                let next = invoice.next_payment_attempt.and_then(time_of);
                sentences::open_invoice(
                    due,
                    &plans,
                    invoice.attempt_count.unwrap_or_default(),
                    next,
                )
            }
            "draft" => sentences::draft_invoice(due, &plans),
            _ if due.amount == 0 => return None,
            "void" => sentences::withdrawn_invoice(due, &plans),
            _ => sentences::invoice_given_up(due, &plans),
        };
        let is_open = invoice.status.as_deref() == Some("open");
        let mut entry = self.at_stripe(Rank::Billed, at, (text, &invoice.id), &lines);
        let has_failed = has("failed");
        entry.advice = (is_open && !has_failed && !lines.is_empty())
            .then(|| sentences::PAY_WHAT_IS_OPEN.to_owned());
        Some(entry)
    }

    /// Paid in cash, by cheque or by transfer, with credit, or with nothing.
    fn paid_without_a_charge(
        &mut self,
        invoice: &Invoice,
        lines: &[SubscriptionId],
    ) -> Option<Entry> {
        let at = invoice.paid_at().or(invoice.created).and_then(time_of)?;
        let paid = money_of(invoice.amount_paid, invoice.currency.as_ref())?;
        let is_it = |row: &crate::storage::transactions::TransactionRow| {
            row.kind == "payment" && row.stripe_reference == invoice.id
        };
        let taken = self.rows.take(is_it);
        let is_recorded = !taken.is_empty() || self.owned.recorded.iter().any(is_it);
        let plans = self.rows.plans(lines);
        let outside = invoice.paid_off_stripe() > 0;
        let text = sentences::paid_without_a_charge(paid.clone(), outside, &plans);
        let at = taken.first().map_or(at, |row| row.occurred_at);
        let mut entry = self.at_stripe(Rank::Paid, at, (text, &invoice.id), lines);
        if is_recorded {
            entry.kind = EntryKind::Transaction;
            entry.cause = Some(sentences::cause("webhook", None));
        } else if !lines.is_empty() {
            entry.differs = Some(differs::paid(paid));
            entry.advice = Some(sentences::SYNC.to_owned());
        }
        Some(entry)
    }

    fn credit_note(&self, note: &CreditNote) -> Option<Entry> {
        let invoice = note.invoice.as_ref()?.id();
        let invoice = self.read.invoices.iter().find(|it| it.id == invoice)?;
        let lines = self.told(self.owned.of_invoice(invoice))?;
        let at = note.created.and_then(time_of)?;
        let credited = money_of(note.amount, note.currency.as_ref())?;
        let text = sentences::credit_note(credited, &self.rows.plans(&lines));
        Some(self.at_stripe(Rank::Refunded, at, (text, &note.id), &lines))
    }

    fn session(&self, session: &Session) -> Option<Entry> {
        let lines = self.told(self.owned.of_session(session))?;
        let line = lines.iter().find(|line| self.rows.wanted.is_of(**line))?;
        let placed = self
            .rows
            .lines
            .iter()
            .find(|placed| placed.line.id == *line)?;
        let at = session
            .created
            .and_then(time_of)
            .unwrap_or(placed.line.created_at);
        let total = money_of(session.amount_total, session.currency.as_ref());
        let status = session.status.as_deref().unwrap_or_default();
        let is_paid = session.payment_status.as_deref() != Some("unpaid");
        let expires = session.expires_at.and_then(time_of);
        let text = sentences::page(total, &self.rows.plans(&lines), (status, is_paid), expires);
        let mut entry = self.at_stripe(Rank::Opened, at, (text, &session.id), &lines);
        let ours = self.rows.checkout(placed).map(|row| row.status.as_str());
        entry.differs = ours.and_then(|ours| differs::page(status, is_paid, ours));
        entry.advice = match status {
            _ if entry.differs.is_some() => Some(sentences::SYNC.to_owned()),
            "open" => Some(sentences::PAGE_IS_OPEN.to_owned()),
            _ => None,
        };
        Some(entry)
    }

    /// How a subscription stands at Stripe now; of one that was not bought here, that it is there.
    fn subscription(&self, now: OffsetDateTime, one: &Subscription) -> Option<Entry> {
        let lines = self.told(self.owned.of_subscription(one))?;
        let price = one.price_id();
        let plan = price.and_then(|price| self.plan_at(price));
        let ends = one
            .ended_at
            .or(one.cancel_at)
            .and_then(time_of)
            .or_else(|| {
                let end = one.period_end().and_then(time_of);
                end.filter(|_| one.cancel_at_period_end)
            });
        let next = one
            .period_end()
            .and_then(time_of)
            .filter(|_| ends.is_none());
        let status = one.status.as_deref().unwrap_or_default();
        let text = sentences::subscription(status, plan, one.item_quantity(), (next, ends));
        let Some(line) = lines.iter().find_map(|id| self.rows.line(*id)) else {
            let at = one.created.and_then(time_of)?;
            let mut entry = self.at_stripe(Rank::Billed, at, (text, &one.id), &lines);
            let is_over = matches!(status, "canceled" | "incomplete_expired");
            entry.advice = (!is_over).then(|| sentences::adopt(&one.id));
            return Some(entry);
        };
        let mut entry = self.at_stripe(Rank::Now, now, (text, &one.id), &lines);
        entry.order.at = now.max(self.now);
        let is_flagged = self
            .rows
            .events
            .values()
            .any(|event| event.object_id == one.id && event.state == "flagged");
        let theirs = differs::Theirs {
            one,
            plan,
            is_flagged,
        };
        if let Some((differs, advice)) = differs::subscription(line, &theirs) {
            entry.differs = Some(differs);
            entry.advice = Some(advice.to_owned());
        }
        Some(entry)
    }

    /// The code of the plan that has that price.
    fn plan_at(&self, price: &str) -> Option<&str> {
        let offer = self.offers.iter().find(|offer| offer.price_id == price);
        let own = self.rows.lines.iter().find(|placed| {
            let code = placed.line.plan.as_str();
            self.offers
                .iter()
                .any(|offer| offer.price_id == price && offer.plan.code == code)
        });
        own.map(|placed| placed.line.plan.as_str())
            .or_else(|| offer.map(|offer| offer.plan.code.as_str()))
    }

    fn gone(&self, id: &str) -> Entry {
        let line = self.rows.places.get(id).copied();
        let lines: Vec<SubscriptionId> = line.into_iter().collect();
        let text = sentences::not_at_stripe();
        let mut entry = self.at_stripe(Rank::Now, self.now, (text, id), &lines);
        entry.differs = Some(differs::gone());
        entry.advice = Some(sentences::LOOK_INTO_THE_ACCOUNT.to_owned());
        entry
    }

    /// Whether another charge of the same payment or invoice stands like this.
    pub(super) fn has_another(&self, charge: &Charge, status: &str) -> bool {
        let invoice = |it| self.owned.invoice_of(it).map(|invoice| invoice.id.as_str());
        self.read.charges.iter().any(|other| {
            let same = (intent_of(charge).is_some() && intent_of(other) == intent_of(charge))
                || (invoice(charge).is_some() && invoice(other) == invoice(charge));
            same && other.id != charge.id && other.status.as_deref() == Some(status)
        })
    }

    /// Whether the page on which a charge was tried can still be paid.
    pub(super) fn page_is_open(&self, charge: &Charge) -> bool {
        let invoice = self
            .owned
            .invoice_of(charge)
            .map(|invoice| invoice.id.as_str());
        self.read.sessions.iter().any(|session| {
            let paid = session.payment_intent.as_ref().map(Expandable::id);
            let billed = session.invoice.as_ref().map(Expandable::id);
            let same = (paid.is_some() && paid == intent_of(charge))
                || (billed.is_some() && billed == invoice);
            same && session.status.as_deref() == Some("open")
        })
    }
}

/// An amount, where both halves of it are told.
pub(super) fn money_of(amount: Option<i64>, currency: Option<&String>) -> Option<Money> {
    Some(Money {
        amount: amount?,
        currency: currency?.clone(),
    })
}
