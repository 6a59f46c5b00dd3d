//! How the hosted checkout looks.

use std::fmt::Write;

use axum::http::StatusCode;
use serde_json::Value;

use super::checkout::Filled;
use super::html::{Page, contrast, escape, money};
use crate::engine::buyer::HOME;
use crate::engine::checkout::{self, redirect_url};
use crate::engine::instruments::INSTRUMENTS;
use crate::engine::offer::{self, Priced};
use crate::world::World;
use crate::world::json::Json;

/// The instruments that are not folded away.
const SHOWN_AT_ONCE: usize = 7;

/// Countries that the page offers; a program may name others.
const COUNTRIES: &[(&str, &str)] = &[
    ("AT", "Austria"),
    ("CH", "Switzerland"),
    ("DE", "Germany"),
    ("ES", "Spain"),
    ("FR", "France"),
    ("GB", "United Kingdom"),
    ("IT", "Italy"),
    ("NL", "Netherlands"),
    ("US", "United States"),
];

/// The page of a session, with what went wrong.
pub(super) fn page(world: &mut World, id: &str, error: Option<&str>) -> Page {
    let Some(session) = world.store.find("checkout.session", id).cloned() else {
        let text = "There is no such checkout. The link may be incomplete.";
        return Page::sorry(StatusCode::NOT_FOUND, "Page not found", text);
    };
    let branding = &session["branding_settings"];
    let organisation = escape(
        branding
            .opt_text("display_name")
            .unwrap_or(&world.settings.organisation),
    );
    let back = session
        .opt_text("cancel_url")
        .map(|url| format!("<p><a href=\"{}\">← Back</a></p>", escape(url)));
    let back = back.unwrap_or_default();
    let branded = |page: Page| Page {
        style: style(branding),
        ..page
    };
    match session.text("status") {
        "complete" => {
            let body = format!(
                "<h1>{organisation}</h1><div class=\"card\"><p>You have completed this checkout already.</p>\
                 <p><a href=\"{}\">Continue</a></p></div>",
                escape(&redirect_url(&session))
            );
            return branded(Page::new("Already completed", body));
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
            return branded(Page {
                status: StatusCode::GONE,
                ..Page::new("Checkout expired", body)
            });
        }
        _ => {}
    }
    let mut body = format!("{back}<p class=\"soft\">{organisation}</p>");
    let priced = offer::preview(world, id);
    summary(world, &session, &priced, &mut body);
    if let Some(error) = error {
        let _ = write!(
            body,
            "<div class=\"error\" role=\"alert\">{}</div>",
            escape(error)
        );
    }
    form(world, &session, &mut body);
    branded(Page::new("Checkout", body))
}

/// The session's colours and corners. The content stays on white, so that any background leaves it readable.
fn style(branding: &Value) -> String {
    let Some(back) = branding.opt_text("background_color") else {
        return String::new();
    };
    let button = branding.text("button_color");
    let radius = match branding.text("border_style") {
        "rectangular" => "0",
        "pill" => "2rem",
        _ => ".4rem",
    };
    format!(
        ":root{{--back:{back};--button:{button};--on-button:{};--radius:{radius}}}main{{background:#fff}}",
        if contrast(button, "#000000") > contrast(button, "#ffffff") {
            "#000"
        } else {
            "#fff"
        }
    )
}

fn verb(session: &Value) -> &'static str {
    match session.text("submit_type") {
        "book" => "Book",
        "donate" => "Donate",
        "pay" => "Pay",
        "subscribe" => "Subscribe",
        _ if session.text("mode") == "subscription" => "Subscribe",
        _ => "Pay",
    }
}

fn lines(world: &World, session: &Value) -> Vec<Value> {
    let lines = world.store.hidden(session.text("id"), "line_items");
    lines.as_array().cloned().unwrap_or_default()
}

fn summary(world: &World, session: &Value, priced: &Priced, body: &mut String) {
    let currency = session.text("currency");
    let total = money(priced.total, currency);
    let _ = write!(
        body,
        "<h1>{}</h1><div class=\"total\">{total}</div><p class=\"soft\">due today</p><div class=\"card\"><table>",
        verb(session)
    );
    for line in &priced.items {
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
            money(line.int("amount_subtotal"), currency)
        );
    }
    if let Some(discount) = &priced.discount {
        let code = world.store.copy(discount.text("promotion_code"));
        let _ = write!(
            body,
            "<tr><td>Discount {}</td><td class=\"amount\">{}</td></tr>",
            escape(code.text("code")),
            money(-priced.off(), currency)
        );
    }
    for tax in priced.taxes().iter().filter(|tax| tax.int("amount") > 0) {
        let rate = &tax["rate"];
        let included = if rate.flag("inclusive") {
            " (included)"
        } else {
            ""
        };
        let _ = write!(
            body,
            "<tr><td>{} {} %{included}</td><td class=\"amount\">{}</td></tr>",
            escape(rate.text("display_name")),
            rate["percentage"],
            money(tax.int("amount"), currency)
        );
    }
    let _ = write!(
        body,
        "<tr><th>Total due today</th><th class=\"amount\">{total}</th></tr></table></div>"
    );
}

