//! Customers as they are made and changed, by the API and the hosted page alike.

use serde_json::{Value, json};

use crate::world::ids;
use crate::world::json::Json;
use crate::world::{World, new_metadata, set_texts};

const TEXTS: &[&str] = &[
    "business_name",
    "description",
    "email",
    "individual_name",
    "name",
    "phone",
    "tax_exempt",
];

/// Creates a customer.
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

/// Sets what the parameters of a customer say.
pub(crate) fn apply(customer: &mut Value, params: &Value) {
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
