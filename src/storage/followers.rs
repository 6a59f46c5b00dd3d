//! Rows of `followers`, `followers_parked` and `followers_sent`: how far each follower has been told.

use std::collections::HashSet;

use sqlx::postgres::{PgExecutor, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::StorageError;
use crate::storage;

/// Where a follower is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As in the file.
    pub name: String,
    /// `webhook`, …
    pub kind: String,
    /// `snapshot` or `following`.
    pub state: String,
    /// Whether nothing is told until a person says otherwise.
    pub stopped: bool,
    /// Everything up to it is told, or waits with its member.
    pub position: i64,
    /// The last subscription of a snapshot that is told.
    pub snapshot_after: Option<Uuid>,
    /// Failures since the last success.
    pub attempts: i32,
    /// Until then nothing is told.
    pub next_attempt_at: Option<OffsetDateTime>,
    /// When something was told last.
    pub last_success_at: Option<OffsetDateTime>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it did.
    pub last_error_at: Option<OffsetDateTime>,
    /// When all that is in force was last told or compared.
    pub compared_at: Option<OffsetDateTime>,
    /// What a person should know of that.
    pub found: Option<String>,
    /// Since when it is told.
    pub created_at: OffsetDateTime,
}

from_row!(Place {
    name,
    kind,
    state,
    stopped,
    position,
    snapshot_after,
    attempts,
    next_attempt_at,
    last_success_at,
    last_error,
    last_error_at,
    compared_at,
    found,
    created_at,
});

/// A member whose rows wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The member.
    pub user_id: String,
    /// The first of what waits, in order; 0: what is in force of hers.
    pub positions: Vec<i64>,
    /// Times that the first of them was refused.
    pub attempts: i32,
    /// When it is tried again.
    pub next_attempt_at: OffsetDateTime,
    /// Why it was refused.
    pub last_error: String,
    /// Since when.
    pub since: OffsetDateTime,
}

from_row!(Parked {
    user_id,
    positions,
    attempts,
    next_attempt_at,
    last_error,
    since,
});

/// Who tells, while the lease lasts.
#[derive(Clone, Copy, Debug)]
pub struct Lease<'a> {
    /// The follower.
    pub name: &'a str,
    /// Of this process.
    pub token: Uuid,
    /// How long it lasts from each step on.
    pub seconds: f64,
}

/// A member's rows that are to wait.
#[derive(Clone, Debug)]
pub struct Park {
    /// The member.
    pub user: String,
    /// What is to wait, in order.
    pub positions: Vec<i64>,
    /// Why; none where others of hers wait already.
    pub error: Option<String>,
    /// When it is tried again.
    pub next_attempt_at: OffsetDateTime,
}

/// A step that was made.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// The new place.
    pub position: i64,
    /// Where the snapshot is then; none where there is none, or none any more.
    pub snapshot_after: Option<Uuid>,
    /// Whether the snapshot goes on.
    pub in_snapshot: bool,
    /// Whether anything was told.
    pub told: bool,
    /// Of a snapshot that has ended: what a person should know.
    pub found: Option<String>,
    /// Whose rows are to wait.
    pub parks: Vec<Park>,
}

/// A follower's place that was just taken from the head of the feed, unless it has one. One that had another name takes it
/// along.
pub async fn insert(
    pool: &PgPool,
    name: &str,
    kind: &str,
    renamed_from: Option<&str>,
    state: &str,
    now: OffsetDateTime,
) -> Result<(), StorageError> {
    let mut transaction = storage::begin(pool, None).await?;
    if let Some(old) = renamed_from {
        sqlx::query(
            "UPDATE followers SET name = $2 WHERE name = $1
                AND NOT EXISTS (SELECT FROM followers WHERE name = $2)",
        )
        .bind(old)
        .bind(name)
        .execute(&mut *transaction)
        .await?;
    }
    sqlx::query(
        "INSERT INTO followers (name, kind, state, position, created_at)
         SELECT $1, $2, $3, position, $4 FROM feed_head WHERE one
         ON CONFLICT (name) DO UPDATE SET kind = excluded.kind WHERE followers.kind <> excluded.kind",
    )
    .bind(name)
    .bind(kind)
    .bind(state)
    .bind(now)
    .execute(&mut *transaction)
    .await?;
    Ok(transaction.commit().await?)
}

