//! The table of modelled operations: checks parameters and gives them their types.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::world::error::ApiError;
use crate::world::json::Json;

static TABLE: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../spec/table.json")).expect("the table is valid JSON")
});

/// What may be expanded in a resource.
pub(crate) fn expandable(resource: &str) -> Option<&'static Value> {
    TABLE["expand"].get(resource)
}

/// Whether Stripe has an operation of its own at a path that reads like that of an object here: `/v1/customers/search`.
pub(crate) fn is_elsewhere(method: &str, path: &str) -> bool {
    TABLE["elsewhere"]
        .items(method)
        .iter()
        .any(|known| known == path)
}

/// Whether the table describes an operation, as `POST /v1/customers/{}`.
#[cfg(test)]
pub(crate) fn operations() -> impl Iterator<Item = &'static String> {
    TABLE["operations"]
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
}

/// Checks the parameters of an operation against the table and converts them to JSON types.
///
/// # Errors
/// The first finding, as Stripe words it.
pub(crate) fn check(operation: &str, raw: &Value) -> Result<Value, ApiError> {
    let schema = &TABLE["operations"][operation];
    let (method, path) = operation.split_once(' ').unwrap_or_default();
    // An empty value unsets something that exists; there is nothing to unset on create or in a filter.
    let can_unset = method == "POST" && path.contains("{}");
    let params = Checker { can_unset }.object(schema, raw, "")?;
    check_page(&params)?;
    Ok(params)
}

fn check_page(params: &Value) -> Result<(), ApiError> {
    if let Some(limit) = params.opt_int("limit")
        && !(1..=100).contains(&limit)
    {
        let message = if limit < 1 {
            "This value must be greater than or equal to 1."
        } else {
            "This value must be less than or equal to 100 (it currently is over the limit)."
        };
        return Err(ApiError::parameter(
            Some("parameter_invalid_integer"),
            "limit",
            message,
        ));
    }
    if params.has("starting_after") && params.has("ending_before") {
        let message =
            "You may only specify one of these parameters: starting_after, ending_before.";
        return Err(ApiError::parameter(
            Some("parameters_exclusive"),
            "ending_before",
            message,
        ));
    }
    Ok(())
}

struct Checker {
    can_unset: bool,
}

impl Checker {
    fn object(&self, schema: &Value, raw: &Value, place: &str) -> Result<Value, ApiError> {
        let given = raw.fields();
        let known = &schema["p"];
        let unknown: Vec<String> = given
            .keys()
            .filter(|key| known.get(key.as_str()).is_none())
            .map(|key| join(place, key))
            .collect();
        if let Some(first) = unknown.first() {
            let plural = if unknown.len() > 1 { "s" } else { "" };
            let message = format!("Received unknown parameter{plural}: {}", unknown.join(", "));
            return Err(ApiError::parameter(
                Some("parameter_unknown"),
                first,
                message,
            ));
        }
        for key in schema.items("r").iter().filter_map(Value::as_str) {
            if !given.contains_key(key) {
                let param = join(place, key);
                let message = format!("Missing required param: {param}.");
                return Err(ApiError::parameter(
                    Some("parameter_missing"),
                    &param,
                    message,
                ));
            }
        }
        let mut typed = Map::new();
        for (key, value) in &given {
            typed.insert(
                key.clone(),
                self.value(&known[key.as_str()], value, &join(place, key))?,
            );
        }
        Ok(Value::Object(typed))
    }

    fn value(&self, schema: &Value, raw: &Value, place: &str) -> Result<Value, ApiError> {
        if let Some(options) = schema.get("x") {
            return self.one_of(options.as_array().map_or(&[], Vec::as_slice), raw, place);
        }
        if let Some(name) = schema.opt_text("o") {
            return match raw {
                Value::Object(_) => self.object(&TABLE["types"][name], raw, place),
                _ => Err(wrong("hash", raw, place)),
            };
        }
        if let Some(element) = schema.get("a") {
            return self.array(element, raw, place);
        }
        if let Some(values) = schema.get("m") {
            return self.map(values, raw, place);
        }
        let Value::String(text) = raw else {
            return Err(wrong(kind_of(schema), raw, place));
        };
        self.scalar(schema, text, place)
    }

