//! The portal's forms for another plan: choose, see what it costs, confirm.

use std::fmt::Write;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::html::{Page, escape, money};
use super::portal::Wish;
use crate::api::portal_features::{allows, product_of};
use crate::api::subscription_change;
use crate::engine::changes::{self, Change};
use crate::engine::previews;
use crate::engine::subscriptions::is_over;
use crate::world::World;
use crate::world::clock::day;
use crate::world::json::Json;

/// The form that offers a subscription's other plans, where the configuration allows it.
pub(super) fn form(world: &World, id: &str, subscription: &Value, features: &Value) -> String {
    let update = &features["subscription_update"];
    let [item] = subscription["items"].items("data") else {
        return String::new();
    };
    if !update.flag("enabled") || is_over(subscription) || subscription.has("cancel_at") {
        return String::new();
    }
    if subscription.text("status") == "trialing"
        && update.text("trial_update_behavior") != "continue_trial"
    {
        return "<p class=\"soft\">A change would end the trial, which the sandbox does not model \
                (<code>trial_update_behavior=end_trial</code>).</p>"
            .to_owned();
    }
    let mut form = format!(
        "<details open><summary>Change plan</summary><form method=\"post\" action=\"/p/session/{}\">\
         <input type=\"hidden\" name=\"subscription\" value=\"{}\">",
        escape(id),
        escape(subscription.text("id"))
    );
    let current = item["price"].text("id");
    if allows(update, "price") {
        form.push_str("<fieldset><legend>Plan</legend>");
        for price in offered(world, subscription, update) {
            let checked = if price == current { " checked" } else { "" };
            let _ = write!(
                form,
                "<label class=\"choice\"><input type=\"radio\" name=\"price\" value=\"{}\"{checked} required>{}</label>",
                escape(&price),
                escape(&describe(world, &price, subscription.text("currency")))
            );
        }
        form.push_str("</fieldset>");
    }
    if allows(update, "quantity") {
        let _ = write!(
            form,
            "<label>Quantity<input type=\"number\" name=\"quantity\" min=\"0\" value=\"{}\"></label>",
            item.opt_int("quantity").unwrap_or(1)
        );
    }
    form.push_str(
        "<button class=\"plain\" name=\"action\" value=\"plan\">Continue</button></form></details>",
    );
    form
}

/// The prices that a subscription can be changed to, in its currency.
fn offered(world: &World, subscription: &Value, update: &Value) -> Vec<String> {
    let prices = update
        .items("products")
        .iter()
        .flat_map(|product| product.items("prices"));
    prices
        .filter_map(Value::as_str)
        .filter(|id| {
            let options = world.store.hidden(id, "currency_options");
            world.store.copy(id).flag("active") && options.has(subscription.text("currency"))
        })
        .map(str::to_owned)
        .collect()
}

fn describe(world: &World, price: &str, currency: &str) -> String {
    let price = world.store.copy(price);
    let product = world.store.copy(price.text("product"));
    let recurring = &price["recurring"];
    let every = match recurring.int("interval_count") {
        0 | 1 => recurring.text("interval").to_owned(),
        count => format!("{count} {}s", recurring.text("interval")),
    };
    format!(
        "{}: {} every {every}",
        product.text("name"),
        money(world.unit_amount(&price, currency), currency)
    )
}

fn sorry(text: &str) -> Page {
    Page::sorry(StatusCode::BAD_REQUEST, "This change is not possible", text)
}

/// The change that a member asks for, within what the configuration allows.
fn change(world: &World, session: &Value, wanted: &Wish) -> Result<Change, Page> {
    let subscription = world.store.copy(&wanted.subscription);
    let [item] = subscription["items"].items("data") else {
        return Err(sorry(
            "Subscriptions of several items cannot be changed here.",
        ));
    };
    if subscription["customer"] != session["customer"] {
        return Err(sorry("There is no such subscription."));
    }
    let configuration = world.store.copy(session.text("configuration"));
    let update = &configuration["features"]["subscription_update"];
    let flow = &session["flow"]["subscription_update_confirm"];
    let mut params = json!({"id": item["id"]});
    if !update.flag("enabled")
        || (subscription.text("status") == "trialing"
            && update.text("trial_update_behavior") != "continue_trial")
    {
        return Err(sorry("Plans cannot be changed here."));
    }
    let current = item["price"].text("id");
    let price = wanted.price.as_deref().filter(|price| !price.is_empty());
    if let Some(price) = price.filter(|price| *price != current) {
        let is_offered = offered(world, &subscription, update)
            .iter()
            .any(|id| id == price);
        if !allows(update, "price") && flow.is_null() || !is_offered {
            return Err(sorry("This plan is not offered."));
        }
        params.set("price", price);
    }
    let quantity = wanted.quantity.as_deref().map(str::trim);
    if let Some(quantity) = quantity.filter(|text| !text.is_empty()) {
        let Ok(quantity) = quantity.parse::<i64>() else {
            return Err(sorry("The quantity must be a whole number."));
        };
        if Some(quantity) != item.opt_int("quantity") {
            let product = product_of(update, price.unwrap_or(current));
            let bounds = product.map(|product| &product["adjustable_quantity"]);
            let fits = bounds.is_some_and(|bounds| {
                bounds.flag("enabled")
                    && quantity >= bounds.int("minimum")
                    && bounds
                        .opt_int("maximum")
                        .is_none_or(|most| quantity <= most)
            });
            if !allows(update, "quantity") || !fits {
                return Err(sorry("This quantity is not offered."));
            }
            params.set("quantity", quantity);
        }
    }
    let params = json!({
        "items": [params], "proration_behavior": update["proration_behavior"], "proration_date": wanted.proration_date,
        "payment_behavior": "error_if_incomplete",
    });
    match subscription_change(world, &subscription, &params, "") {
        Ok(Some(change)) => Ok(Change {
            authenticate: wanted.authenticate,
            ..change
        }),
        Ok(None) => Err(sorry("Nothing was chosen.")),
        Err(error) => Err(sorry(error.message())),
    }
}

