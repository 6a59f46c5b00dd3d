//! Subscriptions made through the API instead of Checkout: by invoice, or with a stored payment method.

use serde_json::Value;

use super::{Call, catalogue, refuse};
use crate::engine::billing::{self, Collect};
use crate::engine::drafts::{self, NewInvoice};
use crate::engine::subscriptions::{self, NewSubscription};
use crate::world::error::{ApiError, ApiResult};
use crate::world::json::Json;
use crate::world::{Task, World};

const INCOMPLETE_SECONDS: i64 = 23 * 3600;
const REFUSED: &[&str] = &[
    "add_invoice_items",
    "application_fee_percent",
    "automatic_tax",
    "backdate_start_date",
    "billing_cycle_anchor_config",
    "billing_schedules",
    "billing_thresholds",
    "cancel_at",
    "cancel_at_period_end",
    "customer_account",
    "default_source",
    "default_tax_rates",
    "discounts",
    "invoice_settings",
    "on_behalf_of",
    "payment_settings",
    "pending_invoice_item_interval",
    "transfer_data",
];

/// Creates a subscription and its first invoice.
pub(super) fn create(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    refuse(params, REFUSED)?;
    let customer = customer(world, params)?;
    let items = items(world, params)?;
    let currency = params
        .opt_text("currency")
        .map_or_else(|| items[0].0.text("currency").to_owned(), str::to_owned);
    let sends = params.text("collection_method") == "send_invoice";
    if sends && !params.has("days_until_due") {
        let message = "If `collection_method` is `send_invoice`, you must set `days_until_due`.";
        return Err(ApiError::parameter(
            Some("parameter_missing"),
            "days_until_due",
            message,
        ));
    }
    let mut data = params.clone();
    if params.text("trial_end") == "now" {
        data.set("trial_end", Value::Null);
    }
    let now = world.now();
    let is_trial = subscriptions::trial_end(&data, now).is_some();
    let behavior = params
        .opt_text("payment_behavior")
        .unwrap_or("allow_incomplete");
    // Sent invoices: the reference says `active` at once, another page `incomplete`; the sandbox follows the reference.
    let status = if sends { "active" } else { "incomplete" };
    let new = NewSubscription {
        customer: &customer,
        currency: &currency,
        items,
        method: params.opt_text("default_payment_method"),
        data: &data,
        collection_method: if sends {
            "send_invoice"
        } else {
            "charge_automatically"
        },
        days_until_due: params.opt_int("days_until_due"),
        status,
    };
    let subscription = subscriptions::create(world, &new);
    let id = subscription.text("id").to_owned();
    let period = (now, subscriptions::period_end(&subscription));
    let unbilled = data.has("billing_cycle_anchor") && data.text("proration_behavior") == "none";
    let free = if is_trial {
        Some("Free trial for")
    } else {
        unbilled.then_some("Remaining time on")
    };
    let invoice = drafts::draft(
        world,
        &NewInvoice {
            customer: &customer,
            currency: &currency,
            subscription: Some(&id),
            reason: "subscription_create",
            lines: subscriptions::lines(world, &subscription, period, free),
            period: (now, now),
            metadata: serde_json::json!({}),
        },
    );
    let announced = world.store.copy(&id);
    world.emit("customer.subscription.created", &announced, None);
    world.emit("invoice.created", &invoice, None);
    let invoice_id = invoice.text("id").to_owned();
    if sends && invoice.int("amount_due") > 0 {
        world.plan(
            now + drafts::DRAFT_SECONDS,
            Task::FinalizeInvoice(invoice_id),
        );
        return Ok(world.store.copy(&id));
    }
    let open = billing::finalize(world, &invoice_id);
    if open.int("amount_due") > 0 {
        billing::intent_for(world, &open);
    }
    if !is_trial && !sends {
        world.plan(now + INCOMPLETE_SECONDS, Task::ExpireIncomplete(id.clone()));
    }
    if behavior != "default_incomplete" || invoice.int("amount_due") == 0 {
        let collected = billing::collect(world, &invoice_id, &Collect::default());
        if let (Err(error), "error_if_incomplete") = (collected, behavior) {
            subscriptions::cancel(world, &id, "payment_failed", &Value::Null);
            return Err(error);
        }
    }
    Ok(world.store.copy(&id))
}

fn customer(world: &World, params: &Value) -> Result<String, ApiError> {
    let Some(id) = params.opt_text("customer") else {
        let message = "Missing required param: customer.";
        return Err(ApiError::parameter(
            Some("parameter_missing"),
            "customer",
            message,
        ));
    };
    match world.store.find("customer", id) {
        Some(customer) if !customer.flag("deleted") => Ok(id.to_owned()),
        _ => Err(ApiError::missing_reference("customer", id, "customer")),
    }
}

fn items(world: &mut World, params: &Value) -> Result<Vec<(Value, i64)>, ApiError> {
    let given = params.items("items");
    if given.is_empty() {
        let message = "Missing required param: items.";
        return Err(ApiError::parameter(
            Some("parameter_missing"),
            "items",
            message,
        ));
    }
    let mut items = vec![];
    for (at, item) in given.iter().enumerate() {
        let place = format!("items[{at}]");
        refuse(
            item,
            &[
                "billing_thresholds",
                "current_trial",
                "discounts",
                "plan",
                "tax_rates",
            ],
        )?;
        let price = match (item.opt_text("price"), item.get("price_data")) {
            (Some(id), _) => world.store.find("price", id).cloned().ok_or_else(|| {
                ApiError::missing_reference("price", id, &format!("{place}[price]"))
            })?,
            (None, Some(data)) => {
                catalogue::inline_price(world, data, &format!("{place}[price_data]"))?
            }
            (None, None) => {
                let message = format!("Missing required param: {place}[price].");
                return Err(ApiError::parameter(
                    Some("parameter_missing"),
                    &format!("{place}[price]"),
                    message,
                ));
            }
        };
        if price.text("type") != "recurring" {
            let message = "The price specified is set to `type=one_time` but this field only accepts prices with \
                           `type=recurring`.";
            return Err(ApiError::invalid(message).param(&format!("{place}[price]")));
        }
        items.push((price, item.opt_int("quantity").unwrap_or(1)));
    }
    Ok(items)
}
