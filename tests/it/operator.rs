//! The operator's commands as the program runs them, and the worker whose work they look at.

use std::collections::HashMap;
use std::process::{Output, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokio::process::Command;

use crate::harness::lifecycle::{BAD_ACCOUNT, MONTH};
use crate::harness::own_affairs::Plans;
use crate::harness::purchase::{FAILING_LATER_CARD, GOOD_CARD, Purchase};
use crate::harness::replica::Replica;
use crate::harness::{TestApp, in_project, usual_variables};

const SUBSCRIPTIONS: &str = "/v1/subscriptions/*";

/// A service whose first walk through Stripe's events is over and whose worker is quick, patient with nobody.
async fn service() -> TestApp {
    let app = TestApp::with()
        .setting("DUES__WORKER__INTERVAL_MS", 20)
        .setting("DUES__WORKER__MAX_ATTEMPTS", 2)
        .setting("DUES__STRIPE__MAX_RETRIES", 0)
        .setting("DUES__STRIPE__REQUESTS_PER_SECOND", 1000)
        .start()
        .await;
    app.first_walk_is_over().await;
    app
}

/// The settings of the service, for a program beside it.
fn variables(app: &TestApp) -> HashMap<String, String> {
    let url = app.settings.database.url.expose();
    let mut variables = usual_variables(url, app.address, app.sandbox.url());
    let more = [
        ("DUES_ENV", "development"),
        ("DUES__CLOCK__FOLLOW", app.sandbox.url()),
        ("DUES__STRIPE__REQUESTS_PER_SECOND", "1000"),
    ];
    let more = more.map(|(name, value)| (name.to_owned(), value.to_owned()));
    variables.extend(more);
    variables
}

fn program(app: &TestApp, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dues"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables(app))
        .env("DUES_CONFIG_DIR", in_project("tests/no-config"))
        .kill_on_drop(true);
    command
}

/// Runs the program; fails unless it ends well. Returns what it printed.
async fn dues(app: &TestApp, arguments: &[&str]) -> String {
    let output = attempt(app, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

async fn attempt(app: &TestApp, arguments: &[&str]) -> Output {
    let output = program(app, arguments).output().await;
    output.expect("the program runs")
}

async fn dues_json(app: &TestApp, arguments: &[&str]) -> Value {
    let text = dues(app, arguments).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

/// A paid membership of which no webhook has told.
async fn unheard(app: &TestApp, user: &str) -> Purchase {
    app.sandbox
        .post("/_sandbox/chaos", json!({"drop": 1.0}))
        .await;
    let purchase = app.open(&app.member(user), "membership-annual").await;
    app.pay(&purchase).await;
    app.sandbox.post("/_sandbox/chaos", json!({})).await;
    assert_eq!(
        app.row(&purchase.subscription).await.status,
        "PENDING_ACTIVATION"
    );
    purchase
}

/// A membership about which an event waits to be settled, while Stripe can't be asked.
async fn doubtful(app: &TestApp, kind: &str, times: u32) -> Purchase {
    let purchase = app.open(&app.member("alice"), "membership-annual").await;
    app.pay(&purchase).await;
    app.settle().await;
    app.advance(60).await;
    app.fault(json!({"kind": kind, "method": "GET", "path": SUBSCRIPTIONS, "times": times}))
        .await;
    let deferred = sqlx::query(
        "UPDATE webhook_events SET state = 'deferred', next_attempt_at = received_at
          WHERE type = 'customer.subscription.created'",
    );
    deferred.execute(&app.pool).await.expect("one event");
    purchase
}

/// State, attempts and cause of the event that was doubtful.
async fn doubt(app: &TestApp) -> (String, String, i32, Option<String>) {
    sqlx::query_as(
        "SELECT id, state, attempts, last_error FROM webhook_events WHERE type = 'customer.subscription.created'",
    )
    .fetch_one(&app.pool)
    .await
    .expect("one event")
}

#[tokio::test]
async fn what_no_webhook_has_told_is_found_by_reconciling_and_can_be_looked_at() {
    let app = service().await;
    let purchase = unheard(&app, "alice").await;

    let walked = dues_json(&app, &["reconcile", "--json"]).await;
    assert!(walked["applied"].as_u64() >= Some(3), "{walked}");
    app.settle().await;
    assert_eq!(app.row(&purchase.subscription).await.status, "ACTIVE");
    assert_eq!(app.transactions(&purchase.subscription).await.len(), 1);
    let history = app.history(&purchase.subscription).await;
    assert!(history[1].ends_with(" reconcile"), "{history:?}");
    let again = dues(&app, &["reconcile"]).await;
    assert!(again.contains("new to us: 0 applied, 0 left"), "{again}");

    let table = dues(&app, &["events", "list", "--state", "applied"]).await;
    assert!(table.contains("checkout.session.completed"), "{table}");
    let events = dues_json(&app, &["events", "list", "--limit", "2", "--json"]).await;
    assert_eq!(events.as_array().map(Vec::len), Some(2));
    let id = events[0]["id"].as_str().expect("an id");
    let shown = dues_json(&app, &["events", "show", id]).await;
    assert_eq!(shown, events[0]);
    let unknown = attempt(&app, &["events", "show", "evt_unknown"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(said.contains("no event evt_unknown is recorded"), "{said}");
    let replayed = dues(&app, &["events", "replay", id]).await;
    assert!(replayed.starts_with(id), "{replayed}");
    app.settle().await;
    assert_eq!(app.transactions(&purchase.subscription).await.len(), 1);
}

#[tokio::test]
async fn an_event_that_stripe_does_not_know_is_not_replayed_and_not_forgotten() {
    let app = service().await;
    app.sell("credits-20", crate::harness::purchase::GOOD_CARD)
        .await;
    sqlx::query(
        "UPDATE webhook_events SET id = 'evt_gone' WHERE type = 'checkout.session.completed'",
    )
    .execute(&app.pool)
    .await
    .expect("one event");
    let replayed = attempt(&app, &["events", "replay", "evt_gone"]).await;
    assert_eq!(replayed.status.code(), Some(1));
    let said = String::from_utf8_lossy(&replayed.stderr);
    assert!(said.contains("evt_gone can't be replayed"), "{said}");
    dues(&app, &["events", "show", "evt_gone"]).await;
}

#[tokio::test]
async fn a_comparison_finds_drift_both_ways_and_mends_it_when_told_to() {
    let app = service().await;
    let alice = unheard(&app, "alice").await;
    let bob = app.open(&app.member("bob"), "membership-annual").await;
    sqlx::query(
        "UPDATE subscriptions SET status = 'ACTIVE', status_reason = 'paid', first_paid_at = now() WHERE id = $1::uuid",
    )
    .bind(&bob.subscription)
    .execute(&app.pool)
    .await
    .expect("a row edited by hand");
    let fine = app.open(&app.member("carol"), "credits-20").await;
    app.pay(&fine).await;
    app.settle().await;

    let found = dues_json(&app, &["reconcile", "--full", "--json"]).await;
    assert_eq!(found["checkouts"], 3, "{found}");
    let drift = json!([
        {"subscription_id": alice.subscription, "plan": "membership-annual", "direction": "paid_not_active",
         "ours": "PENDING_ACTIVATION", "stripe": "ACTIVE",
         "differs": ["status", "paid_until", "period", "payment"], "mended": false},
        {"subscription_id": bob.subscription, "plan": "membership-annual", "direction": "active_not_paid",
         "ours": "ACTIVE", "stripe": "PENDING_ACTIVATION", "differs": ["status"], "mended": false},
    ]);
    assert_eq!(found["drift"], drift);
    assert_eq!(
        app.row(&alice.subscription).await.status,
        "PENDING_ACTIVATION",
        "it only looked"
    );

    let table = dues(&app, &["reconcile", "--full", "--apply"]).await;
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].starts_with("SUBSCRIPTION"), "{table}");
    assert!(rows[1].starts_with(&alice.subscription) && rows[1].ends_with("yes"));
    assert!(rows[2].starts_with(&bob.subscription) && rows[2].ends_with("yes"));
    assert_eq!(rows[3], "3 checkouts compared, 2 subscriptions differ");
    assert_eq!(app.row(&alice.subscription).await.status, "ACTIVE");
    assert_eq!(app.transactions(&alice.subscription).await.len(), 1);
    assert_eq!(
        app.row(&bob.subscription).await.status,
        "PENDING_ACTIVATION"
    );
    let again = dues_json(&app, &["reconcile", "--full", "--json"]).await;
    assert_eq!(again["drift"], json!([]));
}

#[tokio::test]
async fn a_comparison_finds_a_plan_and_a_quantity_that_stripe_does_not_charge() {
    let app = service().await;
    let alice = app.sell("membership-monthly", GOOD_CARD).await.subscription;
    let price = app.value("subscriptions", "stripe_price_id", &alice).await;
    sqlx::query(
        "UPDATE subscriptions SET plan = 'membership-annual', stripe_price_id = 'price_old', quantity = 3",
    )
    .execute(&app.pool)
    .await
    .expect("a row edited by hand");
    let found = dues_json(&app, &["reconcile", "--full", "--json"]).await;
    let drift = json!([{
        "subscription_id": alice, "plan": "membership-annual", "direction": "other", "ours": "ACTIVE",
        "stripe": "ACTIVE", "stripe_plan": "membership-monthly", "stripe_price": price, "stripe_quantity": 1,
        "differs": ["plan", "price", "quantity"], "mended": false,
    }]);
    assert_eq!(found["drift"], drift);
    let table = dues(&app, &["reconcile", "--full", "--apply"]).await;
    let row = table.lines().nth(1).expect("a row");
    assert!(row.contains("ACTIVE membership-monthly price_"), "{table}");
    assert!(
        row.contains(" x1 ") && row.ends_with("plan price quantity yes"),
        "{table}"
    );
    let line = app.subscription(&app.member("alice"), &alice).await;
    assert_eq!(
        (&line["plan"], &line["quantity"]),
        (&json!("membership-monthly"), &json!(1))
    );
    let again = dues_json(&app, &["reconcile", "--full", "--json"]).await;
    assert_eq!(again["drift"], json!([]));
}

#[tokio::test]
async fn a_comparison_that_is_interrupted_goes_on_where_it_stopped() {
    let app = service().await;
    for buyer in 0..3 {
        app.open(&app.member(&format!("member-{buyer}")), "credits-20")
            .await;
    }
    let path = "/v1/checkout/sessions";
    app.fault(
        json!({"kind": "stall", "method": "GET", "path": path, "times": 1, "stall_ms": 1_500}),
    )
    .await;
    let lists = async |what: &str| {
        let calls = app.calls(what).await.into_iter();
        calls
            .filter(|call| call["path"] == what.trim_start_matches("GET "))
            .count()
    };
    let running = program(&app, &["reconcile", "--full", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    app.until("the subscriptions are compared", async || {
        (lists("GET /v1/subscriptions").await == 1).then_some(())
    })
    .await;
    let pid = running.id().expect("it runs").to_string();
    let kill = Command::new("kill").args(["-INT", &pid]).status().await;
    assert!(kill.expect("kill is there").success());
    let output = running.wait_with_output().await.expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the next run goes on from here"), "{said}");
    let first: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(first["is_whole"], false, "{first}");

    // Another wish is another comparison, and leaves this one's place.
    let rest = dues_json(&app, &["reconcile", "--full", "--json"]).await;
    assert_eq!(rest["is_whole"], true, "{rest}");
    let compared = |report: &Value| report["checkouts"].as_u64().expect("a count");
    assert_eq!(compared(&first) + compared(&rest), 3, "it went on");
    assert_eq!(
        lists("GET /v1/subscriptions").await,
        1,
        "and read nothing twice"
    );
    let whole = dues_json(&app, &["reconcile", "--full", "--json"]).await;
    assert_eq!(compared(&whole), 3, "it began anew");
}

#[tokio::test]
async fn a_comparison_that_is_wished_otherwise_begins_at_the_beginning() {
    let app = service().await;
    for buyer in 0..3 {
        app.open(&app.member(&format!("member-{buyer}")), "credits-20")
            .await;
    }
    let place =
        json!({"began": 0, "since": 0, "asked": [false, null], "part": "rest", "after": null});
    sqlx::query("INSERT INTO cursors (name, position, updated_at) VALUES ('compare', $1, now())")
        .bind(place.to_string())
        .execute(&app.pool)
        .await
        .expect("a place");
    let applied = dues_json(&app, &["reconcile", "--full", "--apply", "--json"]).await;
    assert_eq!(
        (&applied["is_whole"], &applied["checkouts"]),
        (&json!(true), &json!(3))
    );
    assert_eq!(app.calls("GET /v1/disputes").await.len(), 1, "all of it");
}

#[tokio::test]
async fn a_renewal_that_nobody_told_and_its_dispute_are_mended_at_once() {
    let app = service().await;
    let purchase = app.sell("membership-monthly", GOOD_CARD).await;
    let id = &purchase.subscription;
    nothing_is_told(&app).await;
    app.move_clocks(MONTH).await;
    let invoice = app.stripe_subscription(id).await["latest_invoice"].clone();
    let renewal = app
        .payment_of_invoice(invoice.as_str().expect("an id"))
        .await;
    let body = json!({"payment_intent": renewal, "reason": "fraudulent"});
    app.sandbox.post("/_sandbox/disputes", body).await;
    dues(&app, &["reconcile", "--full", "--apply"]).await;
    assert_eq!(app.money(id).await, ["payment", "payment", "dispute"]);
    assert_eq!(app.row(id).await.reason, "disputed");
}

/// Drops all webhooks from now on.
async fn nothing_is_told(app: &TestApp) {
    app.hold_deliveries().await;
}

/// What a full comparison finds of a line, and mends.
async fn mended(app: &TestApp, id: &str) -> Vec<Value> {
    let found = dues_json(app, &["reconcile", "--full", "--apply", "--json"]).await;
    assert_eq!(found["errors"], json!([]), "{found}");
    let drift = found["drift"].as_array().cloned().expect("a list");
    let again = dues_json(app, &["reconcile", "--full", "--json"]).await;
    assert_eq!(again["drift"], json!([]), "{again}");
    drift
        .into_iter()
        .filter(|drift| drift["subscription_id"] == id)
        .collect()
}

#[tokio::test]
async fn a_comparison_finds_a_debit_that_failed_while_nobody_listened() {
    let app = service().await;
    let purchase = app.sell("share", BAD_ACCOUNT).await;
    let id = &purchase.subscription;
    app.assert_line(id, "PENDING_COMPLETION", "payment_processing", false)
        .await;
    nothing_is_told(&app).await;
    app.move_clocks(20 * 86_400).await;
    let drift = mended(&app, id).await;
    assert_eq!(drift[0]["stripe"], "ENDED", "{drift:?}");
    app.assert_line(id, "ENDED", "payment_failed", false).await;
}

#[tokio::test]
async fn a_comparison_finds_refunds_and_disputes_that_nobody_told() {
    let app = service().await;
    let share = app.sell("share", GOOD_CARD).await;
    let credits = app.sell("credits-20", GOOD_CARD).await;
    let membership = app.sell("membership-monthly", GOOD_CARD).await;
    let (shares, credits_payment, monthly) = (
        app.payment_of(&share).await,
        app.payment_of(&credits).await,
        app.payment_of(&membership).await,
    );
    nothing_is_told(&app).await;
    let refund = [("payment_intent", shares.as_str())];
    app.at_stripe(Method::POST, "/v1/refunds", &refund).await;
    for intent in [&credits_payment, &monthly] {
        let body = json!({"payment_intent": intent, "reason": "fraudulent"});
        app.sandbox.post("/_sandbox/disputes", body).await;
    }
    let found = dues_json(&app, &["reconcile", "--full", "--json"]).await;
    let drift = found["drift"].as_array().expect("a list");
    let differs: Vec<&Value> = drift.iter().map(|drift| &drift["differs"]).collect();
    let (refund, dispute) = (json!(["status", "refund"]), json!(["status", "dispute"]));
    assert_eq!(differs, [&refund, &dispute, &dispute], "{found:#}");
    let table = dues(&app, &["reconcile", "--full", "--apply"]).await;
    assert!(table.contains("status refund yes"), "{table}");
    app.assert_line(&share.subscription, "ENDED", "refunded", false)
        .await;
    for id in [&credits.subscription, &membership.subscription] {
        app.assert_line(id, "ON_HOLD", "disputed", false).await;
    }
    let again = dues_json(&app, &["reconcile", "--full", "--json"]).await;
    assert_eq!(again["drift"], json!([]), "{again:#}");
}

#[tokio::test]
async fn a_comparison_finds_renewals_ends_and_changes_of_subscriptions_that_nobody_told() {
    let app = service().await;
    let renewed = app
        .buy_with(&app.member("alice"), "membership-monthly", GOOD_CARD)
        .await;
    let ended = app
        .buy_with(&app.member("bob"), "membership-monthly", GOOD_CARD)
        .await;
    let cancelled = app
        .buy_with(&app.member("carol"), "membership-monthly", GOOD_CARD)
        .await;
    nothing_is_told(&app).await;
    app.move_clocks(MONTH).await;
    let id = app.at_stripes(&ended.subscription).await;
    app.at_stripe(Method::DELETE, &format!("/v1/subscriptions/{id}"), &[])
        .await;
    let id = app.at_stripes(&cancelled.subscription).await;
    let at_end = [("cancel_at_period_end", "true")];
    app.at_stripe(Method::POST, &format!("/v1/subscriptions/{id}"), &at_end)
        .await;
    let calls = app.calls("").await.len();
    let found = dues_json(&app, &["reconcile", "--full", "--json"]).await;
    let calls = app.calls("").await.len() - calls;
    assert!(calls < 30, "{calls} calls");
    let of = |purchase: &Purchase| {
        let drift = found["drift"].as_array().expect("a list");
        let mut own = drift.iter();
        let own = own.find(|drift| drift["subscription_id"] == purchase.subscription.as_str());
        own.unwrap_or_else(|| panic!("{found:#}"))["differs"].clone()
    };
    assert_eq!(of(&renewed), json!(["paid_until", "period", "payment"]));
    assert!(of(&ended).to_string().contains("\"end\""), "{found:#}");
    assert!(
        of(&cancelled).to_string().contains("\"cancellation\""),
        "{found:#}"
    );
    dues(&app, &["reconcile", "--full", "--apply"]).await;
    assert_eq!(app.row(&renewed.subscription).await.status, "ACTIVE");
    assert_eq!(app.row(&ended.subscription).await.status, "ENDED");
    assert_eq!(app.row(&cancelled.subscription).await.status, "CANCELLED");
    assert_eq!(
        app.money(&renewed.subscription).await,
        ["payment", "payment"]
    );
    let again = dues_json(&app, &["reconcile", "--full", "--json"]).await;
    assert_eq!(again["drift"], json!([]), "{again:#}");
}

#[tokio::test]
async fn a_comparison_of_what_agrees_reads_lists_and_no_object() {
    let app = service().await;
    for buyer in 0..6 {
        let token = app.member(&format!("member-{buyer}"));
        app.buy_with(&token, "membership-monthly", GOOD_CARD).await;
        app.buy_with(&token, "share", GOOD_CARD).await;
    }
    let calls = app.calls("").await.len();
    let found = dues_json(&app, &["reconcile", "--full", "--json"]).await;
    assert_eq!(
        (&found["drift"], &found["checkouts"]),
        (&json!([]), &json!(12)),
        "{found:#}"
    );
    let calls = app.calls("").await.split_off(calls);
    let lists = calls.iter().filter(|call| call["path"] != "/v1/prices");
    assert_eq!(lists.count(), 4, "{calls:#?}");
}

#[tokio::test]
async fn a_walk_that_comes_too_late_says_so_and_asks_for_the_full_comparison() {
    let app = service().await;
    app.first_walk_is_over().await;
    app.move_clocks(40 * 86_400).await;
    let output = attempt(&app, &["reconcile"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("dues reconcile --full"),
        "{said}"
    );
}

#[tokio::test]
async fn the_comparison_goes_on_in_the_background_and_mends_only_where_it_is_told_to() {
    for (mends, refund) in [("false", "none"), ("true", "full")] {
        let app = service().await;
        let share = app.sell("share", GOOD_CARD).await;
        let intent = app.payment_of(&share).await;
        nothing_is_told(&app).await;
        // Nor does the walk over events bring it.
        let place = "UPDATE cursors SET position = '2100-01-01T00:00:00Z' WHERE name = 'events'";
        let done = sqlx::query(place).execute(&app.pool).await;
        done.expect("the walk gets a place");
        let refunded = [("payment_intent", intent.as_str())];
        app.at_stripe(Method::POST, "/v1/refunds", &refunded).await;
        let more = [
            (
                "DUES__WORKER__COMPARE_INTERVAL_SECONDS".to_owned(),
                "1".to_owned(),
            ),
            ("DUES__WORKER__COMPARE_MENDS".to_owned(), mends.to_owned()),
        ];
        let other = Replica::start(
            app.settings.database.url.expose(),
            app.sandbox.url(),
            &HashMap::from(more),
        )
        .await;
        // A page is done when its place is stored, and a page needs a move of the clock: none is missed.
        app.until("it is past refunds and disputes", async || {
            app.move_clocks(2).await;
            let past = "SELECT position LIKE '%pending%' FROM cursors WHERE name = 'compare in the background'";
            let past: Option<bool> = sqlx::query_scalar(past)
                .fetch_one(&app.pool)
                .await
                .expect("a place");
            (past == Some(true)).then_some(())
        })
        .await;
        let state = app
            .value("subscriptions", "refund_state", &share.subscription)
            .await;
        assert_eq!(state.as_deref(), Some(refund));
        // The next one begins a day later; until then only turns are taken.
        let place = async || {
            let row: (String, OffsetDateTime) = sqlx::query_as(
                "SELECT position, updated_at FROM cursors WHERE name = 'compare in the background'",
            )
            .fetch_one(&app.pool)
            .await
            .expect("a place");
            row
        };
        let (rests, at) = app
            .until("it has come to its end", async || {
                app.move_clocks(2).await;
                Some(place().await).filter(|(place, _)| place.contains("subscriptions"))
            })
            .await;
        app.until("more turns were taken", async || {
            app.move_clocks(2).await;
            (place().await.1 - at >= Duration::seconds(6)).then_some(())
        })
        .await;
        assert_eq!(place().await.0, rests);
        drop(other);
    }
}

#[tokio::test]
async fn a_worker_gives_up_after_the_last_try_and_a_replay_mends_it() {
    let app = service().await;
    let purchase = doubtful(&app, "garbage", 100).await;
    let tried = app
        .until("the first try has failed", async || {
            Some(doubt(&app).await)
                .filter(|(_, _, attempts, cause)| *attempts > 0 && cause.is_some())
        })
        .await;
    assert_eq!((tried.1.as_str(), tried.2), ("deferred", 1));
    app.advance(10).await;
    let (id, state, attempts, cause) = doubt(&app).await;
    assert_eq!((state.as_str(), attempts), ("failed", 2));
    assert!(cause.is_some_and(|cause| !cause.is_empty()));
    let failed = dues_json(&app, &["events", "list", "--state", "failed", "--json"]).await;
    assert_eq!(failed[0]["id"], json!(id));
    let table = dues(&app, &["events", "list", "--state", "failed"]).await;
    assert!(table.contains(&id), "{table}");

    let received = || app.value("webhook_events", "received_at", &id);
    let before = received().await;
    let refused = attempt(&app, &["events", "replay", "evt_unknown", &id]).await;
    assert!(!refused.status.success(), "one of them is not known");
    app.no_more_faults().await;
    dues(&app, &["events", "replay", &id]).await;
    app.settle().await;
    assert_eq!(doubt(&app).await.1, "applied");
    assert_eq!(received().await, before, "its record was never gone");
    assert_eq!(app.row(&purchase.subscription).await.status, "ACTIVE");
    let table = dues(&app, &["events", "list", "--state", "failed", "--json"]).await;
    assert_eq!(table.trim(), "[]");
}

#[tokio::test]
async fn a_stripe_in_trouble_is_asked_again_later_and_then_it_is_settled() {
    for kind in [
        "error_500",
        "rate_limited",
        "rate_limited_with_reason",
        "lock_timeout",
        "garbage",
        "disconnect",
    ] {
        let app = service().await;
        let purchase = doubtful(&app, kind, 1).await;
        app.until("the first try has failed", async || {
            doubt(&app).await.3.is_some().then_some(())
        })
        .await;
        app.advance(10).await;
        let (_, state, attempts, cause) = doubt(&app).await;
        // A try counts when there was an answer.
        let tries = if kind == "garbage" { 2 } else { 1 };
        assert_eq!(
            (state.as_str(), attempts, cause),
            ("applied", tries, None),
            "{kind}"
        );
        assert_eq!(app.row(&purchase.subscription).await.status, "ACTIVE");
    }
}

#[tokio::test]
async fn two_workers_share_what_is_deferred_and_settle_each_object_once() {
    const MEMBERS: usize = 8;
    let app = service().await;
    for member in 0..MEMBERS {
        let token = app.member(&format!("member-{member}"));
        let purchase = app.open(&token, "membership-annual").await;
        app.pay(&purchase).await;
    }
    app.settle().await;
    let other = Replica::start(
        app.settings.database.url.expose(),
        app.sandbox.url(),
        &HashMap::from([("DUES__WORKER__INTERVAL_MS".to_owned(), "20".to_owned())]),
    )
    .await;
    let read = async || app.calls("GET /v1/subscriptions/").await.len();
    let before = read().await;
    // Several events of each object wait at once.
    let deferred = sqlx::query(
        "UPDATE webhook_events SET state = 'deferred', next_attempt_at = received_at, attempts = 0
          WHERE object_id LIKE 'sub_%'",
    );
    let deferred = deferred.execute(&app.pool).await.expect("the events");
    assert!(deferred.rows_affected() >= u64::try_from(MEMBERS).expect("few"));
    app.settle().await;
    assert_eq!(read().await - before, MEMBERS, "one read an object");
    drop(other);
}

#[tokio::test]
async fn old_events_are_deleted_and_those_that_want_attention_stay() {
    let app = service().await;
    app.sell("membership-annual", GOOD_CARD).await;
    let all = app.count("webhook_events").await;
    let aged = sqlx::query(
        "UPDATE webhook_events SET received_at = received_at - interval '32 days',
                state = CASE type WHEN 'invoice.paid' THEN 'flagged'
                                  WHEN 'customer.subscription.created' THEN 'failed' ELSE state END
          WHERE type <> 'checkout.session.completed'",
    );
    aged.execute(&app.pool).await.expect("the events");
    // Else the walk would find at Stripe, as new, what was deleted here: these events are not really old.
    let place = "INSERT INTO cursors VALUES ('events', '2100-01-01T00:00:00Z', now())
                 ON CONFLICT (name) DO UPDATE SET position = excluded.position";
    sqlx::query(place)
        .execute(&app.pool)
        .await
        .expect("the walk gets a place");
    // A worker deletes when it starts, and then every half minute.
    let other = Replica::start(
        app.settings.database.url.expose(),
        app.sandbox.url(),
        &HashMap::new(),
    )
    .await;
    let left = [
        "checkout.session.completed",
        "customer.subscription.created",
        "invoice.paid",
    ];
    app.until("only three are left", async || {
        (app.count("webhook_events").await == 3).then_some(())
    })
    .await;
    assert!(all > 3, "{all}");
    let kinds: Vec<String> = sqlx::query_scalar("SELECT type FROM webhook_events ORDER BY type")
        .fetch_all(&app.pool)
        .await
        .expect("the events");
    assert_eq!(kinds, left);
    drop(other);
}

#[tokio::test]
async fn an_outage_of_stripe_is_not_the_event_s_fault_however_long_it_lasts() {
    let app = service().await;
    let purchase = doubtful(&app, "error_500", 1_000).await;
    for hours in 1..=5 {
        app.until("it was tried again", async || {
            doubt(&app).await.3.is_some().then_some(())
        })
        .await;
        app.move_clocks(3_600).await;
        let (_, state, attempts, _) = doubt(&app).await;
        assert_eq!(state, "deferred", "after {hours} hours");
        assert!(attempts <= 1, "{attempts}");
    }
    app.no_more_faults().await;
    app.move_clocks(3_600).await;
    app.settle().await;
    assert_eq!(doubt(&app).await.1, "applied");
    assert_eq!(app.row(&purchase.subscription).await.status, "ACTIVE");
}

/// Gives up what waits, as after many tries.
async fn give_up(app: &TestApp, state: &str) -> String {
    let given_up = "UPDATE webhook_events SET state = $1, next_attempt_at = NULL, last_error = 'a fault'
                     WHERE type = 'customer.subscription.updated' OR type = 'invoice.paid' RETURNING id";
    let ids: Vec<String> = sqlx::query_scalar(given_up)
        .bind(state)
        .fetch_all(&app.pool)
        .await
        .expect("the events");
    ids.first().expect("an event").clone()
}

#[tokio::test]
async fn what_was_given_up_is_replayed_all_at_once_and_what_was_flagged_dismissed_with_a_reason() {
    let app = service().await;
    app.first_walk_is_over().await;
    app.sell("membership-annual", GOOD_CARD).await;
    give_up(&app, "failed").await;
    let metrics = app.get("/metrics").send().await.text;
    assert!(
        metrics.contains("webhook_events_unsettled{state=\"failed\"} "),
        "{metrics}"
    );
    let replayed = dues(&app, &["events", "replay", "--state", "failed"]).await;
    assert!(replayed.contains("applied"), "{replayed}");
    app.settle().await;
    assert!(app.events_in("failed").await.is_empty());

    let id = give_up(&app, "flagged").await;
    let dismiss = ["events", "dismiss", &id, "--as", "grace", "--reason"];
    let because = |reason| [&dismiss[..], &[reason]].concat();
    let refused = attempt(&app, &because("sold anew by hand")).await;
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("--reason: One of: not_received"), "{said}");
    let said = dues(&app, &because("mistake")).await;
    assert!(
        said.starts_with(&format!("{id} dismissed (action ")),
        "{said}"
    );
    assert!(!app.events_in("flagged").await.contains(&id));
    let shown = dues_json(&app, &["events", "show", &id]).await;
    assert_eq!(
        (&shown["state"], &shown["last_error"]),
        (&json!("ignored"), &json!("dismissed: mistake"))
    );
    let again = attempt(&app, &because("duplicate")).await;
    assert!(!again.status.success());
    let listed = dues(&app, &["actions", "list", "--actor", "grace"]).await;
    assert!(
        listed.contains("dismiss") && listed.contains("mistake"),
        "{listed}"
    );
    let whole = dues(&app, &["actions", "verify"]).await;
    let last = whole
        .trim()
        .rsplit(' ')
        .next()
        .expect("the last entry")
        .to_owned();
    dues(&app, &["actions", "verify", "--expect", &last]).await;
    let other = attempt(&app, &["actions", "verify", "--expect", "1:00"]).await;
    assert!(String::from_utf8_lossy(&other.stderr).contains("was written anew"));
}

#[tokio::test]
async fn what_was_given_up_is_tried_again_with_the_next_walk() {
    let app = service().await;
    app.first_walk_is_over().await;
    app.sell("membership-annual", GOOD_CARD).await;
    give_up(&app, "failed").await;
    let other = Replica::start(
        app.settings.database.url.expose(),
        app.sandbox.url(),
        &HashMap::new(),
    )
    .await;
    app.until("nothing has failed any more", async || {
        app.events_in("failed").await.is_empty().then_some(())
    })
    .await;
    app.settle().await;
    assert!(app.events_in("failed").await.is_empty());
    drop(other);
}

#[tokio::test]
async fn what_was_given_up_before_it_was_applied_is_applied_by_another_try() {
    let app = service().await;
    app.first_walk_is_over().await;
    let purchase = app.sell("membership-monthly", FAILING_LATER_CARD).await;
    let id = &purchase.subscription;
    app.hold_deliveries().await;
    app.move_clocks(MONTH).await;
    let event = &app.events_of("invoice.payment_failed").await[0];
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    // As the walk leaves an event that could not be written.
    sqlx::query(
        "INSERT INTO webhook_events (id, type, object_id, created, received_at, state, last_error)
         VALUES ($1, 'invoice.payment_failed', $2, now(), now(), 'failed', 'a fault')",
    )
    .bind(text(&event["id"]))
    .bind(text(&event["data"]["object"]["id"]))
    .execute(&app.pool)
    .await
    .expect("the event is recorded");
    app.release_deliveries(json!({"drop": ["invoice.payment_failed"]}))
        .await;
    assert!(!app.money(id).await.contains(&"payment_failed".to_owned()));
    let other = Replica::start(
        app.settings.database.url.expose(),
        app.sandbox.url(),
        &HashMap::new(),
    )
    .await;
    app.until("it is applied", async || {
        let known = app.money(id).await;
        known.contains(&"payment_failed".to_owned()).then_some(())
    })
    .await;
    app.until("it has not failed any more", async || {
        app.events_in("failed").await.is_empty().then_some(())
    })
    .await;
    drop(other);
}

#[tokio::test]
async fn one_bad_row_keeps_no_term_from_ending() {
    let plans = Plans::write(
        "[[plan]]\ncode = \"pass\"\nkind = \"top_up\"\nprice = \"credits_20\"\nterm = \"P1D\"\n",
    );
    let app = plans.sold().start().await;
    let mut lines = Vec::new();
    for user in ["alice", "bob", "carol"] {
        let bought = app.buy_with(&app.member(user), "pass", GOOD_CARD).await;
        lines.push(bought.subscription);
    }
    // A replica of another version has written what this one can't read.
    for change in [
        "ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_kind_check".to_owned(),
        format!(
            "UPDATE subscriptions SET kind = 'pass' WHERE id = '{}'",
            lines[0]
        ),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(change))
            .execute(&app.pool)
            .await
            .expect("the database obeys");
    }
    app.move_clocks(2 * 86_400).await;
    for line in &lines[1..] {
        app.until_status(line, "ENDED").await;
    }
    assert_eq!(app.row(&lines[0]).await.status, "ACTIVE");
}
