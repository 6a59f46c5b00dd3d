//! Events in the shapes of API versions from 2020 on: the same rows, whichever version the endpoint was made with.
//!
//! Written by hand after Stripe's changelog, and once more by the sandbox, which renders older shapes by itself.

use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::purchase::Purchase;

const VERSIONS: [&str; 4] = [
    "2020-08-27",
    "2022-11-15",
    "2024-06-20",
    "2026-10-28.endive",
];

/// When the period of the samples ends.
const PERIOD_END: i64 = 1_893_456_000;

/// What the samples are about.
struct Names {
    version: &'static str,
    at: i64,
    session: String,
    customer: String,
    checkout: String,
    line: String,
}

impl Names {
    fn is_nested(&self) -> bool {
        self.version >= "2025-03-31"
    }

    fn event(&self, id: &str, kind: &str, object: &Value) -> Value {
        json!({
            "id": id, "object": "event", "api_version": self.version, "created": self.at, "type": kind,
            "livemode": false, "pending_webhooks": 1, "request": {"id": null, "idempotency_key": null},
            "data": {"object": object},
        })
    }

    fn subscription(&self) -> Value {
        let mut subscription = json!({
            "id": "sub_1", "object": "subscription", "status": "active", "customer": self.customer,
            "cancel_at": null, "cancel_at_period_end": false, "canceled_at": null, "ended_at": null,
            "livemode": false, "metadata": {"dues_subscription_id": self.line}, "pause_collection": null,
            "items": {"object": "list", "has_more": false, "data": [{"id": "si_1", "object": "subscription_item"}]},
        });
        if self.is_nested() {
            subscription["items"]["data"][0]["current_period_end"] = json!(PERIOD_END);
        } else {
            subscription["current_period_end"] = json!(PERIOD_END);
        }
        subscription
    }

    fn invoice(&self) -> Value {
        let mut invoice = json!({
            "id": "in_1", "object": "invoice", "status": "paid", "billing_reason": "subscription_create",
            "amount_due": 3000, "amount_paid": 3000, "amount_remaining": 0, "total": 3000, "attempt_count": 1,
            "customer": self.customer, "livemode": false, "metadata": {},
            "status_transitions": {"paid_at": self.at, "finalized_at": self.at},
        });
        let metadata = json!({"dues_subscription_id": self.line});
        invoice["lines"] = json!({"object": "list", "has_more": false, "data": [
            {"id": "il_0", "object": "line_item", "metadata": {}},
            {"id": "il_1", "object": "line_item", "metadata": metadata},
        ]});
        if self.is_nested() {
            invoice["parent"] = json!({
                "type": "subscription_details", "quote_details": null,
                "subscription_details": {"subscription": "sub_1", "metadata": metadata},
            });
        } else {
            invoice["subscription"] = json!("sub_1");
            invoice["payment_intent"] = json!("pi_1");
            invoice["charge"] = json!("ch_1");
            invoice["paid"] = json!(true);
            if self.version >= "2023" {
                invoice["subscription_details"] = json!({"metadata": metadata});
            }
        }
        invoice
    }

    fn session(&self) -> Value {
        let mut session = json!({
            "id": self.session, "object": "checkout.session", "mode": "subscription", "payment_status": "paid",
            "amount_total": 3000, "client_reference_id": self.checkout, "customer": self.customer,
            "subscription": "sub_1", "payment_intent": null, "livemode": false,
            "metadata": {"dues_checkout_id": self.checkout, "dues_subscription_id": self.line},
        });
        // Neither was there from the beginning.
        if self.version >= "2022" {
            session["status"] = json!("complete");
            session["invoice"] = json!("in_1");
        }
        session
    }

    /// The first purchase as Stripe tells it.
    fn purchase(&self) -> Vec<Value> {
        let invoice = self.invoice();
        vec![
            self.event(
                "evt_1",
                "customer.subscription.created",
                &self.subscription(),
            ),
            self.event("evt_2", "invoice.paid", &invoice),
            self.event("evt_3", "invoice.payment_succeeded", &invoice),
            self.event("evt_4", "checkout.session.completed", &self.session()),
        ]
    }
}

