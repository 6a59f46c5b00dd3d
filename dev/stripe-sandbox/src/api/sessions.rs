//! Checkout sessions.

use serde_json::{Value, json};

use super::line_items::{self, Lines};
use super::listing;
use super::{Call, Route, refuse, route, session_discounts, session_options};
use crate::engine::{checkout, offer, subscriptions, tax};
use crate::world::error::{ApiError, ApiResult};
use crate::world::ids;
use crate::world::json::Json;
use crate::world::{Task, World, merge, new_metadata};

pub(super) const ROUTES: &[Route] = &[
    route("POST", "/v1/checkout/sessions", "checkout.session", create),
    route("GET", "/v1/checkout/sessions", "checkout.session", index),
    route(
        "GET",
        "/v1/checkout/sessions/{}",
        "checkout.session",
        retrieve,
    ),
    route(
        "POST",
        "/v1/checkout/sessions/{}",
        "checkout.session",
        update,
    ),
    route(
        "POST",
        "/v1/checkout/sessions/{}/expire",
        "checkout.session",
        expire,
    ),
    route("GET", "/v1/checkout/sessions/{}/line_items", "item", lines),
];

/// What would change the money or the flow, and is not modelled.
const REFUSED: &[&str] = &[
    "custom_fields",
    "customer_account",
    "managed_payments",
    "name_collection",
    "optional_items",
    "payment_method_data",
    "permissions",
    "return_url",
    "redirect_on_completion",
    "setup_intent_data",
    "shipping_address_collection",
    "shipping_options",
    "wallet_options",
];
const REFUSED_SUBSCRIPTION_DATA: &[&str] = &[
    "application_fee_percent",
    "billing_cycle_anchor_config",
    "default_tax_rates",
    "on_behalf_of",
    "pending_invoice_item_interval",
    "transfer_data",
];
const REFUSED_INTENT_DATA: &[&str] = &[
    "application_fee_amount",
    "capture_method",
    "on_behalf_of",
    "shipping",
    "transfer_data",
    "transfer_group",
];
/// What only shows on the page, or in the object as it was given.
const ECHOED: &[&str] = &[
    "allow_promotion_codes",
    "allowed_payment_method_types",
    "billing_address_collection",
    "client_reference_id",
    "customer_creation",
    "customer_email",
    "excluded_payment_method_types",
    "integration_identifier",
    "locale",
    "origin_context",
    "payment_method_collection",
    "submit_type",
];

fn create(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    check(world, params)?;
    let customer = customer(world, params)?;
    let Lines {
        items,
        currency,
        total,
    } = line_items::build(world, params)?;
    session_options::check_tax(world, params, customer.as_deref(), (&items, &currency))?;
    if let Some(customer) = &customer {
        check_currency(world, params, customer, &currency)?;
    }
    let grant = session_discounts::grant(world, params, (&items, &currency), customer.as_deref())?;
    let method_types = method_types(params, &currency);
    if method_types.is_empty() {
        let message = "No valid payment method types for this Checkout Session.";
        return Err(ApiError::invalid(message));
    }
    let id = ids::new("cs_test_a1");
    let now = world.now();
    let expires_at = params.opt_int("expires_at").unwrap_or(now + 86_400);
    let mode = params.text("mode");
    let invoice_creation =
        (mode == "payment").then(|| invoice_creation(&params["invoice_creation"]));
    let mut session = json!({
        "id": id, "object": "checkout.session",
        "adaptive_pricing": {"enabled": params["adaptive_pricing"].get("enabled").cloned().unwrap_or(true.into())},
        "after_expiration": after_expiration(params), "allow_promotion_codes": null, "allowed_payment_method_types": null,
        "amount_subtotal": total, "amount_total": total,
        "automatic_tax": tax::automatic(params["automatic_tax"].flag("enabled"), false),
        "billing_address_collection": null, "branding_settings": session_options::branding(world, params), "cancel_url": params.get("cancel_url"),
        "client_reference_id": null, "client_secret": null, "collected_information": null, "consent": null,
        "consent_collection": session_options::consent_collection(params), "created": now, "currency": currency, "currency_conversion": null,
        "custom_fields": [], "custom_text": session_options::custom_text(params), "customer": customer, "customer_account": null,
        "customer_creation": (mode == "payment" && customer.is_none()).then_some("if_required"), "customer_details": null,
        "customer_email": null, "discounts": [], "excluded_payment_method_types": null, "expires_at": expires_at,
        "integration_identifier": null, "invoice": null, "invoice_creation": invoice_creation, "livemode": false,
        "locale": null, "managed_payments": {"enabled": false}, "metadata": new_metadata(params.get("metadata")),
        "mode": mode, "name_collection": null, "optional_items": null, "origin_context": null,
    });
    for (key, value) in json!({
        "payment_intent": null, "payment_link": null, "payment_method_collection": (mode == "subscription").then_some("always"),
        "payment_method_configuration_details": null, "payment_method_options": {},
        "payment_method_types": method_types, "payment_status": "unpaid", "permissions": null,
        "phone_number_collection": {"enabled": params["phone_number_collection"].flag("enabled")}, "presentment_details": null,
        "recovered_from": null, "redirect_on_completion": null, "return_url": null,
        "saved_payment_method_options": null, "setup_intent": null, "shipping_address_collection": null,
        "shipping_cost": null, "shipping_options": [], "status": "open", "submit_type": null,
        "subscription": null, "success_url": params.get("success_url"),
        "tax_id_collection": {"enabled": params["tax_id_collection"].flag("enabled"), "required": "never"},
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page", "url": format!("{}/c/pay/{id}", world.base_url), "wallet_options": null,
    })
    .fields()
    {
        session.set(&key, value);
    }
    for key in ECHOED {
        if let Some(value) = params.get(*key) {
            session.set(key, value.clone());
        }
    }
    for key in [
        "customer_update",
        "subscription_data",
        "payment_intent_data",
    ] {
        world
            .store
            .hide(&id, key, params.get(key).cloned().unwrap_or_default());
    }
    world.plan(expires_at, Task::ExpireSession(id.clone()));
    // Stripe has no event for a session that is created.
    world.create(session, None);
    offer::open(world, &id, items, grant.as_ref());
    Ok(world.store.copy(&id))
}

