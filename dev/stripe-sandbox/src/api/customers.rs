//! Customers.

use serde_json::{Value, json};

use super::listing;
use super::search;
use super::search_query::{Field, Kind, parse};
use super::{Call, Route, route};
use crate::engine::customers::{apply, new_customer};
use crate::engine::{proration, subscriptions};
use crate::world::error::{ApiError, ApiResult};
use crate::world::json::{Json, list};
use crate::world::{World, merge};

pub(super) const ROUTES: &[Route] = &[
    route("POST", "/v1/customers", "customer", create),
    route("GET", "/v1/customers", "customer", index),
    route("GET", "/v1/customers/search", "customer", search),
    route("GET", "/v1/customers/{}", "customer", retrieve),
    route("POST", "/v1/customers/{}", "customer", update),
    route("DELETE", "/v1/customers/{}", "customer", delete),
    route(
        "GET",
        "/v1/customers/{}/payment_methods",
        "payment_method",
        payment_methods,
    ),
];

/// What a search may name: <https://docs.stripe.com/search#query-fields-for-customers>.
const SEARCHED: &[Field] = &[
    Field("created", Kind::Numeric),
    Field("email", Kind::Text),
    Field("metadata", Kind::Token),
    Field("name", Kind::Text),
    Field("phone", Kind::Text),
];

/// A live customer, or Stripe's errors for one that is missing or deleted.
fn live(world: &World, id: &str) -> ApiResult {
    let customer = world.require("customer", id)?;
    if customer.flag("deleted") {
        Err(ApiError::missing("customer", id))
    } else {
        Ok(customer)
    }
}

fn create(world: &mut World, call: &Call) -> ApiResult {
    super::refuse(
        &call.params,
        &[
            "cash_balance",
            "payment_method",
            "source",
            "tax",
            "tax_id_data",
        ],
    )?;
    if let Some(clock) = call.params.opt_text("test_clock") {
        world.require("test_helpers.test_clock", clock)?;
    }
    Ok(new_customer(world, &call.params))
}

fn retrieve(world: &mut World, call: &Call) -> ApiResult {
    world.require("customer", call.id())
}

fn update(world: &mut World, call: &Call) -> ApiResult {
    super::refuse(&call.params, &["cash_balance", "source", "tax"])?;
    live(world, call.id())?;
    if let Some(method) = call.params["invoice_settings"]
        .opt_text("default_payment_method")
        .filter(|m| !m.is_empty())
    {
        let param = "invoice_settings[default_payment_method]";
        let known = world.store.find("payment_method", method);
        if known.is_none_or(|known| known.opt_text("customer") != Some(call.id())) {
            return Err(ApiError::missing_reference("payment_method", method, param));
        }
    }
    Ok(world.update(call.id(), "customer.updated", |customer| {
        apply(customer, &call.params);
        merge(customer, call.params.get("metadata"));
    }))
}

fn delete(world: &mut World, call: &Call) -> ApiResult {
    live(world, call.id())?;
    Ok(remove(world, call.id()))
}

/// Deletes a customer; what it subscribed to ends at once.
pub(super) fn remove(world: &mut World, id: &str) -> Value {
    let customer = world.store.copy(id);
    let theirs = |row: &Value| row.text("customer") == id && !subscriptions::is_over(row);
    for subscription in world.store.ids_linked("subscription", id, theirs) {
        proration::drop_pending(world, &subscription);
        subscriptions::cancel(world, &subscription, "cancellation_requested", &Value::Null);
    }
    let stub = json!({"id": id, "object": "customer", "deleted": true});
    world.change(id, |object| object.clone_from(&stub));
    world.emit("customer.deleted", &customer, None);
    stub
}

fn index(world: &mut World, call: &Call) -> ApiResult {
    listing::page(world, "customer", "/v1/customers", &call.params, |row| {
        listing::matches(row, &call.params, &["email", "test_clock"])
    })
}

/// What fits is told by what the index knows, what is answered is the customer of now.
fn search(world: &mut World, call: &Call) -> ApiResult {
    let query = parse(call.params.text("query"), "customers", SEARCHED)?;
    let moment = world.now() - i64::from(world.settings.search_lag_seconds);
    search::page(
        world,
        "customer",
        "/v1/customers/search",
        &call.params,
        |row| {
            let known = world.past.at(row, moment);
            known.is_some_and(|mut known| {
                known.set("created", row["created"].clone());
                query.fits(&known)
            })
        },
    )
}

fn payment_methods(world: &mut World, call: &Call) -> ApiResult {
    live(world, call.id())?;
    let url = format!("/v1/customers/{}/payment_methods", call.id());
    let rows = world.store.linked("payment_method", call.id()).rev();
    let theirs = rows.filter(|row| {
        row.text("customer") == call.id() && listing::matches(row, &call.params, &["type"])
    });
    Ok(list(&url, theirs.cloned().collect()))
}
