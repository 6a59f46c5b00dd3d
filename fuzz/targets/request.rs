//! A request's query and JSON body, read as the handlers read them: a value or a problem that names the field.
#![no_main]

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts};
use axum::http::Request;
use dues::http::edge::extract::{Json, Query};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read, not used")]
struct Listing {
    limit: Option<i64>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read, not used")]
struct Order {
    plan: Option<String>,
    lines: Option<Vec<Line>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read, not used")]
struct Line {
    plan: String,
    quantity: Option<u32>,
    amount: Option<i64>,
}

fuzz_target!(|input: (&str, &[u8])| {
    let (query, body) = input;
    let request = Request::builder()
        .uri(format!("/?{query}"))
        .header("Content-Type", "application/json")
        .body(Body::from(body.to_vec()));
    // What isn't a URI never reaches a handler.
    let Ok(request) = request else { return };
    RUNTIME.block_on(async {
        let (mut parts, body) = request.into_parts();
        if let Err(problem) = Query::<Listing>::from_request_parts(&mut parts, &()).await {
            assert!(problem.code().status().is_client_error());
        }
        let request = Request::from_parts(parts, body);
        if let Err(problem) = Json::<Order>::from_request(request, &()).await {
            assert!(problem.code().status().is_client_error());
        }
    });
});
