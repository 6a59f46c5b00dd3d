//! Each row of the lifecycle's table for what renews, with Stripe's stand-in in the part of Stripe.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::lifecycle::{
    ALL_RETRIES, BAD_ACCOUNT, DAY, GOOD_ACCOUNT, HOUR, MONTH, busy, forgetful, text,
};
use crate::harness::purchase::{FAILING_LATER_CARD, GOOD_CARD, Purchase};

const MONTHLY: &str = "membership-monthly";

#[tokio::test]
async fn a_renewal_that_is_paid_leaves_the_membership_active_and_adds_one_payment() {
    let app = TestApp::start().await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    let first = app.subscription(&app.member("alice"), id).await;
    app.advance(MONTH).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    let second = app.subscription(&app.member("alice"), id).await;
    assert!(
        text(&second["current_period_end"]) > text(&first["current_period_end"]),
        "{second}"
    );
    assert_eq!(second["activated_at"], first["activated_at"]);
    assert_eq!(app.money(id).await, ["payment", "payment"]);
    assert!(app.path_since_active(id).await.is_empty());
}

/// A monthly membership whose first renewal has just failed.
async fn retrying(app: &TestApp, policy: &str) -> Purchase {
    app.stripe_settings(json!({ "final_failure": policy }))
        .await;
    let purchase = app.sell(MONTHLY, FAILING_LATER_CARD).await;
    app.advance(MONTH).await;
    let id = &purchase.subscription;
    app.assert_line(id, "ACTIVE", "payment_retrying", true)
        .await;
    assert_eq!(app.money(id).await, ["payment", "payment_failed"]);
    purchase
}

/// All retries fail too.
async fn exhaust(app: &TestApp, purchase: &Purchase) {
    app.advance(ALL_RETRIES).await;
    let money = app.money(&purchase.subscription).await;
    assert_eq!(money.len(), 9, "{money:?}");
    assert_eq!(money[0], "payment");
    assert!(money[1..].iter().all(|kind| kind == "payment_failed"));
}

#[tokio::test]
async fn a_renewal_that_stays_unpaid_ends_the_membership_where_stripe_is_told_to_cancel() {
    let app = TestApp::start().await;
    let purchase = retrying(&app, "cancel").await;
    exhaust(&app, &purchase).await;
    let id = &purchase.subscription;
    app.assert_line(id, "ENDED", "ended", false).await;
    let ended = app.subscription(&app.member("alice"), id).await;
    assert!(ended["ended_at"].is_string(), "{ended}");
    // She can start again.
    app.open(&app.member("alice"), MONTHLY).await;
}

#[tokio::test]
async fn a_renewal_that_stays_unpaid_holds_the_membership_where_stripe_keeps_it_unpaid() {
    let app = TestApp::start().await;
    let purchase = retrying(&app, "unpaid").await;
    exhaust(&app, &purchase).await;
    let id = &purchase.subscription;
    app.assert_line(id, "ON_HOLD", "unpaid", false).await;
    // Another card alone pays nothing; paying the newest invoice does.
    app.change_card(&purchase, GOOD_CARD).await;
    app.assert_line(id, "ON_HOLD", "unpaid", false).await;
    pay_newest(&app, id, &[]).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(
        app.path_since_active(id).await,
        ["ON_HOLD unpaid", "ACTIVE paid"]
    );
    assert_eq!(app.money(id).await.last().expect("money"), "payment");
}

#[tokio::test]
async fn a_renewal_that_stays_unpaid_keeps_the_membership_where_stripe_leaves_it_past_due() {
    let app = TestApp::start().await;
    let purchase = retrying(&app, "past_due").await;
    exhaust(&app, &purchase).await;
    let id = &purchase.subscription;
    app.assert_line(id, "ACTIVE", "payment_retrying", true)
        .await;
    app.change_card(&purchase, GOOD_CARD).await;
    pay_newest(&app, id, &[]).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
}

