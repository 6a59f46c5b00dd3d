//! What the Billing Service refuses, and what it writes.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::bench::{Bench, MEMBER, PARENT, PLAN, SUBSCRIPTION, but, payment, subscription};

#[tokio::test]
async fn a_subscription_has_the_id_that_was_given_and_waits() {
    let bench = Bench::start().await;
    bench.subscribe().await;
    let rows = bench.state("subscriptions").await;
    let row = &rows[0];
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!(row["id"], SUBSCRIPTION.to_string());
    assert_eq!(row["userId"], MEMBER.to_string());
    assert_eq!(row["subscriptionPlanId"], PARENT.to_string());
    assert_eq!(row["lifecycleStatus"], "PENDING_ACTIVATION");
    assert!(row["periodEndDate"].is_null());
    assert_eq!(bench.state("statusChanges").await, json!([]));
}

#[tokio::test]
async fn a_repeated_id_is_a_uniqueness_error_unless_a_check_comes_first() {
    let bench = Bench::start().await;
    bench.subscribe().await;
    let again = bench.mutate("createSubscription", subscription()).await;
    again.refused("ALREADY_SUBSCRIBED");
    let skip = json!({"skipValidations": ["SINGLE_SUBSCRIPTION"]});
    let again = but(subscription(), skip);
    let again = bench.mutate("createSubscription", again).await;
    again.refused("UNIQUE_CONSTRAINT_ERROR");
    assert_eq!(
        again.body["errors"][0]["path"],
        json!(["createSubscription"])
    );
    assert_eq!(
        bench.state("subscriptions").await.as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn who_has_one_gets_no_second_before_it_has_ended() {
    let bench = Bench::start().await;
    bench.subscribe().await;
    let second = but(
        subscription(),
        json!({"subscriptionId": Uuid::from_u128(1)}),
    );
    let refused = bench.mutate("createSubscription", second.clone()).await;
    refused.refused("ALREADY_SUBSCRIBED");
    let ended = json!({
        "subscriptionId": SUBSCRIPTION, "lifecycleStatus": "ENDED", "lifecycleStatusChangeReason": "Over.",
    });
    bench.mutate("updateSubscription", ended).await.data();
    bench.mutate("createSubscription", second).await.data();
}

#[tokio::test]
async fn unknown_plans_and_providers_and_plans_off_sale_are_refused() {
    let bench = Bench::start().await;
    let cases = [
        (json!({"paymentPlanId": PARENT}), "PAYMENT_PLAN_NOT_FOUND"),
        (
            json!({"paymentProviderKey": "STRIPE"}),
            "PAYMENT_PROVIDER_NOT_FOUND",
        ),
        (json!({"country": "FR"}), "COUNTRY_PRICE_NOT_FOUND"),
    ];
    for (change, code) in cases {
        let input = but(subscription(), change);
        bench
            .mutate("createSubscription", input)
            .await
            .refused(code);
    }
    let off_sale = json!({
        "subscriptionPlan": {"id": PARENT, "title": "Supporter", "isActive": false},
        "paymentPlan": {"id": PLAN, "title": "Monthly", "periodUnit": "MONTH", "periodQuantity": 1},
        "prices": [{"country": "DE", "currency": "EUR", "price": "30.00"}],
    });
    assert_eq!(bench.control("plans", off_sale).await.0, 201);
    let refused = bench.mutate("createSubscription", subscription()).await;
    refused.refused("PLAN_NOT_ACTIVE");
    let skipping = json!({"country": "FR", "skipValidations": ["ACTIVE_PLANS", "COUNTRY_PRICE"]});
    let created = bench
        .mutate("createSubscription", but(subscription(), skipping))
        .await;
    created.data();
    let refused = bench.state("refused").await;
    assert_eq!(refused.as_array().unwrap().len(), 4);
    assert_eq!(refused[3]["operation"], "createSubscription");
    assert_eq!(refused[3]["code"], "PLAN_NOT_ACTIVE");
}

#[tokio::test]
async fn a_change_of_status_needs_a_reason_and_is_written_down_once() {
    let bench = Bench::start().await;
    bench.subscribe().await;
    let activate = json!({
        "subscriptionId": SUBSCRIPTION, "lifecycleStatus": "ACTIVE", "periodEndDate": "2026-12-01T11:00:00+01:00",
    });
    for reason in [Value::Null, json!("  ")] {
        let mut input = activate.clone();
        if !reason.is_null() {
            input = but(input, json!({"lifecycleStatusChangeReason": reason}));
        }
        let refused = bench.mutate("updateSubscription", input).await;
        refused.refused("STATUS_CHANGE_REASON_REQUIRED");
    }
    let reason = json!({"lifecycleStatusChangeReason": "Paid."});
    let activated = but(activate.clone(), reason);
    bench.mutate("updateSubscription", activated).await.data();
    // The same status again is no change: it needs no reason and leaves no trace.
    bench.mutate("updateSubscription", activate).await.data();
    let changes = bench.state("statusChanges").await;
    assert_eq!(changes.as_array().unwrap().len(), 1);
    assert_eq!(changes[0]["newLifecycleStatus"], "ACTIVE");
    assert_eq!(changes[0]["description"], "Paid.");
    assert_eq!(changes[0]["userId"], MEMBER.to_string());
    let row = &bench.state("subscriptions").await[0];
    assert_eq!(row["periodEndDate"], "2026-12-01T10:00:00+00:00");
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_nothing_else() {
    let bench = Bench::start().await;
    bench.subscribe().await;
    let dates = json!({
        "subscriptionId": SUBSCRIPTION, "activationDate": "2026-11-01T00:00:00Z", "periodEndDate": "2026-12-01T00:00:00Z",
    });
    bench.mutate("updateSubscription", dates).await.data();
    let reference = json!({"subscriptionId": SUBSCRIPTION, "paymentProviderReference": "sub_1"});
    bench.mutate("updateSubscription", reference).await.data();
    let row = &bench.state("subscriptions").await[0];
    assert_eq!(row["activationDate"], "2026-11-01T00:00:00+00:00");
    assert_eq!(row["periodEndDate"], "2026-12-01T00:00:00+00:00");
    assert_eq!(row["paymentProviderReference"], "sub_1");
    let null = json!({"subscriptionId": SUBSCRIPTION, "periodEndDate": null});
    bench
        .mutate("updateSubscription", null)
        .await
        .refused("AMBIGUOUS_NULL");
    let unknown = json!({"subscriptionId": PLAN, "paymentProviderReference": "sub_1"});
    let refused = bench.mutate("updateSubscription", unknown).await;
    refused.refused("SUBSCRIPTION_NOT_FOUND");
}

#[tokio::test]
async fn the_sign_of_a_price_fits_its_type() {
    let bench = Bench::start().await;
    bench.subscribe().await;
    let cases = [
        ("PAYMENT", "0.00001", ""),
        ("PAYMENT", "0", "INVALID_TOTAL_PRICE"),
        ("PAYMENT", "-1", "INVALID_TOTAL_PRICE"),
        ("PAYMENT", "1.000000", "INVALID_TOTAL_PRICE"),
        ("PAYMENT", "1,00", "INVALID_TOTAL_PRICE"),
        ("REFUND", "-0.66000", ""),
        ("REFUND", "0", "INVALID_TOTAL_PRICE"),
        ("REFUND", "0.66000", "INVALID_TOTAL_PRICE"),
        ("PAYMENT_FAILED", "0", ""),
        ("PAYMENT_FAILED", "30.00", "INVALID_TOTAL_PRICE"),
    ];
    for (kind, price, code) in cases {
        let change = json!({"transactionType": kind, "totalPrice": price});
        let answer = bench
            .mutate("createSubscriptionTransaction", but(payment(), change))
            .await;
        assert_eq!(
            (answer.status, answer.code()),
            (200, code),
            "{kind} {price}"
        );
    }
    let rows = bench.state("transactions").await;
    let prices: Vec<&Value> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["totalPrice"])
        .collect();
    assert_eq!(prices, ["0.00001", "-0.66000", "0"], "as they were written");
}

#[tokio::test]
async fn a_transaction_names_a_subscription_a_provider_and_a_currency() {
    let bench = Bench::start().await;
    bench.subscribe().await;
    let cases = [
        (json!({"subscriptionId": PLAN}), "SUBSCRIPTION_NOT_FOUND"),
        (
            json!({"paymentProviderKey": "CPC_OTHER"}),
            "PAYMENT_PROVIDER_NOT_FOUND",
        ),
        (json!({"currency": "eur"}), "INVALID_CURRENCY"),
        (json!({"currency": "EURO"}), "INVALID_CURRENCY"),
    ];
    for (change, code) in cases {
        let input = but(payment(), change);
        let answer = bench.mutate("createSubscriptionTransaction", input).await;
        answer.refused(code);
    }
    let plain = json!({
        "subscriptionId": SUBSCRIPTION, "paymentProviderKey": "CPC_STRIPE", "transactionType": "PAYMENT",
    });
    let answer = bench.mutate("createSubscriptionTransaction", plain).await;
    let transaction = &answer.data()["createSubscriptionTransaction"]["transaction"];
    assert_eq!(transaction["totalPrice"], "33.00", "from the payment plan");
    assert_eq!(transaction["currency"], "USD");
}

#[tokio::test]
async fn repeated_transactions_are_all_kept_and_counted() {
    let bench = Bench::start().await;
    bench.subscribe().await;
    let later = json!({"transactionDate": "2026-11-02T10:00:00Z"});
    // The second is the first by another clock; the third has another date.
    let same = json!({"transactionDate": "2026-11-01T11:00:00+01:00"});
    for change in [json!({}), same, later] {
        let input = but(payment(), change);
        bench
            .mutate("createSubscriptionTransaction", input)
            .await
            .data();
    }
    assert_eq!(
        bench.state("transactions").await.as_array().unwrap().len(),
        3
    );
    let expected = json!([{
        "subscriptionId": SUBSCRIPTION, "transactionType": "PAYMENT", "paymentProviderReference": "in_1",
        "transactionDate": "2026-11-01T10:00:00+00:00", "count": 2,
    }]);
    assert_eq!(bench.state("duplicates").await, expected);
    assert_eq!(
        bench.state("requests").await["createSubscriptionTransaction"],
        3
    );
}

#[tokio::test]
async fn a_transaction_can_be_described_later_but_not_repriced() {
    let bench = Bench::start().await;
    bench.subscribe().await;
    let created = bench
        .mutate("createSubscriptionTransaction", payment())
        .await;
    let id = &created.data()["createSubscriptionTransaction"]["transaction"]["id"];
    let described = json!({"transactionId": id, "description": "November"});
    bench
        .mutate("updateSubscriptionTransaction", described)
        .await
        .data();
    let row = &bench.state("transactions").await[0];
    assert_eq!(row["description"], "November");
    assert_eq!(row["paymentProviderReference"], "in_1");
    let repriced = json!({"transactionId": id, "totalPrice": "1.00"});
    bench
        .mutate("updateSubscriptionTransaction", repriced)
        .await
        .invalid();
}
