//! Stripe slow, broken or gone while a member orders: nothing is lost, nothing is there twice.

use serde_json::{Value, json};

use crate::harness::purchase::Purchase;
use crate::harness::{Answer, TestApp};

const SESSIONS: &str = "/v1/checkout/sessions";

/// A service that gives Stripe two chances: short beside what a stall takes, long beside what a busy machine does.
async fn impatient() -> TestApp {
    TestApp::with()
        .setting("DUES__STRIPE__TIMEOUT_MS", 2_000)
        .setting("DUES__STRIPE__TOTAL_TIMEOUT_MS", 12_000)
        .setting("DUES__STRIPE__MAX_RETRIES", 1)
        .start()
        .await
}

/// Orders the annual membership, always with the same key.
async fn order(app: &TestApp) -> Answer {
    let alice = app.member("alice");
    app.order(&alice, json!({"plan": "membership-annual"}))
        .header("idempotency-key", "order-1")
        .send()
        .await
}

/// A checkout whose session was opened at Stripe although nobody here has heard of it.
async fn lost(app: &TestApp) -> Purchase {
    app.fault(json!({
        "kind": "disconnect_after_effect", "method": "POST", "path": SESSIONS, "times": 2,
    }))
    .await;
    order(app).await.assert_problem(502, "stripe_unavailable");
    let (checkout, subscription): (String, String) =
        sqlx::query_as("SELECT checkout_id::text, id::text FROM subscriptions")
            .fetch_one(&app.pool)
            .await
            .expect("one line");
    assert_eq!(app.session_of(&checkout).await, None);
    let sessions = app.sessions("open").await;
    assert_eq!(sessions.len(), 1);
    Purchase {
        checkout,
        subscription,
        session: sessions[0].clone(),
        url: String::new(),
    }
}

#[tokio::test]
async fn an_answer_that_is_late_cut_off_or_garbled_is_asked_for_again_and_counts_once() {
    let kinds = [
        "timeout_after_effect",
        "disconnect_after_effect",
        "disconnect",
        "garbage",
        "error_500",
        "rate_limited",
        "rate_limited_with_reason",
        "lock_timeout",
    ];
    let tries = kinds.map(|kind| tokio::spawn(try_again_after(kind)));
    for one in tries {
        one.await.expect("it counts once");
    }
}

async fn try_again_after(kind: &str) {
    let app = impatient().await;
    for path in ["/v1/customers", SESSIONS] {
        app.fault(json!({"kind": kind, "method": "POST", "path": path, "stall_ms": 2_200}))
            .await;
    }
    let opened = order(&app).await.assert_status(201).json();
    let purchase = app.purchase(&opened).await;
    assert_eq!(app.sessions("open").await, [purchase.session], "{kind}");
    let customers = app.sandbox.stripe("/v1/customers").await;
    let customers = customers["data"].as_array().map(Vec::len);
    assert_eq!(customers, Some(1), "{kind}");
    let calls = app.calls(&format!("POST {SESSIONS}")).await;
    let keys: Vec<&Value> = calls
        .iter()
        .map(|call| &call["headers"]["idempotency-key"])
        .collect();
    assert_eq!(keys, [&json!(purchase.checkout); 2], "{kind}");
    assert_eq!(calls[0]["body"], calls[1]["body"], "{kind}");
}

#[tokio::test]
async fn a_session_that_was_lost_on_the_way_is_found_by_the_members_repeat() {
    let app = impatient().await;
    let lost = lost(&app).await;
    let opened = order(&app).await.assert_status(201).json();
    assert_eq!(opened["checkout"]["id"], lost.checkout);
    assert!(opened["checkout"]["url"].is_string(), "{opened}");
    assert_eq!(
        app.session_of(&lost.checkout).await,
        Some(lost.session.clone())
    );
    assert_eq!(app.sessions("open").await, [lost.session.as_str()]);
    let page = app.browse(&app.pay(&lost).await).await;
    assert!(page.as_str().contains("status=ACTIVE"), "{page}");
}

#[tokio::test]
async fn a_session_that_was_lost_on_the_way_is_found_by_the_sweep() {
    let app = impatient().await;
    let lost = lost(&app).await;
    app.advance(61).await;
    app.until("the session is attached", async || {
        app.session_of(&lost.checkout).await
    })
    .await;
    assert_eq!(app.sessions("open").await, [lost.session.as_str()]);
    assert_eq!(
        app.row(&lost.subscription).await.status,
        "PENDING_ACTIVATION"
    );
    // And it is left alone from then on, however old it gets.
    app.advance(600).await;
    let opened = order(&app).await.assert_status(201).json();
    assert_eq!(opened["checkout"]["id"], lost.checkout);
}

#[tokio::test]
async fn a_lost_session_is_not_given_up_while_stripe_can_not_be_asked() {
    let app = impatient().await;
    let lost = lost(&app).await;
    app.fault(json!({"kind": "error_500", "method": "GET", "path": SESSIONS, "times": 1000}))
        .await;
    app.advance(301).await;
    app.until("the sweep has asked in vain", async || {
        (app.calls(&format!("GET {SESSIONS}")).await.len() >= 2).then_some(())
    })
    .await;
    assert_eq!(
        app.row(&lost.subscription).await.status,
        "PENDING_ACTIVATION"
    );
    app.no_more_faults().await;
    app.advance(61).await;
    app.until("the session is attached", async || {
        app.session_of(&lost.checkout).await
    })
    .await;
    assert_eq!(
        app.row(&lost.subscription).await.status,
        "PENDING_ACTIVATION"
    );
}

