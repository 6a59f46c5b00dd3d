//! Rows of `actions`, and the chain of `action_log`.
//!
//! Each entry of the chain is hashed over the one before it; whoever writes one holds the head for the length of that
//! short transaction alone.

use aws_lc_rs::digest::{Context, SHA256};
use serde::Serialize;
use sqlx::postgres::{PgConnection, PgExecutor, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::StorageError;
use crate::storage;

/// An act that is about to begin.
#[derive(Clone, Debug)]
pub struct NewAction<'a> {
    /// The client's idempotency key.
    pub id: Uuid,
    /// When.
    pub at: OffsetDateTime,
    /// The operator.
    pub actor: &'a str,
    /// By which of her roles.
    pub role: &'a str,
    /// Of the request, as in the log.
    pub request_id: Option<&'a str>,
    /// Tells a repeat from another request.
    pub request_hash: &'a [u8],
    /// What is done.
    pub verb: &'a str,
    /// To what.
    pub subject: &'a str,
    /// Whom it concerns.
    pub user_id: Option<&'a str>,
    /// The payment or the invoice, where money is moved.
    pub target: Option<&'a str>,
    /// Of how many effects at Stripe it consists.
    pub wanted: i32,
    /// Why.
    pub reason: Option<&'a str>,
    /// A ticket, minute or voucher.
    pub reference: Option<&'a str>,
    /// With what it was asked for.
    pub parent: Option<Uuid>,
}

/// An act as it stands.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the columns' comments say it")]
pub struct ActionRow {
    pub id: Uuid,
    pub seq: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub actor: String,
    pub role: String,
    pub request_id: Option<String>,
    #[serde(skip)]
    pub request_hash: Vec<u8>,
    pub verb: String,
    pub subject: String,
    pub user_id: Option<String>,
    pub target: Option<String>,
    pub wanted: i32,
    pub reason: Option<String>,
    pub reference: Option<String>,
    pub parent: Option<Uuid>,
    pub state: String,
    pub outcome: Option<String>,
    pub found: Option<i32>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
}

from_row!(ActionRow {
    id,
    seq,
    at,
    actor,
    role,
    request_id,
    request_hash,
    verb,
    subject,
    user_id,
    target,
    wanted,
    reason,
    reference,
    parent,
    state,
    outcome,
    found,
    finished_at,
});

/// Why an act was not begun.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// It was begun before, under the same key.
    #[error("the action is known")]
    Known,
    /// Another act on the same money is under way.
    #[error("another act on the same money is under way")]
    Busy,
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What came of an act.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// `done`, `refused` or `unknown`.
    pub state: &'a str,
    /// A code.
    pub outcome: &'a str,
    /// How many of the effects have happened.
    pub found: Option<i32>,
}

/// The last entry of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0 before the first.
    pub seq: i64,
    /// SHA-256.
    pub hash: Vec<u8>,
}

from_row!(Head { seq, hash });

/// Begins an act, if it wasn't before.
pub async fn begin(pool: &PgPool, new: &NewAction<'_>) -> Result<(), BeginError> {
    let refused = |error: sqlx::Error| {
        let error = StorageError::from(error);
        match error.constraint() {
            Some("actions_pkey") => BeginError::Known,
            Some("actions_money" | "actions_revealed") => BeginError::Busy,
            _ => BeginError::Storage(error),
        }
    };
    let mut transaction = storage::begin(pool, None)
        .await
        .map_err(StorageError::from)?;
    let head = lock_head(&mut transaction).await?;
    let seq = head.seq + 1;
    sqlx::query(
        "INSERT INTO actions (id, seq, at, actor, role, request_id, request_hash, verb, subject, user_id, target, wanted,
                reason, reference, parent, state)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 'started')",
    )
    .bind(new.id)
    .bind(seq)
    .bind(new.at)
    .bind(new.actor)
    .bind(new.role)
    .bind(new.request_id)
    .bind(new.request_hash)
    .bind(new.verb)
    .bind(new.subject)
    .bind(new.user_id)
    .bind(new.target)
    .bind(new.wanted)
    .bind(new.reason)
    .bind(new.reference)
    .bind(new.parent)
    .execute(&mut *transaction)
    .await
    .map_err(refused)?;
    let hash = hash_of_beginning(&head.hash, seq, new);
    let entry = Entry {
        seq,
        action: new.id,
        state: "started",
        outcome: None,
        found: None,
        at: new.at,
    };
    append(&mut transaction, &entry, &hash).await?;
    transaction.commit().await.map_err(StorageError::from)?;
    Ok(())
}

