//! Rows of `transactions`, as their member may see them.

use sqlx::postgres::{PgExecutor, PgRow};
use sqlx::{FromRow, Row as _};
use uuid::Uuid;

use super::StorageError;
use crate::domain::ids::{SubscriptionId, TransactionId};
use crate::domain::records::TransactionRecord;

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
