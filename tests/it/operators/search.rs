//! One box: whatever is pasted leads to the member, with few calls to Stripe, and leaves no trace of its text.

use reqwest::Method;
use serde_json::{Value, json};

use super::all;
use crate::harness::lifecycle::text;
use crate::harness::purchase::GOOD_CARD;
use crate::harness::{Answer, TestApp};

const SEARCH: &str = "/v1/operator/search";
/// The most calls to Stripe that a search may make.
const CALLS: usize = 4;

async fn asked(app: &TestApp, token: &str, q: &str) -> Answer {
    let call = app.post(SEARCH).bearer(token);
    call.json(json!({ "q": q })).send().await
}

async fn found(app: &TestApp, q: &str) -> Value {
    let boss = app.staff("boss", &["operator"]);
    asked(app, &boss, q).await.assert_status(200).json()
}

/// Searches, and tells how many calls to Stripe that took.
async fn counted(app: &TestApp, q: &str) -> (Value, usize) {
    let before = app.service_calls_but_events().await;
    let found = found(app, q).await;
    (found, app.service_calls_but_events().await - before)
}

async fn quiet() -> TestApp {
    let app = TestApp::start().await;
    app.first_walk_is_over().await;
    app
}

#[tokio::test]
async fn ids_of_ours_and_of_stripes_lead_to_the_member_without_asking_stripe() {
    let app = quiet().await;
    let bought = app.sell("membership-annual", GOOD_CARD).await;
    let row = app
        .looked_at(&format!(
            "/v1/operator/subscriptions/{}",
            bought.subscription
        ))
        .await;
    let transactions: Vec<(String, String, Option<String>)> = sqlx::query_as(
        "SELECT id::text, stripe_reference, stripe_payment_intent_id FROM transactions",
    )
    .fetch_all(&app.pool)
    .await
    .expect("the rows");
    let (transaction, invoice, intent) = transactions[0].clone();
    let intent = intent.expect("a payment");
    let event: String = sqlx::query_scalar(
        "SELECT id FROM webhook_events WHERE type = 'checkout.session.completed'",
    )
    .fetch_one(&app.pool)
    .await
    .expect("an event");
    let (stripe, session) = (
        text(&row["stripe"]["subscription_id"]),
        bought.session.clone(),
    );
    let customer = text(&row["stripe"]["customer_id"]);
    for (q, kind, id) in [
        (
            bought.subscription.clone(),
            "subscription",
            bought.subscription.clone(),
        ),
        (
            format!(" \"{}\" ", bought.subscription),
            "subscription",
            bought.subscription.clone(),
        ),
        (bought.checkout.clone(), "checkout", bought.checkout.clone()),
        (transaction.clone(), "transaction", transaction.clone()),
        (stripe.clone(), "subscription", bought.subscription.clone()),
        (session, "checkout", bought.checkout.clone()),
        (customer.clone(), "customer", customer.clone()),
        (intent, "transaction", transaction.clone()),
        (invoice, "transaction", transaction.clone()),
        (event.clone(), "event", event.clone()),
        ("alice".to_owned(), "member", "alice".to_owned()),
        (
            format!("https://dashboard.stripe.com/test/subscriptions/{stripe}"),
            "subscription",
            bought.subscription.clone(),
        ),
        (
            "https://dues.example.org/console/members/alice".to_owned(),
            "member",
            "alice".to_owned(),
        ),
    ] {
        let (found, calls) = counted(&app, &q).await;
        assert_eq!(calls, 0, "{q}");
        let hit = &found["data"][0];
        assert_eq!(
            (&hit["kind"], &hit["id"]),
            (&json!(kind), &json!(id)),
            "{q}: {found:#}"
        );
        assert_eq!(hit["user_id"], "alice", "{q}");
        if !["customer", "member"].contains(&kind) {
            assert_eq!(hit["subscription_id"], bought.subscription.as_str(), "{q}");
        }
        assert!(hit["why"].as_str().is_some_and(|why| why.ends_with('.')));
        assert_eq!((&hit["name"], &hit["email"]), (&Value::Null, &Value::Null));
    }
}

