//! In which currency a member buys.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::purchase::GOOD_CARD;

async fn currency_of(app: &TestApp, checkout: &Value) -> String {
    let id = checkout["checkout"]["id"].as_str().expect("an id");
    let currency = app.value("checkouts", "currency", id).await;
    currency.expect("a currency")
}

#[tokio::test]
async fn the_clients_currency_counts_then_the_members_then_the_plans() {
    let app = TestApp::with().cooperative().start().await;
    let alice = app.member("alice");
    let order = async |body: Value| {
        let opened = app.order(&alice, body).send().await.assert_status(201);
        currency_of(&app, &opened.json()).await
    };
    assert_eq!(order(json!({"plan": "credits"})).await, "eur");
    assert_eq!(
        order(json!({"plan": "credits", "currency": "USD"})).await,
        "usd"
    );
    // From then on she is somebody who pays in dollars …
    assert_eq!(order(json!({"plan": "yearly"})).await, "usd");
    // … but for what isn't sold in dollars,
    assert_eq!(order(json!({"plan": "seats"})).await, "eur");
    // … and what she used last weighs more.
    assert_eq!(
        order(json!({"lines": [{"plan": "credits", "quantity": 20}]})).await,
        "eur"
    );
    assert_eq!(app.count("customers").await, 2);
    let bob = app.order(&app.member("bob"), json!({"plan": "credits"}));
    let bobs = bob.send().await.assert_status(201).json();
    assert_eq!(currency_of(&app, &bobs).await, "eur");
}

#[tokio::test]
async fn a_chosen_amount_is_never_taken_for_another_currency_than_the_client_meant() {
    let app = TestApp::with().cooperative().start().await;
    let alice = app.member("alice");
    let gift = json!({"lines": [{"plan": "gift", "amount": 700}]});
    let dollars = json!({"lines": [{"plan": "gift", "amount": 700}], "currency": "usd"});
    app.open_basket(&alice, dollars.clone()).await;
    // 700 of what? The list of plans is in euro, her habit is dollars.
    app.order(&alice, gift)
        .send()
        .await
        .assert_problem(422, "validation_failed")
        .assert_field("currency", "required");
    app.open_basket(&alice, dollars).await;
    assert_eq!(app.count("checkouts").await, 1);
}

#[tokio::test]
async fn a_customer_whom_stripe_keeps_to_another_currency_is_told_so_and_nothing_is_left() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let share = app.buy_with(&alice, "share", GOOD_CARD).await;
    // Somebody of the organisation has sold her something in dollars by hand, to the customer who pays in euro.
    let customer = app.customer_of(&share).await;
    let price = app
        .sandbox
        .stripe("/v1/prices?lookup_keys[]=membership_annual")
        .await;
    let price = price["data"][0]["id"].as_str().expect("a price").to_owned();
    let form = [
        ("customer", customer.as_str()),
        ("items[0][price]", &price),
        ("currency", "usd"),
        ("collection_method", "send_invoice"),
        ("days_until_due", "30"),
    ];
    app.at_stripe(Method::POST, "/v1/subscriptions", &form)
        .await;
    app.order(&alice, json!({"plan": "membership-monthly"}))
        .send()
        .await
        .assert_problem(409, "currency_locked");
    assert!(app.sessions("open").await.is_empty());
    let (status, reason): (String, String) = sqlx::query_as(
        "SELECT status, status_reason FROM subscriptions WHERE plan = 'membership-monthly'",
    )
    .fetch_one(&app.pool)
    .await
    .expect("the refused order");
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("ENDED", "stripe_error")
    );
}

#[tokio::test]
async fn a_returning_customers_checkout_is_one_call_and_a_new_ones_two() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let calls = async || app.service_calls_but_events().await;
    let before = calls().await;
    let basket = json!({"lines": [{"plan": "membership-annual"}, {"plan": "share", "quantity": 2},
                                  {"plan": "donation", "amount": 900}]});
    app.order(&alice, basket).send().await.assert_status(201);
    assert_eq!(calls().await - before, 2);
    let before = calls().await;
    app.order(&alice, json!({"plan": "credits-20"}))
        .send()
        .await
        .assert_status(201);
    assert_eq!(calls().await - before, 1);
}