#[tokio::test]
async fn a_renewal_that_stays_unpaid_holds_the_membership_where_stripe_pauses_it() {
    let app = TestApp::start().await;
    let purchase = retrying(&app, "pause").await;
    exhaust(&app, &purchase).await;
    let id = &purchase.subscription;
    app.assert_line(id, "ON_HOLD", "paused", false).await;
    app.change_card(&purchase, GOOD_CARD).await;
    resume(&app, id).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
}

#[tokio::test]
async fn a_card_changed_during_the_retries_pays_the_next_one() {
    let app = TestApp::start().await;
    let purchase = retrying(&app, "cancel").await;
    let id = &purchase.subscription;
    app.change_card(&purchase, GOOD_CARD).await;
    app.assert_line(id, "ACTIVE", "payment_retrying", true)
        .await;
    app.advance(2 * DAY + HOUR).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(
        app.money(id).await,
        ["payment", "payment_failed", "payment"]
    );
    // It was never interrupted.
    assert!(app.path_since_active(id).await.is_empty());
}

#[tokio::test]
async fn a_renewal_that_asks_for_authentication_is_retried_and_not_lost() {
    let app = TestApp::start().await;
    app.stripe_settings(json!({ "final_failure": "unpaid" }))
        .await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    app.change_card(&purchase, "4000002760003184").await;
    app.advance(MONTH).await;
    app.assert_line(id, "ACTIVE", "payment_retrying", true)
        .await;
    let seen = app.events_in("applied").await;
    assert!(seen.contains(&"invoice.payment_action_required".to_owned()));
    assert_eq!(app.money(id).await, ["payment", "payment_failed"]);
}

/// Pays the newest invoice of a line by hand.
async fn pay_newest(app: &TestApp, id: &str, form: &[(&str, &str)]) {
    let subscription = app.stripe_subscription(id).await;
    let path = format!("/v1/invoices/{}/pay", text(&subscription["latest_invoice"]));
    app.at_stripe(Method::POST, &path, form).await;
    app.settle().await;
}

async fn resume(app: &TestApp, id: &str) {
    let path = format!("/v1/subscriptions/{}/resume", app.at_stripes(id).await);
    app.at_stripe(Method::POST, &path, &[]).await;
    app.settle().await;
}

#[tokio::test]
async fn a_renewal_that_is_paid_in_cash_counts_like_any_other() {
    let app = TestApp::start().await;
    let purchase = retrying(&app, "unpaid").await;
    let id = &purchase.subscription;
    pay_newest(&app, id, &[("paid_out_of_band", "true")]).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(
        app.money(id).await,
        ["payment", "payment_failed", "payment"]
    );
    // The retries that were planned find nothing to do.
    app.advance(ALL_RETRIES).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
}

#[tokio::test]
async fn a_renewal_that_is_given_up_or_voided_by_hand_is_no_payment_and_ends_nothing() {
    for (action, reason) in [("mark_uncollectible", "paid"), ("void", "payment_retrying")] {
        let app = TestApp::start().await;
        let purchase = retrying(&app, "cancel").await;
        let id = &purchase.subscription;
        let subscription = app.stripe_subscription(id).await;
        let invoice = text(&subscription["latest_invoice"]);
        app.at_stripe(
            Method::POST,
            &format!("/v1/invoices/{invoice}/{action}"),
            &[],
        )
        .await;
        app.settle().await;
        app.assert_line(id, "ACTIVE", reason, true).await;
        assert_eq!(app.money(id).await, ["payment", "payment_failed"]);
    }
}

#[tokio::test]
async fn a_renewal_whose_invoice_can_not_be_finalized_waits_for_the_organisation() {
    let app = TestApp::start().await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    app.stripe_settings(json!({ "finalization_fails": true }))
        .await;
    app.advance(MONTH).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    let seen = app.events_in("applied").await;
    assert!(seen.contains(&"invoice.finalization_failed".to_owned()));
    assert_eq!(app.money(id).await, ["payment"]);
    pay_newest(&app, id, &[]).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(app.money(id).await, ["payment", "payment"]);
}

