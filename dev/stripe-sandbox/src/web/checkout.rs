//! The hosted checkout page.

use std::fmt::Write;
use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::Value;

use super::html::{Page, escape, money};
use crate::app::App;
use crate::control::wait_for_delivery;
use crate::engine::checkout::{self, NotPaid, Payment, redirect_url};
use crate::engine::instruments::INSTRUMENTS;
use crate::json::Json;
use crate::world::World;

/// The instruments that are not folded away.
const SHOWN_AT_ONCE: usize = 7;

type Shared = State<Arc<App>>;

/// What the page's form sends.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Filled {
    instrument: String,
    amount: String,
    email: String,
    name: String,
    authenticate: Option<bool>,
}

/// Shows a session to its buyer.
pub(super) async fn show(State(app): Shared, Path(id): Path<String>) -> Response {
    app.with(|world| page(world, &id, None)).into_response()
}

/// Tries to pay, waits for the webhook, and sends the buyer on.
pub(super) async fn submit(
    State(app): Shared,
    Path(id): Path<String>,
    Form(filled): Form<Filled>,
) -> Response {
    let text = |given: &str| Some(given.trim().to_owned()).filter(|text| !text.is_empty());
    let payment = Payment {
        card: text(&filled.instrument),
        authenticate: filled.authenticate,
        amount: chosen_amount(&app.world(), &id, &filled.amount),
        email: text(&filled.email),
        name: text(&filled.name),
        ..Payment::default()
    };
    match app.with(|world| checkout::pay(world, &id, &payment)) {
        Ok(done) => {
            wait_for_delivery(&app, &done.event).await;
            Redirect::to(&done.redirect_url).into_response()
        }
        Err(NotPaid::NotOpen(_)) => app.with(|world| page(world, &id, None)).into_response(),
        Err(NotPaid::Refused(error)) if error.code() == "authentication_required" => {
            authentication(&id, &filled).into_response()
        }
        Err(NotPaid::Refused(error)) => app
            .with(|world| page(world, &id, Some(error.message())))
            .into_response(),
    }
}

/// The amount that a donor typed, in minor units.
fn chosen_amount(world: &World, id: &str, typed: &str) -> Option<i64> {
    let currency = world.store.copy(id).text("currency").to_owned();
    let typed = typed.trim().replace(',', ".");
    if super::html::ZERO_DECIMAL.contains(&currency.as_str()) {
        return typed.parse().ok();
    }
    let (whole, cents) = typed.split_once('.').unwrap_or((&typed, ""));
    let cents = format!("{cents:0<2}");
    let amount = whole.parse::<i64>().ok()?.checked_mul(100)?;
    amount.checked_add(cents.get(..2)?.parse().ok()?)
}

/// Makes the copy of an expired session that its recovery link promises.
pub(super) async fn recover(State(app): Shared, Path(id): Path<String>) -> Response {
    match app.with(|world| checkout::recover(world, &id)) {
        Ok(session) => Redirect::to(session.text("url")).into_response(),
        Err(_) => Page::sorry(
            StatusCode::NOT_FOUND,
            "This link has expired",
            "Please start again.",
        )
        .into_response(),
    }
}

fn page(world: &World, id: &str, error: Option<&str>) -> Page {
    let Some(session) = world.store.find("checkout.session", id) else {
        let text = "There is no such checkout. The link may be incomplete.";
        return Page::sorry(StatusCode::NOT_FOUND, "Page not found", text);
    };
    let organisation = escape(&world.settings.organisation);
    let back = session
        .opt_text("cancel_url")
        .map(|url| format!("<p><a href=\"{}\">← Back</a></p>", escape(url)));
    let back = back.unwrap_or_default();
    match session.text("status") {
        "complete" => {
            let body = format!(
                "<h1>{organisation}</h1><div class=\"card\"><p>You have completed this checkout already.</p>\
                 <p><a href=\"{}\">Continue</a></p></div>",
                escape(&redirect_url(session))
            );
            return Page::new("Already completed", body);
        }
        "expired" => {
            let again = session["after_expiration"]["recovery"].opt_text("url");
            let again = again
                .map(|url| format!("<p><a href=\"{}\">Start again</a></p>", escape(url)))
                .unwrap_or_default();
            let body = format!(
                "<h1>{organisation}</h1><div class=\"card\"><p>This checkout has timed out. Nothing was charged.</p>{again}\
                 {back}</div>"
            );
            return Page {
                status: StatusCode::GONE,
                ..Page::new("Checkout expired", body)
            };
        }
        _ => {}
    }
    let mut body = format!("{back}<p class=\"soft\">{organisation}</p>");
    summary(world, session, &mut body);
    if let Some(error) = error {
        let _ = write!(
            body,
            "<div class=\"error\" role=\"alert\">{}</div>",
            escape(error)
        );
    }
    form(world, session, &mut body);
    Page::new("Checkout", body)
}

