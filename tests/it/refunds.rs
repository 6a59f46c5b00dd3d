//! Money that goes back: in parts, whole, by name, and not after all.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::lifecycle::{DAY, GOOD_ACCOUNT, MONTH, forgetful, text};
use crate::harness::purchase::GOOD_CARD;

/// Everything that the service asks of Stripe.
const ANY: &str = "";
const INVOICE_LOOKUP: &str = "GET /v1/invoice_payments";

/// A line's refund state.
async fn refunded(app: &TestApp, id: &str) -> String {
    let state = app.value("subscriptions", "refund_state", id).await;
    state.expect("a state")
}

/// The states of a line's refunds, oldest first.
async fn refunds(app: &TestApp, id: &str) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT state FROM transactions WHERE subscription_id = $1::uuid AND kind = 'refund'
          ORDER BY occurred_at, id",
    )
    .bind(id)
    .fetch_all(&app.pool)
    .await
    .expect("the transactions are there")
}

#[tokio::test]
async fn a_purchase_that_is_paid_back_bit_by_bit_ends_with_the_last_bit_and_stripe_is_never_asked()
{
    let app = TestApp::start().await;
    let purchase = app.sell("credits-20", GOOD_CARD).await;
    let id = &purchase.subscription;
    let intent = app.payment_of(&purchase).await;
    let calls = app.service_calls(ANY).await;
    for nth in 1..=3 {
        app.refund(&intent, &[("amount", "500")]).await;
        app.assert_line(id, "ACTIVE", "paid", true).await;
        assert_eq!(refunded(&app, id).await, "part");
        assert_eq!(refunds(&app, id).await.len(), nth);
    }
    app.refund(&intent, &[]).await;
    app.assert_line(id, "ENDED", "refunded", false).await;
    assert_eq!(refunded(&app, id).await, "full");
    assert_eq!(refunds(&app, id).await, ["succeeded"; 4]);
    assert_eq!(app.service_calls(ANY).await, calls);
    assert_eq!(app.path_since_active(id).await, ["ENDED refunded"]);
}

#[tokio::test]
async fn a_refund_never_ends_a_membership() {
    let app = TestApp::start().await;
    let purchase = app.sell("membership-monthly", GOOD_CARD).await;
    let id = &purchase.subscription;
    let intent = app.payment_of(&purchase).await;
    // Its only event that names the payment intent says nothing before the invoice is known: now it is.
    let told = app
        .sandbox
        .stripe("/v1/events?type=invoice_payment.paid")
        .await;
    let again = format!("/_sandbox/events/{}/send", text(&told["data"][0]["id"]));
    app.sandbox.post(&again, json!({})).await;
    app.settle().await;
    let calls = app.service_calls(ANY).await;
    app.refund(&intent, &[("amount", "100")]).await;
    app.refund(&intent, &[]).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(refunded(&app, id).await, "none");
    assert_eq!(refunds(&app, id).await, ["succeeded"; 2]);
    assert_eq!(app.service_calls(ANY).await, calls);
    app.advance(MONTH).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
}

#[tokio::test]
async fn a_refund_that_comes_back_gives_the_purchase_back() {
    let app = TestApp::start().await;
    let purchase = app.sell("share", GOOD_CARD).await;
    let id = &purchase.subscription;
    let intent = app.payment_of(&purchase).await;
    let refund = app.refund(&intent, &[]).await;
    app.assert_line(id, "ENDED", "refunded", false).await;
    fail(&app, &refund).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(refunded(&app, id).await, "none");
    assert_eq!(refunds(&app, id).await, ["failed"]);
    // The next one is believed only as Stripe has it.
    app.refund(&intent, &[]).await;
    app.assert_line(id, "ENDED", "refunded", false).await;
    assert_eq!(refunds(&app, id).await, ["failed", "succeeded"]);
    assert_eq!(
        app.path_since_active(id).await,
        ["ENDED refunded", "ACTIVE paid", "ENDED refunded"]
    );
    assert!(app.flags().await.is_empty());
}

async fn fail(app: &TestApp, refund: &str) {
    let path = format!("/_sandbox/refunds/{refund}/fail");
    app.sandbox.post(&path, json!({})).await;
    app.settle().await;
}

#[tokio::test]
async fn of_two_refunds_the_one_that_comes_back_leaves_the_other() {
    let app = TestApp::start().await;
    let purchase = app.sell("share", GOOD_CARD).await;
    let id = &purchase.subscription;
    let intent = app.payment_of(&purchase).await;
    let first = app.refund(&intent, &[("amount", "1000")]).await;
    app.refund(&intent, &[]).await;
    app.assert_line(id, "ENDED", "refunded", false).await;
    fail(&app, &first).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(refunded(&app, id).await, "part");
    assert_eq!(refunds(&app, id).await, ["failed", "succeeded"]);
}

