//! Rows of `checkouts`, and the one transaction that records a purchase before Stripe is asked.

use sqlx::postgres::{PgConnection, PgExecutor};
use time::OffsetDateTime;
use uuid::Uuid;

use super::StorageError;
use crate::domain::actor::Cause;
use crate::domain::ids::{CheckoutId, CustomerId, SubscriptionId, UserId};
use crate::domain::plan::{Kind, Term};
use crate::domain::subscription::{Mode, Reason, SessionStatus, Status};

/// A checkout to be recorded.
#[derive(Clone, Debug)]
pub struct NewCheckout<'a> {
    /// Ours.
    pub id: CheckoutId,
    /// Who buys.
    pub user: &'a UserId,
    /// ISO 4217, lower case.
    pub currency: &'a str,
    /// Of the session.
    pub mode: Mode,
    /// Our row of the customer.
    pub customer: CustomerId,
    /// The client's.
    pub idempotency_key: Option<&'a str>,
    /// Tells a repeat from another request.
    pub request_hash: &'a [u8],
    /// Of the token in the cancel link.
    pub cancel_token_hash: &'a [u8],
    /// When Stripe will expire the session.
    pub expires_at: OffsetDateTime,
    /// When the sweep first looks for a missing session.
    pub next_repair_at: OffsetDateTime,
    /// In their order.
    pub lines: Vec<NewSubscription<'a>>,
}

/// A line to be recorded.
#[derive(Clone, Debug)]
pub struct NewSubscription<'a> {
    /// Ours.
    pub id: SubscriptionId,
    /// The plan's code.
    pub plan: &'a str,
    /// The plan's kind.
    pub kind: Kind,
    /// How many.
    pub quantity: i32,
    /// Whether a user may hold only one.
    pub single: bool,
    /// Single plans of one group exclude each other.
    pub upgrade_group: Option<&'a str>,
    /// Whether the buyer may change the quantity on Stripe's page.
    pub adjustable: bool,
    /// Whether it renews.
    pub recurring: bool,
    /// How long a one-off lasts.
    pub term: Option<Term>,
    /// `price_…`.
    pub stripe_price: &'a str,
}

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

/// Lets transactions that open a checkout for the same user take turns: what a later statement reads holds until the
/// commit. (A statement of its own, for one that waits still sees what was there before it waited.)
pub async fn lock_user(db: &mut PgConnection, user: &UserId) -> Result<(), StorageError> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(user.as_str())
        .execute(db)
        .await?;
    Ok(())
}

/// A user's open checkouts with the hashes of their requests, newest first.
pub async fn find_open_of_user(
    db: impl PgExecutor<'_>,
    user: &UserId,
) -> Result<Vec<(CheckoutId, Vec<u8>)>, StorageError> {
    let rows: Vec<(Uuid, Vec<u8>)> = sqlx::query_as(
        "SELECT id, request_hash FROM checkouts WHERE user_id = $1 AND status = 'open' ORDER BY id DESC",
    )
    .bind(user.as_str())
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(id, hash)| (CheckoutId(id), hash))
        .collect())
}

