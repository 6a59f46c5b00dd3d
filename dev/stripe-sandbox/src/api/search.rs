//! Pages of what a search finds.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

use crate::world::World;
use crate::world::error::{ApiError, ApiResult};
use crate::world::json::Json;

/// A page of the objects of a kind that fit, newest first.
pub(super) fn page(
    world: &World,
    kind: &str,
    url: &str,
    params: &Value,
    fits: impl Fn(&Value) -> bool,
) -> ApiResult {
    let limit = usize::try_from(params.opt_int("limit").unwrap_or(10)).unwrap_or(10);
    let query = params.text("query");
    let start = match params.opt_text("page") {
        None => usize::MAX,
        Some(page) => place_of(query, page).ok_or_else(|| {
            let message = "This page is not the next one of a search with the same query.";
            ApiError::invalid(message).param("page")
        })?,
    };
    let rows = world.store.before(kind, None, start);
    let fitting = rows.filter(|row| !row.flag("deleted") && fits(row));
    // One more than asked for tells whether there are more.
    let mut data: Vec<&Value> = fitting.take(limit + 1).collect();
    let has_more = data.len() > limit;
    data.truncate(limit);
    let last = data.last().filter(|_| has_more);
    let next = last.and_then(|last| world.store.place(kind, last.text("id")));
    let next = next.map(|place| page_of(query, place));
    Ok(json!({
        "object": "search_result", "url": url, "has_more": has_more, "next_page": next, "data": data,
    }))
}

/// The name of the page that begins after a place: of use for the same query alone.
fn page_of(query: &str, place: usize) -> String {
    format!("{:016x}{place:08x}", digest(query))
}

fn place_of(query: &str, page: &str) -> Option<usize> {
    let place = page.strip_prefix(&format!("{:016x}", digest(query)))?;
    usize::from_str_radix(place, 16).ok()
}

fn digest(query: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    query.hash(&mut hasher);
    hasher.finish()
}
