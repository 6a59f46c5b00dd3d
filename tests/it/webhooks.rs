//! What Stripe tells: in any order, any number of times, at the same moment, late, and about others.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::purchase::{FAILING_LATER_CARD, GOOD_CARD, Purchase, at_once};
use crate::harness::{TestApp, WEBHOOK_SECRET, client};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// Everything that a purchase has become.
async fn state(app: &TestApp, id: &str) -> (Vec<String>, Vec<String>, String) {
    let row = app.row(id).await;
    (
        app.history(id).await,
        app.transactions(id).await,
        format!("{} {} {}", row.version, row.status, row.reason),
    )
}

/// A paid membership of which no webhook was delivered yet.
async fn paid_in_silence(app: &TestApp) -> Purchase {
    let alice = app.member("alice");
    app.hold_deliveries().await;
    let purchase = app.open(&alice, "membership-annual").await;
    app.pay(&purchase).await;
    purchase
}

/// The subscription at Stripe of a purchase.
async fn stripe_subscription(app: &TestApp, purchase: &Purchase) -> String {
    let row = app.row(&purchase.subscription).await;
    row.stripe_subscription.expect("it is attached")
}

#[tokio::test]
async fn an_event_that_comes_twice_changes_nothing_the_second_time() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let purchase = app.buy_with(&alice, "membership-annual", GOOD_CARD).await;
    let before = state(&app, &purchase.subscription).await;
    let events = app.count("webhook_events").await;
    for kind in [
        "checkout.session.completed",
        "customer.subscription.created",
        "invoice.paid",
        "invoice.payment_succeeded",
    ] {
        for event in app.events_of(kind).await {
            assert_eq!(app.deliver(&event).await, "duplicate", "{kind}");
        }
    }
    assert_eq!(state(&app, &purchase.subscription).await, before);
    assert_eq!(app.count("webhook_events").await, events);
}

#[tokio::test]
async fn an_event_that_comes_twenty_times_at_once_is_applied_once() {
    let app = TestApp::start().await;
    let purchase = paid_in_silence(&app).await;
    let event = app.events_of("invoice.paid").await.remove(0);
    let answers = at_once((0..20).map(|_| app.delivery(&event))).await;
    let mut outcomes: Vec<String> = Vec::new();
    for answer in answers {
        let body = answer.assert_status(200).json();
        outcomes.push(body["outcome"].as_str().expect("an outcome").to_owned());
    }
    outcomes.sort_unstable();
    assert_eq!(outcomes[0], "applied");
    assert!(
        outcomes[1..].iter().all(|outcome| outcome == "duplicate"),
        "{outcomes:?}"
    );
    assert_eq!(app.count("webhook_events").await, 1);
    assert_eq!(app.transactions(&purchase.subscription).await.len(), 1);
    assert_eq!(app.row(&purchase.subscription).await.status, "ACTIVE");
}

#[tokio::test]
async fn all_events_of_a_purchase_at_once_end_in_one_activation() {
    let app = TestApp::start().await;
    let purchase = paid_in_silence(&app).await;
    let mut events = Vec::new();
    for kind in [
        "checkout.session.completed",
        "customer.subscription.created",
        "invoice.paid",
        "invoice.payment_succeeded",
    ] {
        events.extend(app.events_of(kind).await);
    }
    assert_eq!(events.len(), 4);
    let calls = (0..5).flat_map(|_| events.iter().map(|event| app.delivery(event)));
    for answer in at_once(calls).await {
        answer.assert_status(200);
    }
    app.until("nothing is deferred", async || {
        app.events_in("deferred").await.is_empty().then_some(())
    })
    .await;
    assert_eq!(app.count("webhook_events").await, 4);
    assert_eq!(app.transactions(&purchase.subscription).await.len(), 1);
    let history = app.history(&purchase.subscription).await;
    let activated = history.iter().filter(|change| change.contains(">ACTIVE"));
    assert_eq!(activated.count(), 1, "{history:?}");
}

