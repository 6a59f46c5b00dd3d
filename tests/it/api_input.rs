//! Orders that are nearly right, and lists that are read page by page. What is plainly wrong is in `bad_input`.

use serde_json::{Value, json};

use crate::harness::purchase::GOOD_CARD;
use crate::harness::{Answer, TestApp};

async fn order(app: &TestApp, body: Value) -> Answer {
    let alice = app.member("alice");
    app.order(&alice, body).send().await
}

async fn page(app: &TestApp, token: &str, path: &str) -> Value {
    let answer = app.get(path).bearer(token).send().await;
    answer.assert_status(200).json()
}

fn texts(page: &Value, key: &str) -> Vec<String> {
    let entries = page["data"].as_array().expect("a list").iter();
    entries
        .map(|entry| entry[key].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn a_basket_that_breaks_a_rule_names_the_line_and_the_field() {
    let app = TestApp::start().await;
    let line = |plan: &str| json!({"plan": plan});
    let cases = [
        (
            json!({"plan": "share", "lines": [line("share")]}),
            "lines",
            "conflict",
        ),
        (json!({}), "plan", "required"),
        (
            json!({"lines": vec![line("share"); 11]}),
            "lines",
            "out_of_range",
        ),
        (
            json!({"lines": [line("share"), line("share")]}),
            "lines[1].plan",
            "duplicate",
        ),
        (
            json!({"lines": [line("membership-annual"), line("membership-monthly")]}),
            "lines[1].plan",
            "second_recurring",
        ),
        (
            json!({"lines": [{"plan": "membership-annual", "quantity": 2}]}),
            "lines[0].quantity",
            "out_of_range",
        ),
        (
            json!({"lines": [line("share"), line("donation")]}),
            "lines[1].amount",
            "required",
        ),
        (json!({"plan": "donation"}), "amount", "required"),
        (
            json!({"lines": [{"plan": "donation", "amount": 199}]}),
            "lines[0].amount",
            "out_of_range",
        ),
        (
            json!({"lines": [{"plan": "donation", "amount": 50_001}]}),
            "lines[0].amount",
            "out_of_range",
        ),
        (
            json!({"lines": [{"plan": "donation", "amount": -200}]}),
            "lines[0].amount",
            "out_of_range",
        ),
        (
            json!({"lines": [{"plan": "share", "amount": 2500}]}),
            "lines[0].amount",
            "not_allowed",
        ),
        (
            json!({"plan": "share", "locale": "klingon"}),
            "locale",
            "unknown_locale",
        ),
        (json!({"plan": ""}), "plan", "unknown_plan"),
        (json!({"plan": "SHARE"}), "plan", "unknown_plan"),
        (json!({"plan": "share\u{0}"}), "plan", "unknown_plan"),
    ];
    for (body, field, code) in cases {
        order(&app, body.clone())
            .await
            .assert_problem(422, "validation_failed")
            .assert_field(field, code);
    }
    // All that is wrong is named at once.
    let answer = order(
        &app,
        json!({"lines": [line("nothing"), {"plan": "share", "quantity": 0, "amount": 1}], "locale": "x"}),
    )
    .await
    .assert_problem(422, "validation_failed");
    let errors = answer.json()["errors"].as_array().map(Vec::len);
    assert_eq!(errors, Some(4), "{}", answer.text);
    assert_eq!(app.count("checkouts").await, 0);
    assert!(app.calls("POST ").await.is_empty(), "Stripe was not asked");
}

#[tokio::test]
async fn a_quantity_keeps_to_the_plans_bounds_and_steps() {
    let app = TestApp::with().cooperative().start().await;
    for quantity in [0, 5, 15, 110] {
        let body = json!({"lines": [{"plan": "credits", "quantity": quantity}]});
        let refused = order(&app, body).await;
        let refused = refused
            .assert_problem(422, "validation_failed")
            .assert_field("lines[0].quantity", "out_of_range");
        assert!(refused.text.contains("From 10 to 100 in steps of 10"));
    }
    // Without a number it is the least.
    let opened = order(&app, json!({"plan": "credits"})).await;
    let opened = opened.assert_status(201).json();
    assert_eq!(opened["subscriptions"][0]["quantity"], 10);
    assert_eq!(app.sent_session().await["line_items[0][quantity]"], "10");
}

#[tokio::test]
async fn the_bounds_themselves_are_fine() {
    let app = TestApp::start().await;
    for body in [
        json!({"lines": [{"plan": "donation", "amount": 200}]}),
        json!({"lines": [{"plan": "donation", "amount": 50_000}]}),
        json!({"lines": [{"plan": "share", "quantity": 40}], "locale": "de", "currency": "EUR"}),
    ] {
        order(&app, body).await.assert_status(201);
    }
}

#[tokio::test]
async fn an_idempotency_key_that_is_none_is_refused() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    for key in [String::new(), " ".to_owned(), "k".repeat(256)] {
        app.order(&alice, json!({"plan": "share"}))
            .header("idempotency-key", &key)
            .send()
            .await
            .assert_problem(400, "bad_idempotency_key");
    }
    app.order(&alice, json!({"plan": "share"}))
        .header("idempotency-key", "a")
        .header("idempotency-key", "b")
        .send()
        .await
        .assert_problem(400, "bad_idempotency_key");
    assert_eq!(app.count("checkouts").await, 0);
    app.order(&alice, json!({"plan": "share"}))
        .header("idempotency-key", "k".repeat(255))
        .send()
        .await
        .assert_status(201);
}

#[tokio::test]
async fn a_member_sees_her_own_alone() {
    let app = TestApp::start().await;
    let (alice, bob) = (app.member("alice"), app.member("bob"));
    let purchase = app.buy_with(&alice, "membership-annual", GOOD_CARD).await;
    let path = format!("/v1/subscriptions/{}", purchase.subscription);
    for path in [
        path.clone(),
        format!("{path}/transactions"),
        format!("{path}/changes"),
    ] {
        app.get(&path)
            .bearer(&bob)
            .send()
            .await
            .assert_problem(404, "not_found");
        app.get(&path)
            .bearer(&alice)
            .send()
            .await
            .assert_status(200);
        app.get(&path)
            .send()
            .await
            .assert_problem(401, "unauthorized");
    }
    assert_eq!(
        page(&app, &bob, "/v1/subscriptions").await,
        json!({"data": [], "next_cursor": null})
    );
    let entitlements = page(&app, &bob, "/v1/entitlements").await;
    assert_eq!(entitlements["membership"]["entitled"], false);
}

#[tokio::test]
async fn a_list_is_read_page_by_page_newest_first() {
    let app = TestApp::with()
        .setting("DUES__CHECKOUT__MAX_OPEN", 20)
        .start()
        .await;
    let alice = app.member("alice");
    let mut expected = Vec::new();
    for (plan, quantity) in [
        ("share", 1),
        ("credits-20", 1),
        ("share", 2),
        ("credits-50", 1),
        ("share", 3),
    ] {
        let basket = json!({"lines": [{"plan": plan, "quantity": quantity}]});
        expected.push(app.open_basket(&alice, basket).await.subscription);
    }
    expected.reverse();
    let all = page(&app, &alice, "/v1/subscriptions").await;
    assert_eq!(texts(&all, "id"), expected);
    assert_eq!(all["next_cursor"], Value::Null);

    let mut read = Vec::new();
    let mut path = "/v1/subscriptions?limit=2".to_owned();
    let mut pages = 0;
    loop {
        let part = page(&app, &alice, &path).await;
        read.extend(texts(&part, "id"));
        pages += 1;
        let Some(cursor) = part["next_cursor"].as_str() else {
            break;
        };
        path = format!("/v1/subscriptions?limit=2&cursor={cursor}");
    }
    assert_eq!((read, pages), (expected, 3));
    // A page that is exactly full is the last.
    let full = page(&app, &alice, "/v1/subscriptions?limit=5").await;
    assert_eq!(full["next_cursor"], Value::Null);
}

#[tokio::test]
async fn a_list_can_be_narrowed_by_kind_and_status() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let share = app.buy_with(&alice, "share", GOOD_CARD).await.subscription;
    let open = app.open(&alice, "share").await.subscription;
    let credits = app.open(&alice, "credits-20").await.subscription;
    for (query, expected) in [
        ("kind=share", vec![&open, &share]),
        ("kind=top_up", vec![&credits]),
        ("kind=membership", vec![]),
        ("status=ACTIVE", vec![&share]),
        ("status=PENDING_ACTIVATION", vec![&credits, &open]),
        ("kind=share&status=PENDING_ACTIVATION", vec![&open]),
        ("kind=share&limit=1", vec![&open]),
    ] {
        let found = page(&app, &alice, &format!("/v1/subscriptions?{query}")).await;
        assert_eq!(
            texts(&found, "id").iter().collect::<Vec<_>>(),
            expected,
            "{query}"
        );
    }
}

