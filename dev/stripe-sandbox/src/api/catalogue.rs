//! Products and prices.

use serde_json::{Value, json};

use super::listing;
use super::{Call, Route, refuse, route, set_texts};
use crate::engine::catalogue::{new_price, new_product};
use crate::world::error::{ApiError, ApiResult};
use crate::world::json::Json;
use crate::world::{World, merge};

pub(super) const ROUTES: &[Route] = &[
    route("POST", "/v1/products", "product", create_product),
    route("GET", "/v1/products", "product", list_products),
    route("GET", "/v1/products/{}", "product", retrieve_product),
    route("POST", "/v1/products/{}", "product", update_product),
    route("DELETE", "/v1/products/{}", "product", delete_product),
    route("POST", "/v1/prices", "price", create_price),
    route("GET", "/v1/prices", "price", list_prices),
    route("GET", "/v1/prices/{}", "price", retrieve_price),
    route("POST", "/v1/prices/{}", "price", update_price),
];

/// The price of inline `price_data`, with the product that it names or describes. It is made inactive, as Stripe
/// does: nobody else can use it.
pub(crate) fn inline_price(world: &mut World, data: &Value, place: &str) -> ApiResult {
    let product = match (data.opt_text("product"), data.get("product_data")) {
        (Some(_), Some(_)) => {
            let message = "You may only specify one of these parameters: product, product_data.";
            return Err(ApiError::parameter(
                Some("parameters_exclusive"),
                &format!("{place}[product]"),
                message,
            ));
        }
        (Some(id), None) => {
            let param = format!("{place}[product]");
            let known = world
                .store
                .find("product", id)
                .filter(|product| !product.flag("deleted"));
            known.ok_or_else(|| ApiError::missing_reference("product", id, &param))?;
            id.to_owned()
        }
        (None, Some(described)) => {
            let mut described = described.clone();
            described.set("active", false);
            new_product(world, &described, false).text("id").to_owned()
        }
        (None, None) => {
            let param = format!("{place}[product_data]");
            let message =
                "You must specify either `product` or `product_data` when creating a price.";
            return Err(ApiError::parameter(
                Some("parameter_missing"),
                &param,
                message,
            ));
        }
    };
    let mut data = data.clone();
    data.set("active", false);
    new_price(world, &data, &product, false)
}

fn create_product(world: &mut World, call: &Call) -> ApiResult {
    if let Some(id) = call.params.opt_text("id")
        && world.store.get(id).is_some()
    {
        return Err(ApiError::coded(
            "resource_already_exists",
            format!("Product already exists.: '{id}'"),
        )
        .param("id"));
    }
    let product = new_product(world, &call.params, true);
    if let Some(data) = call.params.get("default_price_data") {
        let price = new_price(world, data, product.text("id"), true)?;
        return Ok(world.change(product.text("id"), |object| {
            object.set("default_price", price["id"].clone());
        }));
    }
    Ok(product)
}

fn retrieve_product(world: &mut World, call: &Call) -> ApiResult {
    world.require("product", call.id())
}

fn update_product(world: &mut World, call: &Call) -> ApiResult {
    world.require("product", call.id())?;
    let now = world.now();
    Ok(world.update(call.id(), "product.updated", |product| {
        let texts = [
            "default_price",
            "description",
            "name",
            "statement_descriptor",
            "tax_code",
            "unit_label",
            "url",
        ];
        set_texts(product, &call.params, &texts);
        if let Some(active) = call.params.get("active") {
            product.set("active", active.clone());
        }
        merge(product, call.params.get("metadata"));
        product.set("updated", now);
    }))
}

fn delete_product(world: &mut World, call: &Call) -> ApiResult {
    let product = world.require("product", call.id())?;
    if world
        .store
        .linked("price", call.id())
        .any(|price| price.text("product") == call.id())
    {
        let message =
            "This product cannot be deleted because it has one or more user-created prices.";
        return Err(ApiError::invalid(message));
    }
    let stub = json!({"id": call.id(), "object": "product", "deleted": true});
    world.change(call.id(), |object| object.clone_from(&stub));
    world.emit("product.deleted", &product, None);
    Ok(stub)
}

fn list_products(world: &mut World, call: &Call) -> ApiResult {
    let ids = call.params.items("ids").to_vec();
    listing::page(world, "product", "/v1/products", &call.params, |row| {
        let active = call
            .params
            .get("active")
            .is_none_or(|active| row["active"] == *active);
        active && (ids.is_empty() || ids.contains(&row["id"]))
    })
}

