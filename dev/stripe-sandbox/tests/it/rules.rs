//! What Stripe refuses, and how it says so.

use reqwest::Method;
use serde_json::json;

use crate::bench::{Bench, VERSION, text};

#[tokio::test]
async fn calls_without_the_right_key_are_refused() {
    let bench = Bench::unrecorded().await;
    let call = |key: Option<&str>| {
        let request = bench
            .http
            .get(format!("{}/v1/customers", bench.url))
            .header("stripe-version", VERSION);
        match key {
            Some(key) => request.basic_auth(key, None::<&str>),
            None => request,
        }
        .send()
    };
    assert_eq!(call(None).await.unwrap().status(), 401);
    assert_eq!(call(Some("sk_test_other")).await.unwrap().status(), 401);
    let live = call(Some("sk_live_abc")).await.unwrap();
    assert_eq!(live.status(), 401);
    assert!(live.text().await.unwrap().contains("refuses live keys"));
    assert_eq!(call(Some("sk_test_sandbox")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn every_answer_carries_stripes_headers() {
    let bench = Bench::start().await;
    bench.advance_days(400).await;
    let answer = bench
        .post_with("/v1/customers", "name=A", &[("idempotency-key", "k-1")])
        .await;
    assert!(answer.header("request-id").starts_with("req_"));
    assert_eq!(answer.header("idempotency-key"), "k-1");
    assert_eq!(answer.header("stripe-version"), VERSION);
    let year = time::OffsetDateTime::from_unix_timestamp(answer.body["created"].as_i64().unwrap())
        .unwrap()
        .year();
    assert!(
        answer.header("date").contains(&year.to_string()),
        "{}",
        answer.header("date")
    );
}

#[tokio::test]
async fn unknown_versions_and_json_bodies_are_refused() {
    let bench = Bench::unrecorded().await;
    let url = format!("{}/v1/customers", bench.url);
    let call = bench
        .http
        .get(&url)
        .bearer_auth("sk_test_sandbox")
        .header("stripe-version", "2031-01-01.zenith");
    assert_eq!(call.send().await.unwrap().status(), 400);
    let call = bench
        .request(Method::POST, "/v1/customers")
        .json(&json!({"name": "A"}));
    let answer = call.send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("application/x-www-form-urlencoded")
    );
}

#[tokio::test]
async fn a_search_is_not_taken_for_an_object_of_that_name() {
    let bench = Bench::unrecorded().await;
    for list in ["prices", "invoices", "subscriptions", "charges"] {
        let answer = bench.get(&format!("/v1/{list}/search?query=x")).await;
        assert_eq!(answer.error(), (404, "", ""), "{list}");
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("the sandbox does not model it"),
            "{message}"
        );
    }
    let missing = bench.get("/v1/customers/searches").await;
    assert_eq!(missing.error(), (404, "resource_missing", "id"));
}

#[tokio::test]
async fn what_is_not_modelled_is_a_loud_404() {
    let bench = Bench::unrecorded().await;
    for path in [
        "/v1/setup_intents",
        "/v1/customers/",
        "/v2/core/events",
        "/v1/payouts",
    ] {
        let answer = bench.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(
            answer.body["error"]["message"]
                .as_str()
                .unwrap()
                .starts_with("Unrecognized request URL")
        );
    }
    let price = bench.price("share").await;
    let form = format!("mode=setup&success_url=https://x.test/&line_items[0][price]={price}");
    let answer = bench.post("/v1/checkout/sessions", &form).await;
    assert_eq!(answer.error(), (400, "", "mode=setup"));
    assert!(text(&answer.body["error"]["message"]).contains("does not model"));
}

const PAYMENT: &str = "mode=payment&success_url=https://x.test/ok";
const SUBSCRIPTION: &str = "mode=subscription&success_url=https://x.test/ok";

/// Posts sessions that must be refused with 400, the code and the parameter.
async fn assert_refused(bench: &Bench, cases: &[(String, &str, &str)]) {
    for (form, code, param) in cases {
        let answer = bench.post("/v1/checkout/sessions", form).await;
        assert_eq!(
            answer.error(),
            (400, *code, *param),
            "{form}\n{:#}",
            answer.body
        );
    }
    assert_eq!(bench.look("objects/checkout.session").await, json!([]));
}

#[tokio::test]
async fn session_parameters_are_checked_by_name_type_and_length() {
    let bench = Bench::unrecorded().await;
    let long_key = format!("metadata[{}]", "k".repeat(41));
    let cases = [
        (
            format!("{PAYMENT}&payment_method_types[]=card"),
            "parameter_unknown",
            "payment_method_types",
        ),
        (format!("{PAYMENT}&ui_mode=hosted"), "", "ui_mode"),
        (
            format!("{PAYMENT}&client_reference_id={}", "x".repeat(201)),
            "",
            "client_reference_id",
        ),
        (format!("{PAYMENT}&{long_key}=1"), "", long_key.as_str()),
        (
            format!("{PAYMENT}&metadata[k]={}", "v".repeat(501)),
            "",
            "metadata[k]",
        ),
        (format!("{PAYMENT}&metadata[a[b]]=1"), "", "metadata[a[b]]"),
        (
            format!("{PAYMENT}&customer="),
            "parameter_invalid_empty",
            "customer",
        ),
        (
            format!("{PAYMENT}&line_items[0][quantity]=one"),
            "parameter_invalid_integer",
            "line_items[0][quantity]",
        ),
        (PAYMENT.to_owned(), "parameter_missing", "line_items"),
        (
            "success_url=https://x.test".to_owned(),
            "parameter_missing",
            "mode",
        ),
    ];
    assert_refused(&bench, &cases).await;
}

#[tokio::test]
async fn session_parameters_must_fit_together() {
    let bench = Bench::unrecorded().await;
    let line = async |key: &str| {
        format!(
            "&line_items[0][price]={}&line_items[0][quantity]=1",
            bench.price(key).await
        )
    };
    let (annual, share, donation) = (
        line("annual").await,
        line("share").await,
        line("donation").await,
    );
    let inline = "&line_items[0][price_data][currency]=eur&line_items[0][price_data][unit_amount]=20\
                  &line_items[0][price_data][product_data][name]=x&line_items[0][quantity]=1";
    let cases = [
        (format!("{PAYMENT}&expand[]=a.b.c.d.e{share}"), "", "expand"),
        (format!("{PAYMENT}&expand[]=metadata{share}"), "", "expand"),
        (
            format!("mode=payment{share}"),
            "parameter_missing",
            "success_url",
        ),
        (
            format!("mode=payment&success_url=app.test{share}"),
            "url_invalid",
            "success_url",
        ),
        (
            format!("{PAYMENT}&line_items[0][price]=price_0&line_items[0][quantity]=1"),
            "resource_missing",
            "line_items[0][price]",
        ),
        (
            format!(
                "{PAYMENT}{}",
                share.replace("&line_items[0][quantity]=1", "")
            ),
            "parameter_missing",
            "line_items[0][quantity]",
        ),
        (format!("{PAYMENT}{annual}"), "", ""),
        (format!("{SUBSCRIPTION}{share}"), "", ""),
        (
            format!("{SUBSCRIPTION}{annual}&payment_intent_data[description]=x"),
            "",
            "payment_intent_data",
        ),
        (
            format!("{PAYMENT}{share}&currency=usd"),
            "",
            "line_items[0][price]",
        ),
        (
            format!("{PAYMENT}{donation}&allow_promotion_codes=true"),
            "",
            "line_items",
        ),
        (
            format!("{PAYMENT}{share}&customer=cus_none"),
            "resource_missing",
            "customer",
        ),
        (format!("{PAYMENT}{inline}"), "amount_too_small", ""),
    ];
    assert_refused(&bench, &cases).await;
}

#[tokio::test]
async fn expiry_lies_between_half_an_hour_and_a_day() {
    let bench = Bench::unrecorded().await;
    let price = bench.price("share").await;
    let now = bench.look("clock").await["now"].as_i64().unwrap();
    for (at, fits) in [
        (now + 1_700, false),
        (now + 1_860, true),
        (now + 86_000, true),
        (now + 86_500, false),
    ] {
        let form = format!(
            "mode=payment&success_url=https://x.test&line_items[0][price]={price}&line_items[0][quantity]=1&expires_at={at}"
        );
        let answer = bench.post("/v1/checkout/sessions", &form).await;
        assert_eq!(answer.status == 200, fits, "{}", at - now);
        if !fits {
            assert_eq!(answer.error(), (400, "", "expires_at"));
        }
    }
}

#[tokio::test]
async fn metadata_merges_and_an_empty_value_deletes() {
    let bench = Bench::start().await;
    let customer = bench.customer().await;
    let path = format!("/v1/customers/{customer}");
    let merged = bench
        .post(&path, "metadata[a]=1&metadata[b]=2&description=x")
        .await
        .ok();
    assert_eq!(
        merged["metadata"],
        json!({"a": "1", "b": "2", "dues_user_id": "u1"})
    );
    let less = bench.post(&path, "metadata[a]=&description=").await.ok();
    assert_eq!(less["metadata"], json!({"b": "2", "dues_user_id": "u1"}));
    assert_eq!(less["description"], json!(null));
    let events = bench.events().await;
    assert_eq!(
        events.last().unwrap()["data"]["previous_attributes"],
        json!({"metadata": {"a": "1"}, "description": "x"})
    );
    let none = bench.post(&path, "metadata=").await.ok();
    assert_eq!(none["metadata"], json!({}));
}

#[tokio::test]
async fn one_customer_buys_in_one_currency() {
    let bench = Bench::unrecorded().await;
    let customer = bench.customer().await;
    let first = bench
        .session("subscription", "annual", &format!("&customer={customer}"))
        .await;
    let price = bench.price("annual").await;
    let form = format!(
        "mode=subscription&success_url=https://x.test&customer={customer}&currency=usd\
         &line_items[0][price]={price}&line_items[0][quantity]=1"
    );
    let refused = bench.post("/v1/checkout/sessions", &form).await;
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.body["error"]["message"],
        "You cannot combine currencies on a single customer. This customer has an active subscription, subscription \
         schedule, discount, quote, invoice item or active subscription mode checkout session with currency eur."
    );
    bench
        .post(
            &format!("/v1/checkout/sessions/{}/expire", text(&first["id"])),
            "",
        )
        .await
        .ok();
    let session = bench.post("/v1/checkout/sessions", &form).await.ok();
    assert_eq!(session["amount_total"], 3300);
}

