//! What is still to be paid, and why it was not paid by itself.

use axum::extract::State;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::domain::ids::SubscriptionId;
use crate::http::edge::errors::{DATABASE, STRIPE};
use crate::http::edge::extract::{Json, MEMBER, Member, PATH, Path};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::services::members::Members;
use crate::services::members::open_invoices::Unpaid;

/// What is still to be paid of a subscription.
#[derive(Debug, Serialize, ToSchema)]
struct OpenInvoices {
    /// Newest first.
    data: Vec<OpenInvoice>,
}

/// An invoice that waits for its payment.
#[derive(Debug, Serialize, ToSchema)]
struct OpenInvoice {
    /// In the currency's minor units.
    #[schema(example = 3000)]
    amount_due: i64,
    /// ISO 4217, lower case.
    #[schema(example = "eur")]
    currency: String,
    /// `due`, or `on_its_way` while a payment is under way that takes days, as a debit does.
    #[schema(example = "due")]
    status: &'static str,
    /// Stripe's page, where it can be paid with any card: for the member alone. Null while a payment is on its way.
    pay_url: Option<String>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339::option")]
    created_at: Option<OffsetDateTime>,
    /// When Stripe tries by itself again; null when it does not.
    #[serde(with = "time::serde::rfc3339::option")]
    next_attempt_at: Option<OffsetDateTime>,
    /// Why it was not paid; null while nobody has tried, or a payment is on its way.
    cause: Option<Cause>,
}

/// Why a payment failed.
#[derive(Debug, Serialize, ToSchema)]
struct Cause {
    /// Stable, for programs.
    #[schema(example = "insufficient_funds")]
    code: &'static str,
    /// A sentence for the member that says why.
    message: &'static str,
    /// A sentence for the member that says what to do.
    advice: &'static str,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_open_invoices).problems(&[MEMBER, PATH, DATABASE, STRIPE]))
}

/// What is still to be paid: where, and why it was not paid by itself. Empty for what was bought once, and for
/// what has ended.
#[utoipa::path(get, path = "/v1/subscriptions/{id}/open-invoices", tag = "subscriptions", security(("bearer" = [])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = OpenInvoices)))]
async fn list_open_invoices(
    State(members): State<Members>,
    Member(member): Member,
    Path(id): Path<Uuid>,
) -> Result<Json<OpenInvoices>, ApiError> {
    let unpaid = members
        .open_invoices(&member.user, SubscriptionId(id))
        .await?;
    let data = unpaid.into_iter().map(OpenInvoice::from).collect();
    Ok(Json(OpenInvoices { data }))
}

impl From<Unpaid> for OpenInvoice {
    fn from(unpaid: Unpaid) -> Self {
        let Unpaid {
            amount_due,
            currency,
            pay_url,
            on_its_way,
            created_at,
            next_attempt_at,
            decline,
        } = unpaid;
        Self {
            amount_due,
            currency,
            status: if on_its_way { "on_its_way" } else { "due" },
            pay_url,
            created_at,
            next_attempt_at,
            cause: decline.map(|decline| Cause {
                code: decline.code,
                message: decline.message,
                advice: decline.advice,
            }),
        }
    }
}
