//! Short access to the JSON objects that the sandbox keeps: a missing field reads as null.

use serde_json::{Map, Value, json};

/// Field access on JSON objects without ceremony.
pub(crate) trait Json {
    /// The text of a field, or `""`.
    fn text(&self, key: &str) -> &str;
    /// The text of a field unless it is null, missing or not a string.
    fn opt_text(&self, key: &str) -> Option<&str>;
    /// The integer of a field, or 0.
    fn int(&self, key: &str) -> i64;
    /// The integer of a field unless it is null, missing or not an integer.
    fn opt_int(&self, key: &str) -> Option<i64>;
    /// Whether a field is `true`.
    fn flag(&self, key: &str) -> bool;
    /// Whether a field holds something other than null.
    fn has(&self, key: &str) -> bool;
    /// The elements of an array field, or none.
    fn items(&self, key: &str) -> &[Value];
    /// Sets a field of an object.
    fn set(&mut self, key: &str, value: impl Into<Value>);
    /// The fields of an object, or none.
    fn fields(&self) -> Map<String, Value>;
    /// The id of a reference that may be expanded.
    fn reference(&self, key: &str) -> Option<&str>;
}

impl Json for Value {
    fn text(&self, key: &str) -> &str {
        self.opt_text(key).unwrap_or_default()
    }

    fn opt_text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }

    fn int(&self, key: &str) -> i64 {
        self.opt_int(key).unwrap_or_default()
    }

    fn opt_int(&self, key: &str) -> Option<i64> {
        self.get(key).and_then(Value::as_i64)
    }

    fn flag(&self, key: &str) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or_default()
    }

    fn has(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| !value.is_null())
    }

    fn items(&self, key: &str) -> &[Value] {
        self.get(key)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    fn set(&mut self, key: &str, value: impl Into<Value>) {
        if let Value::Object(map) = self {
            map.insert(key.to_owned(), value.into());
        }
    }

    fn fields(&self) -> Map<String, Value> {
        self.as_object().cloned().unwrap_or_default()
    }

    fn reference(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::String(id) => Some(id),
            other => other.opt_text("id"),
        }
    }
}

/// What changed, as `previous_attributes` of an event shows it: the old values of changed fields.
///
/// Hashes are compared field by field, arrays as a whole; a field that is new was null before.
pub(crate) fn previous_attributes(before: &Value, after: &Value) -> Map<String, Value> {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return Map::new();
    };
    let mut changed = Map::new();
    for (key, value) in old {
        let now = new.get(key).unwrap_or(&Value::Null);
        if now == value {
            continue;
        }
        let is_list = value.get("object").and_then(Value::as_str) == Some("list");
        let previous = if value.is_object() && now.is_object() && !is_list {
            Value::Object(previous_attributes(value, now))
        } else {
            value.clone()
        };
        changed.insert(key.clone(), previous);
    }
    for key in new.keys().filter(|key| !old.contains_key(*key)) {
        changed.insert(key.clone(), Value::Null);
    }
    changed
}

/// A list object as the API returns it, complete on one page.
pub(crate) fn list(url: &str, data: Vec<Value>) -> Value {
    let mut list = json!({"object": "list", "url": url, "has_more": false});
    list.set("data", data);
    list
}