#[tokio::test]
async fn a_lost_session_that_is_paid_is_found_by_its_webhooks() {
    let app = impatient().await;
    let lost = lost(&app).await;
    app.pay(&lost).await;
    app.settle().await;
    assert_eq!(app.row(&lost.subscription).await.status, "ACTIVE");
    assert_eq!(app.session_of(&lost.checkout).await, Some(lost.session));
    assert_eq!(app.transactions(&lost.subscription).await.len(), 1);
    let repeat = order(&app).await.assert_status(201).json();
    assert_eq!(repeat["checkout"]["url"], Value::Null);
}

#[tokio::test]
async fn an_order_of_which_stripe_knows_nothing_ends_after_five_minutes_and_frees_its_key() {
    let app = impatient().await;
    app.fault(json!({"kind": "error_500", "method": "POST", "path": SESSIONS, "times": 2}))
        .await;
    order(&app).await.assert_problem(502, "stripe_unavailable");
    let early = order(&app).await.assert_problem(409, "in_progress");
    assert_ne!(early.header("retry-after"), "");
    let (id,): (String,) = sqlx::query_as("SELECT id::text FROM subscriptions")
        .fetch_one(&app.pool)
        .await
        .expect("one line");

    app.advance(301).await;
    let row = app.until_status(&id, "ENDED").await;
    assert_eq!(row.reason, "stripe_error");
    assert_eq!(
        app.history(&id).await.last().expect("a change"),
        "PENDING_ACTIVATION>ENDED stripe_error sweep"
    );
    assert_eq!(app.sessions("open").await, Vec::<String>::new());
    let opened = order(&app).await.assert_status(201).json();
    assert_ne!(opened["subscriptions"][0]["id"], id);
    assert_eq!(app.sessions("open").await.len(), 1);
}

#[tokio::test]
async fn a_failure_that_stripe_stores_ends_the_order_at_once_and_a_repeat_opens_another() {
    let app = impatient().await;
    app.fault(json!({"kind": "error_500_stored", "method": "POST", "path": SESSIONS}))
        .await;
    order(&app).await.assert_problem(502, "stripe_unavailable");
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT status, status_reason FROM subscriptions")
            .fetch_all(&app.pool)
            .await
            .expect("the rows");
    assert_eq!(rows, [("ENDED".to_owned(), "stripe_error".to_owned())]);
    order(&app).await.assert_status(201);
    assert_eq!(app.count("checkouts").await, 2);
    assert_eq!(app.sessions("open").await.len(), 1);
}

#[tokio::test]
async fn a_stored_failure_that_hides_a_session_gives_the_session() {
    let app = impatient().await;
    app.fault(json!({"kind": "error_500_after_effect", "method": "POST", "path": SESSIONS}))
        .await;
    let opened = order(&app).await.assert_status(201).json();
    let purchase = app.purchase(&opened).await;
    assert_eq!(app.sessions("open").await, [purchase.session.as_str()]);
    app.pay(&purchase).await;
    app.settle().await;
    assert_eq!(app.row(&purchase.subscription).await.status, "ACTIVE");
}

#[tokio::test]
async fn a_customer_whose_creation_failed_for_good_is_created_under_another_key() {
    for kind in ["error_500_stored", "error_500_after_effect"] {
        let app = impatient().await;
        app.fault(json!({"kind": kind, "method": "POST", "path": "/v1/customers"}))
            .await;
        order(&app).await.assert_status(201);
        let (generation, customer): (i32, Option<String>) =
            sqlx::query_as("SELECT generation, stripe_customer_id FROM customers")
                .fetch_one(&app.pool)
                .await
                .expect("one customer");
        assert_eq!(generation, 2, "{kind}");
        assert!(customer.is_some(), "{kind}");
    }
}

#[tokio::test]
async fn a_session_that_opens_after_its_order_was_given_up_can_not_be_paid() {
    let app = TestApp::with()
        .setting("DUES__WORKER__INTERVAL_MS", 20)
        .start()
        .await;
    app.fault(json!({"kind": "stall", "method": "POST", "path": SESSIONS, "stall_ms": 1_000}))
        .await;
    let alice = app.member("alice");
    let waiting = tokio::spawn(
        app.order(&alice, json!({"plan": "membership-annual"}))
            .send(),
    );
    let id = app
        .until("the order is recorded", async || {
            sqlx::query_scalar::<_, String>("SELECT id::text FROM subscriptions")
                .fetch_optional(&app.pool)
                .await
                .expect("an answer")
        })
        .await;
    app.until("Stripe is asked for the session", async || {
        (app.sandbox.get("/_sandbox/faults").await == json!([])).then_some(())
    })
    .await;
    app.advance(301).await;
    app.until_status(&id, "ENDED").await;
    waiting
        .await
        .expect("it ends")
        .assert_problem(409, "in_progress");
    app.settle().await;
    assert_eq!(app.sessions("open").await, Vec::<String>::new());
    assert_eq!(app.row(&id).await.status, "ENDED");
}

#[tokio::test]
async fn plans_are_sold_at_the_last_known_price_while_stripe_is_away() {
    let app = TestApp::start().await;
    app.fault(json!({"kind": "disconnect", "times": 1000}))
        .await;
    let plans = app.get("/v1/plans").send().await.assert_status(200).json();
    assert_eq!(plans["data"].as_array().map(Vec::len), Some(6), "{plans}");
}