/// Notes what came of an act that was started or unknown; false where somebody has noted its end already.
pub async fn finish(
    pool: &PgPool,
    id: Uuid,
    outcome: Outcome<'_>,
    now: OffsetDateTime,
) -> Result<bool, StorageError> {
    let mut transaction = storage::begin(pool, None).await?;
    let head = lock_head(&mut transaction).await?;
    let updated = sqlx::query(
        "UPDATE actions SET state = $2, outcome = $3, found = $4, finished_at = CASE WHEN $2 = 'unknown' THEN NULL ELSE $5 END
          WHERE id = $1 AND state IN ('started', 'unknown') AND (state, outcome) IS DISTINCT FROM ($2, $3)",
    )
    .bind(id)
    .bind(outcome.state)
    .bind(outcome.outcome)
    .bind(outcome.found)
    .bind(now)
    .execute(&mut *transaction)
    .await?;
    if updated.rows_affected() == 0 {
        return Ok(false);
    }
    let entry = Entry {
        seq: head.seq + 1,
        action: id,
        state: outcome.state,
        outcome: Some(outcome.outcome),
        found: outcome.found,
        at: now,
    };
    let hash = hash_of_outcome(&head.hash, &entry);
    append(&mut transaction, &entry, &hash).await?;
    transaction.commit().await?;
    Ok(true)
}

/// An entry of the chain.
struct Entry<'a> {
    seq: i64,
    action: Uuid,
    state: &'a str,
    outcome: Option<&'a str>,
    found: Option<i32>,
    at: OffsetDateTime,
}

async fn lock_head(connection: &mut PgConnection) -> Result<Head, StorageError> {
    Ok(
        sqlx::query_as("SELECT seq, hash FROM action_head FOR UPDATE")
            .fetch_one(connection)
            .await?,
    )
}

async fn append(
    connection: &mut PgConnection,
    entry: &Entry<'_>,
    hash: &[u8],
) -> Result<(), StorageError> {
    sqlx::query(
        "WITH entry AS (INSERT INTO action_log (seq, action_id, state, outcome, found, at, hash)
                        VALUES ($1, $2, $3, $4, $5, $6, $7))
         UPDATE action_head SET seq = $1, hash = $7",
    )
    .bind(entry.seq)
    .bind(entry.action)
    .bind(entry.state)
    .bind(entry.outcome)
    .bind(entry.found)
    .bind(entry.at)
    .bind(hash)
    .execute(connection)
    .await?;
    Ok(())
}

/// Fields one after the other, each with its length, so that no two rows read the same.
struct Hasher(Context);

impl Hasher {
    fn after(previous: &[u8]) -> Self {
        Self(Context::new(&SHA256)).bytes(Some(previous))
    }

    fn bytes(mut self, value: Option<&[u8]>) -> Self {
        match value {
            Some(value) => {
                let length = u64::try_from(value.len()).unwrap_or(u64::MAX);
                self.0.update(&[1]);
                self.0.update(&length.to_be_bytes());
                self.0.update(value);
            }
            None => self.0.update(&[0]),
        }
        self
    }

    fn text(self, value: Option<&str>) -> Self {
        self.bytes(value.map(str::as_bytes))
    }

    fn number(self, value: Option<i64>) -> Self {
        self.bytes(
            value
                .map(i64::to_be_bytes)
                .as_ref()
                .map(<[u8; 8]>::as_slice),
        )
    }

    /// In microseconds, as the database keeps it.
    fn time(self, at: OffsetDateTime) -> Self {
        self.bytes(Some(&(at.unix_timestamp_nanos() / 1_000).to_be_bytes()))
    }

