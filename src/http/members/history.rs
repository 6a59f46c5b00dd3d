//! What happened to a subscription: its money, and its changes of status, plan and quantity.

use axum::extract::State;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::domain::ids::SubscriptionId;
use crate::domain::records::{ChangeRecord, TransactionRecord};
use crate::http::edge::errors::DATABASE;
use crate::http::edge::extract::{Json, MEMBER, Member, PATH, Path, QUERY, Query};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::page::{Page, PageQuery, limit, page, parsed};
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::services::members::Members;

/// A reference to a payment or a failed payment.
#[derive(Debug, Serialize, ToSchema)]
struct Transaction {
    /// Ours.
    id: Uuid,
    /// `payment`, `payment_failed`, `refund` or `dispute`.
    kind: String,
    /// Of a refund `pending`, `succeeded`, `failed`; of a dispute `open`, `won`, `lost`; else null.
    state: Option<String>,
    /// At Stripe, where the amount is.
    #[schema(example = "in_1Abc")]
    stripe_reference: String,
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    occurred_at: OffsetDateTime,
}

/// One change of status, of plan or of quantity; at one of the other two the status stays.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatusChange)]
struct Change {
    /// The status before; null for the first.
    from: Option<String>,
    /// The status from then on.
    to: String,
    /// What happened: the reason of the new status, `cancel_withdrawn`, `plan_changed` or `quantity_changed`.
    #[schema(example = "plan_changed")]
    reason: String,
    /// By which way we learnt of it.
    #[schema(example = "webhook")]
    cause: String,
    /// The plan before; null unless the plan changed.
    from_plan: Option<String>,
    /// The plan from then on; null unless the plan changed.
    to_plan: Option<String>,
    /// How many before; null unless the quantity changed.
    from_quantity: Option<i32>,
    /// How many from then on; null unless the quantity changed.
    to_quantity: Option<i32>,
    /// When it was recorded.
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_transactions).problems(&[MEMBER, PATH, QUERY, DATABASE]))
        .routes(routes!(list_changes).problems(&[MEMBER, PATH, QUERY, DATABASE]))
}

/// Payments and failed payments of a subscription, newest first; the amounts are at Stripe.
#[utoipa::path(get, path = "/v1/subscriptions/{id}/transactions", tag = "subscriptions", security(("bearer" = [])),
    params(("id" = Uuid, Path), PageQuery),
    responses((status = 200, body = Page<Transaction>)))]
async fn list_transactions(
    State(members): State<Members>,
    Member(member): Member,
    Path(id): Path<Uuid>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Transaction>>, ApiError> {
    let (id, limit) = (SubscriptionId(id), limit(query.limit)?);
    let before = parsed("cursor", query.cursor.as_deref(), |text| text.parse().ok())?;
    let rows = members
        .transactions(&member.user, id, before, limit + 1)
        .await?;
    let rows = rows.ok_or_else(ApiError::not_found)?;
    let entry = |row: TransactionRecord| Transaction {
        id: row.id.0,
        kind: row.kind,
        state: row.state,
        stripe_reference: row.stripe_reference,
        occurred_at: row.occurred_at,
    };
    Ok(Json(page(rows, limit, |row| row.id.to_string(), entry)))
}

/// The history of a subscription, newest first.
#[utoipa::path(get, path = "/v1/subscriptions/{id}/changes", tag = "subscriptions", security(("bearer" = [])),
    params(("id" = Uuid, Path), PageQuery),
    responses((status = 200, body = Page<Change>)))]
async fn list_changes(
    State(members): State<Members>,
    Member(member): Member,
    Path(id): Path<Uuid>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Change>>, ApiError> {
    let (id, limit) = (SubscriptionId(id), limit(query.limit)?);
    let before = parsed("cursor", query.cursor.as_deref(), |text| text.parse().ok())?;
    let rows = members
        .status_changes(&member.user, id, before, limit + 1)
        .await?;
    let rows = rows.ok_or_else(ApiError::not_found)?;
    let entry = |row: ChangeRecord| Change {
        from: row.from_status,
        to: row.to_status,
        reason: row.reason,
        cause: row.cause,
        from_plan: row.from_plan,
        to_plan: row.to_plan,
        from_quantity: row.from_quantity,
        to_quantity: row.to_quantity,
        at: row.at,
    };
    Ok(Json(page(rows, limit, |row| row.seq.to_string(), entry)))
}
