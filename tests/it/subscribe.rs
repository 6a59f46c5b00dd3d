//! An order and what it leaves behind: in our rows, and at Stripe.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::purchase::at_once;
use crate::harness::{Call, TestApp};

/// A member's basket of everything: a membership, three shares and a gift of 7 €.
fn basket() -> Value {
    json!({"lines": [
        {"plan": "membership-annual"},
        {"plan": "share", "quantity": 3},
        {"plan": "donation", "amount": 700},
    ]})
}

fn ids(opened: &Value) -> Vec<String> {
    let lines = opened["subscriptions"].as_array().expect("the lines");
    let id = |line: &Value| line["id"].as_str().expect("an id").to_owned();
    lines.iter().map(id).collect()
}

/// An order of so many shares: each number is another basket.
fn shares(app: &TestApp, token: &str, count: u32) -> Call {
    let line = json!({"plan": "share", "quantity": count});
    app.order(token, json!({ "lines": [line] }))
}

/// The fields of a form, as they were sent.
fn form(call: &Value) -> Vec<(String, String)> {
    let body = call["body"].as_str().expect("a body");
    url::form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect()
}

fn field<'a>(form: &'a [(String, String)], name: &str) -> Option<&'a str> {
    form.iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn a_one_off_plan_is_paid_once_and_stays() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let purchase = app.open(&alice, "credits-20").await;
    assert!(purchase.url.starts_with(app.sandbox.url()));
    let page = app.browse(&app.pay(&purchase).await).await;
    assert!(page.query().expect("a query").contains("status=ACTIVE"));
    app.settle().await;

    let line = app.subscription(&alice, &purchase.subscription).await;
    assert_eq!(line["kind"], "top_up");
    assert_eq!(line["entitled"], true);
    assert_eq!(line["current_period_end"], Value::Null);
    let money = app.transactions(&purchase.subscription).await;
    assert_eq!(money.len(), 1);
    assert!(money[0].starts_with("payment pi_"), "{money:?}");
    let row = app.row(&purchase.subscription).await;
    assert_eq!(row.stripe_subscription, None);
}

#[tokio::test]
async fn a_basket_is_one_payment_and_one_transaction_a_line() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let opened = app
        .order(&alice, basket())
        .send()
        .await
        .assert_status(201)
        .json();
    let purchase = app.purchase(&opened).await;
    let session = format!("/v1/checkout/sessions/{}", purchase.session);
    assert_eq!(
        app.sandbox.stripe(&session).await["amount_total"],
        3000 + 3 * 2500 + 700
    );
    app.pay(&purchase).await;
    app.settle().await;

    let lines = ids(&opened);
    assert_eq!(lines.len(), 3);
    let mut references = Vec::new();
    for line in &lines {
        assert_eq!(app.row(line).await.status, "ACTIVE");
        let active = app.history(line).await;
        let active = active.iter().filter(|change| change.contains(">ACTIVE"));
        assert_eq!(active.count(), 1);
        references.extend(app.transactions(line).await);
    }
    assert_eq!(references.len(), 3, "{references:?}");
    references.dedup();
    assert_eq!(references.len(), 1, "one invoice paid all: {references:?}");
    assert!(references[0].starts_with("payment in_"), "{references:?}");

    let mut holders = Vec::new();
    for line in &lines {
        holders.push(app.row(line).await.stripe_subscription.is_some());
    }
    assert_eq!(
        holders,
        [true, false, false],
        "only the recurring line is a subscription at Stripe"
    );
    let shares = app.subscription(&alice, &lines[1]).await;
    assert_eq!(
        (&shares["plan"], &shares["quantity"]),
        (&json!("share"), &json!(3))
    );
}