/// One follower's place.
pub async fn find(db: impl PgExecutor<'_>, name: &str) -> Result<Option<Place>, StorageError> {
    Ok(sqlx::query_as("SELECT * FROM followers WHERE name = $1")
        .bind(name)
        .fetch_optional(db)
        .await?)
}

/// All places, of followers that stand no longer in the file too.
pub async fn find_all(db: impl PgExecutor<'_>) -> Result<Vec<Place>, StorageError> {
    Ok(sqlx::query_as("SELECT * FROM followers ORDER BY name")
        .fetch_all(db)
        .await?)
}

/// Takes the lease where nobody holds it, or keeps it; false where somebody else does.
pub async fn lease(db: impl PgExecutor<'_>, lease: Lease<'_>) -> Result<bool, StorageError> {
    let taken = sqlx::query(
        "UPDATE followers SET lease_token = $2, lease_until = now() + make_interval(secs => $3)
          WHERE name = $1 AND (lease_token = $2 OR lease_until IS NULL OR lease_until < now())",
    )
    .bind(lease.name)
    .bind(lease.token)
    .bind(lease.seconds)
    .execute(db)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Gives the lease back.
pub async fn release(db: impl PgExecutor<'_>, lease: Lease<'_>) -> Result<(), StorageError> {
    sqlx::query("UPDATE followers SET lease_token = NULL, lease_until = NULL WHERE name = $1 AND lease_token = $2")
        .bind(lease.name)
        .bind(lease.token)
        .execute(db)
        .await?;
    Ok(())
}

/// Notes a step from a place; false where the lease is lost, or somebody has moved the place meanwhile.
pub async fn advance(
    db: impl PgExecutor<'_>,
    lease: Lease<'_>,
    from: &Place,
    step: &Step,
    now: OffsetDateTime,
) -> Result<bool, StorageError> {
    // One array of all that is to wait, with the place of its member in the others.
    let waits = { step.parks.iter().zip(1_i64..) }
        .flat_map(|(park, at)| park.positions.iter().map(move |position| (at, *position)));
    let (members, positions): (Vec<i64>, Vec<i64>) = waits.unzip();
    let users: Vec<&str> = step.parks.iter().map(|park| park.user.as_str()).collect();
    let errors: Vec<&str> = { step.parks.iter() }
        .map(|park| park.error.as_deref().unwrap_or_default())
        .collect();
    let next: Vec<_> = step.parks.iter().map(|park| park.next_attempt_at).collect();
    let moved = sqlx::query(
        "WITH moved AS (
             UPDATE followers SET position = $3, snapshot_after = $4,
                    compared_at = CASE WHEN state = 'snapshot' AND NOT $5 THEN $7 ELSE compared_at END,
                    found = CASE WHEN state = 'snapshot' AND NOT $5 THEN $13 ELSE found END,
                    state = CASE WHEN $5 THEN 'snapshot' ELSE 'following' END, attempts = 0, next_attempt_at = NULL,
                    last_success_at = CASE WHEN $6 THEN $7 ELSE last_success_at END,
                    last_error = CASE WHEN $6 THEN NULL ELSE last_error END,
                    last_error_at = CASE WHEN $6 THEN NULL ELSE last_error_at END
              WHERE name = $1 AND lease_token = $2 AND position = $14 AND state = $15
                AND snapshot_after IS NOT DISTINCT FROM $16 RETURNING name),
         waits AS (SELECT member, array_agg(position ORDER BY place) AS positions
                     FROM unnest($8::bigint[], $9::bigint[]) WITH ORDINALITY AS w (member, position, place) GROUP BY member),
         parked AS (
             INSERT INTO followers_parked AS held (name, user_id, positions, attempts, next_attempt_at, last_error, since)
             SELECT moved.name, m.user_id, w.positions, 1, m.next_attempt_at, m.error, $7
               FROM moved, unnest($10::text[], $11::text[], $12::timestamptz[]) WITH ORDINALITY
                           AS m (user_id, error, next_attempt_at, member) JOIN waits w USING (member)
             ON CONFLICT (name, user_id) DO UPDATE SET positions = held.positions || coalesce(
                    (SELECT array_agg(p) FROM unnest(excluded.positions) p
                      WHERE p > held.positions[cardinality(held.positions)]), '{}')
             RETURNING name),
         told AS (DELETE FROM followers_sent s USING moved WHERE s.name = moved.name AND s.position <= $3)
         SELECT name FROM moved",
    )
    .bind(lease.name)
    .bind(lease.token)
    .bind(step.position)
    .bind(step.snapshot_after)
    .bind(step.in_snapshot)
    .bind(step.told)
    .bind(now)
    .bind(members)
    .bind(positions)
    .bind(users)
    .bind(errors)
    .bind(next)
    .bind(step.found.as_deref())
    .bind(from.position)
    .bind(&from.state)
    .bind(from.snapshot_after)
    .fetch_optional(db)
    .await?;
    Ok(moved.is_some())
}