#[tokio::test]
async fn a_deleted_customer_is_a_stub_that_cannot_buy() {
    let bench = Bench::unrecorded().await;
    let (subscription, customer) = bench.subscribe("annual", "4242424242424242").await;
    bench
        .delete(&format!("/v1/customers/{customer}"))
        .await
        .ok();
    let stub = bench.get(&format!("/v1/customers/{customer}")).await.ok();
    assert_eq!(
        stub,
        json!({"id": customer, "object": "customer", "deleted": true})
    );
    let ended = bench
        .get(&format!(
            "/v1/subscriptions/{subscription}?expand[]=customer"
        ))
        .await
        .ok();
    assert_eq!(
        (&ended["status"], &ended["customer"]["deleted"]),
        (&json!("canceled"), &json!(true))
    );
    let price = bench.price("annual").await;
    let form = format!(
        "mode=subscription&success_url=https://x.test&customer={customer}&line_items[0][price]={price}&line_items[0][quantity]=1"
    );
    assert_eq!(
        bench.post("/v1/checkout/sessions", &form).await.error(),
        (400, "resource_missing", "customer")
    );
    assert_eq!(
        bench
            .get("/v1/customers?email=member@example.com")
            .await
            .ok()["data"],
        json!([])
    );
    assert_eq!(
        bench
            .post(&format!("/v1/customers/{customer}"), "name=B")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn a_lookup_key_moves_only_when_told_to() {
    let bench = Bench::unrecorded().await;
    let old = bench.price("annual").await;
    let (subscription, _) = bench.subscribe("annual", "4242424242424242").await;
    let product = text(&bench.get(&format!("/v1/prices/{old}")).await.ok()["product"]);
    let form = format!(
        "currency=eur&unit_amount=3500&product={product}&recurring[interval]=year&lookup_key=annual"
    );
    assert_eq!(
        bench.post("/v1/prices", &form).await.error(),
        (400, "", "lookup_key")
    );
    let new = bench
        .post("/v1/prices", &format!("{form}&transfer_lookup_key=true"))
        .await
        .ok();
    assert_eq!(bench.price("annual").await, text(&new["id"]));
    assert_eq!(
        bench.get(&format!("/v1/prices/{old}")).await.ok()["lookup_key"],
        json!(null)
    );
    let path = format!("/v1/subscriptions/{subscription}");
    let price = &bench.get(&path).await.ok()["items"]["data"][0]["price"];
    assert_eq!(
        (&price["id"], &price["lookup_key"]),
        (&json!(old), &json!(null)),
        "it is shown as it is now"
    );
}