#[tokio::test]
async fn our_ids_are_everywhere_at_stripe_where_they_are_needed_to_find_back() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let opened = app
        .order(&alice, basket())
        .send()
        .await
        .assert_status(201)
        .json();
    let (purchase, lines) = (app.purchase(&opened).await, ids(&opened));

    let calls = app.calls("POST /v1/checkout/sessions").await;
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0]["headers"]["idempotency-key"], purchase.checkout);
    let sent = form(&calls[0]);
    let all = lines.join(",");
    let expected = [
        ("client_reference_id", purchase.checkout.as_str()),
        ("metadata[dues_checkout_id]", &purchase.checkout),
        ("metadata[dues_subscription_id]", &all),
        (
            "subscription_data[metadata][dues_subscription_id]",
            &lines[0],
        ),
        ("line_items[0][metadata][dues_subscription_id]", &lines[0]),
        ("line_items[1][metadata][dues_subscription_id]", &lines[1]),
        ("line_items[2][metadata][dues_subscription_id]", &lines[2]),
        ("line_items[1][quantity]", "3"),
        ("line_items[2][price_data][unit_amount]", "700"),
        ("adaptive_pricing[enabled]", "false"),
        ("mode", "subscription"),
    ];
    for (name, value) in expected {
        assert_eq!(field(&sent, name), Some(value), "{name}\n{sent:#?}");
    }
    let forbidden = ["after_expiration", "customer_email", "payment_method_types"];
    assert!(
        sent.iter()
            .all(|(name, _)| !forbidden.iter().any(|start| name.starts_with(start))),
        "{sent:#?}"
    );

    app.pay(&purchase).await;
    app.settle().await;
    let row = app.row(&lines[0]).await;
    let subscription = row.stripe_subscription.expect("it is attached");
    let held = app
        .sandbox
        .stripe(&format!("/v1/subscriptions/{subscription}"))
        .await;
    assert_eq!(held["metadata"]["dues_subscription_id"], lines[0]);
    let customer = held["customer"].as_str().expect("an id");
    let customer = app
        .sandbox
        .stripe(&format!("/v1/customers/{customer}"))
        .await;
    assert_eq!(customer["metadata"]["dues_user_id"], "alice");
    assert_eq!(customer["email"], Value::Null, "the e-mail stays here");
    // And each line knows its own item at Stripe once the session was read.
    app.browse(&format!(
        "http://{}/checkout/success?session_id={}",
        app.address, purchase.session
    ))
    .await;
}

#[tokio::test]
async fn a_one_off_payment_carries_our_ids_itself() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let body = json!({"lines": [{"plan": "share"}, {"plan": "credits-20"}]});
    let opened = app
        .order(&alice, body)
        .send()
        .await
        .assert_status(201)
        .json();
    let purchase = app.purchase(&opened).await;
    app.pay(&purchase).await;
    app.settle().await;
    let intent = app
        .value(
            "subscriptions",
            "stripe_payment_intent_id",
            &purchase.subscription,
        )
        .await
        .expect("the payment is known");
    let intent = app
        .sandbox
        .stripe(&format!(
            "/v1/payment_intents/{intent}?expand[]=latest_charge"
        ))
        .await;
    let all = ids(&opened).join(",");
    assert_eq!(intent["metadata"]["dues_subscription_id"], all);
    assert_eq!(
        intent["latest_charge"]["metadata"]["dues_subscription_id"],
        all
    );
}

#[tokio::test]
async fn the_rows_are_there_before_stripe_is_asked() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    app.fault(json!({"kind": "stall", "path": "/v1/customers", "stall_ms": 700}))
        .await;
    let order = tokio::spawn(
        app.order(&alice, json!({"plan": "membership-annual"}))
            .send(),
    );
    app.until("Stripe is asked for the customer", async || {
        (app.sandbox.get("/_sandbox/faults").await == json!([])).then_some(())
    })
    .await;
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT status, stripe_price_id FROM subscriptions")
            .fetch_all(&app.pool)
            .await
            .expect("the rows");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].0, "PENDING_ACTIVATION");
    let checkouts: Vec<(String, Option<String>)> =
        sqlx::query_as("SELECT status, stripe_session_id FROM checkouts")
            .fetch_all(&app.pool)
            .await
            .expect("the rows");
    assert_eq!(checkouts, [("open".to_owned(), None)]);
    assert!(app.calls("POST /v1/checkout").await.is_empty());
    order.await.expect("it ends").assert_status(201);
}

