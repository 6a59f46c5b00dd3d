//! Rows of `status_changes`: the history of a subscription.

use sqlx::postgres::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

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

/// A change as an operator sees it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns' comments say it")]
pub struct ChangeRow {
    pub seq: i64,
    pub subscription_id: Uuid,
    pub from_status: Option<String>,
    pub to_status: String,
    pub reason: String,
    pub cause: String,
    pub cause_ref: Option<String>,
    pub actor: Option<String>,
    pub from_plan: Option<String>,
    pub to_plan: Option<String>,
    pub from_quantity: Option<i32>,
    pub to_quantity: Option<i32>,
    pub at: OffsetDateTime,
}

from_row!(ChangeRow {
    seq,
    subscription_id,
    from_status,
    to_status,
    reason,
    cause,
    cause_ref,
    actor,
    from_plan,
    to_plan,
    from_quantity,
    to_quantity,
    at,
});

/// The newest changes of these lines, newest first. Line by line, so that each is read from the end of its own history.
pub async fn find_of_lines(
    db: impl PgExecutor<'_>,
    lines: &[Uuid],
    limit: i64,
) -> Result<Vec<ChangeRow>, StorageError> {
    Ok(sqlx::query_as(FIND_OF_LINES)
        .bind(lines)
        .bind(limit)
        .fetch_all(db)
        .await?)
}

/// See [`find_of_lines`].
pub const FIND_OF_LINES: &str = "SELECT h.* FROM unnest($1::uuid[]) AS l (id) CROSS JOIN LATERAL (
        SELECT seq, subscription_id, from_status, to_status, reason, cause, cause_ref, actor, from_plan, to_plan,
               from_quantity, to_quantity, at
          FROM status_changes WHERE subscription_id = l.id ORDER BY seq DESC LIMIT $2) AS h
    ORDER BY h.seq DESC LIMIT $2";
