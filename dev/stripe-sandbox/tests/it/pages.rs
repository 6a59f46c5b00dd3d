//! The pages that people see.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::bench::{Bench, text};

async fn page(bench: &Bench, url: &str) -> (StatusCode, String) {
    let response = bench.http.get(url).send().await.unwrap();
    (response.status(), response.text().await.unwrap())
}

async fn submit(bench: &Bench, url: &str, form: &[(&str, &str)]) -> (StatusCode, String, String) {
    let pairs: Vec<String> = form
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let body = pairs.join("&");
    let request = bench
        .http
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let response = request.send().await.unwrap();
    let location = response
        .headers()
        .get("location")
        .map(|value| value.to_str().unwrap().to_owned());
    (
        response.status(),
        location.unwrap_or_default(),
        response.text().await.unwrap(),
    )
}

#[tokio::test]
async fn a_buyer_is_declined_tries_again_and_returns() {
    let (bench, hook) = Bench::with_hook().await;
    let session = bench.session("subscription", "annual", "").await;
    let url = text(&session["url"]);
    let (status, html) = page(&bench, &url).await;
    assert_eq!(status, 200);
    for wanted in [
        "SANDBOX",
        "Annual membership",
        "30.00 EUR",
        "every year",
        "https://app.test/back",
        "4000000000000002",
    ] {
        assert!(html.contains(wanted), "{wanted}");
    }
    let (status, _, html) = submit(&bench, &url, &[("instrument", "4000000000000002")]).await;
    assert_eq!(status, 200);
    assert!(html.contains("Your card was declined."));
    let (status, location, _) = submit(&bench, &url, &[("instrument", "4242424242424242")]).await;
    assert_eq!(
        (status.as_u16(), location),
        (
            303,
            format!("https://app.test/done?session_id={}", text(&session["id"]))
        )
    );
    assert!(
        hook.types()
            .iter()
            .any(|kind| kind == "checkout.session.completed"),
        "the redirect waits for the webhook"
    );
    let (status, html) = page(&bench, &url).await;
    assert_eq!(status, 200);
    assert!(html.contains("completed this checkout already"));
}

#[tokio::test]
async fn authentication_is_a_page_of_its_own() {
    let bench = Bench::start().await;
    let session = bench.session("payment", "share", "").await;
    let url = text(&session["url"]);
    let card = ("instrument", "4000002760003184");
    let (_, _, html) = submit(&bench, &url, &[card]).await;
    assert!(
        html.contains("Authenticate your payment") && html.contains("value=\"4000002760003184\"")
    );
    let (_, _, html) = submit(&bench, &url, &[card, ("authenticate", "false")]).await;
    assert!(html.contains("unable to authenticate"));
    let (status, ..) = submit(&bench, &url, &[card, ("authenticate", "true")]).await;
    assert_eq!(status, 303);
}

#[tokio::test]
async fn donors_type_their_amount() {
    let bench = Bench::start().await;
    let session = bench.session("payment", "donation", "").await;
    let form = [
        ("instrument", "4242424242424242"),
        ("amount", "12,5"),
        ("email", "donor%40example.com"),
    ];
    let (status, ..) = submit(&bench, &text(&session["url"]), &form).await;
    assert_eq!(status, 303);
    let done = bench
        .get(&format!("/v1/checkout/sessions/{}", text(&session["id"])))
        .await
        .ok();
    assert_eq!(
        (&done["amount_total"], &done["customer_details"]["email"]),
        (&json!(1_250), &json!("donor@example.com"))
    );
}

#[tokio::test]
async fn expired_and_unknown_sessions_say_so() {
    let bench = Bench::start().await;
    let session = bench.session("payment", "share", "").await;
    bench.advance_days(2).await;
    let (status, html) = page(&bench, &text(&session["url"])).await;
    assert_eq!(status, 410);
    assert!(html.contains("timed out") && html.contains("https://app.test/back"));
    let (status, html) = page(&bench, &format!("{}/c/pay/cs_test_none", bench.url)).await;
    assert_eq!(status, 404);
    assert!(html.contains("no such checkout"));
}

#[tokio::test]
async fn what_others_wrote_is_escaped() {
    let bench = Bench::start().await;
    let more = "&line_items[0][price_data][currency]=eur&line_items[0][price_data][unit_amount]=500\
                &line_items[0][price_data][product_data][name]=<script>alert(1)</script>&line_items[0][quantity]=1";
    let form = format!("mode=payment&success_url=https://app.test/{more}");
    let session = bench.post("/v1/checkout/sessions", &form).await.ok();
    let (_, html) = page(&bench, &text(&session["url"])).await;
    assert!(html.contains("&lt;script&gt;") && !html.contains("<script>"));
}

