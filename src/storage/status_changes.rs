//! Rows of `status_changes`: the history of a subscription.

use sqlx::postgres::PgExecutor;

use super::StorageError;
use crate::domain::ids::SubscriptionId;
use crate::domain::records::ChangeRecord;

from_row!(ChangeRecord {
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
) -> Result<Vec<ChangeRecord>, StorageError> {
    Ok(sqlx::query_as(
        // Numbered within the subscription: the sequence of all would tell how much happens to others.
        "SELECT * FROM (
            SELECT row_number() OVER (ORDER BY seq) AS seq, from_status, to_status, reason, cause, from_plan, to_plan,
                   from_quantity, to_quantity, at
              FROM status_changes WHERE subscription_id = $1) AS own
          WHERE $2::bigint IS NULL OR seq < $2 ORDER BY seq DESC LIMIT $3",
    )
    .bind(subscription.0)
    .bind(before)
    .bind(limit)
    .fetch_all(db)
    .await?)
}
