//! What a person sees at `/`: the groups, with who is in them.

use std::fmt::Write;

use axum::body::Body;
use axum::http::Response;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};

use super::answer::{Answer, Content};
use super::world::{User, World};

const STYLE: &str = include_str!("page.css");

/// The page, which loads itself again so that a demo shows what happens.
pub(super) fn show(world: &World) -> Response<Body> {
    let own = || world.groups.values().filter(|group| !group.automatic);
    let mut cards = String::new();
    for group in own() {
        let members = world.members_of(group);
        let members: Vec<&User> = members.into_iter().map(|(user, _)| user).collect();
        cards.push_str(&card(&group.name, &members));
    }
    if cards.is_empty() {
        cards.push_str("<p class=\"soft\">There are no groups yet.</p>");
    }
    let outside = world.users.values();
    let outside = outside.filter(|user| world.groups_of(user.id).all(|group| group.automatic));
    let outside: Vec<&User> = outside.collect();
    let rest = if outside.is_empty() {
        String::new()
    } else {
        card("In no group", &outside)
    };
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta http-equiv=\"refresh\" content=\"5\">\
         <link rel=\"icon\" href=\"data:,\"><title>Forum</title><style>{STYLE}</style></head><body><main>\
         <h1>Forum</h1><p class=\"soft\">A stand-in for Discourse: {} users, {} groups</p>\
         <div class=\"groups\">{cards}</div>{rest}</main></body></html>",
        world.users.len(),
        own().count(),
    );
    Answer {
        headers: vec![
            (CACHE_CONTROL, "no-store".to_owned()),
            (
                CONTENT_SECURITY_POLICY,
                "default-src 'none'; style-src 'unsafe-inline'; img-src data:".to_owned(),
            ),
        ],
        ..Answer::new(200, Content::Html(html))
    }
    .into_response()
}

fn card(title: &str, users: &[&User]) -> String {
    let mut list = String::new();
    for user in users {
        let name = user.name.as_deref().map(escape).unwrap_or_default();
        let username = escape(&user.username);
        let _ = write!(list, "<li><b>{username}</b> {name}</li>");
    }
    if list.is_empty() {
        list.push_str("<li class=\"soft\">nobody</li>");
    }
    format!(
        "<section><header><h2>{}</h2><span class=\"soft\">{}</span></header><ul>{list}</ul></section>",
        escape(title),
        users.len(),
    )
}

/// Text that is safe inside HTML.
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
