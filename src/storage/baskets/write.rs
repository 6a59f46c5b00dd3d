//! Baskets as they are written: guarded by the versions that were read.

use sqlx::postgres::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::actor::By;
use crate::domain::facts::{Transaction, TransactionKind};
use crate::domain::history::{self, Change};
use crate::domain::ids::{SubscriptionId, TransactionId, UserId};
use crate::domain::subscription::{Basket, SessionStatus, Subscription};
use crate::storage::StorageError;
use crate::storage::parts::Parts;
use crate::storage::webhook_events::EventRecord;

/// A basket on its way from what was read to what is to be written.
#[derive(Clone, Debug)]
pub struct Draft {
    /// As it was read.
    pub before: Basket,
    /// As it is by now.
    pub after: Basket,
    /// To be recorded, each once.
    pub transactions: Vec<(SubscriptionId, Transaction)>,
    /// To be recorded, in the order in which it was told.
    pub changes: Vec<(SubscriptionId, Change, By)>,
}

impl Draft {
    /// Nothing was told yet.
    pub fn of(basket: Basket) -> Self {
        Self {
            before: basket.clone(),
            after: basket,
            transactions: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// Notes for the history what has changed since `before`.
    pub fn note(&mut self, before: &Basket, by: &By) {
        for (before, after) in before.lines.iter().zip(&self.after.lines) {
            let changes = history::changes(before, after).into_iter();
            self.changes
                .extend(changes.map(|change| (after.id, change, by.clone())));
        }
    }

    /// Whether there is nothing to write.
    pub fn is_idle(&self) -> bool {
        let (before, after) = (&self.before, &self.after);
        self.transactions.is_empty()
            && before.checkout == after.checkout
            && before.lines == after.lines
    }

    /// The lines that are to be written, as they were and as they will be.
    pub fn moved(&self) -> impl Iterator<Item = (&Subscription, &Subscription)> {
        let checkout_moved = self.before.checkout != self.after.checkout;
        let pairs = self.before.lines.iter().zip(&self.after.lines);
        pairs.filter(move |(before, after)| checkout_moved || before != after)
    }

    /// The basket as it is in the database once the draft was written: every line that was has another version.
    pub fn written(self) -> Basket {
        let moved: Vec<SubscriptionId> = self.moved().map(|(line, _)| line.id).collect();
        let mut basket = self.after;
        for line in &mut basket.lines {
            line.version += i64::from(moved.contains(&line.id));
        }
        basket
    }
}

/// What is written together.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Each checkout once.
    pub drafts: &'a [Draft],
    /// Events, each with the place of its basket among the drafts; none where it belongs to none.
    pub events: &'a [(EventRecord<'a>, Option<usize>)],
    /// By our clock.
    pub now: OffsetDateTime,
}

/// The write, with a part for each table.
pub static WRITE: Parts = Parts::of(include_str!("write.sql"));

