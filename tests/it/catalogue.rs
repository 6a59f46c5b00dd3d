//! The public list of plans: what it tells, in which language, and what becomes of it when Stripe is away.

use std::collections::HashMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::purchase::at_once;
use crate::harness::replica::Replica;

async fn plans(app: &TestApp, query: &str) -> Value {
    let answer = app.get(&format!("/v1/plans{query}")).send().await;
    answer.assert_status(200).json()
}

fn plan<'a>(plans: &'a Value, code: &str) -> &'a Value {
    let all = plans["data"].as_array().expect("a list");
    all.iter().find(|plan| plan["code"] == code).expect(code)
}

/// Which kind of space a language puts before a sign is not the point.
fn plain(text: &Value) -> String {
    let text = text.as_str().expect("a text");
    text.replace(['\u{a0}', '\u{202f}'], " ")
}

#[tokio::test]
async fn a_plan_tells_all_that_a_page_needs_to_sell_it() {
    let app = TestApp::with().cooperative().start().await;
    let all = plans(&app, "?locale=de").await;
    assert_eq!(all["stale"], false);
    assert!(all["as_of"].is_string());

    let monthly = plan(&all, "monthly");
    assert_eq!(monthly["name"], "Membership");
    assert_eq!(plain(&monthly["price"]["formatted"]), "5,00 €");
    assert_eq!(
        monthly["price"]["recurring"],
        json!({"interval": "month", "interval_count": 1})
    );
    let others = monthly["price"]["other_currencies"]
        .as_array()
        .expect("a list");
    let others: Vec<(&str, i64, String)> = others
        .iter()
        .map(|other| {
            let currency = other["currency"].as_str().expect("a code");
            let amount = other["unit_amount"].as_i64().expect("an amount");
            (currency, amount, plain(&other["formatted"]))
        })
        .collect();
    assert_eq!(
        others,
        [
            ("jpy", 800, "800 ¥".to_owned()),
            ("usd", 600, "6,00 $".to_owned())
        ]
    );
    assert_eq!(monthly["trial_days"], 14);
    assert_eq!(monthly["upgrade_group"], "membership");
    assert_eq!(monthly["promotion_codes"], true);
    assert_eq!(monthly["cancel_now"], true);

    let credits = plan(&all, "credits");
    assert_eq!(
        credits["quantity"],
        json!({"min": 10, "max": 100, "step": 10, "adjustable": false})
    );
    let kwd = credits["price"]["other_currencies"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|other| other["currency"] == "kwd")
        .expect("kwd");
    assert_eq!(plain(&kwd["formatted"]), "0,350 KWD");
    assert_eq!(plan(&all, "share")["requires"], "membership");
    let gift = plan(&all, "gift");
    assert_eq!(
        gift["amount"],
        json!({"min": 200, "max": 50000, "presets": [500, 1000]})
    );
    assert_eq!(gift["price"]["formatted"], Value::Null);
    assert_eq!(gift["price"]["tax_behavior"], "inclusive");
    // The books are nobody's business.
    assert!(!all.to_string().contains("2100"), "{all:#}");
}

#[tokio::test]
async fn a_hidden_plan_is_not_listed_and_can_be_bought_by_who_knows_it() {
    let app = TestApp::with().cooperative().start().await;
    let all = plans(&app, "").await;
    let mut codes = all["data"].as_array().expect("a list").iter();
    assert!(codes.all(|plan| plan["code"] != "founder"), "{all:#}");
    app.open(&app.member("alice"), "founder").await;
}

#[tokio::test]
async fn amounts_are_in_the_language_that_is_asked_for_or_the_browsers() {
    let app = TestApp::start().await;
    let formatted = |all: &Value| plain(&plan(all, "credits-20")["price"]["formatted"]);
    assert_eq!(formatted(&plans(&app, "?locale=en").await), "€20.00");
    assert_eq!(formatted(&plans(&app, "?locale=pl").await), "20,00 €");
    let browser = app
        .get("/v1/plans")
        .header("accept-language", "fr-FR,fr;q=0.9,en;q=0.8")
        .send()
        .await;
    assert_eq!(formatted(&browser.json()), "20,00 €");
    for wrong in ["?locale=no%20language", "?locale=", "?language=de"] {
        app.get(&format!("/v1/plans{wrong}"))
            .send()
            .await
            .assert_problem(422, "validation_failed");
    }
}

#[tokio::test]
async fn known_plans_cost_no_call_to_stripe() {
    let app = TestApp::start().await;
    let before = app.calls("GET /v1/prices").await.len();
    for _ in 0..20 {
        plans(&app, "").await;
    }
    assert_eq!(app.calls("GET /v1/prices").await.len(), before);
}

#[tokio::test]
async fn a_new_price_shows_soon_and_while_stripe_is_away_the_old_one_is_marked_stale() {
    let app = TestApp::with()
        .setting("DUES__PLANS__REFRESH_SECONDS", 0)
        .setting("DUES__STRIPE__MAX_RETRIES", 0)
        .start()
        .await;
    let price = |all: &Value| plan(all, "credits-20")["price"]["unit_amount"].clone();
    assert_eq!(price(&plans(&app, "").await), 2000);
    // Stripe's way to change a price: a new one takes the lookup key over.
    let product = app
        .sandbox
        .stripe("/v1/prices?lookup_keys[]=credits_20")
        .await;
    let product = product["data"][0]["product"].as_str().expect("a product");
    let new = [
        ("product", product),
        ("currency", "eur"),
        ("unit_amount", "2100"),
        ("lookup_key", "credits_20"),
        ("transfer_lookup_key", "true"),
    ];
    app.at_stripe(Method::POST, "/v1/prices", &new).await;
    app.until("the new price is shown", async || {
        (price(&plans(&app, "").await) == 2100).then_some(())
    })
    .await;
    app.fault(json!({"kind": "error_500", "path": "/v1/prices", "times": 1000}))
        .await;
    app.until("the list is marked stale", async || {
        let all = plans(&app, "").await;
        assert_eq!(price(&all), 2100);
        (all["stale"] == true).then_some(())
    })
    .await;
    app.no_more_faults().await;
    app.until("it is fresh again", async || {
        (plans(&app, "").await["stale"] == false).then_some(())
    })
    .await;
}

