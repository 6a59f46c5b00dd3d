//! What one transaction moved, read live, and what was recorded since a time: for whoever credits money.

use std::collections::HashMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::lifecycle::{MONTH, text};
use crate::harness::purchase::{FAILING_LATER_CARD, GOOD_CARD};
use crate::harness::{Answer, TestApp};

const TOKEN: &str = "a token of thirty-two characters";

async fn followed() -> TestApp {
    TestApp::with()
        .setting("DUES__FEED__TOKENS", TOKEN)
        .start()
        .await
}

async fn get(app: &TestApp, path: &str) -> Answer {
    app.get(path).bearer(TOKEN).send().await
}

/// All that was recorded, page by page.
async fn recorded(app: &TestApp, limit: usize) -> Vec<Value> {
    let mut all = Vec::new();
    let mut page = String::new();
    loop {
        let path = format!("/v1/feed/transactions?since=2020-01-01T00:00:00Z&limit={limit}{page}");
        let answer = get(app, &path).await.assert_status(200).json();
        let data = answer["data"].as_array().expect("a list");
        assert!(data.len() <= limit);
        all.extend(data.iter().cloned());
        match answer["next_page"].as_str() {
            Some(next) => page = format!("&page={next}"),
            None => return all,
        }
    }
}

/// `type plan amount`, of everything that was recorded.
async fn moved(app: &TestApp) -> Vec<String> {
    let mut all = Vec::new();
    for transaction in recorded(app, 100).await {
        let path = format!("/v1/transactions/{}", text(&transaction["id"]));
        let moved = get(app, &path).await.assert_status(200).json();
        for name in [
            "id",
            "type",
            "user_id",
            "subscription_id",
            "stripe_reference",
        ] {
            assert_eq!(moved[name], transaction[name]);
        }
        let (what, plan) = (text(&moved["type"]), text(&moved["plan"]));
        all.push(format!(
            "{what} {plan} {} {}",
            moved["amount"],
            text(&moved["currency"])
        ));
    }
    all.sort();
    all
}

#[tokio::test]
async fn of_a_basket_each_line_has_its_part_of_what_was_paid_and_of_what_goes_back() {
    let app = followed().await;
    let basket = json!({ "lines": [{ "plan": "membership-monthly" }, { "plan": "share", "quantity": 2 },
        { "plan": "donation", "amount": 700 }] });
    let purchase = app.open_basket(&app.member("alice"), basket).await;
    let path = format!("/_sandbox/checkout/{}/pay", purchase.session);
    app.sandbox.post(&path, json!({ "card": GOOD_CARD })).await;
    app.settle().await;
    assert_eq!(
        moved(&app).await,
        [
            "payment donation 700 eur",
            "payment membership-monthly 300 eur",
            "payment share 5000 eur"
        ]
    );
    let share = recorded(&app, 100).await;
    let share = share
        .iter()
        .find(|one| one["plan"] == "share")
        .expect("it is there");
    let invoice = text(&share["stripe_reference"]);
    let payments = app
        .sandbox
        .stripe(&format!("/v1/invoice_payments?invoice={invoice}"))
        .await;
    let intent = text(&payments["data"][0]["payment"]["payment_intent"]);
    let line = text(&share["subscription_id"]);
    let refund = [
        ("payment_intent", &*intent),
        ("amount", "2500"),
        ("metadata[dues_subscription_id]", &*line),
    ];
    app.at_stripe(Method::POST, "/v1/refunds", &refund).await;
    app.settle().await;
    let refunds: Vec<String> = { moved(&app).await.into_iter() }
        .filter(|moved| moved.starts_with("refund"))
        .collect();
    assert!(
        refunds.contains(&"refund share -2500 eur".to_owned()),
        "{refunds:?}"
    );
    let others = refunds.iter().filter(|refund| !refund.contains("share"));
    for other in others {
        assert!(other.ends_with(" 0 eur"), "{other}");
    }
}

