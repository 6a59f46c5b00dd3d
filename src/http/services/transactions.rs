//! Money, for services that follow: what was recorded since a time, and what one transaction moved.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::feed::{GONE, LIMIT};
use crate::domain::ids::TransactionId;
use crate::domain::records::{Amount, Movement};
use crate::http::edge::codes::Code;
use crate::http::edge::errors::{DATABASE, STRIPE};
use crate::http::edge::extract::{Follower, Json, Path, QUERY, Query, SERVICE};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::page::{limit_within, parsed};
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::outward::feed::{Feed, Page};
use crate::services::members::Members;

/// Of a transaction that is not there.
const NOT_FOUND: &[Code] = &[Code::NotFound];

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct SinceQuery {
    /// Only what was recorded then or later, as in 2026-01-31T00:00:00Z.
    since: String,
    /// `next_page` of the page before.
    page: Option<String>,
    /// 1 to 1000; by default 100.
    limit: Option<i64>,
}

/// Recorded transactions, page by page.
#[derive(Debug, Serialize, ToSchema)]
struct Transactions {
    /// Oldest first.
    data: Vec<RecordedTransaction>,
    /// To be sent as `after` to `/v1/feed` when all pages are read: the same on every page.
    #[schema(example = "0a1b2c3d-17")]
    after: String,
    /// To be sent as `page` for the next page; null on the last.
    next_page: Option<String>,
}

/// A payment, a failed payment, a refund or a dispute.
#[derive(Debug, Serialize, ToSchema)]
struct RecordedTransaction {
    /// As `transaction_id` in the feed.
    id: Uuid,
    /// `payment`, `payment_failed`, `refund` or `dispute`.
    #[serde(rename = "type")]
    #[schema(example = "payment")]
    what: String,
    /// Of a refund `pending`, `succeeded`, `failed`; of a dispute `open`, `won`, `lost`; else null.
    state: Option<String>,
    /// At Stripe.
    #[schema(example = "in_1Abc")]
    stripe_reference: String,
    /// When it happened, by Stripe's clock.
    #[serde(with = "time::serde::rfc3339")]
    occurred_at: OffsetDateTime,
    /// When it was recorded.
    #[serde(with = "time::serde::rfc3339")]
    recorded_at: OffsetDateTime,
    /// The member.
    user_id: String,
    /// The subscription that it is for.
    subscription_id: Uuid,
    /// The plan that this is on now.
    plan: String,
    /// `membership`, `top_up`, `share` or `donation`.
    kind: String,
    /// How many of it there are now.
    quantity: i32,
}

impl From<Movement> for RecordedTransaction {
    fn from(movement: Movement) -> Self {
        let transaction = movement.transaction;
        Self {
            id: transaction.id.0,
            what: transaction.kind,
            state: transaction.state,
            stripe_reference: transaction.stripe_reference,
            occurred_at: transaction.occurred_at,
            recorded_at: movement.recorded_at,
            user_id: movement.user_id.as_str().to_owned(),
            subscription_id: movement.subscription_id.0,
            plan: movement.plan,
            kind: movement.kind,
            quantity: movement.quantity,
        }
    }
}

/// A transaction with what it moved.
#[derive(Debug, Serialize, ToSchema)]
struct MovedTransaction {
    #[serde(flatten)]
    transaction: RecordedTransaction,
    /// ISO 4217, lower case; null with the amount.
    #[schema(example = "eur")]
    currency: Option<String>,
    /// Minor units, of this subscription's part; what goes back is negative, what failed or came to nothing is 0. Null
    /// where nobody says how much of a payment was for it.
    amount: Option<i64>,
    /// Tax in the amount, in minor units; null with the amount.
    tax: Option<i64>,
}

impl MovedTransaction {
    fn new(movement: Movement, moved: Option<Amount>) -> Self {
        let (amount, tax) = (
            moved.as_ref().map(|moved| moved.amount),
            moved.as_ref().map(|moved| moved.tax),
        );
        Self {
            transaction: movement.into(),
            currency: moved.map(|moved| moved.currency),
            amount,
            tax,
        }
    }
}

pub(super) fn recorded() -> OpenApiRouter<AppState> {
    let can_fail = [SERVICE, QUERY, GONE, DATABASE];
    OpenApiRouter::new().routes(routes!(list_transactions).problems(&can_fail))
}

pub(super) fn moved() -> OpenApiRouter<AppState> {
    let can_fail = [SERVICE, NOT_FOUND, STRIPE, DATABASE];
    OpenApiRouter::new().routes(routes!(read_transaction).problems(&can_fail))
}

/// The money that was recorded since a time, to begin with or to begin again: read all pages, then the feed from `after` on.
#[utoipa::path(get, path = "/v1/feed/transactions", tag = "feed", security(("bearer" = [])), params(SinceQuery),
    responses((status = 200, body = Transactions)))]
async fn list_transactions(
    State(feed): State<Feed>,
    Follower: Follower,
    Query(query): Query<SinceQuery>,
) -> Result<Json<Transactions>, ApiError> {
    let time = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let since = time(&query.since).ok_or_else(|| {
        let detail = "Not a time such as 2026-01-31T00:00:00Z.";
        ApiError::validation_failed().field("since", "invalid", detail)
    })?;
    let limit = limit_within(query.limit, LIMIT)?;
    let page = parsed("page", query.page.as_deref(), Page::parse)?;
    let read = feed.transactions(since, page.as_ref(), limit).await?;
    Ok(Json(Transactions {
        data: read.data.into_iter().map(Into::into).collect(),
        after: read.after.to_string(),
        next_page: read.next.map(|page| page.to_string()),
    }))
}

/// One transaction with its amount, tax and currency, read live from Stripe: for whoever must credit a chosen amount.
#[utoipa::path(get, path = "/v1/transactions/{id}", tag = "feed", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "`transaction_id` in the feed")),
    responses((status = 200, body = MovedTransaction)))]
async fn read_transaction(
    State(members): State<Members>,
    Follower: Follower,
    Path(id): Path<Uuid>,
) -> Result<Json<MovedTransaction>, ApiError> {
    let found = members.movement(TransactionId(id)).await?;
    let (movement, moved) = found.ok_or_else(|| ApiError::new(Code::NotFound))?;
    Ok(Json(MovedTransaction::new(movement, moved)))
}
