//! Rows of `cursors`: how far long walks have come.

use sqlx::postgres::PgExecutor;
use time::OffsetDateTime;

use super::StorageError;

/// Where a walk has come to; none before its first step.
pub async fn find(db: impl PgExecutor<'_>, name: &str) -> Result<Option<String>, StorageError> {
    let row: Option<(String,)> = sqlx::query_as("SELECT position FROM cursors WHERE name = $1")
        .bind(name)
        .fetch_optional(db)
        .await?;
    Ok(row.map(|(position,)| position))
}

/// Notes how far a walk has come.
pub async fn update(
    db: impl PgExecutor<'_>,
    name: &str,
    position: &str,
    now: OffsetDateTime,
) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO cursors (name, position, updated_at) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET position = excluded.position, updated_at = excluded.updated_at",
    )
    .bind(name)
    .bind(position)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Notes how far a walk has come that was at a position, if it still is.
pub async fn go_on(
    db: impl PgExecutor<'_>,
    name: &str,
    from: &str,
    position: &str,
) -> Result<(), StorageError> {
    sqlx::query("UPDATE cursors SET position = $3 WHERE name = $1 AND position = $2")
        .bind(name)
        .bind(from)
        .bind(position)
        .execute(db)
        .await?;
    Ok(())
}

/// Ends a walk: the next one begins at the beginning.
pub async fn delete(db: impl PgExecutor<'_>, name: &str) -> Result<(), StorageError> {
    sqlx::query("DELETE FROM cursors WHERE name = $1")
        .bind(name)
        .execute(db)
        .await?;
    Ok(())
}

/// Takes a turn at a walk that several replicas may go on with: none when somebody has since `before`, or when the walk is
/// new, so that it begins after a pause. Else where it has come to; empty before its first step.
pub async fn take_turn(
    db: impl PgExecutor<'_>,
    name: &str,
    now: OffsetDateTime,
    before: OffsetDateTime,
) -> Result<Option<String>, StorageError> {
    let row: Option<(String, bool)> = sqlx::query_as(
        "INSERT INTO cursors AS held (name, position, updated_at) VALUES ($1, '', $2)
         ON CONFLICT (name) DO UPDATE SET updated_at = $2 WHERE held.updated_at <= $3
         RETURNING position, xmax = 0",
    )
    .bind(name)
    .bind(now)
    .bind(before)
    .fetch_optional(db)
    .await?;
    Ok(row.and_then(|(position, is_new)| (!is_new).then_some(position)))
}
