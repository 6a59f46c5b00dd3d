//! What is refused before it is executed: by the schema, or because it is no GraphQL at all.

use serde_json::{Value, json};

use crate::bench::{Bench, SUBSCRIPTION, but, mutation, send, subscription};

#[tokio::test]
async fn inputs_are_held_to_the_schema() {
    let bench = Bench::start().await;
    let cases = [
        json!({"colour": "red"}),
        json!({"endUserId": null}),
        json!({"endUserId": "auth0|12"}),
        json!({"endUserId": "00000000000000000000000000004000"}),
        json!({"paymentPlanId": 7}),
        json!({"lifecycleStatus": "TRIALING"}),
        json!({"country": "UK"}),
        json!({"periodEndDate": "2026-12-01"}),
        json!({"periodEndDate": 1_790_000_000}),
        json!({"skipValidations": ["ALL"]}),
        json!({"skipValidations": [null]}),
    ];
    for change in cases {
        let input = but(subscription(), change.clone());
        let answer = bench.mutate("createSubscription", input).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "GRAPHQL_VALIDATION_FAILED"),
            "{change}"
        );
        assert!(answer.body.get("data").is_none());
    }
    let mut incomplete = subscription();
    incomplete
        .as_object_mut()
        .unwrap()
        .remove("paymentProviderKey");
    bench
        .mutate("createSubscription", incomplete)
        .await
        .invalid();
    bench
        .ask(&mutation("createSubscription"), json!({}))
        .await
        .invalid();
    assert_eq!(bench.state("subscriptions").await, json!([]));
}

#[tokio::test]
async fn what_is_written_into_the_query_is_held_to_it_too() {
    let bench = Bench::start().await;
    bench.subscribe().await;
    let cases = [
        "{ nothing }",
        "{ subscriptions { nodes { colour } } }",
        "{ subscriptions(filter: {colour: {equalTo: \"red\"}}) { totalCount } }",
        "{ subscriptions(filter: {id: {equalTo: \"7\"}}) { totalCount } }",
        "{ subscriptions(condition: {lifecycleStatus: PAID}) { totalCount } }",
        "{ subscriptions(orderBy: COLOUR_ASC) { totalCount } }",
        "{ subscription { id } }",
        "mutation { updateSubscription(input: \"x\") { subscription { id } } }",
        "{ subscriptions(condition: {lifecycleStatus: \"ACTIVE\"}) { totalCount } }",
        "{ subscriptions(filter: {lifecycleStatus: {in: [\"ACTIVE\"]}}) { totalCount } }",
        "query ($id: String!) { subscription(id: $id) { id } }",
        "query ($id: UUID) { subscription(id: $id) { id } }",
        "query ($id: String!) { subscriptions(filter: {id: {equalTo: $id}}) { totalCount } }",
        "query ($id: UUID!) { subscriptions(filter: {or: [{not: {id: {in: [$id]}}}, {userId: {in: $id}}]}) { totalCount } }",
        "query ($id: ID!) { ...F } fragment F on Query { subscription(id: $id) { id ...G } } fragment G on SubscriptionType { id }",
        "query ($id: UUID!) { subscription(id: $id) { id } subscriptions(first: $id) { totalCount } }",
        "{ subscriptions {",
    ];
    for query in cases {
        let answer = bench.ask(query, json!({"id": SUBSCRIPTION})).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "GRAPHQL_VALIDATION_FAILED"),
            "{query}"
        );
    }
    let query =
        "query ($filter: SubscriptionTypeFilter) { subscriptions(filter: $filter) { totalCount } }";
    for filter in [
        json!("ACTIVE"),
        json!({"lifecycleStatus": "ACTIVE"}),
        json!({"or": [{"not": "x"}]}),
        json!({"lifecycleStatus": {"in": ["PAID"]}}),
    ] {
        bench.ask(query, json!({"filter": filter})).await.invalid();
    }
    let filter = json!({"or": {"lifecycleStatus": {"in": "ACTIVE"}}});
    let answer = bench.ask(query, json!({"filter": filter})).await;
    assert_eq!(
        answer.data()["subscriptions"]["totalCount"],
        0,
        "one stands for a list of one"
    );
}

#[tokio::test]
async fn a_variable_without_a_value_is_as_if_it_were_not_there() {
    let bench = Bench::start().await;
    bench.subscribe().await;
    let query = "mutation ($id: UUID!, $end: Datetime, $reference: String) {
        updateSubscription(input: {subscriptionId: $id, periodEndDate: $end, paymentProviderReference: $reference}) {
            subscription { periodEndDate paymentProviderReference } } }";
    let variables = json!({"id": SUBSCRIPTION, "reference": "sub_1"});
    let answer = bench.ask(query, variables).await;
    let expected = json!({"periodEndDate": null, "paymentProviderReference": "sub_1"});
    assert_eq!(
        answer.data()["updateSubscription"]["subscription"],
        expected
    );
    let wrong = bench
        .ask(query, json!({"id": "7", "reference": "sub_2"}))
        .await;
    wrong.invalid();
}

#[tokio::test]
async fn only_small_json_posts_are_read() {
    let bench = Bench::start().await;
    let url = format!("{}/management/graphql", bench.url);
    assert_eq!(bench.http.get(&url).send().await.unwrap().status(), 405);
    let form = bench.management().body("query=%7B__typename%7D");
    assert_eq!(form.send().await.unwrap().status(), 415);
    for body in [
        "",
        "{",
        "[]",
        "{}",
        "{\"query\":7}",
        "[{\"query\":\"{__typename}\"}]",
    ] {
        let request = bench
            .management()
            .header("content-type", "application/json");
        let answer = request.body(body).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{body}");
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(
            answer["errors"][0]["code"], "GRAPHQL_VALIDATION_FAILED",
            "{body}"
        );
    }
    let long = format!("{{ __typename }} # {}", "x".repeat(200_000));
    let request = bench.management().json(&json!({"query": long}));
    assert_eq!(request.send().await.unwrap().status(), 413);
    let elsewhere = bench.http.post(format!("{}/graphql", bench.url));
    assert_eq!(elsewhere.send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn deep_queries_are_refused() {
    let bench = Bench::start().await;
    let mut query = "id".to_owned();
    for _ in 0..10 {
        query = format!("subscriptionPlan {{ subscriptions {{ nodes {{ {query} }} }} }}");
    }
    let query = format!("{{ subscriptions {{ nodes {{ {query} }} }} }}");
    let nested = [
        query,
        "{a".repeat(40_000),
        format!("{{ subscriptions(filter: {}", "[".repeat(90_000)),
    ];
    for query in nested {
        let answer = send(bench.management(), &query, &json!({})).await.unwrap();
        answer.invalid();
    }
    let good = "query ($id: UUID!, $first: Int = 1) {
        subscription(id: $id) { id } subscriptions(first: $first, filter: {id: {in: [$id]}}) { totalCount } }";
    bench.ask(good, json!({"id": SUBSCRIPTION})).await.data();
}
