//! Links to Stripe's customer portal.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::lifecycle::text;
use crate::harness::own_affairs::plans;
use crate::harness::purchase::GOOD_CARD;
use crate::harness::{Answer, TestApp};

async fn open(app: &TestApp, body: Value) -> Answer {
    let call = app.post("/v1/portal-sessions").bearer(&app.member("alice"));
    call.json(body).send().await
}

fn currencies(answer: &Answer) -> Vec<String> {
    let body = answer.json();
    let data = body["data"].as_array().expect("a list");
    data.iter().map(|link| text(&link["currency"])).collect()
}

/// What was asked of Stripe, call by call.
async fn asked(app: &TestApp) -> Vec<Vec<(String, String)>> {
    let calls = app.calls("POST /v1/billing_portal/sessions").await;
    let form = |call: &Value| {
        let body = text(&call["body"]);
        let pairs = url::form_urlencoded::parse(body.as_bytes());
        pairs.into_owned().collect()
    };
    calls.iter().map(form).collect()
}

#[track_caller]
fn has(form: &[(String, String)], name: &str, value: &str) {
    let pair = (name.to_owned(), value.to_owned());
    assert!(form.contains(&pair), "{name}={value} is not in {form:?}");
}

#[tokio::test]
async fn a_link_for_every_currency_leads_to_the_portal_and_back() {
    let plans = plans();
    let app = plans
        .sold()
        .setting(
            "DUES__CLIENT__PORTAL_RETURN_URL",
            "https://app.example.org/account",
        )
        .start()
        .await;
    open(&app, json!({}))
        .await
        .assert_problem(409, "no_customer");
    let euro = app.sell("yearly", GOOD_CARD).await;
    let dollar = json!({"plan": "credits-20", "currency": "usd"});
    let dollar = app.open_basket(&app.member("alice"), dollar).await;
    app.pay(&dollar).await;
    app.settle().await;

    let answer = open(&app, json!({"locale": "de"})).await.assert_status(201);
    assert_eq!(currencies(&answer), ["eur", "usd"]);
    let url = text(&answer.json()["data"][0]["url"]);
    let page = url.strip_prefix(app.sandbox.url()).expect("Stripe's page");
    let page = app.sandbox.request(Method::GET, page).send().await;
    assert!(page.assert_status(200).text.contains("Annual membership"));
    for form in asked(&app).await {
        has(&form, "return_url", "https://app.example.org/account");
        has(&form, "locale", "de");
        assert!(!form.iter().any(|(name, _)| name.starts_with("flow_data")));
    }

    let answer = open(&app, json!({"currency": "USD"})).await;
    assert_eq!(currencies(&answer.assert_status(201)), ["usd"]);
    let answer = open(&app, json!({"subscription": euro.subscription})).await;
    assert_eq!(currencies(&answer.assert_status(201)), ["eur"]);
    open(&app, json!({"currency": "chf"}))
        .await
        .assert_problem(409, "no_customer");
    let call = app.post("/v1/portal-sessions").bearer(&app.member("alice"));
    assert_eq!(currencies(&call.send().await.assert_status(201)).len(), 2);
}

#[tokio::test]
async fn a_link_may_lead_to_one_thing_and_then_back() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("yearly", GOOD_CARD).await.subscription;
    let body = json!({"flow": "payment_method_update"});
    open(&app, body).await.assert_status(201);
    let body = json!({"flow": "subscription_cancel", "subscription": id});
    open(&app, body.clone()).await.assert_status(201);
    let asked = asked(&app).await;
    has(&asked[0], "flow_data[type]", "payment_method_update");
    has(&asked[1], "flow_data[type]", "subscription_cancel");
    let stripe = app.at_stripes(&id).await;
    has(
        &asked[1],
        "flow_data[subscription_cancel][subscription]",
        &stripe,
    );
    for form in &asked {
        // By default where a paid checkout leads to.
        let back = "https://app.example.org/thanks?from=dues";
        has(form, "return_url", back);
        has(
            form,
            "flow_data[after_completion][redirect][return_url]",
            back,
        );
    }
    app.act(&id, "cancel", json!({})).await.assert_status(200);
    open(&app, body.clone())
        .await
        .assert_problem(409, "cancelled");
    let credits = app.sell("credits-20", GOOD_CARD).await.subscription;
    let body = json!({"flow": "subscription_cancel", "subscription": credits});
    open(&app, body)
        .await
        .assert_problem(409, "not_cancellable");
}

#[tokio::test]
async fn a_wrong_wish_names_its_field_and_somebody_elses_subscription_is_not_there() {
    let plans = plans();
    let app = plans.sold().start().await;
    let hers = app
        .buy_with(&app.member("bob"), "yearly", GOOD_CARD)
        .await
        .subscription;
    for (body, field, code) in [
        (json!({"locale": "klingon"}), "locale", "unknown_locale"),
        (
            json!({"flow": "subscription_cancel"}),
            "subscription",
            "required",
        ),
        (json!({"flow": "everything"}), "flow", "invalid"),
        (json!({"subscription": "sub_1"}), "subscription", "invalid"),
        (
            json!({"return_url": "https://evil.example"}),
            "return_url",
            "unknown_field",
        ),
    ] {
        open(&app, body)
            .await
            .assert_problem(422, "validation_failed")
            .assert_field(field, code);
    }
    open(&app, json!({"subscription": hers}))
        .await
        .assert_problem(404, "not_found");
    app.post("/v1/portal-sessions")
        .send()
        .await
        .assert_status(401);
    assert!(asked(&app).await.is_empty());
}

#[tokio::test]
async fn a_customer_whom_stripe_no_longer_has_is_left_out() {
    let plans = plans();
    let app = plans.sold().start().await;
    let euro = app.sell("credits-20", GOOD_CARD).await;
    let dollar = json!({"plan": "credits-20", "currency": "usd"});
    let dollar = app.open_basket(&app.member("alice"), dollar).await;
    app.pay(&dollar).await;
    app.settle().await;
    app.hold_deliveries().await;
    let path = format!("/v1/customers/{}", app.customer_of(&euro).await);
    app.at_stripe(Method::DELETE, &path, &[]).await;
    let answer = open(&app, json!({})).await.assert_status(201);
    assert_eq!(currencies(&answer), ["usd"]);
    open(&app, json!({"currency": "eur"}))
        .await
        .assert_problem(409, "no_customer");
    assert_eq!(asked(&app).await.len(), 2, "it is not asked for twice");
    app.release_deliveries(json!({})).await;
}
