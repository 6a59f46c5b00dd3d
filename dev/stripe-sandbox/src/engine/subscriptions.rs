//! Subscriptions from creation to their end.

use serde_json::{Value, json};

use super::billing::{self, DRAFT_SECONDS, Line, NewInvoice};
use super::instruments::default_method;
use crate::clock::next_period_end;
use crate::ids;
use crate::json::{Json, list};
use crate::world::{Task, World};

const DAY: i64 = 86_400;

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
    plan_period(world, &id, end);
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

fn plan_period(world: &mut World, id: &str, end: i64) {
    world.plan(end, Task::EndPeriod(id.to_owned()));
    let announce = end - 3 * DAY;
    if announce > world.now() {
        world.plan(announce, Task::AnnounceRenewal(id.to_owned()));
    }
}

/// The old plan object that every subscription item still carries.
pub(crate) fn plan_of(price: &Value) -> Value {
    let recurring = &price["recurring"];
    json!({
        "id": price["id"], "object": "plan", "active": price["active"], "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"], "billing_scheme": "per_unit", "created": price["created"],
        "currency": price["currency"], "interval": recurring["interval"], "interval_count": recurring["interval_count"],
        "livemode": false, "metadata": price["metadata"], "meter": null, "nickname": price["nickname"],
        "product": price["product"], "tiers_mode": null, "transform_usage": null, "trial_period_days": null,
        "usage_type": "licensed",
    })
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
                price.int("unit_amount") * quantity
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

/// Three days before a period ends.
pub(crate) fn announce_renewal(world: &mut World, id: &str) {
    let subscription = world.store.copy(id);
    let end = period_end(&subscription);
    let renews = matches!(subscription.text("status"), "active" | "trialing")
        && !subscription.flag("cancel_at_period_end")
        && subscription.opt_int("cancel_at").is_none_or(|at| at > end)
        && (end - 3 * DAY..end).contains(&world.now());
    if !renews {
        return;
    }
    let amount: i64 = lines(world, &subscription, (end, end), None)
        .iter()
        .map(|line| line.amount)
        .sum();
    let mut preview = world.store.copy(subscription.text("latest_invoice"));
    if preview.is_null() {
        return;
    }
    for (key, value) in json!({
        "amount_due": amount, "amount_remaining": amount, "amount_paid": 0, "total": amount, "subtotal": amount,
        "status": "draft", "billing_reason": "upcoming", "number": null, "hosted_invoice_url": null, "invoice_pdf": null,
        "created": end, "next_payment_attempt": end + DRAFT_SECONDS, "period_start": preview["period_end"], "period_end": end,
        "attempt_count": 0, "attempted": false, "effective_at": null,
        "subtotal_excluding_tax": amount, "total_excluding_tax": amount,
    })
    .fields()
    {
        preview.set(&key, value);
    }
    if let Value::Object(fields) = &mut preview {
        // An upcoming invoice does not exist yet: it has no id.
        fields.remove("id");
    }
    world.emit("invoice.upcoming", &preview, None);
}

/// Three days before a trial ends.
pub(crate) fn announce_trial_end(world: &mut World, id: &str) {
    let subscription = world.store.copy(id);
    if subscription.text("status") == "trialing" {
        world.emit("customer.subscription.trial_will_end", &subscription, None);
    }
}

/// A period or a trial is over: renew, or end.
pub(crate) fn end_period(world: &mut World, id: &str) {
    let subscription = world.store.copy(id);
    let end = period_end(&subscription);
    if is_over(&subscription) || subscription.text("status") == "paused" || end > world.now() {
        return;
    }
    if subscription.flag("cancel_at_period_end") {
        cancel(world, id, "cancellation_requested", &Value::Null);
        return;
    }
    if subscription
        .opt_int("cancel_at")
        .is_some_and(|at| at <= end)
    {
        return cancel_at(world, id);
    }
    let trial_is_over = subscription.text("status") == "trialing";
    let has_method = default_method(world, &subscription).is_some();
    if trial_is_over
        && !has_method
        && subscription.text("collection_method") == "charge_automatically"
    {
        match subscription["trial_settings"]["end_behavior"].text("missing_payment_method") {
            "cancel" => {
                cancel(world, id, "payment_failed", &Value::Null);
                return;
            }
            "pause" => return pause(world, id, "trial_end_without_payment_method"),
            _ => {}
        }
    }
    let status = if trial_is_over {
        "active"
    } else {
        subscription.text("status")
    };
    start_period(world, id, end, status, "subscription_cycle");
}

/// Starts a period: the draft of its invoice, then the move of the period.
pub(crate) fn start_period(
    world: &mut World,
    id: &str,
    start: i64,
    status: &str,
    reason: &'static str,
) {
    let before = world.store.copy(id);
    let anchor = before.int("billing_cycle_anchor");
    let end = before["items"].items("data").first().map_or(start, |item| {
        let recurring = &item["price"]["recurring"];
        next_period_end(
            anchor,
            recurring.text("interval"),
            recurring.int("interval_count"),
            start,
        )
    });
    let new = NewInvoice {
        customer: before.text("customer"),
        currency: before.text("currency"),
        subscription: Some(id),
        reason,
        lines: lines(world, &before, (start, end), None),
        // An invoice is about the period that has just ended; its lines are about the one to come.
        period: (
            before["items"]
                .items("data")
                .first()
                .map_or(start, |item| item.int("current_period_start")),
            start,
        ),
        metadata: json!({}),
    };
    let invoice = billing::create(world, &new).text("id").to_owned();
    let keeps_draft =
        status == "unpaid" || before["pause_collection"].text("behavior") == "keep_as_draft";
    let due = world.now() + DRAFT_SECONDS;
    world.change(&invoice, |object| {
        object.set("auto_advance", !keeps_draft);
        object.set("automatically_finalizes_at", (!keeps_draft).then_some(due));
    });
    if !keeps_draft {
        world.plan(due, Task::FinalizeInvoice(invoice.clone()));
    }
    // The link to the invoice belongs to the same change as the period.
    let latest = before["latest_invoice"].clone();
    world.change(id, |object| object.set("latest_invoice", latest));
    world.update(id, "customer.subscription.updated", |object| {
        object.set("status", status);
        object.set("latest_invoice", invoice);
        if let Some(items) = object["items"]["data"].as_array_mut() {
            for item in items {
                item.set("current_period_start", start);
                item.set("current_period_end", end);
            }
        }
    });
    plan_period(world, id, end);
}

/// The moment of `cancel_at` is reached.
pub(crate) fn cancel_at(world: &mut World, id: &str) {
    let subscription = world.store.copy(id);
    let is_due = subscription
        .opt_int("cancel_at")
        .is_some_and(|at| at <= world.now());
    if is_due && !is_over(&subscription) {
        cancel(world, id, "cancellation_requested", &Value::Null);
    }
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
    for invoice in world.store.ids_where("invoice", is_open) {
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
    let previous = crate::json::previous_attributes(&before, &paused);
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
    let previous = crate::json::previous_attributes(&before, &resumed);
    world.emit("customer.subscription.resumed", &resumed, None);
    world.emit("customer.subscription.updated", &resumed, Some(previous));
}
