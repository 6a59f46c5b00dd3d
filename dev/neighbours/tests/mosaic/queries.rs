//! Filters, conditions, orders and pages.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::bench::{Bench, MEMBER, PLAN, SUBSCRIPTION, but, payment};

/// Ids of the subscriptions that arguments choose, by their last letter.
async fn chosen(bench: &Bench, arguments: &str) -> String {
    let query = format!("{{ subscriptions({arguments}) {{ nodes {{ id }} }} }}");
    let answer = bench.ask(&query, json!({})).await;
    let nodes = answer.data()["subscriptions"]["nodes"]
        .as_array()
        .unwrap()
        .clone();
    let ids = nodes
        .iter()
        .map(|node| node["id"].as_str().unwrap()[35..].to_owned());
    ids.collect()
}

/// Four subscriptions: 1 active, 2 on hold without an end, 3 cancelled, 4 ended.
async fn populated() -> Bench {
    let bench = Bench::start().await;
    let rows = [
        (1, "ACTIVE", json!("2027-01-01T00:00:00Z")),
        (2, "ON_HOLD", Value::Null),
        (3, "CANCELLED", json!("2026-06-01T00:00:00Z")),
        (4, "ENDED", json!("2026-01-01T00:00:00Z")),
    ];
    for (id, status, end) in rows {
        let row = json!({
            "id": Uuid::from_u128(id), "userId": Uuid::from_u128(100 + id), "paymentPlanId": PLAN,
            "lifecycleStatus": status, "periodEndDate": end,
        });
        assert_eq!(bench.control("subscriptions", row).await.0, 201);
    }
    bench
}

