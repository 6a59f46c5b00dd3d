//! What Stripe told and what became of it, and whom a follower refuses.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::filters::{short, time_and_id, written};
use crate::domain::listing::WantedEvents;
use crate::http::edge::errors::DATABASE;
use crate::http::edge::extract::{Allowed, Json, PATH, Path, QUERY, Query, STAFF, See};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::page::{Page, limit, page, parsed};
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::services::operators::Operators;
use crate::services::operators::events::DescribedEvent;

const STATES: [&str; 5] = ["applied", "ignored", "deferred", "failed", "flagged"];

/// An event of Stripe's, with what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OperatorEvent {
    /// `evt_…`.
    id: String,
    /// As Stripe names it.
    #[schema(example = "invoice.paid")]
    r#type: String,
    /// What it is about, at Stripe.
    #[schema(example = "in_1Abc")]
    object_id: String,
    /// When Stripe made it.
    #[serde(with = "time::serde::rfc3339")]
    created: OffsetDateTime,
    /// When it first reached us.
    #[serde(with = "time::serde::rfc3339")]
    received_at: OffsetDateTime,
    /// `applied`, `ignored`, `deferred`, `failed` or `flagged`.
    state: String,
    /// How often the worker has tried.
    attempts: i32,
    /// When the worker tries (again); null where it does not.
    #[serde(with = "time::serde::rfc3339::option")]
    next_attempt_at: Option<OffsetDateTime>,
    /// Why it failed, was flagged or waits, as the log has it.
    cause: Option<String>,
    /// What became of it, in one plain sentence.
    means: &'static str,
    /// What can be done; null where there is nothing to do.
    advice: Option<&'static str>,
    /// The member whom it concerns; null where none of our rows has its object.
    user_id: Option<String>,
    /// The line that it is about; null where none of our rows has its object.
    subscription_id: Option<Uuid>,
}

/// Members whose changes a follower refuses, at most 200.
#[derive(Debug, Serialize, ToSchema)]
struct ParkedList {
    data: Vec<ParkedMember>,
}

/// A member whose changes a follower refuses: they wait, and are tried again.
#[derive(Debug, Serialize, ToSchema)]
struct ParkedMember {
    /// The follower's name.
    follower: String,
    /// The member.
    user_id: String,
    /// How many changes wait.
    waiting: i32,
    /// How often the first of them was refused.
    attempts: i32,
    /// Since when they wait.
    #[serde(with = "time::serde::rfc3339")]
    since: OffsetDateTime,
    /// When the first of them is tried again.
    #[serde(with = "time::serde::rfc3339")]
    next_attempt_at: OffsetDateTime,
    /// Why it was refused.
    cause: String,
}

/// Which events to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only in that state.
    state: Option<String>,
    /// Only of that type, as Stripe names it.
    r#type: Option<String>,
    /// Only about that object at Stripe.
    object: Option<String>,
    /// 1 to 100; by default 20.
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters.
    cursor: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list).problems(&[STAFF, QUERY, DATABASE]))
        .routes(routes!(show).problems(&[STAFF, PATH, DATABASE]))
        .routes(routes!(parked).problems(&[STAFF, DATABASE]))
}

/// What Stripe told, the newest arrivals first. What is settled is known for 31 days.
#[utoipa::path(get, path = "/v1/operator/events", tag = "operators", security(("bearer" = [])),
    params(ListQuery), responses((status = 200, body = Page<OperatorEvent>)))]
async fn list(
    State(operators): State<Operators>,
    _: Allowed<See>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<OperatorEvent>>, ApiError> {
    let limit = limit(query.limit)?;
    let state = |text: &str| STATES.contains(&text).then(|| text.to_owned());
    let wanted = WantedEvents {
        state: parsed("state", query.state.as_deref(), state)?,
        kind: parsed("type", query.r#type.as_deref(), short)?,
        object: parsed("object", query.object.as_deref(), short)?,
        after: parsed("cursor", query.cursor.as_deref(), time_and_id)?,
        limit: limit + 1,
    };
    let rows = operators.events(&wanted).await?;
    let cursor = |row: &DescribedEvent| written(row.event.received_at, &row.event.id);
    Ok(Json(page(rows, limit, cursor, OperatorEvent::of)))
}

/// One event.
#[utoipa::path(get, path = "/v1/operator/events/{id}", tag = "operators", security(("bearer" = [])),
    params(("id" = String, Path)), responses((status = 200, body = OperatorEvent)))]
async fn show(
    State(operators): State<Operators>,
    _: Allowed<See>,
    Path(id): Path<String>,
) -> Result<Json<OperatorEvent>, ApiError> {
    let event = operators.described_event(&id).await?;
    let event = event.ok_or_else(ApiError::not_found)?;
    Ok(Json(OperatorEvent::of(event)))
}

/// Members whose changes a follower refuses, by follower.
#[utoipa::path(get, path = "/v1/operator/parked", tag = "operators", security(("bearer" = [])),
    responses((status = 200, body = ParkedList)))]
async fn parked(
    State(operators): State<Operators>,
    _: Allowed<See>,
) -> Result<Json<ParkedList>, ApiError> {
    let parked = operators.parked().await?.into_iter();
    Ok(Json(ParkedList {
        data: parked
            .map(|row| ParkedMember {
                follower: row.name,
                user_id: row.user_id,
                waiting: row.waiting,
                attempts: row.attempts,
                since: row.since,
                next_attempt_at: row.next_attempt_at,
                cause: row.last_error,
            })
            .collect(),
    }))
}

impl OperatorEvent {
    /// As those read it who look after members.
    pub(super) fn of(described: DescribedEvent) -> Self {
        let DescribedEvent {
            event,
            user,
            subscription,
            means,
            advice,
        } = described;
        Self {
            id: event.id,
            r#type: event.r#type,
            object_id: event.object_id,
            created: event.created,
            received_at: event.received_at,
            state: event.state,
            attempts: event.attempts,
            next_attempt_at: event.next_attempt_at,
            cause: event.last_error,
            means,
            advice,
            user_id: user,
            subscription_id: subscription,
        }
    }
}
