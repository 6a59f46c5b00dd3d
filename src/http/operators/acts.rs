//! Acts on one subscription: take over what Stripe says, cancel, resume, settle. Refunds have a file of their own.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::asking::{ACTING, ActionState, Asker, act_body, to_its_end};
use super::subscriptions::Subscription;
use crate::domain::ids::SubscriptionId;
use crate::http::edge::codes::Code;
use crate::http::edge::errors::{DATABASE, STRIPE};
use crate::http::edge::extract::{Act, JSON, Json, Money, PATH, Path, STAFF};
use crate::http::edge::money::Language;
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::purchases::cancel::CancelAt;
use crate::services::events::compare::Drift;
use crate::services::operators::acts::{Acted, Preview, SettlePreview};
use crate::services::operators::describe;

act_body! {
    /// Why an operator acts, and whether she only wants to see what would happen.
    struct JustAct {
        /// The subscription's `version` that the page has shown: refused when it has moved since.
        version: Option<i64>,
    }
}

act_body! {
    /// The same, and when it is to end.
    struct CancelAct {
        /// By default with the period that is paid.
        #[serde(default)]
        at: EndAt,
        /// The subscription's `version` that the page has shown: refused when it has moved since.
        version: Option<i64>,
    }
}

/// When a subscription ends.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum EndAt {
    /// With the period that is paid.
    #[default]
    PeriodEnd,
    /// At once.
    Now,
}

impl From<EndAt> for CancelAt {
    fn from(at: EndAt) -> Self {
        match at {
            EndAt::PeriodEnd => Self::PeriodEnd,
            EndAt::Now => Self::Now,
        }
    }
}

act_body! {
    /// The same, and which invoice was paid elsewhere.
    struct SettleAct {
        /// `in_…`; by default the newest that is open.
        invoice: Option<String>,
        /// The subscription's `version` that the page has shown: refused when it has moved since.
        version: Option<i64>,
    }
}

/// What came of an act, or would.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ActAnswer {
    /// Null for a dry run.
    pub action: Option<ActionState>,
    /// What would happen; null for what was done.
    pub preview: Option<ActPreview>,
    /// As it is now; null where there is none yet.
    pub subscription: Option<Subscription>,
}

/// What would happen.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum ActPreview {
    /// Of `sync`.
    Sync(SyncPreview),
    /// Of `cancel` and `resume`.
    Ends(EndsPreview),
    /// Of `settle`.
    Settle(SettleBody),
    /// Of `refund`.
    Refund(Box<super::refunds::RefundBody>),
    /// Of an adoption.
    Adopt(Box<super::adoptions::AdoptBody>),
}

/// What differs between our rows and Stripe.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SyncPreview {
    /// A line for each subscription of the checkout that differs.
    changes: Vec<SyncChange>,
    /// The same in sentences.
    text: Vec<String>,
}

/// How one subscription differs.
#[derive(Debug, Serialize, ToSchema)]
struct SyncChange {
    /// Ours.
    subscription_id: String,
    /// The plan's code.
    plan: String,
    /// Our status.
    ours: &'static str,
    /// The status that follows from what Stripe says.
    stripe: &'static str,
    /// What differs: `status`, `plan`, `price`, `quantity`, `paid_until`, `period`, `cancellation`, `end`, `payment`, `refund`,
    /// `dispute`.
    differs: Vec<&'static str>,
}

/// Until when it goes on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EndsPreview {
    /// Of `cancel` the end, null for at once; of `resume` the next renewal.
    #[serde(with = "time::serde::rfc3339::option")]
    at: Option<OffsetDateTime>,
    /// What would happen, in sentences.
    text: Vec<String>,
    /// What to think of first.
    warnings: Vec<String>,
}

/// The invoice that would count as paid.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SettleBody {
    invoice: SettledInvoice,
    /// What would happen, in sentences.
    text: Vec<String>,
    /// What to think of first.
    warnings: Vec<String>,
}

/// An open invoice.
#[derive(Debug, Serialize, ToSchema)]
struct SettledInvoice {
    /// `in_…`.
    id: String,
    /// ISO 4217, lower case.
    currency: String,
    /// Minor units.
    amount_due: i64,
    /// The same for people.
    amount_due_display: String,
    /// When Stripe tries to collect it by itself the next time.
    #[serde(with = "time::serde::rfc3339::option")]
    next_attempt_at: Option<OffsetDateTime>,
}

const CANCELLING: &[Code] = &[
    Code::RowMoved,
    Code::NotCancellable,
    Code::AwaitingPayment,
    Code::PaymentProcessing,
    Code::AlreadyEnded,
    Code::InProgress,
];
const RESUMING: &[Code] = &[
    Code::RowMoved,
    Code::NotResumable,
    Code::AwaitingPayment,
    Code::PaymentProcessing,
    Code::AlreadyEnded,
    Code::OnHold,
    Code::InProgress,
];
const SYNCING: &[Code] = &[Code::RowMoved, Code::InProgress];
const SETTLING: &[Code] = &[
    Code::RowMoved,
    Code::NothingToSettle,
    Code::PaymentProcessing,
    Code::AwaitingPayment,
    Code::ActionInProgress,
    Code::InProgress,
];

