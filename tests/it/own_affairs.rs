//! Members cancel and think better of it, here or in Stripe's portal, once or twice, with Stripe in trouble.

use std::collections::HashMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::lifecycle::{ALL_RETRIES, MONTH, text};
use crate::harness::own_affairs::plans;
use crate::harness::purchase::{FAILING_LATER_CARD, GOOD_CARD, at_once};
use crate::harness::replica::Replica;

/// What the member's own acts have left in the history: from, to, reason and actor.
async fn acts(app: &TestApp, id: &str) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT concat(from_status, '>', to_status, ' ', reason, ' ', actor) FROM status_changes
          WHERE subscription_id = $1::uuid AND cause = 'member' AND from_status IS NOT NULL ORDER BY seq",
    )
    .bind(id)
    .fetch_all(&app.pool)
    .await
    .expect("the history is there")
}

/// Stripe's calls about subscriptions that the service has made since it was asked last.
struct Calls<'a>(&'a TestApp, usize);

impl<'a> Calls<'a> {
    async fn from_now(app: &'a TestApp) -> Self {
        Self(app, Self::all(app).await.len())
    }

    async fn all(app: &TestApp) -> Vec<String> {
        let calls = app.calls_of_service("").await.into_iter();
        let about = calls.filter(|call| text(&call["path"]).starts_with("/v1/subscriptions"));
        about.map(|call| text(&call["method"])).collect()
    }

    async fn made(&mut self) -> Vec<String> {
        let all = Self::all(self.0).await;
        let new = all[self.1..].to_vec();
        self.1 = all.len();
        new
    }
}

/// Presses a button of Stripe's portal.
async fn in_portal(app: &TestApp, id: &str, action: &str) {
    let held = app.stripe_subscription(id).await;
    let customer = text(&held["customer"]);
    let form = [("customer", customer.as_str())];
    let session = app.at_stripe(Method::POST, "/v1/billing_portal/sessions", &form);
    let path = format!("/p/session/{}", text(&session.await["id"]));
    let body = format!("action={action}&subscription={}", text(&held["id"]));
    let call = app.sandbox.request(Method::POST, &path);
    let call = call.header("content-type", "application/x-www-form-urlencoded");
    call.body(body).send().await.assert_status(303);
}

#[tokio::test]
async fn a_cancellation_is_in_force_with_the_periods_end_and_can_be_withdrawn() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("yearly", GOOD_CARD).await.subscription;
    // What a webhook leaves in doubt the worker reads: those calls are not the wish's.
    app.hold_deliveries().await;
    let mut calls = Calls::from_now(&app).await;
    let answer = app.act(&id, "cancel", json!({})).await.assert_status(200);
    assert_eq!(calls.made().await, ["POST"], "one call is enough");
    let shown = answer.json();
    assert_eq!(
        (
            &shown["status"],
            &shown["status_reason"],
            &shown["entitled"]
        ),
        (
            &json!("CANCELLED"),
            &json!("cancel_scheduled"),
            &json!(true)
        )
    );
    assert_eq!(shown["cancel_at"], shown["current_period_end"]);
    app.release_deliveries(json!({})).await;
    app.settle().await;
    app.assert_line(&id, "CANCELLED", "cancel_scheduled", true)
        .await;
    assert_eq!(
        app.stripe_subscription(&id).await["cancel_at_period_end"],
        true
    );
    // Again: Stripe is asked whether it is so, and nothing changes.
    app.hold_deliveries().await;
    calls.made().await;
    let again = app
        .act(&id, "cancel", json!({"at": "period_end"}))
        .await
        .assert_status(200);
    assert_eq!(again.json(), shown);
    assert_eq!(calls.made().await, ["GET"]);

    let resumed = app.act(&id, "resume", json!({})).await.assert_status(200);
    assert_eq!(calls.made().await, ["POST"]);
    assert_eq!(resumed.json()["status"], "ACTIVE");
    assert_eq!(resumed.json()["cancel_at"], Value::Null);
    app.release_deliveries(json!({})).await;
    app.settle().await;
    app.assert_line(&id, "ACTIVE", "paid", true).await;
    calls.made().await;
    let again = app.act(&id, "resume", json!({})).await.assert_status(200);
    assert_eq!(again.json(), resumed.json());
    assert_eq!(calls.made().await, ["GET"]);
    assert_eq!(
        acts(&app, &id).await,
        [
            "ACTIVE>CANCELLED cancel_scheduled alice",
            "CANCELLED>ACTIVE cancel_withdrawn alice"
        ]
    );
    assert_eq!(
        app.path_since_active(&id).await.len(),
        2,
        "webhooks add nothing"
    );
}

