//! A purchase as clients of the connector make it: begun by a payment plan, ended on the pages that Mosaic's settings name.

use axum::extract::{Request, State};
use axum::http::{StatusCode, header::LOCATION};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use tower_http::catch_panic::CatchPanicLayer;
use url::Url;
use utoipa_axum::router::OpenApiRouter;
use uuid::Uuid;

use crate::domain::subscription::Status;
use crate::http::edge::codes::Code;
use crate::http::edge::extract::{Json, Member, Query};
use crate::http::edge::middleware::panicked;
use crate::http::edge::problem::{ApiError, Unsaid};
use crate::http::edge::state::AppState;
use crate::outward::followers::billing::Redirects;
use crate::purchases::Error;
use crate::services::members::confirm::{Landing, Return};
use crate::services::members::order::{Back, Order, OrderLine};
use crate::services::members::subscribe::Buyer;

/// What to buy; what else stands there is not looked at, as the connector does not.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    payment_plan_id: Uuid,
    /// ISO 4217, upper case.
    currency: String,
}

/// An opened checkout.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Started {
    subscription_id: Uuid,
    /// Stripe's page.
    redirect_url: String,
}

/// What Stripe appends on success.
#[derive(Default, Deserialize)]
struct SuccessQuery {
    #[serde(default)]
    session_id: String,
}

/// What the back link holds.
#[derive(Default, Deserialize)]
struct CancelQuery {
    #[serde(default)]
    checkout: String,
    #[serde(default)]
    token: String,
}

pub(super) fn starting() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().route("/start-checkout", post(start))
}

pub(super) fn returns() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .route("/success-checkout", get(success))
        .route("/cancel-checkout", get(cancel))
}

/// Puts around the returns that a browser is always sent on: no place, no time, a fault of ours are nothing to show to
/// somebody who may have paid.
pub(in crate::http) fn led_on(
    routes: OpenApiRouter<AppState>,
    state: &AppState,
) -> OpenApiRouter<AppState> {
    routes
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(state.clone(), unanswered))
}

async fn start(
    State(state): State<AppState>,
    Member(member): Member,
    Json(wanted): Json<Wanted>,
) -> Result<Json<Started>, ApiError> {
    let plan = state
        .services
        .catalogue
        .plan_kept_as(wanted.payment_plan_id);
    let plan = plan.ok_or_else(|| {
        let detail = "No plan has this payment plan.";
        ApiError::validation_failed().field("paymentPlanId", "unknown_plan", detail)
    })?;
    let order = Order {
        lines: vec![OrderLine {
            plan: plan.code,
            quantity: None,
            amount: None,
        }],
        currency: Some(wanted.currency.to_ascii_lowercase()),
        locale: None,
        back: Back::Connector,
    };
    let buyer = Buyer {
        user: member.user,
        email: member.email,
    };
    // The connector's clients send no idempotency key; an open checkout of the same plan is given again.
    let opened = state
        .services
        .members
        .subscribe(&buyer, &order, None)
        .await?;
    match (opened.basket.lines.first(), opened.url) {
        (Some(line), Some(redirect_url)) => Ok(Json(Started {
            subscription_id: line.id.0,
            redirect_url,
        })),
        _ => Err(ApiError::new(Code::InProgress)),
    }
}

/// The buyer has paid, or says so. What the connector opened before we took its place is not known here: she is sent on
/// without an id, as it did when it did not know.
async fn success(
    State(state): State<AppState>,
    query: Result<Query<SuccessQuery>, ApiError>,
) -> Response {
    let query = query.map(|Query(query)| query).unwrap_or_default();
    let verified = match query.session_id.as_str() {
        "" => Ok(Return::refused("unknown_session")),
        session => state.services.members.confirm(session).await,
    };
    send_on(&state, verified, |_, pages| pages.success).await
}

/// The buyer went back without paying, or has paid meanwhile.
async fn cancel(
    State(state): State<AppState>,
    query: Result<Query<CancelQuery>, ApiError>,
) -> Response {
    let CancelQuery { checkout, token } = query.map(|Query(query)| query).unwrap_or_default();
    let cancelled = match checkout.parse() {
        Ok(checkout) => {
            state
                .services
                .members
                .cancel_checkout(checkout, &token)
                .await
        }
        Err(_) => Ok(Return::refused("invalid_link")),
    };
    let page = |landing, pages: Redirects| match landing {
        Landing::Success => pages.success,
        Landing::Cancel => pages.cancel,
        Landing::Error => pages.error,
    };
    send_on(&state, cancelled, page).await
}

/// To one of the pages; with the subscription's id where it is paid, as the connector did, and with nothing else.
async fn send_on(
    state: &AppState,
    verified: Result<Return, Error>,
    page: impl FnOnce(Landing, Redirects) -> Url,
) -> Response {
    let pages = pages(state).await;
    let back = match verified {
        Ok(back) => back,
        Err(error) => return unsaid(pages.success, error.into()),
    };
    let is_paid = matches!(back.status, Some(Status::Active | Status::Cancelled));
    let paid = back.subscriptions.first().filter(|_| is_paid);
    let mut page = page(back.landing, pages);
    if let Some(id) = paid {
        page.query_pairs_mut()
            .append_pair("subscription_id", &id.to_string());
    }
    found(page)
}

/// Where Mosaic's settings send browsers; our own pages where it can't be asked.
async fn pages(state: &AppState) -> Redirects {
    let client = &state.settings.client;
    let told = state.services.followers.redirects().await;
    told.unwrap_or_else(|| Redirects {
        success: client.success_url.clone(),
        cancel: client.cancel_url.clone(),
        error: client.error_url.clone(),
    })
}

async fn unanswered(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if response.status() == StatusCode::FOUND || response.status().is_client_error() {
        return response;
    }
    let bare = ApiError::from_status(response.status());
    let error = response.extensions_mut().remove::<ApiError>();
    unsaid(pages(&state).await.success, error.unwrap_or(bare))
}

fn unsaid(page: Url, error: ApiError) -> Response {
    let mut response = found(page);
    response.extensions_mut().insert(Unsaid(error));
    response
}

fn found(page: Url) -> Response {
    (StatusCode::FOUND, [(LOCATION, String::from(page))]).into_response()
}
