//! Rows of `subscriptions`.

use sqlx::postgres::{PgExecutor, PgRow};
use sqlx::{FromRow, Row as _};
use time::OffsetDateTime;
use uuid::Uuid;

use super::StorageError;
use super::baskets::Columns;
use crate::domain::ids::{CheckoutId, SubscriptionId, UserId};
use crate::domain::plan::Kind;
use crate::domain::records::Filter;
use crate::domain::subscription::{
    Collection, Held, Period, Reason, Refund, Status, StripeStatus, Subscription,
};

/// The columns that [`SubscriptionRow`] reads, in their order.
macro_rules! columns {
    () => {
        "id, plan, kind, quantity, quantity_open, single, upgrade_group, recurring, term, \
         status, status_reason, version, stripe_subscription_id, stripe_price_id, \
         stripe_line_item_id, stripe_payment_intent_id, stripe_status, stripe_state_at, first_paid_at, \
         last_paid_at, payment_failed_at, current_period_end, cancel_at, cancel_at_period_end, collection_paused, \
         collection_void, paid_from, paid_until, excused_at, looked_at, term_ends_at, ended_at, refund_state, \
         refund_failed, created_at, external_id"
    };
}

mod listed;

pub use self::listed::{
    ALL, BY_END, BY_JOINING, BY_USER, BY_WHAT_IT_IS, Found, find_anybodys, find_listed, list,
};

/// A row as the database holds it.
#[expect(clippy::struct_excessive_bools, reason = "as the table has them")]
pub(super) struct SubscriptionRow {
    id: Uuid,
    plan: String,
    kind: String,
    quantity: i32,
    quantity_open: bool,
    single: bool,
    upgrade_group: Option<String>,
    recurring: bool,
    term: Option<String>,
    status: String,
    status_reason: String,
    version: i64,
    stripe_subscription_id: Option<String>,
    stripe_price_id: String,
    stripe_line_item_id: Option<String>,
    stripe_payment_intent_id: Option<String>,
    stripe_status: Option<String>,
    stripe_state_at: Option<OffsetDateTime>,
    first_paid_at: Option<OffsetDateTime>,
    last_paid_at: Option<OffsetDateTime>,
    payment_failed_at: Option<OffsetDateTime>,
    current_period_end: Option<OffsetDateTime>,
    cancel_at: Option<OffsetDateTime>,
    cancel_at_period_end: bool,
    collection_paused: bool,
    collection_void: bool,
    paid_from: Option<OffsetDateTime>,
    paid_until: Option<OffsetDateTime>,
    excused_at: Option<OffsetDateTime>,
    looked_at: Option<OffsetDateTime>,
    term_ends_at: Option<OffsetDateTime>,
    ended_at: Option<OffsetDateTime>,
    refund_state: String,
    refund_failed: bool,
    created_at: OffsetDateTime,
    external_id: Option<String>,
}

impl FromRow<'_, PgRow> for SubscriptionRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Self::read(&mut Columns { row, next: 0 })
    }
}

