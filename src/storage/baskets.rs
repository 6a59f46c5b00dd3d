//! A checkout with its lines: one read, and one guarded write of everything that a source told about it.

use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnection, PgExecutor, PgRow};
use sqlx::types::Json;
use sqlx::{FromRow, Row as _};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::StorageError;
use super::subscriptions::SubscriptionRow;
use super::webhook_events::EventRecord;
use crate::domain::facts::{Cause, Subject, Transaction, TransactionKind};
use crate::domain::history::{self, Change};
use crate::domain::ids::{CheckoutId, SubscriptionId, UserId};
use crate::domain::subscription::{Basket, Checkout, Dispute, DisputeState, Mode, SessionStatus};

/// The baskets that a subject points at, and whether its event was seen.
#[derive(Debug)]
pub struct Found {
    /// None: foreign. Several: contradictory.
    pub baskets: Vec<Basket>,
    /// Whether the event is already recorded.
    pub seen: bool,
}

/// Who or what caused a write.
#[derive(Clone, Debug)]
pub struct By<'a> {
    /// By which way.
    pub cause: Cause,
    /// The event or session.
    pub reference: Option<&'a str>,
    /// The person.
    pub actor: Option<&'a UserId>,
}

/// How a guarded write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// All of it is in the database.
    Done,
    /// A line has moved since it was read: nothing was written; read again.
    Moved,
    /// The event was recorded by somebody else meanwhile: nothing was written.
    Duplicate,
}

/// Finds every checkout that a subject points at, by foreign key or by metadata, with the lines in their order.
pub async fn find(
    db: impl PgExecutor<'_>,
    subject: &Subject,
    event: Option<&str>,
) -> Result<Found, StorageError> {
    let ids: Vec<Uuid> = subject.subscriptions.iter().map(|id| id.0).collect();
    let rows = sqlx::query(
        "SELECT c.id AS checkout_id, c.user_id AS checkout_user, c.mode, c.status AS session_status,
                c.stripe_session_id, coalesce(c.stripe_customer_id, k.stripe_customer_id) AS stripe_customer_id,
                c.cancel_requested_at, c.expires_at, c.created_at AS checkout_created_at, s.*,
                EXISTS (SELECT FROM webhook_events WHERE id = $5) AS seen,
                coalesce(s.stripe_payment_intent_id = $6, false)
                    OR EXISTS (SELECT FROM transactions t WHERE t.subscription_id = s.id AND t.kind = 'payment'
                                  AND (t.stripe_payment_intent_id = $6 OR t.stripe_reference = $7)) AS concerned,
                (SELECT jsonb_agg(jsonb_build_object('reference', d.stripe_reference, 'state', d.state,
                            'payment_intent', d.stripe_payment_intent_id, 'at', d.occurred_at,
                            'payment_at', d.payment_at, 'lost_at', d.lost_at) ORDER BY d.stripe_reference)
                   FROM transactions d WHERE d.subscription_id = s.id AND d.kind = 'dispute') AS disputes
           FROM (SELECT id FROM checkouts WHERE stripe_session_id = $1
                 UNION SELECT checkout_id FROM subscriptions WHERE stripe_subscription_id = $2
                 UNION SELECT id FROM checkouts WHERE id = $3
                 UNION SELECT checkout_id FROM subscriptions WHERE id = ANY ($4)
                 UNION SELECT checkout_id FROM subscriptions WHERE stripe_payment_intent_id = $6
                 UNION SELECT o.checkout_id FROM transactions t JOIN subscriptions o ON o.id = t.subscription_id
                        WHERE t.kind = 'payment' AND t.stripe_payment_intent_id = $6
                 UNION SELECT o.checkout_id FROM transactions t JOIN subscriptions o ON o.id = t.subscription_id
                        WHERE t.kind = 'payment' AND t.stripe_reference = $7) AS hit
           JOIN checkouts c ON c.id = hit.id
           JOIN customers k ON k.id = c.customer_id
           JOIN subscriptions s ON s.checkout_id = c.id
          ORDER BY c.id, s.position",
    )
    .bind(&subject.session)
    .bind(&subject.stripe_subscription)
    .bind(subject.checkout.map(|id| id.0))
    .bind(ids)
    .bind(event)
    .bind(&subject.payment_intent)
    .bind(&subject.invoice)
    .fetch_all(db)
    .await?;
    let mut found = Found {
        baskets: Vec::with_capacity(1),
        seen: false,
    };
    for row in &rows {
        found.seen = row.try_get("seen")?;
        let mut line = SubscriptionRow::from_row(row)?.into_line()?;
        line.concerned = row.try_get("concerned")?;
        if let Some(Json(disputes)) =
            row.try_get::<Option<Json<Vec<DisputeJson>>>, _>("disputes")?
        {
            let disputes = disputes
                .into_iter()
                .map(|dispute| dispute.into_dispute(line.id));
            line.disputes = disputes.collect::<Result<_, _>>()?;
        }
        let id = CheckoutId(row.try_get("checkout_id")?);
        match found.baskets.last_mut() {
            Some(basket) if basket.checkout.id == id => basket.lines.push(line),
            _ => found.baskets.push(Basket {
                checkout: checkout(id, row)?,
                lines: vec![line],
            }),
        }
    }
    Ok(found)
}

