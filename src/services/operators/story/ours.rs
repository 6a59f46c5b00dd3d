//! What our rows tell: changes, transactions, events that are not at their end, actions.

use std::collections::HashSet;

use time::OffsetDateTime;

use super::rows::Rows;
use super::sentences::{self, Who};
use super::{Entry, EntryKind, Rank};
use crate::domain::ids::SubscriptionId;
use crate::domain::lifecycle::FINAL_INVOICE;
use crate::domain::subscription::{Status, Subscription};
use crate::storage::actions::ActionRow;
use crate::storage::status_changes::ChangeRow;
use crate::storage::transactions::TransactionRow;
use crate::storage::webhook_events::EventRow;

impl Rows {
    /// All that is left to be told from our rows.
    pub(super) fn entries(&self, now: OffsetDateTime) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self.actions.iter().map(|row| self.of_action(row)).collect();
        let mut seen = HashSet::new();
        for row in &self.changes {
            let is_newest = seen.insert(row.subscription_id);
            entries.push(self.of_change(row, is_newest));
        }
        entries.extend(self.events.values().filter_map(|row| self.of_event(row)));
        entries.extend(self.money());
        let oldest = self.told().map(|placed| placed.line.created_at).min();
        if oldest.is_some_and(|oldest| oldest < self.purged_before && self.purged_before < now) {
            let text = sentences::purged(self.purged_before);
            entries.push(Entry::new(
                EntryKind::Note,
                Rank::Note,
                self.purged_before,
                text,
            ));
        }
        entries
    }

    fn of_change(&self, row: &ChangeRow, is_newest: bool) -> Entry {
        let id = SubscriptionId(row.subscription_id);
        let line = self.line(id);
        let rank = match row.from_status {
            None => Rank::Ordered,
            Some(_) => Rank::Change,
        };
        let plan = row
            .to_plan
            .as_deref()
            .or(line.map(|line| line.plan.as_str()));
        let text = sentences::change(row, plan.unwrap_or_default());
        let mut entry = Entry::new(EntryKind::Change, rank, row.at, text);
        entry.order.seq = row.seq;
        let action = row.cause_ref.as_deref().and_then(|id| self.action(id));
        let event = row.cause_ref.as_deref().and_then(|id| self.events.get(id));
        entry.cause = Some(match (action, event) {
            (Some(action), _) => sentences::by_operator(&Who::of(action)),
            (None, event) => sentences::cause(&row.cause, event.map(|event| event.r#type.as_str())),
        });
        entry.actor = Some(match row.cause.as_str() {
            "webhook" => "stripe".to_owned(),
            "return" => "browser".to_owned(),
            "member" => "member".to_owned(),
            "operator" => row.actor.clone().unwrap_or_else(|| "operator".to_owned()),
            _ => "upkeep".to_owned(),
        });
        entry.role = action.map(|action| action.role.clone());
        entry.reference.clone_from(&row.cause_ref);
        entry.subscription = Some(id);
        if let Some(cause) = event
            .map(|event| event.created)
            .max(action.map(|action| action.at))
        {
            // Our clock may be a little behind Stripe's.
            entry.at = entry.at.max(cause);
            entry.order.at = entry.at;
        }
        entry.advice = line
            .filter(|line| is_newest && line.reason.as_str() == row.reason)
            .and_then(|line| sentences::what_to_do(line.status, line.reason, line.recurring))
            .map(str::to_owned);
        entry
    }

    fn of_event(&self, row: &EventRow) -> Option<Entry> {
        let (text, advice) = sentences::event(row)?;
        let mut entry = Entry::new(EntryKind::Event, Rank::Event, row.received_at, text);
        entry.cause = Some(sentences::cause("webhook", Some(&row.r#type)));
        entry.actor = Some("stripe".to_owned());
        entry.reference = Some(row.id.clone());
        entry.subscription = self.places.get(&row.object_id).copied();
        entry.advice = advice.map(str::to_owned);
        Some(entry)
    }

    fn of_action(&self, row: &ActionRow) -> Entry {
        let text = sentences::action(row);
        let mut entry = Entry::new(EntryKind::Action, Rank::Action, row.at, text);
        entry.order.seq = row.seq;
        entry.cause = Some(sentences::by_operator(&Who::of(row)));
        entry.actor = Some(row.actor.clone());
        entry.role = Some(row.role.clone());
        entry.reference = Some(row.id.to_string());
        let line = row.subject.parse().ok().map(SubscriptionId);
        entry.subscription = line
            .filter(|id| self.line(*id).is_some())
            .or_else(|| self.places.get(&row.subject).copied());
        entry.advice = sentences::advice_of_action(row).map(str::to_owned);
        entry
    }

    /// Payments, refunds and disputes of which Stripe has told nothing here. Those of several lines are one entry.
    fn money(&self) -> Vec<Entry> {
        let mut groups: Vec<Vec<&TransactionRow>> = Vec::new();
        for row in &self.transactions {
            let same = |group: &&mut Vec<&TransactionRow>| {
                group[0].kind == row.kind && group[0].stripe_reference == row.stripe_reference
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.push(row),
                None => groups.push(vec![row]),
            }
        }
        let told = groups.iter().map(|group| {
            let row = group[0];
            let lines: Vec<SubscriptionId> = { group.iter() }
                .map(|row| SubscriptionId(row.subscription_id))
                .collect();
            let mut entry = Entry::new(
                EntryKind::Transaction,
                rank_of(&row.kind),
                row.occurred_at,
                sentences::transaction(row, &self.plans(&lines)),
            );
            entry.reference = Some(row.stripe_reference.clone());
            self.of_money(&mut entry, &lines);
            entry.advice = self.advice(row, &lines);
            entry
        });
        told.collect()
    }

    /// What holds for every entry of money: who told of it, whose it is, and that it came after the order.
    pub(super) fn of_money(&self, entry: &mut Entry, lines: &[SubscriptionId]) {
        entry.cause = Some(match entry.kind {
            EntryKind::Transaction => sentences::cause("webhook", None),
            _ => sentences::AT_STRIPE.to_owned(),
        });
        entry.actor = Some("stripe".to_owned());
        let first = lines.iter().find(|id| self.wanted.is_of(**id));
        entry.subscription = first.or(lines.first()).copied();
        let line = entry.subscription.and_then(|id| self.line(id));
        if let Some(line) = line {
            entry.after(line.created_at);
        }
    }

    /// What can be done about a transaction, as far as our rows tell.
    pub(super) fn advice(&self, row: &TransactionRow, lines: &[SubscriptionId]) -> Option<String> {
        let line = lines.iter().find_map(|id| self.line(*id))?;
        if row.kind == "payment" {
            let went_back = self.transactions.iter().any(|other| {
                other.kind == "refund"
                    && other.state.as_deref() != Some("failed")
                    && other.stripe_payment_intent_id == row.stripe_payment_intent_id
            });
            let needed = self.advice_for_payment(line, row.occurred_at, None);
            return needed.filter(|_| !went_back);
        }
        let is_over = line.status == Status::Ended;
        sentences::advice_of_transaction(&row.kind, row.state.as_deref(), is_over)
            .map(str::to_owned)
    }

    /// What can be done about a payment of a line: it came after the end, or it is one too many.
    pub(super) fn advice_for_payment(
        &self,
        line: &Subscription,
        at: OffsetDateTime,
        billed: Option<OffsetDateTime>,
    ) -> Option<String> {
        // What is billed with the end is paid a moment after it; only Stripe knows when it was billed.
        let is_late = |ended: OffsetDateTime| match billed {
            Some(billed) => billed < ended && at > ended,
            None => at > ended.saturating_add(FINAL_INVOICE),
        };
        if line.recurring && line.ended_at.is_some_and(is_late) {
            return Some(sentences::PAID_AFTER_THE_END.to_owned());
        }
        let is_first = line.first_paid_at.is_none_or(|first| first >= at);
        let before = self.paid_just_before(line).filter(|_| is_first)?;
        Some(sentences::paid_twice(before.id))
    }

    /// The codes of the lines' plans, as they are named in a sentence.
    pub(super) fn plans(&self, lines: &[SubscriptionId]) -> String {
        let lines = lines.iter().filter_map(|id| self.line(*id));
        let mut plans: Vec<&str> = lines.map(|line| line.plan.as_str()).collect();
        plans.dedup();
        sentences::list(&plans)
    }
}

fn rank_of(kind: &str) -> Rank {
    match kind {
        "payment" => Rank::Paid,
        "payment_failed" => Rank::Failed,
        "refund" => Rank::Refunded,
        _ => Rank::Disputed,
    }
}
