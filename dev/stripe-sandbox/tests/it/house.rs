//! The rooms and the arrows between them, as the crate's documentation tells: read from the sources, so that they
//! stay true.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A room under `src/`, and the rooms that it may name.
const ROOMS: &[(&str, &[&str])] = &[
    ("world", &[]),
    ("spec", &["world"]),
    ("engine", &["world", "spec"]),
    ("api", &["world", "spec", "engine"]),
    // What an account that is set up begins with is made as the API makes it.
    ("app", &["world", "spec", "engine", "api"]),
    ("webhooks", &["world", "spec", "app"]),
    // The portal changes a subscription with the API's own checks.
    ("pages", &["world", "engine", "api", "app", "webhooks"]),
    ("control", &["world", "spec", "engine", "app", "webhooks"]),
    ("transport", &["world", "spec", "api", "app"]),
    (
        "sandbox",
        &["world", "app", "webhooks", "pages", "control", "transport"],
    ),
];

/// Crates that only some rooms may use.
const CRATES: &[(&str, &[&str])] = &[
    ("hyper", &["transport"]),
    ("hyper_util", &["transport"]),
    ("tower", &["transport"]),
    ("axum", &["transport", "pages", "control"]),
    ("reqwest", &["app", "sandbox", "webhooks", "lib"]),
    ("aws_lc_rs", &["webhooks"]),
    ("toml", &["engine"]),
    ("clap", &["main"]),
    (
        "tokio",
        &["transport", "app", "sandbox", "webhooks", "main"],
    ),
];

/// Kinds that may be walked over: what an organisation sets up, not what its customers do; and those of which only the
/// number or the newest are looked at.
const WALKED: &[&str] = &[
    "billing_portal.configuration",
    "credit_note",
    "event",
    "price",
    "promotion_code",
    "tax_rate",
    "webhook_endpoint",
];

/// Sources longer than this are two.
const MOST_LINES: usize = 405;

