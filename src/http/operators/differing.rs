//! Of whom Stripe says something else than we do: who paid and has nothing, who has it and did not pay.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::subscriptions::Subscription;
use crate::http::edge::errors::DATABASE;
use crate::http::edge::extract::{Allowed, Json, QUERY, Query, STAFF, See};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::page::parsed;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::services::operators::Operators;

const DIRECTIONS: [&str; 2] = ["paid_not_here", "here_not_paid"];

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct DifferingQuery {
    /// Only `paid_not_here` or `here_not_paid`.
    direction: Option<String>,
}

/// Subscriptions that differ from what Stripe says, at most 200.
#[derive(Debug, Serialize, ToSchema)]
struct DifferingList {
    /// What was found last first.
    data: Vec<DifferingEntry>,
}

/// A subscription that differs from what Stripe says, as of the last comparison.
#[derive(Debug, Serialize, ToSchema)]
struct DifferingEntry {
    /// As it is here.
    subscription: Subscription,
    /// `paid_not_here`: paid at Stripe and not in force here; `here_not_paid`: the reverse.
    #[schema(example = "paid_not_here")]
    direction: String,
    /// When a comparison found it first.
    #[serde(with = "time::serde::rfc3339")]
    found_at: OffsetDateTime,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list).problems(&[STAFF, QUERY, DATABASE]))
}

/// Who paid at Stripe and has nothing here, and the reverse, as the last comparison has found it: `sync` takes over what Stripe
/// says, and takes it off this list.
#[utoipa::path(get, path = "/v1/operator/differing", tag = "operators", security(("bearer" = [])),
    params(DifferingQuery), responses((status = 200, body = DifferingList)))]
async fn list(
    State(operators): State<Operators>,
    _: Allowed<See>,
    Query(query): Query<DifferingQuery>,
) -> Result<Json<DifferingList>, ApiError> {
    let known = |text: &str| DIRECTIONS.into_iter().find(|direction| *direction == text);
    let direction = parsed("direction", query.direction.as_deref(), known)?;
    let differing = operators.differing(direction).await?.into_iter();
    Ok(Json(DifferingList {
        data: differing
            .map(|(described, differing)| DifferingEntry {
                subscription: Subscription::of(&described),
                direction: differing.direction,
                found_at: differing.found_at,
            })
            .collect(),
    }))
}
