//! Subscriptions from creation to their end.

use serde_json::{Value, json};

use super::drafts::Line;
use super::periods;
use crate::spec::older::plan_of;
use crate::world::clock::next_period_end;
use crate::world::ids;
use crate::world::json::{Json, list};
use crate::world::{Task, World};

/// Seconds of a day.
pub(super) const DAY: i64 = 86_400;

/// What a subscription is made of.
pub(crate) struct NewSubscription<'a> {
    pub customer: &'a str,
    pub currency: &'a str,
    /// Recurring prices with quantity and metadata.
    pub items: Vec<(Value, i64)>,
    pub method: Option<&'a str>,
    /// `metadata`, `description`, `trial_end`, `billing_cycle_anchor`, `trial_settings`.
    pub data: &'a Value,
    pub collection_method: &'a str,
    pub days_until_due: Option<i64>,
    pub status: &'static str,
}

/// When the trial that parameters ask for ends.
pub(crate) fn trial_end(data: &Value, now: i64) -> Option<i64> {
    data.opt_int("trial_end").or_else(|| {
        data.opt_int("trial_period_days")
            .map(|days| now + days * DAY)
    })
}

/// Creates a subscription; its first invoice is the caller's.
pub(crate) fn create(world: &mut World, new: &NewSubscription) -> Value {
    let id = ids::new("sub");
    let now = world.now();
    let trial_end = trial_end(new.data, now);
    let anchor = trial_end
        .or_else(|| new.data.opt_int("billing_cycle_anchor"))
        .unwrap_or(now);
    let end = if anchor > now {
        anchor
    } else {
        first_end(anchor, new.items.first().map(|(price, _)| price))
    };
    let items = new.items.iter().map(|(price, quantity)| {
        json!({
            "id": ids::new("si"), "object": "subscription_item", "billed_until": null, "billing_thresholds": null, "created": now,
            "current_period_end": end, "current_period_start": now, "current_trial": null, "discounts": [],
            "metadata": {}, "plan": plan_of(price), "price": price, "quantity": quantity,
            "subscription": id, "tax_rates": [],
        })
    });
    let items = list(
        &format!("/v1/subscription_items?subscription={id}"),
        items.collect(),
    );
    let status = if trial_end.is_some() {
        "trialing"
    } else {
        new.status
    };
    let mut subscription = json!({
        "id": id, "object": "subscription", "application": null, "application_fee_percent": null,
        "automatic_tax": {"disabled_reason": null, "enabled": false, "liability": null}, "billing_cycle_anchor": anchor,
        "billing_cycle_anchor_config": null, "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"},
        "billing_schedules": [], "billing_thresholds": null, "cancel_at": null, "cancel_at_period_end": false,
        "canceled_at": null, "cancellation_details": {"comment": null, "feedback": null, "reason": null},
        "collection_method": new.collection_method, "created": now, "currency": new.currency, "customer": new.customer,
        "customer_account": null, "days_until_due": new.days_until_due, "default_payment_method": new.method,
        "default_source": null, "default_tax_rates": [], "description": new.data.get("description"), "discounts": [],
        "ended_at": null, "invoice_settings": {"account_tax_ids": null, "issuer": {"type": "self"}},
        "items": items, "latest_invoice": null, "livemode": false, "managed_payments": null,
        "metadata": crate::world::new_metadata(new.data.get("metadata")),
        "next_pending_invoice_item_invoice": null, "on_behalf_of": null, "pause_collection": null,
    });
    let end_behavior =
        new.data["trial_settings"]["end_behavior"].opt_text("missing_payment_method");
    for (key, value) in json!({
        "payment_settings": {"payment_method_options": null, "payment_method_types": null, "save_default_payment_method": "off"},
        "pending_invoice_item_interval": null, "pending_setup_intent": null, "pending_update": null, "schedule": null,
        "start_date": now, "status": status, "status_details": null, "test_clock": world.store.copy(new.customer)["test_clock"], "transfer_data": null,
        "trial_end": trial_end,
        "trial_settings": {"end_behavior": {"missing_payment_method": end_behavior.unwrap_or("create_invoice")}},
        "trial_start": trial_end.map(|_| now),
    })
    .fields()
    {
        subscription.set(&key, value);
    }
    world.store.insert(subscription.clone());
    periods::plan(world, &id, end);
    if let Some(at) = trial_end {
        world.plan((at - 3 * DAY).max(now), Task::AnnounceTrialEnd(id));
    }
    subscription
}

fn first_end(anchor: i64, price: Option<&Value>) -> i64 {
    let recurring = price
        .map(|price| price["recurring"].clone())
        .unwrap_or_default();
    next_period_end(
        anchor,
        recurring.text("interval"),
        recurring.int("interval_count"),
        anchor,
    )
}