#[tokio::test]
async fn two_events_that_tell_the_same_change_in_any_order_count_once() {
    for seed in 0..3 {
        let app = TestApp::start().await;
        let alice = app.member("alice");
        app.sandbox
            .post(
                "/_sandbox/chaos",
                json!({"twin_events": true, "shuffle": true, "duplicate": 0.5, "max_delay_ms": 30, "seed": seed}),
            )
            .await;
        let body = json!({"lines": [{"plan": "membership-annual"}, {"plan": "share"}]});
        let purchase = app.open_basket(&alice, body).await;
        app.pay(&purchase).await;
        app.settle().await;
        let lines: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT id::text, status, status_reason FROM subscriptions ORDER BY position",
        )
        .fetch_all(&app.pool)
        .await
        .expect("the lines");
        for (id, status, reason) in lines {
            assert_eq!((status.as_str(), reason.as_str()), ("ACTIVE", "paid"));
            assert_eq!(app.transactions(&id).await.len(), 1);
        }
    }
}

#[tokio::test]
async fn an_event_of_a_type_that_says_nothing_to_us_is_accepted_and_not_kept() {
    let app = TestApp::start().await;
    let purchase = paid_in_silence(&app).await;
    let mut event = app.events_of("invoice.paid").await.remove(0);
    for kind in [
        "invoice.created",
        "invoice.upcoming",
        "a.type.of.the.future",
    ] {
        event["type"] = json!(kind);
        assert_eq!(app.deliver(&event).await, "uninteresting");
    }
    assert_eq!(app.count("webhook_events").await, 0);
    assert_eq!(app.row(&purchase.subscription).await.version, 2);
}

#[tokio::test]
async fn both_secrets_are_good_while_one_replaces_the_other() {
    let app = TestApp::with()
        .setting("DUES__STRIPE__WEBHOOK_SECRETS", "whsec_old,whsec_new")
        .start()
        .await;
    let event = json!({
        "id": "evt_1", "type": "invoice.created", "created": 1, "livemode": false, "data": {"object": {}},
    });
    for (secret, status) in [("whsec_old", 200), ("whsec_new", 200), ("whsec_other", 400)] {
        let delivery = app.delivery_signed_with(secret, &event);
        delivery.send().await.assert_status(status);
    }
}

#[tokio::test]
async fn an_event_that_can_not_be_recorded_is_asked_for_again() {
    let app = TestApp::start().await;
    paid_in_silence(&app).await;
    let event = app.events_of("invoice.paid").await.remove(0);
    app.lose_database().await;
    app.delivery(&event)
        .send()
        .await
        .assert_problem(503, "unavailable");
}

#[tokio::test]
async fn an_unpaid_session_ends_by_stripes_clock() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let purchase = app.open(&alice, "membership-annual").await;
    app.advance(119 * 60).await;
    assert_eq!(
        app.row(&purchase.subscription).await.status,
        "PENDING_ACTIVATION"
    );
    app.advance(2 * 60).await;
    let row = app.row(&purchase.subscription).await;
    assert_eq!(
        (row.status.as_str(), row.reason.as_str()),
        ("ENDED", "checkout_expired")
    );
    assert_eq!(
        app.history(&purchase.subscription).await[1..],
        ["PENDING_ACTIVATION>ENDED checkout_expired webhook"]
    );
    // She starts again.
    app.open(&app.member("alice"), "membership-annual").await;
}

#[tokio::test]
async fn our_own_clock_alone_ends_no_session() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let purchase = app.open(&alice, "share").await;
    app.clock.set_offset(3 * HOUR);
    let line = app
        .subscription(&app.member("alice"), &purchase.subscription)
        .await;
    assert_eq!(line["status"], "PENDING_ACTIVATION");
    app.pay(&purchase).await;
    app.deliveries_settle().await;
    assert_eq!(app.row(&purchase.subscription).await.status, "ACTIVE");
}