/// Writes a batch in one statement and says for each draft whether it was written: all of it, or nothing because a
/// line has moved since it was read. An event that was recorded before violates `webhook_events_pkey`: then nothing
/// was written of anything.
pub async fn write(db: &mut PgConnection, batch: &Batch<'_>) -> Result<Vec<bool>, StorageError> {
    let events = Events::of(batch);
    let checkouts = Checkouts::of(batch);
    let lines = Lines::of(batch);
    let money = Money::of(batch);
    let history = History::of(batch);
    let failed = checkouts.status.contains(&SessionStatus::Failed.as_str());
    let statement = WRITE.with([
        !events.id.is_empty(),
        !checkouts.id.is_empty(),
        failed,
        lines.changed.contains(&true),
        !money.id.is_empty(),
        !history.line.is_empty(),
    ]);
    let written: Vec<bool> = sqlx::query_scalar(statement)
        .bind(lines.basket)
        .bind(lines.size)
        .bind(lines.id)
        .bind(lines.version)
        .bind(number(batch.drafts.len()))
        .bind(batch.now)
        .bind(events.basket)
        .bind(events.id)
        .bind(events.kind)
        .bind(events.object_id)
        .bind(events.created)
        .bind(events.state)
        .bind(events.next_attempt_at)
        .bind(events.cause)
        .bind(checkouts.basket)
        .bind(checkouts.id)
        .bind(checkouts.status)
        .bind(checkouts.stripe_session)
        .bind(checkouts.stripe_customer)
        .bind(checkouts.cancel_requested_at)
        .bind(lines.changed)
        .bind(lines.plan)
        .bind(lines.kind)
        .bind(lines.single)
        .bind(lines.upgrade_group)
        .bind(lines.quantity)
        .bind(lines.quantity_open)
        .bind(lines.stripe_price)
        .bind(lines.status)
        .bind(lines.reason)
        .bind(lines.stripe_subscription)
        .bind(lines.stripe_line_item)
        .bind(lines.payment_intent)
        .bind(lines.stripe_status)
        .bind(lines.stripe_state_at)
        .bind(lines.first_paid_at)
        .bind(lines.last_paid_at)
        .bind(lines.payment_failed_at)
        .bind(lines.current_period_end)
        .bind(lines.cancel_at)
        .bind(lines.cancel_at_period_end)
        .bind(lines.collection_paused)
        .bind(lines.term_ends_at)
        .bind(lines.ended_at)
        .bind(lines.refund)
        .bind(lines.refund_failed)
        .bind(money.basket)
        .bind(money.id)
        .bind(money.line)
        .bind(money.kind)
        .bind(money.reference)
        .bind(money.payment_intent)
        .bind(money.state)
        .bind(money.payment_at)
        .bind(money.lost_at)
        .bind(money.occurred_at)
        .bind(history.basket)
        .bind(history.line)
        .bind(history.from)
        .bind(history.to)
        .bind(history.reason)
        .bind(history.from_plan)
        .bind(history.to_plan)
        .bind(history.from_quantity)
        .bind(history.to_quantity)
        .bind(history.cause)
        .bind(history.reference)
        .bind(history.actor)
        .fetch_one(db)
        .await?;
    Ok(written)
}

/// A basket's number in the statement: from 1.
fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// The drafts with their numbers.
fn numbered<'a>(batch: &Batch<'a>) -> impl Iterator<Item = (i32, &'a Draft)> {
    (1..).zip(batch.drafts)
}

/// Columns of `webhook_events`.
#[derive(Default)]
struct Events<'a> {
    basket: Vec<i32>,
    id: Vec<&'a str>,
    kind: Vec<&'a str>,
    object_id: Vec<&'a str>,
    created: Vec<OffsetDateTime>,
    state: Vec<&'a str>,
    next_attempt_at: Vec<Option<OffsetDateTime>>,
    cause: Vec<Option<&'a str>>,
}

impl<'a> Events<'a> {
    fn of(batch: &Batch<'a>) -> Self {
        let mut columns = Self::default();
        for (event, draft) in batch.events {
            columns
                .basket
                .push(draft.map_or(0, |place| number(place + 1)));
            columns.id.push(event.id);
            columns.kind.push(event.kind);
            columns.object_id.push(event.object_id);
            columns.created.push(event.created);
            columns.state.push(event.state.as_str());
            columns.next_attempt_at.push(event.next_attempt_at);
            columns.cause.push(event.cause);
        }
        columns
    }
}

/// Columns of `checkouts`, of those that have changed.
#[derive(Default)]
struct Checkouts<'a> {
    basket: Vec<i32>,
    id: Vec<Uuid>,
    status: Vec<&'a str>,
    stripe_session: Vec<Option<&'a str>>,
    stripe_customer: Vec<Option<&'a str>>,
    cancel_requested_at: Vec<Option<OffsetDateTime>>,
}

impl<'a> Checkouts<'a> {
    fn of(batch: &Batch<'a>) -> Self {
        let mut columns = Self::default();
        for (basket, draft) in numbered(batch) {
            let checkout = &draft.after.checkout;
            if draft.before.checkout != *checkout {
                columns.basket.push(basket);
                columns.id.push(checkout.id.0);
                columns.status.push(checkout.status.as_str());
                columns
                    .stripe_session
                    .push(checkout.stripe_session.as_deref());
                columns
                    .stripe_customer
                    .push(checkout.stripe_customer.as_deref());
                columns
                    .cancel_requested_at
                    .push(checkout.cancel_requested_at);
            }
        }
        columns
    }
}