/// What keeps a follower from being told.
#[derive(Clone, Debug)]
pub struct Hold<'a> {
    /// Where it goes on; none: where it is.
    pub position: Option<i64>,
    /// Members whose rows are told with those of the others again.
    pub unpark: &'a [String],
    /// When it is tried again; none: when a person says so.
    pub next_attempt_at: Option<OffsetDateTime>,
    /// What went wrong.
    pub error: &'a str,
}

/// Notes that a follower waits; false where the lease is lost, or somebody has moved the place meanwhile.
pub async fn hold(
    db: impl PgExecutor<'_>,
    lease: Lease<'_>,
    from: &Place,
    hold: &Hold<'_>,
    now: OffsetDateTime,
) -> Result<bool, StorageError> {
    let name: Option<String> = sqlx::query_scalar(
        "WITH held AS (
             UPDATE followers SET position = coalesce($3, position), attempts = attempts + 1, next_attempt_at = $4,
                    stopped = $4::timestamptz IS NULL, last_error = $5, last_error_at = $6
              WHERE name = $1 AND lease_token = $2 AND position = $8 AND state = $9
                AND snapshot_after IS NOT DISTINCT FROM $10 RETURNING name),
         unparked AS (DELETE FROM followers_parked p USING held WHERE p.name = held.name AND p.user_id = ANY ($7))
         SELECT name FROM held",
    )
    .bind(lease.name)
    .bind(lease.token)
    .bind(hold.position)
    .bind(hold.next_attempt_at)
    .bind(hold.error)
    .bind(now)
    .bind(hold.unpark)
    .bind(from.position)
    .bind(&from.state)
    .bind(from.snapshot_after)
    .fetch_optional(db)
    .await?;
    Ok(name.is_some())
}

/// Which of these members' rows wait.
pub async fn find_parked_among(
    db: impl PgExecutor<'_>,
    name: &str,
    users: &[&str],
) -> Result<HashSet<String>, StorageError> {
    let parked: Vec<String> = sqlx::query_scalar(
        "SELECT user_id FROM followers_parked WHERE name = $1 AND user_id = ANY ($2)",
    )
    .bind(name)
    .bind(users)
    .fetch_all(db)
    .await?;
    Ok(parked.into_iter().collect())
}

/// Members whose rows wait, those first that are tried first, with the first rows of each: due ones, or all.
pub async fn find_parked(
    db: impl PgExecutor<'_>,
    name: &str,
    due: Option<OffsetDateTime>,
    limit: i64,
) -> Result<Vec<Parked>, StorageError> {
    Ok(sqlx::query_as(
        "SELECT user_id, positions[1:100] AS positions, attempts, next_attempt_at, last_error, since
           FROM followers_parked WHERE name = $1 AND ($2::timestamptz IS NULL OR next_attempt_at <= $2)
          ORDER BY next_attempt_at LIMIT $3",
    )
    .bind(name)
    .bind(due)
    .bind(limit)
    .fetch_all(db)
    .await?)
}

/// A member whose rows wait, with the follower that refuses them.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns' comments say it")]
pub struct ParkedAnywhere {
    pub name: String,
    pub user_id: String,
    /// How many rows wait.
    pub waiting: i32,
    pub attempts: i32,
    pub since: OffsetDateTime,
    pub next_attempt_at: OffsetDateTime,
    pub last_error: String,
}

from_row!(ParkedAnywhere {
    name,
    user_id,
    waiting,
    attempts,
    since,
    next_attempt_at,
    last_error,
});

