//! A checkout from its creation to its end.

use serde_json::{Value, json};

use crate::bench::{Bench, assert_has, text};

const FULL: &str = "expand[]=subscription&expand[]=invoice.payments&expand[]=line_items&expand[]=payment_intent.latest_charge";

async fn full(bench: &Bench, session: &Value) -> Value {
    bench
        .get(&format!(
            "/v1/checkout/sessions/{}?{FULL}",
            text(&session["id"])
        ))
        .await
        .ok()
}

#[tokio::test]
async fn a_first_subscription_payment_brings_about_all_objects_and_events() {
    let bench = Bench::start().await;
    let customer = bench.customer().await;
    let share = bench.price("share").await;
    let more = format!(
        "&customer={customer}&client_reference_id=checkout-1&metadata[dues_checkout_id]=checkout-1\
         &subscription_data[metadata][dues_subscription_id]=s1&line_items[0][metadata][dues_subscription_id]=s1\
         &line_items[1][price]={share}&line_items[1][quantity]=2&line_items[1][metadata][dues_subscription_id]=s2"
    );
    let session = bench.session("subscription", "annual", &more).await;
    assert_eq!(session["amount_total"], 13_000);
    for key in [
        "subscription",
        "invoice",
        "payment_intent",
        "customer_details",
    ] {
        assert_eq!(session[key], json!(null), "{key} while open");
    }
    assert!(session.get("line_items").is_none());
    let start = bench.events().await.len();
    let paid = bench.pay(&session, "4242424242424242").await.ok();
    assert_eq!(
        (&paid["status"], &paid["payment_status"]),
        (&json!("complete"), &json!("paid"))
    );
    assert_eq!(
        paid["redirect_url"],
        format!("https://app.test/done?session_id={}", text(&session["id"]))
    );

    let done = full(&bench, &session).await;
    assert_eq!(
        (&done["url"], &done["payment_intent"]),
        (&json!(null), &json!(null))
    );
    let subscription = &done["subscription"];
    assert_eq!(subscription["status"], "active");
    assert!(subscription.get("current_period_end").is_none());
    let item = &subscription["items"]["data"][0];
    assert!(item["current_period_end"].as_i64() > item["current_period_start"].as_i64());
    assert_eq!(
        subscription["metadata"],
        json!({"dues_subscription_id": "s1"})
    );
    let invoice = &done["invoice"];
    assert_eq!(invoice["id"], subscription["latest_invoice"]);
    assert_eq!(
        (&invoice["status"], &invoice["billing_reason"]),
        (&json!("paid"), &json!("subscription_create"))
    );
    assert_eq!(
        invoice["parent"]["subscription_details"]["subscription"],
        subscription["id"]
    );
    assert_eq!(
        invoice["parent"]["subscription_details"]["metadata"],
        json!({"dues_subscription_id": "s1"})
    );
    assert_eq!(invoice["metadata"], json!({}));
    assert_eq!(invoice["lines"]["data"].as_array().unwrap().len(), 2);
    for gone in ["subscription", "payment_intent", "charge", "paid"] {
        assert!(invoice.get(gone).is_none(), "{gone}");
    }
    let intent = text(&invoice["payments"]["data"][0]["payment"]["payment_intent"]);
    let intent = bench
        .get(&format!("/v1/payment_intents/{intent}"))
        .await
        .ok();
    assert_eq!(
        intent["metadata"],
        json!({}),
        "payments of invoices carry no metadata"
    );
    assert_eq!(
        done["line_items"]["data"][1]["metadata"],
        json!({"dues_subscription_id": "s2"})
    );

    let types = bench.types_since(start).await;
    let expected = [
        "payment_method.attached",
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "customer.subscription.created",
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice_payment.paid",
        "checkout.session.completed",
    ];
    assert_has(&types, &expected);
    assert_eq!(types.len(), expected.len(), "{types:?}");
    assert_eq!(types.last().unwrap(), "checkout.session.completed");
}

