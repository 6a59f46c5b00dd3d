//! Customers.

use serde_json::{Value, json};

use super::{Call, Route, route, set_texts};
use crate::engine::{proration, subscriptions};
use crate::error::{ApiError, ApiResult};
use crate::ids;
use crate::json::{Json, list};
use crate::listing;
use crate::world::{World, merge, new_metadata};

pub(super) const ROUTES: &[Route] = &[
    route("POST", "/v1/customers", "customer", create),
    route("GET", "/v1/customers", "customer", index),
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

const TEXTS: &[&str] = &[
    "business_name",
    "description",
    "email",
    "individual_name",
    "name",
    "phone",
    "tax_exempt",
];

/// Creates a customer; the hosted page does so too.
pub(crate) fn new_customer(world: &mut World, params: &Value) -> Value {
    let mut customer = json!({
        "id": ids::new("cus"), "object": "customer", "address": null, "balance": 0, "business_name": null,
        "created": world.now(), "currency": null, "customer_account": null, "default_source": null,
        "delinquent": false, "description": null, "discount": null, "email": null, "individual_name": null,
        "invoice_prefix": ids::random(8).to_uppercase(),
        "invoice_settings": {"custom_fields": null, "default_payment_method": null, "footer": null, "rendering_options": null},
        "livemode": false, "metadata": new_metadata(params.get("metadata")), "name": null, "next_invoice_sequence": 1,
        "phone": null, "preferred_locales": [], "shipping": null, "tax_exempt": "none", "test_clock": null,
    });
    apply(&mut customer, params);
    world.create(customer, Some("customer.created"))
}

fn apply(customer: &mut Value, params: &Value) {
    set_texts(customer, params, TEXTS);
    for hash in ["address", "shipping"] {
        match params.get(hash) {
            Some(Value::Object(_)) => {
                let mut whole = customer[hash].clone();
                if whole.is_null() && hash == "address" {
                    whole = json!({"city": null, "country": null, "line1": null, "line2": null, "postal_code": null, "state": null});
                } else if whole.is_null() {
                    whole = json!({});
                }
                for (key, value) in params[hash].fields() {
                    whole.set(&key, value);
                }
                customer.set(hash, whole);
            }
            Some(_) => customer.set(hash, Value::Null),
            None => {}
        }
    }
    for key in ["balance", "preferred_locales", "test_clock"] {
        if let Some(value) = params.get(key) {
            customer.set(key, value.clone());
        }
    }
    if let Some(method) = params["invoice_settings"].opt_text("default_payment_method") {
        let method = if method.is_empty() {
            Value::Null
        } else {
            method.into()
        };
        customer["invoice_settings"].set("default_payment_method", method);
    }
}

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
    for subscription in world.store.ids_where("subscription", theirs) {
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

fn payment_methods(world: &mut World, call: &Call) -> ApiResult {
    live(world, call.id())?;
    let url = format!("/v1/customers/{}/payment_methods", call.id());
    let rows = world.store.all("payment_method").iter().rev();
    let theirs = rows.filter(|row| {
        row.text("customer") == call.id() && listing::matches(row, &call.params, &["type"])
    });
    Ok(list(&url, theirs.cloned().collect()))
}
