//! Rows of `checkouts`, and the clients' idempotency keys that stand for them.

mod adopted;
mod open;

pub use self::adopted::{AdoptError, NewAdopted, find_member_of, insert_adopted};
pub use self::open::{Buyer, NewCheckout, begin, find_buyer, insert};

use sqlx::postgres::{PgExecutor, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::StorageError;
use crate::domain::ids::{CheckoutId, UserId};
use crate::storage;

/// Why a checkout was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum InsertError {
    /// The user has already sent that idempotency key.
    #[error("the idempotency key was used before")]
    KeyUsed,
    /// The user holds a single plan of the basket already.
    #[error("the user holds one of the plans already")]
    Held,
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Records a client's idempotency key for a checkout.
pub async fn insert_key(
    db: impl PgExecutor<'_>,
    user: &UserId,
    key: &str,
    checkout: CheckoutId,
    now: OffsetDateTime,
) -> Result<(), InsertError> {
    let inserted = sqlx::query(
        "INSERT INTO idempotency_keys (user_id, key, checkout_id, created_at) VALUES ($1, $2, $3, $4)",
    )
    .bind(user.as_str())
    .bind(key)
    .bind(checkout.0)
    .bind(now)
    .execute(db)
    .await;
    refused(inserted).map(drop)
}

/// The violated constraint decides what the insert's failure means; there is no check that could be overtaken.
fn refused<T>(inserted: Result<T, sqlx::Error>) -> Result<T, InsertError> {
    inserted.map_err(|error| {
        let error = StorageError::from(error);
        match error.constraint() {
            Some("idempotency_keys_used") => InsertError::KeyUsed,
            Some("subscriptions_single" | "subscriptions_group") => InsertError::Held,
            _ => InsertError::Storage(error),
        }
    })
}

/// A checkout of an earlier request.
#[derive(Clone, Debug)]
pub struct Repeated {
    /// Ours.
    pub id: CheckoutId,
    /// Tells a repeat from another request.
    pub request_hash: Vec<u8>,
}

/// The hash of a checkout's cancel token.
pub async fn find_cancel_token(
    db: impl PgExecutor<'_>,
    id: CheckoutId,
) -> Result<Option<Vec<u8>>, StorageError> {
    let row: Option<(Vec<u8>,)> =
        sqlx::query_as("SELECT cancel_token_hash FROM checkouts WHERE id = $1")
            .bind(id.0)
            .fetch_optional(db)
            .await?;
    Ok(row.map(|(hash,)| hash))
}

/// Takes open checkouts that are due to be looked after (those without a session, and those that should have expired
/// before `overdue`), and puts each off until `lease_until`, so that other replicas leave them alone meanwhile.
pub async fn lock_neglected(
    db: impl PgExecutor<'_>,
    now: OffsetDateTime,
    overdue: OffsetDateTime,
    lease_until: OffsetDateTime,
    limit: i64,
) -> Result<Vec<CheckoutId>, StorageError> {
    let rows: Vec<(Uuid,)> = sqlx::query_as(
        "UPDATE checkouts SET next_repair_at = $3
          WHERE id IN (SELECT id FROM checkouts
                        WHERE status = 'open' AND next_repair_at <= $1
                          AND (stripe_session_id IS NULL OR expires_at < $2)
                        ORDER BY next_repair_at LIMIT $4 FOR UPDATE SKIP LOCKED)
         RETURNING id",
    )
    .bind(now)
    .bind(overdue)
    .bind(lease_until)
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(id,)| CheckoutId(id)).collect())
}

/// How a checkout stands, and by what Stripe knows it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns' comments say it")]
pub struct CheckoutRow {
    pub id: Uuid,
    pub currency: String,
    pub mode: String,
    pub status: String,
    pub stripe_customer_id: Option<String>,
    pub stripe_session_id: Option<String>,
    pub expires_at: OffsetDateTime,
}

from_row!(CheckoutRow {
    id,
    currency,
    mode,
    status,
    stripe_customer_id,
    stripe_session_id,
    expires_at,
});

/// These checkouts.
pub async fn find_by_ids(
    db: impl PgExecutor<'_>,
    ids: &[Uuid],
) -> Result<Vec<CheckoutRow>, StorageError> {
    Ok(sqlx::query_as(
        "SELECT id, currency, mode, status, stripe_customer_id, stripe_session_id, expires_at FROM checkouts
          WHERE id = ANY ($1)",
    )
    .bind(ids)
    .fetch_all(db)
    .await?)
}

