//! Rows of `status_changes`: the history of a subscription.

use sqlx::postgres::PgExecutor;
use time::OffsetDateTime;

use super::StorageError;
use crate::domain::ids::SubscriptionId;

/// One change of status, plan or quantity.
#[derive(Clone, Debug)]
pub struct StatusChangeRow {
    /// The order of the changes.
    pub seq: i64,
    /// None for the first.
    pub from_status: Option<String>,
    /// The status from then on.
    pub to_status: String,
    /// What happened.
    pub reason: String,
    /// By which way we learnt of it.
    pub cause: String,
    /// Of a change of plan: the plan before.
    pub from_plan: Option<String>,
    /// Of a change of plan: the plan from then on.
    pub to_plan: Option<String>,
    /// Of a change of quantity: how many before.
    pub from_quantity: Option<i32>,
    /// Of a change of quantity: how many from then on.
    pub to_quantity: Option<i32>,
    /// When we recorded it.
    pub at: OffsetDateTime,
}

from_row!(StatusChangeRow {
    seq,
    from_status,
    to_status,
    reason,
    cause,
    from_plan,
    to_plan,
    from_quantity,
    to_quantity,
    at,
});

/// The changes of a subscription, newest first, from the one after `before` on.
pub async fn find(
    db: impl PgExecutor<'_>,
    subscription: SubscriptionId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<StatusChangeRow>, StorageError> {
    Ok(sqlx::query_as(
        "SELECT seq, from_status, to_status, reason, cause, from_plan, to_plan, from_quantity, to_quantity, at
           FROM status_changes
          WHERE subscription_id = $1 AND ($2::bigint IS NULL OR seq < $2) ORDER BY seq DESC LIMIT $3",
    )
    .bind(subscription.0)
    .bind(before)
    .bind(limit)
    .fetch_all(db)
    .await?)
}