#[tokio::test]
async fn filters_choose_as_sql_does() {
    let bench = populated().await;
    let cases = [
        ("filter: {lifecycleStatus: {in: [ACTIVE, ENDED]}}", "14"),
        ("filter: {lifecycleStatus: {notIn: [ACTIVE, ENDED]}}", "23"),
        ("filter: {lifecycleStatus: {equalTo: ON_HOLD}}", "2"),
        ("filter: {lifecycleStatus: {notEqualTo: ON_HOLD}}", "134"),
        ("filter: {periodEndDate: {isNull: true}}", "2"),
        ("filter: {periodEndDate: {isNull: false}}", "134"),
        (
            "filter: {periodEndDate: {greaterThan: \"2026-06-01T00:00:00Z\"}}",
            "1",
        ),
        (
            "filter: {periodEndDate: {greaterThanOrEqualTo: \"2026-06-01T02:00:00+02:00\"}}",
            "13",
        ),
        (
            "filter: {periodEndDate: {lessThan: \"2026-06-01T00:00:00Z\"}}",
            "4",
        ),
        (
            "filter: {periodEndDate: {lessThanOrEqualTo: \"2026-06-01T00:00:00Z\"}}",
            "34",
        ),
        // What is compared with nothing is neither true nor false.
        (
            "filter: {not: {periodEndDate: {lessThan: \"2026-06-01T00:00:00Z\"}}}",
            "13",
        ),
        (
            "filter: {periodEndDate: {distinctFrom: \"2027-01-01T00:00:00Z\"}}",
            "234",
        ),
        (
            "filter: {or: [{lifecycleStatus: {equalTo: ENDED}}, {periodEndDate: {isNull: true}}]}",
            "24",
        ),
        (
            "filter: {and: [{lifecycleStatus: {in: [ACTIVE, ENDED]}}, {not: {lifecycleStatus: {equalTo: ENDED}}}]}",
            "1",
        ),
        (
            "filter: {subscriptionPlan: {title: {includesInsensitive: \"SUPP\"}}}",
            "1234",
        ),
        (
            "filter: {subscriptionPlan: {title: {equalTo: \"Other\"}}}",
            "",
        ),
        ("filter: {subscriptionTransactionsExist: true}", ""),
        ("condition: {lifecycleStatus: CANCELLED}", "3"),
        ("condition: {periodEndDate: null}", "2"),
        (
            "condition: {userId: \"00000000-0000-0000-0000-000000000065\"}",
            "1",
        ),
    ];
    for (arguments, expected) in cases {
        assert_eq!(chosen(&bench, arguments).await, expected, "{arguments}");
    }
    for filter in [
        "{}",
        "null",
        "{lifecycleStatus: {}}",
        "{lifecycleStatus: {equalTo: null}}",
    ] {
        let query = format!("{{ subscriptions(filter: {filter}) {{ totalCount }} }}");
        let answer = bench.ask(&query, json!({})).await;
        answer.refused("GRAPHQL_VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn pages_follow_each_other_in_any_order() {
    let bench = populated().await;
    let cases = [
        ("orderBy: LIFECYCLE_STATUS_ASC", "1342"),
        ("orderBy: [LIFECYCLE_STATUS_DESC]", "2431"),
        ("orderBy: PERIOD_END_DATE_ASC", "4312"),
        ("orderBy: PERIOD_END_DATE_DESC", "2134"),
        (
            "orderBy: [SUBSCRIPTION_PLAN_ID_ASC, PRIMARY_KEY_DESC]",
            "4321",
        ),
        ("first: 2", "12"),
        ("first: 2, offset: 1", "23"),
        ("last: 1", "4"),
        ("offset: 9", ""),
    ];
    for (arguments, expected) in cases {
        assert_eq!(chosen(&bench, arguments).await, expected, "{arguments}");
    }
    let query = "query ($after: Cursor) { subscriptions(first: 3, after: $after, orderBy: LIFECYCLE_STATUS_ASC) {
        totalCount nodes { id } edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";
    let first = bench.ask(query, json!({})).await;
    let first = &first.data()["subscriptions"];
    assert_eq!(
        (&first["totalCount"], &first["pageInfo"]["hasNextPage"]),
        (&json!(4), &json!(true))
    );
    assert_eq!(first["edges"][2]["cursor"], first["pageInfo"]["endCursor"]);
    assert_eq!(first["edges"][2]["node"], first["nodes"][2]);
    let after = &first["pageInfo"]["endCursor"];
    let second = bench.ask(query, json!({"after": after})).await;
    let second = &second.data()["subscriptions"];
    assert_eq!(second["nodes"], json!([{"id": Uuid::from_u128(2)}]));
    let info = &second["pageInfo"];
    assert_eq!(
        (&info["hasNextPage"], &info["hasPreviousPage"]),
        (&json!(false), &json!(true))
    );
    for wrong in ["first: -1", "after: \"x\"", "first: 1, last: 1"] {
        let query = format!("{{ subscriptions({wrong}) {{ totalCount }} }}");
        bench
            .ask(&query, json!({}))
            .await
            .refused("GRAPHQL_VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn a_transaction_is_found_by_what_dues_knows_of_it() {
    let bench = Bench::start().await;
    bench.subscribe().await;
    let failed = json!({"transactionType": "PAYMENT_FAILED", "totalPrice": "0"});
    for input in [payment(), but(payment(), failed)] {
        bench
            .mutate("createSubscriptionTransaction", input)
            .await
            .data();
    }
    let query = "query ($subscription: UUID!, $type: TransactionType!, $reference: String!) {
        subscriptionTransactions(filter: {
            subscriptionId: {equalTo: $subscription}, transactionType: {equalTo: $type},
            paymentProviderReference: {equalTo: $reference}
        }) { totalCount nodes { id transactionDate totalPrice currency subscription { userId } } } }";
    let variables = json!({"subscription": SUBSCRIPTION, "type": "PAYMENT", "reference": "in_1"});
    let found = bench.ask(query, variables.clone()).await;
    let found = &found.data()["subscriptionTransactions"];
    assert_eq!(found["totalCount"], 1);
    let node = &found["nodes"][0];
    assert_eq!(node["transactionDate"], "2026-11-01T10:00:00+00:00");
    assert_eq!(
        (&node["totalPrice"], &node["currency"]),
        (&json!("30.00000"), &json!("EUR"))
    );
    assert_eq!(node["subscription"]["userId"], MEMBER.to_string());
    let other = but(variables, json!({"reference": "in_2"}));
    let absent = bench.ask(query, other).await;
    assert_eq!(absent.data()["subscriptionTransactions"]["totalCount"], 0);
    let id = &node["id"];
    let one = "query ($id: UUID!) { subscriptionTransaction(id: $id) { paymentProvider { key } } }";
    let one = bench.ask(one, json!({"id": id})).await;
    assert_eq!(
        one.data()["subscriptionTransaction"]["paymentProvider"]["key"],
        "CPC_STRIPE"
    );
}

#[tokio::test]
async fn plans_come_with_prices_and_what_they_are_at_stripe() {
    let bench = Bench::start().await;
    let query = "{ subscriptionPlans(condition: {isActive: true}) { nodes { title
        providerConfigs(filter: {paymentProviderKey: {equalTo: \"CPC_STRIPE\"}}) { nodes { externalId } }
        paymentPlans { nodes { id title isActive periodUnit periodQuantity
            providerConfigs { nodes { paymentProviderKey externalId } }
            prices { nodes { country currency price } } } } } } }";
    let answer = bench.ask(query, json!({})).await;
    let expected = json!({"subscriptionPlans": {"nodes": [{
        "title": "Supporter", "providerConfigs": {"nodes": [{"externalId": "prod_1"}]},
        "paymentPlans": {"nodes": [{
            "id": PLAN, "title": "Monthly", "isActive": true, "periodUnit": "MONTH", "periodQuantity": 1,
            "providerConfigs": {"nodes": [{"paymentProviderKey": "CPC_STRIPE", "externalId": "price_1"}]},
            "prices": {"nodes": [
                {"country": "DE", "currency": "EUR", "price": "30.00"},
                {"country": "US", "currency": "USD", "price": "33.00"},
            ]},
        }]},
    }]}});
    assert_eq!(answer.data(), &expected);
}

#[tokio::test]
async fn the_connectors_own_operations_are_answered() {
    let bench = Bench::start().await;
    let query = "mutation createSubscription($input: CreateSubscriptionInput!) { createSubscription(input: $input) {
        subscription { id paymentPlan { providerConfigs(filter: {paymentProviderKey: {equalTo: \"CPC_STRIPE\"}}) {
            nodes { externalId } } } } } }";
    let input = crate::bench::subscription();
    let created = bench.ask(query, json!({"input": input})).await;
    let expected = json!({
        "id": SUBSCRIPTION, "paymentPlan": {"providerConfigs": {"nodes": [{"externalId": "price_1"}]}},
    });
    assert_eq!(
        created.data()["createSubscription"]["subscription"],
        expected
    );
    let changed = json!({
        "subscriptionId": SUBSCRIPTION, "lifecycleStatus": "ACTIVE", "lifecycleStatusChangeReason": "Paid.",
    });
    bench.mutate("updateSubscription", changed).await.data();
    let query = "query ($id: UUID!) { subscription(id: $id) { lifecycleStatus
        subscriptionStatusChanges { nodes { newLifecycleStatus description } } }
        subscriptionStatusChanges(condition: {subscriptionId: $id}) { totalCount } }";
    let answer = bench.ask(query, json!({"id": SUBSCRIPTION})).await;
    let expected = json!({
        "subscription": {
            "lifecycleStatus": "ACTIVE",
            "subscriptionStatusChanges": {"nodes": [{"newLifecycleStatus": "ACTIVE", "description": "Paid."}]},
        },
        "subscriptionStatusChanges": {"totalCount": 1},
    });
    assert_eq!(answer.data(), &expected);
}
