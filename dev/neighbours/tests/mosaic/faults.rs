//! Answers that go wrong on purpose.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bench::{Bench, mutation, send, subscription};

async fn count(bench: &Bench) -> usize {
    bench.state("subscriptions").await.as_array().unwrap().len()
}

#[tokio::test]
async fn a_fault_hits_its_operation_so_many_times() {
    let bench = Bench::start().await;
    let fault =
        json!({"kind": "status", "status": 503, "operation": "createSubscription", "times": 2});
    bench.fault(fault).await;
    let settings = bench
        .ask("{ getSettings { successRedirect } }", json!({}))
        .await;
    settings.data();
    for _ in 0..2 {
        let input = json!({"query": mutation("createSubscription"), "variables": {"input": subscription()}});
        let answer = bench.management().json(&input).send().await.unwrap();
        assert_eq!(answer.status(), 503);
    }
    assert_eq!(count(&bench).await, 0);
    bench.subscribe().await;
    assert_eq!(bench.state("requests").await["createSubscription"], 3);
}

#[tokio::test]
async fn an_error_comes_with_http_200_and_nothing_is_done() {
    let bench = Bench::start().await;
    bench
        .fault(json!({"kind": "errors", "code": "DATABASE_LOCK_TIMEOUT_ERROR", "message": "Busy.", "operation": null}))
        .await;
    let answer = bench.mutate("createSubscription", subscription()).await;
    answer.refused("DATABASE_LOCK_TIMEOUT_ERROR");
    assert_eq!(answer.body["errors"][0]["message"], "Busy.");
    assert_eq!(count(&bench).await, 0);
}

#[tokio::test]
async fn connections_are_closed_before_or_after_the_effect() {
    let bench = Bench::start().await;
    let variables = json!({"input": subscription()});
    for (kind, expected) in [("close", 0), ("close_after", 1)] {
        bench.fault(json!({"kind": kind})).await;
        let sent = send(
            bench.management(),
            &mutation("createSubscription"),
            &variables,
        )
        .await;
        assert!(sent.is_err(), "{kind}");
        assert_eq!(count(&bench).await, expected, "{kind}");
    }
}

#[tokio::test]
async fn a_stalled_answer_leaves_the_effect() {
    let bench = Bench::start().await;
    bench
        .fault(json!({"kind": "stall_after", "ms": 60_000}))
        .await;
    let request = bench.management().timeout(Duration::from_millis(300));
    let variables = json!({"input": subscription()});
    let started = Instant::now();
    let sent = send(request, &mutation("createSubscription"), &variables).await;
    assert!(sent.expect_err("times out").is_timeout());
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(count(&bench).await, 1);
}

#[tokio::test]
async fn a_call_that_was_held_up_is_done_although_its_caller_has_gone() {
    let bench = Bench::start().await;
    bench
        .fault(json!({"kind": "stall_before", "ms": 300}))
        .await;
    let request = bench.management().timeout(Duration::from_millis(50));
    let variables = json!({"input": subscription()});
    let sent = send(request, &mutation("createSubscription"), &variables).await;
    assert!(sent.expect_err("times out").is_timeout());
    assert_eq!(count(&bench).await, 0);
    let deadline = Instant::now() + Duration::from_secs(20);
    while count(&bench).await == 0 {
        assert!(Instant::now() < deadline, "it is never done");
    }
}

#[tokio::test]
async fn garbage_is_not_json_and_faults_can_be_cleared() {
    let bench = Bench::start().await;
    bench.fault(json!({"kind": "garbage", "times": 5})).await;
    let input = json!({"query": "{ getSettings { successRedirect } }"});
    let answer = bench.management().json(&input).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.json::<Value>().await.is_err());
    let url = format!("{}/_neighbour/faults", bench.url);
    let faults: Value = bench
        .http
        .get(&url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        faults,
        json!([{"kind": "garbage", "operation": null, "times": 4}])
    );
    bench.http.delete(&url).send().await.unwrap();
    let answer = bench.management().json(&input).send().await.unwrap();
    assert!(answer.json::<Value>().await.is_ok());
}

#[tokio::test]
async fn faults_that_make_no_sense_are_refused() {
    let bench = Bench::start().await;
    for fault in [
        json!({"kind": "fire"}),
        json!({"kind": "status"}),
        json!({"kind": "status", "status": 200}),
        json!({"kind": "close", "times": 0}),
        json!({"kind": "stall_after", "seconds": 3}),
    ] {
        let (status, answer) = bench.control("faults", fault.clone()).await;
        assert_eq!(status, 400, "{fault}");
        assert!(answer["error"].is_string(), "{fault}");
    }
}
