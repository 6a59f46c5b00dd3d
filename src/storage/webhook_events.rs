//! Rows of `webhook_events`: which events were seen, and which wait to be settled.

use sqlx::postgres::PgExecutor;
use time::OffsetDateTime;

use super::StorageError;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventState {
    /// Its facts are in our rows.
    Applied,
    /// It waits for the worker to read Stripe.
    Deferred,
    /// Refused: a person should look.
    Flagged,
}

impl EventState {
    /// The text in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Deferred => "deferred",
            Self::Flagged => "flagged",
        }
    }
}

/// An event to be recorded.
#[derive(Clone, Copy, Debug)]
pub struct EventRecord<'a> {
    /// `evt_…`.
    pub id: &'a str,
    /// Stripe's name of its type.
    pub kind: &'a str,
    /// What it is about.
    pub object_id: &'a str,
    /// When Stripe made it.
    pub created: OffsetDateTime,
    /// What became of it.
    pub state: EventState,
    /// When the worker takes it up: only if deferred.
    pub next_attempt_at: Option<OffsetDateTime>,
}

/// A deferred event that the worker has taken.
#[derive(Clone, Debug)]
pub struct Deferred {
    /// `evt_…`.
    pub id: String,
    /// Stripe's name of its type.
    pub kind: String,
    /// The object to be read.
    pub object_id: String,
    /// Which try this is, from 1.
    pub attempt: i32,
}

/// Records a refused event with its cause.
pub async fn insert_flagged(
    db: impl PgExecutor<'_>,
    event: &EventRecord<'_>,
    cause: &str,
    now: OffsetDateTime,
) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO webhook_events (id, type, object_id, created, received_at, state, last_error)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING",
    )
    .bind(event.id)
    .bind(event.kind)
    .bind(event.object_id)
    .bind(event.created)
    .bind(now)
    .bind(EventState::Flagged.as_str())
    .bind(cause)
    .execute(db)
    .await?;
    Ok(())
}

/// Takes due deferred events, at most one an object, and puts each off until `lease_until`: other replicas leave them
/// alone meanwhile, and a worker that dies gives them back by dying.
pub async fn lock_deferred(
    db: impl PgExecutor<'_>,
    now: OffsetDateTime,
    lease_until: OffsetDateTime,
    limit: i64,
) -> Result<Vec<Deferred>, StorageError> {
    let rows: Vec<(String, String, String, i32)> = sqlx::query_as(
        "WITH due AS (SELECT id, object_id, next_attempt_at FROM webhook_events
                       WHERE state = 'deferred' AND next_attempt_at <= $1
                       ORDER BY next_attempt_at LIMIT $3 FOR UPDATE SKIP LOCKED),
              taken AS (UPDATE webhook_events e SET attempts = e.attempts + 1, next_attempt_at = $2
                          FROM due WHERE e.id = due.id RETURNING e.id, e.type, e.object_id, e.attempts)
         SELECT DISTINCT ON (object_id) id, type, object_id, attempts FROM taken ORDER BY object_id, id",
    )
    .bind(now)
    .bind(lease_until)
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(id, kind, object_id, attempt)| Deferred {
            id,
            kind,
            object_id,
            attempt,
        })
        .collect())
}

/// Settles every deferred event of an object that had arrived before it was read.
pub async fn update_settled(
    db: impl PgExecutor<'_>,
    object_id: &str,
    read_at: OffsetDateTime,
) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE webhook_events SET state = 'applied', next_attempt_at = NULL, last_error = NULL
          WHERE object_id = $1 AND state = 'deferred' AND received_at <= $2",
    )
    .bind(object_id)
    .bind(read_at)
    .execute(db)
    .await?;
    Ok(())
}

/// Puts the deferred events of an object off until `next`, or gives them up when that is none.
pub async fn update_failed(
    db: impl PgExecutor<'_>,
    object_id: &str,
    cause: &str,
    next: Option<OffsetDateTime>,
) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE webhook_events SET state = CASE WHEN $3::timestamptz IS NULL THEN 'failed' ELSE 'deferred' END,
                next_attempt_at = $3, last_error = $2
          WHERE object_id = $1 AND state = 'deferred'",
    )
    .bind(object_id)
    .bind(cause)
    .bind(next)
    .execute(db)
    .await?;
    Ok(())
}