/// The end of the period under way: the first to come among the items.
pub(crate) fn period_end(subscription: &Value) -> i64 {
    subscription["items"]
        .items("data")
        .iter()
        .map(|item| item.int("current_period_end"))
        .min()
        .unwrap_or_default()
}

/// The subscription that an invoice bills.
pub(crate) fn of_invoice(invoice: &Value) -> Option<&str> {
    invoice["parent"]["subscription_details"].opt_text("subscription")
}

/// Whether nothing can happen to a subscription any more.
pub(crate) fn is_over(subscription: &Value) -> bool {
    matches!(
        subscription.text("status"),
        "canceled" | "incomplete_expired"
    )
}

/// The lines that bill a subscription for a period.
pub(crate) fn lines(
    world: &World,
    subscription: &Value,
    period: (i64, i64),
    free: Option<&str>,
) -> Vec<Line> {
    let items = subscription["items"].items("data").iter();
    items
        .map(|item| {
            let price = &item["price"];
            let quantity = item.opt_int("quantity").unwrap_or(1);
            let name = world
                .store
                .copy(price.text("product"))
                .text("name")
                .to_owned();
            let amount = if free.is_some() {
                0
            } else {
                world.unit_amount(price, subscription.text("currency")) * quantity
            };
            let description = free.map_or_else(
                || format!("{quantity} × {name}"),
                |why| format!("{why} {name}"),
            );
            let item_id = Some(item.text("id").to_owned());
            Line {
                price: price.clone(),
                quantity,
                amount,
                description,
                period,
                item: item_id,
                metadata: item["metadata"].clone(),
            }
        })
        .collect()
}

/// Ends a subscription now.
pub(crate) fn cancel(world: &mut World, id: &str, reason: &str, details: &Value) -> Value {
    let now = world.now();
    let cancelled = world.change(id, |object| {
        object.set("status", "canceled");
        object.set("ended_at", now);
        if !object.has("canceled_at") {
            object.set("canceled_at", now);
        }
        object.set("pause_collection", Value::Null);
        object["cancellation_details"].set("reason", reason);
        for key in ["comment", "feedback"] {
            if let Some(text) = details.opt_text(key) {
                object["cancellation_details"].set(key, text);
            }
        }
    });
    let is_open = |row: &Value| {
        row["parent"]["subscription_details"].text("subscription") == id
            && matches!(row.text("status"), "draft" | "open")
    };
    for invoice in world.store.ids_linked("invoice", id, is_open) {
        // What is still open is no longer collected by itself.
        world.update(&invoice, "invoice.updated", |object| {
            object.set("auto_advance", false);
            object.set("next_payment_attempt", Value::Null);
            object.set("automatically_finalizes_at", Value::Null);
        });
    }
    world.emit("customer.subscription.deleted", &cancelled, None);
    cancelled
}

/// Pauses a subscription: nothing is billed until it is resumed.
pub(crate) fn pause(world: &mut World, id: &str, reason: &str) {
    let now = world.now();
    let before = world.store.copy(id);
    let paused = world.change(id, |object| {
        object.set("status", "paused");
        object.set(
            "status_details",
            json!({"paused": {
            "subscription": {"type": reason}, "transitioned_at": now, "type": "subscription"}}),
        );
    });
    let previous = crate::world::json::previous_attributes(&before, &paused);
    world.emit("customer.subscription.paused", &paused, None);
    world.emit("customer.subscription.updated", &paused, Some(previous));
}

/// An invoice was paid or given up: its subscription may recover.
pub(crate) fn invoice_settled(world: &mut World, invoice: &Value) {
    let Some(id) = invoice["parent"]["subscription_details"].opt_text("subscription") else {
        return;
    };
    let subscription = world.store.copy(id);
    let is_latest = subscription.text("latest_invoice") == invoice.text("id");
    let is_paid = invoice.text("status") == "paid";
    match subscription.text("status") {
        "past_due" if is_latest => recover(world, id),
        "unpaid" | "incomplete" if is_latest && is_paid => recover(world, id),
        "paused"
            if is_paid
                && invoice.text("id")
                    == world
                        .store
                        .hidden(id, "resumption")
                        .as_str()
                        .unwrap_or_default() =>
        {
            resume(world, id);
        }
        _ => {}
    }
}

fn recover(world: &mut World, id: &str) {
    world.update(id, "customer.subscription.updated", |object| {
        object.set("status", "active");
    });
}

/// Resumes a paused subscription.
pub(crate) fn resume(world: &mut World, id: &str) {
    let before = world.store.copy(id);
    let resumed = world.change(id, |object| {
        object.set("status", "active");
        object.set("status_details", Value::Null);
    });
    let previous = crate::world::json::previous_attributes(&before, &resumed);
    world.emit("customer.subscription.resumed", &resumed, None);
    world.emit("customer.subscription.updated", &resumed, Some(previous));
}