#[tokio::test]
async fn a_cancellation_at_the_periods_end_is_in_force_until_then() {
    let app = TestApp::start().await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    app.change_at_stripe(id, &[("cancel_at_period_end", "true")])
        .await;
    app.assert_line(id, "CANCELLED", "cancel_scheduled", true)
        .await;
    let shown = app.subscription(&app.member("alice"), id).await;
    assert_eq!(shown["cancel_at"], shown["current_period_end"]);
    let until = &entitlement(&app).await["until"];
    assert_eq!(*until, shown["cancel_at"]);

    app.advance(MONTH).await;
    app.assert_line(id, "ENDED", "ended", false).await;
    assert_eq!(entitlement(&app).await["entitled"], false);
    assert_eq!(app.money(id).await, ["payment"]);
    assert_eq!(
        app.path_since_active(id).await,
        ["CANCELLED cancel_scheduled", "ENDED ended"]
    );
}

/// What alice's memberships give her.
async fn entitlement(app: &TestApp) -> Value {
    let answer = app
        .get("/v1/entitlements")
        .bearer(&app.member("alice"))
        .send()
        .await;
    answer.assert_status(200).json()["membership"].clone()
}

#[tokio::test]
async fn a_cancelled_membership_is_not_in_force_after_its_date_even_if_nobody_tells() {
    let app = TestApp::start().await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    app.change_at_stripe(id, &[("cancel_at_period_end", "true")])
        .await;
    app.hold_deliveries().await;
    app.move_clocks(MONTH).await;
    app.assert_line(id, "CANCELLED", "cancel_scheduled", false)
        .await;
    assert_eq!(entitlement(&app).await["entitled"], false);
    app.release_deliveries(json!({ "order": "reverse" })).await;
    app.settle().await;
    app.assert_line(id, "ENDED", "ended", false).await;
}

#[tokio::test]
async fn a_cancellation_that_is_withdrawn_is_as_if_it_had_never_been() {
    let app = TestApp::start().await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    for (wish, withdrawal) in [
        (
            ("cancel_at_period_end", "true"),
            ("cancel_at_period_end", "false"),
        ),
        (("cancel_at", "max_period_end"), ("cancel_at", "")),
    ] {
        app.change_at_stripe(id, &[wish]).await;
        app.assert_line(id, "CANCELLED", "cancel_scheduled", true)
            .await;
        app.change_at_stripe(id, &[withdrawal]).await;
        app.assert_line(id, "ACTIVE", "paid", true).await;
        let shown = app.subscription(&app.member("alice"), id).await;
        assert_eq!(shown["cancel_at"], Value::Null);
    }
    app.advance(MONTH).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(app.money(id).await, ["payment", "payment"]);
}

/// Does something in the customer portal.
async fn in_portal(app: &TestApp, purchase: &Purchase, action: &str) {
    let customer = app.customer_of(purchase).await;
    let session = app
        .at_stripe(
            Method::POST,
            "/v1/billing_portal/sessions",
            &[
                ("customer", &customer),
                ("return_url", "https://app.example.org/account"),
            ],
        )
        .await;
    let url: url::Url = text(&session["url"]).parse().expect("a URL");
    let subscription = app.at_stripes(&purchase.subscription).await;
    app.sandbox
        .request(Method::POST, url.path())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("action={action}&subscription={subscription}"))
        .send()
        .await
        .assert_status(303);
    app.settle().await;
}

