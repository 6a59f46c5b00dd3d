//! The catalogue.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::errors::stripe_problem;
use super::extract::Json;
use super::problem::{ApiError, Problem};
use super::state::AppState;
use crate::services::Services;
use crate::services::catalogue::{CatalogueError, Offer};

/// The catalogue with live prices.
#[derive(Debug, Serialize, ToSchema)]
struct Plans {
    /// In the plans file's order.
    data: Vec<Plan>,
}

/// What a member can buy.
#[derive(Debug, Serialize, ToSchema)]
struct Plan {
    /// To be sent in an order.
    #[schema(example = "membership-annual")]
    code: String,
    /// `membership`, `top_up`, `share` or `donation`.
    #[schema(example = "membership")]
    kind: &'static str,
    /// What members read.
    name: String,
    /// What members read.
    description: Option<String>,
    /// What one costs.
    price: Price,
    /// How many one line may order.
    quantity: Quantity,
    /// Whether a member can hold only one that has not ended.
    single: bool,
    /// How long a one-off purchase lasts (ISO 8601); null for ever, or while it renews.
    #[schema(example = "P1Y")]
    term: Option<String>,
    /// The bounds within which the buyer chooses, in minor units; null when the price is fixed.
    amount: Option<Bounds>,
}

/// What one costs.
#[derive(Debug, Serialize, ToSchema)]
struct Price {
    /// ISO 4217, lower case.
    #[schema(example = "eur")]
    currency: String,
    /// In the currency's minor units; null when the buyer chooses.
    #[schema(example = 3000)]
    unit_amount: Option<i64>,
    /// How often it is charged again; null for a one-off.
    recurring: Option<Recurring>,
    /// The same price in other currencies.
    other_currencies: Vec<OtherPrice>,
}

/// How often a plan renews.
#[derive(Debug, Serialize, ToSchema)]
struct Recurring {
    /// `day`, `week`, `month` or `year`.
    #[schema(example = "year")]
    interval: String,
    /// Every how many of these.
    interval_count: u64,
}

/// A price in another currency.
#[derive(Debug, Serialize, ToSchema)]
struct OtherPrice {
    /// ISO 4217, lower case.
    currency: String,
    /// In the currency's minor units.
    unit_amount: i64,
}

/// The bounds of an amount, in minor units.
#[derive(Debug, Serialize, ToSchema)]
struct Bounds {
    /// The least.
    min: i64,
    /// The most.
    max: i64,
    /// What a page may suggest.
    presets: Vec<i64>,
}

/// How many one line may order.
#[derive(Debug, Serialize, ToSchema)]
struct Quantity {
    /// The least; also what a line orders that doesn't say how many.
    min: u32,
    /// The most.
    max: u32,
    /// Only every so manieth from the least on.
    step: u32,
    /// Whether the buyer may still change it on Stripe's page.
    adjustable: bool,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_plans))
}

/// What can be bought, with live prices.
#[utoipa::path(get, path = "/v1/plans", tag = "plans", responses(
    (status = 200, body = Plans),
    (status = 502, body = Problem, content_type = "application/problem+json"),
))]
async fn list_plans(State(services): State<Services>) -> Result<Json<Plans>, ApiError> {
    let offers = services.offers().await?;
    Ok(Json(Plans {
        data: offers.iter().map(Plan::from).collect(),
    }))
}

impl From<&Offer> for Plan {
    fn from(offer: &Offer) -> Self {
        let others = offer.other_currencies.iter();
        Self {
            code: offer.plan.code.clone(),
            kind: offer.plan.kind.as_str(),
            name: offer.name.clone(),
            description: offer.description.clone(),
            price: Price {
                currency: offer.currency.clone(),
                unit_amount: offer.unit_amount,
                recurring: offer.recurring.as_ref().map(|interval| Recurring {
                    interval: interval.unit.clone(),
                    interval_count: interval.count,
                }),
                other_currencies: others
                    .map(|(currency, amount)| OtherPrice {
                        currency: currency.clone(),
                        unit_amount: *amount,
                    })
                    .collect(),
            },
            quantity: Quantity {
                min: offer.plan.quantity.min,
                max: offer.plan.quantity.max,
                step: offer.plan.quantity.step,
                adjustable: offer.plan.quantity.adjustable,
            },
            single: offer.plan.is_single(),
            term: offer.plan.term.map(|term| term.to_string()),
            amount: offer.plan.amount.as_ref().map(|amount| Bounds {
                min: amount.min,
                max: amount.max,
                presets: amount.presets.clone(),
            }),
        }
    }
}

impl From<CatalogueError> for ApiError {
    fn from(error: CatalogueError) -> Self {
        match error {
            CatalogueError::Stripe(error) => stripe_problem(error),
            wrong => Self::unavailable("plans_unavailable", "The plans can't be sold just now")
                .source(wrong),
        }
    }
}
