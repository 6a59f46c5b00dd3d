//! The main job: a member picks a plan, pays on Stripe's page, comes back, and it is hers.

use serde_json::json;

use crate::harness::TestApp;

#[tokio::test]
async fn a_membership_is_hers_when_she_returns_and_stays_so_when_stripe_tells() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    app.hold_deliveries().await;
    let purchase = app.open(&alice, "membership-annual").await;
    let pending = app.subscription(&alice, &purchase.subscription).await;
    assert_eq!(
        (&pending["status"], &pending["entitled"]),
        (&json!("PENDING_ACTIVATION"), &json!(false))
    );

    let page = app.browse(&app.pay(&purchase).await).await;
    assert_eq!(
        page.origin().ascii_serialization(),
        "https://app.example.org"
    );
    let query: Vec<(String, String)> = page.query_pairs().into_owned().collect();
    let expected = [
        ("from", "dues"),
        ("checkout_id", &purchase.checkout),
        ("subscription_ids", &purchase.subscription),
        ("status", "ACTIVE"),
        ("code", "paid"),
    ];
    assert_eq!(
        query,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );

    let active = app.subscription(&alice, &purchase.subscription).await;
    assert_eq!(
        (&active["status"], &active["entitled"]),
        (&json!("ACTIVE"), &json!(true))
    );
    assert!(
        active["activated_at"].is_string() && active["current_period_end"].is_string(),
        "{active}"
    );
    let before = app.row(&purchase.subscription).await;
    let money = app.transactions(&purchase.subscription).await;
    assert_eq!(money.len(), 1);

    app.release_deliveries(json!({ "order": "reverse", "duplicate": 1 }))
        .await;
    assert_eq!(app.row(&purchase.subscription).await.status, before.status);
    assert_eq!(app.transactions(&purchase.subscription).await, money);
    let history = app.history(&purchase.subscription).await;
    assert_eq!(
        history,
        [
            ">PENDING_ACTIVATION awaiting_payment member",
            "PENDING_ACTIVATION>ACTIVE paid return"
        ]
    );
}

#[tokio::test]
async fn a_membership_becomes_active_by_webhooks_alone() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let purchase = app.open(&alice, "membership-annual").await;
    app.pay(&purchase).await;
    app.deliveries_settle().await;
    let row = app.row(&purchase.subscription).await;
    assert_eq!(
        (row.status.as_str(), row.reason.as_str()),
        ("ACTIVE", "paid")
    );
    assert_eq!(app.transactions(&purchase.subscription).await.len(), 1);
    let entitlements = app
        .get("/v1/entitlements")
        .bearer(&alice)
        .send()
        .await
        .assert_status(200)
        .json();
    assert_eq!(entitlements["membership"]["entitled"], true);
    assert_eq!(
        entitlements["top_up"],
        json!({ "entitled": false, "until": null })
    );
}