#[tokio::test]
async fn what_our_rows_do_not_know_is_read_at_stripe_in_few_calls() {
    let app = quiet().await;
    let bought = app.sell("membership-annual", GOOD_CARD).await;
    let intent = app.payment_of(&bought).await;
    let payment = app
        .sandbox
        .stripe(&format!("/v1/payment_intents/{intent}"))
        .await;
    let charge = text(&payment["latest_charge"]);
    // What webhooks have not told: a refund and a dispute.
    app.sandbox
        .post("/_sandbox/chaos", json!({"drop": 1.0}))
        .await;
    let refunded = [("payment_intent", intent.as_str()), ("amount", "100")];
    let refund = app.at_stripe(Method::POST, "/v1/refunds", &refunded).await;
    let refund = text(&refund["id"]);
    let disputed = json!({"payment_intent": intent, "reason": "fraudulent"});
    let dispute = app.sandbox.post("/_sandbox/disputes", disputed).await;
    let dispute = text(&dispute["id"]);
    let foreign = app
        .at_stripe(
            Method::POST,
            "/v1/customers",
            &[("email", "eve@example.org")],
        )
        .await;
    let foreign = text(&foreign["id"]);
    for q in [charge.as_str(), refund.as_str(), dispute.as_str()] {
        let (found, calls) = counted(&app, q).await;
        assert!((1..=CALLS).contains(&calls), "{q}: {calls} calls");
        assert_eq!(found["data"][0]["user_id"], "alice", "{q}: {found:#}");
        let why = text(&found["data"][0]["why"]);
        assert!(why.contains(&intent), "{why}");
    }
    // Even where our rows have lost the payment, the invoice or the customer leads there.
    app.by_hand("ALTER TABLE transactions DISABLE TRIGGER ALL; DELETE FROM transactions")
        .await;
    for q in [charge.as_str(), refund.as_str(), intent.as_str()] {
        let (found, calls) = counted(&app, q).await;
        assert!((1..=CALLS).contains(&calls), "{q}: {calls} calls");
        assert_eq!(found["data"][0]["user_id"], "alice", "{q}: {found:#}");
    }
    let (nobodys, calls) = counted(&app, &foreign).await;
    assert_eq!(calls, 1);
    let hit = &nobodys["data"][0];
    assert_eq!(
        (&hit["kind"], &hit["id"], &hit["user_id"]),
        (&json!("customer"), &json!(foreign), &Value::Null)
    );
    assert!(text(&hit["why"]).contains("not ours"), "{hit}");
    for q in [
        "ch_unknown",
        "sub_unknown",
        "evt_unknown",
        "du_1",
        "cus_unknown",
        "in_unknown",
        "re_unknown",
        "cs_test_unknown",
        "pi_unknown",
    ] {
        let (found, calls) = counted(&app, q).await;
        assert_eq!(
            (found["data"].as_array().map(Vec::len), calls),
            (Some(0), 1),
            "{q}"
        );
        assert!(found["note"].is_string(), "{q}");
    }
    let nothing = found(&app, "https://example.org/").await;
    assert_eq!(nothing["data"], json!([]));
}

#[tokio::test]
async fn an_event_that_never_came_leads_to_what_it_tells() {
    let app = quiet().await;
    app.sell("membership-annual", GOOD_CARD).await;
    let events = app.events_of("customer.subscription.created").await;
    let id = text(&events[0]["id"]);
    app.by_hand("DELETE FROM webhook_events").await;
    let (found, calls) = counted(&app, &id).await;
    assert_eq!(calls, 1);
    assert_eq!(found["data"][0]["kind"], "subscription", "{found:#}");
    assert_eq!(found["data"][0]["user_id"], "alice");
}

#[tokio::test]
async fn an_address_is_found_as_it_is_written_and_in_small_letters() {
    let app = quiet().await;
    let bought = app.sell("share", GOOD_CARD).await;
    let customer = app.customer_of(&bought).await;
    let path = format!("/v1/customers/{customer}");
    app.at_stripe(
        Method::POST,
        &path,
        &[("email", "ada@example.org"), ("name", "Ada")],
    )
    .await;
    let named = [
        ("email", "ada@example.org"),
        ("metadata[dues_user_id]", "carol"),
    ];
    let other = app.at_stripe(Method::POST, "/v1/customers", &named).await;
    let (small, calls) = counted(&app, "ada@example.org").await;
    assert_eq!(calls, 1);
    assert!(
        all(&small, "kind").contains(&"member".to_owned()),
        "{small:#}"
    );
    let (large, calls) = counted(&app, "Ada@Example.org").await;
    assert_eq!(calls, 2);
    assert_eq!(large["data"], small["data"]);
    // A member of whom our rows know nothing is told by the metadata.
    let hits = small["data"].as_array().expect("a list");
    let other = hits
        .iter()
        .find(|hit| hit["id"] == other["id"])
        .expect("it is found");
    assert_eq!(
        (&other["kind"], &other["user_id"]),
        (&json!("customer"), &json!("carol"))
    );
    // Who asks for an address knows it; what else Stripe has is not told.
    for hit in hits {
        assert_eq!((&hit["name"], &hit["email"]), (&Value::Null, &Value::Null));
    }
    let nobody = found(&app, "nobody@example.org").await;
    assert_eq!(nobody["data"], json!([]));
    assert!(nobody["note"].is_string());
}

