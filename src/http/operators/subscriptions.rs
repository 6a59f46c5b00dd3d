//! Subscriptions of everybody, as those read them who look after members.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::filters::{moment, short, time_and_id, written};
use crate::domain::ids::{SubscriptionId, UserId};
use crate::domain::listing::{Order, Place, Wanted};
use crate::domain::plan::Kind;
use crate::domain::subscription::{Reason, Status};
use crate::http::edge::errors::DATABASE;
use crate::http::edge::extract::{Allowed, Json, PATH, Path, QUERY, Query, STAFF, See};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::page::{Page, limit, page, parsed};
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::services::operators::Operators;
use crate::services::operators::describe::{self, Described};

/// A subscription of anybody, with what is to be said of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatorSubscription)]
pub(super) struct Subscription {
    /// Ours.
    id: Uuid,
    /// The member whose it is.
    user_id: String,
    /// The checkout in which it was bought.
    checkout_id: Uuid,
    /// The plan's code.
    plan: String,
    /// `membership`, `top_up`, `share` or `donation`.
    kind: &'static str,
    /// How many.
    quantity: i32,
    /// Whether it renews.
    recurring: bool,
    /// Who settles it: `stripe`.
    provider: String,
    /// `PENDING_ACTIVATION`, `PENDING_COMPLETION`, `ACTIVE`, `ON_HOLD`, `CANCELLED` or `ENDED`.
    #[schema(example = "ACTIVE")]
    status: &'static str,
    /// Why it has that status.
    #[schema(example = "paid")]
    status_reason: &'static str,
    /// What status and reason mean, in one plain sentence.
    #[schema(example = "It is paid, and renews by itself.")]
    means: &'static str,
    /// What happens next by itself.
    next: Option<OperatorNext>,
    /// Whether the member may use it now.
    entitled: bool,
    /// The end of the newest period that was paid.
    #[serde(with = "time::serde::rfc3339::option")]
    paid_until: Option<OffsetDateTime>,
    /// The end of the period that Stripe bills, paid or not.
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
    /// How much was paid back: `none`, `part` or `full`.
    refund_state: &'static str,
    /// Raised by every write: send it with an act, and it is refused where the row has moved since.
    version: i64,
    /// What belongs to it at Stripe.
    stripe: AtStripe,
    /// What makes sense to be done: `sync`, `refund`, `cancel`, `resume`, `settle`; whether a role may is another question.
    acts: Vec<&'static str>,
}

/// What happens next by itself.
#[derive(Debug, Serialize, ToSchema)]
struct OperatorNext {
    /// When; null where nobody knows.
    #[serde(with = "time::serde::rfc3339::option")]
    at: Option<OffsetDateTime>,
    /// What, in a plain sentence.
    #[schema(example = "It renews on 3 March 2027.")]
    text: String,
}

/// What belongs to a subscription at Stripe; null where there is none.
#[derive(Debug, Serialize, ToSchema)]
struct AtStripe {
    /// `sub_…`, of what renews.
    subscription_id: Option<String>,
    /// `price_…`.
    price_id: String,
    /// `pi_…`, of what was bought once.
    payment_intent_id: Option<String>,
    /// `cs_…`; none of what another system sold.
    session_id: Option<String>,
    /// `cus_…`.
    customer_id: Option<String>,
    /// Stripe's own status of what renews.
    #[schema(example = "past_due")]
    status: Option<&'static str>,
}

/// Which subscriptions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only of that plan, by its code.
    plan: Option<String>,
    /// Only of that kind.
    #[param(value_type = Option<String>)]
    kind: Option<Kind>,
    /// Only with that status.
    status: Option<String>,
    /// Only with that reason.
    reason: Option<String>,
    /// Only settled by that provider.
    provider: Option<String>,
    /// Only of that member.
    user: Option<String>,
    /// Only what has not ended, and ends before that moment or day (UTC); what ends first comes first.
    ends_before: Option<String>,
    /// Only what was first paid at that moment, on that day (UTC), or later; what was paid last comes first, unless a status
    /// is asked for that few have.
    joined_after: Option<String>,
    /// 1 to 100; by default 20.
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters.
    cursor: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list).problems(&[STAFF, QUERY, DATABASE]))
        .routes(routes!(show).problems(&[STAFF, PATH, DATABASE]))
}

