//! Baskets as they are written: guarded by the versions that were read.

use std::sync::LazyLock;

use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::QueryScalar;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::Draft;
use crate::domain::facts::TransactionKind;
use crate::domain::ids::{EntryId, SubscriptionId, TransactionId, UserId};
use crate::domain::lifecycle;
use crate::domain::subscription::{Collection, SessionStatus, Subscription};
use crate::storage::StorageError;
use crate::storage::feed;
use crate::storage::parts::Parts;
use crate::storage::webhook_events::EventRecord;

/// What is written together.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Each checkout once.
    pub drafts: &'a [Draft],
    /// Events, each with the place of its basket among the drafts; none where it belongs to none.
    pub events: &'a [(EventRecord<'a>, Option<usize>)],
    /// By our clock.
    pub now: OffsetDateTime,
    /// How long after its paid time a subscription goes on; none: for ever.
    pub grace: Option<Duration>,
    /// Whether the events are recorded already: what became of them is written anew.
    pub again: bool,
    /// Whether what somebody else has locked counts as moved; else it is waited for.
    pub skip_locked: bool,
    /// Whether it tells of what was before Dues knew of it: the feed then says so.
    pub is_import: bool,
}

/// The write, with a part for each table.
pub static WRITE: Parts = Parts::of(TEXT);
const TEXT: &str = include_str!("write.sql");
/// The same for who waits for nobody.
static SKIPPING: LazyLock<Parts> = LazyLock::new(|| {
    let text = TEXT.replace("FOR UPDATE -- or skip", "FOR UPDATE SKIP LOCKED");
    Parts::of(String::leak(text))
});

/// Writes a batch in one statement and says for each draft whether it was written: all of it, or nothing because a
/// line has moved since it was read. An event that was recorded before violates `webhook_events_pkey`: then nothing
/// was written of anything.
pub async fn write(db: &mut PgConnection, batch: &Batch<'_>) -> Result<Vec<bool>, StorageError> {
    let lines = lines(batch);
    let events = events(batch);
    let checkouts = checkouts(batch);
    let money = money(batch);
    let history = history(batch);
    let feed = entries(batch);
    let write = if batch.skip_locked {
        &*SKIPPING
    } else {
        &WRITE
    };
    let (opened, told) = (!checkouts.id.is_empty(), !events.id.is_empty());
    let (moved, paid) = (lines.changed.contains(&true), !money.id.is_empty());
    let tells = paid || !feed.line.is_empty();
    let statement = write.with([
        opened,
        opened,
        told,
        told && batch.again,
        told,
        opened,
        checkouts.status.contains(&SessionStatus::Failed.as_str()),
        moved,
        paid,
        !history.line.is_empty(),
        tells,
        paid,
        tells,
        tells && told,
        tells && moved,
        tells,
    ]);
    let written = sqlx::query_scalar(statement)
        .bind(number(batch.drafts.len()))
        .bind(batch.now);
    let written = lines.bind(written);
    let written = events.bind(written);
    let written = checkouts.bind(written);
    let written = money.bind(written);
    let written = history.bind(written);
    let origin = batch.is_import.then_some(feed::IMPORT);
    let written = feed.bind(written).bind(origin);
    Ok(written.fetch_one(db).await?)
}

/// A basket's number in the statement: from 1.
fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// The drafts with their numbers.
fn numbered<'a>(batch: &Batch<'a>) -> impl Iterator<Item = (i32, &'a Draft)> {
    (1..).zip(batch.drafts)
}

/// Declares the columns of one table's part of the statement, in the order in which it takes them: an array each.
macro_rules! columns {
    ($(#[$doc:meta])* $columns:ident of $row:ident { $($column:ident: $type:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Default)]
        struct $columns<'a> {
            $($column: Vec<$type>,)+
        }

        /// One row of them.
        struct $row<'a> {
            $($column: $type,)+
        }

        impl<'a> $columns<'a> {
            fn push(&mut self, row: $row<'a>) {
                $(self.$column.push(row.$column);)+
            }

            fn bind<'q, O>(self, query: Scalar<'q, O>) -> Scalar<'q, O>
            where
                'a: 'q,
            {
                query$(.bind(self.$column))+
            }
        }
    };
}

type Scalar<'q, O> = QueryScalar<'q, Postgres, O, PgArguments>;
type Time = OffsetDateTime;

