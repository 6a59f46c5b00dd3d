//! What operators see first.

use axum::extract::State;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::edge::errors::DATABASE;
use crate::http::edge::extract::{Allowed, Json, STAFF, See};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::services::operators::Operators;
use crate::services::operators::today::{Counted, ENDING_DAYS};

/// What is wrong, and how many are in force.
#[derive(Debug, Serialize, ToSchema)]
struct Today {
    /// When it was counted: about a minute ago, unless nobody counts.
    #[serde(with = "time::serde::rfc3339")]
    counted_at: OffsetDateTime,
    /// When the last whole comparison with Stripe came to its end; null before the first.
    #[serde(with = "time::serde::rfc3339::option")]
    compared_at: Option<OffsetDateTime>,
    /// When the newest event came; null before the first.
    #[serde(with = "time::serde::rfc3339::option")]
    last_webhook_at: Option<OffsetDateTime>,
    /// What should be nothing.
    wrong: Wrong,
    /// How many are in force now, by plan: `ACTIVE` or `CANCELLED`.
    in_force: Vec<InForce>,
    /// How many were in force at the end of each of the last 366 days (UTC).
    history: History,
    /// What ends soon.
    ending: Ending,
    /// What is on hold, by reason.
    on_hold: Vec<OnHold>,
}

/// What should be nothing.
#[derive(Debug, Serialize, ToSchema)]
struct Wrong {
    /// Events that were given up.
    failed: i64,
    /// Events that a person should look at.
    flagged: i64,
    /// Events that have waited for more than 15 minutes.
    deferred_too_long: i64,
    /// Members whose changes a follower refuses.
    parked: i64,
    /// Acts of operators of which nobody knows whether they took effect.
    actions_unknown: i64,
    /// Paid at Stripe and not in force here, as of the last comparison; null before the first.
    paid_not_here: Option<i64>,
    /// In force here and not paid at Stripe, as of the last comparison; null before the first.
    here_not_paid: Option<i64>,
}

/// How many are in force of a plan.
#[derive(Debug, Serialize, ToSchema)]
struct InForce {
    /// The plan's code.
    plan: String,
    /// `membership`, `top_up`, `share` or `donation`.
    kind: String,
    /// How many subscriptions.
    count: i64,
}

/// How many were in force on each day.
#[derive(Debug, Serialize, ToSchema)]
struct History {
    /// Oldest first (`YYYY-MM-DD`); the last one is the day of `counted_at`.
    days: Vec<String>,
    /// By plan.
    plans: Vec<PlanHistory>,
}

/// How many of a plan were in force on each day.
#[derive(Debug, Serialize, ToSchema)]
struct PlanHistory {
    /// The plan's code.
    plan: String,
    /// One for each of `days`.
    counts: Vec<i64>,
}

/// What ends soon.
#[derive(Debug, Serialize, ToSchema)]
struct Ending {
    /// Within so many days.
    days: i64,
    /// How many subscriptions.
    count: i64,
}

/// How many are on hold for a reason.
#[derive(Debug, Serialize, ToSchema)]
struct OnHold {
    /// Why.
    #[schema(example = "unpaid")]
    reason: String,
    /// How many subscriptions.
    count: i64,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(show).problems(&[STAFF, DATABASE]))
}

/// What is wrong and what is in force, as counted once a minute.
#[utoipa::path(get, path = "/v1/operator/today", tag = "operators", security(("bearer" = [])),
    responses((status = 200, body = Today)))]
async fn show(
    State(operators): State<Operators>,
    _: Allowed<See>,
) -> Result<Json<Today>, ApiError> {
    Ok(Json(Today::of(operators.today().await?)))
}

impl Today {
    fn of(Counted(today): Counted) -> Self {
        let in_force = today.in_force.into_iter().map(|one| InForce {
            plan: one.plan,
            kind: one.kind,
            count: one.count,
        });
        let on_hold = today.on_hold.into_iter().map(|one| OnHold {
            reason: one.reason,
            count: one.count,
        });
        let plans = today.history.plans.into_iter().map(|one| PlanHistory {
            plan: one.plan,
            counts: one.counts,
        });
        Self {
            counted_at: today.counted_at,
            compared_at: today.compared_at,
            last_webhook_at: today.last_webhook_at,
            wrong: Wrong {
                failed: today.failed,
                flagged: today.flagged,
                deferred_too_long: today.deferred_too_long,
                parked: today.parked,
                actions_unknown: today.actions_unknown,
                paid_not_here: today.paid_not_here,
                here_not_paid: today.here_not_paid,
            },
            in_force: in_force.collect(),
            history: History {
                plans: plans.collect(),
                days: today.history.days,
            },
            ending: Ending {
                days: ENDING_DAYS,
                count: today.ending,
            },
            on_hold: on_hold.collect(),
        }
    }
}