/// The page that tells what the change will cost.
pub(super) fn confirm(world: &World, session: &Value, wanted: &Wish) -> Page {
    let change = match change(world, session, wanted) {
        Ok(change) => change,
        Err(page) => return page,
    };
    let subscription = world.store.copy(&wanted.subscription);
    let currency = subscription.text("currency");
    let Some(item) = change.items.first() else {
        return sorry("Nothing was chosen.");
    };
    let mut body = format!(
        "<p><a href=\"/p/session/{}\">← Back</a></p><h1>Confirm your change</h1><div class=\"card\"><p>{}</p>\
         <p>Quantity: {}</p></div>",
        escape(session.text("id")),
        escape(&describe(world, item["price"].text("id"), currency)),
        item.opt_int("quantity").unwrap_or(1),
    );
    if let Some(preview) = previews::preview(world, &wanted.subscription, Some(&change)) {
        costs(world, &preview, &mut body);
    }
    let field = |name: &str, value: &str| {
        format!(
            "<input type=\"hidden\" name=\"{name}\" value=\"{}\">",
            escape(value)
        )
    };
    let _ = write!(
        body,
        "<form method=\"post\" action=\"/p/session/{}\">{}{}{}{}\
         <button name=\"action\" value=\"confirm\">Confirm</button></form>",
        escape(session.text("id")),
        field("subscription", &wanted.subscription),
        field("price", item["price"].text("id")),
        field(
            "quantity",
            &item.opt_int("quantity").unwrap_or(1).to_string()
        ),
        field("proration_date", &change.at.to_string()),
    );
    Page::new("Confirm your change", body)
}

fn costs(world: &World, preview: &Value, body: &mut String) {
    let currency = preview.text("currency");
    let at = preview.int("created");
    let when = if at <= world.now() {
        "Due now".to_owned()
    } else {
        format!("Due on {}", day(at))
    };
    body.push_str("<div class=\"card\"><table><caption class=\"soft\">What it costs</caption>");
    for line in preview["lines"].items("data") {
        let _ = write!(
            body,
            "<tr><td>{}</td><td class=\"amount\">{}</td></tr>",
            escape(line.text("description")),
            money(line.int("amount"), currency)
        );
    }
    let _ = write!(
        body,
        "<tr><th scope=\"row\">{when}</th><td class=\"amount\">{}</td></tr></table></div>",
        money(preview.int("amount_due"), currency)
    );
}

/// Makes the change, or shows why not.
pub(super) fn perform(world: &mut World, session: &Value, wanted: &Wish) -> Result<(), Page> {
    let change = change(world, session, wanted)?;
    let done = changes::perform(world, &wanted.subscription, &change, &|_| {});
    let Err(error) = done else { return Ok(()) };
    if error.code() == "subscription_payment_intent_requires_action" {
        return Err(authentication(session, wanted));
    }
    let body = format!(
        "<h1>Your plan has not changed</h1><div class=\"error\" role=\"alert\">{}</div>\
         <p><a href=\"/p/session/{}\">← Back</a></p>",
        escape(error.message()),
        escape(session.text("id"))
    );
    Err(Page {
        status: StatusCode::PAYMENT_REQUIRED,
        ..Page::new("Your plan has not changed", body)
    })
}

fn authentication(session: &Value, wanted: &Wish) -> Page {
    let date = wanted.proration_date.map(|at| at.to_string());
    let fields = [
        ("subscription", Some(wanted.subscription.as_str())),
        ("price", wanted.price.as_deref()),
        ("quantity", wanted.quantity.as_deref()),
        ("proration_date", date.as_deref()),
        ("action", Some("confirm")),
    ];
    let mut hidden = String::new();
    for (name, value) in fields {
        if let Some(value) = value {
            let value = escape(value);
            let _ = write!(
                hidden,
                "<input type=\"hidden\" name=\"{name}\" value=\"{value}\">"
            );
        }
    }
    let body = format!(
        "<h1>Authenticate your payment</h1><div class=\"card\"><p>Your bank asks whether it is you. (It is the sandbox that \
         asks.)</p><form method=\"post\" action=\"/p/session/{}\">{hidden}\
         <button name=\"authenticate\" value=\"true\">Complete</button>\
         <button class=\"plain\" name=\"authenticate\" value=\"false\">Fail</button></form></div>",
        escape(session.text("id")),
    );
    Page::new("Authenticate", body)
}