#[tokio::test]
async fn without_a_body_a_cancellation_is_one_at_the_periods_end() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("basic", GOOD_CARD).await.subscription;
    let path = format!("/v1/subscriptions/{id}/cancel");
    let call = app.post(&path).bearer(&app.member("alice"));
    assert_eq!(
        call.send().await.assert_status(200).json()["status"],
        "CANCELLED"
    );
}

#[tokio::test]
async fn ending_at_once_is_for_plans_that_allow_it_and_for_what_is_on_hold() {
    let plans = plans();
    let app = plans.sold().start().await;
    let now = || json!({"at": "now"});
    let id = app.sell("basic", GOOD_CARD).await.subscription;
    app.hold_deliveries().await;
    let mut calls = Calls::from_now(&app).await;
    let ended = app.act(&id, "cancel", now()).await.assert_status(200);
    assert_eq!(calls.made().await, ["DELETE"]);
    app.release_deliveries(json!({})).await;
    assert_eq!(ended.json()["status"], "ENDED");
    assert!(ended.json()["ended_at"].is_string());
    app.settle().await;
    app.assert_line(&id, "ENDED", "ended", false).await;
    assert_eq!(acts(&app, &id).await, ["ACTIVE>ENDED ended alice"]);
    app.act(&id, "cancel", now())
        .await
        .assert_problem(409, "already_ended");

    app.stripe_settings(json!({ "final_failure": "unpaid" }))
        .await;
    let id = app.sell("seats", FAILING_LATER_CARD).await.subscription;
    app.act(&id, "cancel", now())
        .await
        .assert_problem(409, "cancel_now_not_allowed");
    app.assert_line(&id, "ACTIVE", "paid", true).await;
    app.advance(MONTH).await;
    app.advance(ALL_RETRIES).await;
    app.assert_line(&id, "ON_HOLD", "unpaid", false).await;
    app.act(&id, "resume", json!({}))
        .await
        .assert_problem(409, "on_hold");
    let planned = app.act(&id, "cancel", json!({})).await.assert_status(200);
    assert_eq!(planned.json()["status"], "ON_HOLD");
    assert!(planned.json()["cancel_at"].is_string());
    let ended = app.act(&id, "cancel", now()).await.assert_status(200);
    assert_eq!(ended.json()["status"], "ENDED");
}

#[tokio::test]
async fn what_was_cancelled_in_the_portal_is_resumed_here_and_the_other_way_round() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("yearly", GOOD_CARD).await.subscription;
    in_portal(&app, &id, "cancel").await;
    app.settle().await;
    app.assert_line(&id, "CANCELLED", "cancel_scheduled", true)
        .await;
    let held = app.stripe_subscription(&id).await;
    assert_eq!(
        held["cancel_at_period_end"], false,
        "the portal sets a date"
    );
    app.hold_deliveries().await;
    let mut calls = Calls::from_now(&app).await;
    app.act(&id, "resume", json!({})).await.assert_status(200);
    assert_eq!(calls.made().await, ["POST"]);
    app.release_deliveries(json!({})).await;
    assert_eq!(app.stripe_subscription(&id).await["cancel_at"], Value::Null);
    app.settle().await;
    app.assert_line(&id, "ACTIVE", "paid", true).await;
    app.act(&id, "cancel", json!({})).await.assert_status(200);
    in_portal(&app, &id, "undo").await;
    app.settle().await;
    app.assert_line(&id, "ACTIVE", "paid", true).await;
    assert_eq!(app.last_change(&id).await, "cancel_withdrawn webhook");
}

#[tokio::test]
async fn a_wish_holds_also_when_our_row_does_not_know_yet_what_happened_in_the_portal() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("yearly", GOOD_CARD).await.subscription;
    app.hold_deliveries().await;
    // She cancels there, and resumes here before we were told.
    in_portal(&app, &id, "cancel").await;
    let resumed = app.act(&id, "resume", json!({})).await.assert_status(200);
    assert_eq!(resumed.json()["status"], "ACTIVE");
    assert_eq!(app.stripe_subscription(&id).await["cancel_at"], Value::Null);
    // She cancels here, undoes it there, and cancels here again.
    app.act(&id, "cancel", json!({})).await.assert_status(200);
    in_portal(&app, &id, "undo").await;
    let cancelled = app.act(&id, "cancel", json!({})).await.assert_status(200);
    assert_eq!(cancelled.json()["status"], "CANCELLED");
    assert_eq!(
        app.stripe_subscription(&id).await["cancel_at_period_end"],
        true
    );
    app.release_deliveries(json!({"order": "reverse", "duplicate": 1}))
        .await;
    app.settle().await;
    app.assert_line(&id, "CANCELLED", "cancel_scheduled", true)
        .await;
}

