//! Products and prices from a TOML file. A price that is there already, by lookup key or id, is left alone.

use serde_json::{Value, json};

use super::catalogue::{new_price, new_product};
use crate::world::World;
use crate::world::json::Json;

/// Adds what is missing of a catalogue.
///
/// # Errors
/// A sentence about what is wrong with the file.
pub(crate) fn apply(world: &mut World, text: &str) -> Result<(), String> {
    let root: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
    let root = serde_json::to_value(root).map_err(|error| error.to_string())?;
    if let Some(key) = root.fields().keys().find(|key| *key != "product") {
        return Err(format!(
            "unknown key '{key}': the file holds [[product]] tables"
        ));
    }
    for product in root.items("product") {
        apply_product(world, product)?;
    }
    Ok(())
}

fn apply_product(world: &mut World, product: &Value) -> Result<(), String> {
    let name = product.opt_text("name").ok_or("a product without a name")?;
    let missing: Vec<Value> = product
        .items("price")
        .iter()
        .filter(|price| !is_known(world, price))
        .cloned()
        .collect();
    let known_id = product
        .opt_text("id")
        .filter(|id| world.store.find("product", id).is_some());
    if missing.is_empty() && (known_id.is_some() || !product.items("price").is_empty()) {
        return Ok(());
    }
    let sibling = product
        .items("price")
        .iter()
        .find_map(|price| known_price(world, price))
        .map(|p| p.text("product").to_owned());
    let id = match known_id.map(str::to_owned).or(sibling) {
        Some(id) => id,
        None => new_product(world, product, false).text("id").to_owned(),
    };
    for price in missing {
        let mut params = price.clone();
        // Short form: `interval` beside the amount stands for `recurring`.
        if let Some(interval) = price.opt_text("interval") {
            let count = price.opt_int("interval_count").unwrap_or(1);
            params.set(
                "recurring",
                json!({"interval": interval, "interval_count": count}),
            );
        }
        if let Some(custom) = params
            .get("custom_unit_amount")
            .filter(|custom| custom.get("enabled").is_none())
            .cloned()
        {
            let mut custom = custom;
            custom.set("enabled", true);
            params.set("custom_unit_amount", custom);
        }
        new_price(world, &params, &id, false)
            .map_err(|error| format!("a price of '{name}': {}", error.message()))?;
    }
    Ok(())
}

fn known_price<'a>(world: &'a World, price: &Value) -> Option<&'a Value> {
    let same = |row: &&Value| {
        let by_id = price.opt_text("id").is_some_and(|id| row.text("id") == id);
        by_id
            || price
                .opt_text("lookup_key")
                .is_some_and(|key| row.text("lookup_key") == key)
    };
    world.store.all("price").iter().find(same)
}

fn is_known(world: &World, price: &Value) -> bool {
    known_price(world, price).is_some()
}