/// A dispute as the query above builds it.
#[derive(Deserialize)]
struct DisputeJson {
    reference: String,
    state: String,
    payment_intent: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    payment_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    lost_at: Option<OffsetDateTime>,
}

impl DisputeJson {
    fn into_dispute(self, line: SubscriptionId) -> Result<Dispute, StorageError> {
        let state =
            DisputeState::parse(&self.state).ok_or_else(|| StorageError::ImpossibleRow {
                table: "transactions",
                row: format!("{line} {}", self.reference),
                column: "state",
            })?;
        let Self {
            reference,
            payment_intent,
            at,
            payment_at,
            lost_at,
            ..
        } = self;
        Ok(Dispute {
            reference,
            state,
            payment_intent,
            at,
            payment_at,
            lost_at,
        })
    }
}

/// Finds one checkout by its id.
pub async fn find_by_id(
    db: impl PgExecutor<'_>,
    id: CheckoutId,
) -> Result<Option<Basket>, StorageError> {
    let subject = Subject {
        checkout: Some(id),
        ..Subject::default()
    };
    Ok(find(db, &subject, None).await?.baskets.pop())
}

fn checkout(id: CheckoutId, row: &PgRow) -> Result<Checkout, StorageError> {
    let impossible = |column| StorageError::ImpossibleRow {
        table: "checkouts",
        row: id.to_string(),
        column,
    };
    Ok(Checkout {
        id,
        user: UserId::new(row.try_get::<String, _>("checkout_user")?),
        mode: Mode::parse(row.try_get("mode")?).ok_or_else(|| impossible("mode"))?,
        status: SessionStatus::parse(row.try_get("session_status")?)
            .ok_or_else(|| impossible("status"))?,
        stripe_session: row.try_get("stripe_session_id")?,
        stripe_customer: row.try_get("stripe_customer_id")?,
        cancel_requested_at: row.try_get("cancel_requested_at")?,
        expires_at: row.try_get("expires_at")?,
        created_at: row.try_get("checkout_created_at")?,
    })
}

