//! Another plan, another quantity, and what that would cost.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::subscriptions::Subscription;
use crate::domain::ids::SubscriptionId;
use crate::http::edge::codes::Code;
use crate::http::edge::errors::{DATABASE, SALE, STRIPE};
use crate::http::edge::extract::{JSON, Json, MEMBER, Member, PATH, Path};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::purchases::change::{self, ChangeWish};
use crate::services::members::Members;

/// What is to change: a plan, a quantity, or both.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChangeWish)]
struct Change {
    /// The code of a plan of the same upgrade group; by default the plan stays.
    #[schema(example = "membership-monthly")]
    plan: Option<String>,
    /// How many; by default the quantity stays.
    quantity: Option<u32>,
    /// `proration_date` of a preview of the last hour: then it costs what the preview said.
    #[serde(default, with = "time::serde::rfc3339::option")]
    proration_date: Option<OffsetDateTime>,
}

/// What a change would cost.
#[derive(Debug, Serialize, ToSchema)]
struct ChangePreview {
    /// ISO 4217, lower case.
    #[schema(example = "eur")]
    currency: String,
    /// In the currency's minor units: what is charged at once if the change is made. A credit that is larger than
    /// what is due goes to the next invoices.
    #[schema(example = 2700)]
    due_now: i64,
    /// The invoice that the change brings about at once, or else the next one, as the organisation set it up.
    lines: Vec<ChangeLine>,
    /// When it renews after that.
    #[serde(with = "time::serde::rfc3339::option")]
    next_period_end: Option<OffsetDateTime>,
    /// To be sent with the change.
    #[serde(with = "time::serde::rfc3339")]
    proration_date: OffsetDateTime,
}

/// A line of that invoice.
#[derive(Debug, Serialize, ToSchema)]
struct ChangeLine {
    /// As it will stand on the invoice.
    description: Option<String>,
    /// In the currency's minor units; negative for a credit.
    #[schema(example = -250)]
    amount: i64,
    /// Whether it is for a part of a period.
    proration: bool,
    /// What it is for.
    #[serde(with = "time::serde::rfc3339::option")]
    period_start: Option<OffsetDateTime>,
    /// What it is for.
    #[serde(with = "time::serde::rfc3339::option")]
    period_end: Option<OffsetDateTime>,
}

/// What may stand in the way of a change.
const CHANGING: &[Code] = &[
    Code::NotChangeable,
    Code::AwaitingPayment,
    Code::PaymentProcessing,
    Code::AlreadyEnded,
    Code::OnHold,
    Code::ManagedBySchedule,
    Code::Cancelled,
    Code::PaymentRetrying,
    Code::RequirementUnmet,
    Code::InProgress,
];

/// What may be wrong with the wish itself.
const WRONG_FIELDS: &str = "`plan`: `required`, `unknown_plan`, `other_upgrade_group`, `same_price`, \
    `unavailable_currency`; `quantity`: `not_allowed`, `out_of_range`; `proration_date`: `out_of_range`.";

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(
            routes!(change_subscription)
                .problems(&[MEMBER, PATH, JSON, DATABASE, STRIPE, SALE, CHANGING])
                .problems(&[&[Code::PaymentFailed]]),
        )
        .routes(
            routes!(preview_change)
                .problems(&[MEMBER, PATH, JSON, DATABASE, STRIPE, SALE, CHANGING]),
        )
}

/// Change plan or quantity in the middle of a period. What is due at once must be paid, else nothing changes. The
/// same change again changes nothing. The answer is the subscription as Stripe has it then.
#[utoipa::path(post, path = "/v1/subscriptions/{id}/change", tag = "subscriptions", security(("bearer" = [])),
    params(("id" = Uuid, Path)), request_body = Change,
    responses((status = 200, body = Subscription), (status = 422, description = WRONG_FIELDS)))]
async fn change_subscription(
    State(state): State<AppState>,
    Member(member): Member,
    Path(id): Path<Uuid>,
    Json(body): Json<Change>,
) -> Result<Json<Subscription>, ApiError> {
    let line = state
        .services
        .members
        .change(&member.user, SubscriptionId(id), &body.into())
        .await?;
    Ok(Json(Subscription::of(&line, state.clock.now())))
}

/// What a change of plan or quantity would cost, without making it.
#[utoipa::path(post, path = "/v1/subscriptions/{id}/change/preview", tag = "subscriptions", security(("bearer" = [])),
    params(("id" = Uuid, Path)), request_body = Change,
    responses((status = 200, body = ChangePreview), (status = 422, description = WRONG_FIELDS)))]
async fn preview_change(
    State(members): State<Members>,
    Member(member): Member,
    Path(id): Path<Uuid>,
    Json(body): Json<Change>,
) -> Result<Json<ChangePreview>, ApiError> {
    let preview = members
        .preview_change(&member.user, SubscriptionId(id), &body.into())
        .await?;
    Ok(Json(preview.into()))
}

impl From<Change> for ChangeWish {
    fn from(body: Change) -> Self {
        Self {
            plan: body.plan,
            quantity: body.quantity,
            proration_date: body.proration_date,
        }
    }
}

impl From<change::ChangePreview> for ChangePreview {
    fn from(preview: change::ChangePreview) -> Self {
        let line = |line: change::ChangeLine| ChangeLine {
            description: line.description,
            amount: line.amount,
            proration: line.proration,
            period_start: line.period.map(|(start, _)| start),
            period_end: line.period.map(|(_, end)| end),
        };
        Self {
            currency: preview.currency,
            due_now: preview.due_now,
            lines: preview.lines.into_iter().map(line).collect(),
            next_period_end: preview.next_period_end,
            proration_date: preview.proration_date,
        }
    }
}
