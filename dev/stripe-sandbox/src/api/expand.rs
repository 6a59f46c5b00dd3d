//! `expand[]`: ids become objects, and lists that are left out by default appear.

use serde_json::{Value, json};

use crate::engine::billing;
use crate::spec::table;
use crate::world::World;
use crate::world::error::ApiError;
use crate::world::json::{Json, list};

const MAX_DEPTH: usize = 4;

/// Expands an answer as asked.
///
/// # Errors
/// Stripe's 400 for a path that is too deep or leads to nothing expandable.
pub(crate) fn expand(
    world: &World,
    answer: &mut Value,
    resource: &str,
    is_list: bool,
    params: &Value,
) -> Result<(), ApiError> {
    for path in params.items("expand").iter().filter_map(Value::as_str) {
        let segments: Vec<&str> = path.split('.').collect();
        if segments.len() > MAX_DEPTH {
            let message = format!(
                "You cannot expand more than {MAX_DEPTH} levels of a property. Property: {path}"
            );
            return Err(ApiError::parameter(None, "expand", message));
        }
        let fields = if is_list {
            json!({"data": {"r": [resource]}})
        } else {
            table::expandable(resource).cloned().unwrap_or_default()
        };
        walk(world, answer, &[&fields], &segments).map_err(|segment| {
            let message = format!("This property cannot be expanded ({segment}).");
            ApiError::parameter(None, "expand", message)
        })?;
    }
    Ok(())
}

/// Checks a path even where the value is null: a wrong one must fail on the first try.
fn walk<'a>(
    world: &World,
    value: &mut Value,
    levels: &[&'a Value],
    segments: &[&str],
) -> Result<(), String> {
    let Some((segment, rest)) = segments.split_first() else {
        return Ok(());
    };
    if let Value::Array(elements) = value
        && !elements.is_empty()
    {
        return elements
            .iter_mut()
            .try_for_each(|element| walk(world, element, levels, segments));
    }
    let field = levels
        .iter()
        .find_map(|fields| fields.get(*segment))
        .ok_or_else(|| (*segment).to_owned())?;
    if field.get("x").is_some() {
        fill(world, value, segment);
    } else if rest.is_empty() {
        return Err((*segment).to_owned());
    }
    let mut nested: Vec<&'a Value> = field.get("f").into_iter().collect();
    for resource in field.items("r") {
        nested.extend(
            resource
                .as_str()
                .and_then(table::expandable)
                .map(|fields| -> &'a Value { fields }),
        );
    }
    // The totals of a session do not know whose they are, so that it is told here.
    if (*segment, rest) == ("total_details", &["breakdown"]) && value.has("total_details") {
        let breakdown = world.store.hidden(value.text("id"), "breakdown").clone();
        value["total_details"].set("breakdown", breakdown);
    }
    match value.get_mut(*segment) {
        Some(child) => walk(world, child, &nested, rest),
        None => walk(world, &mut Value::Null, &nested, rest),
    }
}

/// Replaces an id by its object, or adds what is left out by default.
fn fill(world: &World, owner: &mut Value, field: &str) {
    let expanded = match owner.get(field) {
        Some(Value::String(id)) => world.store.get(id).cloned(),
        Some(Value::Array(ids)) if ids.iter().any(Value::is_string) => Some(objects(world, ids)),
        Some(Value::Null) | None => included(world, owner, field),
        Some(_) => None,
    };
    if let (Some(expanded), Value::Object(_)) = (expanded, &*owner) {
        owner.set(field, expanded);
    }
}

/// The objects that an array names.
fn objects(world: &World, ids: &[Value]) -> Value {
    let object = |id: &Value| {
        let known = id.as_str().and_then(|id| world.store.get(id));
        known.unwrap_or(id).clone()
    };
    ids.iter().map(object).collect()
}

/// Lists and hashes that are only there when asked for.
fn included(world: &World, owner: &Value, field: &str) -> Option<Value> {
    let id = owner.text("id");
    let those = |kind: &str, key: &str| -> Vec<Value> {
        world
            .store
            .linked(kind, id)
            .rev()
            .filter(|row| row.text(key) == id)
            .cloned()
            .collect()
    };
    match (owner.text("object"), field) {
        ("checkout.session", "line_items") => {
            let items = world
                .store
                .hidden(id, "line_items")
                .as_array()
                .cloned()
                .unwrap_or_default();
            Some(list(
                &format!("/v1/checkout/sessions/{id}/line_items"),
                items,
            ))
        }
        ("invoice", "payments") => {
            let ids = world
                .store
                .hidden(id, "payments")
                .as_array()
                .cloned()
                .unwrap_or_default();
            let rows = ids
                .iter()
                .rev()
                .filter_map(|id| world.store.get(id.as_str()?).cloned());
            Some(list("/v1/invoice_payments", rows.collect()))
        }
        ("invoice", "confirmation_secret") => {
            let (_, intent) = billing::open_payment(world, id)?;
            let secret = world.store.copy(&intent)["client_secret"].clone();
            Some(json!({"client_secret": secret, "type": "payment_intent"}))
        }
        ("charge", "refunds") => Some(list(
            &format!("/v1/charges/{id}/refunds"),
            those("refund", "charge"),
        )),
        ("customer", "subscriptions") => {
            let live =
                |row: &Value| !matches!(row.text("status"), "canceled" | "incomplete_expired");
            let rows = those("subscription", "customer")
                .into_iter()
                .filter(live)
                .collect();
            Some(list(&format!("/v1/customers/{id}/subscriptions"), rows))
        }
        ("customer", "sources") => Some(list(&format!("/v1/customers/{id}/sources"), vec![])),
        ("customer", "tax_ids") => Some(list(
            &format!("/v1/customers/{id}/tax_ids"),
            those("tax_id", "customer"),
        )),
        ("price", "currency_options") => Some(world.store.hidden(id, "currency_options").clone()),
        ("coupon", "applies_to") => Some(world.store.hidden(id, "applies_to").clone()),
        ("item", "discounts" | "taxes") => Some(match world.store.hidden(id, field) {
            Value::Null => json!([]),
            known => known.clone(),
        }),
        _ => None,
    }
}
