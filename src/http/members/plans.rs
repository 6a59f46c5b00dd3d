//! The catalogue.

use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::catalogue::Offer;
use crate::domain::plan::Kind;
use crate::http::edge::errors::STRIPE;
use crate::http::edge::extract::{Json, QUERY, Query};
use crate::http::edge::money::Language;
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::purchases::Error;

/// The catalogue with live prices.
#[derive(Debug, Serialize, ToSchema)]
struct Plans {
    /// In the plans file's order; hidden plans are left out.
    data: Vec<Plan>,
    /// When the prices were read from Stripe.
    #[serde(with = "time::serde::rfc3339")]
    as_of: OffsetDateTime,
    /// Whether they should be read again, but Stripe can't be asked just now.
    stale: bool,
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
    /// Days before the first payment, for who never had it before; null for none.
    trial_days: Option<u32>,
    /// The kind of which the member must hold something, or buy it in the same basket; null for none.
    requires: Option<&'static str>,
    /// Whether Stripe's page takes promotion codes for it.
    promotion_codes: bool,
    /// Plans of one group replace each other: a member changes between them. Null when it stands alone.
    upgrade_group: Option<String>,
    /// Whether the member may end it at once rather than with its period.
    cancel_now: bool,
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
    /// The same as people read it, in the language that was asked for.
    #[schema(example = "30,00 €")]
    formatted: Option<String>,
    /// `inclusive`, `exclusive` or `unspecified`: whether the amount contains its tax.
    tax_behavior: Option<String>,
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
    /// In the currency's minor units; null when the buyer chooses.
    unit_amount: Option<i64>,
    /// The same as people read it.
    formatted: Option<String>,
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

/// How to show the catalogue.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct PlansQuery {
    /// The language of the formatted amounts; by default the browser's.
    #[param(example = "de")]
    locale: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_plans).problems(&[QUERY, STRIPE]))
}

/// What can be bought, with live prices; without a call to Stripe once they are known.
#[utoipa::path(get, path = "/v1/plans", tag = "plans", params(PlansQuery), responses((status = 200, body = Plans)))]
async fn list_plans(
    State(app): State<AppState>,
    headers: HeaderMap,
    Query(query): Query<PlansQuery>,
) -> Result<Json<Plans>, ApiError> {
    let language = Language::of(query.locale.as_deref(), &headers)?;
    let (offers, age, is_stale) = app
        .services
        .catalogue
        .priced_offers()
        .await
        .map_err(Error::from)?;
    let listed = offers.iter().filter(|offer| !offer.plan.hidden);
    Ok(Json(Plans {
        data: listed.map(|offer| Plan::of(offer, &language)).collect(),
        as_of: app.clock.now() - age,
        stale: is_stale,
    }))
}

impl Plan {
    fn of(offer: &Offer, language: &Language) -> Self {
        let plan = &offer.plan;
        let formatted = |amount: Option<i64>, currency: &str| {
            amount.map(|amount| language.amount(amount, currency))
        };
        let others = offer.other_currencies.iter();
        Self {
            code: plan.code.clone(),
            kind: plan.kind.as_str(),
            name: offer.name.clone(),
            description: offer.description.clone(),
            price: Price {
                currency: offer.currency.clone(),
                unit_amount: offer.unit_amount,
                formatted: formatted(offer.unit_amount, &offer.currency),
                tax_behavior: offer.tax_behavior.clone(),
                recurring: offer.recurring.as_ref().map(|interval| Recurring {
                    interval: interval.unit.clone(),
                    interval_count: interval.count,
                }),
                other_currencies: others
                    .map(|(currency, amount)| OtherPrice {
                        currency: currency.clone(),
                        unit_amount: *amount,
                        formatted: formatted(*amount, currency),
                    })
                    .collect(),
            },
            quantity: Quantity {
                min: plan.quantity.min,
                max: plan.quantity.max,
                step: plan.quantity.step,
                adjustable: plan.quantity.adjustable,
            },
            single: plan.is_single(),
            term: plan.term.map(|term| term.to_string()),
            trial_days: plan.trial_days,
            requires: plan.requires.map(Kind::as_str),
            promotion_codes: plan.promotion_codes,
            upgrade_group: plan.upgrade_group.clone(),
            cancel_now: plan.cancel_now,
            amount: plan.amount.as_ref().map(|amount| Bounds {
                min: amount.min,
                max: amount.max,
                presets: amount.presets.clone(),
            }),
        }
    }
}