/// Locks the lines whose versions are still those that were read; only if all are, writes everything else.
const UPDATE: &str = "WITH locked AS MATERIALIZED (
             SELECT s.id FROM subscriptions s
               JOIN unnest($1::uuid[], $2::bigint[]) AS expected (id, version)
                 ON s.id = expected.id AND s.version = expected.version
              ORDER BY s.id FOR UPDATE OF s
         ), guard AS MATERIALIZED (
             SELECT 1 WHERE (SELECT count(*) FROM locked) = cardinality($1)
         ), event AS (
             INSERT INTO webhook_events (id, type, object_id, created, received_at, state, next_attempt_at, last_error)
             SELECT $3, $4, $5, $6, $7, $8, $9, $19 FROM guard WHERE $3 IS NOT NULL
             ON CONFLICT (id) DO NOTHING RETURNING 1
         ), go AS MATERIALIZED (
             SELECT 1 FROM guard WHERE $3 IS NULL OR EXISTS (SELECT FROM event)
         ), checkout AS (
             UPDATE checkouts SET status = $11, stripe_session_id = $12, stripe_customer_id = $13,
                    cancel_requested_at = $14,
                    next_repair_at = CASE WHEN $11 = 'open' THEN next_repair_at END
               FROM go WHERE id = $10 AND $15
         ), keys AS (
             DELETE FROM idempotency_keys USING go WHERE checkout_id = $10 AND $11 = 'failed'
         ), line AS (
             UPDATE subscriptions s SET version = s.version + 1, updated_at = $7,
                    plan = n.plan, kind = n.kind, single = n.single, upgrade_group = n.upgrade_group,
                    quantity = n.quantity, quantity_open = n.quantity_open, stripe_price_id = n.stripe_price_id,
                    status = n.status, status_reason = n.status_reason,
                    stripe_subscription_id = n.stripe_subscription_id, stripe_line_item_id = n.stripe_line_item_id,
                    stripe_payment_intent_id = n.stripe_payment_intent_id, stripe_status = n.stripe_status,
                    stripe_state_at = n.stripe_state_at, first_paid_at = n.first_paid_at,
                    last_paid_at = n.last_paid_at, payment_failed_at = n.payment_failed_at,
                    current_period_end = n.current_period_end, cancel_at = n.cancel_at,
                    cancel_at_period_end = n.cancel_at_period_end, collection_paused = n.collection_paused,
                    term_ends_at = n.term_ends_at, ended_at = n.ended_at, refund_state = n.refund_state,
                    refund_failed = n.refund_failed
               FROM go, jsonb_to_recordset($16) AS n (
                    id uuid, plan text, kind text, single boolean, upgrade_group text, quantity integer,
                    quantity_open boolean, stripe_price_id text, status text, status_reason text, stripe_subscription_id text, stripe_line_item_id text,
                    stripe_payment_intent_id text, stripe_status text, stripe_state_at timestamptz,
                    first_paid_at timestamptz, last_paid_at timestamptz, payment_failed_at timestamptz,
                    current_period_end timestamptz, cancel_at timestamptz, cancel_at_period_end boolean,
                    collection_paused boolean, term_ends_at timestamptz, ended_at timestamptz, refund_state text,
                    refund_failed boolean)
              WHERE s.id = n.id
         ), money AS (
             INSERT INTO transactions AS held (id, subscription_id, kind, stripe_reference, stripe_payment_intent_id,
                    state, payment_at, lost_at, occurred_at, created_at)
             SELECT n.id, n.subscription_id, n.kind, n.stripe_reference, n.stripe_payment_intent_id,
                    n.state, n.payment_at, n.lost_at, n.occurred_at, $7
               FROM go, jsonb_to_recordset($17) AS n (id uuid, subscription_id uuid, kind text, stripe_reference text,
                    stripe_payment_intent_id text, state text, payment_at timestamptz, lost_at timestamptz,
                    occurred_at timestamptz)
             ON CONFLICT (subscription_id, kind, stripe_reference) DO UPDATE
                SET occurred_at = least(held.occurred_at, excluded.occurred_at),
                    stripe_payment_intent_id = coalesce(held.stripe_payment_intent_id, excluded.stripe_payment_intent_id),
                    state = CASE WHEN held.kind = 'refund' AND held.state = 'failed' THEN held.state
                                 WHEN held.kind = 'refund' AND held.state = 'succeeded' AND excluded.state = 'pending'
                                 THEN held.state ELSE excluded.state END,
                    payment_at = excluded.payment_at, lost_at = excluded.lost_at
              WHERE held.occurred_at > excluded.occurred_at OR held.state IS DISTINCT FROM excluded.state
                 OR held.payment_at IS DISTINCT FROM excluded.payment_at
                 OR held.lost_at IS DISTINCT FROM excluded.lost_at
                 OR (held.stripe_payment_intent_id IS NULL AND excluded.stripe_payment_intent_id IS NOT NULL)
         ), history AS (
             INSERT INTO status_changes (subscription_id, from_status, to_status, reason, from_plan, to_plan,
                    from_quantity, to_quantity, cause, cause_ref, actor, at)
             SELECT n.subscription_id, n.from_status, n.to_status, n.reason, n.from_plan, n.to_plan,
                    n.from_quantity, n.to_quantity, n.cause, n.cause_ref, n.actor, $7
               FROM go, jsonb_to_recordset($18) AS n (subscription_id uuid, from_status text, to_status text,
                    reason text, from_plan text, to_plan text, from_quantity integer, to_quantity integer,
                    cause text, cause_ref text, actor text)
         )
         SELECT EXISTS (SELECT FROM guard), EXISTS (SELECT FROM go)";

