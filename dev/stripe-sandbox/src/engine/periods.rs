//! Subscriptions as time passes: renewals, trials, ends, and what was not paid in time.

use serde_json::{Value, json};

use super::billing;
use super::drafts::{self, DRAFT_SECONDS, NewInvoice};
use super::instruments::default_method;
use super::subscriptions::{DAY, cancel, is_over, lines, pause, period_end};
use super::{previews, proration};
use crate::world::clock::next_period_end;
use crate::world::json::Json;
use crate::world::{Task, World};

/// Plans the end of a period, and its announcement.
pub(super) fn plan(world: &mut World, id: &str, end: i64) {
    world.plan(end, Task::EndPeriod(id.to_owned()));
    let announce = end - 3 * DAY;
    if announce > world.now() {
        world.plan(announce, Task::AnnounceRenewal(id.to_owned()));
    }
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
    let Some(mut preview) = previews::preview(world, id, None) else {
        return;
    };
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
        bill_what_is_left(world, id);
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
    let invoice = drafts::create(world, &new).text("id").to_owned();
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
    plan(world, id, end);
}

/// The moment of `cancel_at` is reached.
pub(crate) fn cancel_at(world: &mut World, id: &str) {
    let subscription = world.store.copy(id);
    let is_due = subscription
        .opt_int("cancel_at")
        .is_some_and(|at| at <= world.now());
    if is_due && !is_over(&subscription) {
        cancel(world, id, "cancellation_requested", &Value::Null);
        bill_what_is_left(world, id);
    }
}

/// Prorations that wait when a subscription ends as planned are still collected.
fn bill_what_is_left(world: &mut World, id: &str) {
    if !proration::is_pending(world, id) {
        return;
    }
    let ended = world.store.copy(id);
    let now = world.now();
    let new = NewInvoice {
        customer: ended.text("customer"),
        currency: ended.text("currency"),
        subscription: Some(id),
        reason: "subscription_cycle",
        lines: vec![],
        period: (now, now),
        metadata: json!({}),
    };
    let invoice = drafts::create(world, &new).text("id").to_owned();
    let due = now + DRAFT_SECONDS;
    world.change(&invoice, |object| {
        object.set("automatically_finalizes_at", due);
    });
    world.plan(due, Task::FinalizeInvoice(invoice));
}

/// The pause of collection ends by itself.
pub(crate) fn resume_collection(world: &mut World, id: &str) {
    let subscription = world.store.copy(id);
    let is_due = subscription["pause_collection"]
        .opt_int("resumes_at")
        .is_some_and(|at| at <= world.now());
    if is_due && !is_over(&subscription) {
        world.update(id, "customer.subscription.updated", |object| {
            object.set("pause_collection", Value::Null);
        });
    }
}

/// A resumption was not paid in time: its invoice is void, the subscription stays paused.
pub(crate) fn expire_resumption(world: &mut World, invoice: &str) {
    if world.store.copy(invoice).text("status") == "open" {
        billing::void(world, invoice);
    }
}

/// A first invoice was not paid in time.
pub(crate) fn expire_incomplete(world: &mut World, id: &str) {
    let subscription = world.store.copy(id);
    if subscription.text("status") != "incomplete" {
        return;
    }
    billing::void(world, subscription.text("latest_invoice"));
    let now = world.now();
    world.update(id, "customer.subscription.updated", |object| {
        object.set("status", "incomplete_expired");
        object.set("ended_at", now);
    });
}
