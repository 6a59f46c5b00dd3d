//! Long statements: how many calls they take, how many at once, and that nothing is lost between two pages.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::{list, parse_csv, shorts, totals};
use crate::harness::TestApp;
use crate::harness::lifecycle::{DAY, HOUR, text};
use crate::harness::purchase::GOOD_CARD;

impl TestApp {
    /// Pays for something at Stripe, as a customer who bought at alice's, without any of our checkouts.
    async fn pay_beside(&self, customer: &str, lines: &[(&str, &str)]) -> String {
        let mut form = vec![
            ("mode", "payment".to_owned()),
            ("customer", customer.to_owned()),
            ("success_url", "https://elsewhere.example/ok".to_owned()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect::<Vec<_>>();
        for (at, (name, amount)) in lines.iter().enumerate() {
            let line =
                |key: &str, value: &str| (format!("line_items[{at}]{key}"), value.to_owned());
            form.push(line("[price_data][currency]", "eur"));
            form.push(line("[price_data][unit_amount]", amount));
            form.push(line("[price_data][product_data][name]", name));
            form.push(line("[quantity]", "1"));
        }
        let form: Vec<(&str, &str)> = form
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        let session = self
            .at_stripe(Method::POST, "/v1/checkout/sessions", &form)
            .await;
        let session = text(&session["id"]);
        let pay = format!("/_sandbox/checkout/{session}/pay");
        self.sandbox.post(&pay, json!({ "card": GOOD_CARD })).await;
        session
    }
}

#[tokio::test]
async fn five_hundred_payments_take_as_many_calls_as_they_have_pages() {
    let app = TestApp::start().await;
    let purchase = app.sell("share", GOOD_CARD).await;
    let customer = app.customer_of(&purchase).await;
    app.hold_deliveries().await;
    for nth in 1..500 {
        let amount = (100 + nth).to_string();
        app.pay_beside(&customer, &[("Mug", amount.as_str())]).await;
    }
    let calls = app.service_calls_but_events().await;
    let started = Instant::now();
    let statement = app.statement("").await;
    eprintln!("500 payments: {:?}", started.elapsed());
    assert_eq!(
        app.service_calls_but_events().await - calls,
        11,
        "five pages of charges and sessions, one of invoices"
    );
    let entries = list(&statement["entries"]);
    let references: BTreeSet<String> = entries
        .iter()
        .map(|entry| text(&entry["reference"]))
        .collect();
    assert_eq!((entries.len(), references.len()), (500, 500));
    let others: i64 = (1..500).map(|nth| 100 + nth).sum();
    assert_eq!(
        totals(&statement),
        [
            "share eur 2500-0-0=2500".to_owned(),
            format!("? eur {others}-0-0={others}")
        ]
    );
    assert!(entries.is_sorted_by_key(|entry| text(&entry["at"])));
    assert_eq!(app.statement_rows().await.len(), 500);
}

#[tokio::test]
async fn a_hundred_and_five_renewals_are_there_each_once() {
    // Nobody looks whether it was paid meanwhile.
    let app = TestApp::with()
        .setting("DUES__LIFECYCLE__GRACE_DAYS", "")
        .start()
        .await;
    app.sell("membership-monthly", GOOD_CARD).await;
    app.hold_deliveries().await;
    for _ in 0..105 {
        app.move_clocks(31 * DAY + 2 * HOUR).await;
    }
    let calls = app.service_calls_but_events().await;
    let from = app.clock.now() - time::Duration::days(3650);
    let statement = app.statement(&format!("?from={}", from.date())).await;
    assert_eq!(
        app.service_calls_but_events().await - calls,
        5,
        "two pages of charges and invoices, one of sessions"
    );
    let paid = shorts(&statement);
    // The calendar has its months, the test its own.
    assert!((105..=110).contains(&paid.len()), "{}", paid.len());
    assert!(
        paid.iter()
            .all(|entry| entry == "payment 300: membership 300"),
        "{paid:#?}"
    );
    let invoices: BTreeSet<String> = list(&statement["entries"])
        .iter()
        .map(|entry| text(&entry["reference"]))
        .collect();
    assert_eq!(invoices.len(), paid.len());
}

#[tokio::test]
async fn long_objects_are_read_to_their_end() {
    let app = TestApp::start().await;
    let purchase = app.sell("credits-20", GOOD_CARD).await;
    let intent = app.payment_of(&purchase).await;
    let customer = app.customer_of(&purchase).await;
    app.hold_deliveries().await;
    for _ in 0..12 {
        let form = [("payment_intent", intent.as_str()), ("amount", "100")];
        app.at_stripe(Method::POST, "/v1/refunds", &form).await;
    }
    app.move_clocks(HOUR).await;
    let lines = [("Mug", "200"); 13];
    app.pay_beside(&customer, &lines).await;
    let calls = app.service_calls_but_events().await;
    let statement = app.statement("").await;
    assert_eq!(
        app.service_calls_but_events().await - calls,
        5,
        "three lists, the refunds, the lines"
    );
    assert_eq!(
        totals(&statement),
        ["top_up eur 2000-1200-0=800", "? eur 2600-0-0=2600"]
    );
    let basket = list(&statement["entries"]).last().expect("a basket");
    assert_eq!(list(&basket["lines"]).len(), 13);
    assert!(
        list(&basket["lines"])
            .iter()
            .all(|line| line["type"] == "item"),
        "{basket:#}"
    );
}

#[tokio::test]
async fn a_long_invoice_is_read_to_its_end() {
    let app = TestApp::start().await;
    let purchase = app.sell("membership-monthly", GOOD_CARD).await;
    let customer = app.customer_of(&purchase).await;
    app.hold_deliveries().await;
    app.move_clocks(HOUR).await;
    let mut form: Vec<(String, String)> = vec![
        ("mode".into(), "payment".into()),
        ("customer".into(), customer),
        ("success_url".into(), "https://elsewhere.example/ok".into()),
        ("invoice_creation[enabled]".into(), "true".into()),
    ];
    for at in 0..12 {
        form.push((
            format!("line_items[{at}][price_data][currency]"),
            "eur".into(),
        ));
        form.push((
            format!("line_items[{at}][price_data][unit_amount]"),
            "100".into(),
        ));
        form.push((
            format!("line_items[{at}][price_data][product_data][name]"),
            "Mug".into(),
        ));
        form.push((format!("line_items[{at}][quantity]"), "1".into()));
    }
    let form: Vec<(&str, &str)> = form
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let session = app
        .at_stripe(Method::POST, "/v1/checkout/sessions", &form)
        .await;
    let pay = format!("/_sandbox/checkout/{}/pay", text(&session["id"]));
    app.sandbox.post(&pay, json!({ "card": GOOD_CARD })).await;
    let statement = app.statement("").await;
    assert_eq!(app.service_calls("GET /v1/invoices/in_").await, 1);
    let basket = list(&statement["entries"]).last().expect("a basket");
    assert_eq!(
        (&basket["amount"], list(&basket["lines"]).len()),
        (&json!(1200), 12)
    );
    assert!(text(&basket["reference"]).starts_with("in_"));
}

#[tokio::test]
async fn at_most_eight_calls_of_a_statement_are_in_flight() {
    let app = TestApp::start().await;
    for nth in 0..8 {
        let customer: Value = app.at_stripe(Method::POST, "/v1/customers", &[]).await;
        sqlx::query(
            "INSERT INTO customers (id, user_id, currency, stripe_customer_id, created_at)
             VALUES (gen_random_uuid(), 'alice', $1, $2, now())",
        )
        .bind(format!("xx{}", char::from(b'a' + nth)))
        .bind(text(&customer["id"]))
        .execute(&app.pool)
        .await
        .expect("a row");
    }
    // The worker's first walk must not take a stall away.
    app.hold_deliveries().await;
    let stall = Duration::from_millis(300);
    app.fault(json!({"kind": "stall", "method": "GET", "times": 24, "stall_ms": 300}))
        .await;
    let calls = app.service_calls_but_events().await;
    let started = Instant::now();
    let statement = app.statement("").await;
    let took = started.elapsed();
    assert_eq!(statement["entries"], json!([]));
    assert_eq!(app.service_calls_but_events().await - calls, 24);
    assert!(
        took >= stall * 3,
        "24 calls of {stall:?}, eight at once, can't take {took:?}"
    );
    assert!(took < stall * 8, "24 calls of {stall:?} took {took:?}");
}

#[test]
fn the_reader_of_rows_reads_what_the_standard_says() {
    let rows = parse_csv("a,\"b \"\"c\"\", d\",\r\n\"x\r\ny\",,z\r\n");
    assert_eq!(rows, [["a", "b \"c\", d", ""], ["x\r\ny", "", "z"]]);
}
