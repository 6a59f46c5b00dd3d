//! Refunds.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::acts::{ActAnswer, EndAt, done, seen};
use super::asking::{ACTING, Asker, act_body, to_its_end};
use crate::domain::actor::Right;
use crate::domain::ids::SubscriptionId;
use crate::domain::plan::Kind;
use crate::http::edge::codes::Code;
use crate::http::edge::errors::{DATABASE, STRIPE};
use crate::http::edge::extract::{JSON, Json, Money, PATH, Path, STAFF};
use crate::http::edge::money::Language;
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::purchases::cancel::CancelAt;
use crate::services::operators::acts::{
    LinePart, PaymentPreview, RefundAsked, RefundLine, RefundPreview,
};

/// Most lines of a checkout.
const MOST_LINES: usize = 10;

act_body! {
    /// What goes back, and why.
    struct RefundAct {
        /// `in_…` or `pi_…` as a transaction names it; by default the newest payment.
        payment: Option<String>,
        /// Minor units; without it and without `lines` all that is left of the payment.
        amount: Option<i64>,
        /// Of a checkout of several: how much goes back of which.
        lines: Option<Vec<PartOfLine>>,
        /// From the dry run, in minor units: refused when it has moved since. Needed unless `dry_run`.
        already_refunded: Option<i64>,
        /// Whether the subscription ends too, and when: a second act, with this one as its parent.
        also_cancel: Option<EndAt>,
        /// The subscription's `version` that the page has shown: refused when it has moved since.
        version: Option<i64>,
    }
}

/// What goes back of one subscription.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PartOfLine {
    /// Ours.
    subscription_id: Uuid,
    /// Minor units.
    amount: i64,
}

/// What a refund would do.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RefundBody {
    payment: RefundedPayment,
    /// Minor units that went back before, or are on their way: to be sent with the act.
    already_refunded: i64,
    /// Minor units that would go back now.
    refund: i64,
    /// The same for people.
    refund_display: String,
    /// What was paid together.
    lines: Vec<RefundedLine>,
    /// What else could be refunded, newest first.
    payments: Vec<OtherPayment>,
    /// What would happen, in sentences.
    text: Vec<String>,
    /// What to think of first.
    warnings: Vec<String>,
}

/// A payment as it is now; all amounts are minor units.
#[derive(Debug, Serialize, ToSchema)]
struct RefundedPayment {
    /// `in_…` or `pi_…`.
    reference: String,
    #[serde(with = "time::serde::rfc3339")]
    paid_at: OffsetDateTime,
    /// ISO 4217, lower case.
    currency: String,
    /// That was taken.
    amount: i64,
    /// The same for people.
    amount_display: String,
    /// That went back.
    refunded: i64,
    /// The same for people.
    refunded_display: String,
    /// That is left.
    refundable: i64,
    /// The same for people.
    refundable_display: String,
}

/// A subscription that the payment was for; all amounts are minor units.
#[derive(Debug, Serialize, ToSchema)]
struct RefundedLine {
    /// Ours.
    subscription_id: Uuid,
    /// The plan's code.
    plan: String,
    /// `membership`, `top_up`, `share` or `donation`.
    kind: &'static str,
    /// That was paid for it; null where Stripe does not tell.
    amount: Option<i64>,
    /// The same for people.
    amount_display: Option<String>,
    /// That went back of it before, as far as the refunds name it.
    refunded: i64,
    /// That would go back of it now.
    refund: i64,
    /// The same for people.
    refund_display: String,
}

/// A payment that could be refunded instead.
#[derive(Debug, Serialize, ToSchema)]
struct OtherPayment {
    /// `in_…` or `pi_…`: to be sent as `payment`.
    reference: String,
    #[serde(with = "time::serde::rfc3339")]
    paid_at: OffsetDateTime,
}

const REFUNDING: &[Code] = &[
    Code::RowMoved,
    Code::AlreadyRefundedMoved,
    Code::ActionInProgress,
    Code::NothingToRefund,
    Code::NotCancellable,
    Code::AwaitingPayment,
    Code::PaymentProcessing,
    Code::AlreadyEnded,
    Code::InProgress,
];

pub(super) fn routes() -> OpenApiRouter<AppState> {
    let all = [STAFF, PATH, JSON, DATABASE, STRIPE, ACTING, REFUNDING];
    OpenApiRouter::new().routes(routes!(refund).problems(&all))
}

/// Pay back all that is left of a payment, an amount of it, or parts by line; and end the subscription with it, if that is
/// asked for. A dry run tells what would happen, and the amount that must be sent back as `already_refunded`.
#[utoipa::path(post, path = "/v1/operator/subscriptions/{id}/refund", tag = "operators", security(("bearer" = [])),
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<Uuid>, Header, description = "The act's id; not for a dry run")),
    request_body = RefundAct, responses((status = 200, body = ActAnswer)))]
