//! Money as Stripe tells it: payments, tries that failed, refunds and disputes, each together with our row of it.

use time::OffsetDateTime;

use super::ownership::{Whose, intent_of};
use super::sentences::{Method, Who};
use super::stripe::{Teller, money_of};
use super::{Entry, EntryKind, Rank, differs, sentences};
use crate::domain::ids::SubscriptionId;
use crate::storage::transactions::TransactionRow;
use crate::stripe::declines;
use crate::stripe::objects::{Charge, Dispute, Expandable, Refund, Session, time_of};

/// The metadata key of the action that has paid back.
const ACTION_KEY: &str = "dues_action_id";

impl<'a> Teller<'a> {
    /// All of it.
    pub(super) fn money(&mut self) -> Vec<Entry> {
        let read = self.read;
        let mut entries = Vec::new();
        // Oldest first: tries are recorded in their order.
        for charge in read.charges.iter().rev() {
            let fitting = self.page_that_fits(charge);
            let whose = match fitting {
                Some(page) => self.owned.of_session(page),
                None => self.owned.of_charge(charge),
            };
            let Some(lines) = self.told(whose) else {
                continue;
            };
            entries.extend(self.charge(charge, &lines, fitting));
            let refunds = charge.refunds.iter().flat_map(|refunds| &refunds.data);
            entries.extend(refunds.filter_map(|refund| self.refund(charge, refund, &lines)));
        }
        entries.extend(read.disputes.iter().filter_map(|it| self.dispute(it)));
        entries
    }

