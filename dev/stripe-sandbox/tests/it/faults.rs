//! Idempotency, and calls that go wrong on purpose.

use std::time::{Duration, Instant};

use serde_json::json;
use stripe_sandbox::Options;

use crate::bench::{Bench, text};

const KEY: (&str, &str) = ("idempotency-key", "key-1");

#[tokio::test]
async fn the_same_key_gives_the_same_answer_once() {
    let bench = Bench::unrecorded().await;
    let first = bench.post_with("/v1/customers", "name=A", &[KEY]).await;
    let again = bench.post_with("/v1/customers", "name=A", &[KEY]).await;
    assert_eq!(first.body, again.body);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_ne!(first.header("request-id"), again.header("request-id"));
    let other = bench.post_with("/v1/customers", "name=B", &[KEY]).await;
    assert_eq!(other.status, 400);
    assert_eq!(other.body["error"]["type"], "idempotency_error");
    assert_eq!(
        bench
            .look("objects/customer")
            .await
            .as_array()
            .unwrap()
            .len(),
        1
    );
    bench.advance_days(2).await;
    let later = bench.post_with("/v1/customers", "name=B", &[KEY]).await;
    assert_eq!(later.status, 200);
}

#[tokio::test]
async fn a_request_that_never_ran_frees_its_key() {
    let bench = Bench::unrecorded().await;
    assert_eq!(
        bench
            .post_with("/v1/customers", "colour=red", &[KEY])
            .await
            .status,
        400
    );
    assert_eq!(
        bench
            .post_with("/v1/customers", "name=A", &[KEY])
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_key_in_use_is_a_conflict() {
    let bench = Bench::start().await;
    bench
        .control(
            "faults",
            json!({"method": "POST", "path": "/v1/customers", "kind": "stall", "stall_ms": 300}),
        )
        .await;
    let slow = bench.post_with("/v1/customers", "name=A", &[KEY]);
    let quick = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.post_with("/v1/customers", "name=A", &[KEY]).await
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!(slow.status, 200);
    assert_eq!(quick.error(), (409, "idempotency_key_in_use", ""));
}

#[tokio::test]
async fn a_stored_500_is_replayed_and_another_is_not() {
    let bench = Bench::start().await;
    bench
        .control(
            "faults",
            json!({"path": "/v1/customers", "kind": "error_500"}),
        )
        .await;
    assert_eq!(
        bench
            .post_with("/v1/customers", "name=A", &[KEY])
            .await
            .status,
        500
    );
    let fresh = bench.post_with("/v1/customers", "name=A", &[KEY]).await;
    assert_eq!(
        (fresh.status, fresh.header("idempotent-replayed")),
        (200, "")
    );

    bench
        .control(
            "faults",
            json!({"path": "/v1/customers", "kind": "error_500_stored"}),
        )
        .await;
    let other = ("idempotency-key", "key-2");
    assert_eq!(
        bench
            .post_with("/v1/customers", "name=B", &[other])
            .await
            .status,
        500
    );
    let replayed = bench.post_with("/v1/customers", "name=B", &[other]).await;
    assert_eq!(
        (replayed.status, replayed.header("idempotent-replayed")),
        (500, "true")
    );
    assert_eq!(
        bench
            .look("objects/customer")
            .await
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn refusals_carry_their_headers() {
    let bench = Bench::start().await;
    let cases = [
        ("rate_limited", 429, "rate_limit", "", ""),
        (
            "rate_limited_with_reason",
            429,
            "rate_limit",
            "endpoint-rate",
            "true",
        ),
        ("lock_timeout", 429, "lock_timeout", "", "true"),
        ("should_not_retry_500", 500, "", "", "false"),
    ];
    for (kind, status, code, reason, retry) in cases {
        bench.control("faults", json!({"kind": kind})).await;
        let answer = bench.get("/v1/customers").await;
        assert_eq!(answer.error(), (status, code, ""), "{kind}");
        assert_eq!(
            answer.header("stripe-rate-limited-reason"),
            reason,
            "{kind}"
        );
        assert_eq!(answer.header("stripe-should-retry"), retry, "{kind}");
        assert_eq!(
            bench.get("/v1/customers").await.status,
            200,
            "{kind} hits once"
        );
    }
}

#[tokio::test]
async fn a_restricted_key_without_the_permission_is_told_which_one_it_lacks() {
    let bench = Bench::with(Options {
        secret_key: "rk_test_narrow".into(),
        journal: Some("/dev/null".into()),
        ..Options::default()
    })
    .await;
    let create = async |form: &'static str| {
        let request = bench
            .http
            .post(format!("{}/v1/customers", bench.url))
            .bearer_auth("rk_test_narrow")
            .header(KEY.0, KEY.1)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let answer = request.send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.json::<serde_json::Value>().await.unwrap(),
        )
    };
    let fault = json!({"kind": "forbidden", "method": "POST", "path": "/v1/customers", "times": 2});
    bench.control("faults", fault).await;
    for form in ["name=A", "colour=red"] {
        let (status, body) = create(form).await;
        assert_eq!(status, 403, "permission is judged before parameters");
        assert_eq!(body["error"]["type"], "invalid_request_error");
        assert!(text(&body["error"]["message"]).contains("rak_customer_write"));
    }
    assert_eq!(bench.look("objects/customer").await, json!([]));
    assert_eq!(
        create("name=A").await.0,
        200,
        "nothing was stored for the key"
    );
}

#[tokio::test]
async fn a_timeout_after_the_effect_leaves_the_effect() {
    let bench = Bench::start().await;
    bench
        .control(
            "faults",
            json!({"path": "/v1/customers", "kind": "timeout_after_effect", "stall_ms": 60_000}),
        )
        .await;
    let request = bench
        .request(reqwest::Method::POST, "/v1/customers")
        .header("idempotency-key", "key-1")
        .header("content-type", "application/x-www-form-urlencoded")
        .body("name=A")
        .timeout(Duration::from_millis(200));
    let started = Instant::now();
    assert!(request.send().await.expect_err("times out").is_timeout());
    assert!(started.elapsed() < Duration::from_secs(5));
    let again = bench.post_with("/v1/customers", "name=A", &[KEY]).await;
    assert_eq!(
        (again.status, again.header("idempotent-replayed")),
        (200, "true")
    );
    assert_eq!(
        bench
            .look("objects/customer")
            .await
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn connections_are_cut_before_or_after_the_effect() {
    let bench = Bench::start().await;
    for (kind, count) in [("disconnect", 0), ("disconnect_after_effect", 1)] {
        bench
            .control("faults", json!({"method": "POST", "kind": kind}))
            .await;
        let request = bench
            .request(reqwest::Method::POST, "/v1/customers")
            .header("content-type", "application/x-www-form-urlencoded")
            .body("name=A");
        assert!(request.send().await.is_err(), "{kind}");
        assert_eq!(
            bench
                .look("objects/customer")
                .await
                .as_array()
                .unwrap()
                .len(),
            count,
            "{kind}"
        );
    }
}

#[tokio::test]
async fn garbage_is_not_json_and_faults_can_be_cleared() {
    let bench = Bench::start().await;
    bench
        .control("faults", json!({"kind": "garbage", "times": 2}))
        .await;
    assert!(bench.get("/v1/customers").await.body.is_string());
    assert_eq!(bench.look("faults").await[0]["times"], 1);
    bench
        .http
        .delete(format!("{}/_sandbox/faults", bench.url))
        .send()
        .await
        .unwrap();
    assert!(bench.get("/v1/customers").await.body.is_object());
    // The journal knows the call, but not the answer that was broken on purpose.
    let records = bench.look("journal").await;
    let broken = records
        .as_array()
        .unwrap()
        .iter()
        .find(|record| record["response"].is_null())
        .unwrap();
    assert_eq!(text(&broken["path"]), "/v1/customers");
    assert!(broken["headers"].get("authorization").is_none());
}
