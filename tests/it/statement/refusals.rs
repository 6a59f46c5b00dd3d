//! When there is no statement, and when there is nothing in it.

use serde_json::json;

use crate::harness::TestApp;
use crate::harness::purchase::GOOD_CARD;

#[tokio::test]
async fn who_never_bought_anything_has_an_empty_statement_and_stripe_is_not_asked() {
    let app = TestApp::start().await;
    let calls = app.service_calls_but_events().await;
    let statement = app.statement("").await;
    assert_eq!(statement["entries"], json!([]));
    assert_eq!(statement["totals"], json!([]));
    assert_eq!(
        (
            &statement["shares"]["held"],
            &statement["shares"]["quantity"]
        ),
        (&json!([]), &json!(0))
    );
    assert!(app.statement_rows().await.is_empty());
    assert_eq!(app.service_calls_but_events().await, calls);
    app.get("/v1/statement")
        .send()
        .await
        .assert_problem(401, "unauthorized");
}

#[tokio::test]
async fn a_silly_question_is_told_what_is_silly_about_it() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let cases = [
        ("from=yesterday", "from", "not_a_date"),
        ("to=2026-02-30", "to", "not_a_date"),
        ("from=2026-01-01T00:00:00+01:00", "from", "not_a_date"),
        ("from=", "from", "not_a_date"),
        ("from=2020-02-01&to=2020-01-01", "from", "not_before_to"),
        (
            "from=2020-02-01T00:00:00Z&to=2020-02-01T00:00:00Z",
            "from",
            "not_before_to",
        ),
        ("from=2000-01-01&to=2011-01-01", "from", "range_too_long"),
        ("from=2999-01-01", "from", "in_the_future"),
        ("format=pdf", "format", "unknown_value"),
        ("since=2020-01-01", "since", "unknown_field"),
    ];
    for (query, field, code) in cases {
        let answer = app
            .get(&format!("/v1/statement?{query}"))
            .bearer(&alice)
            .send()
            .await;
        answer
            .assert_problem(422, "validation_failed")
            .assert_field(field, code);
    }
    let all = app
        .get("/v1/statement?from=x&to=y&format=z")
        .bearer(&alice)
        .send()
        .await;
    all.assert_problem(422, "validation_failed")
        .assert_field("from", "not_a_date")
        .assert_field("to", "not_a_date")
        .assert_field("format", "unknown_value");
}

#[tokio::test]
async fn a_stripe_that_fails_in_the_middle_gives_a_problem_and_never_half_a_statement() {
    let app = TestApp::with()
        .setting("DUES__STRIPE__MAX_RETRIES", 0)
        .setting("DUES__STRIPE__TIMEOUT_MS", 500)
        .start()
        .await;
    let alice = app.member("alice");
    let purchase = app.sell("share", GOOD_CARD).await;
    let intent = app.payment_of(&purchase).await;
    app.dispute(&intent, "fraudulent").await;
    let paths = [
        "/v1/charges",
        "/v1/invoices",
        "/v1/checkout/sessions",
        "/v1/disputes",
    ];
    let kinds = [
        ("should_not_retry_500", 502, "stripe_unavailable"),
        ("disconnect", 502, "stripe_unavailable"),
        ("garbage", 502, "stripe_unavailable"),
        ("stall", 504, "stripe_timeout"),
        ("forbidden", 502, "stripe_refused"),
    ];
    for path in paths {
        for (kind, status, code) in kinds {
            app.fault(json!({"kind": kind, "method": "GET", "path": path, "stall_ms": 1500}))
                .await;
            for format in ["json", "csv"] {
                let call = app
                    .get(&format!("/v1/statement?format={format}"))
                    .bearer(&alice);
                let answer = call.send().await;
                if format == "json" {
                    let answer = answer.assert_problem(status, code);
                    let detail = answer.json()["detail"].clone();
                    assert_eq!(detail, "Nothing was changed: repeat the request.");
                } else {
                    answer.assert_status(200);
                }
            }
        }
    }
}

#[tokio::test]
async fn the_description_of_the_api_tells_both_forms_and_what_can_go_wrong() {
    let app = TestApp::start().await;
    let description = app
        .get("/openapi.json")
        .send()
        .await
        .assert_status(200)
        .json();
    let operation = &description["paths"]["/v1/statement"]["get"];
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.clone())
            .collect()
    };
    assert_eq!(
        keys(&operation["responses"]["200"]["content"]),
        ["application/json", "text/csv"]
    );
    assert_eq!(
        keys(&operation["responses"]),
        ["200", "401", "422", "429", "500", "502", "503", "504"]
    );
    let names = operation["parameters"].as_array().into_iter().flatten();
    let names: Vec<_> = names.map(|parameter| parameter["name"].clone()).collect();
    assert_eq!(names, ["from", "to", "format"]);
    let schemas = &description["components"]["schemas"];
    let statement = keys(&schemas["Statement"]["properties"]);
    assert_eq!(statement, ["entries", "from", "shares", "to", "totals"]);
    let given = app.statement("").await;
    assert_eq!(keys(&given), statement);
    assert_eq!(
        keys(&given["shares"]),
        keys(&schemas["StatementShares"]["properties"])
    );
}
