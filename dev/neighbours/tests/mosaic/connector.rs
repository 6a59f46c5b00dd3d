//! The routes of the old connector, against the Stripe sandbox.

use neighbours::mosaic::{Connector, Options};
use serde_json::{Value, json};
use stripe_sandbox::Sandbox;
use url::form_urlencoded;

use crate::bench::{Bench, MEMBER, PLAN};

const NOTHING: &str = r#"{"redirectUrl":null,"subscriptionId":null}"#;

/// A connector that sells one price of a sandbox.
struct Shop {
    bench: Bench,
    stripe: Sandbox,
}

impl Shop {
    async fn open() -> Self {
        let stripe = Sandbox::start(stripe_sandbox::Options {
            journal: Some("/dev/null".into()),
            set_up: true,
            ..stripe_sandbox::Options::default()
        })
        .await
        .unwrap();
        let bench = Bench::with(Options {
            success_redirect: Some("https://example.org/thanks?from=shop".to_owned()),
            connector: Some(Connector {
                stripe_base: stripe.url(),
                stripe_key: "sk_test_sandbox".to_owned(),
                public_base: None,
            }),
            ..Options::default()
        })
        .await;
        let shop = Self { bench, stripe };
        let price = shop
            .stripe(
                "prices",
                &[
                    ("currency", "eur"),
                    ("unit_amount", "3000"),
                    ("recurring[interval]", "month"),
                    ("product_data[name]", "Supporter"),
                ],
            )
            .await;
        let plan = json!({
            "subscriptionPlan": {"title": "Supporter"},
            "paymentPlan": {
                "id": PLAN, "title": "Monthly", "periodUnit": "MONTH", "periodQuantity": 1, "externalId": price["id"],
            },
            "prices": [{"country": "DE", "currency": "EUR", "price": "30.00"}],
        });
        assert_eq!(shop.bench.control("plans", plan).await.0, 201);
        shop
    }

