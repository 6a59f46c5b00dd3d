//! Rows of `webhook_events`: which events were seen, and which wait to be settled.

use serde::Serialize;
use sqlx::postgres::PgExecutor;
use time::OffsetDateTime;

use super::StorageError;

mod listed;

pub use self::listed::{LIST, list};

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventState {
    /// Its facts are in our rows.
    Applied,
    /// It waits for the worker to read Stripe.
    Deferred,
    /// Refused: a person should look.
    Flagged,
    /// It could not be applied by a fault of ours.
    Failed,
}

impl EventState {
    /// The text in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Deferred => "deferred",
            Self::Flagged => "flagged",
            Self::Failed => "failed",
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
    /// Why a person should look: only if flagged.
    pub cause: Option<&'a str>,
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
    /// When Stripe made it.
    pub created: OffsetDateTime,
    /// Which try this is, from 1.
    pub attempt: i32,
}

/// Takes due deferred events, at most one an object, the newest, and puts each off until `lease_until`: other replicas
/// leave them alone meanwhile, and a worker that dies gives them back by dying.
pub async fn lock_deferred(
    db: impl PgExecutor<'_>,
    now: OffsetDateTime,
    lease_until: OffsetDateTime,
    limit: i64,
) -> Result<Vec<Deferred>, StorageError> {
    let rows: Vec<(String, String, String, OffsetDateTime, i32)> = sqlx::query_as(
        "WITH due AS (SELECT id, object_id, next_attempt_at FROM webhook_events
                       WHERE state = 'deferred' AND next_attempt_at <= $1
                       ORDER BY next_attempt_at LIMIT $3 FOR UPDATE SKIP LOCKED),
              taken AS (UPDATE webhook_events e SET attempts = e.attempts + 1, next_attempt_at = $2
                          FROM due WHERE e.id = due.id RETURNING e.id, e.type, e.object_id, e.created, e.attempts)
         SELECT DISTINCT ON (object_id) id, type, object_id, created, attempts FROM taken
          ORDER BY object_id, created DESC, id",
    )
    .bind(now)
    .bind(lease_until)
    .bind(limit)
    .fetch_all(db)
    .await?;
    let deferred = |(id, kind, object_id, created, attempt)| Deferred {
        id,
        kind,
        object_id,
        created,
        attempt,
    };
    Ok(rows.into_iter().map(deferred).collect())
}

/// How an event ended that had been deferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// What Stripe says is in our rows.
    Applied,
    /// It concerns none of our rows.
    Ignored,
    /// So it is, but a person should look: why.
    Flagged(&'static str),
}

impl Settled {
    /// What is to be recorded of two readings for one event: whatever needs a person comes first.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Flagged(cause), _) | (_, Self::Flagged(cause)) => Self::Flagged(cause),
            (Self::Applied, _) | (_, Self::Applied) => Self::Applied,
            (Self::Ignored, Self::Ignored) => Self::Ignored,
        }
    }
}

/// The deferred events of an object, with their types.
pub async fn find_deferred(
    db: impl PgExecutor<'_>,
    object_id: &str,
) -> Result<Vec<(String, String)>, StorageError> {
    Ok(sqlx::query_as(
        "SELECT id, type FROM webhook_events WHERE object_id = $1 AND state = 'deferred'",
    )
    .bind(object_id)
    .fetch_all(db)
    .await?)
}

/// Settles deferred events that were recorded before the rows and their object were read.
pub async fn update_settled(
    db: impl PgExecutor<'_>,
    events: &[String],
    settled: Settled,
) -> Result<(), StorageError> {
    let (state, cause) = match settled {
        Settled::Applied => ("applied", None),
        Settled::Ignored => ("ignored", None),
        Settled::Flagged(cause) => ("flagged", Some(cause)),
    };
    sqlx::query(
        "UPDATE webhook_events SET state = $2, next_attempt_at = NULL, last_error = $3
          WHERE id = ANY ($1) AND state = 'deferred'",
    )
    .bind(events)
    .bind(state)
    .bind(cause)
    .execute(db)
    .await?;
    Ok(())
}

