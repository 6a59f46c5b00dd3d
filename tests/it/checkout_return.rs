//! The buyer's browser comes back, or somebody's does.

use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use crate::harness::TestApp;
use crate::harness::purchase::{DECLINED_CARD, Purchase, at_once};

const SUCCESS: &str = "https://app.example.org/thanks?from=dues";
const CANCEL: &str = "https://app.example.org/cancelled?";
const ERROR: &str = "https://app.example.org/problem?";

fn success_url(app: &TestApp, session: &str) -> String {
    format!(
        "http://{}/checkout/success?session_id={session}",
        app.address
    )
}

/// Where Stripe's page lets the buyer go back to.
async fn cancel_url(app: &TestApp, purchase: &Purchase) -> String {
    let path = format!("/v1/checkout/sessions/{}", purchase.session);
    let session = app.sandbox.stripe(&path).await;
    session["cancel_url"].as_str().expect("a URL").to_owned()
}

#[track_caller]
fn assert_page(page: &Url, start: &str, query: &[(&str, &str)]) {
    assert!(page.as_str().starts_with(start), "{page}");
    for (name, value) in query {
        let found = page.query_pairs().find(|(key, _)| key == name);
        let found = found.map(|(_, value)| value.into_owned());
        assert_eq!(found.as_deref(), Some(*value), "{name} in {page}");
    }
}

/// How often Stripe was asked about a session.
async fn reads(app: &TestApp) -> usize {
    app.calls("GET /v1/checkout/sessions/cs").await.len()
}

#[tokio::test]
async fn an_unknown_session_gets_the_error_page_and_stripe_is_not_asked() {
    let app = TestApp::start().await;
    for query in [
        "",
        "?session_id=",
        "?session_id=cs_test_unknown",
        "?session_id={CHECKOUT_SESSION_ID}",
        "?session_id=%00",
        "?session_id=a&session_id=b",
        "?session_id=%ff",
        "?other=1",
    ] {
        let url = format!("http://{}/checkout/success{query}", app.address);
        let page = app.browse(&url).await;
        assert_page(&page, ERROR, &[("code", "unknown_session")]);
        assert_eq!(page.query_pairs().count(), 1, "{page}");
    }
    assert_eq!(reads(&app).await, 0);
}

#[tokio::test]
async fn another_deployments_session_at_the_same_stripe_is_unknown() {
    let app = TestApp::start().await;
    let foreign = app
        .at_stripe(
            Method::POST,
            "/v1/checkout/sessions",
            &[
                ("mode", "payment"),
                ("success_url", "https://elsewhere.example/ok"),
                ("line_items[0][price_data][currency]", "eur"),
                ("line_items[0][price_data][unit_amount]", "500"),
                ("line_items[0][price_data][product_data][name]", "Mug"),
                ("line_items[0][quantity]", "1"),
            ],
        )
        .await;
    let session = foreign["id"].as_str().expect("an id");
    app.sandbox
        .post(&format!("/_sandbox/checkout/{session}/pay"), json!({}))
        .await;
    app.settle().await;
    let page = app.browse(&success_url(&app, session)).await;
    assert_page(&page, ERROR, &[("code", "unknown_session")]);
    assert_eq!(reads(&app).await, 0);
    assert_eq!(app.count("webhook_events").await, 0);
}

#[tokio::test]
async fn who_comes_back_without_having_paid_is_sent_to_the_cancel_page_and_may_still_pay() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let purchase = app.open(&alice, "membership-annual").await;
    let page = app.browse(&success_url(&app, &purchase.session)).await;
    assert_page(
        &page,
        CANCEL,
        &[
            ("checkout_id", &purchase.checkout),
            ("subscription_ids", &purchase.subscription),
            ("status", "PENDING_ACTIVATION"),
            ("code", "open"),
        ],
    );
    assert_eq!(app.history(&purchase.subscription).await.len(), 1);
    let page = app.browse(&app.pay(&purchase).await).await;
    assert_page(&page, SUCCESS, &[("status", "ACTIVE"), ("code", "paid")]);
}

