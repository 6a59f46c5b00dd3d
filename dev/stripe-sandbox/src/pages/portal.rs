//! The customer portal: cancel, think better of it, change the plan or the card.

use std::fmt::Write;
use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::Value;

use super::html::{Page, escape, money};
use super::portal_plan;
use crate::api::{set_cancel_at, set_cancel_at_period_end};
use crate::app::App;
use crate::engine::instruments::{self, INSTRUMENTS};
use crate::engine::proration;
use crate::engine::subscriptions::{self, period_end};
use crate::world::clock::day;
use crate::world::json::Json;
use crate::world::{Task, World};

/// What a button of the portal does.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Wish {
    action: String,
    pub subscription: String,
    instrument: String,
    pub price: Option<String>,
    pub quantity: Option<String>,
    pub proration_date: Option<i64>,
    pub authenticate: Option<bool>,
}

/// Shows the portal.
pub(super) async fn show(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    app.with(|world| page(world, &id)).into_response()
}

/// Does what the customer asks, then shows the portal again or returns.
pub(super) async fn act(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Form(wanted): Form<Wish>,
) -> Response {
    app.with(|world| {
        let Some(session) = world.store.find("billing_portal.session", &id).cloned() else {
            return gone().into_response();
        };
        match wanted.action.as_str() {
            "plan" => return portal_plan::confirm(world, &session, &wanted).into_response(),
            "confirm" => {
                if let Err(page) = portal_plan::perform(world, &session, &wanted) {
                    return page.into_response();
                }
            }
            _ => perform(world, &session, &wanted),
        }
        completed(world, &session)
    })
}

/// Where an action leads: back to the portal, or wherever the flow that it completes says.
fn completed(world: &mut World, session: &Value) -> Response {
    let id = session.text("id");
    world.store.hide(id, "flow_done", true);
    let after = &session["flow"]["after_completion"];
    if let Some(url) = after["redirect"].opt_text("return_url") {
        return Redirect::to(url).into_response();
    }
    if after.text("type") == "hosted_confirmation" {
        let message = after["hosted_confirmation"].opt_text("custom_message");
        let body = format!(
            "<h1>Done</h1><div class=\"card\"><p role=\"status\">{}</p></div>{}",
            escape(message.unwrap_or("Your change has been saved.")),
            return_link(session)
        );
        return Page::new("Done", body).into_response();
    }
    Redirect::to(&format!("/p/session/{id}")).into_response()
}

fn return_link(session: &Value) -> String {
    session
        .opt_text("return_url")
        .map_or_else(String::new, |url| {
            format!("<p><a href=\"{}\">← Return</a></p>", escape(url))
        })
}

fn gone() -> Page {
    Page::sorry(
        StatusCode::NOT_FOUND,
        "This link does not work",
        "Open the portal again from where you came.",
    )
}

fn perform(world: &mut World, session: &Value, wanted: &Wish) {
    let customer = session.text("customer");
    let id = wanted.subscription.as_str();
    let subscription = world.store.copy(id);
    let owns =
        subscription.text("object") == "subscription" && subscription.text("customer") == customer;
    let now = world.now();
    match wanted.action.as_str() {
        "cancel" if owns && !subscriptions::is_over(&subscription) => {
            let configuration = world.store.copy(session.text("configuration"));
            if configuration["features"]["subscription_cancel"].text("mode") == "immediately" {
                proration::drop_pending(world, id);
                subscriptions::cancel(world, id, "cancellation_requested", &Value::Null);
                return;
            }
            let end = period_end(&subscription);
            // With flexible billing the portal sets `cancel_at`, and leaves `cancel_at_period_end` false.
            world.update(id, "customer.subscription.updated", |object| {
                set_cancel_at(object, Some(end), now);
            });
            world.plan(end, Task::CancelAt(id.to_owned()));
        }
        "undo" if owns && !subscriptions::is_over(&subscription) => {
            world.update(id, "customer.subscription.updated", |object| {
                set_cancel_at_period_end(object, false, 0, now);
                set_cancel_at(object, None, now);
            });
        }
        "card" => {
            if let Some(instrument) = instruments::find(&wanted.instrument) {
                instruments::replace_default(world, customer, instrument);
            }
        }
        _ => {}
    }
}

fn page(world: &World, id: &str) -> Page {
    let Some(session) = world.store.find("billing_portal.session", id) else {
        return gone();
    };
    let customer = world.store.copy(session.text("customer"));
    if customer.flag("deleted") {
        return gone();
    }
    let features = world.store.copy(session.text("configuration"))["features"].clone();
    let flow = &session["flow"];
    let is_under_way = flow.is_object() && world.store.hidden(id, "flow_done").is_null();
    let kind = if is_under_way { flow.text("type") } else { "" };
    if kind == "subscription_update_confirm" {
        return portal_plan::confirm(world, session, &confirmation(&flow[kind]));
    }
    let mut body = return_link(session);
    let _ = write!(
        body,
        "<p class=\"soft\">{}</p><h1>Your subscriptions</h1><p>{}</p>",
        escape(&world.settings.organisation),
        escape(customer.opt_text("email").unwrap_or_default())
    );
    let theirs = world
        .store
        .linked("subscription", customer.text("id"))
        .rev()
        .filter(|row| row["customer"] == customer["id"]);
    // A flow shows what it is about, and nothing else.
    for subscription in theirs.filter(|row| match kind {
        "" => true,
        flow_kind => flow[flow_kind]["subscription"] == row["id"],
    }) {
        subscription_card(world, id, subscription, &features, &mut body);
    }
    if features["payment_method_update"].flag("enabled")
        && matches!(kind, "" | "payment_method_update")
    {
        cards(world, id, &customer, &mut body);
    }
    if features["invoice_history"].flag("enabled") && kind.is_empty() {
        invoices(world, &customer, &mut body);
    }
    Page::new("Customer portal", body)
}

