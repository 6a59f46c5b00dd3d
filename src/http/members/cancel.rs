//! Cancelling, and thinking better of it.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::subscriptions::Subscription;
use crate::domain::ids::SubscriptionId;
use crate::http::edge::codes::Code;
use crate::http::edge::errors::{DATABASE, STRIPE};
use crate::http::edge::extract::{JSON, Json, MEMBER, Member, PATH, Path};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::purchases::cancel::CancelAt;

/// When it is to end.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Cancel {
    /// By default with the period that is paid.
    #[serde(default)]
    at: End,
}

/// When a subscription ends.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum End {
    /// With the period that is paid.
    #[default]
    PeriodEnd,
    /// At once: where the plan allows it, or the subscription is on hold.
    Now,
}

/// What may stand in the way of cancelling.
const CANCELLING: &[Code] = &[
    Code::NotCancellable,
    Code::AwaitingPayment,
    Code::PaymentProcessing,
    Code::AlreadyEnded,
    Code::CancelNowNotAllowed,
    Code::ManagedBySchedule,
    Code::InProgress,
];

/// What may stand in the way of withdrawing it.
const RESUMING: &[Code] = &[
    Code::NotResumable,
    Code::AwaitingPayment,
    Code::PaymentProcessing,
    Code::AlreadyEnded,
    Code::OnHold,
    Code::ManagedBySchedule,
    Code::InProgress,
];

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(
            routes!(cancel_subscription)
                .problems(&[MEMBER, PATH, JSON, DATABASE, STRIPE, CANCELLING]),
        )
        .routes(routes!(resume_subscription).problems(&[MEMBER, PATH, DATABASE, STRIPE, RESUMING]))
}

/// Cancel: it ends with the period that is paid, or at once where its plan allows that. Cancelling again changes
/// nothing. The answer is the subscription as Stripe has it then.
#[utoipa::path(post, path = "/v1/subscriptions/{id}/cancel", tag = "subscriptions", security(("bearer" = [])),
    params(("id" = Uuid, Path)), request_body = Option<Cancel>,
    responses((status = 200, body = Subscription)))]
async fn cancel_subscription(
    State(state): State<AppState>,
    Member(member): Member,
    Path(id): Path<Uuid>,
    body: Option<Json<Cancel>>,
) -> Result<Json<Subscription>, ApiError> {
    let at = match body.map(|Json(body)| body.at).unwrap_or_default() {
        End::PeriodEnd => CancelAt::PeriodEnd,
        End::Now => CancelAt::Now,
    };
    let line = state
        .services
        .members
        .cancel(&member.user, SubscriptionId(id), at)
        .await?;
    Ok(Json(Subscription::of(&line, state.clock.now())))
}

/// Withdraw a cancellation that is not in force yet: it renews again. Withdrawing it again changes nothing.
#[utoipa::path(post, path = "/v1/subscriptions/{id}/resume", tag = "subscriptions", security(("bearer" = [])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = Subscription)))]
async fn resume_subscription(
    State(state): State<AppState>,
    Member(member): Member,
    Path(id): Path<Uuid>,
) -> Result<Json<Subscription>, ApiError> {
    let line = state
        .services
        .members
        .resume(&member.user, SubscriptionId(id))
        .await?;
    Ok(Json(Subscription::of(&line, state.clock.now())))
}
