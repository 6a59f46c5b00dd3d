//! Acts on an event that failed or was flagged.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asking::{ACTING, ActionState, Asker, act_body, to_its_end};
use crate::http::edge::codes::Code;
use crate::http::edge::errors::{DATABASE, SALE, STRIPE};
use crate::http::edge::extract::{Act, JSON, Json, PATH, Path, STAFF};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;

act_body! {
    /// Why an operator acts, and whether she only wants to see what would happen.
    struct EventAct {
    }
}

/// What came of an act on an event.
#[derive(Debug, Serialize, ToSchema)]
struct EventActAnswer {
    /// Null for a dry run.
    action: Option<ActionState>,
    /// What would happen; null for what was done.
    preview: Option<EventActPreview>,
}

/// What would happen.
#[derive(Debug, Serialize, ToSchema)]
struct EventActPreview {
    /// In sentences.
    text: Vec<&'static str>,
}

const EVENTS: &[Code] = &[Code::EventSettled, Code::InProgress];

pub(super) fn routes() -> OpenApiRouter<AppState> {
    let all = [STAFF, PATH, JSON, DATABASE, STRIPE, SALE, ACTING, EVENTS];
    OpenApiRouter::new()
        .routes(routes!(replay).problems(&all))
        .routes(routes!(dismiss).problems(&all))
}

/// Read an event from Stripe and apply it again, whatever became of it before.
#[utoipa::path(post, path = "/v1/operator/events/{id}/replay", tag = "operators", security(("bearer" = [])),
    params(("id" = String, Path), ("Idempotency-Key" = Option<Uuid>, Header, description = "The act's id; not for a dry run")),
    request_body = EventAct, responses((status = 200, body = EventActAnswer)))]
async fn replay(
    State(state): State<AppState>,
    asker: Asker<Act>,
    Path(id): Path<String>,
    Json(body): Json<EventAct>,
) -> Result<Json<EventActAnswer>, ApiError> {
    if body.dry_run {
        return Ok(would(
            "The event is read from Stripe and applied as if it had just arrived. What it says already changes nothing.",
        ));
    }
    let operators = state.services.operators.clone();
    let ask = asker.ask(&state, &body.why(), None, &format!("replay {id}"), &body)?;
    let acted = to_its_end(async move { operators.replay(&id, &ask).await }).await?;
    Ok(Json(EventActAnswer {
        action: Some(ActionState::of(&acted)),
        preview: None,
    }))
}

/// Take an event that failed or was flagged off the list of what needs somebody.
#[utoipa::path(post, path = "/v1/operator/events/{id}/dismiss", tag = "operators", security(("bearer" = [])),
    params(("id" = String, Path), ("Idempotency-Key" = Option<Uuid>, Header, description = "The act's id; not for a dry run")),
    request_body = EventAct, responses((status = 200, body = EventActAnswer)))]
async fn dismiss(
    State(state): State<AppState>,
    asker: Asker<Act>,
    Path(id): Path<String>,
    Json(body): Json<EventAct>,
) -> Result<Json<EventActAnswer>, ApiError> {
    if body.dry_run {
        return Ok(would(
            "The event leaves the list of what needs somebody. What it said is not applied.",
        ));
    }
    let operators = state.services.operators.clone();
    let ask = asker.ask(&state, &body.why(), None, &format!("dismiss {id}"), &body)?;
    let acted = to_its_end(async move { operators.dismiss(&id, &ask).await }).await?;
    Ok(Json(EventActAnswer {
        action: Some(ActionState::of(&acted)),
        preview: None,
    }))
}

fn would(text: &'static str) -> Json<EventActAnswer> {
    Json(EventActAnswer {
        action: None,
        preview: Some(EventActPreview { text: vec![text] }),
    })
}
