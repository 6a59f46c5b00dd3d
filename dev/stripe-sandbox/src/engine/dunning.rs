//! What follows a failed payment: retries, and in the end the account's policy.

use serde_json::Value;

use super::{billing, proration, subscriptions};
use crate::world::json::Json;
use crate::world::settings::FinalFailure;
use crate::world::{Task, World};

/// Records that an attempt to collect an invoice failed, and plans what comes next.
pub(crate) fn payment_failed(
    world: &mut World,
    invoice: &str,
    automatic: bool,
    needs_action: bool,
) {
    let now = world.now();
    let current = world.store.copy(invoice);
    let retries = world.settings.retry_hours.clone();
    let waited = usize::try_from(current.int("attempt_count"))
        .unwrap_or(1)
        .saturating_sub(1);
    // A try by hand leaves the schedule as it is.
    let next = if automatic {
        retries.get(waited).map(|hours| now + hours * 3600)
    } else {
        current.opt_int("next_payment_attempt")
    };
    let failed = world.change(invoice, |object| object.set("next_payment_attempt", next));
    if needs_action {
        world.emit("invoice.payment_action_required", &failed, None);
    }
    world.emit("invoice.payment_failed", &failed, None);
    let Some(subscription) = failed["parent"]["subscription_details"]
        .opt_text("subscription")
        .map(str::to_owned)
    else {
        return;
    };
    let status = world.store.copy(&subscription).text("status").to_owned();
    if matches!(status.as_str(), "active" | "trialing") {
        world.update(&subscription, "customer.subscription.updated", |object| {
            object.set("status", "past_due");
        });
    }
    if !automatic {
        return;
    }
    if let Some(next) = next {
        world.plan(next, Task::RetryInvoice(invoice.to_owned()));
    } else {
        give_up(world, invoice, &subscription);
    }
}

/// All retries have failed.
fn give_up(world: &mut World, invoice: &str, subscription: &str) {
    let status = world.store.copy(subscription).text("status").to_owned();
    if status != "past_due" {
        return;
    }
    match world.settings.final_failure {
        FinalFailure::Cancel => {
            proration::drop_pending(world, subscription);
            subscriptions::cancel(world, subscription, "payment_failed", &Value::Null);
        }
        FinalFailure::Unpaid => {
            world.update(subscription, "customer.subscription.updated", |object| {
                object.set("status", "unpaid");
            });
        }
        FinalFailure::PastDue => {}
        FinalFailure::Pause => subscriptions::pause(world, subscription, "final_payment_failure"),
    }
    if world.settings.uncollectible_at_end {
        billing::mark_uncollectible(world, invoice, "max_payment_attempts");
    }
}

/// The next planned attempt, if the invoice still waits for it.
pub(crate) fn retry(world: &mut World, invoice: &str) {
    let current = world.store.copy(invoice);
    let is_due = current
        .opt_int("next_payment_attempt")
        .is_some_and(|at| at <= world.now());
    if current.text("status") == "open" && is_due {
        let how = billing::Collect {
            automatic: true,
            ..billing::Collect::default()
        };
        // What fails is told by events and the next step of the ladder.
        let _ = billing::collect(world, invoice, &how);
    }
}

/// A sent invoice was not paid by its due date.
pub(crate) fn overdue(world: &mut World, invoice: &str) {
    let current = world.store.copy(invoice);
    if current.text("status") != "open" {
        return;
    }
    world.emit("invoice.overdue", &current, None);
    if let Some(subscription) = current["parent"]["subscription_details"].opt_text("subscription")
        && world.store.copy(subscription).text("status") == "active"
    {
        world.update(subscription, "customer.subscription.updated", |object| {
            object.set("status", "past_due");
        });
    }
}
