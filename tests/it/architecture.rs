//! The rooms and the arrows between them (`docs/ARCHITECTURE.md`): read from the sources, so that they stay true.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::harness::in_project;

/// A room: a file or a directory right under `src/`.
struct Room {
    name: &'static str,
    /// Rooms that it may name.
    knows: &'static [&'static str],
}

/// The arrows. `app` and `main` put everything together and may know every room.
const ROOMS: &[Room] = &[
    Room {
        name: "domain",
        knows: &[],
    },
    Room {
        name: "clock",
        knows: &[],
    },
    Room {
        name: "settings",
        knows: &[],
    },
    Room {
        name: "telemetry",
        knows: &["settings"],
    },
    Room {
        name: "stripe",
        knows: &["domain", "clock", "settings"],
    },
    Room {
        name: "storage",
        knows: &["domain", "settings"],
    },
    Room {
        name: "auth",
        knows: &["domain", "clock", "settings"],
    },
    Room {
        name: "services",
        knows: &["domain", "stripe", "storage", "clock", "settings"],
    },
    Room {
        name: "http",
        knows: &[
            "domain",
            "auth",
            "services",
            "clock",
            "settings",
            "telemetry",
        ],
    },
];

/// Crates that only some rooms may use; `app` and `main` have no place here unless they are named.
const CRATES: &[(&str, &[&str])] = &[
    ("sqlx", &["storage", "services"]),
    ("jsonwebtoken", &["auth"]),
    ("axum", &["http", "app"]),
    ("tower", &["http", "app"]),
    ("tower_http", &["http"]),
    ("hyper", &["app"]),
    ("hyper_util", &["app"]),
    ("utoipa", &["http"]),
    ("utoipa_axum", &["http"]),
    ("utoipa_swagger_ui", &["http"]),
    ("config", &["settings"]),
    ("metrics_exporter_prometheus", &["telemetry"]),
    ("tracing_subscriber", &["telemetry", "settings"]),
    ("anyhow", &["main"]),
    ("clap", &["main"]),
];

/// All that the domain may use beside the standard library.
const DOMAIN_CRATES: &[&str] = &["serde", "time", "uuid"];

/// Ways to run a text as SQL.
const SQL_CALLS: &[&str] = &[
    "query",
    "query_as",
    "query_as_with",
    "query_scalar",
    "query_with",
    "raw_sql",
    "QueryBuilder",
];

#[test]
fn every_room_keeps_to_its_arrows() {
    let crates = dependencies();
    let mut broken = Vec::new();
    let files = sources(&in_project("src"));
    assert!(files.len() > 20, "only {} sources were found", files.len());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source can be read");
        let path = file
            .strip_prefix(in_project("src"))
            .expect("a source is under src")
            .to_owned();
        broken.extend(
            violations(&path, &text, &crates)
                .into_iter()
                .map(|what| format!("src/{}: {what}", path.display())),
        );
    }
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn every_directory_under_src_is_a_room() {
    let known: BTreeSet<&str> = ROOMS
        .iter()
        .map(|room| room.name)
        .chain(["app", "main", "lib"])
        .collect();
    for entry in std::fs::read_dir(in_project("src")).expect("there are sources") {
        let name = entry.expect("an entry").path();
        let stem = name
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default()
            .to_owned();
        assert!(
            known.contains(stem.as_str()),
            "src/{stem} is no room: give it arrows in this test"
        );
    }
}

#[test]
fn a_broken_arrow_is_seen_however_it_is_written() {
    let crates = dependencies();
    let cases = [
        ("http/x.rs", "use crate::storage::checkouts;"),
        (
            "http/x.rs",
            "use crate::{auth::Principal, storage::{self, checkouts}};",
        ),
        ("http/x.rs", "fn f() { crate::storage::checkouts::find(); }"),
        ("http/x.rs", "use super::super::storage;"),
        ("http/mod.rs", "use super::storage;"),
        ("http/x/y.rs", "use super::super::super::{stripe, auth};"),
        ("http/x.rs", "use sqlx::PgPool;"),
        ("http/x.rs", "fn f(pool: &::sqlx::PgPool) {}"),
        ("http/x.rs", "fn f() -> jsonwebtoken::Header {}"),
        ("domain/x.rs", "use crate::settings::Settings;"),
        ("domain/x.rs", "use tracing::info;"),
        ("auth.rs", "use crate::http::problem::ApiError;"),
        ("auth.rs", "use axum::Router;"),
        ("stripe/x.rs", "use crate::storage;"),
        ("storage/x.rs", "use crate::services::Services;"),
        (
            "services/x.rs",
            "use stripe_checkout::checkout_session::Create;",
        ),
        ("services/x.rs", "use stripe_shared as shared;"),
        ("services/x.rs", "fn f() { sqlx::query(TEXT); }"),
        ("services/x.rs", "use sqlx::{PgPool, query_as};"),
        (
            "services/x.rs",
            "const TEXT: &str = \"SELECT id FROM checkouts\";",
        ),
        ("app.rs", "fn f() { sqlx::query(TEXT); }"),
        ("services/x.rs", "use anyhow::Context;"),
    ];
    for (path, text) in cases {
        assert!(
            !violations(Path::new(path), text, &crates).is_empty(),
            "{path}: {text}"
        );
    }
}

