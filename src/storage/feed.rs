//! Rows of `feed`, which `baskets/write.sql` and `checkouts/insert.sql` write: what has changed, in the order of the
//! commits.

mod told;

use sqlx::postgres::{PgExecutor, PgRow};
use sqlx::{FromRow, Row as _};
use time::OffsetDateTime;

pub use self::told::{Told, changed, moved, state};

use super::StorageError;
use crate::domain::feed::Entry;

/// The origin of what was before Dues knew of it.
pub const IMPORT: &str = "import";

/// The newest position, and what positions are counted in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Another one after a restore from a dump.
    pub epoch: String,
    /// 0 before the first entry.
    pub position: i64,
}

impl FromRow<'_, PgRow> for Entry {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            position: row.try_get("position")?,
            id: row.try_get("id")?,
            kind: row.try_get("type")?,
            subscription_id: row.try_get("subscription_id")?,
            user_id: row.try_get("user_id")?,
            transaction_id: row.try_get("transaction_id")?,
            data: row.try_get("data")?,
            origin: row.try_get("origin")?,
            at: row.try_get("at")?,
        })
    }
}

/// The newest position.
pub async fn head(db: impl PgExecutor<'_>) -> Result<Head, StorageError> {
    let (epoch, position): (String, i64) =
        sqlx::query_as("SELECT epoch, position FROM feed_head WHERE one")
            .fetch_one(db)
            .await?;
    Ok(Head { epoch, position })
}

/// The position of the oldest entry that is kept; none where none is.
pub async fn oldest(db: impl PgExecutor<'_>) -> Result<Option<i64>, StorageError> {
    Ok(
        sqlx::query_scalar("SELECT position FROM feed ORDER BY position LIMIT 1")
            .fetch_optional(db)
            .await?,
    )
}

/// The entries after a position and up to another, in their order, of these types, or of all where there are none.
pub async fn find(
    db: impl PgExecutor<'_>,
    after: i64,
    until: i64,
    types: &[String],
    limit: i64,
) -> Result<Vec<Entry>, StorageError> {
    Ok(sqlx::query_as(
        "SELECT position, id, type, subscription_id, user_id, transaction_id, data::text, origin, at FROM feed
          WHERE position > $1 AND position <= $2 AND (cardinality($3::text[]) = 0 OR type = ANY ($3))
          ORDER BY position LIMIT $4",
    )
    .bind(after)
    .bind(until)
    .bind(types)
    .bind(limit)
    .fetch_all(db)
    .await?)
}

/// Begins another epoch: whoever reads on from a position of the one before is told to begin again.
pub async fn update_epoch(db: impl PgExecutor<'_>, epoch: &str) -> Result<(), StorageError> {
    sqlx::query("UPDATE feed_head SET epoch = $1 WHERE one")
        .bind(epoch)
        .execute(db)
        .await?;
    Ok(())
}

/// Deletes the oldest entries, at most `limit`, up to the first that was recorded at `before` or later, and none after the
/// position `told`: what is left has no gaps. Returns how many.
pub async fn delete_old(
    db: impl PgExecutor<'_>,
    before: OffsetDateTime,
    told: i64,
    limit: i64,
) -> Result<u64, StorageError> {
    let deleted = sqlx::query(
        "WITH next AS MATERIALIZED (SELECT position, at FROM feed WHERE position <= $3 ORDER BY position LIMIT $2)
         DELETE FROM feed WHERE position <= (SELECT max(position) FROM next
                WHERE position < coalesce((SELECT min(position) FROM next WHERE at >= $1), 9223372036854775807))",
    )
    .bind(before)
    .bind(limit)
    .bind(told)
    .execute(db)
    .await?;
    Ok(deleted.rows_affected())
}
