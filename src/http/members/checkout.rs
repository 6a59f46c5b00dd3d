//! Where Stripe sends the buyer's browser. Always 303 to a configured page; nothing of ours is shown on the way.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header::LOCATION};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use url::Url;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::subscription::Status;
use crate::http::edge::extract::Query;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::purchases::Error;
use crate::services::members::confirm::{Landing, Return};
use crate::settings::Settings;

/// What Stripe appends on success.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SuccessQuery {
    /// The session's id.
    #[serde(default)]
    session_id: String,
}

/// What the back link holds.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CancelQuery {
    /// Our checkout id.
    #[serde(default)]
    checkout: String,
    /// The secret that only the buyer's page has.
    #[serde(default)]
    token: String,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(success))
        .routes(routes!(cancel))
}

/// The buyer has paid, or says so.
#[utoipa::path(get, path = "/checkout/success", tag = "browser", params(SuccessQuery),
    responses((status = 303, description = "To the success, cancel or error page.")))]
async fn success(
    State(state): State<AppState>,
    query: Result<Query<SuccessQuery>, ApiError>,
) -> impl IntoResponse {
    let query = query.map(|Query(query)| query).unwrap_or_default();
    let verified = match query.session_id.as_str() {
        "" => Ok(Return::refused("unknown_session")),
        session => state.services.members.confirm(session).await,
    };
    redirect(&state.settings, verified)
}

/// The buyer went back without paying.
#[utoipa::path(get, path = "/checkout/cancel", tag = "browser", params(CancelQuery),
    responses((status = 303, description = "To the cancel page, or to the success page if it was paid meanwhile.")))]
async fn cancel(
    State(state): State<AppState>,
    query: Result<Query<CancelQuery>, ApiError>,
) -> impl IntoResponse {
    let query = query.map(|Query(query)| query).unwrap_or_default();
    let cancelled = match query.checkout.parse() {
        Ok(checkout) => {
            state
                .services
                .members
                .cancel_checkout(checkout, &query.token)
                .await
        }
        Err(_) => Ok(Return::refused("invalid_link")),
    };
    redirect(&state.settings, cancelled)
}

/// Whatever happens, a buyer who may have paid is sent on to the client's page, and never shown an answer for programs:
/// no place, no time, a fault of ours.
pub(in crate::http) async fn unanswered(
    State(settings): State<Arc<Settings>>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    if response.status() == StatusCode::SEE_OTHER || response.status().is_client_error() {
        return response;
    }
    redirect(&settings, Ok(Return::unverified())).into_response()
}

fn redirect(settings: &Settings, verified: Result<Return, Error>) -> impl IntoResponse + use<> {
    let to = verified.unwrap_or_else(|error| {
        tracing::error!(%error, "a buyer's return could not be answered from our own rows");
        Return::unverified()
    });
    let client = &settings.client;
    let mut page: Url = match to.landing {
        Landing::Success => client.success_url.clone(),
        Landing::Cancel => client.cancel_url.clone(),
        Landing::Error => client.error_url.clone(),
    };
    {
        let mut query = page.query_pairs_mut();
        if let Some(checkout) = to.checkout {
            let ids = to
                .subscriptions
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(",");
            query
                .append_pair("checkout_id", &checkout.to_string())
                .append_pair("subscription_ids", &ids);
        }
        if let Some(status) = to.status.map(Status::as_str) {
            query.append_pair("status", status);
        }
        query.append_pair("code", to.code);
    }
    (StatusCode::SEE_OTHER, [(LOCATION, String::from(page))])
}