/// Rules that need nothing but the parameters and the time.
fn check(world: &World, params: &Value) -> Result<(), ApiError> {
    let missing = |param: &str| {
        ApiError::parameter(
            Some("parameter_missing"),
            param,
            format!("Missing required param: {param}."),
        )
    };
    if params.text("mode") == "setup" {
        return Err(ApiError::unmodelled("mode=setup"));
    }
    if params
        .opt_text("ui_mode")
        .is_some_and(|mode| mode != "hosted_page")
    {
        return Err(ApiError::unmodelled(&format!(
            "ui_mode={}",
            params.text("ui_mode")
        )));
    }
    refuse(params, REFUSED)?;
    refuse(&params["subscription_data"], REFUSED_SUBSCRIPTION_DATA)?;
    refuse(&params["payment_intent_data"], REFUSED_INTENT_DATA)?;
    for key in ["success_url", "cancel_url"] {
        match params.opt_text(key) {
            Some(url) if !is_url(url) => {
                return Err(ApiError::parameter(
                    Some("url_invalid"),
                    key,
                    "Not a valid URL",
                ));
            }
            None if key == "success_url" => return Err(missing(key)),
            _ => {}
        }
    }
    let is_subscription = params.text("mode") == "subscription";
    let only = |param: &str, mode: &str| {
        let message = format!("You can not pass `{param}` in `{mode}` mode.");
        Err(ApiError::parameter(None, param, message))
    };
    for param in [
        "payment_intent_data",
        "customer_creation",
        "invoice_creation",
    ] {
        if is_subscription && params.has(param) {
            return only(param, "subscription");
        }
    }
    for param in ["subscription_data", "payment_method_collection"] {
        if !is_subscription && params.has(param) {
            return only(param, "payment");
        }
    }
    if params.has("customer") && (params.has("customer_email") || params.has("customer_creation")) {
        let other = if params.has("customer_email") {
            "customer_email"
        } else {
            "customer_creation"
        };
        let message = format!("You may only specify one of these parameters: customer, {other}.");
        return Err(ApiError::parameter(
            Some("parameters_exclusive"),
            other,
            message,
        ));
    }
    if params.has("customer_update") && !params.has("customer") {
        let message = "`customer_update` can only be used with `customer`.";
        return Err(ApiError::parameter(None, "customer_update", message));
    }
    session_options::check(world, params)?;
    if let Some(at) = params.opt_int("expires_at") {
        let ahead = at - world.now();
        if !(30 * 60..=24 * 3600).contains(&ahead) {
            let bound = if ahead > 0 && ahead < 1800 {
                "at least 30 minutes"
            } else {
                "less than 24 hours"
            };
            let message = format!(
                "The `expires_at` timestamp must be {bound} from Checkout Session creation."
            );
            return Err(ApiError::parameter(None, "expires_at", message));
        }
    }
    Ok(())
}