#[tokio::test]
async fn a_renewal_adds_one_payment_to_the_recurring_line_and_moves_its_period() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let body = json!({"lines": [{"plan": "membership-annual"}, {"plan": "share"}]});
    let opened = app
        .order(&alice, body)
        .send()
        .await
        .assert_status(201)
        .json();
    let purchase = app.purchase(&opened).await;
    app.pay(&purchase).await;
    app.settle().await;
    let share = opened["subscriptions"][1]["id"].as_str().expect("an id");
    let end = || {
        app.value(
            "subscriptions",
            "current_period_end",
            &purchase.subscription,
        )
    };
    let first_end = end().await.expect("a period");
    let activated = app
        .value("subscriptions", "first_paid_at", &purchase.subscription)
        .await;

    app.advance(366 * DAY).await;
    let money = app.transactions(&purchase.subscription).await;
    assert_eq!(money.len(), 2, "{money:?}");
    assert!(
        money.iter().all(|row| row.starts_with("payment in_")),
        "{money:?}"
    );
    assert_eq!(app.transactions(share).await.len(), 1);
    assert!(end().await.expect("a period") > first_end);
    let row = app.row(&purchase.subscription).await;
    assert_eq!(
        (row.status.as_str(), row.reason.as_str()),
        ("ACTIVE", "paid")
    );
    assert_eq!(
        app.value("subscriptions", "first_paid_at", &purchase.subscription)
            .await,
        activated,
        "the first payment stays the first"
    );
    assert_eq!(app.row(share).await.status, "ACTIVE");
}

#[tokio::test]
async fn a_failed_renewal_is_retried_and_told_attempt_by_attempt() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let purchase = app
        .buy_with(&alice, "membership-monthly", FAILING_LATER_CARD)
        .await;
    assert_eq!(app.row(&purchase.subscription).await.status, "ACTIVE");
    app.advance(31 * DAY + 2 * HOUR).await;
    let row = app.row(&purchase.subscription).await;
    assert_eq!(
        (row.status.as_str(), row.reason.as_str()),
        ("ACTIVE", "payment_retrying")
    );
    app.advance(2 * DAY).await;
    let money = app.transactions(&purchase.subscription).await;
    let failed: Vec<&String> = money
        .iter()
        .filter(|row| row.starts_with("payment_failed in_"))
        .collect();
    assert_eq!(failed.len(), 2, "{money:?}");
    assert!(
        failed[0].ends_with("#1") && failed[1].ends_with("#2"),
        "{money:?}"
    );
    assert_eq!(money.len(), 3, "{money:?}");

    // She gives another card; the next attempt pays.
    let subscription = stripe_subscription(&app, &purchase).await;
    let held = app
        .sandbox
        .stripe(&format!("/v1/subscriptions/{subscription}"))
        .await;
    let customer = held["customer"].as_str().expect("an id");
    app.sandbox
        .post(
            &format!("/_sandbox/customers/{customer}/card"),
            json!({"card": GOOD_CARD}),
        )
        .await;
    app.advance(2 * DAY).await;
    let row = app.row(&purchase.subscription).await;
    assert_eq!(
        (row.status.as_str(), row.reason.as_str()),
        ("ACTIVE", "paid")
    );
    let money = app.transactions(&purchase.subscription).await;
    assert_eq!(money.len(), 4, "{money:?}");
}

#[tokio::test]
async fn a_renewal_that_is_never_paid_ends_or_suspends_as_stripe_was_told() {
    for (policy, status, reason) in [
        ("cancel", "ENDED", "ended"),
        ("unpaid", "ON_HOLD", "unpaid"),
        ("past_due", "ACTIVE", "payment_retrying"),
        ("pause", "ON_HOLD", "paused"),
    ] {
        let app = TestApp::start().await;
        let settings = json!({"final_failure": policy, "retry_hours": [24]});
        app.sandbox.post("/_sandbox/settings", settings).await;
        let alice = app.member("alice");
        let purchase = app
            .buy_with(&alice, "membership-monthly", FAILING_LATER_CARD)
            .await;
        app.advance(31 * DAY + 2 * HOUR).await;
        app.advance(2 * DAY).await;
        let row = app.row(&purchase.subscription).await;
        assert_eq!(
            (row.status.as_str(), row.reason.as_str()),
            (status, reason),
            "{policy}"
        );
        let line = app
            .subscription(&app.member("alice"), &purchase.subscription)
            .await;
        assert_eq!(line["entitled"], json!(status == "ACTIVE"), "{policy}");
    }
}

#[tokio::test]
async fn what_stripe_cancels_at_once_is_over() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let purchase = app.buy_with(&alice, "membership-annual", GOOD_CARD).await;
    let subscription = stripe_subscription(&app, &purchase).await;
    app.at_stripe(
        Method::DELETE,
        &format!("/v1/subscriptions/{subscription}"),
        &[],
    )
    .await;
    app.settle().await;
    let row = app.row(&purchase.subscription).await;
    assert_eq!(
        (row.status.as_str(), row.reason.as_str()),
        ("ENDED", "ended")
    );
    let line = app.subscription(&alice, &purchase.subscription).await;
    assert_eq!(line["entitled"], false);
    assert!(line["ended_at"].is_string(), "{line}");
    // She may come back.
    app.open(&alice, "membership-annual").await;
}