#[tokio::test]
async fn nothing_of_an_order_that_is_money_or_personal_is_kept() {
    let app = TestApp::with()
        .setting("DUES__STRIPE__SEND_EMAIL", "true")
        .start()
        .await;
    let alice = app.member("alice");
    let opened = app
        .order(
            &alice,
            json!({"lines": [{"plan": "donation", "amount": 4711}]}),
        )
        .header("idempotency-key", "order-1")
        .send()
        .await
        .assert_status(201)
        .json();
    let purchase = app.purchase(&opened).await;
    app.pay(&purchase).await;
    app.settle().await;
    for table in [
        "customers",
        "checkouts",
        "subscriptions",
        "transactions",
        "webhook_events",
        "status_changes",
        "idempotency_keys",
    ] {
        let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "SELECT row_to_json(t)::text FROM {table} t"
        )))
        .fetch_all(&app.pool)
        .await
        .expect("the rows");
        assert!(!rows.is_empty(), "{table} tells nothing");
        for row in rows {
            for secret in ["4711", "buyer@example.com", "Sandbox Buyer", "/c/pay/"] {
                assert!(!row.contains(secret), "{secret} is kept in {table}: {row}");
            }
        }
    }
}

#[tokio::test]
async fn ten_orders_at_once_make_one_customer() {
    let app = TestApp::with()
        .setting("DUES__CHECKOUT__MAX_OPEN", "20")
        .start()
        .await;
    let alice = app.member("alice");
    // The first one keeps Stripe busy, so that the others really meet it there.
    app.fault(json!({"kind": "stall", "path": "/v1/customers", "stall_ms": 200}))
        .await;
    for answer in at_once((1..11).map(|count| shares(&app, &alice, count))).await {
        answer.assert_status(201);
    }
    assert_eq!(app.count("customers").await, 1);
    assert_eq!(app.count("checkouts").await, 10);
    let customers = app.sandbox.stripe("/v1/customers?limit=100").await;
    assert_eq!(customers["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(app.sessions("open").await.len(), 10);
}

#[tokio::test]
async fn another_currency_is_another_customer_and_takes_the_prices_of_that_currency() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let euro = app.open(&alice, "credits-20").await;
    let dollar = app
        .open_basket(&alice, json!({"plan": "credits-20", "currency": "USD"}))
        .await;
    let mut customers = Vec::new();
    for (purchase, currency, amount) in [(&euro, "eur", 2000), (&dollar, "usd", 2200)] {
        let session = app
            .sandbox
            .stripe(&format!("/v1/checkout/sessions/{}", purchase.session))
            .await;
        assert_eq!(session["currency"], currency);
        assert_eq!(session["amount_total"], amount);
        customers.push(session["customer"].clone());
        assert_eq!(
            app.value("checkouts", "currency", &purchase.checkout).await,
            Some(currency.to_owned())
        );
    }
    assert_ne!(customers[0], customers[1]);
    assert_eq!(app.count("customers").await, 2);
}

#[tokio::test]
async fn a_currency_that_one_line_does_not_have_is_refused() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    for body in [
        json!({"plan": "share", "currency": "usd"}),
        json!({"plan": "credits-20", "currency": "xxx"}),
        json!({"plan": "credits-20", "currency": ""}),
        json!({"lines": [{"plan": "credits-20"}, {"plan": "donation", "amount": 500}], "currency": "usd"}),
    ] {
        app.order(&alice, body)
            .send()
            .await
            .assert_problem(422, "validation_failed")
            .assert_field("currency", "unavailable_currency");
    }
    assert_eq!(app.count("checkouts").await, 0);
}

#[tokio::test]
async fn the_same_key_and_order_give_the_same_checkout_until_it_is_paid_and_after() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let order = || {
        app.order(&alice, basket())
            .header("idempotency-key", "order-1")
    };
    let first = order().send().await.assert_status(201).json();
    let again = order().send().await.assert_status(201).json();
    assert_eq!(first, again);
    let purchase = app.purchase(&first).await;
    app.pay(&purchase).await;
    app.settle().await;

    let paid = order().send().await.assert_status(201).json();
    assert_eq!(paid["checkout"]["id"], first["checkout"]["id"]);
    assert_eq!(paid["checkout"]["url"], Value::Null);
    assert_eq!(ids(&paid), ids(&first));
    assert_eq!(paid["subscriptions"][0]["status"], "ACTIVE");
    assert_eq!(app.count("checkouts").await, 1);
    assert_eq!(app.count("subscriptions").await, 3);
    assert_eq!(app.calls("POST /v1/checkout/sessions").await.len(), 1);
}

