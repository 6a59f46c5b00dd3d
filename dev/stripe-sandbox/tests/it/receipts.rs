//! Receipts, and long lists of what was paid.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::bench::{Bench, text};

async fn charge(bench: &Bench, session: &Value) -> Value {
    let path = format!(
        "/v1/checkout/sessions/{}?expand[]=payment_intent.latest_charge",
        text(&session["id"])
    );
    bench.get(&path).await.ok()["payment_intent"]["latest_charge"].clone()
}

async fn page(bench: &Bench, url: &str) -> (u16, String) {
    let response = bench.http.get(url).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn a_charge_has_a_receipt_that_follows_its_refunds() {
    let bench = Bench::start().await;
    let session = bench.session("payment", "share", "").await;
    bench.pay(&session, "4000000000000002").await.error();
    let declined = charge(&bench, &session).await;
    assert_eq!(declined["receipt_url"], json!(null));
    bench.pay(&session, "4242424242424242").await.ok();
    let paid = charge(&bench, &session).await;
    assert_eq!(
        (&paid["receipt_number"], &paid["receipt_email"]),
        (&json!(null), &json!(null)),
        "in test mode nothing is mailed"
    );
    let url = text(&paid["receipt_url"]);
    let (status, html) = page(&bench, &url).await;
    assert_eq!(status, 200);
    for wanted in [
        "Sandbox Cooperative",
        "50.00 EUR",
        "visa ending 4242",
        "Share",
    ] {
        assert!(html.contains(wanted), "{wanted}");
    }
    let form = format!("charge={}&amount=1500", text(&paid["id"]));
    bench.post("/v1/refunds", &form).await.ok();
    assert!(page(&bench, &url).await.1.contains("-15.00 EUR"));
    let none = format!("{}/receipts/{}", bench.url, text(&declined["id"]));
    assert_eq!(page(&bench, &none).await.0, 404);
}

#[tokio::test]
async fn a_receipt_has_a_number_once_it_is_mailed() {
    let bench = Bench::start().await;
    let more = "&payment_intent_data[receipt_email]=a@example.com";
    let asked = bench.session("payment", "share", more).await;
    bench.pay(&asked, "4242424242424242").await.ok();
    let asked = charge(&bench, &asked).await;
    assert_eq!(asked["receipt_email"], "a@example.com");
    assert_eq!(text(&asked["receipt_number"]).len(), 9);

    let plain = bench.session("payment", "share", "").await;
    bench.pay(&plain, "4242424242424242").await.ok();
    let path = format!("/v1/charges/{}", text(&charge(&bench, &plain).await["id"]));
    let mailed = bench.post(&path, "receipt_email=b@example.com").await.ok();
    assert!(mailed["receipt_number"].is_string());

    bench
        .control("settings", json!({"mail_receipts": true}))
        .await;
    let (subscription, _) = bench.subscribe("monthly", "4242424242424242").await;
    let charges = bench.get("/v1/charges?limit=1").await.ok();
    let newest = &charges["data"][0];
    assert_eq!(newest["receipt_email"], "member@example.com");
    let (_, html) = page(&bench, &text(&newest["receipt_url"])).await;
    assert!(html.contains("Monthly membership") && html.contains(&text(&newest["receipt_number"])));
    assert!(!subscription.is_empty());
}

/// Walks a list to its end and returns the ids, in order.
async fn walk(bench: &Bench, path: &str, look: impl Fn(&Value)) -> Vec<String> {
    let mut ids: Vec<String> = vec![];
    loop {
        let cursor = ids.last().map(|id| format!("&starting_after={id}"));
        let page = bench
            .get(&format!("{path}{}", cursor.unwrap_or_default()))
            .await
            .ok();
        let rows = page["data"].as_array().unwrap();
        rows.iter().for_each(&look);
        ids.extend(rows.iter().map(|row| text(&row["id"])));
        if page["has_more"] == false {
            return ids;
        }
    }
}

#[tokio::test]
async fn hundreds_of_payments_are_listed_with_what_belongs_to_them() {
    const HALF: usize = 130;
    let bench = Bench::unrecorded().await;
    let customer = bench.customer().await;
    let share = bench.price("share").await;
    let form = format!(
        "mode=payment&success_url=https://x.test/ok&customer={customer}&invoice_creation[enabled]=true\
         &line_items[0][price]={share}&line_items[0][quantity]=1"
    );
    let mut middle = 0;
    for half in 0..2 {
        for _ in 0..HALF {
            let session = bench.post("/v1/checkout/sessions", &form).await.ok();
            bench.pay(&session, "4242424242424242").await.ok();
        }
        if half == 0 {
            bench.advance_days(1).await;
            middle = bench.look("clock").await["now"].as_i64().unwrap();
        }
    }
    let charges = bench.get("/v1/charges?limit=100").await.ok();
    for charge in charges["data"].as_array().unwrap() {
        let form = format!("charge={}&amount=100", text(&charge["id"]));
        bench.post("/v1/refunds", &form).await.ok();
    }

    let refunded = std::cell::Cell::new(0);
    let path = format!("/v1/charges?customer={customer}&limit=100&expand[]=data.refunds");
    let ids = walk(&bench, &path, |row| {
        refunded.set(refunded.get() + row["refunds"]["data"].as_array().unwrap().len());
    })
    .await;
    assert_eq!((ids.len(), refunded.get()), (2 * HALF, 100));
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 2 * HALF);

    let later = format!("{path}&created[gte]={middle}");
    let earlier = format!("{path}&created[lt]={middle}");
    let (later, earlier) = (
        walk(&bench, &later, |_| {}).await,
        walk(&bench, &earlier, |_| {}).await,
    );
    assert_eq!((later.len(), earlier.len()), (HALF, HALF));
    assert_eq!(
        [later, earlier].concat(),
        ids,
        "newest first, without a gap"
    );

    let path =
        format!("/v1/checkout/sessions?customer={customer}&limit=100&expand[]=data.line_items");
    let ids = walk(&bench, &path, |row| {
        assert_eq!(row["line_items"]["data"][0]["amount_total"], 5_000);
    })
    .await;
    assert_eq!(ids.len(), 2 * HALF);

    let path = format!(
        "/v1/invoices?customer={customer}&limit=100&expand[]=data.payments&created[lt]={middle}"
    );
    let ids = walk(&bench, &path, |row| {
        assert_eq!(row["payments"]["data"][0]["status"], "paid");
    })
    .await;
    assert_eq!(ids.len(), HALF);
}
