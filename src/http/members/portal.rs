//! Links to Stripe's customer portal.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::domain::ids::SubscriptionId;
use crate::http::edge::codes::Code;
use crate::http::edge::errors::{DATABASE, STRIPE};
use crate::http::edge::extract::{JSON, Json, MEMBER, Member};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::services::members::Members;
use crate::services::members::portal::{Portal, PortalFlow, PortalWish};

/// What is wanted of the portal.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPortalSessions {
    /// ISO 4217; by default a link for every currency in which the member has paid.
    #[schema(example = "eur")]
    currency: Option<String>,
    /// The language of Stripe's page; by default the browser's.
    #[schema(example = "de")]
    locale: Option<String>,
    /// One of the member's: then only the link for its currency.
    subscription: Option<Uuid>,
    /// The one thing to do there, after which Stripe leads back; by default everything.
    flow: Option<Flow>,
}

/// One thing to do in the portal.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Flow {
    /// Enter another card or account.
    PaymentMethodUpdate,
    /// Cancel the `subscription`.
    SubscriptionCancel,
}

/// Links for one browser, good for minutes: open one when the member clicks, and never keep it.
#[derive(Debug, Serialize, ToSchema)]
struct PortalSessions {
    /// In the order of the currencies.
    data: Vec<PortalSession>,
}

/// A link to the portal.
#[derive(Debug, Serialize, ToSchema)]
struct PortalSession {
    /// ISO 4217, lower case.
    #[schema(example = "eur")]
    currency: String,
    /// Stripe's page.
    url: String,
}

/// What may stand in the way; all but the last only with a `subscription`.
const OPENING: &[Code] = &[
    Code::NotFound,
    Code::NotCancellable,
    Code::AwaitingPayment,
    Code::PaymentProcessing,
    Code::AlreadyEnded,
    Code::Cancelled,
    Code::NoCustomer,
];

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(open_portal).problems(&[MEMBER, JSON, DATABASE, STRIPE, OPENING]))
}

/// Links to Stripe's customer portal, one for each currency: change the card, see invoices, cancel.
#[utoipa::path(post, path = "/v1/portal-sessions", tag = "portal", security(("bearer" = [])),
    request_body = Option<NewPortalSessions>,
    responses((status = 201, body = PortalSessions), (status = 404, description = "`subscription` is not the member's.")))]
async fn open_portal(
    State(members): State<Members>,
    Member(member): Member,
    body: Option<Json<NewPortalSessions>>,
) -> Result<(StatusCode, Json<PortalSessions>), ApiError> {
    let body = body.map(|Json(body)| body).unwrap_or_default();
    let wish = PortalWish {
        currency: body.currency.map(|currency| currency.to_ascii_lowercase()),
        locale: body.locale,
        subscription: body.subscription.map(SubscriptionId),
        flow: body.flow.map(|flow| match flow {
            Flow::PaymentMethodUpdate => PortalFlow::PaymentMethodUpdate,
            Flow::SubscriptionCancel => PortalFlow::SubscriptionCancel,
        }),
    };
    let portals = members.open_portals(&member.user, &wish).await?;
    let entry = |Portal { currency, url }| PortalSession { currency, url };
    let data = portals.into_iter().map(entry).collect();
    Ok((StatusCode::CREATED, Json(PortalSessions { data })))
}