#[tokio::test]
async fn a_one_off_carries_its_metadata_to_intent_and_charge() {
    let bench = Bench::start().await;
    let session = bench
        .session(
            "payment",
            "share",
            "&payment_intent_data[metadata][dues_subscription_id]=s1",
        )
        .await;
    let start = bench.events().await.len();
    bench.pay(&session, "4242424242424242").await.ok();
    let done = full(&bench, &session).await;
    assert_eq!(
        (&done["subscription"], &done["invoice"], &done["customer"]),
        (&json!(null), &json!(null), &json!(null))
    );
    let intent = &done["payment_intent"];
    assert_eq!(
        (&intent["status"], &intent["amount_received"]),
        (&json!("succeeded"), &json!(5_000))
    );
    assert_eq!(intent["metadata"], json!({"dues_subscription_id": "s1"}));
    assert_eq!(
        intent["latest_charge"]["metadata"],
        json!({"dues_subscription_id": "s1"})
    );
    assert_eq!(
        bench.types_since(start).await,
        [
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.succeeded",
            "charge.updated",
            "checkout.session.completed"
        ]
    );
    let none = bench
        .get(&format!(
            "/v1/invoice_payments?payment[type]=payment_intent&payment[payment_intent]={}",
            text(&intent["id"])
        ))
        .await
        .ok();
    assert_eq!(none["data"], json!([]));
    let found = bench
        .get(&format!(
            "/v1/checkout/sessions?payment_intent={}",
            text(&intent["id"])
        ))
        .await
        .ok();
    assert_eq!(found["data"][0]["id"], session["id"]);
}

