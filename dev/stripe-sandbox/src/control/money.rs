//! What buyers, banks and support do, for programs.

use axum::Json as Body;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Refused, Shared, parse};
use crate::engine::checkout::{self, NotPaid, Payment};
use crate::engine::{debits, disputes, hosted, instruments, refunds};
use crate::webhooks::wait_for_delivery;
use crate::world::json::Json;

/// Pays a session as its buyer would, for programs.
pub(super) async fn pay(State(app): Shared, Path(id): Path<String>, body: Bytes) -> Response {
    let payment: Payment = match parse(&body) {
        Ok(payment) => payment,
        Err(refused) => return refused.into_response(),
    };
    match app.with(|world| checkout::pay(world, &id, &payment)) {
        Ok(done) => {
            if payment.wait_for_webhook {
                wait_for_delivery(&app, &done.event).await;
            }
            Body(json!({
                "status": done.session["status"], "payment_status": done.session["payment_status"],
                "redirect_url": done.redirect_url, "event": done.event,
            }))
            .into_response()
        }
        Err(not_paid) => refusal(not_paid, "session"),
    }
}

fn refusal(not_paid: NotPaid, what: &str) -> Response {
    match not_paid {
        NotPaid::NotOpen(object) => {
            let message = format!("The {what} is not open but '{}'.", object.text("status"));
            (
                StatusCode::CONFLICT,
                Body(json!({"error": {"type": "invalid_request_error", "message": message}})),
            )
                .into_response()
        }
        NotPaid::Refused(error) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::PAYMENT_REQUIRED);
            (status, Body(error.to_json())).into_response()
        }
    }
}

/// Pays an invoice as its customer would on its page.
pub(super) async fn pay_invoice(
    State(app): Shared,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let payment: hosted::Payment = match parse(&body) {
        Ok(payment) => payment,
        Err(refused) => return refused.into_response(),
    };
    let paid = app.with(|world| {
        let invoice = hosted::pay(world, &id, &payment)?;
        let payment = hosted::payment_status(world, &id);
        Ok(json!({"status": invoice["status"], "amount_paid": invoice["amount_paid"], "payment": payment}))
    });
    match paid {
        Ok(answer) => Body(answer).into_response(),
        Err(not_paid) => refusal(not_paid, "invoice"),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Succeeded,
    Failed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settlement {
    outcome: Outcome,
}

/// Settles a delayed debit before its time.
pub(super) async fn settle_debit(
    State(app): Shared,
    Path(id): Path<String>,
    body: Bytes,
) -> Answer {
    let Settlement { outcome } = parse(&body)?;
    let succeeds = matches!(outcome, Outcome::Succeeded);
    Ok(Body(
        app.with(|world| debits::settle(world, &id, succeeds))?,
    ))
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Failure {
    reason: Option<String>,
}

/// A refund does not reach the buyer after all.
pub(super) async fn fail_refund(State(app): Shared, Path(id): Path<String>, body: Bytes) -> Answer {
    let Failure { reason } = parse(&body)?;
    let reason = reason.unwrap_or_else(|| "lost_or_stolen_card".to_owned());
    app.with(|world| {
        let refund = world.require("refund", &id)?;
        if matches!(refund.text("status"), "failed" | "canceled") {
            let message = format!("the refund is '{}' already", refund.text("status"));
            return Err(Refused(StatusCode::CONFLICT, message));
        }
        Ok(Body(refunds::undo(world, &id, "failed", reason.into())))
    })
}

/// A pending refund reaches the buyer.
pub(super) async fn succeed_refund(State(app): Shared, Path(id): Path<String>) -> Answer {
    app.with(|world| {
        let refund = world.require("refund", &id)?;
        if refund.text("status") != "pending" {
            let message = format!("the refund is '{}', not pending", refund.text("status"));
            return Err(Refused(StatusCode::CONFLICT, message));
        }
        Ok(Body(refunds::succeed(world, &id)))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDispute {
    payment_intent: Option<String>,
    charge: Option<String>,
    reason: Option<String>,
    amount: Option<i64>,
}

/// Opens a dispute about a payment.
pub(super) async fn open_dispute(State(app): Shared, body: Bytes) -> Answer {
    let new: NewDispute = parse(&body)?;
    let reason = new.reason.unwrap_or_else(|| "fraudulent".to_owned());
    app.with(|world| {
        let charge = match (new.charge, new.payment_intent) {
            (Some(charge), None) => charge,
            (None, Some(intent)) => world
                .require("payment_intent", &intent)?
                .text("latest_charge")
                .to_owned(),
            _ => {
                return Err(Refused(
                    StatusCode::BAD_REQUEST,
                    "give either charge or payment_intent".to_owned(),
                ));
            }
        };
        Ok(Body(disputes::open(world, &charge, &reason, new.amount)?))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Closure {
    status: String,
}

/// Closes a dispute.
pub(super) async fn close_dispute(
    State(app): Shared,
    Path(id): Path<String>,
    body: Bytes,
) -> Answer {
    let Closure { status } = parse(&body)?;
    Ok(Body(
        app.with(|world| disputes::close(world, &id, &status))?,
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCard {
    card: Option<String>,
    iban: Option<String>,
}

/// Gives a customer another payment method.
pub(super) async fn change_card(State(app): Shared, Path(id): Path<String>, body: Bytes) -> Answer {
    let NewCard { card, iban } = parse(&body)?;
    let number = card.or(iban).unwrap_or_default();
    let unknown = || {
        Refused(
            StatusCode::BAD_REQUEST,
            format!("'{number}' is not a test card or account"),
        )
    };
    let instrument = instruments::find(&number).ok_or_else(unknown)?;
    app.with(|world| {
        let customer = world.require("customer", &id)?;
        if customer.flag("deleted") {
            return Err(Refused(
                StatusCode::NOT_FOUND,
                format!("the customer {id} is deleted"),
            ));
        }
        Ok(Body(instruments::replace_default(world, &id, instrument)))
    })
}
