//! Each row of the lifecycle's table for what is bought once, but for refunds and disputes.

use std::path::PathBuf;

use serde_json::json;

use crate::harness::TestApp;
use crate::harness::lifecycle::{BAD_ACCOUNT, DAY, GOOD_ACCOUNT, HOUR, MONTH, busy};
use crate::harness::purchase::GOOD_CARD;

#[tokio::test]
async fn what_is_paid_once_is_active_for_ever() {
    let app = TestApp::start().await;
    let purchase = app.sell("share", GOOD_CARD).await;
    let id = &purchase.subscription;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    app.advance(400 * DAY).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(app.money(id).await, ["payment"]);
    assert_eq!(
        app.payment_of(&purchase).await,
        only_reference(&app, id).await
    );
}

/// What a line's only transaction refers to.
async fn only_reference(app: &TestApp, id: &str) -> String {
    let rows = app.transactions(id).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    let (_, reference) = rows[0].split_once(' ').expect("a reference");
    reference.to_owned()
}

#[tokio::test]
async fn a_debit_is_pending_until_it_arrives() {
    let app = TestApp::start().await;
    let purchase = app.sell("credits-20", GOOD_ACCOUNT).await;
    let id = &purchase.subscription;
    app.assert_line(id, "PENDING_COMPLETION", "payment_processing", false)
        .await;
    assert!(app.transactions(id).await.is_empty());
    app.advance(4 * DAY).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(app.money(id).await, ["payment"]);
    assert_eq!(
        app.path(id).await[1..],
        ["PENDING_COMPLETION payment_processing", "ACTIVE paid"]
    );
}

#[tokio::test]
async fn a_debit_that_comes_back_ends_the_purchase_and_names_the_payment_that_failed() {
    let app = TestApp::start().await;
    let purchase = app.sell("credits-20", BAD_ACCOUNT).await;
    let id = &purchase.subscription;
    app.assert_line(id, "PENDING_COMPLETION", "payment_processing", false)
        .await;
    app.advance(4 * DAY).await;
    app.assert_line(id, "ENDED", "payment_failed", false).await;
    assert_eq!(app.money(id).await, ["payment_failed"]);
    assert_eq!(
        app.payment_of(&purchase).await,
        only_reference(&app, id).await
    );
    assert_eq!(
        app.path(id).await[1..],
        [
            "PENDING_COMPLETION payment_processing",
            "ENDED payment_failed"
        ]
    );
}

#[tokio::test]
async fn a_page_that_nobody_pays_expires() {
    let app = TestApp::start().await;
    let purchase = app.open(&app.member("alice"), "share").await;
    let id = &purchase.subscription;
    app.assert_line(id, "PENDING_ACTIVATION", "awaiting_payment", false)
        .await;
    app.advance(2 * HOUR - 60).await;
    app.assert_line(id, "PENDING_ACTIVATION", "awaiting_payment", false)
        .await;
    app.advance(120).await;
    app.assert_line(id, "ENDED", "checkout_expired", false)
        .await;
    assert!(app.transactions(id).await.is_empty());
}

/// A plans file in which the top-up lasts thirty days.
fn plans_with_a_term(test: &str) -> PathBuf {
    let name = format!("dues-plans-{}-{test}.toml", std::process::id());
    let path = std::env::temp_dir().join(name);
    let plans =
        "[[plan]]\ncode = \"pass\"\nkind = \"top_up\"\nprice = \"credits_20\"\nterm = \"P30D\"\n";
    std::fs::write(&path, plans).expect("a directory for temporary files");
    path
}

#[tokio::test]
async fn a_purchase_with_a_term_is_over_when_the_term_is() {
    let plans = plans_with_a_term("over");
    let app = TestApp::with()
        .setting("DUES__PLANS__FILE", plans.display())
        .setting("DUES__WORKER__INTERVAL_MS", 20)
        .start()
        .await;
    let id = &app.sell("pass", GOOD_CARD).await.subscription;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    app.advance(30 * DAY - HOUR).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    app.advance(2 * HOUR).await;
    app.until_status(id, "ENDED").await;
    app.assert_line(id, "ENDED", "term_over", false).await;
    let last = app.history(id).await.pop().expect("a change");
    assert_eq!(last, "ACTIVE>ENDED term_over sweep");
    std::fs::remove_file(plans).expect("it is still there");
}

