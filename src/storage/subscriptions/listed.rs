//! Subscriptions of everybody, as operators look at them.

use sqlx::postgres::{PgExecutor, PgRow};
use sqlx::{FromRow, Row as _};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{StorageError, SubscriptionRow};
use crate::domain::ids::{CheckoutId, SubscriptionId, UserId};
use crate::domain::listing::{Order, Place, Wanted};
use crate::domain::plan::Kind;
use crate::domain::subscription::{Status, Subscription};
use crate::storage::parts::Parts;

/// A line with whose it is and what it was bought in. Its disputes are left out.
#[derive(Clone, Debug)]
pub struct Found {
    /// The line.
    pub line: Subscription,
    /// Its member.
    pub user: UserId,
    /// Its checkout.
    pub checkout: CheckoutId,
    /// Who settles it.
    pub provider: String,
    /// `cs_…` of its checkout.
    pub session: Option<String>,
    /// `cus_…` who pays it.
    pub customer: Option<String>,
    /// Where its list goes on after it, by time.
    at: Option<OffsetDateTime>,
}

/// What is read of each line, with where its list goes on; its checkout and its customer are looked up by their ids.
macro_rules! shown {
    ($at:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            ", user_id, checkout_id, provider,
               (SELECT c.stripe_session_id FROM checkouts c WHERE c.id = s.checkout_id) AS stripe_session_id,
               (SELECT coalesce(c.stripe_customer_id,
                                (SELECT k.stripe_customer_id FROM customers k WHERE k.id = c.customer_id))
                  FROM checkouts c WHERE c.id = s.checkout_id) AS stripe_customer_id, ",
            $at,
            " AS listed_at "
        )
    };
}

/// What a list must have, of a row that an index has led to.
macro_rules! as_wanted {
    () => {
        " AND ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR plan = $2)
          AND ($3::text IS NULL OR provider = $3) AND ($4::text IS NULL OR status = $4)
          AND ($5::text IS NULL OR status_reason = $5)
          AND ($7::timestamptz IS NULL OR first_paid_at >= $7) "
    };
}

/// The lines that a list has found, each from its place.
macro_rules! of_listed {
    () => {
        " FROM listed n CROSS JOIN LATERAL (SELECT * FROM subscriptions WHERE id = n.line OFFSET 0) AS s "
    };
}

// The statements have their parameters in common, used or not: $1 kind, $2 plan, $3 provider, $4 status, $5 reason,
// $6 ends before, $7 joined after, $8 and $9 the place (time and id), $10 at most so many, $11 user.

/// By kind, plan, provider, status and reason; the one part asks for who has joined since.
pub static BY_WHAT_IT_IS: Parts = Parts::of(concat!(
    include_str!("listed.sql"),
    shown!("listed_at"),
    of_listed!(),
    " ORDER BY id DESC"
));

/// All.
pub const ALL: &str = concat!(
    shown!("NULL::timestamptz"),
    " FROM subscriptions s WHERE id < $9 ORDER BY id DESC LIMIT $10"
);

/// A member's: of one, there are few.
pub const BY_USER: &str = concat!(
    shown!("NULL::timestamptz"),
    " FROM subscriptions s WHERE user_id = $11 AND id < $9 ",
    as_wanted!(),
    " AND ($6::timestamptz IS NULL
           OR status <> 'ENDED' AND coalesce(cancel_at, CASE WHEN cancel_at_period_end THEN current_period_end END,
                                             term_ends_at) < $6)
      ORDER BY id DESC LIMIT $10"
);