    fn one_of(&self, options: &[Value], raw: &Value, place: &str) -> Result<Value, ApiError> {
        // A hash is judged by the hash among the options, so that its own finding is reported.
        let mut last = None;
        for option in options {
            let nested =
                option.get("o").is_some() || option.get("a").is_some() || option.get("m").is_some();
            if raw.is_object() != nested {
                continue;
            }
            match self.value(option, raw, place) {
                Ok(value) => return Ok(value),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| wrong("value", raw, place)))
    }

    fn array(&self, element: &Value, raw: &Value, place: &str) -> Result<Value, ApiError> {
        let Value::Object(entries) = raw else {
            // An empty array is sent as an empty string.
            return if raw.as_str() == Some("") {
                Ok(Value::Array(vec![]))
            } else {
                Err(wrong("array", raw, place))
            };
        };
        let mut numbered = Vec::new();
        for (key, value) in entries {
            let index: usize = key.parse().map_err(|_| wrong("array", raw, place))?;
            numbered.push((index, self.value(element, value, &join(place, key))?));
        }
        numbered.sort_by_key(|(index, _)| *index);
        Ok(numbered.into_iter().map(|(_, value)| value).collect())
    }

    fn map(&self, values: &Value, raw: &Value, place: &str) -> Result<Value, ApiError> {
        let is_metadata = values.as_str() == Some("s");
        let Value::Object(entries) = raw else {
            return if raw.as_str() == Some("") && is_metadata {
                Ok(Value::from(""))
            } else {
                Err(wrong("hash", raw, place))
            };
        };
        let mut typed = Map::new();
        for (key, value) in entries {
            let inner = join(place, key);
            let value = match value {
                Value::String(_) if is_metadata => {
                    check_metadata(key, value.as_str().unwrap_or_default(), &inner)?;
                    value.clone()
                }
                _ => self.value(values, value, &inner)?,
            };
            typed.insert(key.clone(), value);
        }
        if is_metadata && typed.len() > 50 {
            let message = format!(
                "Metadata can have at most 50 keys; you passed {}.",
                typed.len()
            );
            return Err(ApiError::parameter(None, place, message));
        }
        Ok(Value::Object(typed))
    }

    fn scalar(&self, schema: &Value, text: &str, place: &str) -> Result<Value, ApiError> {
        if let Some(name) = schema.opt_text("e") {
            return check_enum(TABLE["enums"].items(name), text, place);
        }
        if text.is_empty() {
            if self.can_unset && !matches!(schema.as_str(), Some("b")) {
                return Ok(Value::from(""));
            }
            let message = format!(
                "You passed an empty string for '{place}'. We assume empty values are an attempt to unset a parameter; \
                 however '{place}' cannot be unset. You should remove '{place}' from your request or supply a \
                 non-empty value."
            );
            return Err(ApiError::parameter(
                Some("parameter_invalid_empty"),
                place,
                message,
            ));
        }
        match schema.as_str() {
            Some("i") => text.parse::<i64>().map(Value::from).map_err(|_| {
                ApiError::parameter(
                    Some("parameter_invalid_integer"),
                    place,
                    format!("Invalid integer: {text}"),
                )
            }),
            Some("n") => text
                .parse::<f64>()
                .map(Value::from)
                .map_err(|_| wrong("decimal", &text.into(), place)),
            Some("b") => text
                .parse::<bool>()
                .map(Value::from)
                .map_err(|_| wrong("boolean", &text.into(), place)),
            _ => {
                let limit = schema
                    .opt_int("s")
                    .and_then(|limit| usize::try_from(limit).ok())
                    .unwrap_or(usize::MAX);
                if text.chars().count() > limit {
                    let start: String = text.chars().take(20).collect();
                    let message =
                        format!("Invalid string: {start}...; must be at most {limit} characters");
                    return Err(ApiError::parameter(None, place, message));
                }
                Ok(Value::from(text))
            }
        }
    }
}