#[tokio::test]
async fn a_name_is_for_who_may_know_it_and_each_that_is_shown_is_recorded_once_an_hour() {
    let app = TestApp::with().following_the_sandbox().start().await;
    app.first_walk_is_over().await;
    let bought = app.sell("share", GOOD_CARD).await;
    let path = format!("/v1/customers/{}", app.customer_of(&bought).await);
    let called = [
        ("name", "Ada \"Countess\" Lovelace"),
        ("email", "ada@example.org"),
    ];
    app.at_stripe(Method::POST, &path, &called).await;
    app.at_stripe(Method::POST, "/v1/customers", &[("name", "Adam Other")])
        .await;
    // Stripe's search knows it a minute later.
    app.advance(61).await;
    let reader = app.staff("rita", &["reader"]);
    asked(&app, &reader, "Ada")
        .await
        .assert_problem(403, "forbidden");
    assert_eq!(app.count("actions").await, 0);

    let before = app.service_calls_but_events().await;
    let support = app.staff("sue", &["support"]);
    let found = asked(&app, &support, "ada").await.assert_status(200).json();
    assert_eq!(app.service_calls_but_events().await - before, 1);
    assert!(
        found["note"]
            .as_str()
            .is_some_and(|note| note.contains("an hour"))
    );
    let hits = found["data"].as_array().expect("a list");
    let ada = hits
        .iter()
        .find(|hit| hit["kind"] == "member")
        .expect("a member");
    assert_eq!(
        (&ada["id"], &ada["name"], &ada["email"]),
        (
            &json!("alice"),
            &json!("Ada \"Countess\" Lovelace"),
            &json!("ada@example.org")
        )
    );
    assert!(
        hits.iter()
            .any(|hit| hit["kind"] == "customer" && hit["name"] == "Adam Other")
    );
    let recorded = || async {
        let rows: Vec<(String, String, String, Option<String>, String)> = sqlx::query_as(
            "SELECT actor, role, subject, user_id, state || ' ' || outcome FROM actions WHERE verb = 'reveal' ORDER BY seq",
        )
        .fetch_all(&app.pool)
        .await
        .expect("the actions");
        rows
    };
    let told = recorded().await;
    assert_eq!(told.len(), 2, "{told:?}");
    let of_alice = told.iter().find(|row| row.2 == "alice").expect("hers");
    assert_eq!(
        (
            of_alice.0.as_str(),
            of_alice.1.as_str(),
            of_alice.3.as_deref(),
            of_alice.4.as_str()
        ),
        ("sue", "support", Some("alice"), "done shown")
    );
    asked(&app, &support, "Ada").await.assert_status(200);
    assert_eq!(recorded().await.len(), 2, "once an hour");
    app.advance(3_600).await;
    let support = app.staff("sue", &["support"]);
    asked(&app, &support, "\"Countess\" L")
        .await
        .assert_status(200);
    assert_eq!(recorded().await.len(), 3);
    let short = asked(&app, &support, "Ad").await.assert_status(200).json();
    assert_eq!(short["data"], json!([]));
}

#[tokio::test]
async fn who_a_member_is_is_told_to_who_may_know_it_and_recorded() {
    let app = TestApp::with().following_the_sandbox().start().await;
    let bought = app.sell("share", GOOD_CARD).await;
    let customer = app.customer_of(&bought).await;
    let path = format!("/v1/customers/{customer}");
    let called = [("name", "Ada Lovelace"), ("email", "ada@example.org")];
    app.at_stripe(Method::POST, &path, &called).await;
    let reveal = async |user: &str, role: &str| {
        let call = app.post("/v1/operator/members/alice/reveal");
        call.bearer(&app.staff(user, &[role]))
            .json(json!({}))
            .send()
            .await
    };
    reveal("rita", "reader")
        .await
        .assert_problem(403, "forbidden");
    assert_eq!(app.count("actions").await, 0);
    for (user, role, count) in [
        ("sue", "support", 1),
        ("sue", "support", 1),
        ("tom", "treasurer", 2),
        ("boss", "operator", 3),
    ] {
        let told = reveal(user, role).await.assert_status(200).json();
        assert_eq!(
            told["customers"],
            json!([{"stripe_customer_id": customer, "currency": "eur", "name": "Ada Lovelace",
                    "email": "ada@example.org"}])
        );
        assert_eq!(app.count("actions").await, count, "{user}");
    }
    app.advance(3_600).await;
    reveal("sue", "support").await.assert_status(200);
    assert_eq!(app.count("actions").await, 4);
    // Where Stripe can't be asked nothing is shown, and nothing recorded.
    app.fault(
        json!({"kind": "error_500", "method": "GET", "path": "/v1/customers/*", "times": 100}),
    )
    .await;
    app.advance(3_600).await;
    reveal("sue", "support")
        .await
        .assert_problem(502, "stripe_unavailable");
    assert_eq!(app.count("actions").await, 4);
}

#[tokio::test]
async fn what_can_not_be_looked_for_is_named() {
    let app = TestApp::start().await;
    let boss = app.staff("boss", &["operator"]);
    for (q, code) in [
        ("", "required"),
        ("  ", "required"),
        (&"x".repeat(201), "too_long"),
    ] {
        let problem = asked(&app, &boss, q).await;
        problem
            .assert_problem(422, "validation_failed")
            .assert_field("q", code);
    }
    for body in [json!({}), json!({"q": 1}), json!({"q": "x", "more": 1})] {
        let call = app.post(SEARCH).bearer(&boss).json(body);
        call.send().await.assert_problem(422, "validation_failed");
    }
    let nothing = found(&app, "a\0b").await;
    assert_eq!(nothing["data"], json!([]));
    app.post(SEARCH)
        .json(json!({"q": "x"}))
        .send()
        .await
        .assert_problem(401, "unauthorized");
    let member = app.member("alice");
    asked(&app, &member, "alice")
        .await
        .assert_problem(403, "forbidden");
}
