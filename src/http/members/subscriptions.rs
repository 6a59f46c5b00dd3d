//! Buying, and looking at what was bought.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::domain::ids::SubscriptionId;
use crate::domain::invalid::Invalid;
use crate::domain::plan::Kind;
use crate::domain::records::Filter;
use crate::domain::subscription::{self, Status};
use crate::http::edge::codes::Code;
use crate::http::edge::errors::{DATABASE, SALE, STRIPE};
use crate::http::edge::extract::{
    IdempotencyKey, JSON, Json, KEY, MEMBER, Member, PATH, Path, QUERY, Query,
};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::page::{Page, limit, page, parsed};
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::services::members::order::{Back, Order, OrderLine};
use crate::services::members::subscribe::{Buyer, Opened, SubscribeError};

/// What to buy: a plan, or a basket of lines.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSubscriptions {
    /// The code of one plan; instead of `lines`.
    #[schema(example = "membership-annual")]
    plan: Option<String>,
    /// 1 to 10 lines that are paid together; instead of `plan`.
    lines: Option<Vec<NewLine>>,
    /// ISO 4217; by default the one that the member paid in before, else the plans' own. Wanted with a chosen amount
    /// where these differ.
    #[schema(example = "eur")]
    currency: Option<String>,
    /// The language of Stripe's page; by default the browser's.
    #[schema(example = "de")]
    locale: Option<String>,
}

/// A line of a basket.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewLine {
    /// A plan's code.
    plan: String,
    /// How many; by default the plan's least.
    quantity: Option<u32>,
    /// In minor units, where the plan lets the buyer choose.
    amount: Option<i64>,
}

/// An opened checkout.
#[derive(Debug, Serialize, ToSchema)]
struct OpenedCheckout {
    /// Where to send the browser.
    checkout: Checkout,
    /// What will be hers once it is paid.
    subscriptions: Vec<Subscription>,
}

/// A hosted checkout.
#[derive(Debug, Serialize, ToSchema)]
struct Checkout {
    /// Ours.
    id: Uuid,
    /// Stripe's page; null when it is no longer open.
    url: Option<String>,
    /// When Stripe closes the page.
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

/// One line that a member bought.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Subscription {
    /// Ours.
    id: Uuid,
    /// The plan's code.
    plan: String,
    /// `membership`, `top_up`, `share` or `donation`.
    kind: &'static str,
    /// How many.
    quantity: i32,
    /// `PENDING_ACTIVATION`, `PENDING_COMPLETION`, `ACTIVE`, `ON_HOLD`, `CANCELLED` or `ENDED`.
    #[schema(example = "ACTIVE")]
    status: &'static str,
    /// Why it has that status.
    #[schema(example = "paid")]
    status_reason: &'static str,
    /// Whether the member may use it now.
    entitled: bool,
    /// The end of the newest period that was paid.
    #[serde(with = "time::serde::rfc3339::option")]
    paid_until: Option<OffsetDateTime>,
    /// The end of the period that Stripe bills, paid or not; it renews then unless it was cancelled.
    #[serde(with = "time::serde::rfc3339::option")]
    current_period_end: Option<OffsetDateTime>,
    /// When it will end, if it was cancelled.
    #[serde(with = "time::serde::rfc3339::option")]
    cancel_at: Option<OffsetDateTime>,
    /// When a one-off purchase with a fixed term is over.
    #[serde(with = "time::serde::rfc3339::option")]
    term_ends_at: Option<OffsetDateTime>,
    /// The first payment.
    #[serde(with = "time::serde::rfc3339::option")]
    activated_at: Option<OffsetDateTime>,
    /// When Stripe ended it.
    #[serde(with = "time::serde::rfc3339::option")]
    ended_at: Option<OffsetDateTime>,
    /// When the member asked.
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

/// Which subscriptions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only of that kind.
    #[param(value_type = Option<String>)]
    kind: Option<Kind>,
    /// Only with that status.
    status: Option<String>,
    /// 1 to 100; by default 20.
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What may keep a member from buying.
const BUYING: &[Code] = &[
    Code::IdempotencyKeyReused,
    Code::InProgress,
    Code::AlreadyHeld,
    Code::RequirementUnmet,
    Code::CurrencyLocked,
    Code::TooManyOpenCheckouts,
];

pub(super) fn buying() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create).problems(&[MEMBER, KEY, JSON, DATABASE, STRIPE, SALE, BUYING]))
}

pub(super) fn looking() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list).problems(&[MEMBER, QUERY, DATABASE]))
        .routes(routes!(show).problems(&[MEMBER, PATH, DATABASE]))
}

/// Buy: the answer's `checkout.url` is where to send the browser. The same basket again while its page is open is the
/// same page, on whichever device.
#[utoipa::path(post, path = "/v1/subscriptions", tag = "subscriptions", security(("bearer" = [])),
    request_body = NewSubscriptions,
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key and body again: the same checkout.")),
    responses((status = 201, body = OpenedCheckout)))]