    /// Makes an object at Stripe.
    async fn stripe(&self, path: &str, params: &[(&str, &str)]) -> Value {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(params)
            .finish();
        let request = self
            .bench
            .http
            .post(format!("{}/v1/{path}", self.stripe.url()));
        let request = request
            .bearer_auth("sk_test_sandbox")
            .header("content-type", "application/x-www-form-urlencoded");
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    /// Looks at an object at Stripe.
    async fn look(&self, path: &str) -> Value {
        let request = self
            .bench
            .http
            .get(format!("{}/v1/{path}", self.stripe.url()));
        let response = request.bearer_auth("sk_test_sandbox").send().await.unwrap();
        response.json().await.unwrap()
    }

    async fn start(&self, token: &str, body: Value) -> (u16, String) {
        let url = format!("{}/connector/start-checkout", self.bench.url);
        let request = self.bench.http.post(url).bearer_auth(token).json(&body);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

#[tokio::test]
async fn a_purchase_goes_through_stripe_and_comes_back() {
    let shop = Shop::open().await;
    let token = shop.bench.member(MEMBER).await;
    let wanted = json!({"paymentPlanId": PLAN, "currency": "EUR"});
    let (status, body) = shop.start(&token, wanted).await;
    assert_eq!(status, 200, "{body}");
    let started: Value = serde_json::from_str(&body).unwrap();
    let rows = shop.bench.state("subscriptions").await;
    assert_eq!(rows[0]["id"], started["subscriptionId"]);
    assert_eq!(rows[0]["lifecycleStatus"], "PENDING_ACTIVATION");
    let sessions = shop.look("checkout/sessions").await;
    let session = &sessions["data"][0];
    assert_eq!(session["url"], started["redirectUrl"]);
    let id = session["id"].as_str().unwrap();
    let metadata = json!({"source": "session", "subscriptionId": started["subscriptionId"]});
    assert_eq!(session["metadata"], metadata);
    assert_eq!(
        session["cancel_url"],
        "https://example.org/thanks?from=shop"
    );
    let url = format!(
        "{}/connector/success-checkout?session_id={id}",
        shop.bench.url
    );
    let placeholder = "{CHECKOUT_SESSION_ID}";
    assert_eq!(session["success_url"], url.replace(id, placeholder));
    let early = shop.bench.http.get(&url).send().await.unwrap();
    assert_eq!(early.status(), 302);
    assert_eq!(
        early.headers()["location"],
        "https://example.org/thanks?from=shop"
    );

    let paid = shop
        .bench
        .http
        .post(format!("{}/_sandbox/checkout/{id}/pay", shop.stripe.url()));
    let paid = paid.json(&json!({})).send().await.unwrap();
    assert_eq!(paid.status(), 200, "{}", paid.text().await.unwrap());
    let back = shop.bench.http.get(&url).send().await.unwrap();
    let mosaic_id = started["subscriptionId"].as_str().unwrap();
    let expected = format!("https://example.org/thanks?from=shop&subscription_id={mosaic_id}");
    assert_eq!(back.headers()["location"], expected.as_str());
    let row = &shop.bench.state("subscriptions").await[0];
    assert_eq!(row["lifecycleStatus"], "ACTIVE");
    assert!(
        row["paymentProviderReference"]
            .as_str()
            .unwrap()
            .starts_with("sub_")
    );
    assert!(row["periodEndDate"].is_string() && row["activationDate"].is_string());
    let subscriptions = shop.look("subscriptions").await;
    let metadata = json!({"source": "session.subscription_data", "subscriptionId": mosaic_id});
    assert_eq!(subscriptions["data"][0]["metadata"], metadata);
}

#[tokio::test]
async fn a_customer_is_made_once_for_each_currency_and_has_a_page() {
    let shop = Shop::open().await;
    let token = shop.bench.member(MEMBER).await;
    let overview = async || {
        let url = format!("{}/connector/customer-overview", shop.bench.url);
        let response = shop
            .bench
            .http
            .get(url)
            .bearer_auth(&token)
            .send()
            .await
            .unwrap();
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        assert_eq!(response.status(), 200);
        response.json::<Value>().await.unwrap()
    };
    assert_eq!(overview().await, json!([]));
    for _ in 0..2 {
        let wanted = json!({"paymentPlanId": PLAN, "currency": "EUR"});
        assert_eq!(shop.start(&token, wanted).await.0, 200);
    }
    let pages = overview().await;
    assert_eq!(pages.as_array().unwrap().len(), 1);
    assert_eq!(pages[0]["name"], "Ada (EUR)");
    assert!(
        pages[0]["url"]
            .as_str()
            .unwrap()
            .starts_with(&shop.stripe.url())
    );
    let customers = shop.look("customers").await;
    assert_eq!(customers["data"].as_array().unwrap().len(), 1);
    let metadata = json!({"end_user_id": MEMBER, "end_user_currency": "EUR"});
    assert_eq!(customers["data"][0]["metadata"], metadata);
}

#[tokio::test]
async fn whatever_goes_wrong_is_the_same_400() {
    let shop = Shop::open().await;
    let token = shop.bench.member(MEMBER).await;
    let nameless = json!({"sub": MEMBER});
    let (_, nameless) = shop.bench.control("end-user-token", nameless).await;
    let nameless = nameless["accessToken"].as_str().unwrap();
    let wanted = json!({"paymentPlanId": PLAN, "currency": "EUR"});
    let cases = [
        ("", wanted.clone()),
        (nameless, wanted),
        (&token, json!({"currency": "EUR"})),
        (&token, json!({"paymentPlanId": MEMBER, "currency": "EUR"})),
        (&token, json!({"paymentPlanId": "7", "currency": "EUR"})),
        (&token, json!([])),
    ];
    for (token, body) in cases {
        let answer = shop.start(token, body.clone()).await;
        assert_eq!(answer, (400, NOTHING.to_owned()), "{body}");
    }
    let url = format!("{}/connector/customer-overview", shop.bench.url);
    let response = shop.bench.http.get(&url).send().await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(response.text().await.unwrap(), "[]");
    let preflight = shop.bench.http.request(reqwest::Method::OPTIONS, &url);
    let preflight = preflight.send().await.unwrap();
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn without_settings_there_is_no_way_back() {
    let bench = Bench::with(Options {
        connector: Some(Connector {
            stripe_base: "http://127.0.0.1:1".to_owned(),
            stripe_key: "sk_test_sandbox".to_owned(),
            public_base: None,
        }),
        ..Options::default()
    })
    .await;
    let url = format!("{}/connector/success-checkout?session_id=cs_1", bench.url);
    let answer = bench.http.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let bare = Bench::start().await;
    let url = format!("{}/connector/customer-overview", bare.url);
    assert_eq!(bare.http.get(url).send().await.unwrap().status(), 404);
}
