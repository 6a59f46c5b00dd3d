//! Webhooks as an endpoint sees them.

use aws_lc_rs::hmac;
use serde_json::json;

use crate::bench::{Bench, Hook, Received, SECRETS, assert_has, text};

fn is_signed(received: &Received, secret: &str) -> bool {
    let parts: Vec<(&str, &str)> = received
        .signature
        .split(',')
        .filter_map(|part| part.split_once('='))
        .collect();
    let at = parts.iter().find(|(name, _)| *name == "t").unwrap().1;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{at}.{}", received.body).as_bytes());
    let wanted: Vec<String> = tag
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let wanted = wanted.concat();
    parts.contains(&("v1", wanted.as_str()))
}

#[tokio::test]
async fn every_attempt_is_signed_with_every_secret_at_wall_time() {
    let (bench, hook) = Bench::with_hook().await;
    bench.advance_days(400).await;
    bench.customer().await;
    bench.control("deliveries/settle", json!({})).await;
    let received = hook.received().pop().unwrap();
    assert!(SECRETS.iter().all(|secret| is_signed(&received, secret)));
    assert!(!is_signed(&received, "whsec_other"));
    assert!(received.signature.contains("v0="));
    let signed_at: i64 = received.signature.split(',').next().unwrap()[2..]
        .parse()
        .unwrap();
    let created = received.event()["created"].as_i64().unwrap();
    assert!(
        created - signed_at > 390 * 86_400,
        "events follow the clock, signatures don't"
    );
    assert_eq!(received.event()["livemode"], false);
    assert!(
        received.event()["request"]["id"]
            .as_str()
            .unwrap()
            .starts_with("req_")
    );
}

#[tokio::test]
async fn whatever_is_not_2xx_is_tried_again() {
    let (bench, hook) = Bench::with_hook().await;
    hook.answer(&[500, 302, 404]);
    bench.customer().await;
    loop {
        let state = bench
            .control("deliveries/settle", json!({"timeout_ms": 1_000}))
            .await;
        if state == json!({"settled": true, "pending": 0, "failed": 0}) {
            break;
        }
    }
    assert_eq!(hook.received().len(), 4);
    let log = bench.look("deliveries").await;
    let statuses: Vec<i64> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["status"].as_i64().unwrap())
        .collect();
    assert_eq!(statuses, [500, 302, 404, 200]);
    let event = text(&log[0]["event"]);
    assert_eq!(
        bench.get(&format!("/v1/events/{event}")).await.ok()["pending_webhooks"],
        0
    );
}