/// Records a checkout and its lines, `PENDING_ACTIVATION`; the caller owns the transaction and commits it.
pub async fn insert(
    db: &mut PgConnection,
    new: &NewCheckout<'_>,
    now: OffsetDateTime,
) -> Result<(), InsertError> {
    let inserted = sqlx::query(
        "INSERT INTO checkouts (id, user_id, currency, mode, status, customer_id, request_hash, cancel_token_hash,
                                expires_at, next_repair_at, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(new.id.0)
    .bind(new.user.as_str())
    .bind(new.currency)
    .bind(new.mode.as_str())
    .bind(SessionStatus::Open.as_str())
    .bind(new.customer.0)
    .bind(new.request_hash)
    .bind(new.cancel_token_hash)
    .bind(new.expires_at)
    .bind(new.next_repair_at)
    .bind(now)
    .execute(&mut *db)
    .await;
    refused(inserted)?;
    if let Some(key) = new.idempotency_key {
        insert_key(&mut *db, new.user, key, new.id, now).await?;
    }
    for (position, line) in (0_i16..).zip(&new.lines) {
        let inserted = sqlx::query(
            "WITH line AS (
                 INSERT INTO subscriptions (id, checkout_id, position, user_id, plan, kind, quantity, single, recurring,
                                            term, status, status_reason, stripe_price_id, upgrade_group, quantity_open,
                                            created_at, updated_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $16, $17, $14, $14))
             INSERT INTO status_changes (subscription_id, to_status, reason, cause, actor, at)
             VALUES ($1, $11, $12, $15, $4, $14)",
        )
        .bind(line.id.0)
        .bind(new.id.0)
        .bind(position)
        .bind(new.user.as_str())
        .bind(line.plan)
        .bind(line.kind.as_str())
        .bind(line.quantity)
        .bind(line.single)
        .bind(line.recurring)
        .bind(line.term.map(|term| term.to_string()))
        .bind(Status::PendingActivation.as_str())
        .bind(Reason::AwaitingPayment.as_str())
        .bind(line.stripe_price)
        .bind(now)
        .bind(Cause::Member.as_str())
        .bind(line.upgrade_group)
        .bind(line.adjustable)
        .execute(&mut *db)
        .await;
        refused(inserted)?;
    }
    Ok(())
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
    refused(inserted)
}

/// The violated constraint decides what the insert's failure means; there is no check that could be overtaken.
fn refused<T>(inserted: Result<T, sqlx::Error>) -> Result<(), InsertError> {
    let Err(error) = inserted.map_err(StorageError::from) else {
        return Ok(());
    };
    match error.constraint() {
        Some("idempotency_keys_used") => Err(InsertError::KeyUsed),
        Some("subscriptions_single" | "subscriptions_group") => Err(InsertError::Held),
        _ => Err(InsertError::Storage(error)),
    }
}

/// A checkout found by the client's idempotency key.
#[derive(Clone, Debug)]
pub struct Repeated {
    /// Ours.
    pub id: CheckoutId,
    /// Tells a repeat from another request.
    pub request_hash: Vec<u8>,
}

/// Finds the checkout that a user opened with an idempotency key.
pub async fn find_by_key(
    db: impl PgExecutor<'_>,
    user: &UserId,
    key: &str,
) -> Result<Option<Repeated>, StorageError> {
    let row: Option<(Uuid, Vec<u8>)> = sqlx::query_as(
        "SELECT c.id, c.request_hash FROM idempotency_keys k JOIN checkouts c ON c.id = k.checkout_id
          WHERE k.user_id = $1 AND k.key = $2",
    )
    .bind(user.as_str())
    .bind(key)
    .fetch_optional(db)
    .await?;
    Ok(row.map(|(id, request_hash)| Repeated {
        id: CheckoutId(id),
        request_hash,
    }))
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

/// When the first checkout was recorded.
pub async fn find_oldest(db: impl PgExecutor<'_>) -> Result<Option<OffsetDateTime>, StorageError> {
    let row: Option<(OffsetDateTime,)> =
        sqlx::query_as("SELECT created_at FROM checkouts ORDER BY id LIMIT 1")
            .fetch_optional(db)
            .await?;
    Ok(row.map(|(created_at,)| created_at))
}

/// Checkouts of which something has not ended, after the one named, in the order of their ids.
pub async fn find_open(
    db: impl PgExecutor<'_>,
    after: Option<CheckoutId>,
    limit: i64,
) -> Result<Vec<CheckoutId>, StorageError> {
    let rows: Vec<(Uuid,)> = sqlx::query_as(
        "SELECT id FROM checkouts c WHERE ($1::uuid IS NULL OR id > $1)
            AND EXISTS (SELECT FROM subscriptions s WHERE s.checkout_id = c.id AND s.status <> 'ENDED')
          ORDER BY id LIMIT $2",
    )
    .bind(after.map(|id| id.0))
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(id,)| CheckoutId(id)).collect())
}