async fn create(
    State(state): State<AppState>,
    Member(member): Member,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<NewSubscriptions>,
) -> Result<(StatusCode, Json<OpenedCheckout>), ApiError> {
    let short = body.plan.is_some();
    let order = order(body)?;
    let buyer = Buyer {
        user: member.user,
        email: member.email,
    };
    let opened = state
        .services
        .members
        .subscribe(&buyer, &order, key.as_deref())
        .await;
    let opened = opened.map_err(|error| if short { as_written(error) } else { error })?;
    Ok((
        StatusCode::CREATED,
        Json(OpenedCheckout::of(opened, state.clock.now())),
    ))
}

/// What the member bought, newest first.
#[utoipa::path(get, path = "/v1/subscriptions", tag = "subscriptions", security(("bearer" = [])), params(ListQuery),
    responses((status = 200, body = Page<Subscription>)))]
async fn list(
    State(state): State<AppState>,
    Member(member): Member,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Subscription>>, ApiError> {
    let status = parsed("status", query.status.as_deref(), Status::parse)?;
    let before = parsed("cursor", query.cursor.as_deref(), |text| text.parse().ok())?;
    let limit = limit(query.limit)?;
    let filter = Filter {
        kind: query.kind,
        status,
        before,
        limit: limit + 1,
    };
    let lines = state
        .services
        .members
        .subscriptions(&member.user, &filter)
        .await?;
    let now = state.clock.now();
    Ok(Json(page(
        lines,
        limit,
        |line| line.id.to_string(),
        |line| Subscription::of(&line, now),
    )))
}

/// One of the member's subscriptions.
#[utoipa::path(get, path = "/v1/subscriptions/{id}", tag = "subscriptions", security(("bearer" = [])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = Subscription)))]
async fn show(
    State(state): State<AppState>,
    Member(member): Member,
    Path(id): Path<Uuid>,
) -> Result<Json<Subscription>, ApiError> {
    let line = state
        .services
        .members
        .subscription(&member.user, SubscriptionId(id))
        .await?;
    let line = line.ok_or_else(ApiError::not_found)?;
    Ok(Json(Subscription::of(&line, state.clock.now())))
}

/// The order that a body stands for.
fn order(body: NewSubscriptions) -> Result<Order, ApiError> {
    let NewSubscriptions {
        plan,
        lines,
        currency,
        locale,
    } = body;
    let lines = match (plan, lines) {
        (Some(plan), None) => vec![OrderLine {
            plan,
            quantity: None,
            amount: None,
        }],
        (None, Some(lines)) => {
            let line = |line: NewLine| OrderLine {
                plan: line.plan,
                quantity: line.quantity,
                amount: line.amount,
            };
            lines.into_iter().map(line).collect()
        }
        (None, None) => {
            let problem = ApiError::validation_failed();
            return Err(problem.field("plan", "required", "Give a plan, or lines."));
        }
        (Some(_), Some(_)) => {
            let problem = ApiError::validation_failed();
            return Err(problem.field(
                "lines",
                "conflict",
                "Give either a plan or lines, not both.",
            ));
        }
    };
    // Before it is hashed: the same order in capitals is the same order.
    let currency = currency.map(|currency| currency.to_ascii_lowercase());
    Ok(Order {
        lines,
        currency,
        locale,
        back: Back::Own,
    })
}

/// A body of one plan has no `lines`: its fields are named as the client wrote them.
fn as_written(error: SubscribeError) -> SubscribeError {
    let without_lines = |mut invalid: Vec<Invalid>| {
        for wrong in &mut invalid {
            wrong.field = wrong.field.replacen("lines[0].", "", 1);
        }
        invalid
    };
    match error {
        SubscribeError::Invalid(wrong) => SubscribeError::Invalid(without_lines(wrong)),
        SubscribeError::Unavailable(plans) => SubscribeError::Unavailable(without_lines(plans)),
        other => other,
    }
}

impl OpenedCheckout {
    fn of(opened: Opened, now: OffsetDateTime) -> Self {
        let Opened { basket, url } = opened;
        Self {
            checkout: Checkout {
                id: basket.checkout.id.0,
                url,
                expires_at: basket.checkout.expires_at,
            },
            subscriptions: basket
                .lines
                .iter()
                .map(|line| Subscription::of(line, now))
                .collect(),
        }
    }
}

impl Subscription {
    /// As its member sees it at `now`.
    pub(super) fn of(line: &subscription::Subscription, now: OffsetDateTime) -> Self {
        Self {
            id: line.id.0,
            plan: line.plan.clone(),
            kind: line.kind.as_str(),
            quantity: line.quantity,
            status: line.status.as_str(),
            status_reason: line.reason.as_str(),
            entitled: line.entitled(now),
            paid_until: line.paid_until(),
            current_period_end: line.current_period_end(),
            cancel_at: line.stripe.and_then(|held| {
                let with_period = held
                    .current_period_end
                    .filter(|_| held.cancel_at_period_end);
                held.cancel_at.or(with_period)
            }),
            term_ends_at: line.term_ends_at,
            activated_at: line.first_paid_at,
            ended_at: line.ended_at,
            created_at: line.created_at,
        }
    }
}
