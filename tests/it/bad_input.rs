//! Bad input, each kind with its own answer; and that it leaves nothing behind.

use std::fmt::Write as _;

use aws_lc_rs::hmac;
use dues::clock::Clock;
use serde_json::{Value, json};

use crate::harness::{Answer, TestApp, WEBHOOK_SECRET};

/// Orders, as a member.
async fn order(app: &TestApp, body: Value) -> Answer {
    let alice = app.member("alice");
    app.post("/v1/subscriptions")
        .bearer(&alice)
        .json(body)
        .send()
        .await
}

async fn rows(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM subscriptions")
        .fetch_one(&app.pool)
        .await
        .expect("a count")
}

fn now() -> i64 {
    Clock::system().wall().unix_timestamp()
}

/// The header `Stripe-Signature`, as Stripe makes it.
fn signature(secret: &str, at: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{at}.{body}").as_bytes());
    let mut header = format!("t={at},v1=");
    for byte in tag.as_ref() {
        let _ = write!(header, "{byte:02x}");
    }
    header
}

/// An event about a subscription that nobody here knows.
fn event(livemode: bool) -> String {
    json!({
        "id": "evt_0000000000000001",
        "object": "event",
        "type": "customer.subscription.updated",
        "api_version": "2026-10-28.endive",
        "created": now(),
        "livemode": livemode,
        "data": {"object": {
            "id": "sub_0000000000000001",
            "object": "subscription",
            "status": "active",
            "customer": "cus_0000000000000001",
            "livemode": livemode,
            "metadata": {},
        }},
    })
    .to_string()
}

async fn deliver(app: &TestApp, signature: Option<&str>, body: &str) -> Answer {
    let call = app.post("/webhooks/stripe").body(body);
    match signature {
        Some(signature) => call.header("stripe-signature", signature).send().await,
        None => call.send().await,
    }
}

#[tokio::test]
async fn a_wrong_order_names_the_field_and_records_nothing() {
    let app = TestApp::start().await;
    let cases = [
        (json!({"plan": "no-such-plan"}), "plan", "unknown_plan"),
        (
            json!({"lines": [{"plan": "share"}, {"plan": "no-such-plan"}]}),
            "lines[1].plan",
            "unknown_plan",
        ),
        (
            json!({"lines": [{"plan": "share", "quantity": 0}]}),
            "lines[0].quantity",
            "out_of_range",
        ),
        (
            json!({"lines": [{"plan": "share", "quantity": 41}]}),
            "lines[0].quantity",
            "out_of_range",
        ),
        (
            json!({"lines": [{"plan": "share", "quantity": -1}]}),
            "lines[0].quantity",
            "invalid",
        ),
        (
            json!({"lines": [{"plan": "share", "quantity": 1.5}]}),
            "lines[0].quantity",
            "invalid",
        ),
        (
            json!({"plan": "share", "colour": "red"}),
            "colour",
            "unknown_field",
        ),
        (
            json!({"lines": [{"plan": "share", "colour": "red"}]}),
            "lines[0].colour",
            "unknown_field",
        ),
        (
            json!({"lines": [{"quantity": 1}]}),
            "lines[0].plan",
            "missing",
        ),
        (json!({"lines": []}), "lines", "out_of_range"),
        (
            json!({"lines": [{"plan": "donation", "amount": 5.5}]}),
            "lines[0].amount",
            "invalid",
        ),
        (
            json!({"lines": [{"plan": "donation", "amount": 1e30}]}),
            "lines[0].amount",
            "invalid",
        ),
        (
            json!({"lines": [{"plan": "donation", "amount": "500"}]}),
            "lines[0].amount",
            "invalid",
        ),
        (
            json!({"lines": [{"plan": "donation", "amount": i64::MAX}]}),
            "lines[0].amount",
            "out_of_range",
        ),
        (
            json!({"plan": "share", "currency": "euro"}),
            "currency",
            "unavailable_currency",
        ),
        (
            json!({"plan": "share", "currency": 978}),
            "currency",
            "invalid",
        ),
    ];
    for (body, field, code) in cases {
        order(&app, body)
            .await
            .assert_problem(422, "validation_failed")
            .assert_field(field, code);
    }
    assert_eq!(rows(&app).await, 0);
    let sessions = app.sandbox.stripe("/v1/checkout/sessions").await;
    assert_eq!(sessions["data"], json!([]), "Stripe was never asked");
}

#[tokio::test]
async fn a_body_that_is_no_order_is_refused_by_what_is_wrong_with_it() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let send = |content_type: &str, body: &str| {
        app.post("/v1/subscriptions")
            .bearer(&alice)
            .header("content-type", content_type)
            .body(body)
            .send()
    };
    let json = "application/json";
    send(json, "{\"plan\": ")
        .await
        .assert_problem(400, "malformed_json");
    send(json, "").await.assert_problem(400, "malformed_json");
    send("text/plain", "{\"plan\": \"share\"}")
        .await
        .assert_problem(415, "unsupported_media_type");
    let long = format!("{{\"plan\": \"{}\"}}", "x".repeat(300_000));
    send(json, &long)
        .await
        .assert_problem(413, "payload_too_large");
    assert_eq!(rows(&app).await, 0);
}

