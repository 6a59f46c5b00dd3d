//! What leaves the sandbox is held against Stripe's description of its objects.

use serde_json::json;
use stripe_sandbox::Options;

use crate::bench::{Bench, temporary, text};

/// A sandbox with a customer whose state was edited by hand: a key is misspelt.
async fn with_a_misspelt_customer() -> (Bench, String) {
    let state = temporary("state.json");
    let options = || Options {
        state: Some(state.clone()),
        journal: Some("/dev/null".into()),
        ..Options::default()
    };
    let bench = Bench::with(options()).await;
    let customer = bench.customer().await;
    bench.sandbox.stop().await;
    let saved = std::fs::read_to_string(&state).unwrap();
    let edited = saved.replacen("\"default_source\"", "\"default_sauce\"", 1);
    assert_ne!(saved, edited, "the first customer has a default source");
    std::fs::write(&state, edited).unwrap();
    let bench = Bench::with(options()).await;
    std::fs::remove_file(state).unwrap();
    (bench, customer)
}

#[tokio::test]
async fn a_misspelt_key_in_an_answer_is_a_500_that_names_it() {
    let (bench, customer) = with_a_misspelt_customer().await;
    let answer = bench.get(&format!("/v1/customers/{customer}")).await;
    let message = text(&answer.body["error"]["message"]);
    assert_eq!(answer.status, 500);
    assert!(message.contains("GET /v1/customers/{}"), "{message}");
    assert!(
        message.contains("$.default_sauce: customer has no key 'default_sauce'"),
        "{message}"
    );
    let list = bench.get("/v1/customers").await;
    assert!(text(&list.body["error"]["message"]).contains("$.data[0].default_sauce"));
    bench.get("/v1/products").await.ok();
}

#[tokio::test]
async fn a_misspelt_key_in_an_event_fails_every_call_until_a_reset() {
    let (bench, customer) = with_a_misspelt_customer().await;
    let path = format!("/v1/customers/{customer}");
    assert_eq!(bench.post(&path, "name=New").await.status, 500);
    let answers = [
        bench.get("/v1/products").await,
        bench.control_answer("deliveries/settle", json!({})).await,
    ];
    for answer in answers {
        let message = text(&answer.body["error"]["message"]);
        assert_eq!(answer.status, 500, "{message}");
        assert!(message.contains("the event customer.updated"), "{message}");
        assert!(message.contains("$.data.object.default_sauce"), "{message}");
    }
    bench.control_answer("reset", json!({})).await;
    bench.get("/v1/products").await.ok();
}