/// Subscriptions of everybody, newest first unless a date is asked for.
#[utoipa::path(get, path = "/v1/operator/subscriptions", tag = "operators", security(("bearer" = [])),
    params(ListQuery), responses((status = 200, body = Page<Subscription>)))]
async fn list(
    State(operators): State<Operators>,
    _: Allowed<See>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Subscription>>, ApiError> {
    let limit = limit(query.limit)?;
    let rows = operators.list(&wanted(&query, limit + 1)?).await?;
    let cursor = |(place, _): &(Place, Described)| match place.at {
        Some(at) => written(at, &place.id.to_string()),
        None => place.id.to_string(),
    };
    let entry = |(_, described): (Place, Described)| Subscription::of(&described);
    Ok(Json(page(rows, limit, cursor, entry)))
}

/// One subscription of anybody.
#[utoipa::path(get, path = "/v1/operator/subscriptions/{id}", tag = "operators", security(("bearer" = [])),
    params(("id" = Uuid, Path)), responses((status = 200, body = Subscription)))]
async fn show(
    State(state): State<AppState>,
    _: Allowed<See>,
    Path(id): Path<Uuid>,
) -> Result<Json<Subscription>, ApiError> {
    let read = Subscription::read(&state, SubscriptionId(id)).await?;
    read.map(Json).ok_or_else(ApiError::not_found)
}

fn wanted(query: &ListQuery, limit: i64) -> Result<Wanted, ApiError> {
    let reason = |text: &str| Reason::parse(text).map(|reason| reason.as_str().to_owned());
    let mut wanted = Wanted {
        user: parsed("user", query.user.as_deref(), short)?.map(UserId::new),
        kind: query.kind,
        plan: parsed("plan", query.plan.as_deref(), short)?,
        provider: parsed("provider", query.provider.as_deref(), short)?,
        status: parsed("status", query.status.as_deref(), Status::parse)?,
        reason: parsed("reason", query.reason.as_deref(), reason)?,
        ends_before: parsed("ends_before", query.ends_before.as_deref(), moment)?,
        joined_after: parsed("joined_after", query.joined_after.as_deref(), moment)?,
        after: None,
        limit,
    };
    // A cursor is one of the same list: of a list by time it tells a time.
    let order = wanted.order();
    let place = |text: &str| {
        let (at, id) = match order {
            Order::Newest => (None, text.to_owned()),
            Order::Ending | Order::Joined => {
                let (at, id) = time_and_id(text)?;
                (Some(at), id)
            }
        };
        let id = SubscriptionId(id.parse().ok()?);
        Some(Place { at, id })
    };
    wanted.after = parsed("cursor", query.cursor.as_deref(), place)?;
    Ok(wanted)
}

impl Subscription {
    /// As it stands in our rows now; none if there is none of that id.
    pub(super) async fn read(
        state: &AppState,
        id: SubscriptionId,
    ) -> Result<Option<Self>, ApiError> {
        let described = state.services.operators.describe(id).await?;
        Ok(described.as_ref().map(Self::of))
    }

    /// As those read it who look after members.
    pub(super) fn of(described: &Described) -> Self {
        let line = &described.line;
        let next = &described.next;
        Self {
            id: line.id.0,
            user_id: described.user.as_str().to_owned(),
            checkout_id: described.checkout.0,
            plan: line.plan.clone(),
            kind: line.kind.as_str(),
            quantity: line.quantity,
            recurring: line.recurring,
            provider: described.provider.clone(),
            status: line.status.as_str(),
            status_reason: line.reason.as_str(),
            means: described.means,
            next: Some(OperatorNext {
                at: next.at,
                text: next.text.clone(),
            }),
            entitled: described.entitled,
            paid_until: line.paid_until(),
            current_period_end: line.current_period_end(),
            cancel_at: describe::ends_at(line),
            term_ends_at: line.term_ends_at,
            activated_at: line.first_paid_at,
            ended_at: line.ended_at,
            created_at: line.created_at,
            refund_state: line.refund.as_str(),
            version: line.version,
            stripe: AtStripe {
                subscription_id: line.stripe_subscription.clone(),
                price_id: line.stripe_price.clone(),
                payment_intent_id: line.payment_intent.clone(),
                session_id: described.session.clone(),
                customer_id: described.customer.clone(),
                status: line.stripe.map(|held| held.status.as_str()),
            },
            acts: described.acts.clone(),
        }
    }
}