#[tokio::test]
async fn what_is_cancelled_for_the_periods_end_is_hers_until_then() {
    for (set, unset) in [
        (
            ("cancel_at_period_end", "true"),
            ("cancel_at_period_end", "false"),
        ),
        (("cancel_at", "max_period_end"), ("cancel_at", "")),
    ] {
        let app = TestApp::start().await;
        let alice = app.member("alice");
        let purchase = app.buy_with(&alice, "membership-annual", GOOD_CARD).await;
        let path = format!(
            "/v1/subscriptions/{}",
            stripe_subscription(&app, &purchase).await
        );
        let status = || async { app.row(&purchase.subscription).await.status };
        app.advance(10).await;
        app.at_stripe(Method::POST, &path, &[set]).await;
        app.settle().await;
        assert_eq!(status().await, "CANCELLED", "{set:?}");
        let line = app.subscription(&alice, &purchase.subscription).await;
        assert_eq!(line["entitled"], true, "{set:?}");

        app.advance(10).await;
        app.at_stripe(Method::POST, &path, &[unset]).await;
        app.settle().await;
        assert_eq!(status().await, "ACTIVE", "{unset:?}");

        app.advance(10).await;
        app.at_stripe(Method::POST, &path, &[set]).await;
        app.advance(364 * DAY).await;
        let alice = app.member("alice");
        assert_eq!(status().await, "CANCELLED", "{set:?}");
        let line = app.subscription(&alice, &purchase.subscription).await;
        assert_eq!(line["entitled"], true, "{set:?}");
        app.advance(2 * DAY).await;
        assert_eq!(status().await, "ENDED", "{set:?}");
        let entitlements = app.get("/v1/entitlements").bearer(&app.member("alice"));
        let entitlements = entitlements.send().await.assert_status(200).json();
        assert_eq!(entitlements["membership"]["entitled"], false, "{set:?}");
        assert_eq!(app.transactions(&purchase.subscription).await.len(), 1);
    }
}

#[tokio::test]
async fn an_old_snapshot_does_not_undo_a_newer_one() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let purchase = app.buy_with(&alice, "membership-annual", GOOD_CARD).await;
    let path = format!(
        "/v1/subscriptions/{}",
        stripe_subscription(&app, &purchase).await
    );
    app.hold_deliveries().await;
    for flag in ["true", "false", "true", "false"] {
        app.advance(10).await;
        app.at_stripe(Method::POST, &path, &[("cancel_at_period_end", flag)])
            .await;
    }
    let reads = app.calls("GET /v1/subscriptions/").await.len();
    app.release_deliveries(json!({"order": "reverse"})).await;
    app.settle().await;
    let row = app.row(&purchase.subscription).await;
    assert_eq!(
        (row.status.as_str(), row.reason.as_str()),
        ("ACTIVE", "paid")
    );
    let history = app.history(&purchase.subscription).await;
    assert!(
        history.iter().all(|change| !change.contains("CANCELLED")),
        "{history:?}"
    );
    assert_eq!(
        app.calls("GET /v1/subscriptions/").await.len(),
        reads,
        "their order was plain from their times"
    );
}

#[tokio::test]
async fn a_snapshot_of_the_same_second_is_settled_by_reading_stripe() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let purchase = app.buy_with(&alice, "membership-annual", GOOD_CARD).await;
    app.advance(10).await;
    let path = format!(
        "/v1/subscriptions/{}",
        stripe_subscription(&app, &purchase).await
    );
    // The worker can't ask yet, so that what is deferred can be seen.
    app.fault(
        json!({"kind": "error_500", "method": "GET", "path": "/v1/subscriptions/*", "times": 1000}),
    )
    .await;
    app.hold_deliveries().await;
    for flag in ["true", "false", "true"] {
        app.at_stripe(Method::POST, &path, &[("cancel_at_period_end", flag)])
            .await;
    }
    app.release_deliveries(json!({"order": "reverse"})).await;
    let row = app.row(&purchase.subscription).await;
    assert_eq!(row.status, "CANCELLED", "the first to arrive is applied");
    assert_eq!(
        app.events_in("deferred").await,
        ["customer.subscription.updated"],
        "the one that says otherwise has to wait"
    );
    app.until("the worker has tried", async || {
        let (error,): (Option<String>,) =
            sqlx::query_as("SELECT last_error FROM webhook_events WHERE state = 'deferred'")
                .fetch_one(&app.pool)
                .await
                .expect("it is deferred");
        error
    })
    .await;
    app.no_more_faults().await;
    app.advance(HOUR).await;
    assert_eq!(app.events_in("deferred").await, Vec::<String>::new());
    let row = app.row(&purchase.subscription).await;
    assert_eq!(
        (row.status.as_str(), row.reason.as_str()),
        ("CANCELLED", "cancel_scheduled")
    );
}

