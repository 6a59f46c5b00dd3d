//! A bank claims money back: always read from Stripe, never taken from the event.

use dues::domain::lifecycle::PART_DISPUTED;
use serde_json::json;

use crate::harness::TestApp;
use crate::harness::lifecycle::{DAY, MONTH, forgetful, text};
use crate::harness::purchase::GOOD_CARD;

const MONTHLY: &str = "membership-monthly";

/// The states of a line's disputes, oldest first.
async fn disputes(app: &TestApp, id: &str) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT state FROM transactions WHERE subscription_id = $1::uuid AND kind = 'dispute'
          ORDER BY occurred_at, id",
    )
    .bind(id)
    .fetch_all(&app.pool)
    .await
    .expect("the transactions are there")
}

#[tokio::test]
async fn a_dispute_holds_a_purchase_until_it_is_won() {
    for plan in ["share", MONTHLY] {
        let app = TestApp::start().await;
        let purchase = app.sell(plan, GOOD_CARD).await;
        let id = &purchase.subscription;
        let dispute = app
            .dispute(&app.payment_of(&purchase).await, "fraudulent")
            .await;
        app.assert_line(id, "ON_HOLD", "disputed", false).await;
        assert_eq!(disputes(&app, id).await, ["open"]);
        // Evidence is sent: it stays as it is.
        let evidence = [("evidence[product_description]", "A year as a member.")];
        let path = format!("/v1/disputes/{dispute}");
        app.at_stripe(reqwest::Method::POST, &path, &evidence).await;
        app.settle().await;
        app.assert_line(id, "ON_HOLD", "disputed", false).await;
        app.close_dispute(&dispute, "won").await;
        app.assert_line(id, "ACTIVE", "paid", true).await;
        assert_eq!(disputes(&app, id).await, ["won"]);
        assert_eq!(app.money(id).await, ["payment", "dispute"]);
        assert_eq!(
            app.path_since_active(id).await,
            ["ON_HOLD disputed", "ACTIVE paid"]
        );
    }
}

#[tokio::test]
async fn a_claim_on_a_part_of_the_price_of_several_shares_ends_none() {
    let app = TestApp::start().await;
    let four = json!({"lines": [{"plan": "share", "quantity": 4}]});
    let purchase = app.open_basket(&app.member("alice"), four).await;
    app.pay(&purchase).await;
    app.settle().await;
    let id = &purchase.subscription;
    let payment = app.payment_of(&purchase).await;
    let body = json!({"payment_intent": payment, "amount": 2500});
    let dispute = app.sandbox.post("/_sandbox/disputes", body).await;
    app.settle().await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    app.close_dispute(dispute["id"].as_str().expect("an id"), "lost")
        .await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    let flags = app.flags().await;
    assert!(!flags.is_empty());
    assert!(flags.iter().all(|flag| flag == PART_DISPUTED), "{flags:?}");
}

#[tokio::test]
async fn an_appeal_against_a_loss_changes_nothing_until_it_is_won() {
    let app = TestApp::start().await;
    let purchase = app.sell("share", GOOD_CARD).await;
    let id = &purchase.subscription;
    let dispute = app
        .dispute(&app.payment_of(&purchase).await, "fraudulent")
        .await;
    app.close_dispute(&dispute, "lost").await;
    app.close_dispute(&dispute, "appeal_under_review").await;
    app.forge(json!({"type": "charge.dispute.closed", "object": dispute}))
        .await;
    app.assert_line(id, "ENDED", "dispute_lost", false).await;
    app.close_dispute(&dispute, "won").await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(disputes(&app, id).await, ["won"]);
}

#[tokio::test]
async fn a_lost_dispute_ends_what_was_bought_once() {
    let app = TestApp::start().await;
    let purchase = app.sell("share", GOOD_CARD).await;
    let id = &purchase.subscription;
    let dispute = app
        .dispute(&app.payment_of(&purchase).await, "fraudulent")
        .await;
    app.close_dispute(&dispute, "lost").await;
    app.assert_line(id, "ENDED", "dispute_lost", false).await;
    assert_eq!(disputes(&app, id).await, ["lost"]);
}

#[tokio::test]
async fn a_lost_dispute_holds_a_membership_until_the_next_payment() {
    let app = TestApp::start().await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    let dispute = app
        .dispute(&app.payment_of(&purchase).await, "fraudulent")
        .await;
    app.advance(DAY).await;
    app.close_dispute(&dispute, "lost").await;
    app.assert_line(id, "ON_HOLD", "dispute_lost", false).await;
    app.advance(MONTH).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(
        app.path_since_active(id).await,
        ["ON_HOLD disputed", "ACTIVE paid"]
    );
}

