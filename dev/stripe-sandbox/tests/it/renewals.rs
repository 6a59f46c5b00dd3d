//! Subscriptions over time.

use serde_json::json;

use crate::bench::{Bench, assert_has, text};

const BAD_LATER: &str = "4000000000000341";

async fn subscription(bench: &Bench, id: &str) -> serde_json::Value {
    bench
        .get(&format!("/v1/subscriptions/{id}?expand[]=latest_invoice"))
        .await
        .ok()
}

#[tokio::test]
async fn a_renewal_has_a_draft_of_an_hour() {
    let bench = Bench::start().await;
    let (id, _) = bench.subscribe("monthly", "4242424242424242").await;
    let end = subscription(&bench, &id).await["items"]["data"][0]["current_period_end"]
        .as_i64()
        .unwrap();
    let start = bench.events().await.len();
    bench
        .control("clock/advance", json!({"to": end + 60}))
        .await;
    let renewed = subscription(&bench, &id).await;
    assert_eq!(renewed["latest_invoice"]["status"], "draft");
    assert_eq!(renewed["items"]["data"][0]["current_period_start"], end);
    assert_eq!(
        bench.types_since(start).await,
        [
            "invoice.upcoming",
            "invoice.created",
            "customer.subscription.updated"
        ]
    );
    let events = bench.events().await;
    assert!(
        events[start]["data"]["object"].get("id").is_none(),
        "an upcoming invoice has no id"
    );
    assert!(events.last().unwrap()["data"]["previous_attributes"]["items"].is_object());
    assert_eq!(
        events.last().unwrap()["request"],
        json!({"id": null, "idempotency_key": null})
    );
    bench
        .control("clock/advance", json!({"seconds": 3_600}))
        .await;
    assert_eq!(
        subscription(&bench, &id).await["latest_invoice"]["status"],
        "paid"
    );
    let types = bench.types_since(start + 3).await;
    assert_eq!(
        types,
        [
            "invoice.finalized",
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.succeeded",
            "invoice.paid",
            "invoice.payment_succeeded",
            "invoice_payment.paid"
        ]
    );
}

#[tokio::test]
async fn dunning_retries_and_a_new_card_saves_the_subscription() {
    let bench = Bench::start().await;
    let (id, customer) = bench.subscribe("monthly", BAD_LATER).await;
    let start = bench.events().await.len();
    bench.advance_days(32).await;
    let late = subscription(&bench, &id).await;
    assert_eq!(late["status"], "past_due");
    assert_eq!(late["latest_invoice"]["attempt_count"], 1);
    assert!(late["latest_invoice"]["next_payment_attempt"].is_i64());
    let types = bench.types_since(start).await;
    assert_has(
        &types,
        &[
            "charge.failed",
            "payment_intent.payment_failed",
            "invoice.payment_failed",
            "customer.subscription.updated",
        ],
    );
    bench
        .control(
            &format!("customers/{customer}/card"),
            json!({"card": "4242424242424242"}),
        )
        .await;
    bench.advance_days(3).await;
    let saved = subscription(&bench, &id).await;
    assert_eq!(
        (&saved["status"], &saved["latest_invoice"]["status"]),
        (&json!("active"), &json!("paid"))
    );
    assert_eq!(saved["latest_invoice"]["attempt_count"], 2);
}

