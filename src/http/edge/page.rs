//! Lists: newest first, in pages.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::ApiError;

/// Entries of a page unless asked otherwise, and the most.
const LIMIT: (i64, i64) = (20, 100);

/// A page of a list, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Page<T: ToSchema> {
    /// The entries.
    data: Vec<T>,
    /// To be sent as `cursor` for the next page; null on the last.
    next_cursor: Option<String>,
}

/// Which part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PageQuery {
    /// 1 to 100; by default 20.
    pub limit: Option<i64>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// How many entries were asked for.
pub(in crate::http) fn limit(asked: Option<i64>) -> Result<i64, ApiError> {
    limit_within(asked, LIMIT)
}

/// The same where a list has bounds of its own: how many unless asked otherwise, and the most.
pub(in crate::http) fn limit_within(
    asked: Option<i64>,
    (default, most): (i64, i64),
) -> Result<i64, ApiError> {
    match asked.unwrap_or(default) {
        limit if (1..=most).contains(&limit) => Ok(limit),
        _ => Err(ApiError::validation_failed().field(
            "limit",
            "out_of_range",
            format!("From 1 to {most}."),
        )),
    }
}

/// A parameter's value; none if it wasn't given.
pub(in crate::http) fn parsed<T>(
    field: &str,
    text: Option<&str>,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ApiError> {
    let value = text.map(|text| parse(text).ok_or(text)).transpose();
    value.map_err(|_| {
        ApiError::validation_failed().field(
            field,
            "unknown_value",
            "This is not a value it can have.",
        )
    })
}

/// A page of at most `limit` of the rows, of which one more was asked for to see whether there are more.
pub(in crate::http) fn page<R, T: ToSchema>(
    mut rows: Vec<R>,
    limit: i64,
    cursor: impl Fn(&R) -> String,
    entry: impl Fn(R) -> T,
) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or_default();
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| more).map(cursor);
    Page {
        data: rows.into_iter().map(entry).collect(),
        next_cursor,
    }
}
