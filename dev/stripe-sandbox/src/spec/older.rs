//! Objects in the shape of API versions before basil (2025-03-31), for endpoints and callers that pin one.
//!
//! What moved: <https://docs.stripe.com/changelog/basil>. Newer versions only add to each other, apart from the
//! names of `ui_mode`, so they share the shape that the sandbox keeps.

use serde_json::{Value, json};

use super::version::is_before_basil;
use crate::world::json::{Json, list};
use crate::world::store::Store;

/// Renamed in dahlia.
const UI_MODES_RENAMED: &str = "2026-03-25";
/// How many elements a list inside an object shows.
const EMBEDDED: usize = 10;
/// Discounts and promotion codes embed no coupon any more.
const COUPONS_MOVED: &str = "2025-09-30";
/// Charges stopped to embed refunds, and payment intents charges.
const LISTS_LEFT_OUT: &str = "2022-11-15";

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

/// An event as an endpoint of an API version gets it.
pub(crate) fn event(store: &Store, event: &Value, version: Option<&str>) -> Value {
    let mut rendered = event.clone();
    if let Some(version) = version {
        rendered.set("api_version", version);
        if is_older(version) {
            // What an object used to be is told in its own terms.
            let kind = rendered["data"]["object"].text("object").to_owned();
            if let Some(previous) = rendered["data"].get_mut("previous_attributes") {
                older_previous(&kind, previous);
            }
            older(store, &mut rendered["data"]["object"], version);
        }
    }
    rendered
}

/// An answer as a request with `Stripe-Version` gets it.
pub(crate) fn answer(store: &Store, body: &Value, version: Option<&str>) -> Value {
    let mut rendered = body.clone();
    rendered
        .as_object_mut()
        .into_iter()
        .flatten()
        .for_each(|(_, field)| shorten(field));
    if let Some(version) = version.filter(|version| is_older(version)) {
        older(store, &mut rendered, version);
    }
    rendered
}

/// A list inside an object shows its first ten elements; the rest has a route of its own.
fn shorten(value: &mut Value) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(shorten),
        Value::Object(fields) => {
            fields.values_mut().for_each(shorten);
            let is_list = fields.get("object").is_some_and(|object| object == "list");
            if let Some(Value::Array(data)) = fields.get_mut("data").filter(|_| is_list)
                && data.len() > EMBEDDED
            {
                data.truncate(EMBEDDED);
                fields.insert("has_more".to_owned(), true.into());
            }
        }
        _ => {}
    }
}

fn is_older(version: &str) -> bool {
    version < UI_MODES_RENAMED
}

fn older(store: &Store, value: &mut Value, version: &str) {
    match value {
        Value::Array(elements) => elements
            .iter_mut()
            .for_each(|element| older(store, element, version)),
        Value::Object(_) => {
            // An event is what it was when it happened.
            if value.text("object") == "event" {
                return;
            }
            let before_basil = is_before_basil(version);
            // The lines look at their parents before those lose what they tell.
            match value.text("object") {
                "checkout.session" if value.text("ui_mode") == "hosted_page" => {
                    value.set("ui_mode", "hosted");
                }
                "invoice" if before_basil => older_invoice(store, value),
                "line_item" if before_basil => older_line(store, value),
                "subscription" if before_basil => older_subscription(value),
                "charge" if before_basil => older_charge(store, value, version),
                // What gives a discount was its coupon: <https://docs.stripe.com/changelog/clover>.
                "discount" if version < COUPONS_MOVED => {
                    let coupon = store.get(value["source"].reference("coupon").unwrap_or_default());
                    value.set("coupon", coupon.cloned());
                    remove(value, &["source"]);
                }
                "promotion_code" if version < COUPONS_MOVED => {
                    let coupon = value["promotion"].reference("coupon");
                    value.set("coupon", store.get(coupon.unwrap_or_default()).cloned());
                    remove(value, &["promotion"]);
                }
                "payment_intent" if before_basil => older_intent(store, value, version),
                "credit_note" if before_basil => {
                    let refund = value
                        .items("refunds")
                        .first()
                        .map(|given| given["refund"].clone());
                    value.set("refund", refund);
                }
                _ => {}
            }
            if let Value::Object(fields) = value {
                fields
                    .values_mut()
                    .for_each(|field| older(store, field, version));
            }
        }
        _ => {}
    }
}

fn remove(value: &mut Value, keys: &[&str]) {
    if let Value::Object(fields) = value {
        for key in keys {
            fields.remove(*key);
        }
    }
}

fn older_subscription(value: &mut Value) {
    let first = value["items"]
        .items("data")
        .first()
        .cloned()
        .unwrap_or_default();
    for key in ["current_period_start", "current_period_end"] {
        value.set(key, first[key].clone());
    }
    value.set("discount", Value::Null);
    if value["items"].items("data").len() == 1 {
        value.set("plan", first["plan"].clone());
        value.set("quantity", first["quantity"].clone());
    }
    if let Some(items) = value["items"].get_mut("data").and_then(Value::as_array_mut) {
        for item in items {
            remove(
                item,
                &[
                    "current_period_start",
                    "current_period_end",
                    "billed_until",
                    "current_trial",
                ],
            );
        }
    }
    remove(
        value,
        &[
            "billing_mode",
            "billing_schedules",
            "customer_account",
            "managed_payments",
            "status_details",
        ],
    );
}

fn older_previous(kind: &str, previous: &mut Value) {
    if kind == "subscription" && previous.has("items") {
        let mut whole = json!({"items": previous["items"]});
        older_subscription(&mut whole);
        for key in ["items", "current_period_start", "current_period_end"] {
            previous.set(key, whole[key].clone());
        }
    }
}