/// Members whose rows wait with whichever follower, at most `limit`.
pub async fn find_all_parked(
    db: impl PgExecutor<'_>,
    limit: i64,
) -> Result<Vec<ParkedAnywhere>, StorageError> {
    Ok(sqlx::query_as(
        "SELECT name, user_id, cardinality(positions) AS waiting, attempts, since, next_attempt_at, last_error
           FROM followers_parked WHERE name >= '' ORDER BY name, user_id LIMIT $1",
    )
    .bind(limit)
    .fetch_all(db)
    .await?)
}

/// How many members' rows wait.
pub async fn count_parked(db: impl PgExecutor<'_>, name: &str) -> Result<i64, StorageError> {
    Ok(
        sqlx::query_scalar("SELECT count(*) FROM followers_parked WHERE name = $1")
            .bind(name)
            .fetch_one(db)
            .await?,
    )
}

/// Takes the first `told` of a member's rows out of what waits, unless a person has done so meanwhile; where one is left and
/// was refused, says when it is tried again. One with none left waits no more. False where the lease is lost.
pub async fn update_parked(
    db: impl PgExecutor<'_>,
    lease: Lease<'_>,
    parked: &Parked,
    told: usize,
    refused: Option<(&str, OffsetDateTime)>,
) -> Result<bool, StorageError> {
    let kept: Option<bool> = sqlx::query_scalar(
        "WITH leader AS (SELECT name FROM followers WHERE name = $1 AND lease_token = $2 FOR UPDATE),
         gone AS (DELETE FROM followers_parked p USING leader
                   WHERE p.name = leader.name AND p.user_id = $3 AND p.positions[1] = $7 AND cardinality(p.positions) <= $4),
         left_over AS (UPDATE followers_parked p SET positions = p.positions[$4 + 1 :],
                              attempts = CASE WHEN $4 > 0 THEN 1 WHEN $5::text IS NULL THEN p.attempts
                                              ELSE p.attempts + 1 END,
                              last_error = coalesce($5, p.last_error),
                              next_attempt_at = coalesce($6, p.next_attempt_at)
                         FROM leader WHERE p.name = leader.name AND p.user_id = $3 AND p.positions[1] = $7
                          AND cardinality(p.positions) > $4)
         SELECT true FROM leader",
    )
    .bind(lease.name)
    .bind(lease.token)
    .bind(&parked.user_id)
    .bind(i32::try_from(told).unwrap_or(i32::MAX))
    .bind(refused.map(|(error, _)| error))
    .bind(refused.map(|(_, next)| next))
    .bind(parked.positions.first())
    .fetch_optional(db)
    .await?;
    Ok(kept.is_some())
}

/// Notes that a row is told which the place has not reached.
pub async fn insert_sent(
    db: impl PgExecutor<'_>,
    name: &str,
    position: i64,
) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO followers_sent (name, position) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    )
    .bind(name)
    .bind(position)
    .execute(db)
    .await?;
    Ok(())
}

/// Which of these rows are told already.
pub async fn find_sent(
    db: impl PgExecutor<'_>,
    name: &str,
    positions: &[i64],
) -> Result<HashSet<i64>, StorageError> {
    let sent: Vec<i64> = sqlx::query_scalar(
        "SELECT position FROM followers_sent WHERE name = $1 AND position = ANY ($2)",
    )
    .bind(name)
    .bind(positions)
    .fetch_all(db)
    .await?;
    Ok(sent.into_iter().collect())
}

/// Up to which position everything is told to these followers; none where there is none of them.
pub async fn find_lowest(
    db: impl PgExecutor<'_>,
    names: &[String],
) -> Result<Option<i64>, StorageError> {
    Ok(sqlx::query_scalar(
        "SELECT least((SELECT min(position) FROM followers WHERE name = ANY ($1)),
                      (SELECT min(p - 1) FROM followers_parked, unnest(positions) p WHERE name = ANY ($1) AND p > 0))",
    )
    .bind(names)
    .fetch_one(db)
    .await?)
}