#[tokio::test]
async fn the_portal_cancels_by_a_date_alone_and_it_is_understood() {
    let app = TestApp::start().await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    in_portal(&app, &purchase, "cancel").await;
    let at_stripe = app.stripe_subscription(id).await;
    assert_eq!(at_stripe["cancel_at_period_end"], false);
    assert!(at_stripe["cancel_at"].is_i64(), "{at_stripe}");
    app.assert_line(id, "CANCELLED", "cancel_scheduled", true)
        .await;
    in_portal(&app, &purchase, "undo").await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    in_portal(&app, &purchase, "cancel").await;
    app.advance(MONTH).await;
    app.assert_line(id, "ENDED", "ended", false).await;
    assert_eq!(app.money(id).await, ["payment"]);
}

#[tokio::test]
async fn a_cancellation_during_the_retries_keeps_its_own_reason() {
    let app = TestApp::start().await;
    let purchase = retrying(&app, "cancel").await;
    let id = &purchase.subscription;
    app.change_at_stripe(id, &[("cancel_at_period_end", "true")])
        .await;
    app.assert_line(id, "CANCELLED", "cancel_scheduled", true)
        .await;
}

#[tokio::test]
async fn an_immediate_cancellation_ends_the_membership() {
    let app = TestApp::start().await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    let path = format!("/v1/subscriptions/{}", app.at_stripes(id).await);
    app.at_stripe(Method::DELETE, &path, &[]).await;
    app.settle().await;
    app.assert_line(id, "ENDED", "ended", false).await;
    // A late word of its better days brings it back no more.
    app.forge(json!({
        "type": "customer.subscription.updated",
        "object": app.at_stripes(id).await,
        "object_patch": { "status": "active", "ended_at": null, "canceled_at": null },
    }))
    .await;
    app.assert_line(id, "ENDED", "ended", false).await;
}

#[tokio::test]
async fn a_subscription_that_stripe_calls_canceled_without_an_end_will_not_renew() {
    let app = TestApp::start().await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    let created = app.sandbox.get("/_sandbox/clock").await["now"].as_i64();
    app.forge(json!({
        "type": "customer.subscription.updated",
        "object": app.at_stripes(id).await,
        "object_patch": { "status": "canceled", "ended_at": null },
        "created": created.map(|now| now + 60),
    }))
    .await;
    app.assert_line(id, "CANCELLED", "cancel_scheduled", true)
        .await;
}

#[tokio::test]
async fn a_paused_membership_is_on_hold_until_it_is_resumed() {
    let app = TestApp::start().await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    let path = format!("/v1/subscriptions/{}/pause", app.at_stripes(id).await);
    app.at_stripe(Method::POST, &path, &[("type", "subscription")])
        .await;
    app.settle().await;
    app.assert_line(id, "ON_HOLD", "paused", false).await;
    app.advance(2 * MONTH).await;
    app.assert_line(id, "ON_HOLD", "paused", false).await;
    resume(&app, id).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    let seen = app.events_in("applied").await;
    for kind in [
        "customer.subscription.paused",
        "customer.subscription.resumed",
    ] {
        assert!(seen.contains(&kind.to_owned()), "{kind} in {seen:?}");
    }
}

#[tokio::test]
async fn a_membership_whose_collection_is_paused_stays_in_force_unless_no_service_is_meant() {
    for (behavior, status, reason) in [
        ("keep_as_draft", "ACTIVE", "collection_paused"),
        ("mark_uncollectible", "ACTIVE", "collection_paused"),
        ("void", "ON_HOLD", "collection_void"),
    ] {
        let app = TestApp::start().await;
        let purchase = app.sell(MONTHLY, GOOD_CARD).await;
        let id = &purchase.subscription;
        app.change_at_stripe(id, &[("pause_collection[behavior]", behavior)])
            .await;
        app.assert_line(id, "ACTIVE", "collection_paused", true)
            .await;
        let until = entitlement(&app).await["until"].clone();
        let paid_until = app.subscription(&app.member("alice"), id).await["paid_until"].clone();
        let wanted = if behavior == "void" {
            &paid_until
        } else {
            &Value::Null
        };
        assert_eq!(until, *wanted, "{behavior}");
        // What renews meanwhile is no payment.
        app.advance(3 * MONTH).await;
        app.assert_line(id, status, reason, status == "ACTIVE")
            .await;
        assert_eq!(app.money(id).await, ["payment"]);
        let shown = app.subscription(&app.member("alice"), id).await;
        assert_eq!(shown["paid_until"], paid_until, "{behavior}");
        // After it, the grace begins anew: the next invoice comes with the next period.
        app.change_at_stripe(id, &[("pause_collection", "")]).await;
        app.assert_line(id, "ACTIVE", "paid", true).await;
        app.advance(DAY).await;
        app.assert_line(id, "ACTIVE", "paid", true).await;
    }
}

