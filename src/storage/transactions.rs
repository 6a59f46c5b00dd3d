//! Rows of `transactions`, as their member may see them.

use sqlx::postgres::{PgExecutor, PgRow};
use sqlx::{AssertSqlSafe, FromRow, Row as _};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::StorageError;
use crate::domain::ids::{SubscriptionId, TransactionId, UserId};
use crate::domain::records::{Movement, TransactionRecord};

impl FromRow<'_, PgRow> for TransactionRecord {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: TransactionId(row.try_get("id")?),
            kind: row.try_get("kind")?,
            state: row.try_get("state")?,
            stripe_reference: row.try_get("stripe_reference")?,
            occurred_at: row.try_get("occurred_at")?,
        })
    }
}

/// The transactions of a subscription, newest first, from the one after `before` on.
pub async fn find(
    db: impl PgExecutor<'_>,
    subscription: SubscriptionId,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<TransactionRecord>, StorageError> {
    Ok(sqlx::query_as(
        "SELECT id, kind, state, stripe_reference, occurred_at FROM transactions
          WHERE subscription_id = $1 AND ($2::uuid IS NULL OR (occurred_at, id) <
                (SELECT occurred_at, id FROM transactions WHERE id = $2))
          ORDER BY occurred_at DESC, id DESC LIMIT $3",
    )
    .bind(subscription.0)
    .bind(before)
    .bind(limit)
    .fetch_all(db)
    .await?)
}

/// Of a movement; what follows says which.
const MOVEMENTS: &str = "SELECT t.id, t.kind, t.state, t.stripe_reference, t.occurred_at, t.created_at AS recorded_at,
        t.subscription_id, s.user_id, s.plan, s.kind AS line_kind, s.quantity, c.currency
   FROM transactions t JOIN subscriptions s ON s.id = t.subscription_id JOIN checkouts c ON c.id = s.checkout_id";

impl FromRow<'_, PgRow> for Movement {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            transaction: TransactionRecord::from_row(row)?,
            recorded_at: row.try_get("recorded_at")?,
            subscription_id: SubscriptionId(row.try_get("subscription_id")?),
            user_id: UserId::new(row.try_get::<String, _>("user_id")?),
            plan: row.try_get("plan")?,
            kind: row.try_get("line_kind")?,
            quantity: row.try_get("quantity")?,
            currency: row.try_get("currency")?,
        })
    }
}

/// One transaction, whose it is and what it was for.
pub async fn find_movement(
    db: impl PgExecutor<'_>,
    id: TransactionId,
) -> Result<Option<Movement>, StorageError> {
    let statement = format!("{MOVEMENTS} WHERE t.id = $1");
    Ok(sqlx::query_as(AssertSqlSafe(statement))
        .bind(id.0)
        .fetch_optional(db)
        .await?)
}