/// A service with an open checkout, and the names for events about it.
async fn open(version: &'static str) -> (TestApp, Purchase, Names) {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let purchase = app.open(&alice, "membership-annual").await;
    let customer = app
        .value("checkouts", "stripe_customer_id", &purchase.checkout)
        .await
        .expect("the customer is known");
    let names = Names {
        version,
        at: app.clock.now().unix_timestamp(),
        session: purchase.session.clone(),
        customer,
        checkout: purchase.checkout.clone(),
        line: purchase.subscription.clone(),
    };
    (app, purchase, names)
}

/// What the samples must leave behind, whatever their shape and order.
async fn assert_bought(app: &TestApp, purchase: &Purchase, what: &str) {
    let row = app.row(&purchase.subscription).await;
    assert_eq!(
        (row.status.as_str(), row.reason.as_str()),
        ("ACTIVE", "paid"),
        "{what}"
    );
    assert_eq!(row.stripe_subscription.as_deref(), Some("sub_1"), "{what}");
    let money = app.transactions(&purchase.subscription).await;
    assert_eq!(money, ["payment in_1"], "{what}");
    let end: i64 = sqlx::query_scalar(
        "SELECT extract(epoch FROM current_period_end)::bigint FROM subscriptions",
    )
    .fetch_one(&app.pool)
    .await
    .expect("a period");
    assert_eq!(end, PERIOD_END, "{what}");
    let states: Vec<String> = sqlx::query_scalar("SELECT DISTINCT state FROM webhook_events")
        .fetch_all(&app.pool)
        .await
        .expect("the events");
    assert_eq!(states, ["applied"], "{what}");
}

#[tokio::test]
async fn a_purchase_told_in_any_version_and_order_leaves_the_same_rows() {
    let cases = VERSIONS
        .iter()
        .flat_map(|version| (0..4).map(move |start| tell(version, start)));
    let running: Vec<_> = cases.map(tokio::spawn).collect();
    for case in running {
        case.await.expect("the rows are as they must be");
    }
}

async fn tell(version: &'static str, start: usize) {
    let (app, purchase, names) = open(version).await;
    let mut events = names.purchase();
    events.rotate_left(start);
    if start % 2 == 1 {
        events.reverse();
    }
    for event in &events {
        assert_eq!(app.deliver(event).await, "applied", "{version} {event}");
    }
    assert_bought(&app, &purchase, &format!("{version} from {start}")).await;
}

#[tokio::test]
async fn one_kind_of_event_is_enough_whatever_its_version() {
    for version in VERSIONS {
        for kind in ["checkout.session.completed", "invoice.paid"] {
            let (app, purchase, names) = open(version).await;
            let events = names.purchase();
            let event = events.iter().find(|event| event["type"] == kind);
            let event = event.expect("it is among the samples");
            assert_eq!(app.deliver(event).await, "applied", "{version} {kind}");
            let row = app.row(&purchase.subscription).await;
            assert_eq!(row.status, "ACTIVE", "{version} {kind}");
        }
    }
}

#[tokio::test]
async fn a_renewal_and_its_failures_are_read_in_every_version() {
    for version in VERSIONS {
        let (app, purchase, names) = open(version).await;
        for event in names.purchase() {
            app.deliver(&event).await;
        }
        let mut failed = names.invoice();
        failed["id"] = json!("in_2");
        failed["status"] = json!("open");
        failed["billing_reason"] = json!("subscription_cycle");
        failed["amount_paid"] = json!(0);
        failed["status_transitions"]["paid_at"] = Value::Null;
        for attempt in 1..=2 {
            failed["attempt_count"] = json!(attempt);
            let id = format!("evt_failed_{attempt}");
            let event = names.event(&id, "invoice.payment_failed", &failed);
            assert_eq!(app.deliver(&event).await, "applied", "{version}");
        }
        let mut paid = names.invoice();
        paid["id"] = json!("in_2");
        paid["billing_reason"] = json!("subscription_cycle");
        paid["status_transitions"]["paid_at"] = json!(names.at + 60);
        let event = names.event("evt_paid", "invoice.paid", &paid);
        assert_eq!(app.deliver(&event).await, "applied", "{version}");
        let mut money = app.transactions(&purchase.subscription).await;
        money.sort_unstable();
        let expected = [
            "payment in_1",
            "payment in_2",
            "payment_failed in_2#1",
            "payment_failed in_2#2",
        ];
        assert_eq!(money, expected, "{version}");
    }
}