/// Takes a plan's price off sale at Stripe, or puts it back.
async fn set_active(app: &TestApp, key: &str, active: &str) {
    let held = app
        .sandbox
        .stripe(&format!("/v1/prices?lookup_keys[]={key}"))
        .await;
    let mut price = held["data"][0].clone();
    if price.is_null() {
        let all = app
            .sandbox
            .stripe("/v1/prices?active=false&limit=100")
            .await;
        let all = all["data"].as_array().expect("a list").clone();
        let found = all.into_iter().find(|price| price["lookup_key"] == key);
        price = found.expect("the price");
    }
    let id = price["id"].as_str().expect("an id");
    let path = format!("/v1/prices/{id}");
    app.at_stripe(Method::POST, &path, &[("active", active)])
        .await;
}

#[tokio::test]
async fn one_price_that_can_t_be_sold_takes_no_other_plan_off_sale() {
    let app = TestApp::with()
        .setting("DUES__PLANS__REFRESH_SECONDS", 0)
        .start()
        .await;
    let alice = app.member("alice");
    let with_key = |body: Value| {
        app.order(&alice, body)
            .header("idempotency-key", "order-1")
            .send()
    };
    let before = with_key(json!({"plan": "credits-50"})).await;
    let before = before.assert_status(201).json();
    set_active(&app, "credits_50", "false").await;
    let codes = async || {
        let all = plans(&app, "").await;
        let all = all["data"].as_array().expect("a list").clone();
        all.iter()
            .map(|plan| plan["code"].to_string())
            .collect::<Vec<_>>()
    };
    let is_on_sale = async || codes().await.contains(&"\"credits-50\"".to_owned());
    app.until("it is off sale", async || {
        (!is_on_sale().await).then_some(())
    })
    .await;
    assert!(codes().await.len() > 3);
    assert_eq!(plans(&app, "").await["stale"], false);
    let refused = app
        .order(&alice, json!({"plan": "credits-50"}))
        .send()
        .await;
    refused
        .assert_problem(409, "plan_unavailable")
        .assert_field("plan", "plan_unavailable");
    let basket = json!({"lines": [{"plan": "share"}, {"plan": "credits-50"}]});
    let refused = app.order(&alice, basket).send().await;
    refused
        .assert_problem(409, "plan_unavailable")
        .assert_field("lines[1].plan", "plan_unavailable");
    // A repeat asks what came of an order, and opens nothing; another order under its key does.
    let again = with_key(json!({"plan": "credits-50"})).await;
    let again = again.assert_status(201).json();
    assert_eq!(again["checkout"]["id"], before["checkout"]["id"]);
    with_key(json!({"plan": "credits-50", "currency": "eur"}))
        .await
        .assert_problem(409, "plan_unavailable");
    app.open(&alice, "credits-20").await;
    let metrics = app.get("/metrics").send().await.text;
    assert!(metrics.contains("catalogue_plans_off_sale"), "{metrics}");
    // Nor does it keep anybody from starting, or from what was bought already.
    let database = app.settings.database.url.expose();
    let mut replica = Replica::start(database, app.sandbox.url(), &HashMap::new()).await;
    let shown = replica.request(Method::GET, "/v1/plans").send().await;
    assert!(!shown.assert_status(200).text.contains("credits-50"));
    let held = replica
        .request(Method::GET, "/v1/entitlements")
        .bearer(&alice);
    held.send().await.assert_status(200);
    replica.stop().await;
    set_active(&app, "credits_50", "true").await;
    app.until("it is on sale again", async || {
        is_on_sale().await.then_some(())
    })
    .await;
    app.open(&alice, "credits-50").await;
}

#[tokio::test]
async fn all_who_wait_for_the_first_prices_share_one_answer_also_when_it_is_none() {
    // At the start Stripe is away, and then it hangs.
    let app = TestApp::with()
        .setting("DUES__STRIPE__MAX_RETRIES", 0)
        .setting("DUES__STRIPE__TIMEOUT_MS", 700)
        .setting("DUES__STRIPE__TOTAL_TIMEOUT_MS", 800)
        .start()
        .await;
    app.fault(json!({"kind": "stall", "path": "/v1/prices", "times": 1000, "stall_ms": 5_000}))
        .await;
    let database = app.settings.database.url.expose();
    let more = HashMap::from([
        ("DUES__STRIPE__MAX_RETRIES".to_owned(), "0".to_owned()),
        ("DUES__STRIPE__TIMEOUT_MS".to_owned(), "700".to_owned()),
        (
            "DUES__STRIPE__TOTAL_TIMEOUT_MS".to_owned(),
            "800".to_owned(),
        ),
    ]);
    let mut replica = Replica::start(database, app.sandbox.url(), &more).await;
    let before = app.service_calls("GET /v1/prices").await;
    let calls = (0..20).map(|_| replica.request(Method::GET, "/v1/plans"));
    for answer in at_once(calls).await {
        assert!(!answer.status.is_success(), "{answer:?}");
    }
    let asked = app.service_calls("GET /v1/prices").await - before;
    assert!(asked <= 4, "{asked} calls for one answer");
    replica.stop().await;
}
