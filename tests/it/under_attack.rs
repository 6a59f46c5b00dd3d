//! What one takes, others need: strangers, one member, Stripe's silence. Each attack is bounded in count and time, and what
//! a bystander sees is what counts.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::harness::TestApp;
use crate::harness::issuer::SigningKey;
use crate::harness::purchase::{GOOD_CARD, at_once};
use crate::harness::replica::Replica;

/// Few places, so that an attack needs few connections.
async fn small() -> TestApp {
    TestApp::with()
        .setting("DUES__HTTP__MAX_CONCURRENCY", 16)
        .setting("DUES__STRIPE__MAX_RETRIES", 0)
        .setting("DUES__STRIPE__TIMEOUT_MS", 3_500)
        .setting("DUES__STRIPE__TOTAL_TIMEOUT_MS", 4_000)
        .start()
        .await
}

/// Half a request each: the head, and a body that never comes.
async fn half_sent(app: &TestApp, head: &str, count: usize) -> Vec<TcpStream> {
    let mut open = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(app.address).await.expect("a connection");
        stream.write_all(head.as_bytes()).await.expect("a head");
        open.push(stream);
    }
    open
}

/// How many of so many calls of a bystander succeed.
async fn share(calls: usize, one: impl AsyncFn() -> bool) -> usize {
    let mut good = 0;
    for _ in 0..calls {
        good += usize::from(one().await);
    }
    good
}

#[tokio::test]
async fn half_sent_bodies_of_strangers_take_no_place_of_stripe_s() {
    let app = small().await;
    let purchase = app.sell("membership-monthly", GOOD_CARD).await;
    let event = app.events_of("invoice.paid").await.remove(0);
    let head = "POST /webhooks/stripe HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\nstripe-signature: t=1,v1=00\r\n\r\n{";
    let open = half_sent(&app, head, 64).await;
    let told = share(20, async || {
        app.delivery(&event).send().await.status.is_success()
    })
    .await;
    assert_eq!(told, 20);
    drop(open);
    app.assert_line(&purchase.subscription, "ACTIVE", "paid", true)
        .await;
}

#[tokio::test]
async fn half_sent_bodies_of_members_without_a_token_take_no_place_of_members() {
    let app = small().await;
    let alice = app.member("alice");
    let head = "POST /v1/subscriptions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n{";
    let open = half_sent(&app, head, 64).await;
    let bought = share(3, async || {
        let order = app.order(&alice, json!({"plan": "credits-20"}));
        order.send().await.status.is_success()
    })
    .await;
    assert_eq!(bought, 3);
    drop(open);
}

#[tokio::test]
async fn one_member_with_many_connections_takes_her_share_and_no_more() {
    let app = small().await;
    app.sell("membership-monthly", GOOD_CARD).await;
    let (alice, bob) = (app.member("alice"), app.member("bob"));
    app.fault(json!({"kind": "stall", "path": "/v1/charges", "times": 1000, "stall_ms": 3_000}))
        .await;
    let rush: Vec<JoinHandle<u16>> = (0..40)
        .map(|_| {
            let call = app.get("/v1/statement").bearer(&alice);
            tokio::spawn(async move { call.send().await.status.as_u16() })
        })
        .collect();
    app.until("her share is under way", async || {
        let refused = rush.iter().filter(|call| call.is_finished()).count();
        (refused == 40 - 2).then_some(())
    })
    .await;
    // Neither what comes from our rows nor what comes from Stripe is taken from others, or from her.
    let seen = share(20, async || {
        let call = app.get("/v1/entitlements").bearer(&bob);
        call.send().await.status.is_success()
    })
    .await;
    assert_eq!(seen, 20);
    app.order(&bob, json!({"plan": "credits-20"}))
        .send()
        .await
        .assert_status(201);
    app.get("/v1/entitlements")
        .bearer(&alice)
        .send()
        .await
        .assert_status(200);
    let refused = app.get("/v1/statement").bearer(&alice).send().await;
    let refused = refused.assert_problem(429, "too_many_requests");
    assert!(refused.header("retry-after").parse::<u32>().is_ok());
    for call in rush {
        let status = call.await.expect("the call ends");
        assert!([200, 429, 502, 504].contains(&status), "{status}");
    }
}