impl SubscriptionRow {
    /// Reads the next columns of a row.
    pub(super) fn read(columns: &mut Columns<'_>) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: columns.next()?,
            plan: columns.next()?,
            kind: columns.next()?,
            quantity: columns.next()?,
            quantity_open: columns.next()?,
            single: columns.next()?,
            upgrade_group: columns.next()?,
            recurring: columns.next()?,
            term: columns.next()?,
            status: columns.next()?,
            status_reason: columns.next()?,
            version: columns.next()?,
            stripe_subscription_id: columns.next()?,
            stripe_price_id: columns.next()?,
            stripe_line_item_id: columns.next()?,
            stripe_payment_intent_id: columns.next()?,
            stripe_status: columns.next()?,
            stripe_state_at: columns.next()?,
            first_paid_at: columns.next()?,
            last_paid_at: columns.next()?,
            payment_failed_at: columns.next()?,
            current_period_end: columns.next()?,
            cancel_at: columns.next()?,
            cancel_at_period_end: columns.next()?,
            collection_paused: columns.next()?,
            collection_void: columns.next()?,
            paid_from: columns.next()?,
            paid_until: columns.next()?,
            excused_at: columns.next()?,
            looked_at: columns.next()?,
            term_ends_at: columns.next()?,
            ended_at: columns.next()?,
            refund_state: columns.next()?,
            refund_failed: columns.next()?,
            created_at: columns.next()?,
            external_id: columns.next()?,
        })
    }

    /// The line that the row stands for, without its disputes; an impossible combination is an error, never a
    /// default.
    pub(super) fn into_line(self) -> Result<Subscription, StorageError> {
        let id = SubscriptionId(self.id);
        let impossible = |column| StorageError::ImpossibleRow {
            table: "subscriptions",
            row: id.to_string(),
            column,
        };
        let stripe = match (&self.stripe_status, self.stripe_state_at) {
            (None, None) => None,
            (Some(status), Some(at)) => {
                let status =
                    StripeStatus::parse(status).ok_or_else(|| impossible("stripe_status"))?;
                Some(Held {
                    status,
                    at,
                    current_period_end: self.current_period_end,
                    cancel_at: self.cancel_at,
                    cancel_at_period_end: self.cancel_at_period_end,
                    collection: match (self.collection_paused, self.collection_void) {
                        (false, _) => Collection::Running,
                        (true, false) => Collection::Paused,
                        (true, true) => Collection::Void,
                    },
                })
            }
            _ => return Err(impossible("stripe_status and stripe_state_at")),
        };
        let paid_period = match (self.paid_from, self.paid_until) {
            (None, None) => None,
            (Some(start), Some(end)) => Some(Period { start, end }),
            _ => return Err(impossible("paid_from and paid_until")),
        };
        let term = self
            .term
            .map(|term| term.parse().map_err(|_| impossible("term")))
            .transpose()?;
        Ok(Subscription {
            id,
            kind: Kind::parse(&self.kind).ok_or_else(|| impossible("kind"))?,
            status: Status::parse(&self.status).ok_or_else(|| impossible("status"))?,
            // A replica of a newer version may know more reasons.
            reason: Reason::parse(&self.status_reason).unwrap_or(Reason::Newer),
            refund: Refund::parse(&self.refund_state).ok_or_else(|| impossible("refund_state"))?,
            plan: self.plan,
            quantity: self.quantity,
            quantity_open: self.quantity_open,
            single: self.single,
            upgrade_group: self.upgrade_group,
            stripe_price: self.stripe_price_id,
            recurring: self.recurring,
            term,
            version: self.version,
            stripe_subscription: self.stripe_subscription_id,
            stripe_line_item: self.stripe_line_item_id,
            payment_intent: self.stripe_payment_intent_id,
            stripe,
            first_paid_at: self.first_paid_at,
            last_paid_at: self.last_paid_at,
            paid_period,
            excused_at: self.excused_at,
            looked_at: self.looked_at,
            payment_failed_at: self.payment_failed_at,
            term_ends_at: self.term_ends_at,
            ended_at: self.ended_at,
            refund_failed: self.refund_failed,
            disputes: Vec::new(),
            created_at: self.created_at,
            external_id: self.external_id,
        })
    }
}

/// A user's subscriptions, newest first.
pub async fn find_of_user(
    db: impl PgExecutor<'_>,
    user: &UserId,
    filter: &Filter,
) -> Result<Vec<Subscription>, StorageError> {
    let rows: Vec<SubscriptionRow> = sqlx::query_as(
        concat!(
            "SELECT ",
            columns!(),
            " FROM subscriptions
          WHERE user_id = $1 AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR status = $3)
            AND ($4::uuid IS NULL OR id < $4)
          ORDER BY id DESC LIMIT $5"
        ),
    )
    .bind(user.as_str())
    .bind(filter.kind.map(Kind::as_str))
    .bind(filter.status.map(Status::as_str))
    .bind(filter.before.map(|id| id.0))
    .bind(filter.limit)
    .fetch_all(db)
    .await?;
    rows.into_iter().map(SubscriptionRow::into_line).collect()
}

/// The next subscriptions of everybody after one, ended or not, each with its user.
pub async fn find_of_all(
    db: impl PgExecutor<'_>,
    after: Option<SubscriptionId>,
    limit: i64,
) -> Result<Vec<(String, Subscription)>, StorageError> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        ", user_id FROM subscriptions WHERE id > $1 ORDER BY id LIMIT $2"
    ))
    .bind(after.map_or(Uuid::nil(), |id| id.0))
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.iter().map(with_user).collect()
}

/// A line with its user.
fn with_user(row: &PgRow) -> Result<(String, Subscription), StorageError> {
    let line = SubscriptionRow::from_row(row)?.into_line()?;
    Ok((row.try_get("user_id")?, line))
}

