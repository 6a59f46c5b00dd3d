//! The rooms and the arrows between them (`docs/ARCHITECTURE.md`): read from the sources, so that they stay true.

mod reader;

use std::collections::BTreeSet;
use std::path::Path;

use self::reader::{
    dependencies, is_sql, named_folders, named_rooms, names_crate, room_of, runs_sql, sources,
    split,
};
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
        name: "catalogue",
        knows: &["domain", "stripe", "settings"],
    },
    Room {
        name: "purchases",
        knows: &[
            "domain",
            "stripe",
            "storage",
            "catalogue",
            "clock",
            "settings",
        ],
    },
    Room {
        name: "outward",
        // Of the catalogue the plans' codes alone, which a followers' file may name.
        knows: &["domain", "storage", "catalogue", "clock", "settings"],
    },
    Room {
        name: "services",
        knows: &[
            "domain",
            "stripe",
            "storage",
            "catalogue",
            "purchases",
            "outward",
            "clock",
            "settings",
        ],
    },
    Room {
        name: "commands",
        knows: &["settings", "app", "catalogue", "services", "outward"],
    },
    Room {
        name: "http",
        knows: &[
            "domain",
            "auth",
            "catalogue",
            "purchases",
            "outward",
            "services",
            "clock",
            "settings",
            "telemetry",
        ],
    },
];

/// A folder of a room.
struct Folder {
    room: &'static str,
    name: &'static str,
    /// Folders of the same room that it may name.
    knows: &'static [&'static str],
}

/// The arrows between the folders of a room: who calls one thing needs nothing of who calls another.
const FOLDERS: &[Folder] = &[
    Folder {
        room: "services",
        name: "members",
        knows: &[],
    },
    Folder {
        room: "services",
        name: "events",
        knows: &[],
    },
    Folder {
        room: "services",
        name: "operators",
        knows: &["events"],
    },
    Folder {
        room: "services",
        name: "upkeep",
        // What operators have begun and nobody has ended.
        knows: &["events", "operators"],
    },
    Folder {
        room: "http",
        name: "edge",
        knows: &[],
    },
    Folder {
        room: "http",
        name: "members",
        knows: &["edge"],
    },
    Folder {
        room: "http",
        name: "mosaic",
        knows: &["edge"],
    },
    Folder {
        room: "http",
        name: "services",
        knows: &["edge"],
    },
    Folder {
        room: "http",
        name: "operators",
        knows: &["edge"],
    },
    Folder {
        room: "http",
        name: "stripe",
        knows: &["edge"],
    },
];

/// Rooms whose words nobody above may pass on: who names them shall be seen to.
const NEVER_PASSED_ON: &[&str] = &["stripe", "storage"];

/// Crates that only some rooms may use; `app` and `main` have no place here unless they are named.
const CRATES: &[(&str, &[&str])] = &[
    ("sqlx", &["storage", "purchases", "outward", "services"]),
    ("jsonwebtoken", &["auth"]),
    ("axum", &["http", "app"]),
    ("tower", &["http", "app"]),
    ("tower_http", &["http"]),
    ("hyper", &["app"]),
    ("hyper_util", &["app"]),
    ("rust_embed", &["http"]),
    ("icu_experimental", &["http"]),
    ("icu_locale_core", &["http"]),
    ("utoipa", &["http"]),
    ("utoipa_axum", &["http"]),
    ("utoipa_swagger_ui", &["http"]),
    ("config", &["settings"]),
    ("metrics_exporter_prometheus", &["telemetry"]),
    ("tracing_subscriber", &["telemetry", "settings"]),
    ("anyhow", &["main", "commands"]),
    ("clap", &["main", "commands"]),
];

/// All that the domain may use beside the standard library.
const DOMAIN_CRATES: &[&str] = &["serde", "time", "uuid"];

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
fn transactions_begin_in_one_place() {
    // Where a caller who is gone leaves none open: see `storage::begin`.
    let only = in_project("src/storage/mod.rs");
    let begins = |file: &std::path::PathBuf| {
        let text = std::fs::read_to_string(file).expect("a source can be read");
        text.contains("pool.begin(") || text.contains(".begin_with(")
    };
    let begun: Vec<_> = sources(&in_project("src"))
        .into_iter()
        .filter(begins)
        .collect();
    assert_eq!(begun, [only]);
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
        ("auth.rs", "use crate::http::edge::problem::ApiError;"),
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
        (
            "services/members/x.rs",
            "use crate::services::events::Events;",
        ),
        ("services/members/x.rs", "use super::super::upkeep::Upkeep;"),
        ("services/members/mod.rs", "use super::operators;"),
        (
            "services/events/x/y.rs",
            "use crate::services::{members, Services};",
        ),
        (
            "services/upkeep/x.rs",
            "fn f(m: super::super::members::Members) {}",
        ),
        ("http/edge/x.rs", "use crate::http::members::plans;"),
        ("services/mod.rs", "pub use crate::storage::StorageError;"),
        ("http/members/x.rs", "use crate::stripe::StripeError;"),
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
            "use super::edge::problem::ApiError;\nuse crate::auth::Principal;",
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
        (
            "services/upkeep/x.rs",
            "use crate::services::events::Events;",
        ),
        (
            "services/members/x.rs",
            "use super::order;\nuse crate::purchases::Purchases;",
        ),
        (
            "services/mod.rs",
            "pub mod members;\nuse self::events::Events;",
        ),
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
    let folder = room_of(path.strip_prefix(&room).unwrap_or(Path::new("")));
    let folders = || FOLDERS.iter().filter(|folder| folder.room == room);
    if let Some(Folder { knows, .. }) = folders().find(|known| known.name == folder) {
        for named in named_folders(path, &code, &room) {
            if named != folder && !knows.contains(&named.as_str()) {
                broken.push(format!("{room}/{folder} may not know {room}/{named}"));
            }
        }
    }
    for below in NEVER_PASSED_ON.iter().filter(|below| **below != room) {
        if code.contains(&format!("pub use crate::{below}")) {
            broken.push(format!("{room} may not pass {below} on"));
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