#[tokio::test]
async fn what_renews_and_what_fails_is_told_with_few_calls() {
    let app = followed().await;
    app.buy_with(
        &app.member("alice"),
        "membership-monthly",
        FAILING_LATER_CARD,
    )
    .await;
    app.advance(MONTH).await;
    let told = moved(&app).await;
    assert_eq!(told[0], "payment membership-monthly 300 eur");
    assert!(told.len() > 1, "{told:?}");
    for failed in &told[1..] {
        assert_eq!(failed, "payment_failed membership-monthly 0 eur");
    }
    let all = recorded(&app, 100).await;
    let calls = async || app.calls("GET /v1/").await.len();
    let mut costs: HashMap<String, usize> = HashMap::new();
    for transaction in &all {
        let before = calls().await;
        let path = format!("/v1/transactions/{}", text(&transaction["id"]));
        get(&app, &path).await.assert_status(200);
        costs.insert(text(&transaction["type"]), calls().await - before);
    }
    // The invoice and its payments, the payment and its refunds, and of the first the session.
    assert_eq!(
        (costs["payment"], costs["payment_failed"]),
        (5, 0),
        "{costs:?}"
    );
}

#[tokio::test]
async fn pages_follow_each_other_and_lead_to_the_feed() {
    let app = followed().await;
    for member in 0..5 {
        let token = app.member(&format!("member-{member}"));
        app.buy_with(&token, "credits-20", GOOD_CARD).await;
    }
    let all = recorded(&app, 2).await;
    let mut members: Vec<String> = all.iter().map(|one| text(&one["user_id"])).collect();
    members.dedup();
    assert_eq!(
        members,
        ["member-0", "member-1", "member-2", "member-3", "member-4"]
    );
    let last = text(&all[4]["recorded_at"]);
    let since = get(&app, &format!("/v1/feed/transactions?since={last}"))
        .await
        .assert_status(200)
        .json();
    assert_eq!(since["data"].as_array().map(Vec::len), Some(1));
    let after = text(&since["after"]);
    app.buy_with(&app.member("late"), "credits-20", GOOD_CARD)
        .await;
    let told = get(
        &app,
        &format!("/v1/feed?types=transaction.recorded&after={after}"),
    )
    .await
    .json();
    assert_eq!(told["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(told["data"][0]["user_id"], "late");
    // In the middle of it the database is restored.
    let page = get(
        &app,
        "/v1/feed/transactions?since=2020-01-01T00:00:00Z&limit=2",
    )
    .await
    .json();
    app.services
        .feed
        .new_epoch()
        .await
        .expect("the database is there");
    let path = format!(
        "/v1/feed/transactions?since=2020-01-01T00:00:00Z&page={}",
        text(&page["next_page"])
    );
    get(&app, &path).await.assert_problem(410, "cursor_gone");
}

#[tokio::test]
async fn only_services_ask_and_what_is_wrong_is_named() {
    let app = followed().await;
    let bought = app
        .buy_with(&app.member("alice"), "credits-20", GOOD_CARD)
        .await;
    let nobody = "/v1/transactions/01a2271d-d108-7c71-98e2-de9bffa59f4a";
    get(&app, nobody).await.assert_problem(404, "not_found");
    get(&app, "/v1/transactions/one")
        .await
        .assert_problem(404, "not_found");
    for (query, field) in [
        ("since=yesterday", "since"),
        ("since=2020-01-01T00:00:00Z&limit=0", "limit"),
        ("since=2020-01-01T00:00:00Z&page=x", "page"),
    ] {
        let answer = get(&app, &format!("/v1/feed/transactions?{query}")).await;
        let answer = answer.assert_problem(422, "validation_failed").json();
        assert_eq!(answer["errors"][0]["field"], field, "{answer}");
    }
    let all = recorded(&app, 10).await;
    assert_eq!(all[0]["subscription_id"], bought.subscription.as_str());
    let path = format!("/v1/transactions/{}", text(&all[0]["id"]));
    for path in ["/v1/feed/transactions?since=2020-01-01T00:00:00Z", &path] {
        app.get(path)
            .send()
            .await
            .assert_problem(401, "unauthorized");
        app.get(path)
            .bearer(&app.member("alice"))
            .send()
            .await
            .assert_problem(403, "forbidden");
    }
    let at_stripe = format!("/v1/payment_intents/{}", text(&all[0]["stripe_reference"]));
    app.fault(json!({ "kind": "error_500", "method": "GET", "path": at_stripe, "times": 1000 }))
        .await;
    let answer = get(&app, &path).await;
    assert_eq!(answer.status.as_u16() / 100, 5, "{answer:?}");
}
