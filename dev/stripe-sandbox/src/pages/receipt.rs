//! The receipt of a charge.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::Value;

use super::html::{Page, escape, money};
use crate::app::App;
use crate::engine::billing;
use crate::world::World;
use crate::world::clock::day;
use crate::world::json::Json;

/// Shows the receipt of a charge that was paid.
pub(super) async fn show(State(app): State<Arc<App>>, Path(id): Path<String>) -> Page {
    app.with(|world| {
        let charge = world.store.find("charge", &id);
        // Nothing was received for a charge that failed, or is under way.
        match charge.filter(|charge| charge.has("receipt_url")) {
            Some(charge) => page(world, charge),
            None => Page::sorry(
                StatusCode::NOT_FOUND,
                "There is no such receipt",
                "The link may be incomplete.",
            ),
        }
    })
}

fn page(world: &World, charge: &Value) -> Page {
    let organisation = escape(&world.settings.organisation);
    let amount = money(charge.int("amount"), charge.text("currency"));
    let mut body = format!(
        "<h1>Receipt from {organisation}</h1><div class=\"total\">{amount}</div><div class=\"card\"><table>"
    );
    let method = &charge["payment_method_details"];
    let paid_with = match method.text("type") {
        "card" => format!(
            "{} ending {}",
            method["card"].text("brand"),
            method["card"].text("last4")
        ),
        _ => format!("account ending {}", method["sepa_debit"].text("last4")),
    };
    let facts = [
        ("Receipt number", charge.text("receipt_number").to_owned()),
        ("Date paid", day(charge.int("created"))),
        ("Paid with", paid_with),
        ("Sent to", charge.text("receipt_email").to_owned()),
    ];
    for (label, fact) in facts.iter().filter(|(_, fact)| !fact.is_empty()) {
        let _ = write!(
            body,
            "<tr><th scope=\"row\">{label}</th><td class=\"amount\">{}</td></tr>",
            escape(fact)
        );
    }
    body.push_str("</table></div>");
    what_for(world, charge, &mut body);
    Page::new("Receipt", body)
}

fn what_for(world: &World, charge: &Value, body: &mut String) {
    let currency = charge.text("currency");
    let mut rows = bought(world, charge);
    let listed: i64 = rows.iter().map(|(_, amount)| amount).sum();
    if listed != charge.int("amount") {
        rows.push((
            "Taxes and discounts".to_owned(),
            charge.int("amount") - listed,
        ));
    }
    if charge.int("amount_refunded") > 0 {
        rows.push(("Refunded".to_owned(), -charge.int("amount_refunded")));
    }
    body.push_str("<h2>Summary</h2><div class=\"card\"><table>");
    for (name, amount) in rows {
        let _ = write!(
            body,
            "<tr><td>{}</td><td class=\"amount\">{}</td></tr>",
            escape(&name),
            money(amount, currency)
        );
    }
    body.push_str("</table></div>");
}

/// What was bought, and for how much: the lines of the invoice or of the session, or else the description.
fn bought(world: &World, charge: &Value) -> Vec<(String, i64)> {
    let named = |lines: &[Value], amount: &str| {
        let line = |line: &Value| (line.text("description").to_owned(), line.int(amount));
        lines.iter().map(line).collect()
    };
    let intent = charge.text("payment_intent");
    if let Some(invoice) = billing::invoice_of(world, intent) {
        return named(world.store.copy(&invoice)["lines"].items("data"), "amount");
    }
    let mut sessions = world.store.linked("checkout.session", intent);
    if let Some(session) = sessions.find(|row| row.reference("payment_intent") == Some(intent)) {
        let lines = world.store.hidden(session.text("id"), "line_items");
        return named(
            lines.as_array().map_or(&[], Vec::as_slice),
            "amount_subtotal",
        );
    }
    let what = charge.opt_text("description").unwrap_or("Payment");
    vec![(what.to_owned(), charge.int("amount"))]
}
