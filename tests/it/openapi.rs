//! The description of the API: which problems each route answers. That no route answers others is held against every
//! problem that any test provokes (`harness/described.rs`).

use std::collections::BTreeSet;

use dues::http::edge::codes::Code;
use serde_json::{Value, json};

use crate::harness::TestApp;

/// Of a route with a token.
const TOKEN: &[Code] = &[Code::Unauthorized, Code::AuthKeysUnavailable];
/// Of a route with a body.
const BODY: &[Code] = &[
    Code::IncompleteBody,
    Code::RequestTimeout,
    Code::PayloadTooLarge,
];
/// Of a route with a body of ours.
const TYPED_BODY: &[Code] = &[
    Code::MalformedJson,
    Code::UnsupportedMediaType,
    Code::ValidationFailed,
];
/// Of a route that not only machines call.
const LIMITS: &[Code] = &[Code::Overloaded, Code::Timeout, Code::ShuttingDown];

struct Route {
    name: String,
    operation: Value,
    codes: BTreeSet<String>,
}

impl Route {
    #[track_caller]
    fn assert_lists(&self, codes: &[Code], whether: bool) {
        for code in codes {
            let lists = self.codes.contains(code.as_str());
            assert_eq!(lists, whether, "{}: {}", self.name, code.as_str());
        }
    }

    /// Whether it takes a parameter there.
    fn has_parameter(&self, place: &str) -> bool {
        let parameters = self.operation["parameters"].as_array();
        parameters.is_some_and(|all| all.iter().any(|parameter| parameter["in"] == place))
    }

    fn is_tagged(&self, tag: &str) -> bool {
        self.operation["tags"] == json!([tag])
    }
}

async fn description() -> Value {
    let app = TestApp::start().await;
    let answer = app.get("/openapi.json").send().await;
    answer.assert_status(200).json()
}

fn routes(description: &Value) -> Vec<Route> {
    let mut routes = Vec::new();
    for (path, methods) in description["paths"].as_object().expect("there are paths") {
        for (method, operation) in methods.as_object().expect("a path has methods") {
            let responses = operation["responses"].as_object().expect("it answers");
            let listed = responses.values().flat_map(codes_of);
            routes.push(Route {
                name: format!("{method} {path}"),
                operation: operation.clone(),
                codes: listed.collect(),
            });
        }
    }
    routes
}

/// The codes of a response; none of one that is no problem.
fn codes_of(response: &Value) -> Vec<String> {
    let codes = response["x-codes"].as_array().into_iter().flatten();
    let codes = codes.map(|code| code.as_str().expect("a code is a text").to_owned());
    codes.collect()
}

#[tokio::test]
async fn every_code_is_listed_where_it_can_be_answered_and_by_nobody_else() {
    let description = description().await;
    let routes = routes(&description);
    assert!(routes.len() > 15, "only {} routes", routes.len());
    let elsewhere = &description["components"]["responses"];
    for code in Code::ALL {
        let somewhere = elsewhere[code.as_str()].is_object()
            || routes
                .iter()
                .any(|route| route.codes.contains(code.as_str()));
        assert!(somewhere, "{}", code.as_str());
    }
    for route in &routes {
        route.assert_lists(&[Code::InternalError], true);
        route.assert_lists(TOKEN, route.operation["security"].is_array());
        route.assert_lists(LIMITS, !route.is_tagged("operation"));
        let body = &route.operation["requestBody"];
        route.assert_lists(BODY, body.is_object());
        if body.is_object() {
            // Stripe's events are taken as they come.
            route.assert_lists(TYPED_BODY, !route.is_tagged("webhooks"));
        }
        if route.has_parameter("path") {
            route.assert_lists(&[Code::NotFound], true);
        }
        // Whoever comes back from Stripe's page is led on, whatever her browser sends.
        if route.has_parameter("query") && !route.is_tagged("browser") {
            route.assert_lists(&[Code::ValidationFailed], true);
        }
    }
}

#[tokio::test]
async fn a_problem_is_described_by_its_status_its_codes_and_one_schema() {
    let description = description().await;
    let schemas = &description["components"]["schemas"];
    let all: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(schemas["ProblemCode"]["enum"], json!(all));
    let code = &schemas["Problem"]["properties"]["code"];
    assert!(
        code.to_string()
            .contains("#/components/schemas/ProblemCode"),
        "{code}"
    );
    for route in routes(&description) {
        let responses = route.operation["responses"]
            .as_object()
            .expect("it answers");
        for (status, response) in responses {
            let codes = codes_of(response);
            let is_problem = status.starts_with(['4', '5']);
            assert_eq!(!codes.is_empty(), is_problem, "{} {status}", route.name);
            for text in &codes {
                let code = Code::ALL.iter().find(|code| code.as_str() == text);
                let code = code.unwrap_or_else(|| panic!("{text} is no code"));
                assert_eq!(code.status().as_str(), status, "{text}");
                let told = response["description"].as_str().expect("a description");
                assert!(told.contains(&format!("- `{text}`: {}", code.title())));
            }
            let schema = &response["content"]["application/problem+json"]["schema"];
            let reference = json!({"$ref": "#/components/schemas/Problem"});
            assert_eq!(*schema == reference, is_problem, "{} {status}", route.name);
        }
    }
}