#[tokio::test]
async fn the_token_is_asked_for_before_the_body_is_looked_at() {
    let app = TestApp::start().await;
    app.post("/v1/subscriptions")
        .header("content-type", "application/json")
        .body("{")
        .send()
        .await
        .assert_problem(401, "unauthorized");
}

#[tokio::test]
async fn a_subscription_of_nobody_and_an_id_that_is_none_look_alike() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    for id in [
        "01890000-0000-7000-8000-000000000000",
        "7",
        "sub_123",
        "%00",
    ] {
        app.get(&format!("/v1/subscriptions/{id}"))
            .bearer(&alice)
            .send()
            .await
            .assert_problem(404, "not_found");
    }
}

#[tokio::test]
async fn a_wrong_filter_names_the_parameter() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=many", "limit"),
        ("kind=car", "kind"),
        ("status=PAID", "status"),
        ("cursor=nonsense", "cursor"),
        ("colour=red", "colour"),
    ] {
        let answer = app
            .get(&format!("/v1/subscriptions?{query}"))
            .bearer(&alice)
            .send()
            .await
            .assert_problem(422, "validation_failed");
        assert_eq!(answer.json()["errors"][0]["field"], field, "{query}");
    }
}

#[tokio::test]
async fn a_wrong_method_names_the_right_ones() {
    let app = TestApp::start().await;
    let answer = app
        .request(reqwest::Method::DELETE, "/v1/subscriptions")
        .send()
        .await
        .assert_problem(405, "method_not_allowed");
    let allowed = answer.header("allow");
    assert!(
        allowed.contains("GET") && allowed.contains("POST"),
        "{allowed}"
    );
}

#[tokio::test]
async fn with_stripe_down_or_slow_the_member_is_told_to_repeat_and_the_order_is_kept() {
    let cases = [
        ("disconnect", 502, "stripe_unavailable"),
        ("error_500", 502, "stripe_unavailable"),
        ("stall", 504, "stripe_timeout"),
    ];
    for (fault, status, code) in cases {
        let app = TestApp::with()
            .setting("DUES__STRIPE__TIMEOUT_MS", 300)
            .setting("DUES__STRIPE__TOTAL_TIMEOUT_MS", 700)
            // A repeat would meet the stalled one's key, still in use, and be told so: 409.
            .setting("DUES__STRIPE__MAX_RETRIES", 0)
            .start()
            .await;
        app.sandbox
            .post(
                "/_sandbox/faults",
                json!({"kind": fault, "method": "POST", "times": 20, "stall_ms": 5000}),
            )
            .await;
        let answer = order(&app, json!({"plan": "share"}))
            .await
            .assert_problem(status, code);
        assert!(!answer.header("retry-after").is_empty(), "{answer:#?}");
        assert_eq!(
            rows(&app).await,
            1,
            "the order is on record before Stripe is asked"
        );
    }
}

#[tokio::test]
async fn a_webhook_is_believed_only_when_stripe_signed_it_just_now() {
    let app = TestApp::start().await;
    let body = event(false);
    let other_body = event(true);
    let cases = [
        ("missing", None),
        ("empty", Some(String::new())),
        ("not a signature", Some("t=now,v1=abc".to_owned())),
        (
            "another secret",
            Some(signature("whsec_other", now(), &body)),
        ),
        (
            "another body",
            Some(signature(WEBHOOK_SECRET, now(), &other_body)),
        ),
        (
            "too old",
            Some(signature(WEBHOOK_SECRET, now() - 310, &body)),
        ),
        (
            "of a future time",
            Some(signature(WEBHOOK_SECRET, now() + 310, &body)),
        ),
    ];
    for (what, signature) in cases {
        let answer = deliver(&app, signature.as_deref(), &body).await;
        assert_eq!(answer.status, 400, "{what}");
        answer.assert_problem(400, "bad_signature");
    }
    let good = signature(WEBHOOK_SECRET, now() - 290, &body);
    deliver(&app, Some(&good), &body).await.assert_status(200);
}

#[tokio::test]
async fn an_event_of_the_other_mode_is_refused_and_a_foreign_one_accepted() {
    let app = TestApp::start().await;
    let signed = async |body: &str| {
        let signature = signature(WEBHOOK_SECRET, now(), body);
        deliver(&app, Some(&signature), body).await
    };
    signed(&event(true)).await.assert_problem(400, "wrong_mode");
    let foreign = signed(&event(false)).await.assert_status(200);
    assert_eq!(foreign.json()["outcome"], "foreign");
    signed("{\"object\": \"event\"")
        .await
        .assert_problem(400, "malformed_event");
    let events: i64 = sqlx::query_scalar("SELECT count(*) FROM webhook_events")
        .fetch_one(&app.pool)
        .await
        .expect("a count");
    assert_eq!(events, 0, "foreign events are not stored");
}

#[tokio::test]
async fn a_webhook_too_large_to_be_one_is_not_read() {
    let app = TestApp::start().await;
    let body = "x".repeat(300_000);
    let signature = signature(WEBHOOK_SECRET, now(), &body);
    deliver(&app, Some(&signature), &body)
        .await
        .assert_problem(413, "payload_too_large");
}
