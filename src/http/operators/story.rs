//! What happened to a purchase or a member, and what can be done: a sentence each, newest first.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::domain::ids::{SubscriptionId, UserId, is_external_id};
use crate::http::edge::errors::DATABASE;
use crate::http::edge::extract::{Allowed, Json, PATH, Path, QUERY, Query, STAFF, See};
use crate::http::edge::money::Language;
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::services::operators::Operators;
use crate::services::operators::story;

/// Of what to tell.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct StoryQuery {
    /// `rows`: ours alone, at once; by default Stripe is asked too.
    from: Option<Source>,
}

/// What is told.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[schema(as = StorySource)]
#[serde(rename_all = "snake_case")]
enum Source {
    Rows,
}

/// What happened, newest first, at most a hundred entries.
#[derive(Debug, Serialize, ToSchema)]
struct Story {
    data: Vec<Entry>,
    /// Whether all of Stripe's part is there.
    complete: bool,
    /// Why it is not.
    missing: Option<String>,
}

/// One thing that happened, or that is so.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StoryEntry)]
struct Entry {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// `change`, `transaction`, `event`, `action`, `stripe` (what only Stripe has) or `note`.
    kind: &'static str,
    /// One sentence, with its amounts.
    #[schema(
        example = "Stripe took €35.00 from a card for membership-annual, and we recorded it 2 seconds later."
    )]
    text: String,
    /// By which way it came about.
    #[schema(example = "Stripe told us (invoice.paid)")]
    cause: Option<String>,
    /// `stripe`, `upkeep`, `browser`, `member`, or an operator's user id; `role` is set then.
    actor: Option<String>,
    /// Of the operator.
    role: Option<String>,
    /// At Stripe, or of the event or the action.
    reference: Option<String>,
    /// The line; of several that were paid together one of them.
    subscription_id: Option<Uuid>,
    /// What Stripe says and what we say, where that is not the same.
    #[schema(example = "Stripe says: active. Ours: awaiting payment.")]
    differs: Option<String>,
    /// What can be done.
    #[schema(example = "Sync it: what Stripe says is taken over.")]
    advice: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    let codes = &[STAFF, PATH, QUERY, DATABASE];
    OpenApiRouter::new()
        .routes(routes!(of_subscription).problems(codes))
        .routes(routes!(of_member).problems(codes))
}

/// What happened to a subscription: our rows, and Stripe's objects by at most six calls. Where Stripe does not answer, our part.
#[utoipa::path(get, path = "/v1/operator/subscriptions/{id}/story", tag = "operators", security(("bearer" = [])),
    params(("id" = Uuid, Path), StoryQuery), responses((status = 200, body = Story)))]
async fn of_subscription(
    State(operators): State<Operators>,
    _: Allowed<See>,
    Path(id): Path<Uuid>,
    Query(query): Query<StoryQuery>,
) -> Result<Json<Story>, ApiError> {
    let from_rows = query.from.is_some();
    let story = operators.story_of_subscription(SubscriptionId(id), from_rows);
    story.await?.map(written).ok_or_else(ApiError::not_found)
}

/// What happened to all that a member bought: our rows, and Stripe's objects by at most six calls for each currency, with what
/// the same customers at Stripe have that was not bought here.
#[utoipa::path(get, path = "/v1/operator/members/{user}/story", tag = "operators", security(("bearer" = [])),
    params(("user" = String, Path, description = "The `sub` of the member's token"), StoryQuery),
    responses((status = 200, body = Story)))]
async fn of_member(
    State(operators): State<Operators>,
    _: Allowed<See>,
    Path(user): Path<String>,
    Query(query): Query<StoryQuery>,
) -> Result<Json<Story>, ApiError> {
    if !is_external_id(&user) {
        return Err(ApiError::not_found());
    }
    let user = UserId::new(user);
    let story = operators.story_of_member(&user, query.from.is_some());
    story.await?.map(written).ok_or_else(ApiError::not_found)
}

/// The sentences are English, and so are their amounts.
fn written(story: story::Story) -> Json<Story> {
    let language = Language::english();
    let write =
        |text: &story::Text| text.written(|money| language.amount(money.amount, &money.currency));
    let entries = story.entries.into_iter().map(|entry| Entry {
        at: entry.at,
        kind: entry.kind.as_str(),
        text: write(&entry.text),
        differs: entry.differs.as_ref().map(write),
        cause: entry.cause,
        actor: entry.actor,
        role: entry.role,
        reference: entry.reference,
        subscription_id: entry.subscription.map(|id| id.0),
        advice: entry.advice,
    });
    Json(Story {
        data: entries.collect(),
        complete: story.missing.is_none(),
        missing: story.missing,
    })
}
