//! Subscriptions and their items.

use super::listing;
use super::{Call, Route, refuse, route, subscription_create, subscription_update};
use crate::engine::billing::{self, Collect};
use crate::engine::subscriptions::{self, is_over, period_end};
use crate::engine::{periods, proration};
use crate::world::error::{ApiError, ApiResult};
use crate::world::json::Json;
use crate::world::{Task, World};

pub(super) const ROUTES: &[Route] = &[
    route(
        "POST",
        "/v1/subscriptions",
        "subscription",
        subscription_create::create,
    ),
    route("GET", "/v1/subscriptions", "subscription", index),
    route("GET", "/v1/subscriptions/{}", "subscription", retrieve),
    route(
        "POST",
        "/v1/subscriptions/{}",
        "subscription",
        subscription_update::update,
    ),
    route("DELETE", "/v1/subscriptions/{}", "subscription", cancel),
    route("POST", "/v1/subscriptions/{}/pause", "subscription", pause),
    route(
        "POST",
        "/v1/subscriptions/{}/resume",
        "subscription",
        resume,
    ),
    route("GET", "/v1/subscription_items", "subscription_item", items),
];

const RESUMPTION_SECONDS: i64 = 23 * 3600;

fn retrieve(world: &mut World, call: &Call) -> ApiResult {
    world.require("subscription", call.id())
}

fn index(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    let status = params.opt_text("status");
    listing::page(world, "subscription", "/v1/subscriptions", params, |row| {
        let status_fits = match status {
            None => !is_over(row),
            Some("all") => true,
            Some("ended") => is_over(row),
            Some(wanted) => row.text("status") == wanted,
        };
        let has_price = |id: &str| {
            row["items"]
                .items("data")
                .iter()
                .any(|item| item["price"].text("id") == id)
        };
        let starts = row["items"]
            .items("data")
            .iter()
            .map(|item| item.int("current_period_start"))
            .min();
        // Subscriptions on a test clock are hidden unless asked for.
        let clock_fits =
            params.has("test_clock") || params.has("customer") || !row.has("test_clock");
        status_fits
            && clock_fits
            && listing::matches(
                row,
                params,
                &["collection_method", "customer", "test_clock"],
            )
            && params.opt_text("price").is_none_or(has_price)
            && listing::in_range(period_end(row), &params["current_period_end"])
            && listing::in_range(starts.unwrap_or_default(), &params["current_period_start"])
    })
}

fn items(world: &mut World, call: &Call) -> ApiResult {
    let subscription = world.require("subscription", call.params.text("subscription"))?;
    Ok(listing::of_rows(
        subscription["items"].items("data"),
        "/v1/subscription_items",
        &call.params,
    ))
}

fn cancel(world: &mut World, call: &Call) -> ApiResult {
    let subscription = world.require("subscription", call.id())?;
    refuse(&call.params, &["invoice_now", "prorate"])?;
    if is_over(&subscription) {
        return Err(ApiError::missing("subscription", call.id()));
    }
    proration::drop_pending(world, call.id());
    Ok(subscriptions::cancel(
        world,
        call.id(),
        "cancellation_requested",
        &call.params["cancellation_details"],
    ))
}

fn pause(world: &mut World, call: &Call) -> ApiResult {
    let subscription = world.require("subscription", call.id())?;
    refuse(&call.params, &["bill_for"])?;
    if !matches!(
        subscription.text("status"),
        "active" | "trialing" | "past_due"
    ) {
        let message = format!(
            "You cannot pause a subscription with a status of `{}`.",
            subscription.text("status")
        );
        return Err(ApiError::invalid(message));
    }
    subscriptions::pause(world, call.id(), "pause_requested");
    Ok(world.store.copy(call.id()))
}

fn resume(world: &mut World, call: &Call) -> ApiResult {
    let (id, params) = (call.id(), &call.params);
    let subscription = world.require("subscription", id)?;
    if subscription.text("status") != "paused" {
        let message = format!(
            "Only `paused` subscriptions can be resumed. This one is `{}`.",
            subscription.text("status")
        );
        return Err(ApiError::invalid(message));
    }
    let now = world.now();
    let keeps_period = params["billing_cycle_anchor"].text("type") == "unchanged"
        && period_end(&subscription) > now;
    if keeps_period {
        subscriptions::resume(world, id);
        return Ok(world.store.copy(id));
    }
    if params["billing_cycle_anchor"].text("type") != "unchanged" {
        world.change(id, |object| object.set("billing_cycle_anchor", now));
    }
    let on_success = params.text("payment_behavior") == "resume_on_payment_success";
    if !on_success {
        subscriptions::resume(world, id);
    }
    let status = world.store.copy(id).text("status").to_owned();
    periods::start_period(world, id, now, &status, "subscription_update");
    let invoice = world.store.copy(id).text("latest_invoice").to_owned();
    if on_success {
        world.store.hide(id, "resumption", invoice.as_str());
        world.plan(
            now + RESUMPTION_SECONDS,
            Task::ExpireResumption(invoice.clone()),
        );
    }
    billing::finalize(world, &invoice);
    // A failed attempt shows in the subscription's status; the resumption itself has worked.
    let _ = billing::collect(
        world,
        &invoice,
        &Collect {
            automatic: !on_success,
            ..Collect::default()
        },
    );
    Ok(world.store.copy(id))
}