fn is_url(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with('/') && !text.contains(char::is_whitespace)
    })
}

fn customer(world: &World, params: &Value) -> Result<Option<String>, ApiError> {
    let Some(id) = params.opt_text("customer") else {
        return Ok(None);
    };
    match world.store.find("customer", id) {
        Some(customer) if !customer.flag("deleted") => Ok(Some(id.to_owned())),
        _ => Err(ApiError::missing_reference("customer", id, "customer")),
    }
}

/// A customer's recurring business is in one currency.
fn check_currency(
    world: &World,
    params: &Value,
    customer: &str,
    currency: &str,
) -> Result<(), ApiError> {
    if params.text("mode") != "subscription" && !params["invoice_creation"].flag("enabled") {
        return Ok(());
    }
    let subscriptions = world
        .store
        .linked("subscription", customer)
        .filter(|row| !subscriptions::is_over(row));
    let sessions = world.store.linked("checkout.session", customer);
    let open =
        sessions.filter(|row| row.text("mode") == "subscription" && row.text("status") == "open");
    let mut others = subscriptions
        .chain(open)
        .filter(|row| row.text("customer") == customer);
    match others.find(|row| row.text("currency") != currency) {
        Some(other) => Err(ApiError::invalid(format!(
            "You cannot combine currencies on a single customer. This customer has an active subscription, subscription \
             schedule, discount, quote, invoice item or active subscription mode checkout session with currency {}.",
            other.text("currency")
        ))),
        None => Ok(()),
    }
}

/// Cards everywhere, debits in euro; unless the caller allows or excludes some.
fn method_types(params: &Value, currency: &str) -> Vec<&'static str> {
    let allowed = params.items("allowed_payment_method_types");
    let excluded = params.items("excluded_payment_method_types");
    let fits = |kind: &&str| {
        let is_listed = |list: &[Value]| list.iter().any(|given| given == *kind);
        (*kind == "card" || currency == "eur")
            && (allowed.is_empty() || is_listed(allowed))
            && !is_listed(excluded)
    };
    ["card", "sepa_debit"].into_iter().filter(fits).collect()
}

fn invoice_creation(given: &Value) -> Value {
    let data = &given["invoice_data"];
    json!({"enabled": given.flag("enabled"), "invoice_data": {
        "account_tax_ids": null, "custom_fields": null, "description": data.get("description"), "footer": data.get("footer"),
        "issuer": null, "metadata": new_metadata(data.get("metadata")), "rendering_options": null}})
}

fn after_expiration(params: &Value) -> Value {
    let recovery = &params["after_expiration"]["recovery"];
    if !recovery.is_object() {
        return Value::Null;
    }
    json!({"recovery": {"allow_promotion_codes": recovery.flag("allow_promotion_codes"),
        "enabled": recovery.flag("enabled"), "expires_at": null, "url": null}})
}

fn retrieve(world: &mut World, call: &Call) -> ApiResult {
    world.require("checkout.session", call.id())
}

fn update(world: &mut World, call: &Call) -> ApiResult {
    world.require("checkout.session", call.id())?;
    refuse(
        &call.params,
        &[
            "collected_information",
            "line_items",
            "payment_intent_data",
            "shipping_options",
        ],
    )?;
    Ok(world.change(call.id(), |session| {
        merge(session, call.params.get("metadata"));
    }))
}

fn expire(world: &mut World, call: &Call) -> ApiResult {
    let session = world.require("checkout.session", call.id())?;
    if session.text("status") != "open" {
        let message = format!(
            "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of `{}`.",
            session.text("status")
        );
        return Err(ApiError::invalid(message));
    }
    Ok(checkout::expire(world, call.id()))
}

fn lines(world: &mut World, call: &Call) -> ApiResult {
    world.require("checkout.session", call.id())?;
    let rows = world
        .store
        .hidden(call.id(), "line_items")
        .as_array()
        .cloned()
        .unwrap_or_default();
    let url = format!("/v1/checkout/sessions/{}/line_items", call.id());
    Ok(listing::of_rows(&rows, &url, &call.params))
}

fn index(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    let email = params["customer_details"].opt_text("email");
    listing::page(
        world,
        "checkout.session",
        "/v1/checkout/sessions",
        params,
        |row| {
            listing::matches(
                row,
                params,
                &[
                    "customer",
                    "payment_intent",
                    "payment_link",
                    "status",
                    "subscription",
                ],
            ) && email.is_none_or(|email| row["customer_details"].text("email") == email)
        },
    )
}