/// What of these users' may entitle them, each with its user.
pub async fn find_in_force_of(
    db: impl PgExecutor<'_>,
    users: &[&str],
) -> Result<Vec<(String, Subscription)>, StorageError> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        ", user_id FROM subscriptions WHERE user_id = ANY ($1) AND status IN ('ACTIVE', 'CANCELLED')"
    ))
    .bind(users)
    .fetch_all(db)
    .await?;
    rows.iter().map(with_user).collect()
}

/// What of these users' is or ever was in force: the user, a plan that it was on, and the kind.
pub async fn find_ever_in_force(
    db: impl PgExecutor<'_>,
    users: &[&str],
) -> Result<Vec<(String, String, Kind)>, StorageError> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT user_id, plan, kind FROM subscriptions s WHERE user_id = ANY ($1)
            AND (status IN ('ACTIVE', 'CANCELLED') OR first_paid_at IS NOT NULL OR EXISTS (SELECT FROM status_changes h
                  WHERE h.subscription_id = s.id AND h.to_status IN ('ACTIVE', 'CANCELLED')))
          UNION
         SELECT s.user_id, h.from_plan, s.kind FROM subscriptions s JOIN status_changes h ON h.subscription_id = s.id
          WHERE s.user_id = ANY ($1) AND h.from_plan IS NOT NULL",
    )
    .bind(users)
    .fetch_all(db)
    .await?;
    let known = |(user, plan, kind): (String, String, String)| {
        let kind = Kind::parse(&kind).ok_or_else(|| StorageError::ImpossibleRow {
            table: "subscriptions",
            row: plan.clone(),
            column: "kind",
        })?;
        Ok((user, plan, kind))
    };
    rows.into_iter().map(known).collect()
}

/// What of a user's may entitle her: active or cancelled.
pub async fn find_in_force(
    db: impl PgExecutor<'_>,
    user: &UserId,
) -> Result<Vec<Subscription>, StorageError> {
    let rows: Vec<SubscriptionRow> = sqlx::query_as(
        concat!(
            "SELECT ",
            columns!(),
            " FROM subscriptions WHERE user_id = $1 AND status IN ('ACTIVE', 'CANCELLED') ORDER BY id DESC"
        ),
    )
    .bind(user.as_str())
    .fetch_all(db)
    .await?;
    rows.into_iter().map(SubscriptionRow::into_line).collect()
}

/// By what else a line is known, and what bounds it.
#[derive(Clone, Debug)]
pub struct Keys {
    /// `sub_…`.
    pub stripe_subscription_id: Option<String>,
    /// The id by which another system knows it.
    pub external_id: Option<String>,
    /// Whether it renews.
    pub recurring: bool,
    /// When its fixed term is over.
    pub term_ends_at: Option<OffsetDateTime>,
}

from_row!(Keys {
    stripe_subscription_id,
    external_id,
    recurring,
    term_ends_at,
});

/// By what else a line is known; none where it is not there any more.
pub async fn find_keys(
    db: impl PgExecutor<'_>,
    id: SubscriptionId,
) -> Result<Option<Keys>, StorageError> {
    Ok(sqlx::query_as(
        "SELECT stripe_subscription_id, external_id, recurring, term_ends_at FROM subscriptions WHERE id = $1",
    )
    .bind(id.0)
    .fetch_optional(db)
    .await?)
}

/// Has another system know a line by that id, unless it knows it by one already. Nobody is told: it is no change of what the
/// line says.
pub async fn update_external_id(
    db: impl PgExecutor<'_>,
    id: SubscriptionId,
    external_id: &str,
) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE subscriptions SET external_id = $2, version = version + 1 WHERE id = $1 AND external_id IS NULL",
    )
    .bind(id.0)
    .bind(external_id)
    .execute(db)
    .await?;
    Ok(())
}

/// What of a user's has not ended, oldest first.
pub async fn find_not_ended(
    db: impl PgExecutor<'_>,
    user: &UserId,
) -> Result<Vec<Subscription>, StorageError> {
    let rows: Vec<SubscriptionRow> = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM subscriptions WHERE user_id = $1 AND status <> 'ENDED' ORDER BY id"
    ))
    .bind(user.as_str())
    .fetch_all(db)
    .await?;
    rows.into_iter().map(SubscriptionRow::into_line).collect()
}

/// One subscription, if it is that user's.
pub async fn find_one_of_user(
    db: impl PgExecutor<'_>,
    user: &UserId,
    id: SubscriptionId,
) -> Result<Option<Subscription>, StorageError> {
    let row: Option<SubscriptionRow> = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM subscriptions WHERE user_id = $1 AND id = $2"
    ))
    .bind(user.as_str())
    .bind(id.0)
    .fetch_optional(db)
    .await?;
    row.map(SubscriptionRow::into_line).transpose()
}