fn form(world: &World, session: &Value, body: &mut String) {
    let _ = write!(
        body,
        "<form method=\"post\" action=\"/c/pay/{}\">",
        escape(session.text("id"))
    );
    let mut can_change = quantities(world, session, body);
    if lines(world, session)
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
    can_change |= promotion_code(world, session, body);
    can_change |= contact(world, session, body);
    if can_change {
        // What must be filled in to pay need not be there to see the price.
        body.push_str("<button class=\"plain\" name=\"update\" value=\"1\" formnovalidate>Update the total</button>");
    }
    instruments(session, body);
    consent(world, session, body);
    custom_text(session, "submit", body);
    let _ = write!(body, "<button type=\"submit\">{}</button>", verb(session));
    custom_text(session, "after_submit", body);
    body.push_str("</form>");
    if let Some(locale) = session
        .opt_text("locale")
        .filter(|locale| *locale != "auto")
    {
        let _ = write!(
            body,
            "<p class=\"soft\">Stripe would show this page in the language {}; the sandbox speaks English only.</p>",
            escape(locale)
        );
    }
    body.push_str(
        "<p class=\"soft\">This page belongs to a sandbox. It takes test cards only.</p>",
    );
}

/// Fields for the quantities that the buyer may change.
fn quantities(world: &World, session: &Value, body: &mut String) -> bool {
    let mut any = false;
    for line in lines(world, session) {
        let bounds = &line["adjustable_quantity"];
        if bounds.flag("enabled") {
            any = true;
            let _ = write!(
                body,
                "<label>Quantity of {}<input type=\"number\" name=\"quantity_{}\" value=\"{}\" min=\"{}\" max=\"{}\"></label>",
                escape(line.text("description")),
                escape(line.text("id")),
                line.int("quantity"),
                bounds.int("minimum").max(1),
                bounds.int("maximum")
            );
        }
    }
    any
}

/// A field for a promotion code, where the session takes them.
fn promotion_code(world: &World, session: &Value, body: &mut String) -> bool {
    if !session.flag("allow_promotion_codes") {
        return false;
    }
    let chosen = &session["discounts"][0];
    let code = world.store.copy(chosen.text("promotion_code"));
    let _ = write!(
        body,
        "<label>Promotion code<input type=\"text\" name=\"promotion_code\" value=\"{}\" autocomplete=\"off\"></label>",
        escape(code.text("code"))
    );
    true
}

/// Who the buyer is and where; true where that has a say in the price.
fn contact(world: &World, session: &Value, body: &mut String) -> bool {
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
    if session.text("billing_address_collection") == "required" {
        for (name, label) in [
            ("line1", "Street and number"),
            ("postal_code", "Postal code"),
            ("city", "City"),
        ] {
            let text = escape(known["address"].text(name));
            let _ = write!(
                body,
                "<label>{label}<input type=\"text\" name=\"{name}\" value=\"{text}\" required></label>"
            );
        }
    }
    let choices = world.store.hidden(session.text("id"), "choices");
    let saved = known["address"].opt_text("country");
    let chosen = choices.opt_text("country").or(saved).unwrap_or(HOME);
    body.push_str("<label>Country<select name=\"country\">");
    if !COUNTRIES.iter().any(|(code, _)| *code == chosen) {
        let code = escape(chosen);
        let _ = write!(body, "<option value=\"{code}\" selected>{code}</option>");
    }
    for (code, name) in COUNTRIES {
        let selected = if *code == chosen { " selected" } else { "" };
        let _ = write!(body, "<option value=\"{code}\"{selected}>{name}</option>");
    }
    body.push_str("</select></label>");
    if session["tax_id_collection"].flag("enabled") {
        body.push_str(
            "<label>VAT number, if you buy for an organisation<input type=\"text\" name=\"tax_id\"></label>",
        );
    }
    session["automatic_tax"].flag("enabled")
}

fn instruments(session: &Value, body: &mut String) {
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
}

fn consent(world: &World, session: &Value, body: &mut String) {
    let asked = &session["consent_collection"];
    if asked.text("terms_of_service") == "required" {
        let own = session["custom_text"]["terms_of_service_acceptance"].opt_text("message");
        let url = world
            .settings
            .terms_of_service_url
            .as_deref()
            .unwrap_or_default();
        let text = own.map_or_else(|| "I agree to the terms of service.".to_owned(), escape);
        let _ = write!(
            body,
            "<label class=\"choice\"><input type=\"checkbox\" name=\"terms\" value=\"1\" required>{text}</label>\
             <p><a href=\"{}\">Terms of service</a></p>",
            escape(url)
        );
    }
    if asked.text("promotions") == "auto" {
        body.push_str(
            "<label class=\"choice\"><input type=\"checkbox\" name=\"promotions\" value=\"1\">Send me news and offers.</label>",
        );
    }
}

fn custom_text(session: &Value, place: &str, body: &mut String) {
    if let Some(text) = session["custom_text"][place].opt_text("message") {
        let _ = write!(body, "<p>{}</p>", escape(text));
    }
}

/// The page on which the bank asks whether it is the buyer; it sends all that was filled in again.
pub(super) fn authentication(id: &str, filled: &Filled) -> Page {
    let mut body = format!(
        "<h1>Authenticate your payment</h1><div class=\"card\"><p>Your bank asks whether it is you. (It is the sandbox that \
         asks.)</p><form method=\"post\" action=\"/c/pay/{}\">",
        escape(id)
    );
    for (name, value) in filled.0.iter().filter(|(name, _)| name != "authenticate") {
        let _ = write!(
            body,
            "<input type=\"hidden\" name=\"{}\" value=\"{}\">",
            escape(name),
            escape(value)
        );
    }
    body.push_str(
        "<button name=\"authenticate\" value=\"true\">Complete</button>\
         <button class=\"plain\" name=\"authenticate\" value=\"false\">Fail</button></form></div>",
    );
    Page::new("Authenticate", body)
}
