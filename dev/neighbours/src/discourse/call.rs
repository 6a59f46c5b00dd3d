//! A request, read as Rails reads it: suffix, path, and one map of parameters from query and body.

use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::answer::Answer;

/// A request to the forum.
pub(super) struct Call {
    pub method: Method,
    /// The parts of the path, decoded, without the suffix.
    pub segments: Vec<String>,
    /// Whether JSON was asked for, by suffix or header.
    pub json: bool,
    headers: HeaderMap,
    params: Map<String, Value>,
}

impl Call {
    /// Reads a request. A body without a content type is not looked at.
    pub(super) fn read(parts: &Parts, body: &[u8]) -> Result<Self, Answer> {
        let path = parts.uri.path();
        let (path, suffixed) = match path.strip_suffix(".json") {
            Some(path) => (path, true),
            None => (path, false),
        };
        let segments = path.split('/').filter(|part| !part.is_empty());
        let segments = segments.map(|part| percent_decode_str(part).decode_utf8_lossy().into());
        let mut params = form(parts.uri.query().unwrap_or_default().as_bytes());
        let kind = header(&parts.headers, CONTENT_TYPE.as_str());
        if kind.starts_with("application/json") && !body.iter().all(u8::is_ascii_whitespace) {
            match serde_json::from_slice(body) {
                Ok(Value::Object(fields)) => params.extend(fields),
                // Rails keeps what is no object under `_json`, where no operation looks.
                Ok(_) => {}
                Err(_) => return Err(Answer::bad_request()),
            }
        } else if kind.starts_with("application/x-www-form-urlencoded") {
            params.extend(form(body));
        }
        Ok(Self {
            method: parts.method.clone(),
            segments: segments.collect(),
            json: suffixed || header(&parts.headers, ACCEPT.as_str()).contains("application/json"),
            headers: parts.headers.clone(),
            params,
        })
    }

    /// A header as text; empty when it isn't there.
    pub(super) fn header(&self, name: &str) -> &str {
        header(&self.headers, name)
    }

    /// A parameter, unless it is blank in the sense of Rails.
    pub(super) fn present(&self, name: &str) -> Option<&Value> {
        self.params.get(name).filter(|value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.trim().is_empty(),
            Value::Array(values) => !values.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            Value::Bool(true) | Value::Number(_) => true,
        })
    }

    /// A parameter as `to_s` makes it a text; empty when it isn't there.
    pub(super) fn text(&self, name: &str) -> String {
        self.params.get(name).map(to_s).unwrap_or_default()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.params.contains_key(name)
    }

    /// A number within bounds, as `fetch_int_from_params` takes it.
    pub(super) fn number(&self, name: &str, default: usize, most: usize) -> Result<usize, Answer> {
        if !self.has(name) {
            return Ok(default);
        }
        let given = self.text(name).trim().parse().ok();
        given
            .filter(|number| *number <= most)
            .ok_or_else(|| Answer::invalid_parameters(name))
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// The fields of a form; `name[]` is a list.
fn form(text: &[u8]) -> Map<String, Value> {
    let mut fields = Map::new();
    for (name, value) in url::form_urlencoded::parse(text) {
        let value = Value::String(value.into_owned());
        match name.strip_suffix("[]") {
            Some(name) => {
                let list = fields.entry(name).or_insert_with(|| Value::Array(vec![]));
                if let Value::Array(values) = list {
                    values.push(value);
                }
            }
            None => {
                fields.insert(name.into_owned(), value);
            }
        }
    }
    fields
}

/// What `to_s` of Ruby makes of a value: a list keeps its brackets.
fn to_s(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(Value::to_string).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// What `to_i` of Ruby makes of a text: the number that it begins with, else 0.
pub(super) fn to_i(text: &str) -> i64 {
    let text = text.trim_start();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits
        .find(|symbol: char| !symbol.is_ascii_digit())
        .unwrap_or(digits.len());
    let number: i64 = digits
        .get(..end)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0);
    sign * number
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{to_i, to_s};

    #[test]
    fn a_number_is_what_a_text_begins_with() {
        assert_eq!(to_i("41"), 41);
        assert_eq!(to_i(" 41x"), 41);
        assert_eq!(to_i("-3"), -3);
        assert_eq!(to_i("[5"), 0);
        assert_eq!(to_i("supporters"), 0);
        assert_eq!(to_i("99999999999999999999"), 0);
    }

    #[test]
    fn a_list_keeps_its_brackets() {
        assert_eq!(to_s(&json!([5, 6])), "[5, 6]");
        assert_eq!(to_s(&json!(["5"])), "[\"5\"]");
    }
}
