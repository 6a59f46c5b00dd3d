//! A member: what is hers, and who she is.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::subscriptions::Subscription;
use crate::domain::ids::UserId;
use crate::http::edge::errors::{DATABASE, STRIPE};
use crate::http::edge::extract::{Allowed, Json, Names, PATH, Path, RequestId, STAFF, See};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::services::operators::Operators;
use crate::services::operators::members::{Called, Look};

/// What is known of a member.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatorMember)]
struct Known {
    /// The `sub` of her tokens.
    user_id: String,
    /// What she holds and held, newest first; at most 200.
    subscriptions: Vec<Subscription>,
    /// Each customer at Stripe that she ever was.
    customers: Vec<KnownCustomer>,
}

/// A customer at Stripe.
#[derive(Debug, Serialize, ToSchema)]
struct KnownCustomer {
    /// ISO 4217, lower case: Stripe keeps a customer to one currency.
    #[schema(example = "eur")]
    currency: String,
    /// `cus_…`.
    stripe_customer_id: String,
}

/// Who a member is, as Stripe has it.
#[derive(Debug, Serialize, ToSchema)]
struct Revealed {
    /// One for each customer at Stripe, at most eight.
    customers: Vec<RevealedCustomer>,
}

/// What a customer at Stripe is called.
#[derive(Debug, Serialize, ToSchema)]
struct RevealedCustomer {
    /// `cus_…`.
    stripe_customer_id: String,
    /// ISO 4217, lower case.
    #[schema(example = "eur")]
    currency: String,
    /// As she wrote it; null where Stripe has none.
    name: Option<String>,
    /// As she wrote it; null where Stripe has none.
    email: Option<String>,
}

/// Answered from our own rows.
pub(super) fn looking() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(show).problems(&[STAFF, PATH, DATABASE]))
}

/// Answered by Stripe.
pub(super) fn revealing() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(reveal).problems(&[STAFF, PATH, DATABASE, STRIPE]))
}

/// What is known of a member, without her name.
#[utoipa::path(get, path = "/v1/operator/members/{user}", tag = "operators", security(("bearer" = [])),
    params(("user" = String, Path, description = "The `sub` of her tokens.")),
    responses((status = 200, body = Known)))]
async fn show(
    State(operators): State<Operators>,
    _: Allowed<See>,
    Path(user): Path<String>,
) -> Result<Json<Known>, ApiError> {
    let member = operators.member(&UserId::new(user.clone())).await?;
    let member = member.ok_or_else(ApiError::not_found)?;
    let customers = member.customers.into_iter();
    Ok(Json(Known {
        user_id: user,
        subscriptions: member.subscriptions.iter().map(Subscription::of).collect(),
        customers: customers
            .map(|(currency, stripe_customer_id)| KnownCustomer {
                currency,
                stripe_customer_id,
            })
            .collect(),
    }))
}

/// Who a member is. That it was looked at is recorded, once an hour for each who looks.
#[utoipa::path(post, path = "/v1/operator/members/{user}/reveal", tag = "operators", security(("bearer" = [])),
    params(("user" = String, Path, description = "The `sub` of her tokens.")),
    responses((status = 200, body = Revealed)))]
async fn reveal(
    State(operators): State<Operators>,
    allowed: Allowed<Names>,
    RequestId(request_id): RequestId,
    Path(user): Path<String>,
) -> Result<Json<Revealed>, ApiError> {
    let look = Look {
        staff: &allowed.0,
        request_id: &request_id,
    };
    let called = operators.reveal(&UserId::new(user), look).await?;
    let called = called.ok_or_else(ApiError::not_found)?;
    Ok(Json(Revealed {
        customers: called.into_iter().map(RevealedCustomer::of).collect(),
    }))
}

impl RevealedCustomer {
    fn of(called: Called) -> Self {
        Self {
            stripe_customer_id: called.customer,
            currency: called.currency,
            name: called.name,
            email: called.email,
        }
    }
}
