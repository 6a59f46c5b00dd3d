//! What a person sees: whom she can be, what went wrong, that she is signed out. No page has a script.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_FRAME_OPTIONS,
};
use axum::response::{Html, IntoResponse, Response};

use super::parameters::Parameters;
use super::world::{Request, origin_of};
use super::{App, Person};

const STYLE: &str = include_str!("page.css");

/// `/`: whom the login knows.
pub(super) async fn home(State(app): State<Arc<App>>) -> Response {
    let world = app.world();
    let mut people = String::new();
    for person in &world.people {
        let (name, roles) = (escape(&person.name), roles(person));
        let _ = write!(people, "<p>{name} <small>{roles}</small></p>");
    }
    let text = format!(
        "A stand-in for an organisation's login: {} signed in, {} access tokens given out",
        world.sessions.len(),
        world.issued.access_tokens,
    );
    show(StatusCode::OK, "Login", &text, &people, None)
}

/// The people as buttons, whoever the client hints at first.
pub(super) fn choose(people: &[Person], request: &Request, id: &str) -> Response {
    let is_meant = |person: &&Person| request.login_hint.as_deref() == Some(&person.sub);
    let (meant, others): (Vec<_>, Vec<_>) = people.iter().partition(is_meant);
    let mut form = format!(
        "<form method=\"post\" action=\"/authorize/choose\"><input type=\"hidden\" name=\"request\" value=\"{}\">",
        escape(id)
    );
    for person in meant.into_iter().chain(others) {
        let _ = write!(
            form,
            "<button name=\"sub\" value=\"{}\">{} <small>{}</small></button>",
            escape(&person.sub),
            escape(&person.name),
            roles(person),
        );
    }
    form.push_str("<button class=\"plain\" name=\"cancel\" value=\"1\">Cancel</button></form>");
    let text = format!("to go on to {}", request.client_id);
    let onwards = origin_of(&request.redirect_uri);
    show(
        StatusCode::OK,
        "Who are you?",
        &text,
        &form,
        onwards.as_deref(),
    )
}

/// What can't be sent back to a client.
pub(super) fn refused(why: &str) -> Response {
    let title = "This can't go on";
    show(StatusCode::BAD_REQUEST, title, why, "", None)
}

/// Asks somebody whom another page has sent here.
pub(super) fn sign_out(encoded: &[u8], back: Option<&str>) -> Response {
    let mut form = String::from("<form method=\"post\" action=\"/logout\">");
    for (name, value) in Parameters::read(encoded).pairs() {
        let (name, value) = (escape(name), escape(value));
        let _ = write!(
            form,
            "<input type=\"hidden\" name=\"{name}\" value=\"{value}\">"
        );
    }
    form.push_str("<button name=\"confirmed\" value=\"1\">Sign out</button></form>");
    let onwards = back.and_then(origin_of);
    let text = "A page wants you to be signed out.";
    show(StatusCode::OK, "Sign out?", text, &form, onwards.as_deref())
}

/// The end, where no address to go on to was given.
pub(super) fn signed_out() -> Response {
    let text = "You can close this page.";
    show(StatusCode::OK, "You are signed out", text, "", None)
}

/// A page. Browsers hold redirects after a form against `form-action` too, so it names where they lead.
fn show(
    status: StatusCode,
    title: &str,
    text: &str,
    body: &str,
    onwards: Option<&str>,
) -> Response {
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'; \
         form-action 'self' {}",
        onwards.unwrap_or_default()
    );
    let headers = [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, policy.trim_end()),
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "DENY"),
    ];
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><link rel=\"icon\" href=\"data:,\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>\
         <p class=\"soft\">{text}</p>{body}</main></body></html>",
        title = escape(title),
        text = escape(text),
    );
    (status, headers, Html(html)).into_response()
}

fn roles(person: &Person) -> String {
    if person.roles.is_empty() {
        return "no role".to_owned();
    }
    escape(&person.roles.join(", "))
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
