//! The customer portals of a member.

use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;

use crate::http::edge::extract::{Json, Member};
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::purchases::line::{Obstacle, WishError};
use crate::services::members::Members;
use crate::services::members::portal::PortalWish;

pub(super) const PATH: &str = "/customer-overview";

/// A link to a portal.
#[derive(Serialize)]
struct Overview {
    /// Whose, and in which currency.
    name: String,
    /// Stripe's page.
    url: String,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().route(PATH, get(overview))
}

/// One for each currency in which she has paid. We keep no names: hers is in her token.
async fn overview(
    State(members): State<Members>,
    Member(member): Member,
) -> Result<Json<Vec<Overview>>, ApiError> {
    let opened = members
        .open_portals(&member.user, &PortalWish::default())
        .await;
    let portals = match opened {
        Err(WishError::Obstacle(Obstacle::NoCustomer)) => Vec::new(),
        opened => opened?,
    };
    let name = member.name.as_deref().unwrap_or(member.user.as_str());
    let links = portals.into_iter().map(|portal| Overview {
        name: format!("{name} ({})", portal.currency.to_uppercase()),
        url: portal.url,
    });
    Ok(Json(links.collect()))
}
