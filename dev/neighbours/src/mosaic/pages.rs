//! What is only read: all that the Billing Service knows, for people, the sample client's pages, and the issuers' keys.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;

use super::tokens::{self, Issuer};
use super::world::{App, Row, World};
use super::{APPLICATION_ID, ENVIRONMENT_ID, TENANT_ID};

const STYLE: &str = include_str!("page.css");
const SHOWN: usize = 100;

/// The routes.
pub(super) fn router() -> Router<Arc<App>> {
    let place = format!("{TENANT_ID}/{ENVIRONMENT_ID}");
    let id_keys = format!("/id/{place}/.well-known/jwks.json");
    let user_keys = format!("/user/{place}/{APPLICATION_ID}/.well-known/jwks.json");
    Router::new()
        .route("/", get(overview))
        .route(&id_keys, get(|| async { Json(tokens::jwks(Issuer::Id)) }))
        .route(
            &user_keys,
            get(|| async { Json(tokens::jwks(Issuer::User)) }),
        )
        .route("/client", get(|| async { Redirect::permanent("/client/") }))
        .route(
            "/client/",
            get(|| async { Html(include_str!("client/index.html")) }),
        )
        .route(
            "/client/success.html",
            get(|| async { Html(include_str!("client/success.html")) }),
        )
        .route(
            "/client/cancelled.html",
            get(|| async { Html(include_str!("client/cancelled.html")) }),
        )
}

/// Text that is safe inside HTML and attributes.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for symbol in text.chars() {
        match symbol {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

fn text(row: &Row, name: &str) -> String {
    match row.get(name) {
        Some(Value::String(text)) => escape(text),
        Some(Value::Null) | None => "–".to_owned(),
        Some(other) => escape(&other.to_string()),
    }
}

/// A moment as people read it: to the minute.
fn moment(row: &Row, name: &str) -> String {
    let whole = text(row, name);
    match whole.get(..16) {
        Some(minute) => format!(
            "<time datetime=\"{whole}\">{} UTC</time>",
            minute.replace('T', " ")
        ),
        None => whole,
    }
}

async fn overview(State(app): State<Arc<App>>) -> Response {
    let body = {
        let world = app.world();
        let mut body = String::new();
        subscriptions(&world, &mut body);
        refusals(&world, &mut body);
        body
    };
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"5\"><title>Mosaic Billing (stand-in)</title><style>{STYLE}</style></head>\
         <body><main><h1>Mosaic Billing <span class=\"soft\">stand-in</span></h1>{body}</main></body></html>"
    );
    let headers = [
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors *",
        ),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, Html(page)).into_response()
}

fn subscriptions(world: &World, body: &mut String) {
    let rows = world.rows("SubscriptionType");
    let noun = if rows.len() == 1 {
        "subscription"
    } else {
        "subscriptions, newest first"
    };
    let _ = write!(body, "<p class=\"soft\">{} {noun}</p>", rows.len());
    if rows.is_empty() {
        body.push_str("<section class=\"card soft\">Nobody has subscribed yet.</section>");
    }
    for row in rows.iter().rev().take(SHOWN) {
        subscription(world, row, body);
    }
}

fn subscription(world: &World, row: &Row, body: &mut String) {
    let id = row.get("id").and_then(Value::as_str).unwrap_or_default();
    let title = |table: &str, column: &str| {
        let key = row.get(column).and_then(Value::as_str);
        let other = key.and_then(|key| world.find(table, "id", key));
        other.map(|other| text(other, "title")).unwrap_or_default()
    };
    let status = text(row, "lifecycleStatus");
    let _ = write!(
        body,
        "<section class=\"card\"><header><h2>{} <span class=\"soft\">{}</span></h2>\
         <span class=\"status {}\">{status}</span></header><dl>\
         <dt>Member</dt><dd><code>{}</code></dd><dt>Activated</dt><dd>{}</dd><dt>Period ends</dt><dd>{}</dd>\
         <dt>Subscription</dt><dd><code>{}</code></dd><dt>At Stripe</dt><dd><code>{}</code></dd></dl>",
        title("SubscriptionPlan", "subscriptionPlanId"),
        title("PaymentPlan", "paymentPlanId"),
        status.to_lowercase(),
        text(row, "userId"),
        moment(row, "activationDate"),
        moment(row, "periodEndDate"),
        escape(id),
        text(row, "paymentProviderReference"),
    );
    let of_it = |table: &str| -> Vec<Row> {
        let rows = world.rows(table).iter();
        let mine = rows.filter(|row| row.get("subscriptionId").is_some_and(|theirs| theirs == id));
        mine.rev().take(SHOWN).cloned().collect()
    };
    let changes = of_it("SubscriptionStatusChange");
    if !changes.is_empty() {
        body.push_str("<h3>Status changes</h3><div class=\"scroll\" tabindex=\"0\"><table><tr><th>At<th>Status<th>Reason</tr>");
        for change in changes {
            let (at, status) = (
                moment(&change, "createdDate"),
                text(&change, "newLifecycleStatus"),
            );
            let reason = text(&change, "description");
            let _ = write!(body, "<tr><td>{at}<td>{status}<td>{reason}</tr>");
        }
        body.push_str("</table></div>");
    }
    let transactions = of_it("SubscriptionTransaction");
    if !transactions.is_empty() {
        body.push_str(
            "<h3>Transactions</h3><div class=\"scroll\" tabindex=\"0\"><table>\
             <tr><th>At<th>Type<th class=\"amount\">Amount<th>Description<th>Reference</tr>",
        );
        for one in transactions {
            let _ = write!(
                body,
                "<tr><td>{}<td>{}<td class=\"amount\">{} {}<td>{}<td><code>{}</code></tr>",
                moment(&one, "transactionDate"),
                text(&one, "transactionType"),
                text(&one, "totalPrice"),
                text(&one, "currency"),
                text(&one, "description"),
                text(&one, "paymentProviderReference"),
            );
        }
        body.push_str("</table></div>");
    }
    body.push_str("</section>");
}

fn refusals(world: &World, body: &mut String) {
    if world.refused.is_empty() {
        return;
    }
    body.push_str(
        "<section class=\"card\"><h2>Refused</h2><div class=\"scroll\" tabindex=\"0\"><table><tr><th>Operation<th>Code<th>Message</tr>",
    );
    for refusal in world.refused.iter().rev() {
        let part = |name: &str| escape(refusal[name].as_str().unwrap_or_default());
        let (operation, code) = (part("operation"), part("code"));
        let _ = write!(
            body,
            "<tr><td>{operation}<td><code>{code}</code><td>{}</tr>",
            part("message")
        );
    }
    body.push_str("</table></div></section>");
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn nothing_given_becomes_markup() {
        assert_eq!(
            escape("<a href='x'>&\""),
            "&lt;a href=&#39;x&#39;&gt;&amp;&quot;"
        );
    }
}