/// When the first checkout was recorded.
pub async fn find_oldest(db: impl PgExecutor<'_>) -> Result<Option<OffsetDateTime>, StorageError> {
    let row: Option<(OffsetDateTime,)> =
        sqlx::query_as("SELECT created_at FROM checkouts ORDER BY id LIMIT 1")
            .fetch_optional(db)
            .await?;
    Ok(row.map(|(created_at,)| created_at))
}

/// Deletes checkouts from before `before` that came to nothing, with their lines and their history, at most `limit`;
/// returns how many. Whatever was paid, or only tried to be, stays.
pub async fn delete_unpaid(
    pool: &PgPool,
    before: OffsetDateTime,
    limit: i64,
) -> Result<usize, StorageError> {
    let mut transaction = storage::begin(pool, None).await?;
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "SELECT id FROM checkouts c
          WHERE status IN ('expired', 'failed') AND created_at < $1
            AND NOT EXISTS (SELECT FROM subscriptions s WHERE s.checkout_id = c.id
                               AND (s.status <> 'ENDED' OR s.first_paid_at IS NOT NULL
                                    OR EXISTS (SELECT FROM transactions t WHERE t.subscription_id = s.id)))
          ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(&mut *transaction)
    .await?;
    for statement in [
        "DELETE FROM status_changes WHERE subscription_id IN (
             SELECT id FROM subscriptions WHERE checkout_id = ANY ($1))",
        "DELETE FROM idempotency_keys WHERE checkout_id = ANY ($1)",
        "DELETE FROM subscriptions WHERE checkout_id = ANY ($1)",
        "DELETE FROM checkouts WHERE id = ANY ($1)",
    ] {
        sqlx::query(statement)
            .bind(&ids)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(ids.len())
}

/// Notes that a comparison which began then has come to these checkouts; returns to how many for the first time.
pub async fn update_compared(
    db: impl PgExecutor<'_>,
    ids: &[CheckoutId],
    began: OffsetDateTime,
) -> Result<u64, StorageError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let noted = sqlx::query(
        "UPDATE checkouts SET compared_at = $2 WHERE id = ANY ($1) AND compared_at IS DISTINCT FROM $2",
    )
    .bind(ids)
    .bind(began)
    .execute(db)
    .await?;
    Ok(noted.rows_affected())
}

/// Most rows that are looked through for one page of those that were not compared.
const LOOKED_THROUGH: i64 = 5_000;

/// Checkouts after the one named to which the comparison that began then has not come, in the order of their ids: those
/// with something that has not ended, but for what was bought once before `since` and is settled; and those with
/// something that has ended since. With the last one that was looked at, none at the end.
pub async fn find_uncompared(
    db: impl PgExecutor<'_>,
    after: Option<CheckoutId>,
    began: OffsetDateTime,
    since: OffsetDateTime,
    limit: i64,
) -> Result<(Vec<CheckoutId>, Option<CheckoutId>), StorageError> {
    let (found, last): (Vec<Uuid>, Option<Uuid>) = sqlx::query_as(
        "WITH next AS MATERIALIZED (
            SELECT id, created_at, compared_at FROM checkouts WHERE id > $1 ORDER BY id LIMIT $5
         )
         SELECT ARRAY (
            SELECT id FROM next c
             WHERE (compared_at IS NULL OR compared_at < $2) AND created_at < $2
               AND EXISTS (SELECT FROM subscriptions s WHERE s.checkout_id = c.id AND s.checkout_id > $1
                              AND (s.status <> 'ENDED'
                                      AND (s.recurring OR s.status <> 'ACTIVE' OR c.created_at >= $3)
                                   OR s.status = 'ENDED' AND s.first_paid_at IS NOT NULL AND s.updated_at >= $3))
             ORDER BY id LIMIT $4), (SELECT id FROM next ORDER BY id DESC LIMIT 1)",
    )
    .bind(after.map_or(Uuid::nil(), |id| id.0))
    .bind(began)
    .bind(since)
    .bind(limit)
    .bind(LOOKED_THROUGH)
    .fetch_one(db)
    .await?;
    let is_full = i64::try_from(found.len()).is_ok_and(|found| found == limit);
    let last = if is_full { found.last().copied() } else { last };
    let found = found.into_iter().map(CheckoutId).collect();
    Ok((found, last.map(CheckoutId)))
}