#[tokio::test]
async fn a_dispute_that_was_lost_before_we_heard_of_it_is_dated_by_its_end_not_by_its_beginning() {
    let app = TestApp::start().await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    app.hold_deliveries().await;
    let intent = app.payment_of(&purchase).await;
    let body = json!({ "payment_intent": intent, "reason": "fraudulent" });
    let dispute = app.sandbox.post("/_sandbox/disputes", body).await;
    // The renewal is paid while the bank thinks, and then the dispute is lost.
    app.move_clocks(MONTH).await;
    let path = format!("/_sandbox/disputes/{}/close", text(&dispute["id"]));
    app.sandbox.post(&path, json!({ "status": "lost" })).await;
    app.move_clocks(DAY).await;
    app.release_deliveries(json!({ "order": "as_is" })).await;
    app.settle().await;
    app.assert_line(id, "ON_HOLD", "dispute_lost", false).await;
    app.advance(MONTH).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
}

#[tokio::test]
async fn an_inquiry_changes_nothing() {
    for plan in ["share", MONTHLY] {
        let app = TestApp::start().await;
        let purchase = app.sell(plan, GOOD_CARD).await;
        let id = &purchase.subscription;
        let inquiry = app
            .dispute(&app.payment_of(&purchase).await, "inquiry")
            .await;
        app.assert_line(id, "ACTIVE", "paid", true).await;
        app.close_dispute(&inquiry, "warning_closed").await;
        app.assert_line(id, "ACTIVE", "paid", true).await;
        assert_eq!(app.money(id).await, ["payment"]);
        assert!(app.path_since_active(id).await.is_empty());
    }
}

#[tokio::test]
async fn a_dispute_about_an_older_payment_holds_no_membership() {
    let app = TestApp::start().await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    let first = app.payment_of(&purchase).await;
    app.advance(MONTH).await;
    let dispute = app.dispute(&first, "fraudulent").await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(disputes(&app, id).await, ["open"]);
    app.close_dispute(&dispute, "won").await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert!(app.path_since_active(id).await.is_empty());
}

#[tokio::test]
async fn a_renewal_frees_a_membership_whose_last_payment_is_disputed() {
    let app = TestApp::start().await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    app.dispute(&app.payment_of(&purchase).await, "fraudulent")
        .await;
    app.assert_line(id, "ON_HOLD", "disputed", false).await;
    app.advance(MONTH).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
}

#[tokio::test]
async fn a_dispute_about_a_renewal_holds_the_membership_and_not_what_was_bought_beside_it() {
    let app = TestApp::start().await;
    let (_, lines) = app.sell_basket(&[MONTHLY, "share"], GOOD_CARD).await;
    app.advance(MONTH).await;
    let subscription = app.stripe_subscription(&lines[0]).await;
    let renewal = app
        .payment_of_invoice(&text(&subscription["latest_invoice"]))
        .await;
    let dispute = app.dispute(&renewal, "fraudulent").await;
    app.assert_line(&lines[0], "ON_HOLD", "disputed", false)
        .await;
    app.assert_line(&lines[1], "ACTIVE", "paid", true).await;
    app.close_dispute(&dispute, "lost").await;
    app.assert_line(&lines[0], "ON_HOLD", "dispute_lost", false)
        .await;
    app.assert_line(&lines[1], "ACTIVE", "paid", true).await;
}

#[tokio::test]
async fn a_dispute_about_a_basket_holds_all_its_lines() {
    let app = TestApp::start().await;
    let (purchase, lines) = app.sell_basket(&["share", MONTHLY], GOOD_CARD).await;
    let dispute = app
        .dispute(&app.payment_of(&purchase).await, "fraudulent")
        .await;
    for line in &lines {
        app.assert_line(line, "ON_HOLD", "disputed", false).await;
    }
    app.close_dispute(&dispute, "lost").await;
    app.assert_line(&lines[0], "ENDED", "dispute_lost", false)
        .await;
    app.assert_line(&lines[1], "ON_HOLD", "dispute_lost", false)
        .await;
}

#[tokio::test]
async fn a_dispute_weighs_more_than_a_cancellation_and_less_than_the_end() {
    let app = TestApp::start().await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    app.change_at_stripe(id, &[("cancel_at_period_end", "true")])
        .await;
    let dispute = app
        .dispute(&app.payment_of(&purchase).await, "fraudulent")
        .await;
    app.assert_line(id, "ON_HOLD", "disputed", false).await;
    app.close_dispute(&dispute, "won").await;
    app.assert_line(id, "CANCELLED", "cancel_scheduled", true)
        .await;
    app.advance(MONTH).await;
    app.assert_line(id, "ENDED", "ended", false).await;
}

#[tokio::test]
async fn a_card_that_is_disputed_at_once_and_an_account_that_is_disputed_later_are_both_held() {
    for (number, wait) in [("4000000000000259", 60), ("AT591904300235473203", 4 * DAY)] {
        let app = TestApp::start().await;
        let purchase = app.sell("share", number).await;
        app.advance(wait).await;
        let id = &purchase.subscription;
        app.assert_line(id, "ON_HOLD", "disputed", false).await;
        assert_eq!(app.money(id).await, ["payment", "dispute"]);
    }
}