#[tokio::test]
async fn four_policies_end_the_retries() {
    for (policy, status) in [
        ("cancel", "canceled"),
        ("unpaid", "unpaid"),
        ("past_due", "past_due"),
        ("pause", "paused"),
    ] {
        let bench = Bench::start().await;
        bench
            .control(
                "settings",
                json!({"final_failure": policy, "retry_hours": [24, 24]}),
            )
            .await;
        let (id, customer) = bench.subscribe("annual", BAD_LATER).await;
        let start = bench.events().await.len();
        bench.advance_days(370).await;
        let ended = subscription(&bench, &id).await;
        assert_eq!(ended["status"], status, "{policy}");
        assert_eq!(ended["latest_invoice"]["attempt_count"], 3);
        assert_eq!(ended["latest_invoice"]["next_payment_attempt"], json!(null));
        let types = bench.types_since(start).await;
        assert_eq!(
            types
                .iter()
                .filter(|kind| *kind == "invoice.payment_failed")
                .count(),
            3,
            "{policy}"
        );
        match policy {
            "cancel" => {
                assert_has(&types, &["customer.subscription.deleted"]);
                assert_eq!(ended["cancellation_details"]["reason"], "payment_failed");
            }
            "unpaid" => {
                bench
                    .control(
                        &format!("customers/{customer}/card"),
                        json!({"card": "4242424242424242"}),
                    )
                    .await;
                let invoice = text(&ended["latest_invoice"]["id"]);
                bench
                    .post(&format!("/v1/invoices/{invoice}/pay"), "")
                    .await
                    .ok();
                assert_eq!(subscription(&bench, &id).await["status"], "active");
            }
            "pause" => {
                assert_has(&types, &["customer.subscription.paused"]);
                let reason = &ended["status_details"]["paused"]["subscription"]["type"];
                assert_eq!(reason, "final_payment_failure");
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn cancelling_at_the_end_can_be_withdrawn() {
    let bench = Bench::start().await;
    let (id, _) = bench.subscribe("monthly", "4242424242424242").await;
    let path = format!("/v1/subscriptions/{id}");
    let cancelling = bench
        .post(
            &path,
            "cancel_at_period_end=true&cancellation_details[feedback]=unused",
        )
        .await
        .ok();
    assert_eq!(cancelling["status"], "active");
    assert_eq!(
        cancelling["cancel_at"],
        cancelling["items"]["data"][0]["current_period_end"]
    );
    assert!(cancelling["canceled_at"].is_i64() && cancelling["ended_at"].is_null());
    let kept = bench.post(&path, "cancel_at_period_end=false").await.ok();
    assert_eq!(
        (&kept["cancel_at"], &kept["canceled_at"]),
        (&json!(null), &json!(null))
    );
    bench.post(&path, "cancel_at_period_end=true").await.ok();
    let start = bench.events().await.len();
    bench.advance_days(32).await;
    let ended = subscription(&bench, &id).await;
    assert_eq!(
        (&ended["status"], &ended["ended_at"]),
        (&json!("canceled"), &cancelling["cancel_at"])
    );
    assert_eq!(
        bench.types_since(start).await,
        ["customer.subscription.deleted"],
        "no further invoice"
    );
    let refused = bench.post(&path, "cancel_at_period_end=false").await;
    assert_eq!(refused.status, 400);
    bench.post(&path, "metadata[note]=gone").await.ok();
}

#[tokio::test]
async fn cancel_at_is_a_field_of_its_own() {
    let bench = Bench::start().await;
    let (id, _) = bench.subscribe("monthly", "4242424242424242").await;
    let path = format!("/v1/subscriptions/{id}");
    let now = bench.look("clock").await["now"].as_i64().unwrap();
    let set = bench
        .post(&path, &format!("cancel_at={}", now + 86_400))
        .await
        .ok();
    assert_eq!(set["cancel_at_period_end"], false);
    let same = bench.post(&path, "cancel_at_period_end=false").await.ok();
    assert_eq!(
        same["cancel_at"],
        now + 86_400,
        "the other field does not withdraw it"
    );
    let none = bench.post(&path, "cancel_at=").await.ok();
    assert_eq!(none["cancel_at"], json!(null));
    bench.post(&path, "cancel_at=min_period_end").await.ok();
    bench.advance_days(32).await;
    assert_eq!(subscription(&bench, &id).await["status"], "canceled");
}

#[tokio::test]
async fn cancelling_now_ends_it_now() {
    let bench = Bench::start().await;
    let (id, _) = bench.subscribe("monthly", "4242424242424242").await;
    let path = format!("/v1/subscriptions/{id}");
    let ended = bench.delete(&path).await.ok();
    assert_eq!(ended["status"], "canceled");
    assert!(ended["ended_at"].is_i64());
    assert_eq!(
        bench.delete(&path).await.error(),
        (404, "resource_missing", "id")
    );
    assert_eq!(
        bench.get("/v1/subscriptions").await.ok()["data"],
        json!([]),
        "lists leave ended ones out"
    );
    assert_eq!(
        bench.get("/v1/subscriptions?status=all").await.ok()["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_paused_collection_keeps_the_status() {
    let bench = Bench::start().await;
    let (id, _) = bench.subscribe("monthly", "4242424242424242").await;
    for (behavior, status) in [
        ("keep_as_draft", "draft"),
        ("void", "void"),
        ("mark_uncollectible", "uncollectible"),
    ] {
        bench
            .post(
                &format!("/v1/subscriptions/{id}"),
                &format!("pause_collection[behavior]={behavior}"),
            )
            .await
            .ok();
        bench.advance_days(32).await;
        let paused = subscription(&bench, &id).await;
        assert_eq!(
            (&paused["status"], &paused["latest_invoice"]["status"]),
            (&json!("active"), &json!(status))
        );
    }
    let resumed = bench
        .post(&format!("/v1/subscriptions/{id}"), "pause_collection=")
        .await
        .ok();
    assert_eq!(resumed["pause_collection"], json!(null));
}

#[tokio::test]
async fn a_subscription_is_paused_and_resumed() {
    let bench = Bench::start().await;
    let (id, customer) = bench.subscribe("monthly", "4242424242424242").await;
    let start = bench.events().await.len();
    let paused = bench
        .post(
            &format!("/v1/subscriptions/{id}/pause"),
            "type=subscription",
        )
        .await
        .ok();
    assert_eq!(paused["status"], "paused");
    assert_eq!(
        paused["status_details"]["paused"]["subscription"]["type"],
        "pause_requested"
    );
    bench.advance_days(40).await;
    let types = bench.types_since(start).await;
    assert_eq!(
        types,
        [
            "customer.subscription.paused",
            "customer.subscription.updated"
        ],
        "nothing is billed"
    );
    let resumed = bench
        .post(&format!("/v1/subscriptions/{id}/resume"), "")
        .await
        .ok();
    assert_eq!(
        (&resumed["status"], &resumed["status_details"]),
        (&json!("active"), &json!(null))
    );
    assert_has(
        &bench.types_since(start).await,
        &["customer.subscription.resumed", "invoice.paid"],
    );

    bench
        .post(&format!("/v1/subscriptions/{id}/pause"), "")
        .await
        .ok();
    bench
        .control(
            &format!("customers/{customer}/card"),
            json!({"card": "4000000000000341"}),
        )
        .await;
    let still = bench
        .post(
            &format!("/v1/subscriptions/{id}/resume"),
            "payment_behavior=resume_on_payment_success",
        )
        .await
        .ok();
    assert_eq!(still["status"], "paused");
    bench.advance_days(1).await;
    assert_eq!(
        subscription(&bench, &id).await["latest_invoice"]["status"],
        "void"
    );
}

#[tokio::test]
async fn authentication_on_renewal_needs_the_member() {
    let bench = Bench::start().await;
    let customer = bench.customer().await;
    let session = bench
        .session("subscription", "monthly", &format!("&customer={customer}"))
        .await;
    let path = format!("checkout/{}/pay", text(&session["id"]));
    bench
        .control(
            &path,
            json!({"card": "4000002760003184", "authenticate": true}),
        )
        .await;
    let start = bench.events().await.len();
    bench.advance_days(32).await;
    assert_has(
        &bench.types_since(start).await,
        &[
            "payment_intent.requires_action",
            "invoice.payment_action_required",
            "invoice.payment_failed",
        ],
    );
}

#[tokio::test]
async fn invoices_are_sent_and_paid_in_cash() {
    let bench = Bench::start().await;
    let (customer, price) = (bench.customer().await, bench.price("annual").await);
    let form = format!(
        "customer={customer}&items[0][price]={price}&collection_method=send_invoice&days_until_due=14&metadata[k]=v"
    );
    let created = bench.post("/v1/subscriptions", &form).await.ok();
    assert_eq!(created["status"], "active");
    let invoice = text(&created["latest_invoice"]);
    bench
        .control("clock/advance", json!({"seconds": 3_601}))
        .await;
    assert_eq!(
        bench.get(&format!("/v1/invoices/{invoice}")).await.ok()["status"],
        "open"
    );
    bench.advance_days(15).await;
    let id = text(&created["id"]);
    assert_eq!(subscription(&bench, &id).await["status"], "past_due");
    let start = bench.events().await.len();
    let paid = bench
        .post(
            &format!("/v1/invoices/{invoice}/pay"),
            "paid_out_of_band=true",
        )
        .await
        .ok();
    assert_eq!(
        (&paid["status"], &paid["amount_paid_off_stripe"]),
        (&json!("paid"), &json!(3_000))
    );
    assert_eq!(
        bench.types_since(start).await,
        ["invoice.paid", "customer.subscription.updated"]
    );
    assert_eq!(subscription(&bench, &id).await["status"], "active");
    assert_eq!(bench.look("objects/charge").await, json!([]));
}

#[tokio::test]
async fn an_incomplete_subscription_expires_after_23_hours() {
    let bench = Bench::start().await;
    let (customer, price) = (bench.customer().await, bench.price("monthly").await);
    let form =
        format!("customer={customer}&items[0][price]={price}&payment_behavior=default_incomplete");
    let created = bench.post("/v1/subscriptions", &form).await.ok();
    assert_eq!(created["status"], "incomplete");
    let start = bench.events().await.len();
    bench.advance_days(1).await;
    let expired = subscription(&bench, &text(&created["id"])).await;
    assert_eq!(
        (&expired["status"], &expired["latest_invoice"]["status"]),
        (&json!("incomplete_expired"), &json!("void"))
    );
    assert_has(
        &bench.types_since(start).await,
        &["invoice.voided", "customer.subscription.updated"],
    );
}

#[tokio::test]
async fn a_test_clock_moves_time() {
    let bench = Bench::start().await;
    let now = bench.look("clock").await["now"].as_i64().unwrap();
    let clock = bench
        .post(
            "/v1/test_helpers/test_clocks",
            &format!("frozen_time={now}&name=t"),
        )
        .await
        .ok();
    let id = text(&clock["id"]);
    let target = now + 40 * 86_400;
    let path = format!("/v1/test_helpers/test_clocks/{id}");
    let advancing = bench
        .post(&format!("{path}/advance"), &format!("frozen_time={target}"))
        .await
        .ok();
    assert_eq!(advancing["status"], "advancing");
    let ready = bench.get(&path).await.ok();
    assert_eq!(
        (&ready["status"], &ready["frozen_time"]),
        (&json!("ready"), &json!(target))
    );
    assert!(bench.look("clock").await["now"].as_i64().unwrap() >= target);
    let too_far = bench
        .post(
            &format!("{path}/advance"),
            &format!("frozen_time={}", target + 900 * 86_400),
        )
        .await;
    assert_eq!(too_far.error(), (400, "", "frozen_time"));
}