/// Columns of `want`: every line as it was read, and as it is to be.
#[derive(Default)]
struct Lines<'a> {
    basket: Vec<i32>,
    size: Vec<i32>,
    id: Vec<Uuid>,
    version: Vec<i64>,
    changed: Vec<bool>,
    plan: Vec<&'a str>,
    kind: Vec<&'a str>,
    single: Vec<bool>,
    upgrade_group: Vec<Option<&'a str>>,
    quantity: Vec<i32>,
    quantity_open: Vec<bool>,
    stripe_price: Vec<&'a str>,
    status: Vec<&'a str>,
    reason: Vec<&'a str>,
    stripe_subscription: Vec<Option<&'a str>>,
    stripe_line_item: Vec<Option<&'a str>>,
    payment_intent: Vec<Option<&'a str>>,
    stripe_status: Vec<Option<&'a str>>,
    stripe_state_at: Vec<Option<OffsetDateTime>>,
    first_paid_at: Vec<Option<OffsetDateTime>>,
    last_paid_at: Vec<Option<OffsetDateTime>>,
    payment_failed_at: Vec<Option<OffsetDateTime>>,
    current_period_end: Vec<Option<OffsetDateTime>>,
    cancel_at: Vec<Option<OffsetDateTime>>,
    cancel_at_period_end: Vec<bool>,
    collection_paused: Vec<bool>,
    term_ends_at: Vec<Option<OffsetDateTime>>,
    ended_at: Vec<Option<OffsetDateTime>>,
    refund: Vec<&'a str>,
    refund_failed: Vec<bool>,
}

impl<'a> Lines<'a> {
    fn of(batch: &Batch<'a>) -> Self {
        let mut lines: Vec<_> = numbered(batch)
            .flat_map(|(basket, draft)| {
                let checkout_moved = draft.before.checkout != draft.after.checkout;
                let pairs = draft.before.lines.iter().zip(&draft.after.lines);
                pairs.map(move |(before, after)| {
                    let changed = checkout_moved || before != after;
                    (before, after, changed, basket, draft.before.lines.len())
                })
            })
            .collect();
        // Everybody locks in the same order.
        lines.sort_unstable_by_key(|(before, ..)| before.id);
        let mut columns = Self::default();
        for (before, after, changed, basket, size) in lines {
            columns.basket.push(basket);
            columns.size.push(number(size));
            columns.id.push(before.id.0);
            columns.version.push(before.version);
            columns.changed.push(changed);
            columns.push(after);
        }
        columns
    }

    fn push(&mut self, line: &'a Subscription) {
        let held = line.stripe;
        self.plan.push(&line.plan);
        self.kind.push(line.kind.as_str());
        self.single.push(line.single);
        self.upgrade_group.push(line.upgrade_group.as_deref());
        self.quantity.push(line.quantity);
        self.quantity_open.push(line.quantity_open);
        self.stripe_price.push(&line.stripe_price);
        self.status.push(line.status.as_str());
        self.reason.push(line.reason.as_str());
        self.stripe_subscription
            .push(line.stripe_subscription.as_deref());
        self.stripe_line_item.push(line.stripe_line_item.as_deref());
        self.payment_intent.push(line.payment_intent.as_deref());
        self.stripe_status
            .push(held.map(|held| held.status.as_str()));
        self.stripe_state_at.push(held.map(|held| held.at));
        self.first_paid_at.push(line.first_paid_at);
        self.last_paid_at.push(line.last_paid_at);
        self.payment_failed_at.push(line.payment_failed_at);
        self.current_period_end.push(line.current_period_end());
        self.cancel_at.push(line.cancel_at());
        self.cancel_at_period_end
            .push(held.is_some_and(|held| held.cancel_at_period_end));
        self.collection_paused
            .push(held.is_some_and(|held| held.collection_paused));
        self.term_ends_at.push(line.term_ends_at);
        self.ended_at.push(line.ended_at);
        self.refund.push(line.refund.as_str());
        self.refund_failed.push(line.refund_failed);
    }
}