    /// The page on which a try failed that belongs to nobody: Stripe knows no more of it before the subscription is paid.
    fn page_that_fits(&self, charge: &Charge) -> Option<&'a Session> {
        let is_nobodys = self.owned.of_charge(charge) == Whose::Nobody;
        let fits = |session: &&Session| {
            let open = session.created..=session.expires_at;
            session.mode.as_deref() == Some("subscription")
                && session.status.as_deref() != Some("complete")
                && (session.amount_total, &session.currency) == (charge.amount, &charge.currency)
                && open.contains(&charge.created)
        };
        let failed = charge.status.as_deref() == Some("failed");
        let mut fitting = self.read.sessions.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(one), None) if is_nobodys && failed => Some(one),
            _ => None,
        }
    }

    fn charge(
        &mut self,
        charge: &Charge,
        lines: &[SubscriptionId],
        fitting: Option<&Session>,
    ) -> Option<Entry> {
        let at = charge.created.and_then(time_of)?;
        match charge.status.as_deref()? {
            "succeeded" if charge.captured != Some(false) => self.payment(charge, at, lines),
            "pending" => self.under_way(charge, at, lines),
            "failed" => self.failed(charge, at, lines, fitting),
            _ => None,
        }
    }

    fn payment(
        &mut self,
        charge: &Charge,
        at: OffsetDateTime,
        lines: &[SubscriptionId],
    ) -> Option<Entry> {
        let taken = charge
            .amount_captured
            .filter(|amount| *amount > 0)
            .or(charge.amount);
        let paid = money_of(taken, charge.currency.as_ref())?;
        let intent = intent_of(charge);
        let invoice = self.owned.invoice_of(charge);
        let billed = invoice.and_then(|invoice| time_of(invoice.created?));
        let invoice = invoice.map(|invoice| invoice.id.as_str());
        let is_it = |row: &TransactionRow| {
            let payment = row.stripe_payment_intent_id.as_deref();
            let by_invoice = payment.is_none() && Some(row.stripe_reference.as_str()) == invoice;
            row.kind == "payment" && (payment.is_some() && payment == intent || by_invoice)
        };
        let row = self.recorded(is_it);
        let recorded_after = row.as_ref().map(|row| row.created_at - row.occurred_at);
        let text = sentences::paid(
            paid.clone(),
            &Method::of(charge),
            &self.rows.plans(lines),
            (recorded_after, charge.receipt_number.as_deref()),
        );
        let reference = invoice.or(intent).unwrap_or(&charge.id);
        let mut entry = self.entry(Rank::Paid, at, (text, reference), lines, row.as_ref());
        let line = lines.iter().find_map(|id| self.rows.line(*id));
        let needs = line.and_then(|line| self.rows.advice_for_payment(line, entry.at, billed));
        entry.advice = needs.filter(|_| !charge.refunded);
        if row.is_none() && !lines.is_empty() {
            entry.differs = Some(differs::paid(paid));
            entry.advice = entry.advice.or_else(|| Some(sentences::SYNC.to_owned()));
        }
        Some(entry)
    }

    fn under_way(
        &mut self,
        charge: &Charge,
        at: OffsetDateTime,
        lines: &[SubscriptionId],
    ) -> Option<Entry> {
        let amount = money_of(charge.amount, charge.currency.as_ref())?;
        let text = sentences::under_way(amount, &Method::of(charge), &self.rows.plans(lines));
        let reference = intent_of(charge).unwrap_or(&charge.id);
        let mut entry = self.at_stripe(Rank::Billed, at, (text, reference), lines);
        entry.advice = Some(sentences::WAIT_FOR_THE_DEBIT.to_owned());
        Some(entry)
    }

    fn failed(
        &mut self,
        charge: &Charge,
        at: OffsetDateTime,
        lines: &[SubscriptionId],
        fitting: Option<&Session>,
    ) -> Option<Entry> {
        let amount = money_of(charge.amount, charge.currency.as_ref())?;
        let said = charge
            .outcome
            .as_ref()
            .and_then(|outcome| outcome.reason.as_deref());
        let why = declines::explain(said, charge.failure_code.as_deref());
        let invoice = self.owned.invoice_of(charge);
        let row = self.record_of_failure(charge, at);
        let is_paid = self.has_another(charge, "succeeded");
        let next = invoice
            .filter(|invoice| invoice.status.as_deref() == Some("open"))
            .and_then(|invoice| invoice.next_payment_attempt.and_then(time_of));
        let text = sentences::failed(
            amount,
            &Method::of(charge),
            &self.rows.plans(lines),
            (why.message, is_paid, next),
        );
        let text = match fitting {
            Some(_) => sentences::by_all_signs(text),
            None => text,
        };
        let reference = invoice.map(|invoice| invoice.id.as_str());
        let reference = reference.or(intent_of(charge)).unwrap_or(&charge.id);
        let mut entry = self.entry(Rank::Failed, at, (text, reference), lines, row.as_ref());
        entry.advice = if is_paid || lines.is_empty() {
            None
        } else if self.has_another(charge, "pending") {
            Some(sentences::WAIT_FOR_THE_DEBIT.to_owned())
        } else {
            let is_open = invoice.is_some_and(|it| it.status.as_deref() == Some("open"));
            let page = fitting.map(|page| page.status.as_deref() == Some("open"));
            let page = page.unwrap_or_else(|| self.page_is_open(charge));
            let place = (page, is_open);
            Some(sentences::another_card(why.advice, place))
        };
        Some(entry)
    }

    /// The row of a try that failed: the one of its payment or invoice that is nearest in time. A debit fails days after it
    /// was begun.
    fn record_of_failure(&mut self, charge: &Charge, at: OffsetDateTime) -> Option<TransactionRow> {
        let invoice = self
            .owned
            .invoice_of(charge)
            .map(|invoice| invoice.id.as_str());
        let intent = intent_of(charge);
        let is_one = |row: &&TransactionRow| {
            let base = row.stripe_reference.split('#').next();
            row.kind == "payment_failed" && (base == invoice || base == intent)
        };
        let candidates = self.rows.transactions.iter().filter(is_one);
        let nearest = candidates.min_by_key(|row| (row.occurred_at - at).abs())?;
        let reference = nearest.stripe_reference.clone();
        let is_it = |row: &TransactionRow| {
            row.kind == "payment_failed" && row.stripe_reference == reference
        };
        self.rows.take(is_it).into_iter().next()
    }

    fn refund(
        &mut self,
        charge: &Charge,
        refund: &Refund,
        lines: &[SubscriptionId],
    ) -> Option<Entry> {
        let at = refund.created.and_then(time_of)?;
        let amount = money_of(refund.amount, charge.currency.as_ref())?;
        let state = match refund.status.as_deref() {
            Some("succeeded") => "succeeded",
            Some("failed" | "canceled") => "failed",
            _ => "pending",
        };
        let is_it =
            |row: &TransactionRow| row.kind == "refund" && row.stripe_reference == refund.id;
        let row = self.recorded(is_it);
        let why = refund
            .failure_reason
            .as_deref()
            .or(refund.reason.as_deref());
        let text = sentences::refund(amount.clone(), state, &self.rows.plans(lines), why);
        let place = (text, refund.id.as_str());
        let mut entry = self.entry(Rank::Refunded, at, place, lines, row.as_ref());
        let metadata = refund.metadata.as_ref();
        let action = metadata.and_then(|metadata| self.rows.action(metadata.get(ACTION_KEY)?));
        if let Some(action) = action {
            entry.cause = Some(sentences::by_operator(&Who::of(action)));
            entry.actor = Some(action.actor.clone());
            entry.role = Some(action.role.clone());
            let asked = action.at;
            entry.after(asked);
        }
        let ours = row.as_ref().and_then(|row| row.state.as_deref());
        entry.advice =
            sentences::advice_of_transaction("refund", Some(state), false).map(str::to_owned);
        if !lines.is_empty() && ours != Some(state) {
            entry.differs = Some(differs::refund(amount, state, ours));
            entry.advice = Some(sentences::SYNC.to_owned());
        }
        Some(entry)
    }

    fn dispute(&mut self, dispute: &Dispute) -> Option<Entry> {
        let intent = dispute.payment_intent.as_ref().map(Expandable::id);
        let charge =
            self.read.charges.iter().find(|charge| {
                intent.is_some() && intent_of(charge) == intent && charge.disputed
            })?;
        let lines = self.told(self.owned.of_charge(charge))?;
        let at = dispute.created.and_then(time_of)?;
        let amount = money_of(dispute.amount, dispute.currency.as_ref())?;
        let status = dispute.status.as_deref().unwrap_or_default();
        let state = match status {
            "lost" => "lost",
            "won" | "warning_closed" | "prevented" => "won",
            _ => "open",
        };
        let row = self.recorded(|row| row.kind == "dispute" && row.stripe_reference == dispute.id);
        let due = dispute
            .evidence_details
            .and_then(|details| details.due_by)
            .and_then(time_of);
        let text = sentences::dispute(
            amount.clone(),
            state,
            &self.rows.plans(&lines),
            (dispute.reason.as_deref(), due),
        );
        let place = (text, dispute.id.as_str());
        let mut entry = self.entry(Rank::Disputed, at, place, &lines, row.as_ref());
        let ours = row.as_ref().and_then(|row| row.state.as_deref());
        entry.advice =
            sentences::advice_of_transaction("dispute", Some(state), false).map(str::to_owned);
        // A warning changes nothing here, and need not be recorded.
        let is_warning = status.starts_with("warning_") || status == "prevented";
        if !lines.is_empty() && ours != Some(state) && !is_warning {
            entry.differs = Some(differs::dispute(amount, state, ours));
            entry.advice = Some(sentences::SYNC.to_owned());
        }
        Some(entry)
    }

    /// Our row of what Stripe tells, taken out of the rows so that it is not told twice.
    fn recorded(&mut self, is_it: impl Fn(&TransactionRow) -> bool) -> Option<TransactionRow> {
        let taken = self.rows.take(&is_it).into_iter().next();
        taken.or_else(|| self.owned.recorded.iter().find(|row| is_it(row)).cloned())
    }

    /// An entry of what Stripe has, and of our row where there is one.
    fn entry(
        &self,
        rank: Rank,
        at: OffsetDateTime,
        told: (super::Text, &str),
        lines: &[SubscriptionId],
        row: Option<&TransactionRow>,
    ) -> Entry {
        let at = row.map_or(at, |row| row.occurred_at);
        let mut entry = self.at_stripe(rank, at, told, lines);
        if let Some(row) = row {
            entry.kind = EntryKind::Transaction;
            entry.cause = Some(sentences::cause("webhook", None));
            entry.reference = Some(row.stripe_reference.clone());
        }
        entry
    }
}