#[tokio::test]
async fn a_repeat_finds_out_itself_that_the_checkout_was_paid() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    app.hold_deliveries().await;
    let order = || {
        app.order(&alice, json!({"plan": "membership-annual"}))
            .header("idempotency-key", "order-1")
    };
    let first = order().send().await.assert_status(201).json();
    let purchase = app.purchase(&first).await;
    app.pay(&purchase).await;
    let again = order().send().await.assert_status(201).json();
    assert_eq!(again["checkout"]["url"], Value::Null);
    assert_eq!(again["subscriptions"][0]["status"], "ACTIVE");
    assert_eq!(app.transactions(&purchase.subscription).await.len(), 1);
}

#[tokio::test]
async fn the_same_key_ten_times_at_once_makes_one_checkout() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let order = |_| {
        app.order(&alice, json!({"plan": "membership-annual"}))
            .header("idempotency-key", "order-1")
    };
    let answers = at_once((0..10).map(order)).await;
    let mut opened = Vec::new();
    for answer in answers {
        if answer.status.as_u16() == 409 {
            let answer = answer.assert_problem(409, "in_progress");
            assert_ne!(answer.header("retry-after"), "");
        } else {
            opened.push(answer.assert_status(201).json());
        }
    }
    assert!(!opened.is_empty());
    assert!(
        opened
            .iter()
            .all(|body| body["checkout"]["id"] == opened[0]["checkout"]["id"]
                && body["checkout"]["url"] == opened[0]["checkout"]["url"]),
        "{opened:#?}"
    );
    assert_eq!(app.count("checkouts").await, 1);
    assert_eq!(app.sessions("open").await.len(), 1);
    let repeat = order(0).send().await.assert_status(201).json();
    assert_eq!(repeat["checkout"], opened[0]["checkout"]);
}

#[tokio::test]
async fn a_key_with_another_order_is_refused_and_changes_nothing() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let order = |body| {
        app.order(&alice, body)
            .header("idempotency-key", "order-1")
            .send()
    };
    let first = json!({"lines": [{"plan": "donation", "amount": 500}]});
    let opened = order(first.clone()).await.assert_status(201).json();
    for other in [
        json!({"lines": [{"plan": "donation", "amount": 501}]}),
        json!({"plan": "share"}),
        json!({"lines": [{"plan": "donation", "amount": 500}], "locale": "de"}),
    ] {
        order(other)
            .await
            .assert_problem(422, "idempotency_key_reused")
            .assert_field("Idempotency-Key", "reused");
    }
    assert_eq!(app.count("checkouts").await, 1);
    assert_eq!(order(first).await.assert_status(201).json(), opened);
}

#[tokio::test]
async fn a_key_is_its_users_own() {
    let app = TestApp::start().await;
    let mut checkouts = Vec::new();
    for user in ["alice", "bob"] {
        let opened = app
            .order(&app.member(user), json!({"plan": "share"}))
            .header("idempotency-key", "order-1")
            .send()
            .await
            .assert_status(201)
            .json();
        checkouts.push(opened["checkout"]["id"].clone());
    }
    assert_ne!(checkouts[0], checkouts[1]);
    assert_eq!(app.count("customers").await, 2);
}

#[tokio::test]
async fn ten_orders_of_a_single_plan_at_once_leave_one_page_that_can_be_paid() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let order = |_| app.order(&alice, json!({"plan": "membership-annual"}));
    let mut urls = 0;
    for answer in at_once((0..10).map(order)).await {
        if answer.status.as_u16() == 409 {
            answer.assert_problem(409, "in_progress");
        } else {
            answer.assert_status(201);
            urls += 1;
        }
    }
    assert!(urls > 0);
    let open = app.sessions("open").await;
    assert_eq!(open.len(), 1, "{open:?}");
    app.settle().await;
    let held: i64 =
        sqlx::query_scalar("SELECT count(*) FROM subscriptions WHERE status <> 'ENDED'")
            .fetch_one(&app.pool)
            .await
            .expect("a count");
    assert_eq!(held, 1);
    let (attached,): (String,) =
        sqlx::query_as("SELECT stripe_session_id FROM checkouts WHERE status = 'open'")
            .fetch_one(&app.pool)
            .await
            .expect("the one that is left");
    assert_eq!(attached, open[0]);
}