async fn refund(
    State(state): State<AppState>,
    asker: Asker<Money>,
    Path(id): Path<Uuid>,
    Json(body): Json<RefundAct>,
) -> Result<Json<ActAnswer>, ApiError> {
    let (id, operators) = (SubscriptionId(id), state.services.operators.clone());
    if body.also_cancel.is_some() && !asker.may(Right::Act) {
        let detail =
            "Ending a subscription needs the role for acting on members beside the one for money.";
        return Err(ApiError::new(Code::Forbidden).detail(detail));
    }
    let wish = body.wish()?;
    if body.dry_run {
        let preview = operators.preview_refund(id, &wish).await?;
        return seen(&state, id, preview).await;
    }
    let ask = asker.ask(
        &state,
        &body.why(),
        body.version,
        &format!("refund {id}"),
        &body,
    )?;
    let acted = to_its_end(async move { operators.refund(id, &wish, &ask).await }).await?;
    done(&state, &acted).await
}

impl RefundAct {
    fn wish(&self) -> Result<RefundAsked, ApiError> {
        let wrong =
            |field, code, detail| Err(ApiError::validation_failed().field(field, code, detail));
        if self.amount.is_some() && self.lines.is_some() {
            return wrong("amount", "conflict", "Either an amount or lines.");
        }
        let lines = self.lines.as_deref();
        if lines.is_some_and(|lines| lines.is_empty() || lines.len() > MOST_LINES) {
            return wrong("lines", "out_of_range", "From 1 to 10 lines.");
        }
        Ok(RefundAsked {
            payment: self.payment.clone(),
            amount: self.amount,
            lines: { lines.unwrap_or_default().iter() }
                .map(|part| LinePart {
                    line: SubscriptionId(part.subscription_id),
                    amount: part.amount,
                })
                .collect(),
            already_refunded: self.already_refunded,
            also_cancel: self.also_cancel.map(CancelAt::from),
        })
    }
}

impl RefundBody {
    pub(super) fn of(preview: RefundPreview, language: &Language) -> Self {
        let money = |amount: i64| language.amount(amount, &preview.currency);
        let line = |line: &RefundLine| RefundedLine {
            subscription_id: line.line.0,
            plan: line.plan.clone(),
            kind: line.kind.as_str(),
            amount: line.amount,
            amount_display: line.amount.map(money),
            refunded: line.refunded,
            refund: line.refund,
            refund_display: money(line.refund),
        };
        let other = |payment: &PaymentPreview| OtherPayment {
            reference: payment.reference.clone(),
            paid_at: payment.paid_at,
        };
        Self {
            already_refunded: preview.refunded,
            refund: preview.refund,
            refund_display: money(preview.refund),
            lines: preview.lines.iter().map(line).collect(),
            payments: preview.others.iter().map(other).collect(),
            text: text(&preview, &money),
            warnings: warnings(&preview, &money),
            payment: RefundedPayment {
                reference: preview.payment.reference.clone(),
                paid_at: preview.payment.paid_at,
                amount: preview.amount,
                amount_display: money(preview.amount),
                refunded: preview.refunded,
                refunded_display: money(preview.refunded),
                refundable: preview.amount - preview.refunded,
                refundable_display: money(preview.amount - preview.refunded),
                currency: preview.currency,
            },
        }
    }
}

fn text(preview: &RefundPreview, money: &impl Fn(i64) -> String) -> Vec<String> {
    let (refund, amount) = (money(preview.refund), money(preview.amount));
    let mut text = vec![format!(
        "{refund} of the {amount} go back to where they came from."
    )];
    let left = preview.amount - preview.refunded - preview.refund;
    if left == 0 {
        text.push("Nothing of the payment is left then.".to_owned());
    } else {
        text.push(format!("{} of it are left then.", money(left)));
    }
    match preview.also_cancel {
        Some(CancelAt::Now) => text.push("The subscription ends at once.".to_owned()),
        Some(CancelAt::PeriodEnd) => {
            text.push("The subscription ends with the period that was paid.".to_owned());
        }
        None => {}
    }
    text
}

fn warnings(preview: &RefundPreview, money: &impl Fn(i64) -> String) -> Vec<String> {
    let mut warnings = Vec::new();
    let goes_back = |line: &&RefundLine| line.refund > 0;
    let mut back = preview.lines.iter().filter(goes_back);
    if back.any(|line| line.kind == Kind::Share) {
        let warning = "Money for a share goes back, but the capital is not withdrawn by that: whether a share may be given back, \
                       and when, your rules say.";
        warnings.push(warning.to_owned());
    }
    if preview.refunded > 0 {
        warnings.push(format!("{} went back already.", money(preview.refunded)));
    }
    if preview.unnamed > 0 {
        let warning = "of that went back for no line that is named: look at what it was for.";
        warnings.push(format!("{} {warning}", money(preview.unnamed)));
    }
    if preview.lines.iter().any(|line| line.amount.is_none()) {
        warnings.push("Stripe does not tell how much was paid for each.".to_owned());
    }
    if preview.also_cancel.is_none() {
        let renews = "A subscription that renews goes on, and is charged again, unless it is cancelled as well.";
        if preview
            .lines
            .iter()
            .any(|line| line.kind == Kind::Membership)
        {
            warnings.push(renews.to_owned());
        }
    }
    warnings
}