#[tokio::test]
async fn an_end_is_read_in_every_version() {
    for version in VERSIONS {
        let (app, purchase, names) = open(version).await;
        for event in names.purchase() {
            app.deliver(&event).await;
        }
        let mut over = names.subscription();
        over["status"] = json!("canceled");
        let event = names.event("evt_over", "customer.subscription.deleted", &over);
        app.deliver(&event).await;
        let row = app.row(&purchase.subscription).await;
        assert_eq!(
            (row.status.as_str(), row.reason.as_str()),
            ("ENDED", "ended"),
            "{version}"
        );
    }
}

#[tokio::test]
async fn a_session_that_does_not_say_whether_it_was_paid_is_read_from_stripe() {
    let (app, purchase, names) = open("2020-08-27").await;
    app.hold_deliveries().await;
    app.pay(&purchase).await;
    let mut session = names.session();
    for key in ["payment_status", "amount_total", "subscription"] {
        session.as_object_mut().expect("an object").remove(key);
    }
    let event = names.event("evt_1", "checkout.session.completed", &session);
    assert_eq!(app.deliver(&event).await, "deferred");
    let row = app.until_status(&purchase.subscription, "ACTIVE").await;
    assert_eq!(row.reason, "paid");
    app.until("it is settled", async || {
        (app.events_in("applied").await.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_status_that_stripe_has_added_since_is_flagged_and_not_guessed() {
    let (app, purchase, names) = open("2026-10-28.endive").await;
    for event in names.purchase() {
        app.deliver(&event).await;
    }
    let before = app.row(&purchase.subscription).await;
    let mut subscription = names.subscription();
    subscription["status"] = json!("hibernating");
    let event = names.event("evt_new", "customer.subscription.updated", &subscription);
    assert_eq!(app.deliver(&event).await, "flagged");
    assert_eq!(app.row(&purchase.subscription).await, before);
}

#[tokio::test]
async fn an_object_that_can_not_be_read_is_asked_for_again() {
    let (app, purchase, names) = open("2026-10-28.endive").await;
    let mut session = names.session();
    session["id"] = json!(7);
    let event = names.event("evt_1", "checkout.session.completed", &session);
    app.delivery(&event)
        .send()
        .await
        .assert_problem(500, "unreadable_object");
    assert_eq!(app.row(&purchase.subscription).await.version, 2);
    assert_eq!(app.count("webhook_events").await, 0);
}

#[tokio::test]
async fn what_the_sandbox_renders_for_an_older_endpoint_leaves_the_same_rows() {
    let mut seen = Vec::new();
    for version in VERSIONS {
        let app = TestApp::start().await;
        let alice = app.member("alice");
        let body = json!({"lines": [{"plan": "membership-annual"}, {"plan": "share"}]});
        let opened = app
            .order(&alice, body)
            .send()
            .await
            .assert_status(201)
            .json();
        let purchase = app.purchase(&opened).await;
        app.hold_deliveries().await;
        app.pay(&purchase).await;
        let events = app.sandbox.stripe("/v1/events?limit=100").await;
        let events = events["data"].as_array().cloned().expect("a list");
        let ids: Vec<&Value> = events.iter().map(|event| &event["id"]).collect();
        app.sandbox
            .post("/_sandbox/deliveries/release", json!({ "drop": ids }))
            .await;
        for event in &events {
            let forge = json!({
                "event": event["id"], "id": event["id"], "created": event["created"], "api_version": version,
            });
            app.sandbox.post("/_sandbox/events/forge", forge).await;
        }
        app.settle().await;
        let mut rows = Vec::new();
        for line in opened["subscriptions"].as_array().expect("the lines") {
            let id = line["id"].as_str().expect("an id");
            let row = app.row(id).await;
            let end = app.value("subscriptions", "current_period_end", id).await;
            rows.push(format!(
                "{} {} {} {} {}",
                row.status,
                row.reason,
                row.stripe_subscription.is_some(),
                end.is_some(),
                app.transactions(id).await.len()
            ));
        }
        seen.push(rows);
    }
    assert_eq!(
        seen[0],
        ["ACTIVE paid true true 1", "ACTIVE paid false false 1"]
    );
    assert!(seen.iter().all(|rows| *rows == seen[0]), "{seen:#?}");
}
