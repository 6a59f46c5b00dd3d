//! JSON of Stripe's, and why it can't be read, without the values that it holds: they may be somebody's e-mail or card.

use std::fmt;

use serde::Deserialize;
use serde_path_to_error::{Path, Segment};

/// Why JSON of Stripe's can't be read: at which place, and what was expected there. It holds names and types, no values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

impl Unreadable {
    /// What a message of our own says.
    pub(super) fn because(what: &'static str) -> Self {
        Self(what.to_owned())
    }
}

/// Reads JSON. Only when it can't be read it is read again, to find the place.
pub(super) fn from_json<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(json).map_err(|error| {
        let mut again = serde_json::Deserializer::from_slice(json);
        let place = serde_path_to_error::deserialize::<_, T>(&mut again).err();
        let place = place.map_or_else(String::new, |found| named(found.path()));
        let (line, column) = (error.line(), error.column());
        Unreadable(match error.classify() {
            serde_json::error::Category::Data => {
                format!(
                    "{place} {} (line {line}, column {column})",
                    wanted(&error.to_string())
                )
            }
            serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof
            | serde_json::error::Category::Io => {
                format!("not JSON (line {line}, column {column})")
            }
        })
    })
}

/// A path of fields' names, up to where keys begin that are somebody else's.
fn named(path: &Path) -> String {
    let mut names = Vec::new();
    for segment in path {
        let name = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } if is_name(key) => key.clone(),
            Segment::Map { .. } | Segment::Enum { .. } | Segment::Unknown => "…".to_owned(),
        };
        let others_follow = name == "metadata" || name == "…";
        names.push(name);
        if others_follow {
            break;
        }
    }
    names.join(".")
}

fn is_name(key: &str) -> bool {
    key.len() <= 40
        && key.starts_with(|first: char| first.is_ascii_lowercase())
        && key
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// What was expected, of a message whose beginning may hold a value.
fn wanted(message: &str) -> String {
    let text = message
        .rsplit_once(" at line ")
        .map_or(message, |(text, _)| text);
    if text.starts_with("missing field `") {
        return format!("has a {text}");
    }
    match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("is not {expected}"),
        None => "is not as expected".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stripe::objects::{Charge, Invoice};

    #[test]
    fn place_and_type_are_told_and_never_the_value() {
        let secrets = ["ada@example.org", "+49 170 1234567", "4242424242424242"];
        for secret in secrets {
            let json = format!(r#"{{"id": "in_1", "amount_paid": "{secret}, expected {secret}"}}"#);
            let error = from_json::<Invoice>(json.as_bytes()).expect_err("a text is no amount");
            assert_eq!(
                error.0.split(" (").next(),
                Some("amount_paid is not i64"),
                "{error}"
            );
            let json = format!(r#"{{"id": "ch_1", "metadata": {{"{secret}": 1}}}}"#);
            let error = from_json::<Charge>(json.as_bytes()).expect_err("a number is no text");
            assert_eq!(
                error.0.split(" (").next(),
                Some("metadata is not a string"),
                "{error}"
            );
            for broken in [format!(r#"{{"id": "{secret}"#), format!("<p>{secret}</p>")] {
                let error = from_json::<Charge>(broken.as_bytes()).expect_err("no JSON");
                assert!(error.0.starts_with("not JSON (line 1"), "{error}");
            }
        }
        let error = from_json::<Charge>(b"{}").expect_err("no id");
        assert_eq!(
            error.0.split(" (").next(),
            Some(" has a missing field `id`")
        );
    }
}