#[tokio::test]
async fn a_decline_leaves_the_session_open_for_another_try() {
    let bench = Bench::start().await;
    let session = bench.session("payment", "share", "").await;
    let start = bench.events().await.len();
    let declined = bench.pay(&session, "4000000000009995").await;
    assert_eq!(declined.error(), (402, "card_declined", ""));
    assert_eq!(declined.body["error"]["decline_code"], "insufficient_funds");
    assert_eq!(
        bench.types_since(start).await,
        [
            "payment_intent.created",
            "charge.failed",
            "payment_intent.payment_failed"
        ]
    );
    let open = full(&bench, &session).await;
    assert_eq!(
        (&open["status"], &open["payment_status"]),
        (&json!("open"), &json!("unpaid"))
    );
    bench.pay(&session, "4242424242424242").await.ok();
    let done = full(&bench, &session).await;
    assert_eq!(
        done["payment_intent"]["id"], open["payment_intent"]["id"],
        "one intent for all tries"
    );
    assert_eq!(bench.pay(&session, "4242424242424242").await.status, 409);
    assert_eq!(
        bench
            .look("objects/payment_intent")
            .await
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_declined_first_payment_leaves_no_subscription() {
    let bench = Bench::start().await;
    let session = bench.session("subscription", "monthly", "").await;
    bench.pay(&session, "4000000000000002").await.error();
    assert_eq!(bench.look("objects/subscription").await, json!([]));
    let start = bench.events().await.len();
    bench.pay(&session, "4242424242424242").await.ok();
    assert_eq!(bench.types_since(start).await[0], "customer.created");
    let done = full(&bench, &session).await;
    assert_eq!(done["customer"], done["subscription"]["customer"]);
    assert_eq!(done["customer_details"]["email"], "buyer@example.com");
}

#[tokio::test]
async fn only_one_of_two_payments_at_once_goes_through() {
    let bench = Bench::start().await;
    let session = bench.session("payment", "share", "").await;
    let (one, other) = tokio::join!(
        bench.pay(&session, "4242424242424242"),
        bench.pay(&session, "4242424242424242")
    );
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    assert_eq!(
        bench.look("objects/charge").await.as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn authentication_decides_whether_it_is_paid() {
    let bench = Bench::start().await;
    let session = bench.session("payment", "share", "").await;
    let id = text(&session["id"]);
    let card = "4000002760003184";
    assert_eq!(
        bench.pay(&session, card).await.error(),
        (402, "authentication_required", "")
    );
    assert_eq!(
        full(&bench, &session).await["payment_intent"]["status"],
        "requires_action"
    );
    let path = format!("checkout/{id}/pay");
    let failed = bench
        .control_answer(&path, json!({"card": card, "authenticate": false}))
        .await;
    assert_eq!(
        failed.error(),
        (402, "payment_intent_authentication_failure", "")
    );
    let paid = bench
        .control(&path, json!({"card": card, "authenticate": true}))
        .await;
    assert_eq!(paid["payment_status"], "paid");
    let other = bench.session("payment", "share", "").await;
    let path = format!("checkout/{}/pay", text(&other["id"]));
    let broke = bench
        .control_answer(
            &path,
            json!({"card": "4000008260003178", "authenticate": true}),
        )
        .await;
    assert_eq!(broke.body["error"]["decline_code"], "insufficient_funds");
}

#[tokio::test]
async fn sessions_expire_by_the_clock_or_on_demand() {
    let bench = Bench::start().await;
    let by_hand = bench.session("payment", "share", "").await;
    let by_clock = bench.session("payment", "share", "").await;
    let expired = bench
        .post(
            &format!("/v1/checkout/sessions/{}/expire", text(&by_hand["id"])),
            "",
        )
        .await
        .ok();
    assert_eq!(
        (&expired["status"], &expired["url"]),
        (&json!("expired"), &json!(null))
    );
    let again = bench
        .post(
            &format!("/v1/checkout/sessions/{}/expire", text(&by_hand["id"])),
            "",
        )
        .await;
    assert_eq!(again.status, 400);
    bench
        .control("clock/advance", json!({"seconds": 86_401}))
        .await;
    assert_eq!(full(&bench, &by_clock).await["status"], "expired");
    assert_eq!(bench.pay(&by_clock, "4242424242424242").await.status, 409);
    let events = bench
        .get("/v1/events?type=checkout.session.expired")
        .await
        .ok();
    let moments: Vec<i64> = events["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["created"].as_i64().unwrap())
        .collect();
    assert_eq!(moments.len(), 2);
    assert_eq!(
        moments[0],
        by_clock["expires_at"].as_i64().unwrap(),
        "an event is stamped with its own moment"
    );
}

#[tokio::test]
async fn donors_choose_within_bounds() {
    let bench = Bench::start().await;
    let session = bench.session("payment", "donation", "").await;
    let path = format!("checkout/{}/pay", text(&session["id"]));
    let low = bench
        .control_answer(&path, json!({"card": "4242424242424242", "amount": 50}))
        .await;
    assert_eq!(low.error(), (402, "", "amount"));
    bench
        .control(&path, json!({"card": "4242424242424242", "amount": 2_345}))
        .await;
    let done = full(&bench, &session).await;
    assert_eq!(
        (&done["amount_total"], &done["payment_intent"]["amount"]),
        (&json!(2_345), &json!(2_345))
    );
    assert_eq!(done["line_items"]["data"][0]["amount_total"], 2_345);
}

#[tokio::test]
async fn an_amount_fixed_by_the_caller_joins_a_membership() {
    let bench = Bench::start().await;
    let more = "&line_items[1][price_data][currency]=eur&line_items[1][price_data][unit_amount]=777\
                &line_items[1][price_data][product_data][name]=Donation&line_items[1][quantity]=1";
    let session = bench.session("subscription", "annual", more).await;
    assert_eq!(session["amount_total"], 3_777);
    bench.pay(&session, "4242424242424242").await.ok();
    let done = full(&bench, &session).await;
    assert_eq!(done["invoice"]["total"], 3_777);
    bench.advance_days(367).await;
    let renewal = bench
        .get(&format!(
            "/v1/invoices?subscription={}",
            text(&done["subscription"]["id"])
        ))
        .await
        .ok();
    assert_eq!(
        renewal["data"][0]["total"], 3_000,
        "a one-off line is billed once"
    );
}

#[tokio::test]
async fn a_trial_needs_no_payment_today() {
    let bench = Bench::start().await;
    let session = bench
        .session(
            "subscription",
            "monthly",
            "&subscription_data[trial_period_days]=14",
        )
        .await;
    assert_eq!(session["amount_total"], 0);
    let paid = bench.pay(&session, "4242424242424242").await.ok();
    assert_eq!(paid["payment_status"], "no_payment_required");
    let done = full(&bench, &session).await;
    assert_eq!(
        (&done["subscription"]["status"], &done["invoice"]["total"]),
        (&json!("trialing"), &json!(0))
    );
    assert_eq!(done["invoice"]["status"], "paid");
    assert_eq!(bench.look("objects/charge").await, json!([]));
    let start = bench.events().await.len();
    bench.advance_days(15).await;
    let types = bench.types_since(start).await;
    assert_has(
        &types,
        &[
            "customer.subscription.trial_will_end",
            "customer.subscription.updated",
            "invoice.paid",
        ],
    );
    assert_eq!(
        full(&bench, &session).await["subscription"]["status"],
        "active"
    );
}

#[tokio::test]
async fn a_one_off_can_ask_for_an_invoice() {
    let bench = Bench::start().await;
    let session = bench
        .session(
            "payment",
            "share",
            "&invoice_creation[enabled]=true&invoice_creation[invoice_data][metadata][k]=v",
        )
        .await;
    bench.pay(&session, "4242424242424242").await.ok();
    let done = full(&bench, &session).await;
    assert_eq!(
        (&done["invoice"]["parent"], &done["invoice"]["metadata"]),
        (&json!(null), &json!({"k": "v"}))
    );
    assert_eq!(
        done["invoice"]["payments"]["data"][0]["payment"]["payment_intent"],
        done["payment_intent"]["id"]
    );
    assert!(done["customer"].is_string());
}

#[tokio::test]
async fn an_expired_session_can_be_recovered_once_it_offers_that() {
    let bench = Bench::start().await;
    let session = bench
        .session(
            "payment",
            "share",
            "&after_expiration[recovery][enabled]=true&metadata[k]=v",
        )
        .await;
    bench.advance_days(2).await;
    let expired = full(&bench, &session).await;
    let url = text(&expired["after_expiration"]["recovery"]["url"]);
    let opened = bench.http.get(url).send().await.unwrap();
    assert_eq!(opened.status(), 303);
    let copies = bench
        .get("/v1/checkout/sessions?status=open&expand[]=data.line_items")
        .await
        .ok();
    let copy = &copies["data"][0];
    assert_eq!(copy["recovered_from"], session["id"]);
    assert_eq!(copy["metadata"], json!({"k": "v"}));
    bench.pay(copy, "4242424242424242").await.ok();
}

#[tokio::test]
async fn debits_are_for_euro_and_for_those_who_allow_them() {
    let bench = Bench::start().await;
    let in_dollars = bench
        .session("subscription", "annual", "&currency=usd")
        .await;
    let cards_only = bench
        .session("payment", "share", "&allowed_payment_method_types[]=card")
        .await;
    for session in [in_dollars, cards_only] {
        assert_eq!(session["payment_method_types"], json!(["card"]));
        let refused = bench.pay(&session, "AT611904300234573201").await;
        assert_eq!(refused.error(), (402, "", "payment_method"));
    }
}

#[tokio::test]
async fn a_price_in_another_currency_stays_itself() {
    let bench = Bench::start().await;
    let session = bench
        .session("subscription", "annual", "&currency=usd")
        .await;
    bench.pay(&session, "4242424242424242").await.ok();
    bench.advance_days(367).await;
    let done = full(&bench, &session).await;
    let price = &done["subscription"]["items"]["data"][0]["price"];
    assert_eq!(
        (&price["currency"], &price["unit_amount"]),
        (&json!("eur"), &json!(3_000))
    );
    let invoices = bench.get("/v1/invoices").await.ok();
    let totals: Vec<(&Value, &Value)> = invoices["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (&row["total"], &row["currency"]))
        .collect();
    assert_eq!(
        totals,
        [
            (&json!(3_300), &json!("usd")),
            (&json!(3_300), &json!("usd"))
        ]
    );
}

#[tokio::test]
async fn a_trial_without_a_card_ends_as_it_was_told() {
    for (behavior, status) in [
        ("cancel", "canceled"),
        ("pause", "paused"),
        ("create_invoice", "past_due"),
    ] {
        let bench = Bench::start().await;
        let more = format!(
            "&payment_method_collection=if_required&subscription_data[trial_period_days]=7\
             &subscription_data[trial_settings][end_behavior][missing_payment_method]={behavior}"
        );
        let session = bench.session("subscription", "monthly", &more).await;
        bench
            .control(&format!("checkout/{}/pay", text(&session["id"])), json!({}))
            .await;
        bench.advance_days(8).await;
        let ended = full(&bench, &session).await;
        assert_eq!(ended["subscription"]["default_payment_method"], json!(null));
        assert_eq!(ended["subscription"]["status"], status, "{behavior}");
    }
}