#[tokio::test]
async fn an_event_that_can_never_be_settled_is_left_to_a_person() {
    let app = TestApp::with()
        .setting("DUES__WORKER__MAX_ATTEMPTS", 1)
        .setting("DUES__STRIPE__MAX_RETRIES", 0)
        .start()
        .await;
    let alice = app.member("alice");
    let purchase = app.buy_with(&alice, "membership-annual", GOOD_CARD).await;
    app.advance(10).await;
    app.fault(
        json!({"kind": "garbage", "method": "GET", "path": "/v1/subscriptions/*", "times": 1000}),
    )
    .await;
    let subscription = stripe_subscription(&app, &purchase).await;
    let path = format!("/v1/subscriptions/{subscription}");
    for flag in ["true", "false"] {
        app.at_stripe(Method::POST, &path, &[("cancel_at_period_end", flag)])
            .await;
    }
    app.settle().await;
    assert_eq!(
        app.events_in("failed").await,
        ["customer.subscription.updated"]
    );
}

#[tokio::test]
async fn an_event_that_claims_a_purchase_wrongly_is_flagged_and_changes_nothing() {
    let app = TestApp::start().await;
    app.hold_deliveries().await;
    let hers = app.open(&app.member("alice"), "membership-annual").await;
    let his = app.open(&app.member("bob"), "share").await;
    app.pay(&hers).await;
    let completed = app.events_of("checkout.session.completed").await.remove(0);
    let paid = app.events_of("invoice.paid").await.remove(0);
    let before = state(&app, &hers.subscription).await;
    let nobodys = "01890000-0000-7000-8000-000000000000";
    let both = format!("{},{}", hers.subscription, his.subscription);
    let cases = [
        (&completed, json!({"id": "cs_other"}), "another session"),
        (
            &completed,
            json!({"customer": "cus_other"}),
            "another customer",
        ),
        (&completed, json!({"mode": "payment"}), "mode"),
        (
            &completed,
            json!({"metadata": {"dues_subscription_id": both}}),
            "more than one checkout",
        ),
        (
            &completed,
            json!({"metadata": {"dues_subscription_id": nobodys}}),
            "lines that are not in the checkout",
        ),
        (
            &completed,
            json!({"client_reference_id": his.checkout}),
            "more than one checkout",
        ),
        (&paid, json!({"customer": "cus_other"}), "another customer"),
        (
            &paid,
            json!({"parent": {"subscription_details": {"metadata": {"dues_subscription_id": both}}}}),
            "more than one checkout",
        ),
        (
            &paid,
            json!({"parent": {"subscription_details": {"metadata": {"dues_subscription_id": his.subscription}}}}),
            "no line of the checkout is recurring",
        ),
    ];
    for (number, (event, patch, cause)) in cases.iter().enumerate() {
        let mut forged = (*event).clone();
        forged["id"] = json!(format!("evt_forged_{number}"));
        merge(&mut forged["data"]["object"], patch);
        assert_eq!(app.deliver(&forged).await, "flagged", "{patch}");
        let flags = app.flags().await;
        assert_eq!(flags.len(), number + 1);
        let flag = flags.last().expect("a flag");
        assert!(flag.contains(cause), "{patch}: {flag}");
        assert_eq!(app.deliver(&forged).await, "duplicate", "{patch}");
    }
    assert_eq!(state(&app, &hers.subscription).await, before);
    assert_eq!(app.row(&his.subscription).await.version, 2);

    // What is true comes through all the same.
    app.release_deliveries(json!({})).await;
    app.settle().await;
    assert_eq!(app.row(&hers.subscription).await.status, "ACTIVE");
    let mut other = app
        .events_of("customer.subscription.created")
        .await
        .remove(0);
    other["id"] = json!("evt_forged_other");
    other["data"]["object"]["id"] = json!("sub_other");
    assert_eq!(app.deliver(&other).await, "flagged");
    let flags = app.flags().await;
    assert!(
        flags
            .last()
            .is_some_and(|flag| flag.contains("another subscription")),
        "{flags:?}"
    );
}