/// A subscription that somebody makes through Stripe's API for an order whose page was left open.
async fn made_by_hand(app: &TestApp, form: &[(&str, &str)]) -> Purchase {
    let purchase = app.open(&app.member("alice"), MONTHLY).await;
    let customer = app.customer_of(&purchase).await;
    let prices = app
        .sandbox
        .stripe("/v1/prices?lookup_keys[]=membership_monthly")
        .await;
    let price = text(&prices["data"][0]["id"]);
    let mut all = vec![
        ("customer", customer.as_str()),
        ("items[0][price]", &price),
        ("metadata[dues_subscription_id]", &purchase.subscription),
    ];
    all.extend_from_slice(form);
    app.at_stripe(Method::POST, "/v1/subscriptions", &all).await;
    app.settle().await;
    purchase
}

#[tokio::test]
async fn a_subscription_whose_first_payment_is_awaited_is_pending_and_expires_after_a_day() {
    let app = TestApp::start().await;
    let purchase = made_by_hand(&app, &[("payment_behavior", "default_incomplete")]).await;
    let id = &purchase.subscription;
    let incomplete = app.stripe_subscription(id).await;
    assert_eq!(incomplete["status"], "incomplete");
    app.assert_line(id, "PENDING_ACTIVATION", "awaiting_payment", false)
        .await;
    app.advance(23 * HOUR + 60).await;
    let expired = app.stripe_subscription(id).await;
    assert_eq!(expired["status"], "incomplete_expired");
    app.assert_line(id, "ENDED", "activation_expired", false)
        .await;
    assert!(app.transactions(id).await.is_empty());
    app.open(&app.member("alice"), MONTHLY).await;
}

#[tokio::test]
async fn an_incomplete_subscription_that_is_paid_in_time_is_active() {
    let app = TestApp::start().await;
    let purchase = made_by_hand(&app, &[("payment_behavior", "default_incomplete")]).await;
    let id = &purchase.subscription;
    app.change_card(&purchase, GOOD_CARD).await;
    pay_newest(&app, id, &[]).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(app.money(id).await, ["payment"]);
    app.advance(2 * DAY).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
}

#[tokio::test]
async fn a_first_invoice_that_is_paid_in_cash_activates() {
    let app = TestApp::start().await;
    let form = [
        ("collection_method", "send_invoice"),
        ("days_until_due", "30"),
    ];
    let purchase = made_by_hand(&app, &form).await;
    let id = &purchase.subscription;
    // Stripe says active at once, but nobody has paid.
    assert_eq!(app.stripe_subscription(id).await["status"], "active");
    app.assert_line(id, "PENDING_COMPLETION", "payment_processing", false)
        .await;
    pay_newest(&app, id, &[("paid_out_of_band", "true")]).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(app.money(id).await, ["payment"]);
    let seen = app.events_in("applied").await;
    assert!(!seen.contains(&"invoice.payment_succeeded".to_owned()));
}