fn create_price(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    refuse(params, &["tiers", "tiers_mode", "transform_quantity"])?;
    let product = match params.opt_text("product") {
        Some(id) => world
            .store
            .find("product", id)
            .map(|product| product.text("id").to_owned())
            .ok_or_else(|| ApiError::missing_reference("product", id, "product"))?,
        None if params.has("product_data") => {
            let data = params["product_data"].clone();
            new_product(world, &data, true).text("id").to_owned()
        }
        None => {
            let message = "Missing required param: product.";
            return Err(ApiError::parameter(
                Some("parameter_missing"),
                "product",
                message,
            ));
        }
    };
    free_lookup_key(world, params, None)?;
    new_price(world, params, &product, true)
}

/// A lookup key belongs to one active price; `transfer_lookup_key` moves it.
fn free_lookup_key(
    world: &mut World,
    params: &Value,
    for_price: Option<&str>,
) -> Result<(), ApiError> {
    let Some(key) = params.opt_text("lookup_key").filter(|key| !key.is_empty()) else {
        return Ok(());
    };
    let holders = world.store.ids_linked("price", key, |price| {
        price.text("lookup_key") == key && Some(price.text("id")) != for_price
    });
    for holder in holders {
        if !params.flag("transfer_lookup_key") {
            let message = format!("A price (`{holder}`) already uses that lookup key.");
            return Err(ApiError::invalid(message).param("lookup_key"));
        }
        let price = world.update(&holder, "price.updated", |price| {
            price.set("lookup_key", Value::Null);
        });
        show_in_subscriptions(world, &price);
    }
    Ok(())
}

/// A subscription shows its prices as they are now.
fn show_in_subscriptions(world: &mut World, price: &Value) {
    let is_it = |item: &Value| item["price"].text("id") == price.text("id");
    let on_it = world
        .store
        .ids_linked("subscription", price.text("id"), |row| {
            row["items"].items("data").iter().any(is_it)
        });
    for id in on_it {
        world.change(&id, |subscription| {
            let items = subscription["items"]["data"].as_array_mut();
            for item in items.into_iter().flatten().filter(|item| is_it(item)) {
                for field in [
                    "active",
                    "lookup_key",
                    "metadata",
                    "nickname",
                    "tax_behavior",
                ] {
                    item["price"].set(field, price[field].clone());
                }
            }
        });
    }
}

fn retrieve_price(world: &mut World, call: &Call) -> ApiResult {
    world.require("price", call.id())
}

fn update_price(world: &mut World, call: &Call) -> ApiResult {
    let price = world.require("price", call.id())?;
    refuse(&call.params, &["currency_options"])?;
    let fixed = matches!(price.text("tax_behavior"), "inclusive" | "exclusive");
    if fixed
        && call
            .params
            .opt_text("tax_behavior")
            .is_some_and(|wanted| wanted != price.text("tax_behavior"))
    {
        let message =
            "You cannot change `tax_behavior` once it has been set to `inclusive` or `exclusive`.";
        return Err(ApiError::invalid(message).param("tax_behavior"));
    }
    free_lookup_key(world, &call.params, Some(call.id()))?;
    let price = world.update(call.id(), "price.updated", |price| {
        set_texts(
            price,
            &call.params,
            &["lookup_key", "nickname", "tax_behavior"],
        );
        if let Some(active) = call.params.get("active") {
            price.set("active", active.clone());
        }
        merge(price, call.params.get("metadata"));
    });
    show_in_subscriptions(world, &price);
    Ok(price)
}

fn list_prices(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    let keys = params.items("lookup_keys").to_vec();
    if keys.len() > 10 {
        let message = "You can only specify up to 10 lookup keys.";
        return Err(ApiError::parameter(None, "lookup_keys", message));
    }
    listing::page(world, "price", "/v1/prices", params, |row| {
        params
            .get("active")
            .is_none_or(|active| row["active"] == *active)
            && (keys.is_empty() || keys.contains(&row["lookup_key"]))
            && listing::matches(row, params, &["currency", "product", "type"])
            && params["recurring"]
                .opt_text("interval")
                .is_none_or(|i| row["recurring"].text("interval") == i)
    })
}