/// Replaces fields, hash by hash.
fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

#[tokio::test]
async fn metadata_alone_binds_only_what_is_free_and_of_the_same_customer() {
    let app = TestApp::start().await;
    app.hold_deliveries().await;
    let alice = app.member("alice");
    let hers = app.open(&alice, "membership-annual").await;
    app.pay(&hers).await;
    let completed = app.events_of("checkout.session.completed").await.remove(0);
    // As if the answer with the session's id had been lost.
    sqlx::query("UPDATE checkouts SET stripe_session_id = NULL, stripe_customer_id = NULL")
        .execute(&app.pool)
        .await
        .expect("the row is free");
    let mut foreign = completed.clone();
    for (number, patch) in [
        json!({"id": "cs_other", "customer": "cus_other"}),
        json!({"id": "cs_other", "customer": null}),
    ]
    .iter()
    .enumerate()
    {
        foreign["id"] = json!(format!("evt_forged_{number}"));
        merge(&mut foreign["data"]["object"], patch);
        assert_eq!(app.deliver(&foreign).await, "flagged", "{patch}");
        assert_eq!(app.session_of(&hers.checkout).await, None, "{patch}");
    }
    assert_eq!(app.deliver(&completed).await, "applied");
    assert_eq!(app.session_of(&hers.checkout).await, Some(hers.session));
    assert_eq!(app.row(&hers.subscription).await.status, "ACTIVE");
}

#[tokio::test]
async fn a_fixed_term_begins_with_the_payment_and_ends_by_itself() {
    let plans = plans_file(
        "[[plan]]\ncode = \"month\"\nkind = \"membership\"\nprice = \"credits_20\"\nterm = \"P30D\"\n",
    );
    let app = TestApp::with()
        .setting("DUES__PLANS__FILE", plans.0.display())
        .setting("DUES__WORKER__INTERVAL_MS", 50)
        .start()
        .await;
    let alice = app.member("alice");
    let purchase = app.buy_with(&alice, "month", GOOD_CARD).await;
    let line = app.subscription(&alice, &purchase.subscription).await;
    assert_eq!(line["entitled"], true);
    assert!(line["term_ends_at"].is_string(), "{line}");
    app.order(&alice, json!({"plan": "month"}))
        .send()
        .await
        .assert_problem(409, "already_held");
    app.advance(29 * DAY).await;
    assert_eq!(app.row(&purchase.subscription).await.status, "ACTIVE");
    app.advance(DAY + HOUR).await;
    let row = app.until_status(&purchase.subscription, "ENDED").await;
    assert_eq!(row.reason, "term_over");
    assert_eq!(
        app.history(&purchase.subscription)
            .await
            .last()
            .expect("a change"),
        "ACTIVE>ENDED term_over sweep"
    );
    app.open(&app.member("alice"), "month").await;
}

#[tokio::test]
async fn a_plan_may_name_its_price_by_id() {
    let first = TestApp::start().await;
    let prices = first.sandbox.stripe("/v1/prices?lookup_keys[]=share").await;
    let price = prices["data"][0]["id"].as_str().expect("an id").to_owned();
    let plans = plans_file(&format!(
        "[[plan]]\ncode = \"by-id\"\nkind = \"share\"\nprice = \"{price}\"\n"
    ));
    // Another service at the same Stripe.
    let mut settings = first.settings.clone();
    settings.plans.file.clone_from(&plans.0);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("a bound port");
    let second = dues::app::App::build_on(listener, settings)
        .await
        .expect("the price is found");
    let running = tokio::spawn(second.run(std::future::pending()));
    let plans = client()
        .get(format!("http://{address}/v1/plans"))
        .send()
        .await
        .expect("an answer");
    let plans: Value = plans.json().await.expect("the plans");
    assert_eq!(plans["data"].as_array().map(Vec::len), Some(1), "{plans}");
    assert_eq!(plans["data"][0]["price"]["unit_amount"], 2500, "{plans}");
    running.abort();
    assert_eq!(
        first.calls(&format!("GET /v1/prices/{price}")).await.len(),
        1
    );
}

