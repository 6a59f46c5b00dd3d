//! Refunds, disputes, delayed debits, credit notes.

use serde_json::{Value, json};

use crate::bench::{Bench, assert_has, text};

const OK_ACCOUNT: &str = "AT611904300234573201";
const BAD_ACCOUNT: &str = "AT861904300235473202";

/// Pays for a share and returns the payment intent, with its charge.
async fn paid_share(bench: &Bench, number: &str) -> (String, String) {
    let session = bench.session("payment", "share", "").await;
    bench.pay(&session, number).await.ok();
    let path = format!(
        "/v1/checkout/sessions/{}?expand[]=payment_intent",
        text(&session["id"])
    );
    let intent = bench.get(&path).await.ok()["payment_intent"].clone();
    (text(&intent["id"]), text(&intent["latest_charge"]))
}

async fn charge(bench: &Bench, id: &str) -> Value {
    bench
        .get(&format!(
            "/v1/charges/{id}?expand[]=refunds&expand[]=balance_transaction"
        ))
        .await
        .ok()
}

#[tokio::test]
async fn refunds_add_up_and_cannot_exceed_the_charge() {
    let bench = Bench::start().await;
    let (intent, id) = paid_share(&bench, "4242424242424242").await;
    let start = bench.events().await.len();
    let first = bench
        .post(
            "/v1/refunds",
            &format!("payment_intent={intent}&amount=2000&metadata[k]=v"),
        )
        .await
        .ok();
    assert_eq!(
        (&first["status"], &first["amount"]),
        (&json!("succeeded"), &json!(2_000))
    );
    assert_eq!(
        bench.types_since(start).await,
        ["refund.created", "charge.refunded"]
    );
    let event = bench.events().await.pop().unwrap();
    assert!(
        event["data"]["object"].get("refunds").is_none(),
        "refunds are not embedded"
    );
    let part = charge(&bench, &id).await;
    assert_eq!(
        (&part["amount_refunded"], &part["refunded"]),
        (&json!(2_000), &json!(false))
    );
    let too_much = bench
        .post("/v1/refunds", &format!("charge={id}&amount=3001"))
        .await;
    assert_eq!(too_much.error(), (400, "", "amount"));
    bench
        .post("/v1/refunds", &format!("charge={id}"))
        .await
        .ok();
    let whole = charge(&bench, &id).await;
    assert_eq!(
        (&whole["amount_refunded"], &whole["refunded"]),
        (&json!(5_000), &json!(true))
    );
    assert_eq!(whole["refunds"]["data"].as_array().unwrap().len(), 2);
    let over = bench.post("/v1/refunds", &format!("charge={id}")).await;
    assert_eq!(over.error(), (400, "charge_already_refunded", ""));
    let listed = bench
        .get(&format!("/v1/refunds?payment_intent={intent}&limit=1"))
        .await
        .ok();
    assert_eq!(
        (&listed["has_more"], &listed["data"][0]["amount"]),
        (&json!(true), &json!(3_000))
    );
}

#[tokio::test]
async fn a_refund_can_fail_afterwards() {
    let bench = Bench::start().await;
    let (_, id) = paid_share(&bench, "4242424242424242").await;
    let refund = text(
        &bench
            .post("/v1/refunds", &format!("charge={id}"))
            .await
            .ok()["id"],
    );
    let start = bench.events().await.len();
    bench
        .control(&format!("refunds/{refund}/fail"), json!({}))
        .await;
    assert_eq!(
        bench.types_since(start).await,
        [
            "charge.updated",
            "charge.refund.updated",
            "refund.updated",
            "refund.failed"
        ]
    );
    let failed = bench.get(&format!("/v1/refunds/{refund}")).await.ok();
    assert_eq!(
        (&failed["status"], &failed["failure_reason"]),
        (&json!("failed"), &json!("lost_or_stolen_card"))
    );
    let after = charge(&bench, &id).await;
    assert_eq!(
        (&after["amount_refunded"], &after["refunded"]),
        (&json!(0), &json!(false))
    );
    assert_eq!(
        bench
            .control_answer(&format!("refunds/{refund}/fail"), json!({}))
            .await
            .status,
        409
    );
}