/// Has a follower tried at once, with all members whose rows wait, or with one; one that was stopped goes on. How many
/// rows say so.
pub async fn update_retry(
    pool: &PgPool,
    name: &str,
    user: Option<&str>,
    now: OffsetDateTime,
) -> Result<u64, StorageError> {
    let mut transaction = storage::begin(pool, None).await?;
    let mut due = 0;
    if user.is_none() {
        let resumed = sqlx::query(
            "UPDATE followers SET next_attempt_at = NULL, attempts = 0, stopped = false WHERE name = $1",
        )
        .bind(name)
        .execute(&mut *transaction)
        .await?;
        due += resumed.rows_affected();
    }
    let parked = sqlx::query(
        "UPDATE followers_parked SET next_attempt_at = $3
          WHERE name = $1 AND ($2::text IS NULL OR user_id = $2)",
    )
    .bind(name)
    .bind(user)
    .bind(now)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(due + parked.rows_affected())
}

/// Gives up the first of a member's rows that wait; the position that is never told, none where none waits.
pub async fn delete_first_parked(
    pool: &PgPool,
    name: &str,
    user: &str,
    now: OffsetDateTime,
) -> Result<Option<i64>, StorageError> {
    let mut transaction = storage::begin(pool, None).await?;
    let first: Option<i64> = sqlx::query_scalar(
        "SELECT positions[1] FROM followers_parked WHERE name = $1 AND user_id = $2 FOR UPDATE",
    )
    .bind(name)
    .bind(user)
    .fetch_optional(&mut *transaction)
    .await?;
    for statement in [
        "DELETE FROM followers_parked WHERE name = $1 AND user_id = $2 AND cardinality(positions) = 1 AND $3 = $3",
        "UPDATE followers_parked SET positions = positions[2:], attempts = 0, next_attempt_at = $3
          WHERE name = $1 AND user_id = $2 AND cardinality(positions) > 1",
    ] {
        sqlx::query(statement)
            .bind(name)
            .bind(user)
            .bind(now)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(first)
}

/// Has a follower told from the beginning: what is in force first, then the feed from its head on. What waits is covered
/// by that. False where there is no such follower.
pub async fn update_resync(pool: &PgPool, name: &str) -> Result<bool, StorageError> {
    let mut transaction = storage::begin(pool, None).await?;
    let begun = sqlx::query(
        "UPDATE followers f SET state = 'snapshot', snapshot_after = NULL, position = h.position, attempts = 0,
                next_attempt_at = NULL, stopped = false FROM feed_head h WHERE h.one AND f.name = $1",
    )
    .bind(name)
    .execute(&mut *transaction)
    .await?;
    sqlx::query("DELETE FROM followers_parked WHERE name = $1")
        .bind(name)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(begun.rows_affected() == 1)
}

/// Begins a comparison of all that is in force, without another place; false where the lease is lost.
pub async fn update_compare(
    db: impl PgExecutor<'_>,
    lease: Lease<'_>,
) -> Result<bool, StorageError> {
    let begun = sqlx::query(
        "UPDATE followers SET state = 'snapshot', snapshot_after = NULL
          WHERE name = $1 AND lease_token = $2 AND state = 'following'",
    )
    .bind(lease.name)
    .bind(lease.token)
    .execute(db)
    .await?;
    Ok(begun.rows_affected() == 1)
}

/// Has a follower told at once what is in force of a user's, if anything ever was hers; false where the follower has no
/// place yet. One more that comes while she is told is told once more after it.
pub async fn insert_look(
    db: impl PgExecutor<'_>,
    name: &str,
    user: &str,
    why: &str,
    now: OffsetDateTime,
) -> Result<bool, StorageError> {
    let found: Option<bool> = sqlx::query_scalar(
        "WITH place AS (SELECT name FROM followers WHERE name = $1),
         noted AS (
             INSERT INTO followers_parked AS held (name, user_id, positions, attempts, next_attempt_at, last_error, since)
             SELECT name, $2, '{0}', 0, $4, $3, $4 FROM place
              WHERE EXISTS (SELECT FROM subscriptions WHERE user_id = $2)
             ON CONFLICT (name, user_id) DO UPDATE
                SET positions = CASE WHEN cardinality(array_positions(held.positions, 0::bigint)) < 2
                                     THEN held.positions || 0::bigint ELSE held.positions END,
                    next_attempt_at = least(held.next_attempt_at, excluded.next_attempt_at))
         SELECT true FROM place",
    )
    .bind(name)
    .bind(user)
    .bind(why)
    .bind(now)
    .fetch_optional(db)
    .await?;
    Ok(found.is_some())
}