pub(super) fn routes() -> OpenApiRouter<AppState> {
    let all = [STAFF, PATH, JSON, DATABASE, STRIPE, ACTING];
    OpenApiRouter::new()
        .routes(routes!(sync).problems(&all).problems(&[SYNCING]))
        .routes(routes!(cancel).problems(&all).problems(&[CANCELLING]))
        .routes(routes!(resume).problems(&all).problems(&[RESUMING]))
        .routes(routes!(settle).problems(&all).problems(&[SETTLING]))
}

/// Take over what Stripe says of a subscription and of all that was bought with it: for somebody who paid and was not
/// activated. Repeating it changes nothing more.
#[utoipa::path(post, path = "/v1/operator/subscriptions/{id}/sync", tag = "operators", security(("bearer" = [])),
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<Uuid>, Header, description = "The act's id; not for a dry run")),
    request_body = JustAct, responses((status = 200, body = ActAnswer)))]
async fn sync(
    State(state): State<AppState>,
    asker: Asker<Act>,
    Path(id): Path<Uuid>,
    Json(body): Json<JustAct>,
) -> Result<Json<ActAnswer>, ApiError> {
    let (id, operators) = (SubscriptionId(id), state.services.operators.clone());
    if body.dry_run {
        let preview = operators.preview_sync(id).await?;
        return seen(&state, id, preview).await;
    }
    let ask = asker.ask(
        &state,
        &body.why(),
        body.version,
        &format!("sync {id}"),
        &body,
    )?;
    let acted = to_its_end(async move { operators.sync(id, &ask).await }).await?;
    done(&state, &acted).await
}

/// Cancel a member's subscription: with the period that is paid, or at once, whatever its plan allows members.
#[utoipa::path(post, path = "/v1/operator/subscriptions/{id}/cancel", tag = "operators", security(("bearer" = [])),
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<Uuid>, Header, description = "The act's id; not for a dry run")),
    request_body = CancelAct, responses((status = 200, body = ActAnswer)))]
async fn cancel(
    State(state): State<AppState>,
    asker: Asker<Act>,
    Path(id): Path<Uuid>,
    Json(body): Json<CancelAct>,
) -> Result<Json<ActAnswer>, ApiError> {
    let (id, operators) = (SubscriptionId(id), state.services.operators.clone());
    let at = body.at.into();
    if body.dry_run {
        let preview = operators.preview_cancel(id, at).await?;
        return seen(&state, id, preview).await;
    }
    let ask = asker.ask(
        &state,
        &body.why(),
        body.version,
        &format!("cancel {id}"),
        &body,
    )?;
    let acted = to_its_end(async move { operators.cancel(id, at, &ask).await }).await?;
    done(&state, &acted).await
}

/// Withdraw the cancellation of a member's subscription that is not in force yet: it renews again.
#[utoipa::path(post, path = "/v1/operator/subscriptions/{id}/resume", tag = "operators", security(("bearer" = [])),
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<Uuid>, Header, description = "The act's id; not for a dry run")),
    request_body = JustAct, responses((status = 200, body = ActAnswer)))]
async fn resume(
    State(state): State<AppState>,
    asker: Asker<Act>,
    Path(id): Path<Uuid>,
    Json(body): Json<JustAct>,
) -> Result<Json<ActAnswer>, ApiError> {
    let (id, operators) = (SubscriptionId(id), state.services.operators.clone());
    if body.dry_run {
        let preview = operators.preview_resume(id).await?;
        return seen(&state, id, preview).await;
    }
    let ask = asker.ask(
        &state,
        &body.why(),
        body.version,
        &format!("resume {id}"),
        &body,
    )?;
    let acted = to_its_end(async move { operators.resume(id, &ask).await }).await?;
    done(&state, &acted).await
}

/// Have Stripe count an open invoice as paid, because the money came by cash or transfer. Nothing takes that back.
#[utoipa::path(post, path = "/v1/operator/subscriptions/{id}/settle", tag = "operators", security(("bearer" = [])),
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<Uuid>, Header, description = "The act's id; not for a dry run")),
    request_body = SettleAct, responses((status = 200, body = ActAnswer)))]