#[test]
fn every_room_keeps_to_its_arrows() {
    let sources = sources();
    assert!(sources.len() > 60, "only {} were found", sources.len());
    let broken: Vec<String> = sources
        .iter()
        .flat_map(|(path, text)| {
            let found = violations(path, text);
            let place = path.display();
            found
                .into_iter()
                .map(move |what| format!("src/{place}: {what}"))
        })
        .collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn every_source_is_in_a_room_and_of_readable_length() {
    let known: BTreeSet<&str> = ROOMS
        .iter()
        .map(|(name, _)| *name)
        .chain(["lib", "main"])
        .collect();
    for (path, text) in sources() {
        let room = room_of(&path);
        assert!(
            known.contains(room.as_str()),
            "{room} is no room: give it arrows in this test"
        );
        let lines = text.lines().count();
        assert!(
            lines <= MOST_LINES,
            "{} has {lines} lines: cut it in two",
            path.display()
        );
    }
}

#[test]
fn nobody_walks_over_objects_that_become_more_with_every_purchase() {
    let mut broken = vec![];
    for (path, text) in sources() {
        // The store's own walks; and those at the start, before there is anybody who waits.
        if matches!(room_of(&path).as_str(), "world" | "sandbox") {
            continue;
        }
        for walk in [".all(\"", ".ids_where(\""] {
            for (at, _) in text.match_indices(walk) {
                let kind = text[at + walk.len()..].split('"').next().unwrap();
                if !WALKED.contains(&kind) {
                    let place = path.display();
                    broken.push(format!(
                        "src/{place}: every {kind} is looked at: use linked"
                    ));
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn no_arrow_leads_back() {
    for (at, (room, knows)) in ROOMS.iter().enumerate() {
        let before: Vec<&str> = ROOMS[..at].iter().map(|(name, _)| *name).collect();
        for named in *knows {
            assert!(
                before.contains(named),
                "{room} may name {named}, which does not stand before it"
            );
        }
    }
}

#[test]
fn a_broken_arrow_is_seen_however_it_is_written() {
    for (path, text) in [
        ("engine/x.rs", "use crate::api::new_customer;"),
        (
            "engine/x.rs",
            "use crate::{world::World, api::{self, Call}};",
        ),
        (
            "engine/x.rs",
            "fn f() { let id = crate::api::new_customer(world); }",
        ),
        ("engine/mod.rs", "use super::api;"),
        ("engine/x.rs", "use super::super::{\n    api,\n};"),
        ("world/mod.rs", "use crate::spec::table;"),
        ("world/x/y.rs", "use super::super::super::engine::clock;"),
        ("app.rs", "use crate::webhooks::sender;"),
        ("app.rs", "use super::control;"),
        ("api/x.rs", "use crate::sandbox::Sandbox;"),
        ("engine/x.rs", "use axum::Router;"),
        ("api/x.rs", "fn f() -> ::tokio::task::JoinSet<()> {}"),
    ] {
        assert!(
            !violations(Path::new(path), text).is_empty(),
            "{path}: {text}"
        );
    }
}

#[test]
fn what_is_allowed_is_not_complained_of() {
    for (path, text) in [
        ("engine/x.rs", "use crate::world::World; // not crate::api"),
        ("engine/x.rs", "use super::billing;\nuse super::offer::api;"),
        ("engine/x.rs", "/// As `crate::api` does.\nfn f() {}"),
        (
            "engine/x.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests { use crate::api::find; }",
        ),
        ("api/x.rs", "fn f() { log(\"crate::transport\"); }"),
        ("pages/x.rs", "use crate::{api, app::App};"),
        ("transport/x.rs", "use tokio::net::TcpListener;"),
    ] {
        let found = violations(Path::new(path), text);
        assert!(found.is_empty(), "{path}: {text}: {found:?}");
    }
}

/// What breaks an arrow in one source, a sentence each.
fn violations(path: &Path, text: &str) -> Vec<String> {
    let (room, code) = (room_of(path), code_of(text));
    let mut broken = vec![];
    if let Some((_, knows)) = ROOMS.iter().find(|(name, _)| *name == room) {
        for named in named_rooms(path, &code) {
            if named != room && !knows.contains(&named.as_str()) {
                broken.push(format!("{room} may not name {named}"));
            }
        }
    }
    for (name, rooms) in CRATES {
        let used = starts(&code, &format!("{name}::")).next().is_some();
        if used && !rooms.contains(&room.as_str()) {
            broken.push(format!("{room} may not use the crate {name}"));
        }
    }
    broken
}

/// The rooms that the code names by `crate::`, or by as many `super::` as lead to the root.
fn named_rooms(path: &Path, code: &str) -> BTreeSet<String> {
    let parts = path.components().count();
    let is_room = path.file_name().is_some_and(|name| name == "mod.rs");
    let to_the_root = "super::".repeat(parts - usize::from(is_room));
    let mut named = BTreeSet::new();
    for prefix in ["crate::", to_the_root.as_str()] {
        for rest in starts(code, prefix) {
            named.extend(heads(rest));
        }
    }
    named.retain(|name| ROOMS.iter().any(|(room, _)| room == name));
    named
}

/// What follows a prefix wherever a path begins with it.
fn starts<'a>(code: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(prefix).filter_map(move |(at, _)| {
        let before = code[..at].strip_suffix("::").unwrap_or(&code[..at]);
        let is_rooted = before.len() < at;
        let last = before.chars().next_back();
        // `::name` begins at the crates, `x::name` does not, and `xname` is another name.
        let goes_on = last.is_some_and(|last| {
            last.is_alphanumeric() || last == '_' || (is_rooted && last == '>')
        });
        (!goes_on).then(|| &code[at + prefix.len()..])
    })
}

/// The first names of a path or of a group of paths: `a::b` is a; `{a::b, c::{d, e}}` is a and c.
fn heads(text: &str) -> Vec<String> {
    let Some(group) = text.trim_start().strip_prefix('{') else {
        return vec![word(text)];
    };
    let (mut heads, mut depth, mut begins) = (vec![], 0_usize, true);
    for (at, symbol) in group.char_indices() {
        match symbol {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' => begins = depth == 0,
            _ if symbol.is_whitespace() => {}
            _ if begins && depth == 0 => {
                heads.push(word(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    heads
}

fn word(text: &str) -> String {
    let is_part = |symbol: &char| symbol.is_alphanumeric() || *symbol == '_';
    text.trim_start().chars().take_while(is_part).collect()
}

/// The code without comments, texts and inline tests.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let (mut code, mut rest) = (String::new(), text);
    while let Some(next) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("'\"'") {
            rest = &rest[3..];
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            rest = raw.split_once("\"#").map_or("", |(_, after)| after);
        } else if let Some(literal) = rest.strip_prefix('"') {
            rest = after_literal(literal);
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    code
}

fn after_literal(text: &str) -> &str {
    let mut escaped = false;
    for (at, symbol) in text.char_indices() {
        match symbol {
            '"' if !escaped => return &text[at + 1..],
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    ""
}

/// The first part of the path, which is the room's name.
fn room_of(path: &Path) -> String {
    let first = path.iter().next();
    let stem = first.and_then(|first| Path::new(first).file_stem());
    stem.map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// All sources with their paths below `src/`.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut open) = (vec![], vec![root.clone()]);
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&root).unwrap().to_owned(), text));
            }
        }
    }
    found
}
