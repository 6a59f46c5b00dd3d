//! The end-user API, as players and pages ask it.

use serde_json::json;
use uuid::Uuid;

use crate::bench::{Bench, MEMBER, OTHER, PARENT, PLAN, payment};

const ACTIVE: &str = "query GetActiveSubscription($now: Datetime!) {
    subscriptions(filter: {lifecycleStatus: {in: [ACTIVE, CANCELLED, ON_HOLD]}, periodEndDate: {greaterThan: $now}},
        orderBy: LIFECYCLE_STATUS_ASC, first: 1) { nodes { subscriptionPlanId lifecycleStatus } } }";

#[tokio::test]
async fn access_is_decided_by_status_and_end_of_the_period() {
    let bench = Bench::start().await;
    let rows = [
        (1, "ON_HOLD", "2026-12-01T00:00:00Z"),
        (2, "ACTIVE", "2026-12-02T00:00:00Z"),
        (3, "ENDED", "2027-12-01T00:00:00Z"),
    ];
    for (id, status, end) in rows {
        let row = json!({
            "id": Uuid::from_u128(id), "userId": MEMBER, "paymentPlanId": PLAN, "lifecycleStatus": status,
            "periodEndDate": end,
        });
        assert_eq!(bench.control("subscriptions", row).await.0, 201);
    }
    let token = bench.member(MEMBER).await;
    let cases = [
        (
            "2026-11-28T00:00:00.123Z",
            json!([{"subscriptionPlanId": PARENT, "lifecycleStatus": "ACTIVE"}]),
        ),
        ("2026-12-02T00:00:00Z", json!([])),
    ];
    for (now, expected) in cases {
        let answer = bench.ask_as(&token, ACTIVE, json!({"now": now})).await;
        assert_eq!(answer.data()["subscriptions"]["nodes"], expected, "{now}");
    }
    let other = bench.member(OTHER).await;
    let answer = bench
        .ask_as(&other, ACTIVE, json!({"now": "2026-11-28T00:00:00Z"}))
        .await;
    assert_eq!(answer.data()["subscriptions"]["nodes"], json!([]));
}

#[tokio::test]
async fn members_see_their_own_rows_by_whatever_way() {
    let bench = Bench::start().await;
    bench.subscribe().await;
    bench
        .mutate("createSubscriptionTransaction", payment())
        .await
        .data();
    let query = "{ subscriptions { totalCount }
        subscriptionTransactions { nodes { currency description paymentProviderReference paymentProvider { title }
            periodEndDate totalPrice transactionDate transactionType } }
        subscriptionPlans { nodes { subscriptions { totalCount } } }
        some: subscriptionPlans(filter: {subscriptionsExist: true}) { totalCount } }";
    for (member, count) in [(MEMBER, 1), (OTHER, 0)] {
        let token = bench.member(member).await;
        let answer = bench.ask_as(&token, query, json!({})).await;
        let data = answer.data();
        let transactions = data["subscriptionTransactions"]["nodes"]
            .as_array()
            .unwrap();
        assert_eq!(data["subscriptions"]["totalCount"], count);
        assert_eq!(transactions.len(), count);
        assert_eq!(
            data["subscriptionPlans"]["nodes"][0]["subscriptions"]["totalCount"],
            count
        );
        assert_eq!(data["some"]["totalCount"], count);
    }
}

#[tokio::test]
async fn what_only_managers_see_is_not_in_the_schema() {
    let bench = Bench::start().await;
    let token = bench.member(MEMBER).await;
    let cases = [
        "{ subscriptionTransactions { nodes { method } } }",
        "{ subscriptions { nodes { subscriptionStatusChanges { nodes { description } } } } }",
        "{ subscriptionPlans { nodes { createdUser } } }",
        "{ subscriptionStatusChanges { totalCount } }",
        "{ getSettings { successRedirect } }",
        "mutation { setSettings(input: {}) { clientMutationId } }",
    ];
    for query in cases {
        let answer = bench.ask_as(&token, query, json!({})).await;
        assert_eq!(answer.status, 400, "{query}");
    }
    let refused = bench
        .ask_as(&bench.token, "{ subscriptions { totalCount } }", json!({}))
        .await;
    refused.refused("SIGNING_KEY_NOT_FOUND");
}

#[tokio::test]
async fn the_sample_page_finds_the_plans_that_can_be_bought() {
    let bench = Bench::start().await;
    let free = json!({
        "subscriptionPlan": {"title": "Free"},
        "paymentPlan": {"title": "Nothing", "periodUnit": "YEAR", "periodQuantity": 1, "externalId": "price_0"},
    });
    assert_eq!(bench.control("plans", free).await.0, 201);
    let page = bench
        .http
        .get(format!("{}/client/", bench.url))
        .send()
        .await
        .unwrap();
    let page = page.text().await.unwrap();
    let (_, query) = page.split_once("const PLANS = `").unwrap();
    let (query, _) = query.split_once('`').unwrap();
    let query = query.replace("${PROVIDER}", "CPC_STRIPE");
    let token = bench.member(MEMBER).await;
    let answer = bench.ask_as(&token, &query, json!({})).await;
    let nodes = answer.data()["subscriptionPlans"]["nodes"]
        .as_array()
        .unwrap();
    let plan = |title: &str| nodes.iter().find(|node| node["title"] == title).unwrap();
    assert_eq!(
        plan("Free")["paymentPlans"]["nodes"],
        json!([]),
        "it has no price"
    );
    let expected = json!([{
        "id": PLAN, "title": "Monthly", "periodQuantity": 1, "periodUnit": "MONTH",
        "providerConfigs": {"nodes": [{"paymentProvider": {"key": "CPC_STRIPE", "title": "Stripe"}}]},
        "prices": {"nodes": [{"country": "DE", "currency": "EUR", "price": "30.00"}]},
    }]);
    assert_eq!(plan("Supporter")["paymentPlans"]["nodes"], expected);
}

#[tokio::test]
async fn the_overview_shows_everything_and_escapes_it() {
    let bench = Bench::start().await;
    bench.subscribe().await;
    let reason = "<script>alert(1)</script>";
    let change = json!({
        "subscriptionId": crate::bench::SUBSCRIPTION, "lifecycleStatus": "ACTIVE", "lifecycleStatusChangeReason": reason,
    });
    bench.mutate("updateSubscription", change).await.data();
    bench
        .mutate("createSubscriptionTransaction", payment())
        .await
        .data();
    bench
        .mutate("createSubscription", json!({}))
        .await
        .invalid();
    let page = bench
        .http
        .get(format!("{}/", bench.url))
        .send()
        .await
        .unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let page = page.text().await.unwrap();
    assert!(!page.contains(reason));
    for part in [
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "Supporter",
        "30.00000 EUR",
        "2026-11-01 10:00 UTC",
        "GRAPHQL_VALIDATION_FAILED",
    ] {
        assert!(page.contains(part), "{part}");
    }
}