#[tokio::test]
async fn the_sixth_open_checkout_has_to_wait() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let mut first = None;
    for count in 1..6 {
        let opened = shares(&app, &alice, count).send().await;
        let purchase = app.purchase(&opened.assert_status(201).json()).await;
        first.get_or_insert(purchase);
    }
    let sixth = shares(&app, &alice, 6)
        .send()
        .await
        .assert_problem(429, "too_many_open_checkouts");
    assert_ne!(sixth.header("retry-after"), "");
    assert_eq!(app.count("checkouts").await, 5);
    app.open(&app.member("bob"), "share").await;
    app.pay(&first.expect("five were opened")).await;
    app.settle().await;
    app.open(&alice, "share").await;
}

#[tokio::test]
async fn ten_orders_at_once_do_not_slip_past_the_limit() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let answers = at_once((1..11).map(|count| shares(&app, &alice, count))).await;
    let opened = answers
        .iter()
        .filter(|answer| answer.status.as_u16() == 201)
        .count();
    assert_eq!(opened, 5);
    assert_eq!(app.count("checkouts").await, 5);
    assert_eq!(app.sessions("open").await.len(), 5);
}

#[tokio::test]
async fn a_customer_who_was_deleted_at_stripe_is_replaced() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let customer = || async {
        let row: (String, i32) =
            sqlx::query_as("SELECT stripe_customer_id, generation FROM customers")
                .fetch_one(&app.pool)
                .await
                .expect("the customer");
        row
    };
    app.buy_with(&alice, "share", "4242424242424242").await;
    let (old, generation) = customer().await;
    assert_eq!(generation, 1);
    app.at_stripe(Method::DELETE, &format!("/v1/customers/{old}"), &[])
        .await;
    let purchase = app.buy_with(&alice, "share", "4242424242424242").await;
    assert_eq!(app.row(&purchase.subscription).await.status, "ACTIVE");
    let (new, generation) = customer().await;
    assert_ne!(old, new);
    assert_eq!(generation, 2);
    assert_eq!(
        app.value("checkouts", "stripe_customer_id", &purchase.checkout)
            .await,
        Some(new)
    );
}

#[tokio::test]
async fn five_orders_at_once_after_a_deletion_replace_the_customer_once() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    app.buy_with(&alice, "share", "4242424242424242").await;
    let (old,): (String,) = sqlx::query_as("SELECT stripe_customer_id FROM customers")
        .fetch_one(&app.pool)
        .await
        .expect("the customer");
    app.at_stripe(Method::DELETE, &format!("/v1/customers/{old}"), &[])
        .await;
    for answer in at_once((1..6).map(|count| shares(&app, &alice, count))).await {
        answer.assert_status(201);
    }
    let (generation,): (i32,) = sqlx::query_as("SELECT generation FROM customers")
        .fetch_one(&app.pool)
        .await
        .expect("the customer");
    assert_eq!(generation, 2);
    let customers = app.sandbox.stripe("/v1/customers?limit=100").await;
    assert_eq!(customers["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn an_order_that_stripe_refuses_is_over_and_its_key_free() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let prices = app
        .sandbox
        .stripe("/v1/prices?lookup_keys[]=membership_annual")
        .await;
    let price = prices["data"][0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/prices/{price}");
    let order = || {
        app.order(&alice, json!({"plan": "membership-annual"}))
            .header("idempotency-key", "order-1")
            .send()
    };
    app.at_stripe(Method::POST, &path, &[("active", "false")])
        .await;
    order().await.assert_problem(502, "stripe_refused");
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT status, status_reason FROM subscriptions")
            .fetch_all(&app.pool)
            .await
            .expect("the rows");
    assert_eq!(rows, [("ENDED".to_owned(), "stripe_error".to_owned())]);

    app.at_stripe(Method::POST, &path, &[("active", "true")])
        .await;
    order().await.assert_status(201);
    assert_eq!(app.count("checkouts").await, 2);
    assert_eq!(app.sessions("open").await.len(), 1);
}