#[tokio::test]
async fn a_trial_is_active_without_a_payment_and_then_pays() {
    let app = TestApp::start().await;
    let purchase = made_by_hand(&app, &[("trial_period_days", "14")]).await;
    let id = &purchase.subscription;
    app.assert_line(id, "ACTIVE", "trialing", true).await;
    assert!(app.transactions(id).await.is_empty());
    app.change_card(&purchase, GOOD_CARD).await;
    app.advance(14 * DAY + 2 * HOUR).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(app.money(id).await, ["payment"]);
}

#[tokio::test]
async fn a_trial_that_ends_without_a_card_is_paused_or_cancelled_as_agreed() {
    for (agreed, status, reason) in [("pause", "ON_HOLD", "paused"), ("cancel", "ENDED", "ended")] {
        let app = TestApp::start().await;
        let behavior = "trial_settings[end_behavior][missing_payment_method]";
        let form = [("trial_period_days", "14"), (behavior, agreed)];
        let purchase = made_by_hand(&app, &form).await;
        let id = &purchase.subscription;
        app.advance(14 * DAY + 2 * HOUR).await;
        app.assert_line(id, status, reason, false).await;
        assert!(app.transactions(id).await.is_empty());
    }
}

#[tokio::test]
async fn a_checkout_in_which_nothing_is_due_is_a_trial_and_no_payment() {
    let app = TestApp::start().await;
    let purchase = app.open(&app.member("alice"), MONTHLY).await;
    let id = &purchase.subscription;
    app.forge(json!({
        "type": "checkout.session.completed",
        "object": purchase.session,
        "object_patch": {
            "status": "complete", "payment_status": "no_payment_required", "amount_total": 0,
            "subscription": "sub_of_a_trial", "invoice": "in_of_a_trial", "url": null,
        },
    }))
    .await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert!(app.transactions(id).await.is_empty());
}

#[tokio::test]
async fn a_debit_that_is_on_its_way_is_pending_although_stripe_says_active_and_then_arrives() {
    let app = TestApp::start().await;
    let purchase = app.sell(MONTHLY, GOOD_ACCOUNT).await;
    let id = &purchase.subscription;
    let at_stripe = app.stripe_subscription(id).await;
    assert_eq!(at_stripe["status"], "active");
    app.assert_line(id, "PENDING_COMPLETION", "payment_processing", false)
        .await;
    assert!(app.transactions(id).await.is_empty());
    // She can't buy it twice meanwhile.
    app.order(&app.member("alice"), json!({ "plan": MONTHLY }))
        .send()
        .await
        .assert_status(409);
    app.advance(4 * DAY).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(app.money(id).await, ["payment"]);
    assert_eq!(
        app.path(id).await[1..],
        ["PENDING_COMPLETION payment_processing", "ACTIVE paid"]
    );
}

#[tokio::test]
async fn a_first_debit_that_comes_back_is_cancelled_at_stripe_and_the_member_can_buy_again() {
    let app = busy().await;
    let purchase = app.sell(MONTHLY, BAD_ACCOUNT).await;
    let id = &purchase.subscription;
    app.advance(4 * DAY).await;
    app.until_status(id, "ENDED").await;
    app.settle().await;
    app.assert_line(id, "ENDED", "ended", false).await;
    assert_eq!(app.stripe_subscription(id).await["status"], "canceled");
    assert_eq!(
        app.path(id).await[1..],
        [
            "PENDING_COMPLETION payment_processing",
            "ON_HOLD first_payment_failed",
            "ENDED ended"
        ]
    );
    assert_eq!(app.money(id).await, ["payment_failed"]);
    let cancelled = app.service_calls("DELETE /v1/subscriptions/").await;
    assert_eq!(cancelled, 1);
    let again = app.sell(MONTHLY, GOOD_CARD).await;
    app.assert_line(&again.subscription, "ACTIVE", "paid", true)
        .await;
}