#[tokio::test]
async fn an_endpoint_that_never_accepts_is_given_up() {
    let (bench, hook) = Bench::with_hook().await;
    hook.answer(&[500; 4]);
    bench.customer().await;
    while hook.received().len() < 4 {
        bench
            .control("deliveries/settle", json!({"timeout_ms": 1_000}))
            .await;
    }
    let state = bench.control("deliveries/settle", json!({})).await;
    assert_eq!(state, json!({"settled": true, "pending": 0, "failed": 1}));
    assert_eq!(
        bench.get("/v1/events?delivery_success=false").await.ok()["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn endpoints_are_managed_and_get_what_they_asked_for() {
    let bench = Bench::start().await;
    let hook = Hook::start().await;
    let form = format!(
        "url={}&enabled_events[]=customer.deleted&api_version=2026-09-30.endive",
        hook.url
    );
    let created = bench.post("/v1/webhook_endpoints", &form).await.ok();
    let id = text(&created["id"]);
    let secret = text(&created["secret"]);
    assert!(
        bench
            .get(&format!("/v1/webhook_endpoints/{id}"))
            .await
            .ok()
            .get("secret")
            .is_none()
    );
    let customer = bench.customer().await;
    bench
        .delete(&format!("/v1/customers/{customer}"))
        .await
        .ok();
    bench.control("deliveries/settle", json!({})).await;
    assert_eq!(hook.types(), ["customer.deleted"]);
    assert!(is_signed(&hook.received()[0], &secret));
    assert_eq!(
        hook.received()[0].event()["api_version"],
        "2026-09-30.endive"
    );
    bench
        .delete(&format!("/v1/webhook_endpoints/{id}"))
        .await
        .ok();
    assert_eq!(
        bench.get("/v1/webhook_endpoints").await.ok()["data"],
        json!([])
    );
}

#[tokio::test]
async fn held_deliveries_are_released_in_any_order() {
    let (bench, hook) = Bench::with_hook().await;
    bench.control("deliveries/hold", json!({})).await;
    for name in ["a", "b", "c"] {
        bench
            .post("/v1/customers", &format!("name={name}"))
            .await
            .ok();
    }
    let state = bench.control("deliveries/settle", json!({})).await;
    assert_eq!(state, json!({"settled": true, "pending": 3, "failed": 0}));
    assert!(hook.received().is_empty());
    let dropped = text(&bench.events().await[1]["id"]);
    let released = bench
        .control(
            "deliveries/release",
            json!({"order": "reverse", "duplicate": 1, "drop": [dropped]}),
        )
        .await;
    assert_eq!(released, json!({"released": 4, "dropped": 1}));
    bench.control("deliveries/settle", json!({})).await;
    let names: Vec<String> = hook
        .received()
        .iter()
        .map(|received| text(&received.event()["data"]["object"]["name"]))
        .collect();
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(sorted, ["a", "a", "c", "c"]);
    assert_eq!((names[0].as_str(), names[3].as_str()), ("c", "a"));
}

#[tokio::test]
async fn events_are_sent_again_on_demand() {
    let (bench, hook) = Bench::with_hook().await;
    bench.customer().await;
    let event = text(&bench.events().await[0]["id"]);
    bench
        .control(&format!("events/{event}/send"), json!({"times": 2}))
        .await;
    bench.control("deliveries/settle", json!({})).await;
    let ids: Vec<String> = hook
        .received()
        .iter()
        .map(|received| text(&received.event()["id"]))
        .collect();
    assert_eq!(ids, [event.clone(), event.clone(), event]);
}

#[tokio::test]
async fn forged_events_are_signed_and_contradict_the_api() {
    let (bench, hook) = Bench::with_hook().await;
    let (id, _) = bench.subscribe("annual", "4242424242424242").await;
    bench.control("deliveries/settle", json!({})).await;
    hook.forget();
    let forged = bench
        .control(
            "events/forge",
            json!({"type": "customer.subscription.updated", "object": id, "object_patch": {"status": "unpaid"},
                "livemode": true, "created": 5, "event_patch": {"request": null}}),
        )
        .await;
    bench.control("deliveries/settle", json!({})).await;
    let received = hook.received().pop().unwrap();
    assert!(is_signed(&received, SECRETS[0]));
    let event = received.event();
    assert_eq!(
        (&event["livemode"], &event["created"]),
        (&json!(true), &json!(5))
    );
    assert_eq!(event["data"]["object"]["status"], "unpaid");
    assert_eq!(
        bench.get(&format!("/v1/subscriptions/{id}")).await.ok()["status"],
        "active"
    );
    assert_eq!(
        bench
            .get(&format!("/v1/events/{}", text(&forged["event"]["id"])))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn an_old_endpoint_gets_old_shapes() {
    let bench = Bench::unrecorded().await;
    let hook = Hook::start().await;
    let form = format!("url={}&enabled_events[]=*&api_version=2024-06-20", hook.url);
    bench.post("/v1/webhook_endpoints", &form).await.ok();
    let (subscription, _) = bench.subscribe("annual", "4242424242424242").await;
    let charge = text(&bench.look("objects/charge").await[0]["id"]);
    bench
        .post("/v1/refunds", &format!("charge={charge}"))
        .await
        .ok();
    bench.control("deliveries/settle", json!({})).await;
    let object = |kind: &str| {
        let received = hook.received().into_iter().map(|received| received.event());
        received
            .into_iter()
            .find(|event| event["type"] == kind)
            .unwrap()["data"]["object"]
            .clone()
    };
    let old = object("customer.subscription.created");
    assert!(old["current_period_end"].is_i64());
    assert!(old["items"]["data"][0].get("current_period_end").is_none());
    let invoice = object("invoice.paid");
    assert_eq!(
        (&invoice["subscription"], &invoice["paid"]),
        (&json!(subscription), &json!(true))
    );
    assert!(
        invoice["payment_intent"].is_string()
            && invoice["charge"].is_string()
            && invoice.get("parent").is_none()
    );
    let line = &invoice["lines"]["data"][0];
    assert_eq!(
        (&line["type"], &line["price"]["lookup_key"]),
        (&json!("subscription"), &json!("annual"))
    );
    assert_eq!(object("charge.refunded")["invoice"], invoice["id"]);
    assert_eq!(object("checkout.session.completed")["ui_mode"], "hosted");
    let answer = bench
        .http
        .get(format!("{}/v1/subscriptions/{subscription}", bench.url))
        .bearer_auth("sk_test_sandbox")
        .header("stripe-version", "2024-06-20");
    let body: serde_json::Value = answer.send().await.unwrap().json().await.unwrap();
    assert!(body["current_period_end"].is_i64());
}

#[tokio::test]
async fn chaos_loses_doubles_and_twins_events_the_same_way_each_time() {
    let mut runs = vec![];
    for _ in 0..2 {
        let (bench, hook) = Bench::with_hook().await;
        let chaos = json!({"shuffle": true, "duplicate": 0.5, "drop": 0.3, "twin_events": true, "max_delay_ms": 20, "seed": 7});
        bench.control("chaos", chaos).await;
        for at in 0..5 {
            bench
                .post("/v1/customers", &format!("name=n{at}"))
                .await
                .ok();
        }
        bench.control("deliveries/settle", json!({})).await;
        assert_eq!(
            bench.events().await.len(),
            10,
            "two different events for each change"
        );
        let mut names: Vec<String> = hook
            .received()
            .iter()
            .map(|received| text(&received.event()["data"]["object"]["name"]))
            .collect();
        names.sort();
        runs.push(names);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0].len(), 10);
}

#[tokio::test]
async fn a_payment_can_wait_for_its_webhook() {
    let (bench, hook) = Bench::with_hook().await;
    let session = bench.session("payment", "share", "").await;
    let path = format!("checkout/{}/pay", text(&session["id"]));
    bench
        .control(
            &path,
            json!({"card": "4242424242424242", "wait_for_webhook": true}),
        )
        .await;
    assert_has(&hook.types(), &["checkout.session.completed"]);
}

#[tokio::test]
async fn a_disabled_endpoint_gets_its_events_once_it_is_enabled() {
    let (bench, hook) = Bench::with_hook().await;
    bench
        .control("settings", json!({"webhook_retry_ms": vec![20; 200]}))
        .await;
    bench.customer().await;
    bench.control("deliveries/settle", json!({})).await;
    hook.forget();
    let endpoint = text(&bench.look("objects/webhook_endpoint").await[0]["id"]);
    let path = format!("/v1/webhook_endpoints/{endpoint}");
    hook.answer(&[500]);
    bench.customer().await;
    while hook.received().is_empty() {
        bench.control("deliveries/settle", json!({})).await;
    }
    assert_eq!(
        bench.post(&path, "disabled=true").await.ok()["status"],
        "disabled"
    );
    let seen = hook.received().len();
    bench.customer().await;
    bench.post(&path, "disabled=false").await.ok();
    while hook.received().len() == seen
        && bench.control("deliveries/settle", json!({})).await["pending"] != 0
    {}
    assert_eq!(
        bench
            .look("deliveries")
            .await
            .as_array()
            .unwrap()
            .last()
            .unwrap()["state"],
        "delivered"
    );
    assert!(hook.types().iter().all(|kind| kind == "customer.created"));
}