#[tokio::test]
async fn a_term_counts_from_the_payment_and_its_end_needs_no_worker_to_be_felt() {
    let plans = plans_with_a_term("felt");
    let app = TestApp::with()
        .setting("DUES__PLANS__FILE", plans.display())
        .setting("DUES__WORKER__INTERVAL_MS", 600_000)
        .start()
        .await;
    let purchase = app.sell("pass", GOOD_ACCOUNT).await;
    let id = &purchase.subscription;
    app.advance(4 * DAY).await;
    app.advance(28 * DAY).await;
    // Ordered 32 days ago, paid 29 days ago.
    app.assert_line(id, "ACTIVE", "paid", true).await;
    app.advance(2 * DAY).await;
    let shown = app.subscription(&app.member("alice"), id).await;
    assert_eq!(shown["entitled"], false, "{shown}");
    std::fs::remove_file(plans).expect("it is still there");
}

#[tokio::test]
async fn a_renewal_is_no_payment_of_what_was_bought_once_beside_it() {
    let app = TestApp::start().await;
    let (_, lines) = app
        .sell_basket(&["membership-monthly", "share"], GOOD_CARD)
        .await;
    app.advance(MONTH).await;
    for line in &lines {
        app.assert_line(line, "ACTIVE", "paid", true).await;
    }
    assert_eq!(app.money(&lines[0]).await, ["payment", "payment"]);
    assert_eq!(app.money(&lines[1]).await, ["payment"]);
    app.change_at_stripe(&lines[0], &[("cancel_at_period_end", "true")])
        .await;
    app.advance(MONTH).await;
    app.assert_line(&lines[0], "ENDED", "ended", false).await;
    app.assert_line(&lines[1], "ACTIVE", "paid", true).await;
}

#[tokio::test]
async fn a_debit_for_a_basket_arrives_or_comes_back_for_all_its_lines() {
    let plans = ["share", "membership-monthly", "credits-20"];
    let app = busy().await;
    let (_, lines) = app.sell_basket(&plans, BAD_ACCOUNT).await;
    for line in &lines {
        app.assert_line(line, "PENDING_COMPLETION", "payment_processing", false)
            .await;
    }
    app.advance(4 * DAY).await;
    app.until_status(&lines[1], "ENDED").await;
    app.settle().await;
    app.assert_line(&lines[1], "ENDED", "ended", false).await;
    for once in [&lines[0], &lines[2]] {
        app.assert_line(once, "ENDED", "payment_failed", false)
            .await;
    }
    for line in &lines {
        assert_eq!(app.money(line).await, ["payment_failed"]);
    }

    let (_, lines) = app.sell_basket(&plans, GOOD_ACCOUNT).await;
    app.advance(4 * DAY).await;
    for line in &lines {
        app.assert_line(line, "ACTIVE", "paid", true).await;
        assert_eq!(app.money(line).await, ["payment"]);
    }
}

#[tokio::test]
async fn an_order_that_is_finished_is_told_as_pending_to_the_buyer_who_returns() {
    let app = TestApp::start().await;
    app.hold_deliveries().await;
    let purchase = app.open(&app.member("alice"), "credits-20").await;
    let path = format!("/_sandbox/checkout/{}/pay", purchase.session);
    let paid = app
        .sandbox
        .post(&path, json!({ "iban": GOOD_ACCOUNT }))
        .await;
    let page = app
        .browse(paid["redirect_url"].as_str().expect("a URL"))
        .await;
    let query: Vec<(String, String)> = page.query_pairs().into_owned().collect();
    for (name, value) in [("status", "PENDING_COMPLETION"), ("code", "processing")] {
        assert!(
            query.contains(&(name.to_owned(), value.to_owned())),
            "{page}"
        );
    }
    app.release_deliveries(json!({ "order": "reverse" })).await;
    app.settle().await;
    app.assert_line(
        &purchase.subscription,
        "PENDING_COMPLETION",
        "payment_processing",
        false,
    )
    .await;
}
