//! What is still to be paid, where, and why it was not paid by itself.

use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::lifecycle::{MONTH, text};
use crate::harness::own_affairs::plans;
use crate::harness::purchase::{FAILING_LATER_CARD, GOOD_CARD};

async fn open_invoices(app: &TestApp, id: &str) -> Vec<Value> {
    let path = format!("/v1/subscriptions/{id}/open-invoices");
    let answer = app.get(&path).bearer(&app.member("alice")).send().await;
    let body = answer.assert_status(200).json();
    body["data"].as_array().cloned().expect("a list")
}

#[tokio::test]
async fn a_renewal_that_failed_is_paid_on_the_page_that_its_invoice_has() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("basic", FAILING_LATER_CARD).await.subscription;
    assert!(open_invoices(&app, &id).await.is_empty());
    app.advance(MONTH).await;
    app.assert_line(&id, "ACTIVE", "payment_retrying", true)
        .await;
    let before = app.service_calls("GET /v1/").await;
    let unpaid = open_invoices(&app, &id).await;
    let calls = app.service_calls("GET /v1/").await - before;
    assert!(calls <= 2, "{calls} calls");
    assert_eq!(unpaid[0]["status"], "due");
    assert_eq!(unpaid.len(), 1);
    let unpaid = &unpaid[0];
    assert_eq!(
        (&unpaid["amount_due"], &unpaid["currency"]),
        (&json!(300), &json!("eur"))
    );
    assert!(unpaid["created_at"].is_string() && unpaid["next_attempt_at"].is_string());
    let cause = &unpaid["cause"];
    for key in ["code", "message", "advice"] {
        assert!(!text(&cause[key]).is_empty(), "{cause}");
    }
    assert!(
        !cause.to_string().contains("Your card was declined"),
        "Stripe's text is not ours"
    );
    // The page takes another card.
    let held = app.stripe_subscription(&id).await;
    let invoice = text(&held["latest_invoice"]);
    let at_stripe = app.sandbox.stripe(&format!("/v1/invoices/{invoice}")).await;
    assert_eq!(unpaid["pay_url"], at_stripe["hosted_invoice_url"]);
    let path = format!("/_sandbox/invoices/{invoice}/pay");
    app.sandbox.post(&path, json!({ "card": GOOD_CARD })).await;
    app.settle().await;
    app.assert_line(&id, "ACTIVE", "paid", true).await;
    assert!(open_invoices(&app, &id).await.is_empty());
    assert_eq!(
        app.money(&id).await,
        ["payment", "payment_failed", "payment"]
    );
}

#[tokio::test]
async fn a_payment_that_the_bank_wants_confirmed_says_so() {
    let plans = plans();
    let app = plans.sold().start().await;
    let purchase = app.sell("basic", GOOD_CARD).await;
    app.change_card(&purchase, "4000002760003184").await;
    app.advance(MONTH).await;
    let unpaid = open_invoices(&app, &purchase.subscription).await;
    assert_eq!(unpaid[0]["cause"]["code"], "authentication_required");
}

#[tokio::test]
async fn what_was_bought_once_or_never_paid_has_no_open_invoices_and_others_see_nothing() {
    let plans = plans();
    let app = plans.sold().start().await;
    let one_off = app.sell("credits-20", GOOD_CARD).await.subscription;
    let open = app.open(&app.member("alice"), "yearly").await.subscription;
    for id in [&one_off, &open] {
        assert!(open_invoices(&app, id).await.is_empty());
    }
    assert_eq!(app.service_calls("GET /v1/invoices").await, 0);
    let path = format!("/v1/subscriptions/{one_off}/open-invoices");
    let mallory = app.member("mallory");
    app.get(&path)
        .bearer(&mallory)
        .send()
        .await
        .assert_problem(404, "not_found");
    app.get(&path).send().await.assert_status(401);
}

#[tokio::test]
async fn what_is_on_its_way_is_not_to_be_paid_again() {
    let plans = plans();
    let app = plans.sold().start().await;
    let purchase = app.sell("basic", GOOD_CARD).await;
    let account = json!({ "iban": "AT321904300235473204" });
    let path = format!(
        "/_sandbox/customers/{}/card",
        app.customer_of(&purchase).await
    );
    app.sandbox.post(&path, account).await;
    app.advance(MONTH).await;
    let unpaid = open_invoices(&app, &purchase.subscription).await;
    assert_eq!(unpaid.len(), 1, "{unpaid:?}");
    assert_eq!(unpaid[0]["status"], "on_its_way", "{unpaid:?}");
    assert_eq!(
        (&unpaid[0]["pay_url"], &unpaid[0]["cause"]),
        (&Value::Null, &Value::Null)
    );
}