/// Writes what has changed between two states of a basket, with its transactions, its history and the event that told
/// it, in one statement: all of it, or nothing if a line has moved since `before` was read.
///
/// A transaction that is known already keeps its earliest time and learns its payment intent.
pub async fn update(
    db: &mut PgConnection,
    before: &Basket,
    after: &Basket,
    transactions: &[(SubscriptionId, Transaction)],
    event: Option<&EventRecord<'_>>,
    by: &By<'_>,
    now: OffsetDateTime,
) -> Result<Written, StorageError> {
    let ids: Vec<Uuid> = before.lines.iter().map(|line| line.id.0).collect();
    let versions: Vec<i64> = before.lines.iter().map(|line| line.version).collect();
    let checkout_moved = before.checkout != after.checkout;
    let moved = || {
        let pairs = before.lines.iter().zip(&after.lines);
        pairs.filter(move |(before, after)| checkout_moved || before != after)
    };
    let lines: Vec<Value> = moved().map(|(_, after)| line_json(after)).collect();
    let changes: Vec<Value> = moved()
        .flat_map(|(before, after)| {
            let changes = history::changes(before, after).into_iter();
            changes.map(|change| change_json(after.id, &change, by))
        })
        .collect();
    let money = transactions
        .iter()
        .map(|(line, money)| transaction_json(*line, money, now));
    let disputes = moved().flat_map(|(before, after)| {
        let news = after
            .disputes
            .iter()
            .filter(|dispute| !before.disputes.contains(dispute));
        news.map(|dispute| dispute_json(after.id, dispute, now))
    });
    let transactions: Vec<Value> = money.chain(disputes).collect();
    let outcome: (bool, bool) = sqlx::query_as(UPDATE)
        .bind(ids)
        .bind(versions)
        .bind(event.map(|event| event.id))
        .bind(event.map(|event| event.kind))
        .bind(event.map(|event| event.object_id))
        .bind(event.map(|event| event.created))
        .bind(now)
        .bind(event.map(|event| event.state.as_str()))
        .bind(event.and_then(|event| event.next_attempt_at))
        .bind(after.checkout.id.0)
        .bind(after.checkout.status.as_str())
        .bind(&after.checkout.stripe_session)
        .bind(&after.checkout.stripe_customer)
        .bind(after.checkout.cancel_requested_at)
        .bind(checkout_moved)
        .bind(Value::Array(lines))
        .bind(Value::Array(transactions))
        .bind(Value::Array(changes))
        .bind(event.and_then(|event| event.cause))
        .fetch_one(db)
        .await?;
    Ok(match outcome {
        (true, true) => Written::Done,
        (true, false) => Written::Duplicate,
        (false, _) => Written::Moved,
    })
}

fn line_json(line: &crate::domain::subscription::Subscription) -> Value {
    json!({
        "id": line.id,
        "plan": line.plan,
        "kind": line.kind.as_str(),
        "single": line.single,
        "upgrade_group": line.upgrade_group,
        "quantity": line.quantity,
        "quantity_open": line.quantity_open,
        "stripe_price_id": line.stripe_price,
        "status": line.status.as_str(),
        "status_reason": line.reason.as_str(),
        "stripe_subscription_id": line.stripe_subscription,
        "stripe_line_item_id": line.stripe_line_item,
        "stripe_payment_intent_id": line.payment_intent,
        "stripe_status": line.stripe.map(|state| state.status.as_str()),
        "stripe_state_at": line.stripe.map(|state| time_json(state.at)),
        "first_paid_at": line.first_paid_at.map(time_json),
        "last_paid_at": line.last_paid_at.map(time_json),
        "payment_failed_at": line.payment_failed_at.map(time_json),
        "current_period_end": line.current_period_end.map(time_json),
        "cancel_at": line.cancel_at.map(time_json),
        "cancel_at_period_end": line.cancel_at_period_end,
        "collection_paused": line.collection_paused,
        "term_ends_at": line.term_ends_at.map(time_json),
        "ended_at": line.ended_at.map(time_json),
        "refund_state": line.refund.as_str(),
        "refund_failed": line.refund_failed,
    })
}

fn transaction_json(line: SubscriptionId, transaction: &Transaction, now: OffsetDateTime) -> Value {
    json!({
        "id": SubscriptionId::new(now),
        "subscription_id": line,
        "kind": transaction.kind.as_str(),
        "stripe_reference": transaction.reference,
        "stripe_payment_intent_id": transaction.payment_intent,
        "state": match transaction.kind {
            TransactionKind::Payment | TransactionKind::PaymentFailed => None,
            TransactionKind::Refund(progress) => Some(progress.as_str()),
        },
        "occurred_at": time_json(transaction.at),
    })
}

fn dispute_json(line: SubscriptionId, dispute: &Dispute, now: OffsetDateTime) -> Value {
    json!({
        "id": SubscriptionId::new(now),
        "subscription_id": line,
        "kind": "dispute",
        "stripe_reference": dispute.reference,
        "stripe_payment_intent_id": dispute.payment_intent,
        "state": dispute.state.as_str(),
        "payment_at": dispute.payment_at.map(time_json),
        "lost_at": dispute.lost_at.map(time_json),
        "occurred_at": time_json(dispute.at),
    })
}

fn change_json(line: SubscriptionId, change: &Change, by: &By<'_>) -> Value {
    let (from_plan, to_plan) = change.plan.clone().unzip();
    let (from_quantity, to_quantity) = change.quantity.unzip();
    json!({
        "subscription_id": line,
        "from_status": change.from.as_str(),
        "to_status": change.to.as_str(),
        "reason": change.reason,
        "from_plan": from_plan,
        "to_plan": to_plan,
        "from_quantity": from_quantity,
        "to_quantity": to_quantity,
        "cause": by.cause.as_str(),
        "cause_ref": by.reference,
        "actor": by.actor.map(UserId::as_str),
    })
}

/// Times of Stripe and of a checked clock: their years have four digits, which is all that the format asks.
fn time_json(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}
