//! Holds answers and events against what Stripe's description says of its objects, so that a misspelt key cannot hide.
//!
//! `spec/objects.json` is the description, `spec/exceptions.json` where it is known to be wrong. Debug builds check
//! everything that leaves the sandbox; a release build checks nothing.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::world::json::Json;

static DESCRIBED: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../spec/objects.json")).expect("objects.json is JSON")
});
static EXCEPTIONS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../spec/exceptions.json"))
        .expect("exceptions.json is JSON")
});

/// Later than any moment in seconds, and before any in milliseconds.
const END_OF_TIME: i64 = 100_000_000_000;

/// What is wrong, and where.
#[derive(Debug)]
struct Wrong {
    /// From the inside to the outside.
    path: Vec<String>,
    what: String,
}

impl Wrong {
    fn inside(mut self, place: String) -> Self {
        self.path.push(place);
        self
    }
}

type Held = Result<(), Wrong>;

fn wrong(what: impl Into<String>) -> Wrong {
    Wrong {
        path: vec![],
        what: what.into(),
    }
}

/// What is wrong with the answer to an operation like `POST /v1/customers/{}`, as a sentence.
pub(crate) fn wrong_answer(operation: &str, answer: &Value) -> Option<String> {
    let held = value(&DESCRIBED["answers"][operation], answer);
    sentence(held, &format!("the answer to {operation}"))
}

/// What is wrong with the body of an error, as a sentence.
pub(crate) fn wrong_error(body: &Value) -> Option<String> {
    sentence(object("error", body), "an error")
}

/// What is wrong with an event and the object in it, as a sentence.
pub(crate) fn wrong_event(event: &Value) -> Option<String> {
    let held = object("event", event).and_then(|()| changed(&event["data"]));
    sentence(held, &format!("the event {}", event.text("type")))
}

fn sentence(held: Held, what: &str) -> Option<String> {
    let Wrong { path, what: cause } = held.err()?;
    let place: String = path.into_iter().rev().collect();
    Some(format!(
        "Stripe's description does not fit {what}: ${place}: {cause}"
    ))
}

/// What changed must be something that the object can have.
fn changed(data: &Value) -> Held {
    let kind = data["object"].text("object");
    let Some(name) = DESCRIBED["resources"].opt_text(kind) else {
        return Ok(());
    };
    let known = &DESCRIBED["types"][name]["p"];
    let before = data["previous_attributes"]
        .as_object()
        .into_iter()
        .flatten();
    let unknown = before
        .map(|(key, _)| key)
        .find(|key| known.get(key.as_str()).is_none());
    unknown.map_or(Ok(()), |key| {
        Err(wrong(format!("{kind} has no key '{key}'")).inside(".data.previous_attributes".into()))
    })
}

fn value(described: &Value, given: &Value) -> Held {
    if let Some(inner) = described.get("0") {
        return if given.is_null() {
            Ok(())
        } else {
            value(inner, given)
        };
    }
    if let Some(options) = described.get("x") {
        return one_of(options, described.items("w"), given);
    }
    match described {
        Value::String(kind) => scalar(kind, given),
        Value::Object(fields) => match fields.iter().next() {
            Some((key, detail)) => nested(key, detail, given),
            None => Ok(()),
        },
        _ => Err(wrong("the description does not know it")),
    }
}