#[test]
fn what_is_allowed_is_not_complained_of() {
    let crates = dependencies();
    let cases = [
        (
            "http/x.rs",
            "use crate::services::Services; // not crate::storage",
        ),
        (
            "http/x.rs",
            "use super::problem::ApiError;\nuse crate::auth::Principal;",
        ),
        (
            "http/x.rs",
            "/// Never `sqlx::query`.\nfn f() { log(\"crate::storage\"); }",
        ),
        (
            "http/x.rs",
            "fn f(row: &Row) { row.stripe_checkout; row.config; }",
        ),
        ("http/x.rs", "const TEXT: &str = \"Select a plan\";"),
        (
            "services/x.rs",
            "use crate::{domain::ids::UserId, storage::checkouts, stripe::Stripe};",
        ),
        ("services/x.rs", "use sqlx::PgPool;"),
        ("storage/x.rs", "fn f() { sqlx::query(\"SELECT 1\"); }"),
        (
            "domain/x.rs",
            "use std::fmt;\nuse time::OffsetDateTime;\nuse super::plan::Kind;\nuse crate::domain::ids::UserId;",
        ),
        (
            "domain/x.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests { use proptest::prelude::*; }",
        ),
        (
            "auth.rs",
            "mod jwks;\nuse self::jwks::Jwks;\nuse crate::domain::ids::UserId;",
        ),
    ];
    for (path, text) in cases {
        assert_eq!(
            violations(Path::new(path), text, &crates),
            Vec::<String>::new(),
            "{path}: {text}"
        );
    }
}

/// What breaks an arrow in one source, a sentence each.
fn violations(path: &Path, text: &str, crates: &[String]) -> Vec<String> {
    let room = room_of(path);
    let (code, texts) = split(text);
    let mut broken = Vec::new();
    if let Some(Room { knows, .. }) = ROOMS.iter().find(|known| known.name == room) {
        for named in named_rooms(path, &code) {
            if named != room && !knows.contains(&named.as_str()) {
                broken.push(format!("{room} may not know {named}"));
            }
        }
    }
    for name in crates.iter().filter(|name| names_crate(&code, name)) {
        let allowed = match CRATES.iter().find(|(restricted, _)| restricted == name) {
            Some((_, rooms)) => rooms.contains(&room.as_str()),
            // The crates of Stripe's types: their names and shapes stay in one room.
            None if name.starts_with("stripe_") => room == "stripe",
            None if room == "domain" => DOMAIN_CRATES.contains(&name.as_str()),
            None => true,
        };
        if !allowed {
            broken.push(format!("{room} may not use the crate {name}"));
        }
    }
    if room != "storage" && (runs_sql(&code) || texts.iter().any(|text| is_sql(text))) {
        broken.push(format!("SQL in {room}: it belongs to storage"));
    }
    broken
}

/// The first part of the path, which is the room's name.
fn room_of(path: &Path) -> String {
    let first = path
        .components()
        .next()
        .map(|part| PathBuf::from(part.as_os_str()))
        .unwrap_or_default();
    first
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default()
        .to_owned()
}

/// Rooms that the code names by `crate::`, or by as many `super::` as lead to the root.
fn named_rooms(path: &Path, code: &str) -> BTreeSet<String> {
    let parts = path.components().count();
    // `http/mod.rs` is the module `http`; `http/x.rs` is `http::x`.
    let depth = if path.file_name().is_some_and(|name| name == "mod.rs") {
        parts - 1
    } else {
        parts
    };
    let to_the_root = "super::".repeat(depth);
    let mut named = BTreeSet::new();
    for start in ["crate::", to_the_root.as_str()] {
        for (place, _) in code.match_indices(start) {
            let before = code[..place].chars().next_back();
            if before
                .is_some_and(|before| before.is_alphanumeric() || before == '_' || before == ':')
            {
                continue;
            }
            named.extend(heads(&code[place + start.len()..]));
        }
    }
    named.retain(|name| {
        ROOMS.iter().any(|room| room.name == name) || matches!(name.as_str(), "app" | "main")
    });
    named
}