/// A plans file of its own, deleted with the test.
struct PlansFile(std::path::PathBuf);

impl Drop for PlansFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn plans_file(text: &str) -> PlansFile {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("dues-plans-{}-{number}.toml", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text).expect("a file can be written");
    PlansFile(path)
}

#[tokio::test]
async fn an_event_of_a_connected_account_is_somebody_else_s_and_costs_no_call() {
    let app = TestApp::start().await;
    app.first_walk_is_over().await;
    let calls = app.service_calls_but_events().await;
    let event = json!({
        "id": "evt_elsewhere", "object": "event", "type": "charge.refunded", "livemode": false, "account": "acct_1artist",
        "created": app.clock.now().unix_timestamp(), "api_version": "2026-10-28.endive",
        "data": {"object": {"id": "ch_1", "object": "charge", "payment_intent": "pi_theirs", "amount_refunded": 5, "refunded": true}},
    });
    assert_eq!(app.deliver(&event).await, "foreign");
    // Connected accounts' events come to one endpoint in both modes.
    let mut live = event.clone();
    live["livemode"] = json!(true);
    assert_eq!(app.deliver(&live).await, "foreign");
    assert_eq!(
        app.count("webhook_events WHERE id = 'evt_elsewhere'").await,
        0
    );
    assert_eq!(app.service_calls_but_events().await, calls);
}

#[tokio::test]
async fn a_payment_that_stripe_does_not_know_is_an_answer_and_no_trouble() {
    let app = TestApp::start().await;
    let event = json!({
        "id": "evt_nobody", "object": "event", "type": "charge.refunded", "livemode": false, "account": null,
        "created": app.clock.now().unix_timestamp(), "api_version": "2026-10-28.endive",
        "data": {"object": {"id": "ch_1", "object": "charge", "payment_intent": "pi_nobody", "amount_refunded": 5, "refunded": true}},
    });
    let calls = app.service_calls_but_events().await;
    app.deliver(&event).await;
    app.settle().await;
    assert_eq!(app.events_in("ignored").await, ["charge.refunded"]);
    assert!(app.service_calls_but_events().await - calls <= 2);
}

#[tokio::test]
async fn an_endpoint_that_was_registered_with_a_slash_at_its_end_gets_its_events() {
    let app = TestApp::start().await;
    let purchase = paid_in_silence(&app).await;
    let event = app.events_of("checkout.session.completed").await.pop();
    let event = event.expect("it was made");
    let signed = app.delivery_to("/webhooks/stripe/", WEBHOOK_SECRET, &event);
    signed.send().await.assert_status(200);
    app.until_status(&purchase.subscription, "ACTIVE").await;
}

#[tokio::test]
async fn a_thin_event_is_refused_with_what_to_do_instead() {
    let app = TestApp::start().await;
    let thin = json!({
        "id": "evt_thin", "object": "v2.core.event", "type": "v1.invoice.paid", "created": "2026-11-20T12:00:00.000Z",
        "livemode": false, "related_object": {"id": "in_1", "type": "invoice", "url": "/v1/invoices/in_1"},
    });
    let refused = app
        .delivery(&thin)
        .send()
        .await
        .assert_problem(400, "thin_event");
    assert!(refused.text.contains("snapshot"), "{}", refused.text);
}

#[tokio::test]
async fn a_name_that_no_database_holds_is_refused_for_good() {
    let app = TestApp::start().await;
    let now = app.clock.now().unix_timestamp();
    let event = |id: &str, payment: &str| {
        json!({
            "id": id, "object": "event", "type": "charge.refunded", "livemode": false, "created": now,
            "data": {"object": {"id": "ch_1", "object": "charge", "payment_intent": payment, "refunded": true}},
        })
    };
    for event in [event("evt_\u{0}", "pi_1"), event("evt_1", "pi_\u{0}")] {
        app.delivery(&event)
            .send()
            .await
            .assert_problem(400, "malformed_event");
    }
    // Nor does it hurt its neighbours.
    app.sell("membership-annual", GOOD_CARD).await;
}