/// Puts deferred events off until `next` without counting the try: Stripe was not there to be asked.
pub async fn update_put_off(
    db: impl PgExecutor<'_>,
    events: &[String],
    cause: &str,
    next: OffsetDateTime,
) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE webhook_events SET next_attempt_at = $3, last_error = $2, attempts = greatest(attempts - 1, 0)
          WHERE id = ANY ($1) AND state = 'deferred'",
    )
    .bind(events)
    .bind(cause)
    .bind(next)
    .execute(db)
    .await?;
    Ok(())
}

/// Gives events that were given up another try, those first that had the fewest; returns how many. One that fails again is
/// given up again.
pub async fn update_tried_again(
    db: impl PgExecutor<'_>,
    now: OffsetDateTime,
    limit: i64,
) -> Result<u64, StorageError> {
    let again = sqlx::query(
        "UPDATE webhook_events SET state = 'deferred', next_attempt_at = $1
          WHERE id IN (SELECT id FROM webhook_events WHERE state = 'failed'
                       ORDER BY attempts, created, id LIMIT $2)",
    )
    .bind(now)
    .bind(limit)
    .execute(db)
    .await?;
    Ok(again.rows_affected())
}

/// Takes an event off the list of what wants attention, for a reason that is kept with it; false when it was not on it.
pub async fn update_dismissed(
    db: impl PgExecutor<'_>,
    id: &str,
    reason: &str,
) -> Result<bool, StorageError> {
    let dismissed = sqlx::query(
        "UPDATE webhook_events SET state = 'ignored', last_error = 'dismissed: ' || $2
          WHERE id = $1 AND state IN ('failed', 'flagged')",
    )
    .bind(id)
    .bind(reason)
    .execute(db)
    .await?;
    Ok(dismissed.rows_affected() > 0)
}

/// Puts deferred events off until `next`, or gives them up when that is none.
pub async fn update_failed(
    db: impl PgExecutor<'_>,
    events: &[String],
    cause: &str,
    next: Option<OffsetDateTime>,
) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE webhook_events SET state = CASE WHEN $3::timestamptz IS NULL THEN 'failed' ELSE 'deferred' END,
                next_attempt_at = $3, last_error = $2
          WHERE id = ANY ($1) AND state = 'deferred'",
    )
    .bind(events)
    .bind(cause)
    .bind(next)
    .execute(db)
    .await?;
    Ok(())
}

/// Which of these events are recorded already.
pub async fn find_seen(
    db: impl PgExecutor<'_>,
    ids: &[String],
) -> Result<Vec<String>, StorageError> {
    let rows: Vec<(String,)> = sqlx::query_as("SELECT id FROM webhook_events WHERE id = ANY ($1)")
        .bind(ids)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// An event as an operator sees it.
#[derive(Clone, Debug, Serialize)]
pub struct EventRow {
    /// `evt_…`.
    pub id: String,
    /// Stripe's name of its type.
    pub r#type: String,
    /// What it is about.
    pub object_id: String,
    /// When Stripe made it.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// When it first reached us.
    #[serde(with = "time::serde::rfc3339")]
    pub received_at: OffsetDateTime,
    /// What became of it.
    pub state: String,
    /// How often the worker has tried.
    pub attempts: i32,
    /// When the worker takes it up (again).
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_attempt_at: Option<OffsetDateTime>,
    /// Why it failed or was flagged.
    pub last_error: Option<String>,
}

from_row!(EventRow {
    id,
    r#type,
    object_id,
    created,
    received_at,
    state,
    attempts,
    next_attempt_at,
    last_error,
});

/// The newest events, of one state if given.
pub async fn find(
    db: impl PgExecutor<'_>,
    state: Option<&str>,
    limit: i64,
) -> Result<Vec<EventRow>, StorageError> {
    Ok(sqlx::query_as(
        "SELECT * FROM webhook_events WHERE ($1::text IS NULL OR state = $1) ORDER BY received_at DESC, id LIMIT $2",
    )
    .bind(state)
    .bind(limit)
    .fetch_all(db)
    .await?)
}

/// One event.
pub async fn find_by_id(
    db: impl PgExecutor<'_>,
    id: &str,
) -> Result<Option<EventRow>, StorageError> {
    Ok(sqlx::query_as("SELECT * FROM webhook_events WHERE id = $1")
        .bind(id)
        .fetch_optional(db)
        .await?)
}

/// Events about these objects, and those with these ids: first those that are not at their end or that somebody took off
/// the list, then the newest.
pub async fn find_about(
    db: impl PgExecutor<'_>,
    objects: &[String],
    ids: &[String],
    limit: i64,
) -> Result<Vec<EventRow>, StorageError> {
    Ok(sqlx::query_as(FIND_ABOUT)
        .bind(objects)
        .bind(ids)
        .bind(limit)
        .fetch_all(db)
        .await?)
}

/// See [`find_about`].
pub const FIND_ABOUT: &str = "SELECT * FROM (
        SELECT * FROM webhook_events WHERE object_id = ANY ($1)
         UNION SELECT * FROM webhook_events WHERE id = ANY ($2)) AS e
    ORDER BY (state IN ('applied', 'ignored') AND NOT starts_with(coalesce(last_error, ''), 'dismissed')),
             received_at DESC, id LIMIT $3";