/// The first names of a path or of a group of paths: `a::b` is a; `{a::b, c::{d, e}}` is a and c.
fn heads(text: &str) -> Vec<String> {
    let Some(group) = text.trim_start().strip_prefix('{') else {
        return vec![identifier(text)];
    };
    let (mut heads, mut depth, mut item) = (Vec::new(), 0_usize, String::new());
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(identifier(&std::mem::take(&mut item))),
            _ => {}
        }
        item.push(character);
    }
    heads.push(identifier(&item));
    heads
}

fn identifier(text: &str) -> String {
    let start =
        text.trim_start_matches(|character: char| character.is_whitespace() || character == ',');
    start
        .chars()
        .take_while(|character| character.is_alphanumeric() || *character == '_')
        .collect()
}

/// Whether the code has `name::…`, `use name;`, `use name as …` at the start of a path.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(place, _)| {
        let (before, after) = (
            code[..place].trim_end_matches("::"),
            &code[place + name.len()..],
        );
        let rooted = code[..place].ends_with("::");
        let starts_a_path = match before.chars().next_back() {
            None => true,
            // `::name` starts at the crates; `x::name` does not.
            Some(last) => {
                !(last.is_alphanumeric() || matches!(last, '_' | '.' | '>'))
                    || (!rooted && last.is_whitespace())
            }
        };
        let imported = before.trim_end().ends_with("use")
            && !after.starts_with(|next: char| next.is_alphanumeric() || next == '_');
        starts_a_path && (after.starts_with("::") || imported)
    })
}

fn runs_sql(code: &str) -> bool {
    let named = |name: &str| {
        code.match_indices(name).any(|(place, _)| {
            let after = code[place + name.len()..].chars().next();
            code[..place].ends_with("sqlx::")
                && !after.is_some_and(|next| next.is_alphanumeric() || next == '_')
        })
    };
    let imported = code.match_indices("use sqlx::").any(|(place, start)| {
        let statement = code[place + start.len()..]
            .split(';')
            .next()
            .unwrap_or_default();
        let words =
            statement.split(|character: char| !(character.is_alphanumeric() || character == '_'));
        words.into_iter().any(|word| SQL_CALLS.contains(&word))
    });
    imported || SQL_CALLS.iter().any(|name| named(name))
}

/// A statement as this project writes it: keywords in capitals.
fn is_sql(text: &str) -> bool {
    let text = text.trim_start();
    [
        ("SELECT ", " FROM "),
        ("INSERT INTO ", " "),
        ("UPDATE ", " SET "),
        ("DELETE FROM ", " "),
        ("WITH ", " AS ("),
    ]
    .iter()
    .any(|(first, then)| text.starts_with(first) && text.contains(then))
}

/// The code without comments, literals and inline tests; and the literals.
fn split(text: &str) -> (String, Vec<String>) {
    let text = match text.find("#[cfg(test)]\nmod tests {") {
        Some(tests) => &text[..tests],
        None => text,
    };
    let (mut code, mut literals) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest = &rest[rest[1..].find('\'').map_or(rest.len(), |end| end + 2)..];
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            let end = raw.find("\"#").unwrap_or(raw.len());
            literals.push(raw[..end].to_owned());
            rest = raw.get(end + 2..).unwrap_or_default();
        } else if next == '"' {
            let end = closing_quote(&rest[1..]);
            literals.push(rest[1..=end].to_owned());
            code.push_str("\"\"");
            rest = rest.get(end + 2..).unwrap_or_default();
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    (code, literals)
}

fn closing_quote(text: &str) -> usize {
    let mut escaped = false;
    for (place, character) in text.char_indices() {
        match character {
            '"' if !escaped => return place,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// Library names of the crates in `[dependencies]`.
fn dependencies() -> Vec<String> {
    let manifest = std::fs::read_to_string(in_project("Cargo.toml")).expect("the manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let names = manifest["dependencies"].as_table().expect("a table").keys();
    names
        .map(|name| {
            name.strip_prefix("async-")
                .unwrap_or(name)
                .replace('-', "_")
        })
        .collect()
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !is_test {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            files.push(path);
        }
    }
    files
}