#[tokio::test]
async fn what_can_not_be_cancelled_or_resumed_says_why() {
    let plans = plans();
    let app = plans.sold().start().await;
    let one_off = app.sell("credits-20", GOOD_CARD).await.subscription;
    let open = app.open(&app.member("alice"), "yearly").await.subscription;
    let mut calls = Calls::from_now(&app).await;
    for (id, what, code) in [
        (&one_off, "cancel", "not_cancellable"),
        (&one_off, "resume", "not_resumable"),
        (&open, "cancel", "awaiting_payment"),
        (&open, "resume", "awaiting_payment"),
    ] {
        let answer = app.act(id, what, json!({})).await;
        let answer = answer.assert_problem(409, code).json();
        assert!(!text(&answer["detail"]).is_empty());
    }
    app.act(&one_off, "cancel", json!({"at": "later"}))
        .await
        .assert_problem(422, "validation_failed")
        .assert_field("at", "invalid");
    app.act(&one_off, "cancel", json!({"when": "now"}))
        .await
        .assert_problem(422, "validation_failed")
        .assert_field("when", "unknown_field");
    let mallory = app.member("mallory");
    let nobodys = "0192f7c8-0000-7000-8000-000000000000";
    for what in ["cancel", "resume"] {
        for id in [one_off.as_str(), nobodys, "not-an-id"] {
            let call = app.post(&format!("/v1/subscriptions/{id}/{what}"));
            let answer = call.bearer(&mallory).json(json!({})).send().await;
            answer.assert_problem(404, "not_found");
        }
        let call = app.post(&format!("/v1/subscriptions/{one_off}/{what}"));
        call.send().await.assert_status(401);
    }
    assert!(calls.made().await.is_empty());
}

#[tokio::test]
async fn a_subscription_that_ended_unnoticed_has_ended_and_is_no_fault_of_stripe() {
    let plans = plans();
    let app = plans.sold().start().await;
    app.hold_deliveries().await;
    let mut ended = Vec::new();
    for plan in ["yearly", "seats"] {
        let purchase = app.open(&app.member("alice"), plan).await;
        app.browse(&app.pay(&purchase).await).await;
        let id = purchase.subscription;
        let path = format!("/v1/subscriptions/{}", app.at_stripes(&id).await);
        app.at_stripe(Method::DELETE, &path, &[]).await;
        ended.push(id);
    }
    for (id, what) in ended.iter().zip(["cancel", "resume"]) {
        app.act(id, what, json!({}))
            .await
            .assert_problem(409, "already_ended");
        app.assert_line(id, "ENDED", "ended", false).await;
    }
}

#[tokio::test]
async fn a_call_that_took_effect_without_an_answer_is_repeated_and_ends_in_the_same_state() {
    let plans = plans();
    let app = plans
        .sold()
        .setting("DUES__STRIPE__TIMEOUT_MS", 300)
        .setting("DUES__STRIPE__TOTAL_TIMEOUT_MS", 600)
        .setting("DUES__STRIPE__MAX_RETRIES", 0)
        .start()
        .await;
    let id = app.sell("basic", GOOD_CARD).await.subscription;
    let subscription = format!("/v1/subscriptions/{}", app.at_stripes(&id).await);
    let lost = |method: &str| json!({"kind": "timeout_after_effect", "method": method, "path": subscription, "stall_ms": 1500});
    for (what, status) in [("cancel", "CANCELLED"), ("resume", "ACTIVE")] {
        app.fault(lost("POST")).await;
        app.act(&id, what, json!({}))
            .await
            .assert_problem(504, "stripe_timeout");
        // Told by a webhook or by the repeat, whichever comes first.
        let repeated = app.act(&id, what, json!({})).await.assert_status(200);
        assert_eq!(repeated.json()["status"], status);
        app.settle().await;
        assert_eq!(app.row(&id).await.status, status);
    }
    app.hold_deliveries().await;
    app.fault(lost("DELETE")).await;
    let now = || json!({"at": "now"});
    app.act(&id, "cancel", now())
        .await
        .assert_problem(504, "stripe_timeout");
    let repeated = app.act(&id, "cancel", now()).await.assert_status(200);
    assert_eq!(repeated.json()["status"], "ENDED");
    app.release_deliveries(json!({})).await;
    app.settle().await;
    app.assert_line(&id, "ENDED", "ended", false).await;
    assert_eq!(app.money(&id).await, ["payment"]);
    let sent = app.calls(&format!("POST {subscription}")).await;
    assert!(
        sent.iter()
            .all(|call| call["headers"].get("idempotency-key").is_none()),
        "a stored failure would block it for a day"
    );
}