/// What tells a line of a payment as one of a user's: every foreign key, and what it was bought as.
#[derive(Clone, Debug)]
pub struct OwnLine {
    /// Ours.
    pub id: SubscriptionId,
    /// Its basket.
    pub checkout: CheckoutId,
    /// The plan's code.
    pub plan: String,
    /// The plan's kind.
    pub kind: Kind,
    /// `sub_…`.
    pub stripe_subscription: Option<String>,
    /// `price_…`.
    pub stripe_price: String,
    /// `li_…`.
    pub stripe_line_item: Option<String>,
    /// `cs_…` of its checkout.
    pub stripe_session: Option<String>,
    /// When it changed to another plan, oldest first, and which it was on until then.
    pub plans_before: Vec<(OffsetDateTime, String)>,
}

/// All that a user ever bought, oldest first.
pub async fn find_own_lines(
    db: impl PgExecutor<'_>,
    user: &UserId,
) -> Result<Vec<OwnLine>, StorageError> {
    let rows: Vec<OwnLineRow> = sqlx::query_as(
        "SELECT s.id, s.checkout_id, s.plan, s.kind, s.stripe_subscription_id, s.stripe_price_id,
                s.stripe_line_item_id, c.stripe_session_id,
                ARRAY(SELECT h.at FROM status_changes h WHERE h.subscription_id = s.id AND h.from_plan IS NOT NULL
                       ORDER BY h.seq) AS changed_at,
                ARRAY(SELECT h.from_plan FROM status_changes h WHERE h.subscription_id = s.id
                         AND h.from_plan IS NOT NULL ORDER BY h.seq) AS changed_from
           FROM subscriptions s JOIN checkouts c ON c.id = s.checkout_id WHERE s.user_id = $1 ORDER BY s.id",
    )
    .bind(user.as_str())
    .fetch_all(db)
    .await?;
    rows.into_iter().map(OwnLineRow::into_own_line).collect()
}

struct OwnLineRow {
    id: Uuid,
    checkout_id: Uuid,
    plan: String,
    kind: String,
    stripe_subscription_id: Option<String>,
    stripe_price_id: String,
    stripe_line_item_id: Option<String>,
    stripe_session_id: Option<String>,
    changed_at: Vec<OffsetDateTime>,
    changed_from: Vec<String>,
}

from_row!(OwnLineRow {
    id,
    checkout_id,
    plan,
    kind,
    stripe_subscription_id,
    stripe_price_id,
    stripe_line_item_id,
    stripe_session_id,
    changed_at,
    changed_from,
});

impl OwnLineRow {
    fn into_own_line(self) -> Result<OwnLine, StorageError> {
        let impossible = || StorageError::ImpossibleRow {
            table: "subscriptions",
            row: self.id.to_string(),
            column: "kind",
        };
        Ok(OwnLine {
            id: SubscriptionId(self.id),
            checkout: CheckoutId(self.checkout_id),
            kind: Kind::parse(&self.kind).ok_or_else(impossible)?,
            plan: self.plan,
            stripe_subscription: self.stripe_subscription_id,
            stripe_price: self.stripe_price_id,
            stripe_line_item: self.stripe_line_item_id,
            stripe_session: self.stripe_session_id,
            plans_before: self.changed_at.into_iter().zip(self.changed_from).collect(),
        })
    }
}

/// Shares that a user held at some moment.
#[derive(Clone, Debug)]
pub struct HeldShare {
    /// Ours.
    pub id: Uuid,
    /// The plan's code.
    pub plan: String,
    /// How many.
    pub quantity: i32,
    /// When they were paid.
    pub first_paid_at: OffsetDateTime,
}

from_row!(HeldShare {
    id,
    plan,
    quantity,
    first_paid_at,
});

/// The shares that a user held just before `on`: paid by then, and not ended by then as far as the history says. That the
/// payment was only recorded later doesn't matter, its time is Stripe's.
pub async fn find_shares_held(
    db: impl PgExecutor<'_>,
    user: &UserId,
    on: OffsetDateTime,
) -> Result<Vec<HeldShare>, StorageError> {
    Ok(sqlx::query_as(
        "SELECT s.id, s.plan, s.first_paid_at, COALESCE((SELECT c.from_quantity FROM status_changes c
                  WHERE c.subscription_id = s.id AND c.at >= $2 AND c.from_quantity IS NOT NULL
                  ORDER BY c.seq LIMIT 1), s.quantity) AS quantity
           FROM subscriptions s
          WHERE s.user_id = $1 AND s.kind = 'share' AND s.first_paid_at < $2
            AND COALESCE((SELECT c.to_status FROM status_changes c
                  WHERE c.subscription_id = s.id AND c.at < $2 ORDER BY c.seq DESC LIMIT 1), '') <> 'ENDED'
          ORDER BY s.first_paid_at, s.id",
    )
    .bind(user.as_str())
    .bind(on)
    .fetch_all(db)
    .await?)
}

