//! Rows of `status_changes`: the history of a subscription.

use sqlx::postgres::{PgExecutor, PgRow};
use sqlx::{FromRow, Row as _};

use super::StorageError;
use crate::domain::ids::SubscriptionId;
use crate::domain::records::ChangeRecord;

impl FromRow<'_, PgRow> for ChangeRecord {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            seq: row.try_get("seq")?,
            from_status: row.try_get("from_status")?,
            to_status: row.try_get("to_status")?,
            reason: row.try_get("reason")?,
            cause: row.try_get("cause")?,
            from_plan: row.try_get("from_plan")?,
            to_plan: row.try_get("to_plan")?,
            from_quantity: row.try_get("from_quantity")?,
            to_quantity: row.try_get("to_quantity")?,
            at: row.try_get("at")?,
        })
    }
}

/// The changes of a subscription, newest first, from the one after `before` on.
pub async fn find(
    db: impl PgExecutor<'_>,
    subscription: SubscriptionId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<ChangeRecord>, StorageError> {
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