#[tokio::test]
async fn a_stripe_that_hangs_keeps_a_buyer_s_return_from_nothing_but_its_answer() {
    let app = small().await;
    let purchase = app.open(&app.member("alice"), "membership-annual").await;
    app.hold_deliveries().await;
    let back = app.pay(&purchase).await;
    app.fault(json!({"kind": "stall", "path": "/v1/checkout/sessions/*", "times": 1000, "stall_ms": 60_000}))
        .await;
    let path = back
        .strip_prefix(&format!("http://{}", app.address))
        .expect("an address of the service")
        .to_owned();
    // More browsers than there are places come back at once.
    let calls = (0..24).map(|_| app.get(&path));
    for answer in at_once(calls).await {
        let answer = answer.assert_status(303);
        let location = answer.header("location");
        assert!(
            location.starts_with("https://app.example.org/thanks"),
            "{location}"
        );
        assert!(location.contains("code=unverified"), "{location}");
    }
}

#[tokio::test]
async fn endless_heads_and_languages_are_judged_by_their_length_first() {
    let app = small().await;
    let mut endless = TcpStream::connect(app.address).await.expect("a connection");
    let head = format!(
        "GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "y".repeat(60_000)
    );
    let _ = endless.write_all(head.as_bytes()).await;
    let mut answer = [0; 12];
    endless.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 431");
    let long = "a-".repeat(4_000);
    let plans = app.get("/v1/plans").header("accept-language", &long);
    plans.send().await.assert_status(200);
    let locale = format!("/v1/plans?locale={long}");
    app.get(&locale)
        .send()
        .await
        .assert_problem(422, "validation_failed");
}

#[tokio::test]
async fn an_order_of_thousands_of_lines_is_told_so_in_one_sentence() {
    let app = TestApp::with()
        .setting("DUES__PLANS__REFRESH_SECONDS", 0)
        .start()
        .await;
    let price = "/v1/prices?lookup_keys[]=credits_50";
    let price = app.sandbox.stripe(price).await["data"][0]["id"].clone();
    let path = format!("/v1/prices/{}", price.as_str().expect("an id"));
    app.at_stripe(Method::POST, &path, &[("active", "false")])
        .await;
    app.until("it is off sale", async || {
        let plans = app.get("/v1/plans").send().await.text;
        (!plans.contains("credits-50")).then_some(())
    })
    .await;
    for plan in ["share", "credits-50"] {
        let body = json!({"lines": vec![json!({"plan": plan}); 10_000]});
        let refused = app.order(&app.member("alice"), body).send().await;
        let refused = refused.assert_problem(422, "validation_failed");
        assert!(refused.text.len() < 1_000, "{} bytes", refused.text.len());
        refused.assert_field("lines", "out_of_range");
    }
}