/// Columns of `transactions`: payments, refunds, and disputes that were read anew.
#[derive(Default)]
struct Money<'a> {
    basket: Vec<i32>,
    id: Vec<Uuid>,
    line: Vec<Uuid>,
    kind: Vec<&'a str>,
    reference: Vec<&'a str>,
    payment_intent: Vec<Option<&'a str>>,
    state: Vec<Option<&'a str>>,
    payment_at: Vec<Option<OffsetDateTime>>,
    lost_at: Vec<Option<OffsetDateTime>>,
    occurred_at: Vec<OffsetDateTime>,
}

impl<'a> Money<'a> {
    fn of(batch: &Batch<'a>) -> Self {
        let mut columns = Self::default();
        for (basket, draft) in numbered(batch) {
            for (line, transaction) in &draft.transactions {
                let state = match transaction.kind {
                    TransactionKind::Payment | TransactionKind::PaymentFailed => None,
                    TransactionKind::Refund(progress) => Some(progress.as_str()),
                };
                columns.head(basket, *line, transaction.kind.as_str(), batch.now);
                columns.reference.push(&transaction.reference);
                columns
                    .payment_intent
                    .push(transaction.payment_intent.as_deref());
                columns.state.push(state);
                columns.payment_at.push(None);
                columns.lost_at.push(None);
                columns.occurred_at.push(transaction.at);
            }
            for (before, after) in draft.moved() {
                let news = after.disputes.iter();
                for dispute in news.filter(|dispute| !before.disputes.contains(dispute)) {
                    columns.head(basket, after.id, "dispute", batch.now);
                    columns.reference.push(&dispute.reference);
                    columns
                        .payment_intent
                        .push(dispute.payment_intent.as_deref());
                    columns.state.push(Some(dispute.state.as_str()));
                    columns.payment_at.push(dispute.payment_at);
                    columns.lost_at.push(dispute.lost_at);
                    columns.occurred_at.push(dispute.at);
                }
            }
        }
        columns
    }

    fn head(&mut self, basket: i32, line: SubscriptionId, kind: &'a str, now: OffsetDateTime) {
        self.basket.push(basket);
        self.id.push(TransactionId::new(now).0);
        self.line.push(line.0);
        self.kind.push(kind);
    }
}

/// Columns of `status_changes`.
#[derive(Default)]
struct History<'a> {
    basket: Vec<i32>,
    line: Vec<Uuid>,
    from: Vec<&'a str>,
    to: Vec<&'a str>,
    reason: Vec<&'a str>,
    from_plan: Vec<Option<&'a str>>,
    to_plan: Vec<Option<&'a str>>,
    from_quantity: Vec<Option<i32>>,
    to_quantity: Vec<Option<i32>>,
    cause: Vec<&'a str>,
    reference: Vec<Option<&'a str>>,
    actor: Vec<Option<&'a str>>,
}

impl<'a> History<'a> {
    fn of(batch: &Batch<'a>) -> Self {
        let mut columns = Self::default();
        for (basket, draft) in numbered(batch) {
            for (line, change, by) in &draft.changes {
                let plans = change.plan.as_ref();
                let (from_quantity, to_quantity) = change.quantity.unzip();
                columns.basket.push(basket);
                columns.line.push(line.0);
                columns.from.push(change.from.as_str());
                columns.to.push(change.to.as_str());
                columns.reason.push(change.reason);
                columns.from_plan.push(plans.map(|(from, _)| from.as_str()));
                columns.to_plan.push(plans.map(|(_, to)| to.as_str()));
                columns.from_quantity.push(from_quantity);
                columns.to_quantity.push(to_quantity);
                columns.cause.push(by.cause.as_str());
                columns.reference.push(by.reference.as_deref());
                columns.actor.push(by.actor.person().map(UserId::as_str));
            }
        }
        columns
    }
}