#[tokio::test]
async fn a_first_debit_that_stripe_will_not_end_keeps_nobody_waiting_and_is_tried_again_later() {
    let app = busy().await;
    let stuck = app.sell(MONTHLY, BAD_ACCOUNT).await;
    let bob = app.member("bob");
    let other = app.buy_with(&bob, MONTHLY, BAD_ACCOUNT).await;
    let subscription = app.row(&stuck.subscription).await.stripe_subscription;
    let path = format!("/v1/subscriptions/{}", subscription.expect("sub_…"));
    let calls = || app.service_calls("DELETE /v1/subscriptions/");
    app.fault(json!({"kind": "forbidden", "method": "DELETE", "path": path, "times": 1000}))
        .await;
    app.advance(4 * DAY).await;
    app.until_status(&other.subscription, "ENDED").await;
    app.until_status(&stuck.subscription, "ON_HOLD").await;
    app.until("both were tried", async || {
        (calls().await == 2).then_some(())
    })
    .await;
    // The worker has gone round many times before a third member's purchase has come to the same end.
    let carol = app.member("carol");
    let third = app.buy_with(&carol, MONTHLY, BAD_ACCOUNT).await;
    app.advance(60).await;
    assert_eq!(
        calls().await,
        2,
        "one that was refused is left alone for a while"
    );
    app.no_more_faults().await;
    app.advance(4 * DAY).await;
    app.until_status(&third.subscription, "ENDED").await;
    app.until_status(&stuck.subscription, "ENDED").await;
}

#[tokio::test]
async fn a_renewal_by_debit_that_comes_back_is_retried() {
    let app = TestApp::start().await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    app.change_card(&purchase, BAD_ACCOUNT).await;
    app.advance(MONTH).await;
    // The debit is on its way, and Stripe says active: it was paid before, so it stays in force.
    app.assert_line(id, "ACTIVE", "paid", true).await;
    app.advance(3 * DAY + HOUR).await;
    app.assert_line(id, "ACTIVE", "payment_retrying", true)
        .await;
    assert_eq!(app.money(id).await, ["payment", "payment_failed"]);
}

#[tokio::test]
async fn a_failed_first_debit_is_left_alone_where_stripe_says_that_it_was_paid_after_all() {
    let app = forgetful().await;
    let purchase = app.sell(MONTHLY, GOOD_ACCOUNT).await;
    let id = &purchase.subscription;
    // The failure is forged, and the word of the payment is lost: Stripe knows better.
    app.hold_deliveries().await;
    let intent = app.payment_of(&purchase).await;
    let path = format!("/_sandbox/payments/{intent}/settle");
    app.sandbox
        .post(&path, json!({ "outcome": "succeeded" }))
        .await;
    let drop = [
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice_payment.paid",
        "checkout.session.async_payment_succeeded",
    ];
    app.release_deliveries(json!({ "drop": drop })).await;
    app.forge(json!({
        "type": "checkout.session.async_payment_failed",
        "object": purchase.session,
        "object_patch": { "payment_status": "unpaid" },
    }))
    .await;
    app.until_status(id, "ACTIVE").await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(app.service_calls("DELETE /v1/subscriptions/").await, 0);
}

#[tokio::test]
async fn a_deleted_customers_memberships_end_and_the_next_purchase_makes_a_new_customer() {
    let app = TestApp::start().await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    let share = app.sell("share", GOOD_CARD).await;
    let customer = app.customer_of(&purchase).await;
    app.at_stripe(Method::DELETE, &format!("/v1/customers/{customer}"), &[])
        .await;
    app.settle().await;
    app.assert_line(id, "ENDED", "ended", false).await;
    // What she paid once she keeps.
    app.assert_line(&share.subscription, "ACTIVE", "paid", true)
        .await;
    let again = app.sell(MONTHLY, GOOD_CARD).await;
    app.assert_line(&again.subscription, "ACTIVE", "paid", true)
        .await;
    assert_ne!(app.customer_of(&again).await, customer);
    assert!(app.flags().await.is_empty());
}
