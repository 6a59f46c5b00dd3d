//! Rows of `today` and what they are counted from: `in_force_days`, `in_force_walk`, `last_comparison`.
//!
//! How many are in force follows from the changes of status and plan, day by day: a change is read once, and nobody counts
//! a million rows to know it. Once a day the sums are held against the rows themselves.

use serde::Deserialize;
use sqlx::postgres::PgExecutor;
use time::{Date, Duration, OffsetDateTime, UtcOffset};

use super::StorageError;

/// Around the changes that are not counted yet: what is to be done with them.
macro_rules! around_changes {
    ($begin:literal, $end:literal) => {
        concat!(
            include_str!($begin),
            include_str!("changes.sql"),
            include_str!($end)
        )
    };
}

/// Counts the next changes.
pub const WALK: &str = around_changes!("walk_begin.sql", "walk_end.sql");
/// Holds the sums against the rows.
pub const RECOUNT: &str = around_changes!("recount_begin.sql", "recount_end.sql");
/// Counts what the page of the day shows.
pub const REFRESH: &str = around_changes!("refresh_begin.sql", "refresh_end.sql");

/// Days of history that are shown, today among them.
const DAYS: i32 = 366;
/// What ends within so many days is told.
pub const ENDING_DAYS: i64 = 30;
/// An event that has waited for longer has waited too long.
const DEFERRED_TOO_LONG: Duration = Duration::minutes(15);

/// What the page of the day shows.
#[derive(Clone, Debug)]
pub struct Today {
    /// When it was counted.
    pub counted_at: OffsetDateTime,
    /// When the last whole comparison with Stripe came to its end.
    pub compared_at: Option<OffsetDateTime>,
    /// When the newest event came.
    pub last_webhook_at: Option<OffsetDateTime>,
    /// Events that were given up.
    pub failed: i64,
    /// Events that a person should look at.
    pub flagged: i64,
    /// Events that have waited for more than a quarter of an hour.
    pub deferred_too_long: i64,
    /// Members whose changes a follower refuses.
    pub parked: i64,
    /// Acts of operators of which nobody knows whether they took effect.
    pub actions_unknown: i64,
    /// Paid at Stripe and not in force here.
    pub paid_not_here: Option<i64>,
    /// In force here and not paid at Stripe.
    pub here_not_paid: Option<i64>,
    /// What ends within [`ENDING_DAYS`].
    pub ending: i64,
    /// By plan.
    pub in_force: Vec<InForce>,
    /// By reason.
    pub on_hold: Vec<OnHold>,
    /// Of the last year.
    pub history: History,
}

/// How many are in force of a plan.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "one sentence says it")]
pub struct InForce {
    pub plan: String,
    pub kind: String,
    pub count: i64,
}

/// How many are on hold for a reason.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "one sentence says it")]
pub struct OnHold {
    pub reason: String,
    pub count: i64,
}

/// How many were in force at the end of each day.
#[derive(Clone, Debug, Deserialize)]
pub struct History {
    /// Oldest first, `YYYY-MM-DD`.
    pub days: Vec<String>,
    /// By plan.
    pub plans: Vec<PlanHistory>,
}

/// The same of one plan.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "one sentence says it")]
pub struct PlanHistory {
    pub plan: String,
    pub counts: Vec<i64>,
}

struct Row {
    counted_at: OffsetDateTime,
    compared_at: Option<OffsetDateTime>,
    last_webhook_at: Option<OffsetDateTime>,
    failed: i64,
    flagged: i64,
    deferred_too_long: i64,
    parked: i64,
    actions_unknown: i64,
    paid_not_here: Option<i64>,
    here_not_paid: Option<i64>,
    ending: i64,
    in_force: String,
    on_hold: String,
    history: String,
}

from_row!(Row {
    counted_at,
    compared_at,
    last_webhook_at,
    failed,
    flagged,
    deferred_too_long,
    parked,
    actions_unknown,
    paid_not_here,
    here_not_paid,
    ending,
    in_force,
    on_hold,
    history,
});