/// What ends before a time. By the current period's end it ends only where an old version of Stripe has not said when; an
/// index of that would be written by every renewal.
pub const BY_END: &str = concat!(
    "WITH listed (line, listed_at) AS MATERIALIZED (
        (SELECT id, cancel_at FROM subscriptions
          WHERE status <> 'ENDED' AND (cancel_at IS NOT NULL OR cancel_at_period_end)
            AND cancel_at < $6 AND (cancel_at, id) > ($8, $9)",
    as_wanted!(),
    "     ORDER BY cancel_at, id LIMIT $10)
        UNION ALL
        (SELECT id, current_period_end FROM subscriptions
          WHERE status <> 'ENDED' AND (cancel_at IS NOT NULL OR cancel_at_period_end) AND cancel_at IS NULL
            AND current_period_end < $6 AND (current_period_end, id) > ($8, $9)",
    as_wanted!(),
    "     ORDER BY current_period_end, id LIMIT $10)
        UNION ALL
        (SELECT id, term_ends_at FROM subscriptions
          WHERE term_ends_at IS NOT NULL AND status <> 'ENDED' AND NOT recurring
            AND term_ends_at < $6 AND term_ends_at >= $8 AND (term_ends_at, id) > ($8, $9)",
    as_wanted!(),
    "     ORDER BY term_ends_at, id LIMIT $10)
     ) ",
    shown!("listed_at"),
    of_listed!(),
    " ORDER BY listed_at, id LIMIT $10"
);

/// Who has joined since a time.
pub const BY_JOINING: &str = concat!(
    "WITH listed (line, listed_at) AS MATERIALIZED (
        SELECT id, first_paid_at FROM subscriptions
         WHERE first_paid_at >= $7 AND (first_paid_at, id) < ($8, $9)",
    as_wanted!(),
    "    ORDER BY first_paid_at DESC, id DESC LIMIT $10
     ) ",
    shown!("listed_at"),
    of_listed!(),
    " ORDER BY listed_at DESC, id DESC"
);

const ONE: &str = concat!(
    shown!("NULL::timestamptz"),
    " FROM subscriptions s WHERE id = $1"
);

const MANY: &str = concat!(
    shown!("NULL::timestamptz"),
    " FROM subscriptions s WHERE id = ANY ($1)"
);

impl FromRow<'_, PgRow> for Found {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let line = SubscriptionRow::from_row(row)?.into_line();
        Ok(Self {
            line: line.map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            user: UserId::new(row.try_get::<String, _>("user_id")?),
            checkout: CheckoutId(row.try_get("checkout_id")?),
            provider: row.try_get("provider")?,
            session: row.try_get("stripe_session_id")?,
            customer: row.try_get("stripe_customer_id")?,
            at: row.try_get("listed_at")?,
        })
    }
}

impl Found {
    /// Where its list goes on after it.
    pub fn place(&self) -> Place {
        Place {
            at: self.at,
            id: self.line.id,
        }
    }
}

fn statement(wanted: &Wanted) -> &'static str {
    match wanted.order() {
        Order::Ending => BY_END,
        Order::Joined => BY_JOINING,
        Order::Newest if wanted.user.is_some() => BY_USER,
        Order::Newest if wanted.is_plain() => ALL,
        Order::Newest => BY_WHAT_IT_IS.with([wanted.joined_after.is_some()]),
    }
}

/// The place to go on after; before the first of the list, if none is given.
fn place(wanted: &Wanted) -> (OffsetDateTime, Uuid) {
    let (first_at, first) = match wanted.order() {
        Order::Newest | Order::Joined => (
            OffsetDateTime::UNIX_EPOCH + Duration::days(400_000),
            Uuid::max(),
        ),
        Order::Ending => (OffsetDateTime::UNIX_EPOCH, Uuid::nil()),
    };
    wanted.after.map_or((first_at, first), |place| {
        (place.at.unwrap_or(first_at), place.id.0)
    })
}

/// Subscriptions of everybody, in the order of what was asked.
pub async fn list(db: impl PgExecutor<'_>, wanted: &Wanted) -> Result<Vec<Found>, StorageError> {
    let (at, id) = place(wanted);
    Ok(sqlx::query_as(statement(wanted))
        .bind(wanted.kind.map(Kind::as_str))
        .bind(wanted.plan.as_deref())
        .bind(wanted.provider.as_deref())
        .bind(wanted.status.map(Status::as_str))
        .bind(wanted.reason.as_deref())
        .bind(wanted.ends_before)
        .bind(wanted.joined_after)
        .bind(at)
        .bind(id)
        .bind(wanted.limit)
        .bind(wanted.user.as_ref().map(UserId::as_str))
        .fetch_all(db)
        .await?)
}

/// One subscription of anybody.
pub async fn find_anybodys(
    db: impl PgExecutor<'_>,
    id: SubscriptionId,
) -> Result<Option<Found>, StorageError> {
    Ok(sqlx::query_as(ONE).bind(id.0).fetch_optional(db).await?)
}

/// Those with these ids, in no order.
pub async fn find_listed(
    db: impl PgExecutor<'_>,
    ids: &[SubscriptionId],
) -> Result<Vec<Found>, StorageError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    Ok(sqlx::query_as(MANY).bind(ids).fetch_all(db).await?)
}