#[tokio::test]
async fn one_member_has_few_calls_to_stripe_under_way_and_others_theirs() {
    let app = TestApp::start().await;
    let (alice, bob) = (app.member("alice"), app.member("bob"));
    for who in [&alice, &bob] {
        app.buy_with(who, "credits-20", GOOD_CARD).await;
    }
    app.fault(json!({"kind": "stall", "path": "/v1/charges", "times": 100, "stall_ms": 3_000}))
        .await;
    let mut calls = Vec::new();
    for _ in 0..20 {
        calls.push(tokio::spawn(app.get("/v1/statement").bearer(&alice).send()));
    }
    let asked = async || app.service_calls("GET /v1/charges").await;
    app.until("hers have begun", async || {
        (asked().await >= 4).then_some(())
    })
    .await;
    app.open(&bob, "credits-20").await;
    assert_eq!(asked().await, 4, "her others wait for her own");
    app.no_more_faults().await;
    for call in calls {
        call.await.expect("the call ends").assert_status(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_asked_is_answered_when_the_service_is_told_to_stop() {
    let mut app = TestApp::with()
        .setting("DUES__HTTP__DRAIN_SECONDS", 1)
        .start()
        .await;
    let address = app.address;
    let mut waiting = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .expect("a request");
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.expect("an answer");
        waiting.push(stream);
    }
    // All bytes are there before the signal, and nobody has read them yet.
    for stream in &mut waiting {
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .expect("a request");
    }
    let stopped = tokio::spawn(async move { app.stop().await });
    let mut answered = 0;
    for mut stream in waiting {
        let mut rest = String::new();
        let _ = stream.read_to_string(&mut rest).await;
        answered += usize::from(rest.contains("HTTP/1.1 "));
    }
    assert_eq!(answered, 64);
    // While it drains it takes new ones, and says that it wants none.
    tokio::time::timeout(Duration::from_secs(10), stopped)
        .await
        .expect("it ends")
        .expect("in order");
}

#[tokio::test]
async fn invented_keys_take_no_place_while_the_issuer_is_silent() {
    // It takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let issuer = silent.local_addr().expect("a bound port has an address");
    let app = TestApp::with()
        .setting("DUES__HTTP__MAX_CONCURRENCY", 16)
        .setting("DUES__AUTH__HS256_SECRET", "")
        .setting("DUES__AUTH__JWKS_URL", format!("http://{issuer}/keys"))
        .start()
        .await;
    let token =
        SigningKey::es256("invented").sign(&json!({"sub": "mallory", "exp": 4_000_000_000_u64}));
    let strangers: Vec<JoinHandle<()>> = (0..40)
        .map(|_| {
            let call = app.request(Method::GET, "/v1/entitlements").bearer(&token);
            tokio::spawn(async move { drop(call.send().await) })
        })
        .collect();
    // All of them wait for the keys, and one more is told nothing else than that they can't be had.
    let late = app.request(Method::GET, "/v1/subscriptions").bearer(&token);
    let late = tokio::spawn(async move { late.send().await });
    let seen = share(20, async || {
        app.get("/v1/plans").send().await.status.is_success()
    })
    .await;
    assert_eq!(seen, 20);
    late.await
        .expect("the call ends")
        .assert_problem(503, "auth_keys_unavailable");
    for stranger in strangers {
        stranger.abort();
    }
}

#[tokio::test]
async fn orders_beyond_a_member_s_rate_cost_no_call_and_others_order_on() {
    let app = TestApp::with()
        .setting("DUES__HTTP__MEMBER_REQUESTS_PER_MINUTE", 6)
        .start()
        .await;
    let (alice, bob) = (app.member("alice"), app.member("bob"));
    let mut refused = 0;
    for number in 0..30 {
        let plan = ["share", "credits-20"][number % 2];
        let answer = app.order(&alice, json!({"plan": plan})).send().await;
        refused += usize::from(answer.status == 429);
    }
    assert!(refused >= 23, "{refused}");
    let calls = app.service_calls_but_events().await;
    let late = app.order(&alice, json!({"plan": "share"})).send().await;
    let late = late.assert_problem(429, "too_many_requests");
    assert!(late.header("retry-after").parse::<u32>().is_ok());
    assert_eq!(app.service_calls_but_events().await, calls);
    app.order(&bob, json!({"plan": "share"}))
        .send()
        .await
        .assert_status(201);
    app.get("/v1/subscriptions")
        .bearer(&alice)
        .send()
        .await
        .assert_status(200);
}

#[tokio::test]
async fn returns_that_come_together_are_one_question() {
    let app = TestApp::start().await;
    let purchase = app.open(&app.member("alice"), "membership-annual").await;
    let path = format!("/checkout/success?session_id={}", purchase.session);
    app.fault(
        json!({"kind": "stall", "path": "/v1/checkout/sessions/*", "times": 1000, "stall_ms": 300}),
    )
    .await;
    let calls = app.service_calls("GET /v1/checkout/sessions/").await;
    for answer in at_once((0..50).map(|_| app.get(&path))).await {
        assert!(
            answer
                .assert_status(303)
                .header("location")
                .contains("code=open")
        );
    }
    let calls = app.service_calls("GET /v1/checkout/sessions/").await - calls;
    assert!((1..=3).contains(&calls), "{calls} calls for fifty returns");
}

#[tokio::test]
async fn checkouts_that_came_to_nothing_are_deleted_with_their_history_and_nothing_else_is() {
    let app = TestApp::with()
        .setting("DUES__WORKER__INTERVAL_MS", 20)
        .start()
        .await;
    app.first_walk_is_over().await;
    let alice = app.member("alice");
    let paid = app.sell("membership-annual", GOOD_CARD).await;
    let refunded = app.sell("share", GOOD_CARD).await;
    app.refund(&app.payment_of(&refunded).await, &[]).await;
    let nothing = app.open(&alice, "credits-20").await;
    app.advance(3 * 3_600).await;
    app.until_status(&nothing.subscription, "ENDED").await;
    app.move_clocks(91 * 86_400).await;
    let database = app.settings.database.url.expose();
    let replica = Replica::start(database, app.sandbox.url(), &HashMap::new()).await;
    app.until("it is gone", async || {
        (app.count("checkouts").await == 2).then_some(())
    })
    .await;
    drop(replica);
    for id in [&paid.subscription, &refunded.subscription] {
        assert!(!app.history(id).await.is_empty());
    }
    assert_eq!(app.count("subscriptions").await, 2);
    let rewriting = sqlx::query("DELETE FROM status_changes")
        .execute(&app.pool)
        .await;
    assert!(rewriting.is_err(), "what was paid keeps its history");
}
