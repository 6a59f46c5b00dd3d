//! Lists: newest first, with cursors and the `created` filter.

use serde_json::{Value, json};

use crate::world::World;
use crate::world::error::{ApiError, ApiResult};
use crate::world::json::Json;

/// Parameters that name what the objects of a list link to.
const LINKS: &[&str] = &[
    "charge",
    "customer",
    "invoice",
    "payment_intent",
    "product",
    "source",
    "subscription",
    "test_clock",
];

/// A page of the objects of a kind that fit.
pub(crate) fn page(
    world: &World,
    kind: &str,
    url: &str,
    params: &Value,
    fits: impl Fn(&Value) -> bool,
) -> ApiResult {
    let store = &world.store;
    let limit = usize::try_from(params.opt_int("limit").unwrap_or(10)).unwrap_or(10);
    let created = &params["created"];
    let fitting =
        |row: &&Value| !row.flag("deleted") && in_range(row.int("created"), created) && fits(row);
    let place = |param: &str| -> Result<Option<usize>, ApiError> {
        let Some(id) = params.opt_text(param) else {
            return Ok(None);
        };
        let known = store.place(kind, id);
        known
            .ok_or_else(|| ApiError::missing_reference(kind, id, param))
            .map(Some)
    };
    let link = link_of(params);
    // One more than asked for tells whether there are more.
    let mut data: Vec<&Value>;
    let end = place("ending_before")?;
    if let Some(end) = end {
        let newer = store.after(kind, link, end).filter(fitting);
        data = newer.take(limit + 1).collect();
    } else {
        let start = place("starting_after")?.unwrap_or(usize::MAX);
        // Events come in the order of their moments: before the first that is too old there is none to find.
        let ends = |row: &&Value| kind == "event" && is_too_old(row.int("created"), created);
        let older = store.before(kind, link, start);
        let older = older.take_while(|row| !ends(row)).filter(fitting);
        data = older.take(limit + 1).collect();
    }
    let has_more = data.len() > limit;
    data.truncate(limit);
    if end.is_some() {
        data.reverse();
    }
    Ok(json!({"object": "list", "url": url, "has_more": has_more, "data": data}))
}

/// What all objects of the list link to, if the parameters say so.
fn link_of(params: &Value) -> Option<&str> {
    let by_field = LINKS.iter().find_map(|name| params.opt_text(name));
    let by_payment = || params["payment"].opt_text("payment_intent");
    let by_key = || match params.items("lookup_keys") {
        [key] => key.as_str(),
        _ => None,
    };
    by_field.or_else(by_payment).or_else(by_key)
}

/// Whether a moment lies before all that a filter lets through.
fn is_too_old(at: i64, filter: &Value) -> bool {
    filter.opt_int("gt").is_some_and(|bound| at <= bound)
        || filter.opt_int("gte").is_some_and(|bound| at < bound)
}

/// Whether a moment fits a filter: a moment, or a hash of bounds.
pub(crate) fn in_range(at: i64, filter: &Value) -> bool {
    if let Some(exact) = filter.as_i64() {
        return at == exact;
    }
    filter.opt_int("gt").is_none_or(|bound| at > bound)
        && filter.opt_int("gte").is_none_or(|bound| at >= bound)
        && filter.opt_int("lt").is_none_or(|bound| at < bound)
        && filter.opt_int("lte").is_none_or(|bound| at <= bound)
}

/// Whether the text fields named by filters have the values that the parameters ask for.
pub(crate) fn matches(row: &Value, params: &Value, filters: &[&str]) -> bool {
    filters.iter().all(|key| {
        params
            .opt_text(key)
            .is_none_or(|wanted| row.reference(key) == Some(wanted))
    })
}

/// A page of rows that belong to an object and keep their order.
pub(crate) fn of_rows(rows: &[Value], url: &str, params: &Value) -> Value {
    let limit = usize::try_from(params.opt_int("limit").unwrap_or(10)).unwrap_or(10);
    let after = params.opt_text("starting_after");
    let start = rows
        .iter()
        .position(|row| Some(row.text("id")) == after)
        .map_or(0, |at| at + 1);
    let end = (start + limit).min(rows.len());
    json!({"object": "list", "url": url, "has_more": end < rows.len(), "data": rows[start..end]})
}
