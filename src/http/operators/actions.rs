//! What operators did: the record that every act leaves.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::filters::short;
use crate::http::edge::errors::DATABASE;
use crate::http::edge::extract::{Allowed, Json, QUERY, Query, STAFF, See};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::page::{Page, limit, page, parsed};
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::services::operators::Operators;
use crate::services::operators::actions::{Act, ActFilter};

const VERBS: [&str; 9] = [
    "sync", "refund", "cancel", "resume", "settle", "adopt", "replay", "dismiss", "reveal",
];
const STATES: [&str; 4] = ["started", "done", "refused", "unknown"];

/// One of these codes.
fn one_of<'a>(codes: &'a [&'a str]) -> impl Fn(&str) -> Option<String> + 'a {
    |text| codes.contains(&text).then(|| text.to_owned())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ActionsQuery {
    /// Only to that: a subscription of ours, `sub_…`, `evt_…`, a user id.
    subject: Option<String>,
    /// Only those that concern that member.
    user: Option<String>,
    /// Only by that operator.
    actor: Option<String>,
    /// Only `sync`, `refund`, `cancel`, `resume`, `settle`, `adopt`, `replay`, `dismiss` or `reveal`.
    verb: Option<String>,
    /// Only `started`, `done`, `refused` or `unknown`.
    state: Option<String>,
    /// 1 to 100; by default 20.
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What an operator did.
#[derive(Debug, Serialize, ToSchema)]
struct Action {
    id: Uuid,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// Who: the `sub` of her token.
    actor: String,
    /// By which of her roles.
    role: String,
    /// What was done.
    verb: String,
    /// To what: a subscription of ours, `sub_…`, `evt_…`, a user id.
    subject: String,
    /// Whom it concerns, where that is known.
    user_id: Option<String>,
    /// Why; null for looking at a name.
    reason: Option<String>,
    /// A ticket, minute or voucher.
    reference: Option<String>,
    /// The refund with which a cancellation was asked for.
    parent: Option<Uuid>,
    /// `started`, `done`, `refused` or `unknown`.
    state: String,
    /// What came of it, or why not.
    outcome: Option<String>,
    /// When that was known.
    #[serde(with = "time::serde::rfc3339::option")]
    finished_at: Option<OffsetDateTime>,
    /// Of the request, as in the log.
    request_id: Option<String>,
}

impl From<Act> for Action {
    fn from(act: Act) -> Self {
        Self {
            id: act.id,
            at: act.at,
            actor: act.actor,
            role: act.role,
            verb: act.verb,
            subject: act.subject,
            user_id: act.user_id,
            reason: act.reason,
            reference: act.reference,
            parent: act.parent,
            state: act.state,
            outcome: act.outcome,
            finished_at: act.finished_at,
            request_id: act.request_id,
        }
    }
}

/// The last entry of the record.
#[derive(Debug, Serialize, ToSchema)]
struct LastEntry {
    /// Its number; 0 before the first.
    seq: i64,
    /// SHA-256 over it and the entry before, in hexadecimal.
    #[schema(example = "9f2c51be")]
    hash: String,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_actions).problems(&[STAFF, QUERY, DATABASE]))
        .routes(routes!(read_last_entry).problems(&[STAFF, DATABASE]))
}

/// The last entry of the record of what operators did, to be written on whatever is taken away: `dues actions verify --expect`
/// tells later whether it is still there.
#[utoipa::path(get, path = "/v1/operator/actions/last-entry", tag = "operators", security(("bearer" = [])),
    responses((status = 200, body = LastEntry)))]
async fn read_last_entry(
    State(operators): State<Operators>,
    _: Allowed<See>,
) -> Result<Json<LastEntry>, ApiError> {
    let (seq, hash) = operators.last_entry().await?;
    Ok(Json(LastEntry { seq, hash }))
}

/// What operators did, newest first.
#[utoipa::path(get, path = "/v1/operator/actions", tag = "operators", security(("bearer" = [])), params(ActionsQuery),
    responses((status = 200, body = Page<Action>)))]
async fn list_actions(
    State(operators): State<Operators>,
    _: Allowed<See>,
    Query(query): Query<ActionsQuery>,
) -> Result<Json<Page<Action>>, ApiError> {
    let limit = limit(query.limit)?;
    let before = parsed("cursor", query.cursor.as_deref(), |text| text.parse().ok())?;
    let filter = ActFilter {
        subject: parsed("subject", query.subject.as_deref(), short)?,
        user_id: parsed("user", query.user.as_deref(), short)?,
        actor: parsed("actor", query.actor.as_deref(), short)?,
        verb: parsed("verb", query.verb.as_deref(), one_of(&VERBS))?,
        state: parsed("state", query.state.as_deref(), one_of(&STATES))?,
        before,
        limit: limit + 1,
    };
    let rows = operators.actions(&filter).await?;
    Ok(Json(page(
        rows,
        limit,
        |row| row.seq.to_string(),
        Action::from,
    )))
}
