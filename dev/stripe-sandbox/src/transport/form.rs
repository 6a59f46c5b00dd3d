//! Form decoding as Stripe does it: `a[b]=`, `a[0][b]=`, `a[]=`.

use serde_json::{Map, Value};

use crate::world::error::ApiError;

/// Decodes a query string or form body to nested objects whose leaves are strings.
///
/// Array elements are keys `"0"`, `"1"`, …: whether a hash is an array is known only by its type.
pub(crate) fn decode(text: &str) -> Result<Value, ApiError> {
    let mut root = Map::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (percent_decode(name)?, percent_decode(value)?);
        let keys = keys(&name).ok_or_else(|| {
            ApiError::parameter(None, &name, format!("Invalid parameter name: {name}"))
        })?;
        insert(&mut root, &keys, value).map_err(|()| {
            ApiError::parameter(
                None,
                &name,
                format!("Invalid hash: {name} was given both as a value and as a hash"),
            )
        })?;
    }
    Ok(Value::Object(root))
}

fn percent_decode(text: &str) -> Result<String, ApiError> {
    let broken = || ApiError::parameter(None, "", "Invalid percent-encoding in the request.");
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'+' => decoded.push(b' '),
            b'%' => {
                let hex = text.get(at + 1..at + 3).ok_or_else(broken)?;
                decoded.push(u8::from_str_radix(hex, 16).map_err(|_| broken())?);
                at += 2;
            }
            byte => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8(decoded).map_err(|_| broken())
}

/// `a[0][b]` as `["a", "0", "b"]`, or none when the brackets do not match.
fn keys(name: &str) -> Option<Vec<&str>> {
    let (first, mut rest) = match name.find('[') {
        Some(at) => name.split_at(at),
        None => (name, ""),
    };
    if first.is_empty() || first.contains(']') {
        return None;
    }
    let mut keys = vec![first];
    while !rest.is_empty() {
        let inner = rest.strip_prefix('[')?;
        let (key, after) = inner.split_once(']')?;
        if key.contains('[') {
            return None;
        }
        keys.push(key);
        rest = after;
    }
    Some(keys)
}

fn insert(level: &mut Map<String, Value>, keys: &[&str], value: String) -> Result<(), ()> {
    let (first, rest) = keys.split_first().ok_or(())?;
    let key = if first.is_empty() {
        next_index(level, rest.first().copied())
    } else {
        (*first).to_owned()
    };
    if rest.is_empty() {
        if level.get(&key).is_some_and(Value::is_object) {
            return Err(());
        }
        level.insert(key, Value::String(value));
        return Ok(());
    }
    match level
        .entry(key)
        .or_insert_with(|| Value::Object(Map::new()))
    {
        Value::Object(inner) => insert(inner, rest, value),
        _ => Err(()),
    }
}

/// Where `[]` puts a value: the current element while it lacks what follows, else a new one.
fn next_index(level: &Map<String, Value>, following: Option<&str>) -> String {
    let count = level.len();
    let current = count
        .checked_sub(1)
        .and_then(|last| level.get(&last.to_string()));
    match (following, current) {
        (Some(next), Some(Value::Object(element)))
            if !next.is_empty() && !element.contains_key(next) =>
        {
            (count - 1).to_string()
        }
        _ => count.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::decode;

    #[test]
    fn indexed_and_empty_brackets_make_the_same_tree() {
        let indexed =
            decode("line_items[0][price]=p&line_items[0][quantity]=1&line_items[1][price]=q");
        let empty = decode("line_items[][price]=p&line_items[][quantity]=1&line_items[][price]=q");
        assert_eq!(indexed.expect("decodes"), empty.expect("decodes"));
    }

    #[test]
    fn plus_and_percent_are_decoded() {
        assert_eq!(
            decode("a%5Bb%5D=x+y%C3%A9").expect("decodes"),
            json!({"a": {"b": "x yé"}})
        );
    }

    #[test]
    fn unbalanced_brackets_and_broken_escapes_are_refused() {
        for text in [
            "a[b=1",
            "a]b=1",
            "a[b]c=1",
            "metadata[a[b]]=1",
            "a=%zz",
            "a=1&a[b]=2",
            "a[b]=2&a=1",
        ] {
            assert!(decode(text).is_err(), "{text}");
        }
    }
}