/// When the newest event of that type about an object was made.
pub async fn find_newest(
    db: impl PgExecutor<'_>,
    object_id: &str,
    kind: &str,
) -> Result<Option<OffsetDateTime>, StorageError> {
    Ok(sqlx::query_scalar(
        "SELECT max(created) FROM webhook_events WHERE object_id = $1 AND type = $2",
    )
    .bind(object_id)
    .bind(kind)
    .fetch_one(db)
    .await?)
}

/// Notes that an event turned out to concern none of our rows.
pub async fn update_ignored(db: impl PgExecutor<'_>, id: &str) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE webhook_events SET state = 'ignored', next_attempt_at = NULL, last_error = NULL WHERE id = $1",
    )
    .bind(id)
    .execute(db)
    .await?;
    Ok(())
}

/// Purges settled events that came before `before`, at most `limit`; returns how many.
pub async fn delete_old(
    db: impl PgExecutor<'_>,
    before: OffsetDateTime,
    limit: i64,
) -> Result<u64, StorageError> {
    let deleted = sqlx::query(
        "DELETE FROM webhook_events WHERE id IN (
             SELECT id FROM webhook_events WHERE received_at < $1 AND state IN ('applied', 'ignored')
              ORDER BY received_at LIMIT $2)",
    )
    .bind(before)
    .bind(limit)
    .execute(db)
    .await?;
    Ok(deleted.rows_affected())
}

/// What an alert looks at.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    /// Events that wait for the worker.
    pub deferred: i64,
    /// Events that the worker gave up.
    pub failed: i64,
    /// Events that a person should look at.
    pub flagged: i64,
    /// When the oldest waiting event came.
    pub oldest_deferred: Option<OffsetDateTime>,
}

from_row!(Backlog {
    deferred,
    failed,
    flagged,
    oldest_deferred,
});

/// Counts what is not settled.
pub async fn find_backlog(db: impl PgExecutor<'_>) -> Result<Backlog, StorageError> {
    Ok(sqlx::query_as(
        "SELECT count(*) FILTER (WHERE state = 'deferred') AS deferred,
                count(*) FILTER (WHERE state = 'failed') AS failed,
                count(*) FILTER (WHERE state = 'flagged') AS flagged,
                min(received_at) FILTER (WHERE state = 'deferred') AS oldest_deferred
           FROM webhook_events WHERE state IN ('deferred', 'failed', 'flagged')",
    )
    .fetch_one(db)
    .await?)
}

/// When the newest event came, whether by a webhook or by a walk through Stripe's list.
pub async fn find_newest_arrival(
    db: impl PgExecutor<'_>,
) -> Result<Option<OffsetDateTime>, StorageError> {
    Ok(
        sqlx::query_scalar("SELECT max(received_at) FROM webhook_events")
            .fetch_one(db)
            .await?,
    )
}