#[tokio::test]
async fn a_refund_that_comes_back_is_told_in_any_order() {
    let app = TestApp::start().await;
    let purchase = app.sell("share", GOOD_CARD).await;
    let id = &purchase.subscription;
    let intent = app.payment_of(&purchase).await;
    app.hold_deliveries().await;
    let refund = app
        .at_stripe(Method::POST, "/v1/refunds", &[("payment_intent", &intent)])
        .await;
    let path = format!("/_sandbox/refunds/{}/fail", text(&refund["id"]));
    app.sandbox.post(&path, json!({})).await;
    app.release_deliveries(json!({ "order": "reverse", "duplicate": 1 }))
        .await;
    app.settle().await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(refunded(&app, id).await, "none");
    assert_eq!(refunds(&app, id).await, ["failed"]);
}

#[tokio::test]
async fn a_refund_to_an_account_is_pending_and_then_arrives() {
    let app = TestApp::start().await;
    let purchase = app.sell("share", GOOD_ACCOUNT).await;
    let id = &purchase.subscription;
    app.advance(4 * DAY).await;
    let intent = app.payment_of(&purchase).await;
    app.refund(&intent, &[]).await;
    assert_eq!(refunds(&app, id).await, ["pending"]);
    app.assert_line(id, "ENDED", "refunded", false).await;
    app.advance(4 * DAY).await;
    assert_eq!(refunds(&app, id).await, ["succeeded"]);
    app.assert_line(id, "ENDED", "refunded", false).await;
}

#[tokio::test]
async fn a_basket_that_is_paid_back_in_full_loses_all_that_was_bought_once() {
    let app = TestApp::start().await;
    let plans = ["share", "membership-monthly", "credits-20"];
    let (purchase, lines) = app.sell_basket(&plans, GOOD_CARD).await;
    let intent = app.payment_of(&purchase).await;
    app.refund(&intent, &[]).await;
    app.assert_line(&lines[0], "ENDED", "refunded", false).await;
    app.assert_line(&lines[1], "ACTIVE", "paid", true).await;
    app.assert_line(&lines[2], "ENDED", "refunded", false).await;
    for line in &lines {
        assert_eq!(app.money(line).await, ["payment", "refund"]);
    }
    assert!(app.flags().await.is_empty());
}

#[tokio::test]
async fn a_part_that_names_its_line_touches_that_line_alone() {
    for plans in [["share", "credits-20"], ["share", "membership-monthly"]] {
        let app = TestApp::start().await;
        let (purchase, lines) = app.sell_basket(&plans, GOOD_CARD).await;
        let intent = app.payment_of(&purchase).await;
        let named = ("metadata[dues_subscription_id]", lines[0].as_str());
        app.refund(&intent, &[("amount", "500"), named]).await;
        for line in &lines {
            app.assert_line(line, "ACTIVE", "paid", true).await;
        }
        assert_eq!(refunded(&app, &lines[0]).await, "part");
        assert_eq!(refunded(&app, &lines[1]).await, "none");
        assert!(app.flags().await.is_empty(), "{:?}", app.flags().await);
    }
}

#[tokio::test]
async fn a_part_that_names_no_line_is_recorded_and_flagged_and_touches_none() {
    let app = TestApp::start().await;
    let (purchase, lines) = app.sell_basket(&["share", "credits-20"], GOOD_CARD).await;
    let intent = app.payment_of(&purchase).await;
    app.refund(&intent, &[("amount", "500")]).await;
    for line in &lines {
        app.assert_line(line, "ACTIVE", "paid", true).await;
        assert_eq!(refunded(&app, line).await, "none");
        assert_eq!(refunds(&app, line).await, ["succeeded"]);
    }
    let flags = app.flags().await;
    assert_eq!(
        flags,
        ["a partial refund of a basket names no line in its metadata"]
    );
    // The rest follows: now all of it is paid back, whoever was meant.
    app.refund(&intent, &[]).await;
    for line in &lines {
        app.assert_line(line, "ENDED", "refunded", false).await;
    }
}