/// A line, whose it is, and its basket.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The line, without its disputes.
    pub line: Subscription,
    /// Whose it is.
    pub user: UserId,
    /// Its basket.
    pub checkout: CheckoutId,
    /// Its place in it, from 0.
    pub position: i16,
}

fn placed(row: &PgRow) -> Result<Placed, StorageError> {
    let (user, line) = with_user(row)?;
    Ok(Placed {
        line,
        user: UserId::new(user),
        checkout: CheckoutId(row.try_get("checkout_id")?),
        position: row.try_get("position")?,
    })
}

/// One line, whosever it is.
pub async fn find_placed(
    db: impl PgExecutor<'_>,
    id: SubscriptionId,
) -> Result<Option<Placed>, StorageError> {
    let row = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        ", user_id, checkout_id, position FROM subscriptions WHERE id = $1"
    ))
    .bind(id.0)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(placed).transpose()
}

/// The newest lines of a user, newest first.
pub async fn find_placed_of_user(
    db: impl PgExecutor<'_>,
    user: &UserId,
    limit: i64,
) -> Result<Vec<Placed>, StorageError> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        ", user_id, checkout_id, position FROM subscriptions WHERE user_id = $1 ORDER BY id DESC LIMIT $2"
    ))
    .bind(user.as_str())
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.iter().map(placed).collect()
}

/// Of these subscriptions at Stripe, and of these ids of ours, those that are lines of anybody: the line's id, its
/// subscription at Stripe, and its user.
pub async fn find_users_of(
    db: impl PgExecutor<'_>,
    stripe_subscriptions: &[&str],
    ids: &[Uuid],
) -> Result<Vec<(Uuid, Option<String>, String)>, StorageError> {
    Ok(sqlx::query_as(
        "SELECT id, stripe_subscription_id, user_id FROM subscriptions WHERE stripe_subscription_id = ANY ($1)
          UNION SELECT id, stripe_subscription_id, user_id FROM subscriptions WHERE id = ANY ($2)",
    )
    .bind(stripe_subscriptions)
    .bind(ids)
    .fetch_all(db)
    .await?)
}

/// The one subscription that keeps a user from buying a single plan (again), and its checkout.
pub async fn find_holder(
    db: impl PgExecutor<'_>,
    user: &UserId,
    plans: &[&str],
    upgrade_groups: &[&str],
) -> Result<Option<(CheckoutId, SubscriptionId)>, StorageError> {
    let row: Option<(Uuid, Uuid)> = sqlx::query_as(
        "SELECT checkout_id, id FROM subscriptions
          WHERE user_id = $1 AND (plan = ANY ($2) OR upgrade_group = ANY ($3)) AND single AND status <> 'ENDED'
          ORDER BY id LIMIT 1",
    )
    .bind(user.as_str())
    .bind(plans)
    .bind(upgrade_groups)
    .fetch_optional(db)
    .await?;
    Ok(row.map(|(checkout, id)| (CheckoutId(checkout), SubscriptionId(id))))
}

/// The next checkouts after one with a line whose fixed term is over by `now`, though its status does not say so yet: those
/// first that are over longest. One on hold stays so until its dispute is decided.
pub async fn find_terms_over(
    db: impl PgExecutor<'_>,
    now: OffsetDateTime,
    after: Option<(OffsetDateTime, CheckoutId)>,
    limit: i64,
) -> Result<Vec<(OffsetDateTime, CheckoutId)>, StorageError> {
    let (end, id) = after.unwrap_or((OffsetDateTime::UNIX_EPOCH, CheckoutId(Uuid::nil())));
    let rows: Vec<(OffsetDateTime, Uuid)> = sqlx::query_as(
        "SELECT term_ends_at, checkout_id FROM subscriptions
          WHERE term_ends_at >= $2 AND (term_ends_at, checkout_id) > ($2, $3) AND term_ends_at <= $1
            AND status = 'ACTIVE' AND NOT recurring
          ORDER BY term_ends_at, checkout_id LIMIT $4",
    )
    .bind(now)
    .bind(end)
    .bind(id.0)
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(end, id)| (end, CheckoutId(id)))
        .collect())
}