fn nested(key: &str, detail: &Value, given: &Value) -> Held {
    match (key, given) {
        ("o", _) => object(detail.as_str().unwrap_or_default(), given),
        ("a", Value::Array(elements)) => {
            for (at, element) in elements.iter().enumerate() {
                value(detail, element).map_err(|wrong| wrong.inside(format!("[{at}]")))?;
            }
            Ok(())
        }
        ("m", Value::Object(entries)) => {
            for (name, entry) in entries {
                value(detail, entry).map_err(|wrong| wrong.inside(format!(".{name}")))?;
            }
            Ok(())
        }
        ("s", Value::String(text)) => {
            let longest = detail.as_u64().and_then(|most| usize::try_from(most).ok());
            match longest.filter(|most| text.chars().count() > *most) {
                Some(most) => Err(wrong(format!("more than {most} characters"))),
                None => Ok(()),
            }
        }
        ("e", _) => {
            let known = DESCRIBED["enums"].items(detail.as_str().unwrap_or_default());
            if known.contains(given) {
                Ok(())
            } else {
                Err(wrong(format!("{given} is none of its values")))
            }
        }
        _ => Err(wrong(format!("{} is not of its type", short(given)))),
    }
}

fn scalar(kind: &str, given: &Value) -> Held {
    let fits = match (kind, given) {
        ("s", Value::String(_)) | ("b", Value::Bool(_)) | ("n", Value::Number(_)) => true,
        ("i", Value::Number(_)) => given.is_i64() || given.is_u64(),
        ("t", Value::Number(_)) => given
            .as_i64()
            .is_some_and(|at| (0..END_OF_TIME).contains(&at)),
        ("d", Value::String(text)) => text.parse::<f64>().is_ok(),
        // Nothing is known but what it says of itself.
        ("f", Value::Object(_)) => {
            let known = DESCRIBED["resources"].opt_text(given.text("object"));
            return known.map_or(Ok(()), |name| object(name, given));
        }
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err(wrong(format!("{} is not of its type", short(given))))
    }
}

/// A hash is judged by the option that it says it is, so that what is wrong inside is told.
fn one_of(options: &Value, undescribed: &[Value], given: &Value) -> Held {
    let options = options.as_array().map_or(&[][..], Vec::as_slice);
    if let Some(kind) = given.opt_text("object") {
        if undescribed.iter().any(|name| name == kind) {
            return Ok(());
        }
        let named = options.iter().find(|option| {
            let name = option.opt_text("o").unwrap_or_default();
            DESCRIBED["types"][name].text("k") == kind
        });
        if let Some(option) = named {
            return value(option, given);
        }
    }
    let mut last = wrong(format!("{} may not stand here", short(given)));
    for option in options {
        match value(option, given) {
            Ok(()) => return Ok(()),
            Err(found) if !found.path.is_empty() => last = found,
            Err(_) => {}
        }
    }
    Err(last)
}

fn object(name: &str, given: &Value) -> Held {
    let Value::Object(fields) = given else {
        return Err(wrong(format!("{} is no {name}", short(given))));
    };
    let described = &DESCRIBED["types"][name];
    let known = &described["p"];
    for (key, field) in fields {
        let held = match known.get(key) {
            Some(schema) => value(schema, field),
            None if described.has("l") => Ok(()),
            None => Err(wrong(format!("{name} has no key '{key}'"))),
        };
        if let Err(found) = held
            && !is_excepted(name, key, if field.is_null() { "null" } else { "other" })
        {
            return Err(found.inside(format!(".{key}")));
        }
    }
    if given.flag("deleted") {
        return Ok(());
    }
    missing(name, described, fields)
}

fn missing(name: &str, described: &Value, fields: &Map<String, Value>) -> Held {
    for key in described.items("r").iter().filter_map(Value::as_str) {
        if !fields.contains_key(key) && !is_excepted(name, key, "missing") {
            return Err(wrong(format!("{name} lacks its key '{key}'")));
        }
    }
    Ok(())
}

fn is_excepted(name: &str, key: &str, state: &str) -> bool {
    let known = EXCEPTIONS.as_array().into_iter().flatten();
    known.into_iter().any(|exception| {
        exception.text("type") == name
            && exception.text("key") == key
            && exception.text("may_be") == state
    })
}