/// What was recorded since then, oldest first, from the one after `after` on. Ids are in the order of their times.
pub async fn find_since(
    db: impl PgExecutor<'_>,
    since: OffsetDateTime,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Movement>, StorageError> {
    let statement =
        format!("{MOVEMENTS} WHERE t.id > $1 AND t.created_at >= $2 ORDER BY t.id LIMIT $3");
    let earliest = since - Duration::minutes(1);
    let milliseconds = u128::try_from(earliest.unix_timestamp()).unwrap_or_default() * 1000;
    Ok(sqlx::query_as(AssertSqlSafe(statement))
        .bind(after.unwrap_or(Uuid::from_u128(milliseconds << 80)))
        .bind(since)
        .bind(limit)
        .fetch_all(db)
        .await?)
}

/// Where the money of a transaction is to be found at Stripe.
#[derive(Clone, Debug)]
pub struct Whereabouts {
    /// `pi_…`.
    pub payment_intent: Option<String>,
    /// `in_…` that the payment paid.
    pub invoice: Option<String>,
    /// `cs_…` of the line's checkout.
    pub session: Option<String>,
    /// How many lines the payment, the refund or the dispute is recorded for.
    pub lines: i64,
}

from_row!(Whereabouts {
    payment_intent,
    invoice,
    session,
    lines
});

/// Where the money of a transaction is to be found at Stripe.
pub async fn find_whereabouts(
    db: impl PgExecutor<'_>,
    id: TransactionId,
) -> Result<Option<Whereabouts>, StorageError> {
    Ok(sqlx::query_as(
        "SELECT t.stripe_payment_intent_id AS payment_intent, c.stripe_session_id AS session,
                CASE WHEN starts_with(t.stripe_reference, 'in_') THEN split_part(t.stripe_reference, '#', 1)
                     ELSE (SELECT split_part(p.stripe_reference, '#', 1) FROM transactions p
                            WHERE p.stripe_payment_intent_id = t.stripe_payment_intent_id AND p.kind = 'payment'
                              AND starts_with(p.stripe_reference, 'in_') ORDER BY p.id LIMIT 1) END AS invoice,
                (SELECT count(*) FROM transactions o WHERE o.stripe_reference = t.stripe_reference AND o.kind = t.kind)
                    AS lines
           FROM transactions t JOIN subscriptions s ON s.id = t.subscription_id JOIN checkouts c ON c.id = s.checkout_id
          WHERE t.id = $1",
    )
    .bind(id.0)
    .fetch_optional(db)
    .await?)
}

/// What is recorded of these lines: line, kind, reference and state.
pub async fn find_recorded(
    db: impl PgExecutor<'_>,
    lines: &[SubscriptionId],
) -> Result<Vec<(Uuid, String, String, Option<String>)>, StorageError> {
    let lines: Vec<Uuid> = lines.iter().map(|id| id.0).collect();
    Ok(sqlx::query_as(
        "SELECT subscription_id, kind, stripe_reference, state FROM transactions WHERE subscription_id = ANY ($1)",
    )
    .bind(lines)
    .fetch_all(db)
    .await?)
}

/// Payments after the one named of which a refund is on its way or a dispute is open, in the order of their ids.
pub async fn find_pending_payments(
    db: impl PgExecutor<'_>,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, StorageError> {
    Ok(sqlx::query_scalar(
        "SELECT DISTINCT stripe_payment_intent_id FROM transactions
          WHERE state IN ('pending', 'open') AND stripe_payment_intent_id > $1
          ORDER BY stripe_payment_intent_id LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(db)
    .await?)
}

/// A payment of a line, with all the lines that it was for.
#[derive(Clone, Debug)]
pub struct LinePayment {
    /// `in_…`, or else `pi_…`.
    pub stripe_reference: String,
    /// `pi_…`, once it is known.
    pub stripe_payment_intent_id: Option<String>,
    /// When it was paid.
    pub occurred_at: OffsetDateTime,
    /// Ours.
    pub lines: Vec<Uuid>,
}

from_row!(LinePayment {
    stripe_reference,
    stripe_payment_intent_id,
    occurred_at,
    lines
});

/// The newest payments of a line, newest first.
pub async fn find_payments(
    db: impl PgExecutor<'_>,
    line: SubscriptionId,
    limit: i64,
) -> Result<Vec<LinePayment>, StorageError> {
    Ok(sqlx::query_as(
        "SELECT t.stripe_reference, t.stripe_payment_intent_id, t.occurred_at,
                ARRAY(SELECT o.subscription_id FROM transactions o
                       WHERE o.stripe_reference = t.stripe_reference AND o.kind = 'payment'
                       ORDER BY o.subscription_id) AS lines
           FROM transactions t WHERE t.subscription_id = $1 AND t.kind = 'payment'
          ORDER BY t.occurred_at DESC, t.id DESC LIMIT $2",
    )
    .bind(line.0)
    .bind(limit)
    .fetch_all(db)
    .await?)
}

/// A transaction as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns' comments say it")]
pub struct TransactionRow {
    pub id: Uuid,
    pub subscription_id: Uuid,
    pub kind: String,
    pub state: Option<String>,
    pub stripe_reference: String,
    pub stripe_payment_intent_id: Option<String>,
    pub occurred_at: OffsetDateTime,
    pub created_at: OffsetDateTime,
}

from_row!(TransactionRow {
    id,
    subscription_id,
    kind,
    state,
    stripe_reference,
    stripe_payment_intent_id,
    occurred_at,
    created_at,
});

/// The newest transactions of these lines, newest first.
pub async fn find_of_lines(
    db: impl PgExecutor<'_>,
    lines: &[Uuid],
    limit: i64,
) -> Result<Vec<TransactionRow>, StorageError> {
    Ok(sqlx::query_as(FIND_OF_LINES)
        .bind(lines)
        .bind(limit)
        .fetch_all(db)
        .await?)
}

/// See [`find_of_lines`].
pub const FIND_OF_LINES: &str = "SELECT t.* FROM unnest($1::uuid[]) AS l (id) CROSS JOIN LATERAL (
        SELECT id, subscription_id, kind, state, stripe_reference, stripe_payment_intent_id, occurred_at, created_at
          FROM transactions WHERE subscription_id = l.id ORDER BY occurred_at DESC, id DESC LIMIT $2) AS t
    ORDER BY t.occurred_at DESC, t.id DESC LIMIT $2";

/// Whatever is recorded of these payments or under these references, whosever it is, with its user.
pub async fn find_of_objects(
    db: impl PgExecutor<'_>,
    payments: &[&str],
    references: &[&str],
) -> Result<Vec<(String, TransactionRow)>, StorageError> {
    let rows = sqlx::query(FIND_OF_OBJECTS)
        .bind(payments)
        .bind(references)
        .fetch_all(db)
        .await?;
    let with_user = |row: &PgRow| Ok((row.try_get("user_id")?, TransactionRow::from_row(row)?));
    rows.iter().map(with_user).collect()
}

/// See [`find_of_objects`].
pub const FIND_OF_OBJECTS: &str = "SELECT s.user_id, t.* FROM (
        SELECT id, subscription_id, kind, state, stripe_reference, stripe_payment_intent_id, occurred_at, created_at
          FROM transactions WHERE stripe_payment_intent_id = ANY ($1)
         UNION
        SELECT id, subscription_id, kind, state, stripe_reference, stripe_payment_intent_id, occurred_at, created_at
          FROM transactions WHERE stripe_reference = ANY ($2)) AS t JOIN subscriptions s ON s.id = t.subscription_id";