#[tokio::test]
async fn an_expired_session_is_sent_to_the_cancel_page() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    // Nobody tells us: the return finds it out.
    app.hold_deliveries().await;
    let purchase = app.open(&alice, "share").await;
    app.at_stripe(
        Method::POST,
        &format!("/v1/checkout/sessions/{}/expire", purchase.session),
        &[],
    )
    .await;
    let page = app.browse(&success_url(&app, &purchase.session)).await;
    assert_page(&page, CANCEL, &[("status", "ENDED"), ("code", "expired")]);
    assert_eq!(
        app.history(&purchase.subscription).await[1..],
        ["PENDING_ACTIVATION>ENDED checkout_expired return"]
    );
    app.release_deliveries(json!({})).await;
    assert_eq!(app.history(&purchase.subscription).await.len(), 2);
}

#[tokio::test]
async fn a_settled_purchase_is_answered_without_asking_stripe() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let purchase = app.buy_with(&alice, "share", "4242424242424242").await;
    let before = reads(&app).await;
    app.fault(json!({"kind": "disconnect", "times": 100})).await;
    for _ in 0..3 {
        let page = app.browse(&success_url(&app, &purchase.session)).await;
        assert_page(&page, SUCCESS, &[("status", "ACTIVE"), ("code", "paid")]);
    }
    assert_eq!(reads(&app).await, before);
}

#[tokio::test]
async fn who_has_paid_never_sees_an_error_because_stripe_is_away() {
    for kind in ["disconnect", "error_500", "garbage"] {
        let app = TestApp::with()
            .setting("DUES__STRIPE__MAX_RETRIES", 0)
            .start()
            .await;
        let alice = app.member("alice");
        app.hold_deliveries().await;
        let purchase = app.open(&alice, "membership-annual").await;
        let url = app.pay(&purchase).await;
        app.fault(json!({"kind": kind, "times": 100})).await;
        let page = app.browse(&url).await;
        assert_page(
            &page,
            SUCCESS,
            &[("status", "PENDING_ACTIVATION"), ("code", "unverified")],
        );
        app.no_more_faults().await;
        app.release_deliveries(json!({})).await;
        app.settle().await;
        assert_eq!(app.row(&purchase.subscription).await.status, "ACTIVE");
        let page = app.browse(&url).await;
        assert_page(&page, SUCCESS, &[("status", "ACTIVE"), ("code", "paid")]);
    }
}

#[tokio::test]
async fn a_session_whose_metadata_names_somebody_elses_line_is_not_believed() {
    let app = TestApp::start().await;
    app.hold_deliveries().await;
    let hers = app.open(&app.member("alice"), "share").await;
    let his = app.open(&app.member("bob"), "share").await;
    let nobodys = "01890000-0000-7000-8000-000000000000";
    for named in [
        his.subscription.clone(),
        format!("{},{}", hers.subscription, his.subscription),
        nobodys.to_owned(),
    ] {
        app.at_stripe(
            Method::POST,
            &format!("/v1/checkout/sessions/{}", hers.session),
            &[("metadata[dues_subscription_id]", &named)],
        )
        .await;
        let page = app.browse(&success_url(&app, &hers.session)).await;
        assert_page(&page, ERROR, &[("code", "session_mismatch")]);
        assert_eq!(page.query_pairs().count(), 1, "{page}");
    }
    let url = app.pay(&hers).await;
    let page = app.browse(&url).await;
    assert_page(&page, ERROR, &[("code", "session_mismatch")]);
    for purchase in [&hers, &his] {
        assert_eq!(app.row(&purchase.subscription).await.version, 2);
        assert_eq!(
            app.row(&purchase.subscription).await.status,
            "PENDING_ACTIVATION"
        );
        assert!(app.transactions(&purchase.subscription).await.is_empty());
    }
}

