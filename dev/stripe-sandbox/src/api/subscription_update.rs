//! Changes to a subscription: when it ends, what it bills, how it is paid.

use serde_json::{Value, json};

use super::{Call, refuse, set_texts, subscription_items};
use crate::engine::changes::{self, Prorate};
use crate::engine::subscriptions::{is_over, period_end};
use crate::world::error::{ApiError, ApiResult};
use crate::world::json::Json;
use crate::world::{Task, World, merge};

const REFUSED: &[&str] = &[
    "add_invoice_items",
    "application_fee_percent",
    "automatic_tax",
    "billing_cycle_anchor",
    "billing_schedules",
    "billing_thresholds",
    "default_source",
    "default_tax_rates",
    "discounts",
    "invoice_settings",
    "on_behalf_of",
    "payment_settings",
    "pending_invoice_item_interval",
    "transfer_data",
    "trial_settings",
];

/// Changes what may be changed of a subscription.
pub(super) fn update(world: &mut World, call: &Call) -> ApiResult {
    let (id, params) = (call.id(), &call.params);
    let current = world.require("subscription", id)?;
    let allowed_at_the_end = ["cancellation_details", "expand", "metadata"];
    if is_over(&current)
        && params
            .fields()
            .keys()
            .any(|key| !allowed_at_the_end.contains(&key.as_str()))
    {
        return Err(ApiError::invalid(
            "A canceled subscription can only update its cancellation_details and metadata.",
        ));
    }
    refuse(params, REFUSED)?;
    if let behavior @ ("default_incomplete" | "pending_if_incomplete") =
        params.text("payment_behavior")
    {
        return Err(ApiError::unmodelled(&format!(
            "payment_behavior={behavior}"
        )));
    }
    check_method(world, &current, params)?;
    if params.flag("cancel_at_period_end")
        && params
            .get("cancel_at")
            .is_some_and(|at| at.as_str() != Some(""))
    {
        let message =
            "You may only specify one of these parameters: cancel_at, cancel_at_period_end.";
        return Err(ApiError::parameter(
            Some("parameters_exclusive"),
            "cancel_at",
            message,
        ));
    }
    let cancels = params.has("cancel_at") || params.has("cancel_at_period_end");
    if let Some(schedule) = current.opt_text("schedule").filter(|_| cancels) {
        return Err(ApiError::invalid(format!(
            "The subscription is managed by the subscription schedule `{schedule}`, and updating any cancelation \
             behavior directly is not allowed. Please update the schedule instead."
        )));
    }
    let now = world.now();
    let cancel_at = cancel_at(&params["cancel_at"], &current, now)?;
    let change = subscription_items::change(world, &current, params, "")?;
    let trial_end = trial_end(params, now)?;
    if trial_end.is_some() && change.as_ref().is_some_and(|c| c.prorate != Prorate::Never) {
        return Err(ApiError::unmodelled(
            "trial_end with items, without proration_behavior=none",
        ));
    }
    let edit = |object: &mut Value| {
        let end = period_end(object);
        if let Some(flag) = params.get("cancel_at_period_end").and_then(Value::as_bool) {
            set_cancel_at_period_end(object, flag, end, now);
        }
        match cancel_at {
            CancelAt::Unchanged => {}
            CancelAt::Never => set_cancel_at(object, None, now),
            CancelAt::At(at) => set_cancel_at(object, Some(at), now),
        }
        if let Some(end) = trial_end {
            set_trial_end(object, end, now);
        }
        apply(object, params);
    };
    let updated = match change {
        Some(change) => changes::perform(world, id, &change, &edit)?,
        None => world.update(id, "customer.subscription.updated", edit),
    };
    if let Some(at) = updated.opt_int("cancel_at") {
        world.plan(at, Task::CancelAt(id.to_owned()));
    }
    if let Some(at) = updated["pause_collection"].opt_int("resumes_at") {
        world.plan(at, Task::ResumeCollection(id.to_owned()));
    }
    if let Some(at) = trial_end {
        world.plan(at, Task::EndPeriod(id.to_owned()));
    }
    Ok(updated)
}