fn check_enum(values: &[Value], text: &str, place: &str) -> Result<Value, ApiError> {
    if values.iter().any(|value| value.as_str() == Some(text)) {
        return Ok(Value::from(text));
    }
    let names: Vec<&str> = values
        .iter()
        .filter_map(Value::as_str)
        .filter(|name| !name.is_empty())
        .collect();
    let choice = match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, [first])) => format!("{first} or {last}"),
        Some((last, rest)) => format!("{}, or {last}", rest.join(", ")),
        None => "empty".to_owned(),
    };
    Err(ApiError::parameter(
        None,
        place,
        format!("Invalid {place}: must be one of {choice}"),
    ))
}

fn check_metadata(key: &str, value: &str, place: &str) -> Result<(), ApiError> {
    if key.chars().count() > 40 {
        let message = format!("Metadata keys can have up to 40 characters. Invalid key: {key}");
        return Err(ApiError::parameter(None, place, message));
    }
    let length = value.chars().count();
    if length > 500 {
        let message = format!(
            "Metadata values can have up to 500 characters, but you passed in a value that is {length} characters."
        );
        return Err(ApiError::parameter(None, place, message));
    }
    Ok(())
}

fn kind_of(schema: &Value) -> &'static str {
    match schema.as_str() {
        Some("i") => "integer",
        Some("n") => "decimal",
        Some("b") => "boolean",
        _ => "string",
    }
}

fn wrong(kind: &str, raw: &Value, place: &str) -> ApiError {
    let shown = raw.as_str().unwrap_or("a hash");
    let code = (kind == "integer").then_some("parameter_invalid_integer");
    ApiError::parameter(code, place, format!("Invalid {kind}: {shown}"))
}

fn join(place: &str, key: &str) -> String {
    if place.is_empty() {
        key.to_owned()
    } else {
        format!("{place}[{key}]")
    }
}

#[cfg(test)]
mod tests {
    use super::TABLE;
    use super::check;
    use crate::transport::form::decode;
    use crate::world::API_VERSION;

    fn code(operation: &str, body: &str) -> (String, String) {
        let error = check(operation, &decode(body).expect("decodes")).expect_err("is refused");
        (
            error.code().to_owned(),
            error
                .body
                .get("param")
                .and_then(|p| p.as_str())
                .unwrap_or_default()
                .to_owned(),
        )
    }

    #[test]
    fn the_table_is_of_the_version_that_the_sandbox_speaks() {
        assert_eq!(TABLE["version"], API_VERSION);
    }

    #[test]
    fn findings_name_the_parameter() {
        let create = "POST /v1/checkout/sessions";
        let cases = [
            (
                "mode=payment&payment_method_types[]=card",
                "parameter_unknown",
                "payment_method_types",
            ),
            ("success_url=https://x", "parameter_missing", "mode"),
            (
                "mode=payment&line_items[0][quantity]=one",
                "parameter_invalid_integer",
                "line_items[0][quantity]",
            ),
            (
                "mode=payment&line_items[0][colour]=red",
                "parameter_unknown",
                "line_items[0][colour]",
            ),
            ("mode=payment&ui_mode=hosted", "", "ui_mode"),
            (
                "mode=payment&customer=",
                "parameter_invalid_empty",
                "customer",
            ),
            (
                "mode=payment&line_items[0][price_data][unit_amount]=5",
                "parameter_missing",
                "line_items[0][price_data][currency]",
            ),
        ];
        for (body, wanted, param) in cases {
            assert_eq!(
                code(create, body),
                (wanted.to_owned(), param.to_owned()),
                "{body}"
            );
        }
    }

    #[test]
    fn lists_take_one_to_a_hundred() {
        assert_eq!(code("GET /v1/events", "limit=0").1, "limit");
        assert_eq!(code("GET /v1/events", "limit=101").1, "limit");
        assert!(
            check(
                "GET /v1/events",
                &decode("limit=100&types[]=a&created[gte]=5").expect("decodes")
            )
            .is_ok()
        );
    }
}
