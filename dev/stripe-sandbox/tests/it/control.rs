//! The control API itself.

use serde_json::json;

use crate::bench::{Bench, text};

#[tokio::test]
async fn the_clock_goes_forwards_only() {
    let bench = Bench::start().await;
    let before = bench.look("clock").await;
    let after = bench
        .control("clock/advance", json!({"seconds": 100}))
        .await;
    assert!(after["now"].as_i64().unwrap() >= before["now"].as_i64().unwrap() + 100);
    assert_eq!(after["offset"], 100);
    for wrong in [
        json!({"seconds": -1}),
        json!({"to": 5}),
        json!({}),
        json!({"minutes": 1}),
        json!({"seconds": 1, "to": 2}),
    ] {
        assert_eq!(
            bench
                .control_answer("clock/advance", wrong.clone())
                .await
                .status,
            400,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn settings_keep_what_is_not_given() {
    let bench = Bench::start().await;
    let changed = bench
        .control("settings", json!({"final_failure": "unpaid"}))
        .await;
    assert_eq!(
        (
            &changed["final_failure"],
            changed["retry_hours"].as_array().unwrap().len()
        ),
        (&json!("unpaid"), 7)
    );
    assert_eq!(
        bench
            .control_answer("settings", json!({"final_failure": "explode"}))
            .await
            .status,
        400
    );
    assert_eq!(
        bench
            .control_answer("settings", json!({"unknown": 1}))
            .await
            .status,
        400
    );
    assert_eq!(bench.look("settings").await["final_failure"], "unpaid");
}

#[tokio::test]
async fn a_reset_leaves_the_catalogue() {
    let (bench, hook) = Bench::with_hook().await;
    let old = bench.price("annual").await;
    bench.customer().await;
    bench.control("reset", json!({})).await;
    assert_eq!(bench.look("objects/customer").await, json!([]));
    assert_eq!(bench.look("journal").await, json!([]));
    assert_ne!(bench.price("annual").await, old);
    hook.forget();
    bench.customer().await;
    bench.control("deliveries/settle", json!({})).await;
    assert_eq!(hook.types(), ["customer.created"]);
}

#[tokio::test]
async fn the_journal_records_calls_and_events() {
    let bench = Bench::start().await;
    bench.customer().await;
    let records = bench.look("journal").await;
    let (event, call) = (&records[0], &records[1]);
    assert_eq!(
        (&event["kind"], &event["body"]["type"]),
        (&json!("event"), &json!("customer.created"))
    );
    assert_eq!(
        (&call["kind"], &call["status"]),
        (&json!("request"), &json!(200))
    );
    assert_eq!(
        call["body"],
        "email=member@example.com&metadata[dues_user_id]=u1"
    );
    assert_eq!(call["headers"]["stripe-version"], "2026-10-28.endive");
    assert_eq!(call["response"]["object"], "customer");
    assert!(text(&call["request_id"]).starts_with("req_"));
    assert_eq!(event["body"]["request"]["id"], call["request_id"]);
}