#[tokio::test]
async fn a_broken_connection_is_tried_again_by_the_service_itself() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("basic", GOOD_CARD).await.subscription;
    let subscription = format!("/v1/subscriptions/{}", app.at_stripes(&id).await);
    for (what, body, status) in [
        ("cancel", json!({}), "CANCELLED"),
        ("resume", json!({}), "ACTIVE"),
        ("cancel", json!({"at": "now"}), "ENDED"),
    ] {
        app.fault(json!({"kind": "disconnect_after_effect", "path": subscription}))
            .await;
        let answer = app.act(&id, what, body).await.assert_status(200);
        assert_eq!(answer.json()["status"], status);
        app.settle().await;
    }
    assert_eq!(app.path_since_active(&id).await.len(), 3);
}

#[tokio::test]
async fn a_webhook_that_is_faster_than_the_answer_makes_no_second_change() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("basic", GOOD_CARD).await.subscription;
    let subscription = format!("/v1/subscriptions/{}", app.at_stripes(&id).await);
    for (what, status) in [("cancel", "CANCELLED"), ("resume", "ACTIVE")] {
        app.fault(json!({
            "kind": "timeout_after_effect", "method": "POST", "path": subscription, "stall_ms": 700,
        }))
        .await;
        let answer = app.act(&id, what, json!({})).await.assert_status(200);
        assert_eq!(answer.json()["status"], status);
        app.settle().await;
    }
    app.assert_line(&id, "ACTIVE", "paid", true).await;
    assert_eq!(
        app.path_since_active(&id).await,
        ["CANCELLED cancel_scheduled", "ACTIVE cancel_withdrawn"]
    );
}

#[tokio::test]
async fn wishes_at_two_replicas_at_once_end_where_stripe_ends() {
    let plans = plans();
    let app = plans.sold().start().await;
    let more = HashMap::from([(
        "DUES__PLANS__FILE".to_owned(),
        app.settings.plans.file.display().to_string(),
    )]);
    let database = app.settings.database.url.expose().to_owned();
    let mut replica = Replica::start(&database, app.sandbox.url(), &more).await;
    let id = app.sell("basic", GOOD_CARD).await.subscription;
    let alice = app.member("alice");
    let path = |what: &str| format!("/v1/subscriptions/{id}/{what}");
    for _ in 0..5 {
        let mut calls = Vec::new();
        for what in ["cancel", "resume"] {
            let there = replica.request(Method::POST, &path(what));
            for call in [app.post(&path(what)), there] {
                calls.push(call.bearer(&alice).json(json!({})));
            }
        }
        for answer in at_once(calls).await {
            answer.assert_status(200);
        }
        app.settle().await;
        let ends = app.stripe_subscription(&id).await["cancel_at"].is_i64();
        let status = if ends { "CANCELLED" } else { "ACTIVE" };
        assert_eq!(app.row(&id).await.status, status);
        let (status, reason) = (app.row(&id).await.status, app.row(&id).await.reason);
        app.assert_line(&id, &status, &reason, true).await;
    }
    replica.stop().await;
}

#[tokio::test]
async fn what_a_schedule_manages_is_not_for_members_to_cancel_and_they_are_told_so() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("basic", GOOD_CARD).await.subscription;
    let path = format!(
        "/_sandbox/subscriptions/{}/schedule",
        app.at_stripes(&id).await
    );
    app.sandbox.post(&path, json!({"managed": true})).await;
    let refused = app.act(&id, "cancel", json!({})).await;
    refused.assert_problem(409, "managed_by_schedule");
    app.assert_line(&id, "ACTIVE", "paid", true).await;
    app.sandbox.post(&path, json!({"managed": false})).await;
    app.act(&id, "cancel", json!({})).await.assert_status(200);
}