fn apply(object: &mut Value, params: &Value) {
    set_texts(
        object,
        params,
        &["description", "default_payment_method", "collection_method"],
    );
    if let Some(days) = params.opt_int("days_until_due") {
        object.set("days_until_due", days);
    }
    match params.get("pause_collection") {
        Some(pause @ Value::Object(_)) => {
            let resumes_at = pause.get("resumes_at").cloned().unwrap_or_default();
            object.set(
                "pause_collection",
                json!({"behavior": pause["behavior"], "resumes_at": resumes_at}),
            );
        }
        Some(_) => object.set("pause_collection", Value::Null),
        None => {}
    }
    for key in ["comment", "feedback"] {
        if let Some(text) = params["cancellation_details"].opt_text(key) {
            object["cancellation_details"].set(
                key,
                if text.is_empty() {
                    Value::Null
                } else {
                    text.into()
                },
            );
        }
    }
    merge(object, params.get("metadata"));
}

fn check_method(world: &World, subscription: &Value, params: &Value) -> Result<(), ApiError> {
    let Some(method) = params
        .opt_text("default_payment_method")
        .filter(|method| !method.is_empty())
    else {
        return Ok(());
    };
    match world.store.find("payment_method", method) {
        Some(known) if known["customer"] == subscription["customer"] => Ok(()),
        _ => Err(ApiError::missing_reference(
            "payment_method",
            method,
            "default_payment_method",
        )),
    }
}

/// What `cancel_at` asks for.
enum CancelAt {
    /// It was not given.
    Unchanged,
    /// To withdraw it.
    Never,
    /// To end then.
    At(i64),
}

/// Resolves `cancel_at`: a moment in the future, or the end of a period.
fn cancel_at(given: &Value, subscription: &Value, now: i64) -> Result<CancelAt, ApiError> {
    let ends = || {
        subscription["items"]
            .items("data")
            .iter()
            .map(|item| item.int("current_period_end"))
    };
    let at = match given {
        Value::Null => return Ok(CancelAt::Unchanged),
        Value::String(text) => match text.as_str() {
            "" => return Ok(CancelAt::Never),
            "min_period_end" => ends().min(),
            "max_period_end" | "max_billed_until" => ends().max(),
            other => {
                let message = format!("Invalid cancel_at: {other}");
                return Err(ApiError::parameter(None, "cancel_at", message));
            }
        },
        _ => given.as_i64(),
    };
    match at {
        Some(at) if at > now => Ok(CancelAt::At(at)),
        _ => Err(
            ApiError::invalid("`cancel_at` must be a timestamp in the future.").param("cancel_at"),
        ),
    }
}

/// Schedules or withdraws the cancellation at the period's end. A withdrawal leaves a `cancel_at` of its own alone.
pub(crate) fn set_cancel_at_period_end(object: &mut Value, wanted: bool, end: i64, now: i64) {
    if wanted {
        object.set("cancel_at_period_end", true);
        object.set("cancel_at", end);
        object.set("canceled_at", now);
        object["cancellation_details"].set("reason", "cancellation_requested");
    } else if object.flag("cancel_at_period_end") {
        object.set("cancel_at_period_end", false);
        withdraw(object);
    }
}

/// Schedules or withdraws the cancellation at a moment.
pub(crate) fn set_cancel_at(object: &mut Value, at: Option<i64>, now: i64) {
    match at {
        Some(at) => {
            object.set("cancel_at", at);
            object.set("cancel_at_period_end", false);
            object.set("canceled_at", now);
            object["cancellation_details"].set("reason", "cancellation_requested");
        }
        None if !object.flag("cancel_at_period_end") => withdraw(object),
        None => {}
    }
}

fn withdraw(object: &mut Value) {
    object.set("cancel_at", Value::Null);
    object.set("canceled_at", Value::Null);
    object["cancellation_details"].set("reason", Value::Null);
}

fn trial_end(params: &Value, now: i64) -> Result<Option<i64>, ApiError> {
    match params.get("trial_end") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(_)) => Ok(Some(now)),
        Some(at) => match at.as_i64() {
            Some(at) if at >= now => Ok(Some(at)),
            _ => Err(
                ApiError::invalid("`trial_end` must be a timestamp in the future.")
                    .param("trial_end"),
            ),
        },
    }
}

fn set_trial_end(object: &mut Value, end: i64, now: i64) {
    object.set("trial_end", end);
    object.set("billing_cycle_anchor", end);
    if end > now {
        object.set("status", "trialing");
        if !object.has("trial_start") {
            object.set("trial_start", now);
        }
    }
    if let Some(items) = object["items"]["data"].as_array_mut() {
        for item in items {
            item.set("current_period_end", end);
        }
    }
}
