//! Everything that has changed, once and in order, for services that follow.

use std::time::Duration;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::clock::Clock;
use crate::domain::feed::Entry;
use crate::http::edge::codes::Code;
use crate::http::edge::errors::DATABASE;
use crate::http::edge::extract::{Follower, Json, QUERY, Query, SERVICE};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::page::{limit_within, parsed};
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::outward::feed::{Cursor, Feed, Page, ReadError, Wanted};
use crate::purchases::Error;

/// Entries of an answer unless asked otherwise, and the most.
pub(super) const LIMIT: (i64, i64) = (100, 1_000);
/// Longest wait, in seconds.
const WAIT: u64 = 25;
/// Most types that are asked for, and the longest of them.
const TYPES: (usize, usize) = (20, 64);
/// Of a cursor that leads nowhere.
pub(super) const GONE: &[Code] = &[Code::CursorGone];

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct FeedQuery {
    /// `next_after` of the answer before; without it, from the oldest entry that is kept.
    after: Option<String>,
    /// 1 to 1000; by default 100.
    limit: Option<i64>,
    /// Only of these types, separated by commas.
    types: Option<String>,
    /// Seconds to wait until there is something, at most 25; by default none.
    wait: Option<u64>,
}

/// Changes, in the order in which they were made.
#[derive(Debug, Serialize, ToSchema)]
struct Changes {
    /// The entries.
    data: Vec<FeedEntry>,
    /// To be sent as `after` for what follows.
    #[schema(example = "0a1b2c3d-17")]
    next_after: String,
}

/// One change.
#[derive(Debug, Serialize, ToSchema)]
struct FeedEntry {
    /// Its place: without gaps, in the order of the commits.
    position: i64,
    /// The same whenever it is told: a repeat is known by it.
    id: Uuid,
    /// `subscription.created`, `subscription.status_changed`, `subscription.plan_changed`,
    /// `subscription.quantity_changed`, `subscription.period_changed`, `transaction.recorded` or `transaction.updated`.
    #[serde(rename = "type")]
    #[schema(example = "subscription.status_changed")]
    kind: String,
    /// When it was recorded.
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// The member.
    user_id: String,
    /// The subscription.
    subscription_id: Uuid,
    /// Of what is told of money: its transaction.
    transaction_id: Option<Uuid>,
    /// `import` for what an import wrote: nobody is to be greeted.
    origin: Option<String>,
    /// What was true after the change, and before it where the type says so. No amounts.
    #[schema(value_type = Object)]
    data: Box<RawValue>,
}

impl TryFrom<Entry> for FeedEntry {
    type Error = serde_json::Error;

    fn try_from(entry: Entry) -> Result<Self, Self::Error> {
        Ok(Self {
            position: entry.position,
            id: entry.id,
            kind: entry.kind,
            at: entry.at,
            user_id: entry.user_id,
            subscription_id: entry.subscription_id,
            transaction_id: entry.transaction_id,
            origin: entry.origin,
            data: RawValue::from_string(entry.data)?,
        })
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct SnapshotQuery {
    /// `next_page` of the page before; without it, a snapshot begins.
    page: Option<String>,
    /// 1 to 1000; by default 100. A page may have fewer entries than that, or none, and not be the last.
    limit: Option<i64>,
}

/// What is in force, page by page.
#[derive(Debug, Serialize, ToSchema)]
struct Snapshot {
    /// Of everything that has not ended, what is true of it. What a reader holds and no page has, has ended.
    data: Vec<SnapshotLine>,
    /// To be sent as `after` to `/v1/feed` when all pages are read: the same on every page.
    #[schema(example = "0a1b2c3d-17")]
    after: String,
    /// To be sent as `page` for the next page; null on the last.
    next_page: Option<String>,
}

/// A subscription that has not ended.
#[derive(Debug, Serialize, ToSchema)]
struct SnapshotLine {
    /// The member.
    user_id: String,
    /// The subscription.
    subscription_id: Uuid,
    /// What is true of it, as entries of the feed have it.
    #[schema(value_type = Object)]
    data: Box<RawValue>,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    let can_fail = [SERVICE, QUERY, GONE, DATABASE];
    OpenApiRouter::new()
        .routes(routes!(read_feed).problems(&can_fail))
        .routes(routes!(read_snapshot).problems(&can_fail))
}

/// What is true now, to begin with or to begin again: read all pages, then the feed from `after` on.
#[utoipa::path(get, path = "/v1/feed/snapshot", tag = "feed", security(("bearer" = [])), params(SnapshotQuery),
    responses((status = 200, body = Snapshot)))]
async fn read_snapshot(
    State(feed): State<Feed>,
    State(clock): State<Clock>,
    Follower: Follower,
    Query(query): Query<SnapshotQuery>,
) -> Result<Json<Snapshot>, ApiError> {
    let limit = limit_within(query.limit, LIMIT)?;
    let page = parsed("page", query.page.as_deref(), Page::parse)?;
    let read = feed.snapshot(page.as_ref(), limit, clock.now()).await?;
    let lines = read.data.into_iter().map(|line| {
        Ok(SnapshotLine {
            user_id: line.user_id,
            subscription_id: line.subscription_id.0,
            data: RawValue::from_string(line.data)?,
        })
    });
    let data: Result<_, serde_json::Error> = lines.collect();
    Ok(Json(Snapshot {
        data: data.map_err(ApiError::internal)?,
        after: read.after.to_string(),
        next_page: read.next.map(|page| page.to_string()),
    }))
}

/// What has changed, each change once and in order. Send `next_after` as `after` to go on; a service that was away goes on
/// where it was.
#[utoipa::path(get, path = "/v1/feed", tag = "feed", security(("bearer" = [])), params(FeedQuery),
    responses((status = 200, body = Changes)))]
async fn read_feed(
    State(feed): State<Feed>,
    Follower: Follower,
    Query(query): Query<FeedQuery>,
) -> Result<Json<Changes>, ApiError> {
    let told = feed.read(&wanted(&query)?).await?;
    let entries = told.entries.into_iter().map(FeedEntry::try_from);
    Ok(Json(Changes {
        // Postgres writes nothing else as jsonb.
        data: entries
            .collect::<Result<_, _>>()
            .map_err(ApiError::internal)?,
        next_after: told.next.to_string(),
    }))
}

fn out_of_range(field: &str, detail: String) -> ApiError {
    ApiError::validation_failed().field(field, "out_of_range", detail)
}

fn wanted(query: &FeedQuery) -> Result<Wanted, ApiError> {
    let limit = limit_within(query.limit, LIMIT)?;
    let wait = query.wait.unwrap_or_default();
    if wait > WAIT {
        return Err(out_of_range("wait", format!("At most {WAIT}.")));
    }
    let types: Vec<String> = query
        .types
        .iter()
        .flat_map(|types| types.split(','))
        .take(TYPES.0 + 1)
        .map(str::to_owned)
        .collect();
    if types.len() > TYPES.0
        || types
            .iter()
            .any(|name| !(1..=TYPES.1).contains(&name.len()))
    {
        return Err(out_of_range("types", format!("At most {} names.", TYPES.0)));
    }
    Ok(Wanted {
        after: parsed("after", query.after.as_deref(), Cursor::parse)?,
        types,
        limit,
        wait: Duration::from_secs(wait),
    })
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Gone { oldest } => {
                Self::new(Code::CursorGone).detail(format!("Begin again after {oldest}."))
            }
            ReadError::Storage(error) => Error::from(error).into(),
        }
    }
}