async fn settle(
    State(state): State<AppState>,
    asker: Asker<Money>,
    Path(id): Path<Uuid>,
    Json(body): Json<SettleAct>,
) -> Result<Json<ActAnswer>, ApiError> {
    let (id, operators) = (SubscriptionId(id), state.services.operators.clone());
    let invoice = body.invoice.clone();
    if body.dry_run {
        let preview = operators.preview_settle(id, invoice.as_deref()).await?;
        return seen(&state, id, preview).await;
    }
    let ask = asker.ask(
        &state,
        &body.why(),
        body.version,
        &format!("settle {id}"),
        &body,
    )?;
    let act = async move { operators.settle(id, invoice.as_deref(), &ask).await };
    let acted = to_its_end(act).await?;
    done(&state, &acted).await
}

/// What came of an act.
pub(super) async fn done(state: &AppState, acted: &Acted) -> Result<Json<ActAnswer>, ApiError> {
    let subscription = match acted.line {
        Some(id) => subscription(state, id).await?,
        None => None,
    };
    Ok(Json(ActAnswer {
        action: Some(ActionState::of(acted)),
        preview: None,
        subscription,
    }))
}

/// What would come of it.
pub(super) async fn seen(
    state: &AppState,
    id: SubscriptionId,
    preview: Preview,
) -> Result<Json<ActAnswer>, ApiError> {
    Ok(Json(ActAnswer {
        action: None,
        preview: Some(ActPreview::of(preview)),
        subscription: subscription(state, id).await?,
    }))
}

async fn subscription(
    state: &AppState,
    id: SubscriptionId,
) -> Result<Option<Subscription>, ApiError> {
    let described = state.services.operators.describe(id).await?;
    Ok(described.as_ref().map(Subscription::of))
}

impl ActPreview {
    /// Its sentences are English, and so are the amounts in them.
    pub(super) fn of(preview: Preview) -> Self {
        let language = &Language::english();
        match preview {
            Preview::Sync(drift) => Self::Sync(differences(&drift)),
            Preview::Ends(at, until) => Self::Ends(EndsPreview::of(at, until)),
            Preview::Renews(at) => Self::Ends(EndsPreview {
                at,
                text: vec!["It renews again by itself, as before it was cancelled.".to_owned()],
                warnings: Vec::new(),
            }),
            Preview::Settle(open) => Self::Settle(SettleBody::of(open, language)),
            Preview::Refund(preview) => {
                Self::Refund(Box::new(super::refunds::RefundBody::of(*preview, language)))
            }
            Preview::Adopt(preview) => {
                Self::Adopt(Box::new(super::adoptions::AdoptBody::of(*preview)))
            }
        }
    }
}

fn differences(drift: &[Drift]) -> SyncPreview {
    let change = |drift: &Drift| SyncChange {
        subscription_id: drift.subscription_id.clone(),
        plan: drift.plan.clone(),
        ours: drift.ours,
        stripe: drift.stripe,
        differs: drift.differs.clone(),
    };
    let sentence = |drift: &Drift| {
        let mut text = if drift.ours == drift.stripe {
            format!(
                "{}: Stripe says something else of {}.",
                drift.plan,
                drift.differs.join(", ")
            )
        } else {
            format!(
                "{}: here it is {}, by what Stripe says it is {}.",
                drift.plan, drift.ours, drift.stripe
            )
        };
        if let Some(flag) = drift.flag {
            text = format!("{text} A person should look: {flag}.");
        }
        text
    };
    let mut text: Vec<String> = drift.iter().map(sentence).collect();
    if text.is_empty() {
        text.push("Nothing differs: our rows say what Stripe says.".to_owned());
    }
    SyncPreview {
        changes: drift.iter().map(change).collect(),
        text,
    }
}

impl EndsPreview {
    fn of(at: CancelAt, until: Option<OffsetDateTime>) -> Self {
        let (text, warnings) = match (at, until) {
            (CancelAt::PeriodEnd, Some(until)) => (
                format!(
                    "It goes on until {}, and does not renew.",
                    describe::day(until)
                ),
                Vec::new(),
            ),
            (CancelAt::PeriodEnd, None) => (
                "It ends with the period that is paid, and does not renew.".to_owned(),
                Vec::new(),
            ),
            (CancelAt::Now, _) => (
                "It ends at once.".to_owned(),
                vec![
                    "What is paid already does not go back by itself: refund it, if that is meant."
                        .to_owned(),
                ],
            ),
        };
        Self {
            at: until,
            text: vec![text],
            warnings,
        }
    }
}

impl SettleBody {
    fn of(open: SettlePreview, language: &Language) -> Self {
        let display = language.amount(open.amount_due, &open.currency);
        Self {
            text: vec![format!(
                "Stripe counts the invoice over {display} as paid, and collects nothing for it any more."
            )],
            warnings: vec![
                "Nothing takes this back. Do it only when the money is there.".to_owned(),
            ],
            invoice: SettledInvoice {
                id: open.invoice,
                currency: open.currency,
                amount_due: open.amount_due,
                amount_due_display: display,
                next_attempt_at: open.next_attempt_at,
            },
        }
    }
}