fn payment_of<'a>(store: &'a Store, invoice: &str) -> Option<&'a Value> {
    let payment = store
        .hidden(invoice, "payments")
        .as_array()?
        .last()?
        .as_str()?;
    store.get(store.get(payment)?["payment"].text("payment_intent"))
}

fn older_invoice(store: &Store, value: &mut Value) {
    let details = value["parent"]["subscription_details"].clone();
    let intent = payment_of(store, value.text("id"));
    let taxes = value.items("total_taxes");
    let tax = (!taxes.is_empty()).then(|| taxes.iter().map(|tax| tax.int("amount")).sum::<i64>());
    let added = json!({
        "subscription": details.get("subscription"),
        "subscription_details": {"metadata": details.get("metadata")},
        "payment_intent": intent.map(|intent| intent["id"].clone()),
        "charge": intent.map(|intent| intent["latest_charge"].clone()),
        "paid": value.text("status") == "paid", "paid_out_of_band": value.int("amount_paid_off_stripe") > 0,
        "tax": tax, "total_tax_amounts": older_taxes(&value["total_taxes"]), "discount": null, "quote": null, "application_fee_amount": null,
        "transfer_data": null,
    });
    for (key, field) in added.fields() {
        value.set(&key, field);
    }
    let gone = [
        "parent",
        "payments",
        "confirmation_secret",
        "total_taxes",
        "amount_overpaid",
        "amount_paid_off_stripe",
        "customer_account",
        "status_details",
    ];
    remove(value, &gone);
}

fn older_taxes(taxes: &Value) -> Vec<Value> {
    let taxes = taxes.as_array().into_iter().flatten();
    let older = taxes.map(|tax| {
        json!({"amount": tax["amount"], "inclusive": tax.text("tax_behavior") == "inclusive",
            "tax_rate": tax["tax_rate_details"]["tax_rate"], "taxability_reason": tax["taxability_reason"],
            "taxable_amount": tax["taxable_amount"]})
    });
    older.collect()
}

fn older_line(store: &Store, value: &mut Value) {
    let parent = value["parent"].clone();
    let price = store
        .get(value["pricing"]["price_details"].text("price"))
        .cloned()
        .unwrap_or_default();
    let item = &parent["subscription_item_details"];
    let prorated = item.flag("proration");
    let credited = item["proration_details"]["credited_items"].clone();
    let added = json!({
        "price": price, "plan": if price.has("recurring") { plan_of(&price) } else { Value::Null },
        "type": if item.is_object() && !prorated { "subscription" } else { "invoiceitem" }, "proration": prorated,
        "proration_details": {"credited_items": credited}, "tax_amounts": older_taxes(&value["taxes"]), "tax_rates": [],
        "amount_excluding_tax": value["amount"],
        "unit_amount_excluding_tax": value["pricing"]["unit_amount_decimal"],
    });
    for (key, field) in added.fields() {
        value.set(&key, field);
    }
    if let Some(id) = item.opt_text("subscription_item") {
        value.set("subscription_item", id);
    }
    let by_item = parent["invoice_item_details"].opt_text("invoice_item");
    if let Some(id) = by_item.or(item.opt_text("invoice_item")) {
        value.set("invoice_item", id);
    }
    remove(
        value,
        &["parent", "pricing", "taxes", "subtotal", "quantity_decimal"],
    );
}

fn invoice_of(store: &Store, intent: &str) -> Value {
    store.hidden(intent, "invoice").clone()
}

fn rows_of(store: &Store, kind: &str, key: &str, id: &str, url: &str) -> Value {
    let rows = store
        .linked(kind, id)
        .rev()
        .filter(|row| row.text(key) == id)
        .cloned();
    list(url, rows.collect())
}

fn older_charge(store: &Store, value: &mut Value, version: &str) {
    let id = value.text("id").to_owned();
    value.set(
        "invoice",
        invoice_of(store, value.reference("payment_intent").unwrap_or_default()),
    );
    if version < LISTS_LEFT_OUT {
        value.set(
            "refunds",
            rows_of(
                store,
                "refund",
                "charge",
                &id,
                &format!("/v1/charges/{id}/refunds"),
            ),
        );
    }
}

fn older_intent(store: &Store, value: &mut Value, version: &str) {
    let id = value.text("id").to_owned();
    value.set("invoice", invoice_of(store, &id));
    if version < LISTS_LEFT_OUT {
        value.set(
            "charges",
            rows_of(
                store,
                "charge",
                "payment_intent",
                &id,
                &format!("/v1/charges?payment_intent={id}"),
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::event;
    use crate::world::json::Json;
    use crate::world::store::Store;

    #[test]
    fn periods_move_to_the_top_of_an_old_subscription() {
        let item = json!({"object": "subscription_item", "current_period_start": 1, "current_period_end": 2, "quantity": 1});
        let current = json!({"object": "event", "type": "customer.subscription.updated", "data": {
            "object": {"object": "subscription", "items": {"object": "list", "data": [item]}},
            "previous_attributes": {"items": {"object": "list", "data": [item]}, "status": "active"}}});
        let old = event(&Store::default(), &current, Some("2024-06-20"));
        assert_eq!(old["data"]["object"].int("current_period_end"), 2);
        assert!(!old["data"]["object"]["items"]["data"][0].has("current_period_end"));
        assert_eq!(
            old["data"]["previous_attributes"].int("current_period_end"),
            2
        );
        assert_eq!(old.text("api_version"), "2024-06-20");
    }

    #[test]
    fn current_versions_get_current_shapes() {
        let current =
            json!({"object": "event", "data": {"object": {"object": "invoice", "parent": null}}});
        let same = event(&Store::default(), &current, Some("2026-09-30.endive"));
        assert_eq!(same["data"]["object"], current["data"]["object"]);
    }
}