#[tokio::test]
async fn a_cancel_link_closes_the_page_at_stripe_and_ends_the_purchase() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let body = json!({"lines": [{"plan": "membership-annual"}, {"plan": "share"}]});
    let purchase = app.open_basket(&alice, body).await;
    let link = cancel_url(&app, &purchase).await;
    let page = app.browse(&link).await;
    assert_page(&page, CANCEL, &[("status", "ENDED"), ("code", "cancelled")]);
    assert_eq!(app.sessions("expired").await, [purchase.session.as_str()]);
    app.settle().await;
    let lines: Vec<(String, String)> =
        sqlx::query_as("SELECT status, status_reason FROM subscriptions ORDER BY position")
            .fetch_all(&app.pool)
            .await
            .expect("the lines");
    let ended = ("ENDED".to_owned(), "checkout_cancelled".to_owned());
    assert_eq!(lines, [ended.clone(), ended]);
    assert_eq!(app.history(&purchase.subscription).await.len(), 2);
    // Once more, and with Stripe away: nothing is left to be asked.
    app.fault(json!({"kind": "disconnect", "times": 100})).await;
    let page = app.browse(&link).await;
    assert_page(&page, CANCEL, &[("code", "cancelled")]);
    app.no_more_faults().await;
    app.open(&alice, "membership-annual").await;
}

#[tokio::test]
async fn the_expiry_is_put_down_to_the_member_even_if_stripes_event_is_faster_than_the_answer() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let purchase = app.open(&alice, "share").await;
    let link = cancel_url(&app, &purchase).await;
    app.fault(json!({
        "kind": "timeout_after_effect", "path": "/v1/checkout/sessions/*/expire", "stall_ms": 500,
    }))
    .await;
    let page = app.browse(&link).await;
    assert_page(&page, CANCEL, &[("status", "ENDED"), ("code", "cancelled")]);
    assert_eq!(
        app.history(&purchase.subscription).await[1..],
        ["PENDING_ACTIVATION>ENDED checkout_cancelled webhook"]
    );
}

#[tokio::test]
async fn a_cancel_link_with_a_wrong_token_changes_nothing() {
    let app = TestApp::start().await;
    let hers = app.open(&app.member("alice"), "share").await;
    let his = app.open(&app.member("bob"), "share").await;
    let stranger = cancel_url(&app, &his).await;
    let token = stranger.split("token=").nth(1).expect("a token");
    let id = &hers.checkout;
    for query in [
        String::new(),
        format!("?checkout={id}"),
        format!("?checkout={id}&token="),
        format!("?checkout={id}&token={token}"),
        format!("?checkout={id}&token={token}&token={token}"),
        format!("?token={token}"),
        format!("?checkout=01890000-0000-7000-8000-000000000000&token={token}"),
        format!("?checkout=nonsense&token={token}"),
    ] {
        let url = format!("http://{}/checkout/cancel{query}", app.address);
        let page = app.browse(&url).await;
        assert_page(&page, ERROR, &[("code", "invalid_link")]);
        assert_eq!(page.query_pairs().count(), 1, "{page}");
    }
    assert_eq!(app.sessions("open").await.len(), 2);
    assert_eq!(app.row(&hers.subscription).await.version, 2);
    assert!(app.calls("POST /v1/checkout/sessions/").await.is_empty());
}

#[tokio::test]
async fn a_cancel_link_after_the_payment_shows_the_success_page_and_takes_nothing_away() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    // She has two tabs, and the webhooks are late.
    app.hold_deliveries().await;
    let purchase = app.open(&alice, "membership-annual").await;
    let link = cancel_url(&app, &purchase).await;
    app.pay(&purchase).await;
    let page = app.browse(&link).await;
    assert_page(&page, SUCCESS, &[("status", "ACTIVE"), ("code", "paid")]);
    app.release_deliveries(json!({})).await;
    app.settle().await;
    let row = app.row(&purchase.subscription).await;
    assert_eq!(
        (row.status.as_str(), row.reason.as_str()),
        ("ACTIVE", "paid")
    );
    assert_eq!(app.transactions(&purchase.subscription).await.len(), 1);
}

