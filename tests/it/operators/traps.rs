//! Where money could go a second time, or to the wrong end: payments under way, disputes, a newer payment in between, an act
//! that was given to somebody else meanwhile.

use reqwest::Method;
use serde_json::json;

use crate::harness::TestApp;
use crate::harness::lifecycle::{BAD_ACCOUNT, DAY, MONTH, busy, text};
use crate::harness::purchase::GOOD_CARD;

#[tokio::test]
async fn what_the_bank_has_in_dispute_is_not_paid_back_beside_it() {
    let app = busy().await;
    let purchase = app.sell("credits-50", GOOD_CARD).await;
    let intent = app.payment_of(&purchase).await;
    let dispute = app.dispute(&intent, "fraudulent").await;
    let path = format!("subscriptions/{}/refund", purchase.subscription);
    let refused = app.grace_would(&path, json!({})).await;
    refused.assert_problem(409, "nothing_to_refund");
    app.close_dispute(&dispute, "won").await;
    app.grace_would(&path, json!({})).await.assert_status(200);
}

#[tokio::test]
async fn an_invoice_whose_debit_is_under_way_is_not_settled_beside_it() {
    let app = busy().await;
    let purchase = app.sell("membership-monthly", GOOD_CARD).await;
    app.change_card(&purchase, BAD_ACCOUNT).await;
    app.move_clocks(MONTH + DAY).await;
    let path = format!("subscriptions/{}/settle", purchase.subscription);
    app.until("the renewal's debit is under way", async || {
        let answer = app.grace_would(&path, json!({})).await;
        (answer.json()["code"] == "payment_processing").then_some(())
    })
    .await;
    let answer = app.grace_does(&path, json!({})).await;
    answer.assert_problem(409, "payment_processing");
    assert_eq!(app.count("actions").await, 0);
}

#[tokio::test]
async fn a_payment_that_comes_while_a_refund_is_made_is_not_refunded_in_its_place() {
    let app = busy().await;
    let purchase = app.sell("membership-monthly", GOOD_CARD).await;
    let first = app.payment_of(&purchase).await;
    let path = format!("subscriptions/{}/refund", purchase.subscription);
    // The act has chosen its payment, and waits before it looks at it once more.
    let stall =
        json!({ "kind": "stall", "method": "GET", "path": "/v1/refunds", "stall_ms": 1500 });
    app.fault(stall).await;
    let body = json!({ "already_refunded": 0, "reason": "goodwill" });
    let grace = app.grace();
    let refund = app.staff_act(&grace, &path, app.key(), body).send();
    let renewal = async {
        app.until("the act has begun to look", async || {
            let calls = app.service_calls("GET /v1/refunds").await;
            (calls > 0).then_some(())
        })
        .await;
        // Stripe's clock alone: an act knows by ours whether it is too late.
        let month = json!({ "seconds": MONTH });
        app.sandbox.post("/_sandbox/clock/advance", month).await;
    };
    let (answer, ()) = tokio::join!(refund, renewal);
    answer.assert_status(200);
    app.settle().await;
    let refunds = app.sandbox.stripe("/v1/refunds").await;
    let refunded: Vec<String> = { refunds["data"].as_array().expect("a list").iter() }
        .map(|refund| text(&refund["payment_intent"]))
        .collect();
    assert_eq!(refunded, [first], "{refunds}");
}

#[tokio::test]
async fn a_refund_that_came_in_part_is_not_followed_by_the_end() {
    let app = busy().await;
    let (purchase, lines) = app
        .sell_basket(&["membership-annual", "share"], GOOD_CARD)
        .await;
    let path = format!("subscriptions/{}/refund", lines[0]);
    let parts = json!([
        { "subscription_id": lines[1], "amount": 5 },
        { "subscription_id": lines[0], "amount": 5 },
    ]);
    // The first one passes; the second is refused.
    let stall = json!({ "kind": "stall", "method": "POST", "path": "/v1/refunds", "stall_ms": 1 });
    app.fault(stall).await;
    let refusal = json!({ "kind": "forbidden", "method": "POST", "path": "/v1/refunds" });
    app.fault(refusal).await;
    let body = json!({ "lines": parts, "already_refunded": 0, "also_cancel": "now" });
    let answer = app.grace_does(&path, body).await.assert_status(200).json();
    assert_eq!(text(&answer["action"]["outcome"]), "partly_refunded");
    let actions = app.look("actions?verb=cancel").await;
    assert_eq!(actions["data"][0]["outcome"], "refund_in_part", "{actions}");
    assert_eq!(app.row(&lines[0]).await.status, "ACTIVE");
    let intent = app.payment_of(&purchase).await;
    let list = app
        .sandbox
        .stripe(&format!("/v1/refunds?payment_intent={intent}"))
        .await;
    assert_eq!(list["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_customer_who_says_whose_she_is_is_nobody_elses() {
    let app = busy().await;
    let form = [
        ("email", "bob@example.org"),
        ("metadata[dues_user_id]", "bob"),
    ];
    let customer = app.at_stripe(Method::POST, "/v1/customers", &form).await;
    let customer = text(&customer["id"]);
    let prices = app
        .sandbox
        .stripe("/v1/prices?lookup_keys[]=membership_annual")
        .await;
    let price = text(&prices["data"][0]["id"]);
    let form = [
        ("customer", customer.as_str()),
        ("items[0][price]", price.as_str()),
        ("collection_method", "send_invoice"),
        ("days_until_due", "30"),
    ];
    let made = app
        .at_stripe(Method::POST, "/v1/subscriptions", &form)
        .await;
    let body = |user: &str| json!({ "stripe_subscription_id": text(&made["id"]), "user_id": user });
    let other = app.grace_would("adoptions", body("ada")).await;
    other.assert_problem(409, "other_customer");
    app.grace_would("adoptions", body("bob"))
        .await
        .assert_status(200);
}

#[tokio::test]
async fn a_reader_who_looks_for_a_customer_of_nobodys_learns_no_name() {
    let app = TestApp::start().await;
    let form = [("email", "zora@example.org"), ("name", "Zora Nowak")];
    let customer = app.at_stripe(Method::POST, "/v1/customers", &form).await;
    let reader = app.staff("ruth", &["reader"]);
    for asked in [text(&customer["id"]), "zora@example.org".to_owned()] {
        let call = app.post("/v1/operator/search").bearer(&reader);
        let answer = call
            .json(json!({ "q": asked }))
            .send()
            .await
            .assert_status(200);
        assert!(
            !answer.text.contains("Nowak") && !answer.text.contains("zora@"),
            "{}",
            answer.text
        );
        assert_eq!(answer.json()["data"][0]["kind"], "customer");
    }
}

#[tokio::test]
async fn she_who_may_everything_is_not_kept_from_her_own_by_a_lesser_role() {
    let app = busy().await;
    let purchase = app.sell("credits-50", GOOD_CARD).await;
    let path = format!("subscriptions/{}/refund", purchase.subscription);
    let body = json!({ "amount": 1, "already_refunded": 0, "reason": "goodwill" });
    let treasurer = app.staff("alice", &["treasurer"]);
    let refused = app
        .staff_act(&treasurer, &path, app.key(), body.clone())
        .send()
        .await;
    refused.assert_problem(403, "own_rows");
    let both = app.staff("alice", &["treasurer", "operator"]);
    let done = app.staff_act(&both, &path, app.key(), body).send().await;
    done.assert_status(200);
}