#[tokio::test]
async fn a_dispute_about_a_payment_that_nobody_told_us_of_finds_its_membership() {
    let app = forgetful().await;
    app.hold_deliveries().await;
    let purchase = app.open(&app.member("alice"), MONTHLY).await;
    let id = &purchase.subscription;
    app.pay(&purchase).await;
    let drop = [
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice_payment.paid",
        "checkout.session.completed",
    ];
    app.release_deliveries(json!({ "drop": drop })).await;
    app.settle().await;
    app.assert_line(id, "PENDING_COMPLETION", "payment_processing", false)
        .await;
    let path = format!("/v1/checkout/sessions/{}", purchase.session);
    let session = app.sandbox.stripe(&path).await;
    let intent = app.payment_of_invoice(&text(&session["invoice"])).await;
    app.dispute(&intent, "fraudulent").await;
    app.assert_line(id, "ON_HOLD", "disputed", false).await;
    assert_eq!(app.money(id).await, ["payment", "dispute"]);
}

#[tokio::test]
async fn a_dispute_over_a_part_of_a_basket_is_recorded_and_flagged_and_ends_nothing() {
    let app = TestApp::start().await;
    let plans = [MONTHLY, "share", "credits-20"];
    let (purchase, lines) = app.sell_basket(&plans, GOOD_CARD).await;
    let intent = app.payment_of(&purchase).await;
    let body = json!({"payment_intent": intent, "amount": 700});
    let dispute = text(&app.sandbox.post("/_sandbox/disputes", body).await["id"]);
    app.settle().await;
    for state in ["open", "lost"] {
        for line in &lines {
            app.assert_line(line, "ACTIVE", "paid", true).await;
            assert_eq!(disputes(&app, line).await, [state]);
        }
        if state == "open" {
            app.close_dispute(&dispute, "lost").await;
        }
    }
    let flags = app.flags().await;
    assert!(flags.len() >= 2, "{flags:?}");
    assert!(
        flags
            .iter()
            .all(|flag| flag.starts_with("a dispute claims a part")),
        "{flags:?}"
    );
}

#[tokio::test]
async fn a_dispute_over_what_is_left_after_a_refund_is_over_all_of_it() {
    let app = TestApp::start().await;
    let (purchase, lines) = app.sell_basket(&["share", "credits-20"], GOOD_CARD).await;
    let intent = app.payment_of(&purchase).await;
    app.refund(
        &intent,
        &[
            ("amount", "500"),
            ("metadata[dues_subscription_id]", &lines[0]),
        ],
    )
    .await;
    let body = json!({"payment_intent": intent, "amount": 4_000});
    app.sandbox.post("/_sandbox/disputes", body).await;
    app.settle().await;
    for line in &lines {
        app.assert_line(line, "ON_HOLD", "disputed", false).await;
    }
    assert!(app.flags().await.is_empty());
}

#[tokio::test]
async fn a_dispute_over_a_part_of_a_single_line_means_that_line() {
    let app = TestApp::start().await;
    let purchase = app.sell("share", GOOD_CARD).await;
    let intent = app.payment_of(&purchase).await;
    let body = json!({"payment_intent": intent, "amount": 700});
    app.sandbox.post("/_sandbox/disputes", body).await;
    app.settle().await;
    let id = &purchase.subscription;
    app.assert_line(id, "ON_HOLD", "disputed", false).await;
    assert!(app.flags().await.is_empty());
}

#[tokio::test]
async fn an_inquiry_that_was_settled_before_it_became_a_dispute_changes_nothing() {
    let app = TestApp::start().await;
    let purchase = app.sell("share", GOOD_CARD).await;
    let dispute = app
        .dispute(&app.payment_of(&purchase).await, "inquiry")
        .await;
    app.close_dispute(&dispute, "prevented").await;
    let id = &purchase.subscription;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(app.money(id).await, ["payment"]);
}

#[tokio::test]
async fn a_payment_after_the_opening_makes_up_for_a_loss_that_nobody_dated() {
    let app = forgetful().await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    let dispute = app
        .dispute(&app.payment_of(&purchase).await, "fraudulent")
        .await;
    app.advance(DAY).await;
    // The word of its end is lost, and what comes later finds it lost.
    app.hold_deliveries().await;
    let path = format!("/_sandbox/disputes/{dispute}/close");
    app.sandbox.post(&path, json!({ "status": "lost" })).await;
    app.release_deliveries(json!({"drop": ["charge.dispute.closed"]}))
        .await;
    app.forge(json!({"type": "charge.dispute.updated", "object": dispute}))
        .await;
    app.assert_line(id, "ON_HOLD", "dispute_lost", false).await;
    app.advance(MONTH).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
}
