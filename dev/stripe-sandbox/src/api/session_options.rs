//! What a session asks its hosted page to show, and the rules about that.

use serde_json::{Value, json};

use super::refuse;
use crate::engine::tax;
use crate::world::World;
use crate::world::error::ApiError;
use crate::world::json::Json;

const TEXTS: [&str; 4] = [
    "after_submit",
    "shipping_address",
    "submit",
    "terms_of_service_acceptance",
];
const TEXT_LENGTH: usize = 1_200;

/// Rules about what the page shows and asks for.
pub(super) fn check(world: &World, params: &Value) -> Result<(), ApiError> {
    for key in TEXTS {
        let length = params["custom_text"][key].text("message").chars().count();
        if length > TEXT_LENGTH {
            let place = format!("custom_text[{key}][message]");
            let message = format!(
                "Invalid string: it has {length} characters; must be at most {TEXT_LENGTH} characters"
            );
            return Err(ApiError::parameter(None, &place, message));
        }
    }
    if params["consent_collection"].text("terms_of_service") == "required"
        && world.settings.terms_of_service_url.is_none()
    {
        let message = "Terms of service can be asked for only when the account's public details have their URL. (In the \
                       sandbox, that is the setting `terms_of_service_url`.)";
        let place = "consent_collection[terms_of_service]";
        return Err(ApiError::parameter(None, place, message));
    }
    if params["tax_id_collection"].flag("enabled")
        && params.has("customer")
        && params["customer_update"].text("name") != "auto"
    {
        let message = "Collecting tax ids changes the customer's name: for an existing customer, set \
                       `customer_update[name]` to `auto`.";
        return Err(ApiError::parameter(None, "tax_id_collection", message));
    }
    if params["tax_id_collection"].text("required") == "if_supported" {
        return Err(ApiError::unmodelled(
            "tax_id_collection[required]=if_supported",
        ));
    }
    check_branding(&params["branding_settings"])
}

fn check_branding(given: &Value) -> Result<(), ApiError> {
    for key in ["background_color", "button_color"] {
        let wrong = given
            .opt_text(key)
            .filter(|text| !text.is_empty() && !is_colour(text));
        if let Some(text) = wrong {
            let place = format!("branding_settings[{key}]");
            let message = format!("Invalid color: {text}. It must be written as #rrggbb.");
            return Err(ApiError::parameter(None, &place, message));
        }
    }
    if given.has("icon") && given.has("logo") {
        let message = "You may only specify one of these parameters: icon, logo.";
        let place = "branding_settings[logo]";
        return Err(ApiError::parameter(
            Some("parameters_exclusive"),
            place,
            message,
        ));
    }
    for key in ["icon", "logo"] {
        refuse(&given[key], &["file"])?;
    }
    Ok(())
}

fn is_colour(text: &str) -> bool {
    text.strip_prefix('#')
        .is_some_and(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Tax needs prices that say how they relate to it, and a place.
pub(super) fn check_tax(
    world: &World,
    params: &Value,
    customer: Option<&str>,
    (items, currency): (&[Value], &str),
) -> Result<(), ApiError> {
    if !params["automatic_tax"].flag("enabled") {
        return Ok(());
    }
    if params["automatic_tax"]["liability"].text("type") == "account" {
        return Err(ApiError::unmodelled(
            "automatic_tax[liability][type]=account",
        ));
    }
    let vague = |item: &&Value| tax::is_inclusive(world, &item["price"], currency).is_none();
    if let Some(item) = items.iter().find(vague) {
        let message = format!(
            "Tax can be calculated only for prices that have a `tax_behavior`, which `{}` lacks: the account has no \
             default for it.",
            item["price"].text("id")
        );
        return Err(ApiError::invalid(message));
    }
    let address = customer.map(|id| world.store.copy(id)["address"].clone());
    let is_lost = address.is_some_and(|address| !address.has("country"));
    if is_lost && params["customer_update"].text("address") != "auto" {
        let message = "Tax can be calculated in Checkout only where the customer has a valid address: add one, or set \
                       `customer_update[address]` to `auto` to save the one that is entered.";
        return Err(ApiError::coded("customer_tax_location_invalid", message));
    }
    Ok(())
}

/// The bounds of a quantity that the buyer may change.
pub(super) fn adjustable(line: &Value, place: &str, quantity: i64) -> Result<Value, ApiError> {
    let given = &line["adjustable_quantity"];
    if !given.flag("enabled") {
        return Ok(Value::Null);
    }
    let least = given.opt_int("minimum").unwrap_or(0);
    let most = given.opt_int("maximum").unwrap_or(99);
    let wrong = |key: &str, message: &str| {
        let place = format!("{place}[adjustable_quantity][{key}]");
        Err(ApiError::parameter(
            Some("parameter_invalid_integer"),
            &place,
            message,
        ))
    };
    if least < 0 {
        return wrong("minimum", "This value must be greater than or equal to 0.");
    }
    if !(1..=999_999).contains(&most) || most < least {
        return wrong(
            "maximum",
            "This value must be between the minimum and 999999, and at least 1.",
        );
    }
    if !(least..=most).contains(&quantity) {
        let message =
            format!("The quantity must be between {least} and {most}, as the line itself says.");
        return Err(ApiError::parameter(
            None,
            &format!("{place}[quantity]"),
            message,
        ));
    }
    Ok(json!({"enabled": true, "maximum": most, "minimum": least}))
}

/// `custom_text` with all its places.
pub(super) fn custom_text(params: &Value) -> Value {
    let mut all = json!({});
    for key in TEXTS {
        let text = params["custom_text"].get(key);
        all.set(key, text.filter(|text| text.is_object()).cloned());
    }
    all
}

/// `consent_collection` with all its fields; null when nothing is asked.
pub(super) fn consent_collection(params: &Value) -> Value {
    let given = &params["consent_collection"];
    if !given.is_object() {
        return Value::Null;
    }
    json!({
        "payment_method_reuse_agreement": given.get("payment_method_reuse_agreement"),
        "promotions": given.opt_text("promotions").unwrap_or("none"),
        "terms_of_service": given.opt_text("terms_of_service").unwrap_or("none"),
    })
}

/// The branding of the page: what is given, over what the account has.
pub(super) fn branding(world: &World, params: &Value) -> Value {
    let given = &params["branding_settings"];
    let text = |key: &str, default: &str| {
        let chosen = given.opt_text(key).filter(|text| !text.is_empty());
        chosen.unwrap_or(default).to_owned()
    };
    let image = |key: &str| {
        let image = given.get(key).filter(|image| image.is_object())?;
        Some(json!({"type": image["type"], "url": image["url"]}))
    };
    json!({
        "background_color": text("background_color", "#f6f8fa"), "border_style": text("border_style", "rounded"),
        "button_color": text("button_color", "#0b6e5f"),
        "display_name": text("display_name", &world.settings.organisation),
        "font_family": text("font_family", "default"), "icon": image("icon"), "logo": image("logo"),
    })
}
