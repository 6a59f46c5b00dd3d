//! The hosted page of an invoice.

use serde_json::{Value, json};

use crate::bench::{Answer, Bench, assert_has, text};

const AUTHENTICATES: &str = "4000002760003184";

/// An invoice that was sent and waits for its customer.
async fn sent(bench: &Bench) -> (String, String) {
    let (customer, price) = (bench.customer().await, bench.price("annual").await);
    let form = format!(
        "customer={customer}&items[0][price]={price}&collection_method=send_invoice&days_until_due=14"
    );
    let created = bench.post("/v1/subscriptions", &form).await.ok();
    bench
        .control("clock/advance", json!({"seconds": 3_601}))
        .await;
    (text(&created["latest_invoice"]), text(&created["id"]))
}

async fn invoice(bench: &Bench, id: &str) -> Value {
    bench.get(&format!("/v1/invoices/{id}")).await.ok()
}

async fn page(bench: &Bench, url: &str) -> (u16, String) {
    let response = bench.http.get(url).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn submit(bench: &Bench, url: &str, form: &str) -> (u16, String) {
    let request = bench
        .http
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.to_owned());
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn pay(bench: &Bench, id: &str, body: Value) -> Answer {
    bench
        .control_answer(&format!("invoices/{id}/pay"), body)
        .await
}

#[tokio::test]
async fn a_customer_reads_an_invoice_is_declined_and_pays_it() {
    let bench = Bench::start().await;
    let (id, _) = sent(&bench).await;
    let open = invoice(&bench, &id).await;
    let url = text(&open["hosted_invoice_url"]);
    let (status, html) = page(&bench, &url).await;
    assert_eq!(status, 200);
    for wanted in [
        "SANDBOX",
        "Annual membership",
        "30.00 EUR",
        "Due on",
        "member@example.com",
        AUTHENTICATES,
        "<legend>",
    ] {
        assert!(html.contains(wanted), "{wanted}");
    }
    let (status, html) = submit(&bench, &url, "instrument=4000000000000002").await;
    assert_eq!(status, 200);
    assert!(html.contains("role=\"alert\"") && html.contains("Your card was declined."));
    let seen = bench.events().await.len();
    assert_eq!(
        submit(&bench, &url, "instrument=4242424242424242").await.0,
        303
    );
    let types = bench.types_since(seen).await;
    assert_has(
        &types,
        &["charge.succeeded", "invoice.paid", "invoice_payment.paid"],
    );
    let (_, html) = page(&bench, &url).await;
    assert!(html.contains("Paid on") && !html.contains("<form"));
    let paid = invoice(&bench, &id).await;
    assert_eq!(
        (
            &paid["status"],
            &paid["amount_paid"],
            &paid["attempt_count"]
        ),
        (&json!("paid"), &json!(3_000), &json!(1))
    );
}

#[tokio::test]
async fn a_bank_may_ask_for_authentication_on_the_page() {
    let bench = Bench::start().await;
    let (id, _) = sent(&bench).await;
    let url = text(&invoice(&bench, &id).await["hosted_invoice_url"]);
    let card = format!("instrument={AUTHENTICATES}");
    let (_, html) = submit(&bench, &url, &card).await;
    assert!(html.contains("Authenticate your payment") && html.contains(AUTHENTICATES));
    let (_, html) = submit(&bench, &url, &format!("{card}&authenticate=false")).await;
    assert!(html.contains("unable to authenticate"));
    let (status, _) = submit(&bench, &url, &format!("{card}&authenticate=true")).await;
    assert_eq!(status, 303);
    assert_eq!(invoice(&bench, &id).await["status"], "paid");
}

#[tokio::test]
async fn programs_pay_invoices_too() {
    let bench = Bench::start().await;
    let (id, _) = sent(&bench).await;
    let declined = pay(&bench, &id, json!({"card": "4000000000009995"})).await;
    assert_eq!(declined.error(), (402, "card_declined", ""));
    let asked = pay(&bench, &id, json!({"card": AUTHENTICATES})).await;
    assert_eq!(asked.error(), (402, "authentication_required", ""));
    let debited = pay(&bench, &id, json!({"iban": "AT611904300234573201"}))
        .await
        .ok();
    assert_eq!(
        debited,
        json!({"status": "open", "amount_paid": 0, "payment": "processing"})
    );
    let url = text(&invoice(&bench, &id).await["hosted_invoice_url"]);
    let (_, html) = page(&bench, &url).await;
    assert!(html.contains("Payment under way") && !html.contains("<form"));
    assert_eq!(pay(&bench, &id, json!({})).await.status, 409);
    bench.advance_days(4).await;
    assert_eq!(invoice(&bench, &id).await["status"], "paid");
    assert_eq!(
        pay(&bench, &id, json!({"card": "4242424242424242"}))
            .await
            .status,
        409
    );
    assert_eq!(pay(&bench, "in_none", json!({})).await.status, 404);
    assert_eq!(pay(&bench, &id, json!({"colour": "red"})).await.status, 400);
}

#[tokio::test]
async fn a_member_in_arrears_pays_on_the_page_and_recovers() {
    let bench = Bench::start().await;
    let (id, _) = bench.subscribe("monthly", "4000000000000341").await;
    bench.advance_days(32).await;
    let path = format!("/v1/subscriptions/{id}");
    let late = bench.get(&path).await.ok();
    assert_eq!(late["status"], "past_due");
    let owed = text(&late["latest_invoice"]);
    let attempts = invoice(&bench, &owed).await["attempt_count"].clone();
    let paid = pay(&bench, &owed, json!({"card": "4242424242424242"}))
        .await
        .ok();
    assert_eq!(
        paid,
        json!({"status": "paid", "amount_paid": 500, "payment": "succeeded"})
    );
    let saved = bench.get(&path).await.ok();
    assert_eq!(saved["status"], "active");
    assert_eq!(
        saved["default_payment_method"], late["default_payment_method"],
        "what paid once is not what pays from now on"
    );
    assert_eq!(invoice(&bench, &owed).await["attempt_count"], attempts);
}

#[tokio::test]
async fn drafts_have_no_page_and_void_invoices_no_form() {
    let bench = Bench::start().await;
    let (id, _) = sent(&bench).await;
    let url = text(&invoice(&bench, &id).await["hosted_invoice_url"]);
    bench
        .post(&format!("/v1/invoices/{id}/void"), "")
        .await
        .ok();
    let (status, html) = page(&bench, &url).await;
    assert_eq!(status, 200);
    assert!(html.contains("Void") && !html.contains("<form"));
    let (id, _) = bench.subscribe("monthly", "4242424242424242").await;
    let path = format!("/v1/subscriptions/{id}?expand[]=latest_invoice");
    let end = bench.get(&path).await.ok()["items"]["data"][0]["current_period_end"].clone();
    bench.control("clock/advance", json!({"to": end})).await;
    let draft = bench.get(&path).await.ok()["latest_invoice"].clone();
    assert_eq!(
        (&draft["status"], &draft["hosted_invoice_url"]),
        (&json!("draft"), &json!(null))
    );
    let url = format!("{}/i/{}", bench.url, text(&draft["id"]));
    assert_eq!(page(&bench, &url).await.0, 404);
    assert_eq!(page(&bench, &format!("{url}/pdf")).await.0, 404);
}

#[tokio::test]
async fn the_pdf_is_a_pdf() {
    let bench = Bench::start().await;
    let (id, _) = sent(&bench).await;
    let open = invoice(&bench, &id).await;
    let url = text(&open["invoice_pdf"]);
    let response = bench.http.get(url).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/pdf");
    let file = response.text().await.unwrap();
    assert!(file.starts_with("%PDF-1.4") && file.ends_with("%%EOF\n"));
    for wanted in [&text(&open["number"]), "Annual membership", "30.00 EUR"] {
        assert!(file.contains(wanted), "{wanted}");
    }
}
