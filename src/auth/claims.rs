//! Reading claims: names are settings, so they are looked up rather than typed.

use serde_json::{Map, Value};

/// A claim that is a text.
pub(super) fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

/// Whether a claim says no: some logins write truth as a text.
pub(super) fn is_denied(claims: &Map<String, Value>, name: &str) -> bool {
    match claims.get(name) {
        Some(Value::Bool(yes)) => !yes,
        Some(Value::String(text)) => text == "false",
        _ => false,
    }
}

/// A claim that is a time in seconds since 1970, whole or with a fraction (RFC 7519, section 2); `Err` when it is
/// there and is something else.
pub(super) fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, ()> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            let whole = number.as_i64().or_else(|| {
                // Too large to be a date is as good as never; the cast saturates.
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "saturates, and a fraction of a second is nothing"
                )]
                number.as_f64().map(|seconds| seconds as i64)
            });
            whole.map(Some).ok_or(())
        }
        Some(_) => Err(()),
    }
}

/// The texts of a claim that is a list, or of one text as a list of one.
pub(super) fn list(claim: Option<&Value>) -> impl Iterator<Item = &str> {
    let values = match claim {
        Some(Value::Array(values)) => values.as_slice(),
        Some(value) => std::slice::from_ref(value),
        None => &[],
    };
    values.iter().filter_map(Value::as_str)
}

/// The claim of exactly this name, else the one that dots descend to: `realm_access.roles`. The exact name comes
/// first, because some issuers name claims by URL.
pub(super) fn at_path<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    claims.get(path).or_else(|| {
        let (head, rest) = path.split_once('.')?;
        at_path(claims.get(head)?.as_object()?, rest)
    })
}

/// Puts a claim where [`at_path`] finds it.
pub(super) fn insert_at_path(claims: &mut Map<String, Value>, path: &str, value: Value) {
    claims.insert(path.to_owned(), value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims() -> Map<String, Value> {
        let value = json!({
            "realm_access": {"roles": ["a", 7, "b"]},
            "https://example.org/roles": "a",
            "exp": 1_700_000_000.9,
            "nbf": "soon",
        });
        match value {
            Value::Object(claims) => claims,
            _ => Map::new(),
        }
    }

    #[test]
    fn roles_are_found_by_name_or_by_path() {
        let claims = claims();
        let roles = |path| list(at_path(&claims, path)).collect::<Vec<_>>();
        assert_eq!(roles("realm_access.roles"), ["a", "b"]);
        assert_eq!(roles("https://example.org/roles"), ["a"]);
        assert!(roles("realm_access.groups").is_empty());
    }

    #[test]
    fn a_time_may_have_a_fraction_and_must_be_a_number() {
        let claims = claims();
        assert_eq!(seconds(&claims, "exp"), Ok(Some(1_700_000_000)));
        assert_eq!(seconds(&claims, "nbf"), Err(()));
        assert_eq!(seconds(&claims, "iat"), Ok(None));
    }
}