#[tokio::test]
async fn payments_and_changes_are_told_newest_first_and_page_by_page() {
    const DAY: i64 = 86_400;
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let purchase = app.buy_with(&alice, "membership-monthly", GOOD_CARD).await;
    app.advance(32 * DAY).await;
    app.advance(32 * DAY).await;
    let alice = app.member("alice");
    let path = format!("/v1/subscriptions/{}/transactions", purchase.subscription);
    let all = page(&app, &alice, &path).await;
    assert_eq!(texts(&all, "kind"), ["payment"; 3]);
    let mut times = texts(&all, "occurred_at");
    times.reverse();
    assert!(times.is_sorted(), "{times:?}");
    for entry in all["data"].as_array().expect("a list") {
        assert!(
            entry.get("amount").is_none() && entry.get("stripe_reference").is_some(),
            "{entry}"
        );
    }
    let mut read = Vec::new();
    let mut next = format!("{path}?limit=1");
    loop {
        let part = page(&app, &alice, &next).await;
        read.extend(texts(&part, "id"));
        match part["next_cursor"].as_str() {
            Some(cursor) => next = format!("{path}?limit=1&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(read, texts(&all, "id"));

    let path = format!("/v1/subscriptions/{}/changes", purchase.subscription);
    let changes = page(&app, &alice, &path).await;
    let (from, to) = (texts(&changes, "from"), texts(&changes, "to"));
    assert_eq!(to.first().map(String::as_str), Some("ACTIVE"));
    assert_eq!(to.last().map(String::as_str), Some("PENDING_ACTIVATION"));
    // A chain: each begins where the one before it ended.
    assert_eq!(from[..from.len() - 1], to[1..]);
    assert_eq!(changes["data"][0]["cause"], "webhook");
    let first = page(&app, &alice, &format!("{path}?limit=1")).await;
    let cursor = first["next_cursor"].as_str().expect("there are more");
    let rest = page(&app, &alice, &format!("{path}?cursor={cursor}")).await;
    assert_eq!(rest["data"].as_array().map(Vec::len), Some(to.len() - 1));
    for query in ["cursor=nonsense", "limit=0", "limit=101", "colour=red"] {
        app.get(&format!("{path}?{query}"))
            .bearer(&alice)
            .send()
            .await
            .assert_problem(422, "validation_failed");
    }
}

#[tokio::test]
async fn an_object_in_place_of_a_word_names_its_field() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    for (path, body, field) in [
        ("/v1/portal-sessions", json!({"flow": {}}), "flow"),
        (
            "/v1/subscriptions/01890000-0000-7000-8000-000000000000/cancel",
            json!({"at": {}}),
            "at",
        ),
    ] {
        let refused = app.post(path).bearer(&alice).json(body).send().await;
        refused
            .assert_problem(422, "validation_failed")
            .assert_field(field, "invalid");
    }
}

#[tokio::test]
async fn the_cursor_of_a_history_tells_nothing_of_others() {
    let app = TestApp::start().await;
    for other in 0..5 {
        app.open(&app.member(&format!("other-{other}")), "share")
            .await;
    }
    let purchase = app.buy_with(&app.member("alice"), "share", GOOD_CARD).await;
    let path = format!("/v1/subscriptions/{}/changes", purchase.subscription);
    let read = async |query: &str| {
        let call = app
            .get(&format!("{path}{query}"))
            .bearer(&app.member("alice"));
        call.send().await.assert_status(200).json()
    };
    let all = read("").await["data"].as_array().cloned().expect("a list");
    assert!(all.len() >= 2, "{all:?}");
    let first = read("?limit=1").await;
    assert_eq!(
        first["next_cursor"],
        all.len().to_string(),
        "its own number"
    );
    let second = read(&format!("?limit=1&cursor={}", all.len())).await;
    assert_eq!(second["data"][0], all[1]);
}
