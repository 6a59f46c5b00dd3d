//! More than a page: subscriptions of an account, and payments of one subscription.

use reqwest::Method;
use serde_json::{Value, json};

use super::old::{CARD, OLD, adopt, service};
use crate::harness::TestApp;
use crate::harness::lifecycle::{DAY, MONTH, text};
use crate::harness::purchase::FAILING_LATER_CARD;

const CATALOGUE: &str = "[[product]]\nname = \"A day\"\n[[product.price]]\nlookup_key = \"daily\"\ncurrency = \"eur\"\n\
                         unit_amount = 100\ninterval = \"day\"\n";
const PLANS: &str = "[[plan]]\ncode = \"daily\"\nkind = \"membership\"\nprice = \"daily\"\n";

#[tokio::test]
async fn all_pages_of_stripe_s_list_are_walked() {
    let app = service().await;
    let price = app.price("membership_monthly").await;
    let customer = app.old_customer("alice", "EUR").await;
    let form = [
        ("customer", customer.as_str()),
        ("items[0][price]", &price),
        ("collection_method", "send_invoice"),
        ("days_until_due", "30"),
    ];
    for _ in 0..101 {
        app.at_stripe(Method::POST, "/v1/subscriptions", &form)
            .await;
    }
    let planned = adopt(&app, &OLD, &[]).await;
    assert_eq!(planned["listed"], 101);
    assert_eq!(planned["buckets"]["no_id"], 101);
    let planned = adopt(&app, &OLD[..3], &[]).await;
    assert_eq!(planned["buckets"]["adopted"], 1, "one is hers");
    assert_eq!(planned["buckets"]["held_already"], 100);
}

#[tokio::test]
async fn all_payments_are_read_in_from_the_first() {
    let app = TestApp::with().selling(CATALOGUE, PLANS).start().await;
    app.first_walk_is_over().await;
    let old = app.old_sale("alice", "daily", 1, CARD).await;
    let first = app.clock.now();
    app.move_clocks(102 * DAY).await;
    app.deliveries_settle().await;
    adopt(&app, &OLD, &["--apply"]).await;
    app.settle().await;
    let (id, standing) = app.standing(&old.stripe).await;
    assert_eq!(standing, "ACTIVE paid");
    let payments = app.money(&id).await.len();
    assert!(payments > 100, "{payments}");
    let since = sqlx::query_scalar("SELECT first_paid_at FROM subscriptions");
    let since: time::OffsetDateTime = since.fetch_one(&app.pool).await.expect("a row");
    assert!(
        (since - first).abs() < time::Duration::minutes(1),
        "{since}"
    );
}

#[tokio::test]
async fn each_payment_of_an_invoice_that_was_paid_in_parts_is_a_row() {
    let app = service().await;
    let old = app
        .old_sale("alice", "membership_monthly", 1, FAILING_LATER_CARD)
        .await;
    app.advance(MONTH).await;
    let path = format!("/v1/subscriptions/{}", old.stripe);
    let invoice = text(&app.sandbox.stripe(&path).await["latest_invoice"]);
    let pay = format!("/_sandbox/invoices/{invoice}/pay");
    for amount in [json!(100), Value::Null] {
        let body = json!({"card": CARD, "amount": amount});
        app.sandbox.post(&pay, body).await;
    }
    let payments = format!("/v1/invoice_payments?invoice={invoice}");
    let payments = app.sandbox.stripe(&payments).await;
    let payments = payments["data"].as_array().expect("a list").iter();
    let paid = payments.filter(|payment| payment["status"] == "paid");
    let intents: Vec<String> = paid
        .map(|payment| text(&payment["payment"]["payment_intent"]))
        .collect();
    assert_eq!(intents.len(), 2);
    for intent in &intents {
        app.refund(intent, &[]).await;
    }
    adopt(&app, &OLD, &["--apply"]).await;
    app.settle().await;
    let (id, standing) = app.standing(&old.stripe).await;
    assert_eq!(standing, "ACTIVE paid");
    let money = app.money(&id).await;
    let count = |kind: &str| money.iter().filter(|told| *told == kind).count();
    assert_eq!((count("payment"), count("refund")), (3, 2), "{money:?}");
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT stripe_reference, stripe_payment_intent_id FROM transactions
          WHERE kind = 'payment' AND starts_with(stripe_reference, $1) ORDER BY length(stripe_reference)",
    )
    .bind(&invoice)
    .fetch_all(&app.pool)
    .await
    .expect("rows");
    let [(first, one), (second, other)] = &rows[..] else {
        panic!("{rows:?}");
    };
    assert_eq!((first, second), (&invoice, &format!("{invoice}#{other}")));
    assert!(intents.contains(one) && intents.contains(other) && one != other);

    // Their own events come late, and name the same rows.
    let before = app.everything().await;
    for kind in ["invoice.paid", "invoice_payment.paid"] {
        for event in app.events_of(kind).await {
            let path = format!("/_sandbox/events/{}/send", text(&event["id"]));
            app.sandbox.post(&path, json!({})).await;
        }
    }
    app.settle().await;
    assert_eq!(app.everything().await, before);
    assert_eq!(app.differences().await, json!([]));
}
