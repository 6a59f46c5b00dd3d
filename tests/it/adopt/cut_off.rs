//! An adoption that is killed, stopped, refused, or run twice at once: the next run ends in the same state.

use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::old::{CARD, OLD, Old, adopt, attempt, buckets, command, service, variables};
use crate::harness::TestApp;
use crate::harness::lifecycle::text;
use crate::harness::program::run;

/// What an adoption asks of Stripe for each subscription, one after the other.
pub(super) const STEPS: [(&str, &str); 4] = [
    ("GET", "/v1/subscriptions/*"),
    ("GET", "/v1/invoices"),
    ("GET", "/v1/charges"),
    ("POST", "/v1/subscriptions/*"),
];

/// Several members with what the old connector sold them.
async fn sold(app: &TestApp, count: u32) -> Vec<Old> {
    let mut sold = Vec::new();
    for number in 1..=count {
        let user = format!("member{number}");
        sold.push(
            app.old_sale(&user, "membership_monthly", number, CARD)
                .await,
        );
    }
    sold
}

/// All of it is ours, once, and as Stripe says.
async fn assert_all_are_ours(app: &TestApp, sold: &[Old]) {
    app.settle().await;
    let count = i64::try_from(sold.len()).expect("a few");
    for old in sold {
        assert_eq!(app.standing(&old.stripe).await.1, "ACTIVE paid", "{old:?}");
    }
    for table in [
        "subscriptions",
        "checkouts",
        "customers",
        "transactions",
        "feed WHERE type = 'subscription.created'",
        "feed WHERE type = 'transaction.recorded'",
    ] {
        assert_eq!(app.count(table).await, count, "{table}");
    }
    assert_eq!(app.differences().await, json!([]));
    let report = adopt(app, &OLD, &["--apply"]).await;
    assert_eq!(buckets(&report), json!({ "already_ours": count }));
}

/// Waits until a call to Stripe is held up by the fault that was planned for it.
pub(super) async fn held_up(app: &TestApp) {
    app.until("the call is held up", async || {
        let faults = app.sandbox.get("/_sandbox/faults").await.to_string();
        (!faults.contains("stall")).then_some(())
    })
    .await;
}