fn summary(world: &World, session: &Value, body: &mut String) {
    let currency = session.text("currency");
    let verb = if session.text("mode") == "subscription" {
        "Subscribe"
    } else {
        "Pay"
    };
    let _ = write!(
        body,
        "<h1>{verb}</h1><div class=\"total\">{}</div><p class=\"soft\">due today</p><div class=\"card\"><table>",
        money(session.int("amount_total"), currency)
    );
    for line in world
        .store
        .hidden(session.text("id"), "line_items")
        .as_array()
        .into_iter()
        .flatten()
    {
        let recurring = &line["price"]["recurring"];
        let rhythm = if recurring.is_object() {
            let count = recurring.int("interval_count");
            let interval = recurring.text("interval");
            let every = if count > 1 {
                format!("every {count} {interval}s")
            } else {
                format!("every {interval}")
            };
            let price = money(
                world.unit_amount(&line["price"], currency) * line.int("quantity"),
                currency,
            );
            format!("<br><span class=\"soft\">{price} {every}</span>")
        } else {
            String::new()
        };
        let quantity = if line.int("quantity") > 1 {
            format!(" × {}", line.int("quantity"))
        } else {
            String::new()
        };
        let _ = write!(
            body,
            "<tr><td>{}{quantity}{rhythm}</td><td class=\"amount\">{}</td></tr>",
            escape(line.text("description")),
            money(line.int("amount_total"), currency)
        );
    }
    let _ = write!(
        body,
        "<tr><th>Total due today</th><th class=\"amount\">{}</th></tr></table></div>",
        money(session.int("amount_total"), currency)
    );
}

fn form(world: &World, session: &Value, body: &mut String) {
    let _ = write!(
        body,
        "<form method=\"post\" action=\"/c/pay/{}\">",
        escape(session.text("id"))
    );
    let lines = world
        .store
        .hidden(session.text("id"), "line_items")
        .as_array()
        .cloned()
        .unwrap_or_default();
    if lines
        .iter()
        .any(|line| line["price"].has("custom_unit_amount"))
    {
        let code = session.text("currency").to_uppercase();
        let _ = write!(
            body,
            "<h2>Your amount</h2><label>Amount in {code}<input type=\"text\" inputmode=\"decimal\" name=\"amount\" \
             required></label>"
        );
    }
    body.push_str("<h2>Contact</h2>");
    let known = world.store.copy(session.text("customer"));
    match known.opt_text("email").or(session.opt_text("customer_email")) {
        Some(email) => {
            let _ = write!(body, "<p>{}</p>", escape(email));
        }
        None => body.push_str(
            "<label>E-mail<input type=\"email\" name=\"email\" placeholder=\"buyer@example.com\"></label>",
        ),
    }
    body.push_str("<h2>Pay with a test instrument</h2>");
    let offered: Vec<_> = INSTRUMENTS
        .iter()
        .filter(|instrument| checkout::is_offered(session, instrument))
        .collect();
    for (at, instrument) in offered.iter().enumerate() {
        if at == SHOWN_AT_ONCE {
            body.push_str("<details><summary>More test cards and accounts</summary>");
        }
        let checked = if at == 0 { " checked" } else { "" };
        let _ = write!(
            body,
            "<label class=\"choice\"><input type=\"radio\" name=\"instrument\" value=\"{0}\"{checked}>{1}<code>{0}</code></label>",
            instrument.number,
            escape(instrument.label)
        );
    }
    if offered.len() > SHOWN_AT_ONCE {
        body.push_str("</details>");
    }
    if session.int("amount_total") == 0
        && session.text("payment_method_collection") == "if_required"
    {
        body.push_str("<label class=\"choice\"><input type=\"radio\" name=\"instrument\" value=\"\">No payment method</label>");
    }
    let verb = if session.text("mode") == "subscription" {
        "Subscribe"
    } else {
        "Pay"
    };
    let _ = write!(body, "<button type=\"submit\">{verb}</button></form>");
    body.push_str(
        "<p class=\"soft\">This page belongs to a sandbox. It takes test cards only.</p>",
    );
}

fn authentication(id: &str, filled: &Filled) -> Page {
    let field = |name: &str, value: &str| {
        format!(
            "<input type=\"hidden\" name=\"{name}\" value=\"{}\">",
            escape(value)
        )
    };
    let body = format!(
        "<h1>Authenticate your payment</h1><div class=\"card\"><p>Your bank asks whether it is you. (It is the sandbox that \
         asks.)</p><form method=\"post\" action=\"/c/pay/{}\">{}{}{}{}\
         <button name=\"authenticate\" value=\"true\">Complete</button>\
         <button class=\"plain\" name=\"authenticate\" value=\"false\">Fail</button></form></div>",
        escape(id),
        field("instrument", &filled.instrument),
        field("amount", &filled.amount),
        field("email", &filled.email),
        field("name", &filled.name),
    );
    Page::new("Authenticate", body)
}