fn short(given: &Value) -> String {
    match given {
        Value::Object(_) => "a hash".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        other => other.to_string().chars().take(60).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{DESCRIBED, EXCEPTIONS, wrong_answer, wrong_error, wrong_event};
    use crate::world::API_VERSION;
    use crate::world::json::Json;

    fn clock() -> Value {
        json!({"id": "clock_1", "object": "test_helpers.test_clock", "created": 1, "deletes_after": 2, "frozen_time": 1,
            "livemode": false, "name": null, "status": "ready", "status_details": {}})
    }

    fn complaint(key: &str, value: impl Into<Value>) -> String {
        let mut clock = clock();
        clock.set(key, value);
        wrong_answer("GET /v1/test_helpers/test_clocks/{}", &clock).unwrap_or_default()
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_path() {
        let mut page =
            json!({"object": "list", "url": "/v1/test_helpers/test_clocks", "has_more": false});
        page.set("data", vec![clock()]);
        let operation = "GET /v1/test_helpers/test_clocks";
        assert_eq!(wrong_answer(operation, &page), None);
        page["data"][0].set("frozen_tiem", 1);
        let found = wrong_answer(operation, &page).unwrap_or_default();
        assert!(found.contains("$.data[0].frozen_tiem: "), "{found}");
    }

    #[test]
    fn types_enums_nulls_and_missing_keys_are_judged() {
        assert_eq!(complaint("name", "n"), "");
        for (key, value) in [
            ("status", json!("redy")),
            ("created", json!(1_700_000_000_000_i64)),
            ("created", json!(null)),
            ("created", json!("1")),
            ("livemode", json!(0)),
            (
                "status_details",
                json!({"advancing": {"target_frozen_tiem": 1}}),
            ),
            ("object", json!("customer")),
        ] {
            let found = complaint(key, value.clone());
            assert!(
                found.contains(&format!("$.{key}")),
                "{key}: {value}: {found}"
            );
        }
        let mut short = clock();
        if let Value::Object(fields) = &mut short {
            fields.remove("frozen_time");
        }
        let found = wrong_answer("GET /v1/test_helpers/test_clocks/{}", &short);
        assert!(
            found
                .unwrap_or_default()
                .contains("lacks its key 'frozen_time'")
        );
    }

    #[test]
    fn the_object_of_an_event_and_what_changed_of_it_are_judged() {
        let event = json!({"id": "evt_1", "object": "event", "api_version": API_VERSION, "created": 1, "livemode": false,
            "pending_webhooks": 0, "request": null, "type": "test_helpers.test_clock.ready", "data": {"object": clock()}});
        assert_eq!(wrong_event(&event), None);
        let mut misspelt = event.clone();
        misspelt["data"]["object"].set("nmae", 1);
        assert!(
            wrong_event(&misspelt)
                .unwrap_or_default()
                .contains("$.data.object.nmae")
        );
        let mut changed = event;
        changed["data"].set("previous_attributes", json!({"nmae": 1}));
        assert!(wrong_event(&changed).unwrap_or_default().contains("'nmae'"));
    }

    #[test]
    fn an_error_has_only_keys_that_stripe_has() {
        let error = |key: &str| json!({"error": {"type": "card_error", "message": "m", key: "x"}});
        assert_eq!(wrong_error(&error("decline_code")), None);
        assert!(wrong_error(&error("declinecode")).is_some());
    }

    #[test]
    fn every_exception_has_a_reason_and_something_to_except() {
        for exception in EXCEPTIONS.as_array().into_iter().flatten() {
            let described = &DESCRIBED["types"][exception.text("type")];
            let key = exception.text("key");
            let stands = match exception.text("may_be") {
                "missing" => described.items("r").iter().any(|required| required == key),
                "null" => described["p"]
                    .get(key)
                    .is_some_and(|field| field.get("0").is_none()),
                "other" => described.is_object(),
                _ => false,
            };
            assert!(stands && exception.text("why").len() > 20, "{exception}");
        }
    }

    #[test]
    fn the_description_is_of_the_version_that_the_sandbox_speaks() {
        assert_eq!(DESCRIBED["version"], API_VERSION);
    }
}