columns! {
    /// Every line, as it was read and as it is to be.
    Lines of Line {
        basket: i32,
        size: i32,
        id: Uuid,
        version: i64,
        changed: bool,
        plan: &'a str,
        kind: &'a str,
        single: bool,
        upgrade_group: Option<&'a str>,
        quantity: i32,
        quantity_open: bool,
        stripe_price: &'a str,
        status: &'a str,
        reason: &'a str,
        stripe_subscription: Option<&'a str>,
        stripe_line_item: Option<&'a str>,
        payment_intent: Option<&'a str>,
        stripe_status: Option<&'a str>,
        stripe_state_at: Option<Time>,
        first_paid_at: Option<Time>,
        last_paid_at: Option<Time>,
        payment_failed_at: Option<Time>,
        current_period_end: Option<Time>,
        cancel_at: Option<Time>,
        cancel_at_period_end: bool,
        collection_paused: bool,
        term_ends_at: Option<Time>,
        ended_at: Option<Time>,
        refund: &'a str,
        refund_failed: bool,
        collection_void: bool,
        paid_from: Option<Time>,
        paid_until: Option<Time>,
        excused_at: Option<Time>,
        looked_at: Option<Time>,
        look_due_at: Option<Time>,
    }
}

fn lines<'a>(batch: &Batch<'a>) -> Lines<'a> {
    let mut rows: Vec<Line<'a>> = Vec::new();
    for (basket, draft) in numbered(batch) {
        for (before, after, changed) in draft.lines() {
            let held = after.stripe;
            let collection = held.map(|held| held.collection);
            rows.push(Line {
                basket,
                size: number(draft.before.lines.len()),
                id: before.id.0,
                version: before.version,
                changed,
                plan: &after.plan,
                kind: after.kind.as_str(),
                single: after.single,
                upgrade_group: after.upgrade_group.as_deref(),
                quantity: after.quantity,
                quantity_open: after.quantity_open,
                stripe_price: &after.stripe_price,
                status: after.status.as_str(),
                reason: after.reason.as_str(),
                stripe_subscription: after.stripe_subscription.as_deref(),
                stripe_line_item: after.stripe_line_item.as_deref(),
                payment_intent: after.payment_intent.as_deref(),
                stripe_status: held.map(|held| held.status.as_str()),
                stripe_state_at: held.map(|held| held.at),
                first_paid_at: after.first_paid_at,
                last_paid_at: after.last_paid_at,
                payment_failed_at: after.payment_failed_at,
                current_period_end: after.current_period_end(),
                cancel_at: after.cancel_at(),
                cancel_at_period_end: held.is_some_and(|held| held.cancel_at_period_end),
                collection_paused: collection.is_some_and(|held| held != Collection::Running),
                term_ends_at: after.term_ends_at,
                ended_at: after.ended_at,
                refund: after.refund.as_str(),
                refund_failed: after.refund_failed,
                collection_void: collection == Some(Collection::Void),
                paid_from: after.paid_period.map(|period| period.start),
                paid_until: after.paid_period.map(|period| period.end),
                excused_at: after.excused_at,
                looked_at: after.looked_at,
                look_due_at: lifecycle::look_due(after, batch.grace),
            });
        }
    }
    // Everybody locks in the same order.
    rows.sort_unstable_by_key(|row| row.id);
    let mut columns = Lines::default();
    for row in rows {
        columns.push(row);
    }
    columns
}

columns! {
    /// Rows of `webhook_events`.
    Events of Event {
        basket: i32,
        id: &'a str,
        kind: &'a str,
        object_id: &'a str,
        created: Time,
        state: &'a str,
        next_attempt_at: Option<Time>,
        cause: Option<&'a str>,
    }
}

fn events<'a>(batch: &Batch<'a>) -> Events<'a> {
    let mut columns = Events::default();
    for (event, draft) in batch.events {
        columns.push(Event {
            basket: draft.map_or(0, |place| number(place + 1)),
            id: event.id,
            kind: event.kind,
            object_id: event.object_id,
            created: event.created,
            state: event.state.as_str(),
            next_attempt_at: event.next_attempt_at,
            cause: event.cause,
        });
    }
    columns
}

columns! {
    /// Rows of `checkouts` that have changed.
    Checkouts of CheckoutRow {
        basket: i32,
        id: Uuid,
        status: &'a str,
        stripe_session: Option<&'a str>,
        stripe_customer: Option<&'a str>,
        cancel_requested_at: Option<Time>,
    }
}

fn checkouts<'a>(batch: &Batch<'a>) -> Checkouts<'a> {
    let mut columns = Checkouts::default();
    for (basket, draft) in numbered(batch) {
        let checkout = &draft.after.checkout;
        if draft.before.checkout != *checkout {
            columns.push(CheckoutRow {
                basket,
                id: checkout.id.0,
                status: checkout.status.as_str(),
                stripe_session: checkout.stripe_session.as_deref(),
                stripe_customer: checkout.stripe_customer.as_deref(),
                cancel_requested_at: checkout.cancel_requested_at,
            });
        }
    }
    columns
}