#[tokio::test]
async fn a_cancel_link_with_stripe_away_leaves_the_page_open() {
    let app = TestApp::with()
        .setting("DUES__STRIPE__MAX_RETRIES", 0)
        .start()
        .await;
    let alice = app.member("alice");
    let purchase = app.open(&alice, "share").await;
    let link = cancel_url(&app, &purchase).await;
    app.fault(json!({"kind": "disconnect", "times": 100})).await;
    let page = app.browse(&link).await;
    assert_page(
        &page,
        CANCEL,
        &[("status", "PENDING_ACTIVATION"), ("code", "open")],
    );
    app.no_more_faults().await;
    assert_eq!(app.sessions("open").await, [purchase.session.as_str()]);
    // She changes her mind: it can still be paid.
    let page = app.browse(&app.pay(&purchase).await).await;
    assert_page(&page, SUCCESS, &[("status", "ACTIVE")]);
}

#[tokio::test]
async fn a_declined_card_leaves_the_page_open_and_the_next_one_pays() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    for plan in ["membership-annual", "share"] {
        let purchase = app.open(&alice, plan).await;
        let path = format!("/_sandbox/checkout/{}/pay", purchase.session);
        let declined = app
            .sandbox
            .request(Method::POST, &path)
            .json(json!({"card": DECLINED_CARD}))
            .send()
            .await
            .assert_status(402)
            .json();
        assert_eq!(declined["error"]["code"], "card_declined");
        app.settle().await;
        assert_eq!(
            app.row(&purchase.subscription).await.status,
            "PENDING_ACTIVATION"
        );
        let page = app.browse(&success_url(&app, &purchase.session)).await;
        assert_page(&page, CANCEL, &[("code", "open")]);
        let page = app.browse(&app.pay(&purchase).await).await;
        assert_page(&page, SUCCESS, &[("status", "ACTIVE"), ("code", "paid")]);
        app.settle().await;
        let money = app.transactions(&purchase.subscription).await;
        assert_eq!(money.len(), 1, "{money:?}");
    }
}

#[tokio::test]
async fn twenty_returns_and_all_webhooks_at_the_same_moment_activate_once() {
    for plan in ["membership-annual", "share"] {
        let app = TestApp::start().await;
        let alice = app.member("alice");
        let purchase = app.open(&alice, plan).await;
        app.hold_deliveries().await;
        app.pay(&purchase).await;
        let path = format!("/checkout/success?session_id={}", purchase.session);
        app.sandbox
            .post(
                "/_sandbox/deliveries/release",
                json!({"order": null, "duplicate": 3}),
            )
            .await;
        let pages = at_once((0..20).map(|_| app.get(&path))).await;
        for page in pages {
            let page = page.assert_status(303);
            let to = page.header("location");
            assert!(to.starts_with(SUCCESS), "{to}");
        }
        app.settle().await;
        assert_eq!(app.row(&purchase.subscription).await.status, "ACTIVE");
        let history = app.history(&purchase.subscription).await;
        let activated = history.iter().filter(|change| change.contains(">ACTIVE"));
        assert_eq!(activated.count(), 1, "{history:?}");
        let money = app.transactions(&purchase.subscription).await;
        assert_eq!(money.len(), 1, "{money:?}");
    }
}

#[tokio::test]
async fn a_page_with_a_query_of_its_own_keeps_it_and_is_never_somebody_elses() {
    let app = TestApp::with()
        .setting(
            "DUES__CLIENT__CANCEL_URL",
            "https://app.example.org/c?a=1&b=%20x#part",
        )
        .start()
        .await;
    let alice = app.member("alice");
    let purchase = app.open(&alice, "share").await;
    let url = format!(
        "{}&next=https://evil.example",
        success_url(&app, &purchase.session)
    );
    let page = app.browse(&url).await;
    assert_eq!(page.host_str(), Some("app.example.org"));
    assert_eq!(page.fragment(), Some("part"));
    assert_page(
        &page,
        "https://app.example.org/c?a=1&b=%20x&checkout_id=",
        &[("b", " x")],
    );
    assert!(!page.as_str().contains("evil"), "{page}");
    let line: Value = app.subscription(&alice, &purchase.subscription).await;
    assert_eq!(line["status"], "PENDING_ACTIVATION");
}