    fn finish(self) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

fn hash_of_beginning(previous: &[u8], seq: i64, new: &NewAction<'_>) -> Vec<u8> {
    Hasher::after(previous)
        .number(Some(seq))
        .bytes(Some(new.id.as_bytes()))
        .time(new.at)
        .text(Some(new.actor))
        .text(Some(new.role))
        .text(new.request_id)
        .bytes(Some(new.request_hash))
        .text(Some(new.verb))
        .text(Some(new.subject))
        .text(new.user_id)
        .text(new.target)
        .number(Some(new.wanted.into()))
        .text(new.reason)
        .text(new.reference)
        .bytes(new.parent.as_ref().map(|id| id.as_bytes().as_slice()))
        .finish()
}

fn hash_of_outcome(previous: &[u8], entry: &Entry<'_>) -> Vec<u8> {
    Hasher::after(previous)
        .number(Some(entry.seq))
        .bytes(Some(entry.action.as_bytes()))
        .text(Some(entry.state))
        .text(entry.outcome)
        .number(entry.found.map(i64::from))
        .time(entry.at)
        .finish()
}

/// One act.
pub async fn find(db: impl PgExecutor<'_>, id: Uuid) -> Result<Option<ActionRow>, StorageError> {
    Ok(sqlx::query_as("SELECT * FROM actions WHERE id = $1")
        .bind(id)
        .fetch_optional(db)
        .await?)
}

/// Acts that were begun before `before` and have no end yet; in no order, so that some that can't be settled keep none of the
/// others from it.
pub async fn find_open(
    db: impl PgExecutor<'_>,
    before: OffsetDateTime,
    limit: i64,
) -> Result<Vec<ActionRow>, StorageError> {
    Ok(sqlx::query_as(
        "SELECT * FROM actions WHERE state IN ('started', 'unknown') AND at <= $1 ORDER BY random() LIMIT $2",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(db)
    .await?)
}

/// Which acts to list.
#[derive(Clone, Debug, Default)]
pub struct ActionFilter {
    /// Only to that.
    pub subject: Option<String>,
    /// Only those that concern that member.
    pub user_id: Option<String>,
    /// Only by her.
    pub actor: Option<String>,
    /// Only those.
    pub verb: Option<String>,
    /// Only in that state.
    pub state: Option<String>,
    /// Only those begun before that one.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: i64,
}

/// A list by what leads to its rows; all else is looked at row by row.
macro_rules! listed {
    ($led_by:literal) => {
        concat!(
            "SELECT * FROM actions WHERE ",
            $led_by,
            " AND ($1::text IS NULL OR subject = $1) AND ($2::text IS NULL OR user_id = $2)
              AND ($3::text IS NULL OR actor = $3) AND ($4::text IS NULL OR verb = $4)
              AND ($5::text IS NULL OR state = $5) AND seq < $6
              ORDER BY seq DESC LIMIT $7"
        )
    };
}

/// Acts, newest first.
pub async fn list(
    db: impl PgExecutor<'_>,
    filter: &ActionFilter,
) -> Result<Vec<ActionRow>, StorageError> {
    // Plans are made without regard to the values: what is not asked for must not stand beside an index.
    let statement = match (&filter.subject, &filter.user_id, &filter.actor) {
        (Some(_), _, _) => listed!("subject = $1"),
        (None, Some(_), _) => listed!("user_id = $2"),
        (None, None, Some(_)) => listed!("actor = $3"),
        (None, None, None) => listed!("true"),
    };
    Ok(sqlx::query_as(statement)
        .bind(&filter.subject)
        .bind(&filter.user_id)
        .bind(&filter.actor)
        .bind(&filter.verb)
        .bind(&filter.state)
        .bind(filter.before.unwrap_or(i64::MAX))
        .bind(filter.limit)
        .fetch_all(db)
        .await?)
}

/// The newest acts to these subjects, on these payments, and those that concern a member, if she is named; newest first.
pub async fn find_about(
    db: impl PgExecutor<'_>,
    subjects: &[String],
    targets: &[String],
    user: Option<&str>,
    limit: i64,
) -> Result<Vec<ActionRow>, StorageError> {
    Ok(sqlx::query_as(FIND_ABOUT)
        .bind(subjects)
        .bind(targets)
        .bind(user)
        .bind(limit)
        .fetch_all(db)
        .await?)
}

/// See [`find_about`]. One by one, so that each is read from the end of its own part of an index.
pub const FIND_ABOUT: &str = "SELECT * FROM (
        SELECT a.* FROM unnest($1::text[]) AS s (id) CROSS JOIN LATERAL (
            SELECT * FROM actions WHERE subject = s.id ORDER BY seq DESC LIMIT $4) AS a
         UNION
        SELECT a.* FROM unnest($2::text[]) AS t (id) CROSS JOIN LATERAL (
            SELECT * FROM actions WHERE target = t.id ORDER BY seq DESC LIMIT $4) AS a
         UNION
        SELECT a.* FROM (SELECT * FROM actions WHERE user_id = $3 ORDER BY seq DESC LIMIT $4) AS a) AS found
    ORDER BY seq DESC LIMIT $4";

/// What is wrong with the chain, or its last entry where nothing is.
#[derive(Debug, PartialEq, Eq)]
pub enum Verified {
    /// All entries follow from each other, and all acts from their entries.
    Whole(Head),
    /// The first entry that doesn't fit.
    Broken(i64),
    /// The head is not the last entry.
    OtherHead(i64),
}

/// An entry as it was written, with its act as it stands.
struct Link {
    log_seq: i64,
    log_state: String,
    log_outcome: Option<String>,
    log_found: Option<i32>,
    log_at: OffsetDateTime,
    hash: Vec<u8>,
    /// Whether the act stands as this entry says, or a later one will say how it stands.
    holds: bool,
    action: ActionRow,
}

impl sqlx::FromRow<'_, sqlx::postgres::PgRow> for Link {
    fn from_row(row: &sqlx::postgres::PgRow) -> sqlx::Result<Self> {
        use sqlx::Row as _;
        Ok(Self {
            log_seq: row.try_get("log_seq")?,
            log_state: row.try_get("log_state")?,
            log_outcome: row.try_get("log_outcome")?,
            log_found: row.try_get("log_found")?,
            log_at: row.try_get("log_at")?,
            hash: row.try_get("hash")?,
            holds: row.try_get("holds")?,
            action: ActionRow::from_row(row)?,
        })
    }
}