#[tokio::test]
async fn a_lost_dispute_keeps_the_money_a_won_one_returns_it() {
    for (status, last) in [
        ("won", "charge.dispute.funds_reinstated"),
        ("lost", "charge.dispute.closed"),
    ] {
        let bench = Bench::start().await;
        let (intent, id) = paid_share(&bench, "4242424242424242").await;
        let start = bench.events().await.len();
        let dispute = bench
            .control("disputes", json!({"payment_intent": intent}))
            .await;
        assert_eq!(dispute["status"], "needs_response");
        assert_eq!(charge(&bench, &id).await["disputed"], true);
        assert_eq!(
            bench
                .post("/v1/refunds", &format!("charge={id}"))
                .await
                .error()
                .1,
            "charge_disputed"
        );
        let path = format!("/v1/disputes/{}", text(&dispute["id"]));
        let sent = bench
            .post(&path, "evidence[uncategorized_text]=paid")
            .await
            .ok();
        assert_eq!(sent["status"], "under_review");
        bench
            .control(
                &format!("disputes/{}/close", text(&dispute["id"])),
                json!({"status": status}),
            )
            .await;
        let types = bench.types_since(start).await;
        assert_has(
            &types,
            &[
                "charge.dispute.created",
                "charge.dispute.funds_withdrawn",
                "charge.dispute.updated",
                "charge.dispute.closed",
            ],
        );
        assert_eq!(types.last().unwrap(), last);
        let closed = bench.get(&path).await.ok();
        assert_eq!(closed["status"], status);
        let net: i64 = closed["balance_transactions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t["net"].as_i64().unwrap())
            .sum();
        assert_eq!(net, if status == "won" { 0 } else { -7_000 });
    }
}

#[tokio::test]
async fn certain_cards_are_disputed_by_themselves_and_an_inquiry_moves_nothing() {
    let bench = Bench::start().await;
    let (intent, _) = paid_share(&bench, "4000000000000259").await;
    let listed = bench
        .get(&format!("/v1/disputes?payment_intent={intent}"))
        .await
        .ok();
    assert_eq!(listed["data"][0]["reason"], "fraudulent");
    let (intent, _) = paid_share(&bench, "4000000000001976").await;
    let listed = bench
        .get(&format!("/v1/disputes?payment_intent={intent}"))
        .await
        .ok();
    let inquiry = &listed["data"][0];
    assert_eq!(
        (&inquiry["status"], &inquiry["balance_transactions"]),
        (&json!("warning_needs_response"), &json!([]))
    );
    let path = format!("disputes/{}/close", text(&inquiry["id"]));
    assert_eq!(
        bench
            .control_answer(&path, json!({"status": "lost"}))
            .await
            .status,
        400
    );
    assert_eq!(
        bench
            .control(&path, json!({"status": "warning_closed"}))
            .await["status"],
        "warning_closed"
    );
}

#[tokio::test]
async fn a_debit_is_unpaid_first_and_paid_days_later() {
    let bench = Bench::start().await;
    let session = bench.session("subscription", "annual", "").await;
    let start = bench.events().await.len();
    let done = bench.pay(&session, OK_ACCOUNT).await.ok();
    assert_eq!(
        (&done["status"], &done["payment_status"]),
        (&json!("complete"), &json!("unpaid"))
    );
    let path = format!(
        "/v1/checkout/sessions/{}?expand[]=subscription&expand[]=invoice",
        text(&session["id"])
    );
    let waiting = bench.get(&path).await.ok();
    assert_eq!(
        (
            &waiting["subscription"]["status"],
            &waiting["invoice"]["status"]
        ),
        (&json!("active"), &json!("open"))
    );
    let types = bench.types_since(start).await;
    assert_has(
        &types,
        &[
            "payment_intent.processing",
            "customer.subscription.created",
            "checkout.session.completed",
        ],
    );
    assert!(!types.iter().any(|kind| kind == "invoice.paid"));
    bench.advance_days(4).await;
    let paid = bench.get(&path).await.ok();
    assert_eq!(
        (&paid["payment_status"], &paid["invoice"]["status"]),
        (&json!("paid"), &json!("paid"))
    );
    assert_has(
        &bench.types_since(start).await,
        &["invoice.paid", "checkout.session.async_payment_succeeded"],
    );
}

#[tokio::test]
async fn a_failed_first_debit_voids_the_invoice_and_leaves_the_subscription_active() {
    let bench = Bench::start().await;
    let session = bench.session("subscription", "annual", "").await;
    bench.pay(&session, BAD_ACCOUNT).await.ok();
    let start = bench.events().await.len();
    bench.advance_days(4).await;
    let path = format!(
        "/v1/checkout/sessions/{}?expand[]=subscription&expand[]=invoice",
        text(&session["id"])
    );
    let failed = bench.get(&path).await.ok();
    assert_eq!(failed["payment_status"], "unpaid");
    assert_eq!(
        (
            &failed["subscription"]["status"],
            &failed["invoice"]["status"]
        ),
        (&json!("active"), &json!("void"))
    );
    let types = bench.types_since(start).await;
    assert_has(
        &types,
        &[
            "checkout.session.async_payment_failed",
            "payment_intent.payment_failed",
            "charge.failed",
            "invoice.voided",
        ],
    );
    assert!(
        !types
            .iter()
            .any(|kind| kind == "customer.subscription.updated")
    );
}

#[tokio::test]
async fn a_debit_is_settled_by_hand_too() {
    let bench = Bench::start().await;
    let session = bench.session("payment", "share", "").await;
    bench.pay(&session, OK_ACCOUNT).await.ok();
    let path = format!("/v1/checkout/sessions/{}", text(&session["id"]));
    let intent = text(&bench.get(&path).await.ok()["payment_intent"]);
    let settle = format!("payments/{intent}/settle");
    bench.control(&settle, json!({"outcome": "failed"})).await;
    assert_eq!(bench.get(&path).await.ok()["payment_status"], "unpaid");
    assert_eq!(
        bench
            .control_answer(&settle, json!({"outcome": "succeeded"}))
            .await
            .status,
        400
    );
    bench.advance_days(4).await;
    assert_eq!(
        bench.get(&path).await.ok()["payment_status"],
        "unpaid",
        "what was settled stays settled"
    );
}

#[tokio::test]
async fn a_failed_debit_on_renewal_is_dunned() {
    let bench = Bench::start().await;
    let (id, customer) = bench.subscribe("monthly", "4242424242424242").await;
    bench
        .control(
            &format!("customers/{customer}/card"),
            json!({"iban": BAD_ACCOUNT}),
        )
        .await;
    let start = bench.events().await.len();
    bench.advance_days(36).await;
    let types = bench.types_since(start).await;
    assert_has(
        &types,
        &["payment_intent.processing", "invoice.payment_failed"],
    );
    assert!(
        !types
            .iter()
            .any(|kind| kind.starts_with("checkout.session"))
    );
    assert_eq!(
        bench.get(&format!("/v1/subscriptions/{id}")).await.ok()["status"],
        "past_due"
    );
}

#[tokio::test]
async fn the_invoice_of_a_payment_is_found_in_one_call() {
    let bench = Bench::start().await;
    let (id, _) = bench.subscribe("annual", "4242424242424242").await;
    let charges = bench.look("objects/charge").await;
    let intent = text(&charges[0]["payment_intent"]);
    let path = format!(
        "/v1/invoice_payments?payment[type]=payment_intent&payment[payment_intent]={intent}&expand[]=data.invoice"
    );
    let found = bench.get(&path).await.ok();
    assert_eq!(found["data"][0]["status"], "paid");
    assert_eq!(
        found["data"][0]["invoice"]["parent"]["subscription_details"]["subscription"],
        json!(id)
    );
}

#[tokio::test]
async fn credit_notes_lower_what_is_due_or_give_it_back() {
    let bench = Bench::start().await;
    let (subscription, _) = bench.subscribe("annual", "4242424242424242").await;
    let paid = bench
        .get(&format!("/v1/invoices?subscription={subscription}"))
        .await
        .ok()["data"][0]
        .clone();
    let (invoice, line) = (text(&paid["id"]), text(&paid["lines"]["data"][0]["id"]));
    let short = bench
        .post(
            "/v1/credit_notes",
            &format!("invoice={invoice}&amount=1000"),
        )
        .await;
    assert_eq!(short.status, 400, "the money must go somewhere");
    let form = format!(
        "invoice={invoice}&lines[0][type]=invoice_line_item&lines[0][invoice_line_item]={line}&lines[0][amount]=1000\
         &refund_amount=1000&reason=order_change"
    );
    let note = bench.post("/v1/credit_notes", &form).await.ok();
    assert_eq!(
        (&note["type"], &note["post_payment_amount"]),
        (&json!("post_payment"), &json!(1_000))
    );
    let refund = text(&note["refunds"][0]["refund"]);
    assert_eq!(
        bench.get(&format!("/v1/refunds/{refund}")).await.ok()["amount"],
        1_000
    );
    assert_has(
        &bench.types_since(0).await,
        &["credit_note.created", "charge.refunded"],
    );

    let (customer, price) = (bench.customer().await, bench.price("annual").await);
    let form = format!(
        "customer={customer}&items[0][price]={price}&collection_method=send_invoice&days_until_due=14"
    );
    let invoice = text(&bench.post("/v1/subscriptions", &form).await.ok()["latest_invoice"]);
    bench
        .post(&format!("/v1/invoices/{invoice}/finalize"), "")
        .await
        .ok();
    let note = bench
        .post("/v1/credit_notes", &format!("invoice={invoice}&amount=500"))
        .await
        .ok();
    assert_eq!(
        bench.get(&format!("/v1/invoices/{invoice}")).await.ok()["amount_remaining"],
        2_500
    );
    bench
        .post(&format!("/v1/credit_notes/{}/void", text(&note["id"])), "")
        .await
        .ok();
    assert_eq!(
        bench.get(&format!("/v1/invoices/{invoice}")).await.ok()["amount_remaining"],
        3_000
    );
    bench
        .post(
            "/v1/credit_notes",
            &format!("invoice={invoice}&amount=3000"),
        )
        .await
        .ok();
    assert_eq!(
        bench.get(&format!("/v1/invoices/{invoice}")).await.ok()["status"],
        "paid"
    );
}

#[tokio::test]
async fn open_invoices_are_voided_or_given_up() {
    let bench = Bench::start().await;
    let (subscription, _) = bench.subscribe("monthly", "4000000000000341").await;
    bench.advance_days(32).await;
    let open = bench
        .get(&format!(
            "/v1/invoices?subscription={subscription}&status=open"
        ))
        .await
        .ok();
    let id = text(&open["data"][0]["id"]);
    let declined = bench.post(&format!("/v1/invoices/{id}/pay"), "").await;
    assert_eq!(declined.error(), (402, "card_declined", ""));
    let given_up = bench
        .post(&format!("/v1/invoices/{id}/mark_uncollectible"), "")
        .await
        .ok();
    assert_eq!(
        given_up["status_details"]["uncollectible"]["reason"],
        "user_forgiven"
    );
    let recovered = bench
        .get(&format!("/v1/subscriptions/{subscription}"))
        .await
        .ok();
    assert_eq!(
        recovered["status"], "active",
        "giving the latest invoice up ends past_due"
    );
    let voided = bench
        .post(&format!("/v1/invoices/{id}/void"), "")
        .await
        .ok();
    assert_eq!(voided["status"], "void");
    assert_eq!(
        bench
            .post(&format!("/v1/invoices/{id}/void"), "")
            .await
            .error()
            .0,
        400
    );
}
