//! Lists: newest first, with cursors and the `created` filter.

use serde_json::{Value, json};

use crate::world::World;
use crate::world::error::{ApiError, ApiResult};
use crate::world::json::Json;

/// A page of the objects of a kind that fit.
pub(crate) fn page(
    world: &World,
    kind: &str,
    url: &str,
    params: &Value,
    fits: impl Fn(&Value) -> bool,
) -> ApiResult {
    let created = &params["created"];
    let rows = world.store.all(kind).iter().rev();
    let fitting = rows
        .filter(|row| !row.flag("deleted") && in_range(row.int("created"), created) && fits(row));
    page_of(&fitting.collect::<Vec<_>>(), kind, url, params, |id| {
        world.store.find(kind, id).map(|row| row.int("created"))
    })
}

/// A page of rows that are newest first already.
fn page_of(
    rows: &[&Value],
    kind: &str,
    url: &str,
    params: &Value,
    exists: impl Fn(&str) -> Option<i64>,
) -> ApiResult {
    let limit = usize::try_from(params.opt_int("limit").unwrap_or(10)).unwrap_or(10);
    let position = |param: &str| -> Result<Option<usize>, ApiError> {
        let Some(id) = params.opt_text(param) else {
            return Ok(None);
        };
        let created = exists(id).ok_or_else(|| ApiError::missing_reference(kind, id, param))?;
        // A cursor that the filter leaves out still has its place in time.
        let place = rows.iter().position(|row| row.text("id") == id);
        Ok(place
            .or_else(|| rows.iter().position(|row| row.int("created") < created))
            .or(Some(rows.len())))
    };
    let (data, has_more) = if let Some(end) = position("ending_before")? {
        let start = end.saturating_sub(limit);
        (&rows[start..end], start > 0)
    } else {
        let cursor = position("starting_after")?;
        let skips = params.opt_text("starting_after").is_some_and(|id| {
            cursor
                .and_then(|at| rows.get(at))
                .is_some_and(|row| row.text("id") == id)
        });
        let start = cursor
            .map_or(0, |at| at + usize::from(skips))
            .min(rows.len());
        let end = (start + limit).min(rows.len());
        (&rows[start..end], end < rows.len())
    };
    Ok(json!({"object": "list", "url": url, "has_more": has_more, "data": data}))
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