#[tokio::test]
async fn a_refund_of_an_unknown_payment_finds_its_membership_with_one_question() {
    let app = forgetful().await;
    app.hold_deliveries().await;
    let purchase = app.open(&app.member("alice"), "membership-monthly").await;
    let id = &purchase.subscription;
    app.pay(&purchase).await;
    // All that tells of the payment intent is lost.
    let drop = [
        "invoice_payment.paid",
        "customer.subscription.created",
        "checkout.session.completed",
    ];
    app.release_deliveries(json!({ "drop": drop })).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(app.service_calls(INVOICE_LOOKUP).await, 0);
    let session = app
        .sandbox
        .stripe(&format!("/v1/checkout/sessions/{}", purchase.session))
        .await;
    let intent = app.payment_of_invoice(&text(&session["invoice"])).await;
    app.refund(&intent, &[]).await;
    assert_eq!(refunds(&app, id).await, ["succeeded"]);
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(app.service_calls(INVOICE_LOOKUP).await, 1);
    // From now on the payment is known.
    let calls = app.service_calls(ANY).await;
    let refund = text(&app.sandbox.stripe("/v1/refunds").await["data"][0]["id"]);
    app.forge(json!({ "type": "refund.updated", "object": refund }))
        .await;
    assert_eq!(app.service_calls(ANY).await, calls);
}

#[tokio::test]
async fn a_refund_of_somebody_elses_payment_is_ignored() {
    let app = TestApp::start().await;
    let foreign = app
        .at_stripe(
            Method::POST,
            "/v1/checkout/sessions",
            &[
                ("mode", "payment"),
                ("success_url", "https://elsewhere.example/ok"),
                ("line_items[0][price_data][currency]", "eur"),
                ("line_items[0][price_data][unit_amount]", "500"),
                ("line_items[0][price_data][product_data][name]", "Mug"),
                ("line_items[0][quantity]", "1"),
            ],
        )
        .await;
    let session = text(&foreign["id"]);
    let pay = format!("/_sandbox/checkout/{session}/pay");
    app.sandbox.post(&pay, json!({ "card": GOOD_CARD })).await;
    let path = format!("/v1/checkout/sessions/{session}");
    let paid: Value = app.sandbox.stripe(&path).await;
    app.refund(&text(&paid["payment_intent"]), &[]).await;
    assert_eq!(app.count("transactions").await, 0);
    assert!(app.flags().await.is_empty());
    let states = app.events_in("ignored").await;
    assert!(states.contains(&"charge.refunded".to_owned()), "{states:?}");
}

#[tokio::test]
async fn a_credit_note_names_the_line_that_its_refund_was_for() {
    let app = TestApp::start().await;
    let (purchase, lines) = app
        .sell_basket(&["share", "membership-monthly"], GOOD_CARD)
        .await;
    let path = format!("/v1/checkout/sessions/{}", purchase.session);
    let invoice = text(&app.sandbox.stripe(&path).await["invoice"]);
    app.at_stripe(
        Method::POST,
        "/v1/credit_notes",
        &[
            ("invoice", &invoice),
            ("refund_amount", "500"),
            ("metadata[dues_subscription_id]", &lines[0]),
        ],
    )
    .await;
    app.settle().await;
    for line in &lines {
        app.assert_line(line, "ACTIVE", "paid", true).await;
    }
    assert_eq!(refunded(&app, &lines[0]).await, "part");
    assert_eq!(refunded(&app, &lines[1]).await, "none");
    assert!(app.flags().await.is_empty(), "{:?}", app.flags().await);
}

#[tokio::test]
async fn a_credit_note_brings_the_refund_that_it_made() {
    let app = TestApp::start().await;
    let purchase = app.sell("membership-monthly", GOOD_CARD).await;
    let id = &purchase.subscription;
    let path = format!("/v1/checkout/sessions/{}", purchase.session);
    let invoice = text(&app.sandbox.stripe(&path).await["invoice"]);
    app.at_stripe(
        Method::POST,
        "/v1/credit_notes",
        &[("invoice", &invoice), ("refund_amount", "100")],
    )
    .await;
    app.settle().await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert_eq!(refunds(&app, id).await, ["succeeded"]);
    let seen = app.events_in("applied").await;
    assert!(seen.contains(&"credit_note.created".to_owned()), "{seen:?}");
}

