//! Reads what a source names: rooms, crates, SQL. No parser, but what the compiler would see, as far as it matters
//! here: comments, literals and inline tests are taken out first.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{FOLDERS, ROOMS};
use crate::harness::in_project;

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

/// The first part of the path, which is the room's name.
pub(super) fn room_of(path: &Path) -> String {
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
pub(super) fn named_rooms(path: &Path, code: &str) -> BTreeSet<String> {
    let mut named = named_from(code, &["crate::".to_owned(), "super::".repeat(depth(path))]);
    named.retain(|name| {
        ROOMS.iter().any(|room| room.name == name) || matches!(name.as_str(), "app" | "main")
    });
    named
}

/// Folders of its own room that the code names, by the room's name or by as many `super::` as lead to the room.
pub(super) fn named_folders(path: &Path, code: &str, room: &str) -> BTreeSet<String> {
    let up = "super::".repeat(depth(path).saturating_sub(1));
    let mut named = named_from(code, &[format!("crate::{room}::"), up]);
    // `crate::{services::{events, …}}` is written nowhere; `use crate::services::{events, …}` is found as a group.
    named.retain(|name| {
        FOLDERS
            .iter()
            .any(|folder| folder.room == room && folder.name == name)
    });
    named
}

/// How many `super::` lead to the root: `http/mod.rs` is the module `http`; `http/x.rs` is `http::x`.
fn depth(path: &Path) -> usize {
    let parts = path.components().count();
    if path.file_name().is_some_and(|name| name == "mod.rs") {
        parts - 1
    } else {
        parts
    }
}

/// What follows one of the beginnings, wherever one stands at the beginning of a path.
fn named_from(code: &str, starts: &[String]) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for start in starts.iter().filter(|start| !start.is_empty()) {
        for (place, _) in code.match_indices(start.as_str()) {
            let before = code[..place].chars().next_back();
            if before
                .is_some_and(|before| before.is_alphanumeric() || before == '_' || before == ':')
            {
                continue;
            }
            named.extend(heads(&code[place + start.len()..]));
        }
    }
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
pub(super) fn names_crate(code: &str, name: &str) -> bool {
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

pub(super) fn runs_sql(code: &str) -> bool {
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
pub(super) fn is_sql(text: &str) -> bool {
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
pub(super) fn split(text: &str) -> (String, Vec<String>) {
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
pub(super) fn dependencies() -> Vec<String> {
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

pub(super) fn sources(directory: &Path) -> Vec<PathBuf> {
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