/// Takes recurring subscriptions of which it may be worth asking Stripe what was paid, and leaves each alone until
/// `lease_until`: other replicas meanwhile, and this one where Stripe can't be asked.
pub async fn lock_looks(
    db: impl PgExecutor<'_>,
    now: OffsetDateTime,
    lease_until: OffsetDateTime,
    limit: i64,
) -> Result<Vec<(CheckoutId, SubscriptionId)>, StorageError> {
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "UPDATE subscriptions s SET next_look_at = $2, version = s.version + 1
           FROM (SELECT id FROM subscriptions WHERE next_look_at <= $1
                  ORDER BY next_look_at LIMIT $3 FOR UPDATE SKIP LOCKED) AS due
          WHERE s.id = due.id RETURNING s.checkout_id, s.id",
    )
    .bind(now)
    .bind(lease_until)
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(checkout, id)| (CheckoutId(checkout), SubscriptionId(id)))
        .collect())
}

/// Says when it may be worth asking again (none: there is nothing to ask), unless the row has moved since it was read
/// with that version.
pub async fn update_next_look(
    db: impl PgExecutor<'_>,
    id: SubscriptionId,
    version: i64,
    at: Option<OffsetDateTime>,
) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE subscriptions SET next_look_at = $3, version = version + 1 WHERE id = $1 AND version = $2",
    )
    .bind(id.0)
    .bind(version)
    .bind(at)
    .execute(db)
    .await?;
    Ok(())
}

/// Has the next live recurring subscriptions after one looked at now; returns the last of them, none at the end.
pub async fn update_looks_due(
    db: impl PgExecutor<'_>,
    after: Option<SubscriptionId>,
    now: OffsetDateTime,
    limit: i64,
) -> Result<Option<SubscriptionId>, StorageError> {
    let last: Option<Uuid> = sqlx::query_scalar(
        "WITH next AS MATERIALIZED (
            SELECT id FROM subscriptions
             WHERE id > $1 AND recurring AND status IN ('ACTIVE', 'CANCELLED', 'ON_HOLD')
             ORDER BY id LIMIT $3
         ), due AS (
            UPDATE subscriptions s SET next_look_at = $2, version = s.version + 1 FROM next WHERE s.id = next.id
         )
         SELECT id FROM next ORDER BY id DESC LIMIT 1",
    )
    .bind(after.map_or(Uuid::nil(), |id| id.0))
    .bind(now)
    .bind(limit)
    .fetch_optional(db)
    .await?;
    Ok(last.map(SubscriptionId))
}

/// Takes recurring subscriptions whose first payment failed for good, with their ids at Stripe, and leaves each alone
/// until `lease_until`: other replicas meanwhile, and this one where Stripe won't end it. What was adopted is somebody's
/// who may know more: a person decides.
pub async fn lock_first_payment_failed(
    db: impl PgExecutor<'_>,
    now: OffsetDateTime,
    lease_until: OffsetDateTime,
    limit: i64,
) -> Result<Vec<(CheckoutId, String)>, StorageError> {
    let rows: Vec<(Uuid, String)> = sqlx::query_as(
        "UPDATE checkouts c SET next_repair_at = $2
           FROM (SELECT o.id, s.stripe_subscription_id FROM subscriptions s JOIN checkouts o ON o.id = s.checkout_id
                  WHERE s.status_reason = 'first_payment_failed' AND s.stripe_subscription_id IS NOT NULL
                    AND o.mode <> 'adopted'
                    AND (o.next_repair_at IS NULL OR o.next_repair_at <= $1)
                  ORDER BY s.id LIMIT $3 FOR UPDATE OF o SKIP LOCKED) AS due
          WHERE c.id = due.id RETURNING c.id, due.stripe_subscription_id",
    )
    .bind(now)
    .bind(lease_until)
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(checkout, stripe)| (CheckoutId(checkout), stripe))
        .collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_basket_is_read_with_the_columns_of_a_line_in_the_order_in_which_they_are_read() {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let wanted = columns!()
            .split(", ")
            .map(|column| format!("s.{column}"))
            .collect::<Vec<_>>()
            .join(", ");
        let statement = words(include_str!("baskets/find.sql"));
        assert!(
            statement.contains(&format!("{wanted}, s.payments, s.disputes")),
            "{wanted}"
        );
    }
}
