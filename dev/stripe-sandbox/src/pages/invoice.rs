//! The page of an invoice, where its customer pays it, and its PDF.

use std::fmt::Write;
use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::Value;

use super::html::{Page, escape, money};
use super::pdf::{self, Row};
use crate::app::App;
use crate::engine::checkout::NotPaid;
use crate::engine::drafts;
use crate::engine::hosted::{self, Payment};
use crate::engine::instruments::{INSTRUMENTS, Instrument};
use crate::world::World;
use crate::world::clock::day;
use crate::world::json::Json;

/// The instruments that are not folded away.
const SHOWN_AT_ONCE: usize = 7;

type Shared = State<Arc<App>>;

/// What the page's form sends.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Filled {
    instrument: String,
    authenticate: Option<bool>,
}

/// Shows an invoice to its customer.
pub(super) async fn show(State(app): Shared, Path(id): Path<String>) -> Response {
    app.with(|world| page(world, &id, None)).into_response()
}

/// Tries to pay, then shows the invoice as it is.
pub(super) async fn submit(
    State(app): Shared,
    Path(id): Path<String>,
    Form(filled): Form<Filled>,
) -> Response {
    let payment = Payment {
        card: Some(filled.instrument.trim().to_owned()),
        authenticate: filled.authenticate,
        ..Payment::default()
    };
    match app.with(|world| hosted::pay(world, &id, &payment)) {
        Ok(_) => Redirect::to(&format!("/i/{id}")).into_response(),
        Err(NotPaid::NotOpen(_)) => app.with(|world| page(world, &id, None)).into_response(),
        Err(NotPaid::Refused(error)) if error.code() == "authentication_required" => {
            authentication(&id, &filled).into_response()
        }
        Err(NotPaid::Refused(error)) => app
            .with(|world| page(world, &id, Some(error.message())))
            .into_response(),
    }
}

/// The invoice as a file.
pub(super) async fn file(State(app): Shared, Path(id): Path<String>) -> Response {
    let world = app.world();
    let Some(invoice) = shown(&world, &id) else {
        return unknown().into_response();
    };
    let name = format!(
        "attachment; filename=\"Invoice-{}.pdf\"",
        invoice.text("number")
    );
    let headers = [
        (header::CONTENT_TYPE, "application/pdf".to_owned()),
        (header::CONTENT_DISPOSITION, name),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (headers, pdf::document(&rows(&world, invoice))).into_response()
}

/// An invoice that has a page: drafts have none.
fn shown<'a>(world: &'a World, id: &str) -> Option<&'a Value> {
    let invoice = world.store.find("invoice", id);
    invoice.filter(|invoice| invoice.text("status") != "draft")
}

fn unknown() -> Page {
    let text = "There is no such invoice. The link may be incomplete.";
    Page::sorry(StatusCode::NOT_FOUND, "Page not found", text)
}

/// The state of an invoice in words.
fn state(world: &World, invoice: &Value) -> String {
    let moments = &invoice["status_transitions"];
    let is_under_way =
        hosted::payment_status(world, invoice.text("id")).as_deref() == Some("processing");
    match invoice.text("status") {
        "paid" => format!("Paid on {}", day(moments.int("paid_at"))),
        "void" => "Void: nothing has to be paid".to_owned(),
        _ if is_under_way => "Payment under way: your bank needs some days".to_owned(),
        "uncollectible" => "Uncollectible: it can still be paid".to_owned(),
        _ => invoice
            .opt_int("due_date")
            .map_or_else(|| "Due now".to_owned(), |at| format!("Due on {}", day(at))),
    }
}

/// What stands between the lines and what is left to pay, with amounts.
fn sums(invoice: &Value) -> Vec<(&'static str, i64)> {
    let applied = invoice.int("starting_balance") - invoice.int("ending_balance");
    let credited = invoice.int("pre_payment_credit_notes_amount");
    let taxes = invoice.int("total") - invoice.int("subtotal");
    let mut sums = vec![
        ("Subtotal", invoice.int("subtotal")),
        ("Taxes and discounts", taxes),
        ("Total", invoice.int("total")),
        ("Applied balance", applied),
        ("Credited", -credited),
    ];
    sums.retain(|(name, amount)| matches!(*name, "Subtotal" | "Total") || *amount != 0);
    sums.push(("Amount due", invoice.int("amount_due")));
    if invoice.int("amount_paid") != 0 {
        sums.push(("Amount paid", invoice.int("amount_paid")));
    }
    sums
}