/// The wish that a flow asks the member to confirm.
fn confirmation(flow: &Value) -> Wish {
    let item = flow.items("items").first().cloned().unwrap_or_default();
    Wish {
        subscription: flow.text("subscription").to_owned(),
        price: item.opt_text("price").map(str::to_owned),
        quantity: item
            .opt_int("quantity")
            .map(|quantity| quantity.to_string()),
        ..Wish::default()
    }
}

fn subscription_card(
    world: &World,
    id: &str,
    subscription: &Value,
    features: &Value,
    body: &mut String,
) {
    body.push_str("<div class=\"card\">");
    for item in subscription["items"].items("data") {
        let name = world
            .store
            .copy(item["price"].text("product"))
            .text("name")
            .to_owned();
        let price = money(
            world.unit_amount(&item["price"], subscription.text("currency")) * item.int("quantity"),
            subscription.text("currency"),
        );
        let _ = write!(
            body,
            "<strong>{}</strong><br>{price} per {}<br>",
            escape(&name),
            escape(item["price"]["recurring"].text("interval"))
        );
    }
    let _ = write!(
        body,
        "<span class=\"soft\">{}",
        escape(subscription.text("status"))
    );
    let button = |action: &str, label: &str| {
        format!(
            "<form method=\"post\" action=\"/p/session/{}\"><input type=\"hidden\" name=\"subscription\" value=\"{}\">\
             <button class=\"plain\" name=\"action\" value=\"{action}\">{label}</button></form>",
            escape(id),
            escape(subscription.text("id"))
        )
    };
    if subscriptions::is_over(subscription) {
        body.push_str("</span>");
    } else if let Some(at) = subscription.opt_int("cancel_at") {
        let _ = write!(
            body,
            ", ends {}</span>{}",
            day(at),
            button("undo", "Don't cancel")
        );
    } else {
        let _ = write!(body, ", renews {}</span>", day(period_end(subscription)));
        body.push_str(&portal_plan::form(world, id, subscription, features));
        if features["subscription_cancel"].flag("enabled") {
            body.push_str(&button("cancel", "Cancel subscription"));
        }
    }
    body.push_str("</div>");
}

/// What the customer is charged with: the customer's own default, else that of the newest subscription.
fn payment_method(world: &World, customer: &Value) -> String {
    if let Some(method) = customer["invoice_settings"].opt_text("default_payment_method") {
        return method.to_owned();
    }
    let subscriptions = world
        .store
        .linked("subscription", customer.text("id"))
        .rev();
    let mut theirs = subscriptions
        .filter(|row| row["customer"] == customer["id"] && !subscriptions::is_over(row));
    theirs
        .find_map(|row| row.opt_text("default_payment_method"))
        .unwrap_or_default()
        .to_owned()
}

fn cards(world: &World, id: &str, customer: &Value, body: &mut String) {
    let default = world.store.copy(&payment_method(world, customer));
    let kind = default.text("type");
    let shown = if default.is_null() {
        "none yet".to_owned()
    } else {
        format!("{kind} ending {}", default[kind].text("last4"))
    };
    let _ = write!(
        body,
        "<h2>Payment method</h2><div class=\"card\"><p>{}</p><details><summary>Change</summary>\
         <form method=\"post\" action=\"/p/session/{}\">",
        escape(&shown),
        escape(id)
    );
    for instrument in INSTRUMENTS.iter().take(7) {
        let _ = write!(
            body,
            "<label class=\"choice\"><input type=\"radio\" name=\"instrument\" value=\"{0}\" required>{1}<code>{0}</code></label>",
            instrument.number,
            escape(instrument.label)
        );
    }
    body.push_str("<button name=\"action\" value=\"card\">Save</button></form></details></div>");
}

fn invoices(world: &World, customer: &Value, body: &mut String) {
    body.push_str("<h2>Invoices</h2><div class=\"card\"><table>");
    let theirs = world
        .store
        .linked("invoice", customer.text("id"))
        .rev()
        .filter(|row| row["customer"] == customer["id"]);
    for invoice in theirs.take(12) {
        let _ = write!(
            body,
            "<tr><td>{}</td><td>{}</td><td class=\"amount\">{}</td></tr>",
            dated_link(invoice),
            escape(invoice.text("status")),
            money(invoice.int("total"), invoice.text("currency"))
        );
    }
    body.push_str("</table></div>");
}

/// The day of an invoice, leading to its page where it has one.
fn dated_link(invoice: &Value) -> String {
    let shown = day(invoice.int("created"));
    match invoice.opt_text("hosted_invoice_url") {
        Some(_) => format!("<a href=\"/i/{}\">{shown}</a>", escape(invoice.text("id"))),
        None => shown,
    }
}
