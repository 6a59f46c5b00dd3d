//! Rows of `transactions`, as their member may see them.

use sqlx::postgres::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StorageError;
use crate::domain::ids::SubscriptionId;

/// A reference to money that moved, failed to, went back or is claimed back.
#[derive(Clone, Debug)]
pub struct TransactionRow {
    /// Ours.
    pub id: Uuid,
    /// `payment`, `payment_failed`, `refund` or `dispute`.
    pub kind: String,
    /// How a refund or a dispute stands.
    pub state: Option<String>,
    /// At Stripe.
    pub stripe_reference: String,
    /// When it happened.
    pub occurred_at: OffsetDateTime,
}

from_row!(TransactionRow {
    id,
    kind,
    state,
    stripe_reference,
    occurred_at,
});

/// The transactions of a subscription, newest first, from the one after `before` on.
pub async fn find(
    db: impl PgExecutor<'_>,
    subscription: SubscriptionId,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<TransactionRow>, StorageError> {
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
