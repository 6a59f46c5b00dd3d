//! What the sandbox holds, for people.

use std::fmt::Write;
use std::sync::Arc;

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::Value;

use super::html::{Page, escape, moment, money};
use crate::app::App;
use crate::engine::clock;
use crate::world::World;
use crate::world::json::Json;

const SHOWN: usize = 50;

/// The overview.
pub(super) async fn show(State(app): State<Arc<App>>) -> Page {
    app.with(|world| {
        let mut body = String::from("<h1>Stripe sandbox</h1>");
        time(world, &mut body);
        objects(world, &mut body);
        events(world, &mut body);
        deliveries(world, &mut body);
        Page {
            wide: true,
            refresh: Some(5),
            ..Page::new("Stripe sandbox", body)
        }
    })
}

/// How far the buttons move the clock.
#[derive(Deserialize)]
pub(super) struct Advance {
    seconds: i64,
}

/// Moves the clock from the overview.
pub(super) async fn advance(State(app): State<Arc<App>>, Form(wanted): Form<Advance>) -> Response {
    app.with(|world| {
        let target = world.now() + wanted.seconds.max(0);
        clock::advance_to(world, target);
    });
    Redirect::to("/_sandbox/").into_response()
}

fn time(world: &World, body: &mut String) {
    let _ = write!(
        body,
        "<div class=\"card\"><strong>{}</strong> <span class=\"soft\">sandbox time, {} s ahead</span>\
         <form method=\"post\" action=\"/_sandbox/ui/advance\" style=\"display:flex;gap:.5rem;flex-wrap:wrap\">",
        moment(world.now()),
        world.clock.offset
    );
    for (label, seconds) in [
        ("1 hour", 3_600),
        ("1 day", 86_400),
        ("1 month", 31 * 86_400),
        ("1 year", 366 * 86_400),
    ] {
        let _ = write!(
            body,
            "<button class=\"plain\" style=\"width:auto\" name=\"seconds\" value=\"{seconds}\">+ {label}</button>"
        );
    }
    body.push_str("</form></div>");
}

fn objects(world: &World, body: &mut String) {
    body.push_str("<h2>Objects</h2><div class=\"card scroll\" role=\"region\" aria-label=\"Objects\" tabindex=\"0\"><table><tr><th>Kind</th><th>Count</th><th>Newest</th></tr>");
    for kind in world.store.kinds().filter(|kind| *kind != "event") {
        let rows = world.store.all(kind);
        let _ = write!(
            body,
            "<tr><td><a href=\"/_sandbox/objects/{0}\">{0}</a></td><td>{1}</td><td>",
            escape(kind),
            rows.len()
        );
        for row in rows.iter().rev().take(3) {
            let _ = write!(
                body,
                "<code>{}</code> {} ",
                escape(row.text("id")),
                about(row)
            );
        }
        body.push_str("</td></tr>");
    }
    body.push_str("</table></div>");
}

/// The few words that tell an object from the others.
fn about(row: &Value) -> String {
    let mut words = vec![];
    let amount = ["amount_total", "total", "amount", "unit_amount"]
        .iter()
        .find_map(|key| row.opt_int(key));
    if let (Some(amount), Some(currency)) = (amount, row.opt_text("currency")) {
        words.push(money(amount, currency));
    }
    words.extend(
        ["status", "name", "lookup_key", "url"]
            .iter()
            .filter_map(|key| row.opt_text(key))
            .take(2)
            .map(|text| {
                if text.contains("/c/pay/") {
                    format!("<a href=\"{0}\">pay</a>", escape(text))
                } else {
                    escape(text)
                }
            }),
    );
    format!("<span class=\"soft\">{}</span><br>", words.join(" · "))
}

fn events(world: &World, body: &mut String) {
    body.push_str(
        "<h2>Events</h2><div class=\"card scroll\" role=\"region\" aria-label=\"Events\" tabindex=\"0\"><table><tr><th>Created</th><th>Type</th><th>Object</th><th>Pending</th></tr>",
    );
    for event in world.store.all("event").iter().rev().take(SHOWN) {
        let _ = write!(
            body,
            "<tr><td>{}</td><td>{}<br><code class=\"soft\">{}</code></td><td><code>{}</code></td><td>{}</td></tr>",
            moment(event.int("created")),
            escape(event.text("type")),
            escape(event.text("id")),
            escape(event["data"]["object"].text("id")),
            event.int("pending_webhooks")
        );
    }
    body.push_str("</table></div>");
}

fn deliveries(world: &World, body: &mut String) {
    body.push_str(
        "<h2>Deliveries</h2><div class=\"card scroll\" role=\"region\" aria-label=\"Deliveries\" tabindex=\"0\"><table><tr><th>At</th><th>Event</th><th>Endpoint</th><th>Answer</th></tr>",
    );
    let mut rows = world.delivery_log();
    rows.reverse();
    rows.sort_by_key(|row| std::cmp::Reverse(row.opt_int("at")));
    for row in rows.iter().take(SHOWN) {
        let status = row.opt_int("status");
        let class = if status.is_some_and(|status| (200..300).contains(&status)) {
            "ok"
        } else {
            "bad"
        };
        let answer = status.map_or_else(
            || row.opt_text("error").unwrap_or("-").to_owned(),
            |status| status.to_string(),
        );
        let _ = write!(
            body,
            "<tr><td>{}</td><td>{}<br><code class=\"soft\">{}</code></td><td><code>{}</code></td>\
             <td class=\"{class}\">{} <span class=\"soft\">{}, attempt {}</span></td></tr>",
            row.opt_int("at").map(moment).unwrap_or_default(),
            escape(row.text("type")),
            escape(row.text("event")),
            escape(row.text("endpoint")),
            escape(&answer),
            escape(row.text("state")),
            row.int("attempt")
        );
    }
    body.push_str("</table></div>");
}