pub(super) fn applying(app: &TestApp) -> Command {
    let arguments: Vec<&str> = OLD.iter().copied().chain(["--apply", "--json"]).collect();
    let mut command = command(app, &arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[tokio::test]
async fn killed_at_any_step_it_is_completed_by_the_next_run() {
    let app = service().await;
    let sold = sold(&app, 5).await;
    for (method, path) in STEPS {
        let fault = json!({"kind": "stall", "method": method, "path": path, "times": 1, "stall_ms": 60_000});
        app.fault(fault).await;
        let mut running = applying(&app).spawn().expect("the program runs");
        held_up(&app).await;
        running.kill().await.expect("kill -9");
        app.no_more_faults().await;
    }
    let planned = adopt(&app, &OLD, &[]).await;
    assert_eq!(planned["buckets"]["unfinished"], 1, "{planned:#}");
    let finished = adopt(&app, &OLD, &["--apply"]).await;
    assert_eq!(finished["buckets"]["unfinished"], 1, "{finished:#}");
    assert_all_are_ours(&app, &sold).await;
}

#[tokio::test]
async fn what_a_comparison_completes_first_is_told_as_past_as_well() {
    let app = service().await;
    let sold = sold(&app, 1).await;
    let (method, path) = STEPS[0];
    let fault =
        json!({"kind": "stall", "method": method, "path": path, "times": 1, "stall_ms": 60_000});
    app.fault(fault).await;
    let mut running = applying(&app).spawn().expect("the program runs");
    held_up(&app).await;
    running.kill().await.expect("kill -9");
    app.no_more_faults().await;
    let mending = ["reconcile", "--full", "--apply"];
    run(&mending, &variables(&app)).await.assert_code(0);
    assert_eq!(app.standing(&sold[0].stripe).await.1, "ACTIVE paid");
    assert_eq!(app.count("feed WHERE origin IS NULL").await, 0);
    let finished = adopt(&app, &OLD, &["--apply"]).await;
    assert_eq!(buckets(&finished), json!({"unfinished": 1}));
    assert_all_are_ours(&app, &sold).await;
    assert_eq!(app.count("feed WHERE origin IS NULL").await, 0);
}

#[tokio::test]
async fn an_answer_that_is_lost_stops_it_and_the_next_run_goes_on() {
    let app = service().await;
    let sold = sold(&app, 5).await;
    for (method, path) in STEPS {
        let fault =
            json!({"kind": "disconnect_after_effect", "method": method, "path": path, "times": 1});
        app.fault(fault).await;
        let ended = attempt(&app, &OLD, &["--apply"]).await.assert_code(1);
        assert!(
            ended.stderr.contains("Stripe can't be reached"),
            "{ended:#?}"
        );
    }
    adopt(&app, &OLD, &["--apply"]).await;
    assert_all_are_ours(&app, &sold).await;
}

#[tokio::test]
async fn broken_off_it_tells_what_was_done_before() {
    let app = service().await;
    let sold = sold(&app, 3).await;
    // The oldest comes last.
    let path = format!("/v1/subscriptions/{}", sold[0].stripe);
    let fault = json!({"kind": "disconnect", "method": "GET", "path": path, "times": 1});
    app.fault(fault).await;
    let ended = attempt(&app, &OLD, &["--apply"]).await.assert_code(1);
    ended.line("2 adopted");
    ended.line("not all were looked at");
    assert!(
        ended.stderr.contains("Stripe can't be reached"),
        "{ended:#?}"
    );
    adopt(&app, &OLD, &["--apply"]).await;
    assert_all_are_ours(&app, &sold).await;
}

#[tokio::test]
async fn what_a_person_should_look_at_is_told_beside_it() {
    let app = service().await;
    let sold = sold(&app, 2).await;
    let form = [
        ("product_data[name]", "A magazine"),
        ("currency", "eur"),
        ("unit_amount", "900"),
        ("recurring[interval]", "month"),
    ];
    let magazine = app.at_stripe(Method::POST, "/v1/prices", &form).await;
    let magazine = text(&magazine["id"]);
    let (method, path) = STEPS[0];
    app.fault(
        json!({"kind": "stall", "method": method, "path": path, "times": 1, "stall_ms": 1_500}),
    )
    .await;
    let running = applying(&app).spawn().expect("the program runs");
    held_up(&app).await;
    // The newer one is under way; the older one was on a plan's price when both were listed.
    let path = format!("/v1/subscriptions/{}", sold[0].stripe);
    let item = text(&app.sandbox.stripe(&path).await["items"]["data"][0]["id"]);
    let changed = [
        ("items[0][id]", item.as_str()),
        ("items[0][price]", &magazine),
    ];
    app.at_stripe(Method::POST, &path, &changed).await;
    app.deliveries_settle().await;
    let ended = running.wait_with_output().await.expect("it ends");
    let report: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    assert_eq!(buckets(&report), json!({"adopted": 2}));
    let told = &report["subscriptions"];
    assert_eq!(told[0]["detail"], json!(null));
    let detail = text(&told[1]["detail"]);
    assert!(detail.contains("a price that no plan has"), "{detail}");
}

#[tokio::test]
async fn one_that_stripe_refuses_keeps_none_of_the_others_waiting() {
    let app = service().await;
    let sold = sold(&app, 3).await;
    let forbidden =
        json!({"kind": "forbidden", "method": "POST", "path": "/v1/subscriptions/*", "times": 1});
    app.fault(forbidden).await;
    let ended = attempt(&app, &OLD, &["--apply", "--json"])
        .await
        .assert_code(1);
    assert_eq!(buckets(&ended.json()), json!({"adopted": 2, "failed": 1}));
    assert!(
        ended
            .stderr
            .contains("1 subscription(s) could not be adopted"),
        "{ended:#?}"
    );
    let again = adopt(&app, &OLD, &["--apply"]).await;
    assert_eq!(buckets(&again), json!({"already_ours": 2, "unfinished": 1}));
    assert_all_are_ours(&app, &sold).await;
}

#[tokio::test]
async fn told_to_stop_it_ends_in_order_and_the_next_run_goes_on() {
    let app = service().await;
    let sold = sold(&app, 4).await;
    let (method, path) = STEPS[1];
    // Long enough that the signal is there before the first one is done.
    app.fault(
        json!({"kind": "stall", "method": method, "path": path, "times": 1, "stall_ms": 1_500}),
    )
    .await;
    let running = applying(&app).spawn().expect("the program runs");
    held_up(&app).await;
    let pid = running.id().expect("it runs").to_string();
    let kill = Command::new("kill").args(["-INT", &pid]).status().await;
    assert!(kill.expect("kill is there").success());
    let ended = running.wait_with_output().await.expect("it ends");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let report: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    assert_eq!(report["is_whole"], false);
    assert_eq!(buckets(&report), json!({"adopted": 1}));
    assert_eq!(app.count("subscriptions").await, 1);
    let again = adopt(&app, &OLD, &["--apply"]).await;
    assert_eq!(buckets(&again), json!({"already_ours": 1, "adopted": 3}));
    assert_all_are_ours(&app, &sold).await;
}

#[tokio::test]
async fn what_changes_at_stripe_while_it_is_adopted_is_not_lost() {
    let app = service().await;
    for (number, (method, path)) in (1..).zip(STEPS) {
        let user = format!("member{number}");
        let old = app
            .old_sale(&user, "membership_monthly", number, CARD)
            .await;
        let fault =
            json!({"kind": "stall", "method": method, "path": path, "times": 1, "stall_ms": 1_500});
        app.fault(fault).await;
        let running = applying(&app).spawn().expect("the program runs");
        held_up(&app).await;
        // Our row is there already, so that the webhook finds it.
        let path = format!("/v1/subscriptions/{}", old.stripe);
        app.at_stripe(Method::DELETE, &path, &[]).await;
        let ended = running.wait_with_output().await.expect("it ends");
        assert!(ended.status.success(), "{ended:?}");
        app.settle().await;
        let (id, standing) = app.standing(&old.stripe).await;
        assert_eq!(standing, "ENDED ended");
        assert_eq!(app.money(&id).await, ["payment"]);
    }
    assert_eq!(app.differences().await, json!([]));
}

#[tokio::test]
async fn two_at_once_do_no_harm() {
    let app = service().await;
    let sold = sold(&app, 12).await;
    let running = [applying(&app), applying(&app)].map(|mut command| command.output());
    let [first, second] = running;
    let (first, second) = tokio::join!(first, second);
    let mut adopted = 0;
    for ended in [first, second] {
        let ended = ended.expect("the program runs");
        assert!(ended.status.success(), "{ended:?}");
        let report: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
        assert_eq!(report["listed"], 12);
        adopted += report["buckets"]["adopted"].as_u64().expect("a number");
    }
    assert_eq!(adopted, 12, "each was adopted by one of them");
    assert_all_are_ours(&app, &sold).await;
}

#[tokio::test]
async fn a_subscription_at_stripe_is_never_two_rows() {
    let app = service().await;
    let sold = sold(&app, 1).await;
    adopt(&app, &OLD, &["--apply"]).await;
    let doubled = sqlx::query(
        "INSERT INTO subscriptions (id, checkout_id, position, user_id, plan, kind, quantity, single, recurring, status,
                                    status_reason, stripe_subscription_id, stripe_price_id, created_at, updated_at)
         SELECT gen_random_uuid(), checkout_id, 1, user_id, 'another', kind, 1, false, true, status, status_reason,
                stripe_subscription_id, stripe_price_id, now(), now() FROM subscriptions",
    );
    let refused = doubled.execute(&app.pool).await.expect_err("a violation");
    let constraint = refused
        .as_database_error()
        .and_then(|error| error.constraint().map(str::to_owned));
    assert_eq!(
        constraint.as_deref(),
        Some("subscriptions_stripe_subscription")
    );
    assert_all_are_ours(&app, &sold).await;
}
