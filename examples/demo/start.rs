//! The first page: what there is to see, whom it is for, and what to try. Plain HTML, without a script.

use std::fmt::{self, Display, Write as _};
use std::sync::Arc;

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::operators::OPERATORS;
use super::year::{self, Past};
use super::{Login, Urls};

/// Nothing but our own styles and the mark.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// The page and its styles.
pub(crate) fn router(login: Login, urls: Urls, past: Option<Past>) -> Router {
    let about = Arc::new((login, urls, past));
    let page = move || {
        let about = Arc::clone(&about);
        async move { answer("text/html; charset=utf-8", page(&about).await) }
    };
    let style = || async { answer("text/css; charset=utf-8", include_str!("start.css")) };
    Router::new()
        .route("/start", get(page))
        .route("/start.css", get(style))
}

fn answer(kind: &'static str, body: impl IntoResponse) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        // It holds tokens.
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, body).into_response()
}

async fn page((login, urls, past): &(Login, Urls, Option<Past>)) -> String {
    let places = places(login, urls);
    let keys = keys(login, urls).await;
    let tries = match past {
        Some(Past::Lived { mentions, .. }) => mails(mentions),
        Some(Past::Begun) | None => String::from(
            "<p class=\"about\">Nobody has written yet: this demo was begun without a year behind it. \
             <code>cargo demo -- --reset</code> forgets what was bought and lives through one, unless it is told to be \
             <code>--empty</code> or to sell other plans.</p>",
        ),
    };
    format!(
        include_str!("start.html"),
        places = places,
        keys = keys,
        tries = tries,
    )
}

/// Each place with a sentence about whom it is for.
fn places(login: &Login, urls: &Urls) -> String {
    let Urls {
        page,
        service,
        sandbox,
        mosaic,
        ..
    } = urls;
    let name = Escaped(&login.name);
    let mut places = vec![
        (
            format!("{page}/"),
            "The shop",
            format!(
                "For members, here {name}: put a membership and a donation into the basket and pay both with the card \
                 4242 4242 4242 4242."
            ),
        ),
        (
            format!("{page}/statement.html"),
            "The statement",
            format!(
                "For {name}, once she has bought something: what she paid and got back, read from Stripe. What she holds \
                 stands at the top of the shop."
            ),
        ),
        (
            format!("{service}/console/"),
            "The console",
            "For those who answer the mail below: find somebody, read what happened and why, put it right. \
             <a href=\"#keys\">Go in as one of them</a>."
                .to_owned(),
        ),
        (
            format!("{sandbox}/"),
            "The sandbox",
            "For developers: what Stripe would show, objects and webhooks, and the clock. Move it ahead, and memberships \
             renew."
                .to_owned(),
        ),
        (
            format!("{service}/docs"),
            "The API",
            "For who builds a client app: every route, readable without network.".to_owned(),
        ),
    ];
    if let Some(mosaic) = mosaic {
        // Members' tokens are Mosaic's here, and operators have none.
        places.retain(|(_, title, _)| *title != "The console");
        places.push((
            format!("{}/", mosaic.url),
            "Mosaic Billing",
            "For who comes from Axinom Mosaic: what its billing service knows of it all."
                .to_owned(),
        ));
    }
    let mut html = String::new();
    for (href, title, about) in places {
        // Writing to a string can't fail.
        let _ = write!(
            html,
            r#"<li><a href="{}"><h3>{title}</h3></a><p>{about}</p></li>"#,
            Escaped(&href)
        );
    }
    html
}

fn mails(mentions: &year::Mentions) -> String {
    let mut html = String::from(
        "<p class=\"about\">A year lies behind the cooperative. Copy what a mail names into the \
         <a href=\"#keys\">console’s</a> search, and answer it; open it here to see whether you are right.</p><ul class=\"mails\">",
    );
    for mail in year::mails(mentions) {
        let _ = write!(
            html,
            "<li><blockquote><p>{}</p></blockquote><p class=\"from\">{} <code>{}</code></p>\
             <details><summary>What is the matter</summary><p>{}</p></details></li>",
            Escaped(mail.text),
            Escaped(mail.from),
            Escaped(&mail.search),
            Escaped(mail.answer)
        );
    }
    html.push_str("</ul>");
    html
}

async fn keys(login: &Login, urls: &Urls) -> String {
    let Urls { service, .. } = urls;
    let mut html = String::new();
    // Writing to a string can't fail.
    for (user, name, role, may) in OPERATORS {
        let token = login.token_of(user, &[role]);
        let (to, key) = match (&urls.login, token) {
            // Her token comes from there, and no other opens the console.
            (Some(_), _) => (String::new(), String::new()),
            (None, Some(token)) => (
                format!("#token={token}"),
                format!(r#"<code class="token" data-user="{user}">{token}</code>"#),
            ),
            (None, None) => continue,
        };
        let _ = write!(
            html,
            r#"<li><p><strong>{user}</strong> ({role}) {may}</p>
               <p><a class="enter" href="{}/console/{to}">Open the console as {name}</a></p>{key}</li>"#,
            Escaped(service)
        );
    }
    if let Ok(token) = login.token().await {
        let (user, name) = (Escaped(&login.user), Escaped(&login.name));
        let _ = write!(
            html,
            r#"<li><p><strong>{user}</strong> ({name}) calls the API: curl -H "Authorization: Bearer …" {}/v1/entitlements</p>
               <code class="token" data-user="{user}">{token}</code></li>"#,
            Escaped(service)
        );
    }
    html
}

/// A text as it may stand in HTML.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for symbol in self.0.chars() {
            match symbol {
                '&' => to.write_str("&amp;")?,
                '<' => to.write_str("&lt;")?,
                '>' => to.write_str("&gt;")?,
                '"' => to.write_str("&quot;")?,
                other => to.write_char(other)?,
            }
        }
        Ok(())
    }
}