/// What the page of the day shows.
pub const FIND: &str = "
    SELECT t.counted_at, c.at AS compared_at, (SELECT max(received_at) FROM webhook_events) AS last_webhook_at, t.failed,
           t.flagged, t.deferred_too_long, t.parked, t.actions_unknown, t.ending,
           CASE WHEN c.one THEN (SELECT count(*) FROM differing WHERE direction = 'paid_not_here') END AS paid_not_here,
           CASE WHEN c.one THEN (SELECT count(*) FROM differing WHERE direction = 'here_not_paid') END AS here_not_paid,
           t.in_force::text AS in_force, t.on_hold::text AS on_hold, t.history::text AS history
      FROM today t LEFT JOIN last_comparison c ON c.one WHERE t.one";

/// What was counted last; none before the first time.
pub async fn find(db: impl PgExecutor<'_>) -> Result<Option<Today>, StorageError> {
    let row: Option<Row> = sqlx::query_as(FIND).fetch_optional(db).await?;
    row.map(Row::into_today).transpose()
}

impl Row {
    fn into_today(self) -> Result<Today, StorageError> {
        Ok(Today {
            in_force: told("in_force", &self.in_force)?,
            on_hold: told("on_hold", &self.on_hold)?,
            history: told("history", &self.history)?,
            counted_at: self.counted_at,
            compared_at: self.compared_at,
            last_webhook_at: self.last_webhook_at,
            failed: self.failed,
            flagged: self.flagged,
            deferred_too_long: self.deferred_too_long,
            parked: self.parked,
            actions_unknown: self.actions_unknown,
            paid_not_here: self.paid_not_here,
            here_not_paid: self.here_not_paid,
            ending: self.ending,
        })
    }
}

fn told<'a, T: Deserialize<'a>>(column: &'static str, text: &'a str) -> Result<T, StorageError> {
    serde_json::from_str(text).map_err(|_| StorageError::ImpossibleRow {
        table: "today",
        row: "one".to_owned(),
        column,
    })
}

fn day(now: OffsetDateTime) -> Date {
    now.to_offset(UtcOffset::UTC).date()
}

/// Counts the next changes, at most `limit`; true when all of the look before are counted.
pub async fn update_walked(db: impl PgExecutor<'_>, limit: i64) -> Result<bool, StorageError> {
    let counted: i64 = sqlx::query_scalar(WALK).bind(limit).fetch_one(db).await?;
    Ok(counted < limit)
}

/// Notes how far the changes are numbered by now: so far the next look goes. Whatever has a lower number is committed by
/// then, or never will be.
pub async fn update_seen(db: impl PgExecutor<'_>) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE in_force_walk SET seen = greatest(seen, (SELECT coalesce(max(seq), 0) FROM status_changes)) WHERE one",
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Holds the sums against the rows, once a day; how many plans were off.
pub async fn update_recounted(
    pool: &sqlx::PgPool,
    now: OffsetDateTime,
) -> Result<i64, StorageError> {
    let due: Option<bool> =
        sqlx::query_scalar("SELECT recounted IS DISTINCT FROM $1 FROM in_force_walk WHERE one")
            .bind(day(now))
            .fetch_optional(pool)
            .await?;
    if due != Some(true) {
        return Ok(0);
    }
    Ok(sqlx::query_scalar(RECOUNT)
        .bind(day(now))
        .fetch_one(pool)
        .await?)
}

/// Counts what the page of the day shows.
pub async fn update(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<(), StorageError> {
    sqlx::query(REFRESH)
        .bind(now)
        .bind(now - DEFERRED_TOO_LONG)
        .bind(now + Duration::days(ENDING_DAYS))
        .bind(day(now))
        .bind(DAYS)
        .execute(db)
        .await?;
    Ok(())
}

/// Notes that a comparison came to its end.
pub async fn update_compared(
    db: impl PgExecutor<'_>,
    now: OffsetDateTime,
) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO last_comparison (at) VALUES ($1) ON CONFLICT (one) DO UPDATE SET at = excluded.at",
    )
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}
