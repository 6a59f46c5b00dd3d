//! Rows of `differing`: of which subscriptions Stripe says something else than we do.

use sqlx::postgres::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StorageError;

/// A subscription that differs.
#[derive(Clone, Debug)]
pub struct Differing {
    /// Ours.
    pub subscription_id: Uuid,
    /// `paid_not_here` or `here_not_paid`.
    pub direction: String,
    /// When it was found first.
    pub found_at: OffsetDateTime,
}

from_row!(Differing {
    subscription_id,
    direction,
    found_at,
});

/// Notes what a comparison has found; `began` tells it from the next one.
pub async fn upsert(
    db: impl PgExecutor<'_>,
    found: &[(Uuid, &str)],
    began: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<(), StorageError> {
    let (ids, directions): (Vec<Uuid>, Vec<&str>) = found.iter().copied().unzip();
    sqlx::query(
        "INSERT INTO differing AS held (subscription_id, direction, began, found_at)
         SELECT f.id, f.direction, $3, $4 FROM unnest($1::uuid[], $2::text[]) AS f (id, direction)
           JOIN subscriptions s ON s.id = f.id ORDER BY f.id
         ON CONFLICT (subscription_id) DO UPDATE SET direction = excluded.direction, began = excluded.began",
    )
    .bind(ids)
    .bind(directions)
    .bind(began)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets what the comparison that began then has not found any more.
pub async fn delete_older(
    db: impl PgExecutor<'_>,
    began: OffsetDateTime,
) -> Result<(), StorageError> {
    sqlx::query("DELETE FROM differing WHERE began < $1")
        .bind(began)
        .execute(db)
        .await?;
    Ok(())
}

/// Forgets these: somebody has taken over what Stripe says.
pub async fn delete(db: impl PgExecutor<'_>, lines: &[Uuid]) -> Result<(), StorageError> {
    sqlx::query("DELETE FROM differing WHERE subscription_id = ANY ($1)")
        .bind(lines)
        .execute(db)
        .await?;
    Ok(())
}

/// What differs, what was found last first.
pub async fn find(
    db: impl PgExecutor<'_>,
    direction: Option<&str>,
    limit: i64,
) -> Result<Vec<Differing>, StorageError> {
    Ok(sqlx::query_as(
        "SELECT subscription_id, direction, found_at FROM differing
          WHERE $1::text IS NULL OR direction = $1
          ORDER BY found_at DESC, subscription_id LIMIT $2",
    )
    .bind(direction)
    .bind(limit)
    .fetch_all(db)
    .await?)
}