columns! {
    /// Rows of `transactions`: payments, refunds, and disputes that were read anew.
    Money of MoneyRow {
        basket: i32,
        id: Uuid,
        line: Uuid,
        kind: &'a str,
        reference: &'a str,
        payment_intent: Option<&'a str>,
        state: Option<&'a str>,
        payment_at: Option<Time>,
        lost_at: Option<Time>,
        occurred_at: Time,
        part: bool,
        entry: Uuid,
        user: &'a str,
        data: String,
    }
}

fn money<'a>(batch: &Batch<'a>) -> Money<'a> {
    let mut columns = Money::default();
    for (basket, draft) in numbered(batch) {
        let own = |line: SubscriptionId| draft.after.lines.iter().find(move |own| own.id == line);
        let row = |line: &Subscription| MoneyRow {
            basket,
            id: TransactionId::new(batch.now).0,
            line: line.id.0,
            entry: EntryId::new(batch.now).0,
            user: draft.after.checkout.user.as_str(),
            kind: "",
            reference: "",
            payment_intent: None,
            state: None,
            payment_at: None,
            lost_at: None,
            occurred_at: batch.now,
            part: false,
            data: String::new(),
        };
        for (line, transaction) in &draft.transactions {
            let Some(line) = own(*line) else { continue };
            let (kind, reference) = (transaction.kind.as_str(), &transaction.reference);
            let state = match transaction.kind {
                TransactionKind::Payment | TransactionKind::PaymentFailed => None,
                TransactionKind::Refund(progress) => Some(progress.as_str()),
            };
            columns.push(MoneyRow {
                kind,
                reference,
                payment_intent: transaction.payment_intent.as_deref(),
                state,
                occurred_at: transaction.at,
                data: feed::moved(line, kind, state, reference, transaction.at, batch.now),
                ..row(line)
            });
        }
        for (before, after) in draft.moved() {
            let news = after.disputes.iter();
            for dispute in news.filter(|dispute| !before.disputes.contains(dispute)) {
                let (kind, state) = ("dispute", Some(dispute.state.as_str()));
                let (reference, at) = (&dispute.reference, dispute.at);
                columns.push(MoneyRow {
                    kind,
                    reference,
                    payment_intent: dispute.payment_intent.as_deref(),
                    state,
                    payment_at: dispute.payment_at,
                    lost_at: dispute.lost_at,
                    occurred_at: at,
                    part: dispute.part,
                    data: feed::moved(after, kind, state, reference, at, batch.now),
                    ..row(after)
                });
            }
        }
    }
    columns
}

columns! {
    /// Rows of `status_changes`.
    History of HistoryRow {
        basket: i32,
        line: Uuid,
        from: &'a str,
        to: &'a str,
        reason: &'a str,
        from_plan: Option<&'a str>,
        to_plan: Option<&'a str>,
        from_quantity: Option<i32>,
        to_quantity: Option<i32>,
        cause: &'a str,
        reference: Option<&'a str>,
        actor: Option<&'a str>,
    }
}

fn history<'a>(batch: &Batch<'a>) -> History<'a> {
    let mut columns = History::default();
    for (basket, draft) in numbered(batch) {
        for (line, change, by) in &draft.changes {
            let plans = change.plan.as_ref();
            let (from_quantity, to_quantity) = change.quantity.unzip();
            columns.push(HistoryRow {
                basket,
                line: line.0,
                from: change.from.as_str(),
                to: change.to.as_str(),
                reason: change.reason,
                from_plan: plans.map(|(from, _)| from.as_str()),
                to_plan: plans.map(|(_, to)| to.as_str()),
                from_quantity,
                to_quantity,
                cause: by.cause.as_str(),
                reference: by.reference.as_deref(),
                actor: by.actor.person().map(UserId::as_str),
            });
        }
    }
    columns
}

columns! {
    /// Rows of `feed` but for those of money, which only the statement knows to be new.
    Feed of FeedRow {
        basket: i32,
        id: Uuid,
        kind: &'a str,
        line: Uuid,
        user: &'a str,
        data: &'a str,
    }
}

fn entries<'a>(batch: &Batch<'a>) -> Feed<'a> {
    let mut columns = Feed::default();
    for (basket, draft) in numbered(batch) {
        for entry in &draft.feed {
            columns.push(FeedRow {
                basket,
                id: EntryId::new(batch.now).0,
                kind: entry.kind,
                line: entry.line.0,
                user: draft.after.checkout.user.as_str(),
                data: &entry.data,
            });
        }
    }
    columns
}