/// Entries that are read at once.
const PAGE: i64 = 1000;

/// Walks the chain from its beginning.
pub async fn verify(pool: &PgPool) -> Result<Verified, StorageError> {
    let mut head = Head {
        seq: 0,
        hash: vec![0; 32],
    };
    loop {
        let links: Vec<Link> = sqlx::query_as(
            "SELECT l.seq AS log_seq, l.state AS log_state, l.outcome AS log_outcome, l.found AS log_found,
                    l.at AS log_at, l.hash,
                    (l.state <> 'started' OR l.seq = a.seq)
                    AND ((l.state, l.outcome, l.found) IS NOT DISTINCT FROM (a.state, a.outcome, a.found)
                         AND (l.state IN ('done', 'refused')) = (a.finished_at IS NOT DISTINCT FROM l.at)
                      OR EXISTS (SELECT FROM action_log n WHERE n.action_id = l.action_id AND n.seq > l.seq)) AS holds,
                    a.*
               FROM action_log l JOIN actions a ON a.id = l.action_id
              WHERE l.seq > $1 ORDER BY l.seq LIMIT $2",
        )
        .bind(head.seq)
        .bind(PAGE)
        .fetch_all(pool)
        .await?;
        if links.is_empty() {
            break;
        }
        for link in links {
            let seq = head.seq + 1;
            let expected = link.expected(&head.hash);
            if link.log_seq != seq || !link.holds || expected != link.hash {
                return Ok(Verified::Broken(seq));
            }
            head = Head {
                seq,
                hash: link.hash,
            };
        }
    }
    // What has no beginning in the chain was put in beside it.
    let beside: Option<i64> = sqlx::query_scalar(
        "SELECT a.seq FROM actions a WHERE a.seq <= $1
            AND NOT EXISTS (SELECT FROM action_log l WHERE l.seq = a.seq AND l.action_id = a.id AND l.state = 'started')
          ORDER BY a.seq LIMIT 1",
    )
    .bind(head.seq)
    .fetch_optional(pool)
    .await?;
    if let Some(seq) = beside {
        return Ok(Verified::Broken(seq));
    }
    // Read after the entries: what is written meanwhile only makes it greater.
    let last = find_head(pool).await?;
    let entry: Option<Vec<u8>> = sqlx::query_scalar("SELECT hash FROM action_log WHERE seq = $1")
        .bind(last.seq)
        .fetch_optional(pool)
        .await?;
    let fits = match entry {
        Some(hash) => hash == last.hash,
        None => last.seq == 0,
    };
    if fits && last.seq >= head.seq {
        Ok(Verified::Whole(head))
    } else {
        Ok(Verified::OtherHead(last.seq))
    }
}

impl Link {
    fn expected(&self, previous: &[u8]) -> Vec<u8> {
        let action = &self.action;
        if self.log_state != "started" {
            return hash_of_outcome(
                previous,
                &Entry {
                    seq: self.log_seq,
                    action: action.id,
                    state: &self.log_state,
                    outcome: self.log_outcome.as_deref(),
                    found: self.log_found,
                    at: self.log_at,
                },
            );
        }
        let new = NewAction {
            id: action.id,
            at: action.at,
            actor: &action.actor,
            role: &action.role,
            request_id: action.request_id.as_deref(),
            request_hash: &action.request_hash,
            verb: &action.verb,
            subject: &action.subject,
            user_id: action.user_id.as_deref(),
            target: action.target.as_deref(),
            wanted: action.wanted,
            reason: action.reason.as_deref(),
            reference: action.reference.as_deref(),
            parent: action.parent,
        };
        hash_of_beginning(previous, self.log_seq, &new)
    }
}

/// The last entry.
pub async fn find_head(db: impl PgExecutor<'_>) -> Result<Head, StorageError> {
    Ok(sqlx::query_as("SELECT seq, hash FROM action_head")
        .fetch_one(db)
        .await?)
}

/// The hash of one entry.
pub async fn find_hash(db: impl PgExecutor<'_>, seq: i64) -> Result<Option<Vec<u8>>, StorageError> {
    Ok(
        sqlx::query_scalar("SELECT hash FROM action_log WHERE seq = $1")
            .bind(seq)
            .fetch_optional(db)
            .await?,
    )
}
