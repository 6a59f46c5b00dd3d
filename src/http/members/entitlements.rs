//! The one question that every client asks: may she?

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::edge::errors::DATABASE;
use crate::http::edge::extract::{Json, MEMBER, Member};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::services::members::Members;
use crate::services::members::lines;

/// Whether the member may use what a kind of plan gives.
#[derive(Debug, Serialize, ToSchema)]
struct Entitlement {
    /// The answer.
    entitled: bool,
    /// Until when, as far as is known today; null for ever, or not entitled.
    #[serde(with = "time::serde::rfc3339::option")]
    until: Option<OffsetDateTime>,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(show).problems(&[MEMBER, DATABASE]))
}

/// What the member is entitled to, by kind: `membership`, `top_up`, `share`, `donation`.
#[utoipa::path(get, path = "/v1/entitlements", tag = "subscriptions", security(("bearer" = [])), responses((status = 200, body = BTreeMap<String, Entitlement>)))]
async fn show(
    State(members): State<Members>,
    Member(member): Member,
) -> Result<Json<BTreeMap<&'static str, Entitlement>>, ApiError> {
    let held = members.entitlements(&member.user).await?;
    let entry = |held: lines::Entitlement| {
        (
            held.kind.as_str(),
            Entitlement {
                entitled: held.entitled,
                until: held.until,
            },
        )
    };
    Ok(Json(held.map(entry).into_iter().collect()))
}