fn page(world: &World, id: &str, error: Option<&str>) -> Page {
    let Some(invoice) = shown(world, id) else {
        return unknown();
    };
    let currency = invoice.text("currency");
    let is_open = hosted::is_payable(invoice)
        && hosted::payment_status(world, id).as_deref() != Some("processing");
    let amount = if is_open {
        invoice.int("amount_remaining")
    } else {
        invoice.int("total")
    };
    let mut body = format!(
        "<p class=\"soft\">{}</p><h1>Invoice {}</h1><div class=\"total\">{}</div>\
         <p role=\"status\">{}</p>",
        escape(&world.settings.organisation),
        escape(invoice.text("number")),
        money(amount, currency),
        escape(&state(world, invoice)),
    );
    if let Some(error) = error {
        let _ = write!(
            body,
            "<div class=\"error\" role=\"alert\">{}</div>",
            escape(error)
        );
    }
    details(world, invoice, &mut body);
    let _ = write!(
        body,
        "<p><a href=\"/i/{}/pdf\">Download PDF</a></p>",
        escape(id)
    );
    if is_open {
        form(id, &mut body);
    }
    body.push_str(
        "<p class=\"soft\">This page belongs to a sandbox. It takes test cards only.</p>",
    );
    Page::new(&format!("Invoice {}", invoice.text("number")), body)
}

/// To whom, since when, what for, how much.
fn details(world: &World, invoice: &Value, body: &mut String) {
    let currency = invoice.text("currency");
    let _ = write!(
        body,
        "<div class=\"card\"><table><tr><th scope=\"row\">To</th><td class=\"amount\">{}</td></tr>\
         <tr><th scope=\"row\">Issued</th><td class=\"amount\">{}</td></tr></table></div>\
         <div class=\"card\"><table><caption class=\"soft\">What it is for</caption>",
        escape(addressee(invoice)),
        day(invoice.int("effective_at")),
    );
    for line in drafts::lines_of(world, invoice) {
        let _ = write!(
            body,
            "<tr><td>{}{}</td><td class=\"amount\">{}</td></tr>",
            escape(line.text("description")),
            period(line)
                .map(|text| format!("<br><span class=\"soft\">{text}</span>"))
                .unwrap_or_default(),
            money(line.int("amount"), currency)
        );
    }
    for (name, amount) in sums(invoice) {
        let _ = write!(
            body,
            "<tr><th scope=\"row\">{name}</th><td class=\"amount\">{}</td></tr>",
            money(amount, currency)
        );
    }
    body.push_str("</table></div>");
}

fn addressee(invoice: &Value) -> &str {
    let name = invoice.opt_text("customer_name");
    name.or(invoice.opt_text("customer_email"))
        .unwrap_or_default()
}

/// The time that a line bills, where it bills time.
fn period(line: &Value) -> Option<String> {
    let (start, end) = (line["period"].int("start"), line["period"].int("end"));
    (end > start).then(|| format!("{} – {}", day(start), day(end)))
}

fn form(id: &str, body: &mut String) {
    let _ = write!(
        body,
        "<form method=\"post\" action=\"/i/{}\"><fieldset><legend>Pay with a test instrument</legend>",
        escape(id)
    );
    for (at, instrument) in INSTRUMENTS.iter().enumerate() {
        if at == SHOWN_AT_ONCE {
            body.push_str("<details><summary>More test cards and accounts</summary>");
        }
        choice(instrument, at == 0, body);
    }
    body.push_str("</details></fieldset><button type=\"submit\">Pay</button></form>");
}

fn choice(instrument: &Instrument, is_first: bool, body: &mut String) {
    let checked = if is_first { " checked" } else { "" };
    let _ = write!(
        body,
        "<label class=\"choice\"><input type=\"radio\" name=\"instrument\" value=\"{0}\"{checked}>{1}<code>{0}</code></label>",
        instrument.number,
        escape(instrument.label)
    );
}

fn authentication(id: &str, filled: &Filled) -> Page {
    let body = format!(
        "<h1>Authenticate your payment</h1><div class=\"card\"><p>Your bank asks whether it is you. (It is the sandbox that \
         asks.)</p><form method=\"post\" action=\"/i/{}\">\
         <input type=\"hidden\" name=\"instrument\" value=\"{}\">\
         <button name=\"authenticate\" value=\"true\">Complete</button>\
         <button class=\"plain\" name=\"authenticate\" value=\"false\">Fail</button></form></div>",
        escape(id),
        escape(&filled.instrument),
    );
    Page::new("Authenticate", body)
}

/// The lines of the PDF.
fn rows(world: &World, invoice: &Value) -> Vec<Row> {
    let currency = invoice.text("currency");
    let mut rows = vec![
        Row::bold(world.settings.organisation.clone()).with("SANDBOX - no real money"),
        Row::plain(""),
        Row::bold(format!("Invoice {}", invoice.text("number"))),
        Row::plain(format!("Issued {}", day(invoice.int("effective_at")))),
        Row::plain(format!("To {}", addressee(invoice))),
        Row::plain(state(world, invoice)),
        Row::plain(""),
    ];
    for line in drafts::lines_of(world, invoice) {
        let amount = money(line.int("amount"), currency);
        rows.push(Row::plain(line.text("description")).with(amount));
        rows.extend(period(line).map(|text| Row::plain(format!("  {text}"))));
    }
    rows.push(Row::plain(""));
    for (name, amount) in sums(invoice) {
        rows.push(Row::bold(name).with(money(amount, currency)));
    }
    rows
}