#[tokio::test]
async fn a_refund_that_is_told_before_its_payment_is_not_lost() {
    let app = forgetful().await;
    app.hold_deliveries().await;
    let purchase = app.open(&app.member("alice"), "credits-20").await;
    app.pay(&purchase).await;
    let path = format!("/v1/checkout/sessions/{}", purchase.session);
    let intent = text(&app.sandbox.stripe(&path).await["payment_intent"]);
    let form = [("payment_intent", intent.as_str())];
    app.at_stripe(Method::POST, "/v1/refunds", &form).await;
    let told = app.events_of("charge.refunded").await;
    assert_eq!(app.deliver(&told[0]).await, "deferred");
    app.until_status(&purchase.subscription, "ENDED").await;
    app.release_deliveries(json!({})).await;
    app.settle().await;
    app.assert_line(&purchase.subscription, "ENDED", "refunded", false)
        .await;
}

#[tokio::test]
async fn a_refund_that_failed_is_not_believed_when_it_is_told_late() {
    let app = forgetful().await;
    app.hold_deliveries().await;
    let purchase = app.open(&app.member("alice"), "credits-20").await;
    app.pay(&purchase).await;
    let path = format!("/v1/checkout/sessions/{}", purchase.session);
    let intent = text(&app.sandbox.stripe(&path).await["payment_intent"]);
    let form = [("payment_intent", intent.as_str())];
    let refund = app.at_stripe(Method::POST, "/v1/refunds", &form).await;
    let path = format!("/_sandbox/refunds/{}/fail", text(&refund["id"]));
    app.sandbox.post(&path, json!({})).await;
    // No row knows the payment yet: whose it is, and how it stands, is read.
    let failed = app.events_of("refund.failed").await;
    assert_eq!(app.deliver(&failed[0]).await, "deferred");
    app.until("the payment was read", async || {
        app.events_in("deferred").await.is_empty().then_some(())
    })
    .await;
    assert_eq!(app.row(&purchase.subscription).await.status, "ACTIVE");
    let told = app.events_of("charge.refunded").await;
    assert_eq!(app.deliver(&told[0]).await, "deferred");
    app.release_deliveries(json!({})).await;
    app.settle().await;
    app.assert_line(&purchase.subscription, "ACTIVE", "paid", true)
        .await;
}

#[tokio::test]
async fn a_part_of_the_price_of_several_shares_is_flagged_for_a_person() {
    let app = TestApp::with().cooperative().start().await;
    app.buy_with(&app.member("alice"), "monthly", GOOD_CARD)
        .await;
    let body = json!({"lines": [{"plan": "share", "quantity": 4}]});
    let purchase = app.open_basket(&app.member("alice"), body).await;
    app.pay(&purchase).await;
    app.settle().await;
    let intent = app.payment_of(&purchase).await;
    app.refund(&intent, &[("amount", "700")]).await;
    let flags = app.flags().await;
    assert_eq!(flags.len(), 1, "{flags:?}");
    assert!(
        flags[0].starts_with("a part of the payment for several"),
        "{flags:?}"
    );
    let id = &purchase.subscription;
    assert_eq!(refunded(&app, id).await, "part");
    assert_eq!(refunds(&app, id).await, ["succeeded"]);
    app.assert_line(id, "ACTIVE", "paid", true).await;
}

#[tokio::test]
async fn of_an_invoice_that_was_paid_in_two_parts_each_part_can_go_back() {
    let app = TestApp::start().await;
    let purchase = app.sell("membership-monthly", "4000000000000341").await;
    let id = &purchase.subscription;
    app.advance(MONTH).await;
    let invoice = text(&app.stripe_subscription(id).await["latest_invoice"]);
    let pay = format!("/_sandbox/invoices/{invoice}/pay");
    for amount in [json!(100), Value::Null] {
        let body = json!({"card": GOOD_CARD, "amount": amount});
        app.sandbox.post(&pay, body).await;
        app.settle().await;
    }
    app.assert_line(id, "ACTIVE", "paid", true).await;
    let payments = format!("/v1/invoice_payments?invoice={invoice}");
    let payments = app.sandbox.stripe(&payments).await;
    let payments = payments["data"].as_array().cloned().expect("a list");
    let paid: Vec<&Value> = payments
        .iter()
        .filter(|payment| payment["status"] == "paid")
        .collect();
    assert_eq!(paid.len(), 2, "{payments:#?}");
    for (nth, payment) in paid.iter().enumerate() {
        let before = app.service_calls_but_events().await;
        app.refund(&text(&payment["payment"]["payment_intent"]), &[])
            .await;
        assert_eq!(refunds(&app, id).await.len(), nth + 1);
        let calls = app.service_calls_but_events().await - before;
        assert!(calls <= 8, "{calls} calls");
    }
    assert!(app.flags().await.is_empty() && app.events_in("failed").await.is_empty());
    app.assert_line(id, "ACTIVE", "paid", true).await;
}