async fn portal(bench: &Bench, customer: &str, more: &str) -> Value {
    let form = format!("customer={customer}&return_url=https://app.test/account{more}");
    bench.post("/v1/billing_portal/sessions", &form).await.ok()
}

#[tokio::test]
async fn the_portal_cancels_and_thinks_better_of_it() {
    let bench = Bench::start().await;
    let (id, customer) = bench.subscribe("annual", "4242424242424242").await;
    let session = portal(&bench, &customer, "").await;
    let url = text(&session["url"]);
    let (_, html) = page(&bench, &url).await;
    assert!(html.contains("Annual membership") && html.contains("https://app.test/account"));
    submit(&bench, &url, &[("action", "cancel"), ("subscription", &id)]).await;
    let cancelling = bench.get(&format!("/v1/subscriptions/{id}")).await.ok();
    assert_eq!(
        cancelling["cancel_at_period_end"], false,
        "flexible billing sets cancel_at alone"
    );
    assert_eq!(
        cancelling["cancel_at"],
        cancelling["items"]["data"][0]["current_period_end"]
    );
    submit(&bench, &url, &[("action", "undo"), ("subscription", &id)]).await;
    assert_eq!(
        bench.get(&format!("/v1/subscriptions/{id}")).await.ok()["cancel_at"],
        json!(null)
    );
    submit(
        &bench,
        &url,
        &[("action", "card"), ("instrument", "5555555555554444")],
    )
    .await;
    let path = format!("/v1/subscriptions/{id}?expand[]=default_payment_method");
    assert_eq!(
        bench.get(&path).await.ok()["default_payment_method"]["card"]["last4"],
        "4444"
    );
    let (_, html) = page(&bench, &url).await;
    assert!(html.contains("card ending 4444"));
    let (other, _) = bench.subscribe("monthly", "4242424242424242").await;
    submit(
        &bench,
        &url,
        &[("action", "cancel"), ("subscription", &other)],
    )
    .await;
    assert_eq!(
        bench.get(&format!("/v1/subscriptions/{other}")).await.ok()["cancel_at"],
        json!(null),
        "not theirs"
    );
}

#[tokio::test]
async fn a_portal_configuration_can_cancel_at_once_and_a_flow_leads_back() {
    let bench = Bench::start().await;
    let (id, customer) = bench.subscribe("annual", "4242424242424242").await;
    let form = "features[subscription_cancel][enabled]=true&features[subscription_cancel][mode]=immediately";
    let configuration = bench
        .post("/v1/billing_portal/configurations", form)
        .await
        .ok();
    assert_eq!(
        configuration["features"]["invoice_history"]["enabled"],
        false
    );
    let more = format!(
        "&configuration={}&flow_data[type]=subscription_cancel&flow_data[subscription_cancel][subscription]={id}\
         &flow_data[after_completion][type]=redirect&flow_data[after_completion][redirect][return_url]=https://app.test/bye",
        text(&configuration["id"])
    );
    let session = portal(&bench, &customer, &more).await;
    let url = text(&session["url"]);
    let (status, location, _) =
        submit(&bench, &url, &[("action", "cancel"), ("subscription", &id)]).await;
    assert_eq!(
        (status.as_u16(), location.as_str()),
        (303, "https://app.test/bye")
    );
    assert_eq!(
        bench.get(&format!("/v1/subscriptions/{id}")).await.ok()["status"],
        "canceled"
    );
    bench
        .delete(&format!("/v1/customers/{customer}"))
        .await
        .ok();
    assert_eq!(page(&bench, &url).await.0, 404);
}

#[tokio::test]
async fn the_overview_lists_what_there_is() {
    let bench = Bench::start().await;
    bench.subscribe("annual", "4242424242424242").await;
    let response = bench
        .http
        .get(format!("{}/", bench.url))
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["location"], "/_sandbox/");
    let (status, html) = page(&bench, &format!("{}/_sandbox/", bench.url)).await;
    assert_eq!(status, 200);
    assert!(
        html.contains("checkout.session.completed")
            && html.contains("/_sandbox/objects/subscription")
    );
    let before = bench.look("clock").await["now"].as_i64().unwrap();
    submit(
        &bench,
        &format!("{}/_sandbox/ui/advance", bench.url),
        &[("seconds", "86400")],
    )
    .await;
    assert!(bench.look("clock").await["now"].as_i64().unwrap() >= before + 86_400);
}

#[tokio::test]
async fn landmarks_stand_side_by_side() {
    let bench = Bench::start().await;
    let session = bench.session("payment", "share", "").await;
    let (_, html) = page(&bench, &text(&session["url"])).await;
    // A banner inside another landmark is none: it comes before all of them, and is the only one.
    assert!(html.contains("<body><header class=\"banner\">"));
    assert!(html.contains("</header><main>"));
    assert_eq!(html.matches("<header").count(), 1);
    assert_eq!(html.matches("<h1>").count(), 1);
}
