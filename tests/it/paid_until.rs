//! Until when something was paid, how long it goes on unpaid, and money that comes when it is over.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::lifecycle::{ALL_RETRIES, DAY, HOUR, MONTH, text};
use crate::harness::purchase::{FAILING_LATER_CARD, GOOD_CARD, Purchase};
use crate::harness::replica::Replica;

const ANNUAL: &str = "membership-annual";
const MONTHLY: &str = "membership-monthly";
/// The default, and a bit for the worker to be due.
const GRACE: i64 = 35 * DAY + HOUR;

async fn shown(app: &TestApp, id: &str) -> Value {
    app.subscription(&app.member("alice"), id).await
}

/// Until when alice's memberships give her something.
async fn until(app: &TestApp) -> Value {
    let call = app.get("/v1/entitlements").bearer(&app.member("alice"));
    call.send().await.assert_status(200).json()["membership"]["until"].clone()
}

/// Seconds that a time of the API lies after another.
fn seconds_between(one: &Value, other: &Value) -> i64 {
    let time = |value: &Value| {
        let format = &time::format_description::well_known::Rfc3339;
        time::OffsetDateTime::parse(&text(value), format).expect("a time")
    };
    (time(other) - time(one)).whole_seconds()
}

/// Waits until the worker has come to that reason.
async fn until_reason(app: &TestApp, id: &str, reason: &str) {
    app.until(&format!("{id} is {reason}"), async || {
        (app.row(id).await.reason == reason).then_some(())
    })
    .await;
}

/// A service whose Stripe leaves what is never paid past due for good.
async fn lenient() -> TestApp {
    let app = TestApp::with()
        .setting("DUES__WORKER__INTERVAL_MS", 20)
        .start()
        .await;
    app.stripe_settings(json!({ "final_failure": "past_due" }))
        .await;
    app
}

#[tokio::test]
async fn a_period_that_was_billed_and_not_paid_moves_nothing_that_members_rely_on() {
    let app = lenient().await;
    let purchase = app.sell(ANNUAL, FAILING_LATER_CARD).await;
    let id = &purchase.subscription;
    let first = shown(&app, id).await;
    assert_eq!(first["paid_until"], first["current_period_end"]);
    let end = first["paid_until"].clone();
    assert_eq!(seconds_between(&end, &until(&app).await), 35 * DAY);
    let row_end = app.value("subscriptions", "paid_until", id).await;
    assert!(row_end.is_some(), "it is noted, not guessed");
    let mut passed = seconds_between(&first["created_at"], &end);
    for step in [600, HOUR, 16 * DAY] {
        app.advance(passed + step).await;
        passed = 0;
        let now = shown(&app, id).await;
        assert_eq!(now["paid_until"], end, "{now}");
        assert_eq!(seconds_between(&end, &until(&app).await), 35 * DAY);
    }
    assert!(
        text(&shown(&app, id).await["current_period_end"]) > text(&end),
        "by this one Stripe bills"
    );
    app.assert_line(id, "ACTIVE", "payment_retrying", true)
        .await;
    // Nothing more comes.
    app.move_clocks(20 * DAY).await;
    until_reason(&app, id, "overdue").await;
    app.assert_line(id, "ON_HOLD", "overdue", false).await;
    assert_eq!(until(&app).await, Value::Null);
    // And then it does.
    app.change_card(&purchase, GOOD_CARD).await;
    pay_newest(&app, id).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    assert!(text(&shown(&app, id).await["paid_until"]) > text(&end));
}

async fn pay_newest(app: &TestApp, id: &str) {
    let invoice = text(&app.stripe_subscription(id).await["latest_invoice"]);
    let path = format!("/v1/invoices/{invoice}/pay");
    app.at_stripe(Method::POST, &path, &[]).await;
    app.settle().await;
}

#[tokio::test]
async fn a_first_payment_that_never_comes_after_a_trial_ends_with_the_grace() {
    let app = TestApp::with()
        .cooperative()
        .setting("DUES__WORKER__INTERVAL_MS", 20)
        .start()
        .await;
    app.stripe_settings(json!({ "final_failure": "past_due" }))
        .await;
    let purchase = app.sell("monthly", FAILING_LATER_CARD).await;
    let id = &purchase.subscription;
    app.assert_line(id, "ACTIVE", "trialing", true).await;
    let trial = shown(&app, id).await;
    assert_eq!(trial["paid_until"], trial["current_period_end"]);
    app.advance(14 * DAY + 2 * HOUR).await;
    app.assert_line(id, "ACTIVE", "payment_retrying", true)
        .await;
    app.advance(ALL_RETRIES).await;
    app.assert_line(id, "ACTIVE", "payment_retrying", true)
        .await;
    app.move_clocks(GRACE - ALL_RETRIES).await;
    until_reason(&app, id, "overdue").await;
    app.assert_line(id, "ON_HOLD", "overdue", false).await;
}

#[tokio::test]
async fn whoever_has_paid_is_not_held_up_though_no_webhook_said_so() {
    let app = TestApp::with()
        .setting("DUES__WORKER__INTERVAL_MS", 20)
        .start()
        .await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    let before = shown(&app, id).await["paid_until"].clone();
    app.hold_deliveries().await;
    app.move_clocks(MONTH + GRACE + DAY).await;
    app.until("what was paid is looked up", async || {
        (shown(&app, id).await["paid_until"] != before).then_some(())
    })
    .await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    let looks = app.service_calls("GET /v1/invoices").await;
    assert_eq!(looks, 1, "and once is enough");
    assert!(app.money(id).await.len() > 1);
    app.release_deliveries(json!({ "order": "reverse" })).await;
    app.settle().await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
}

#[tokio::test]
async fn our_clock_alone_holds_nobody_up_while_stripe_is_away() {
    let app = lenient().await;
    let purchase = app.sell(MONTHLY, FAILING_LATER_CARD).await;
    let id = &purchase.subscription;
    app.advance(MONTH).await;
    app.fault(json!({"kind": "error_500", "method": "GET", "path": "/v1/invoices", "times": 3}))
        .await;
    let asked = app.service_calls("GET /v1/invoices").await;
    app.advance(GRACE).await;
    app.until("it was asked in vain", async || {
        (app.service_calls("GET /v1/invoices").await >= asked + 3).then_some(())
    })
    .await;
    let row = app.row(id).await;
    assert_eq!(row.status, "ACTIVE", "{row:?}");
    assert!(text(&until(&app).await) > text(&shown(&app, id).await["paid_until"]));
    app.no_more_faults().await;
    app.move_clocks(2 * HOUR).await;
    until_reason(&app, id, "overdue").await;
}

/// A replica that is always at work, with another grace.
async fn replica_with_grace(app: &TestApp, days: &str) -> Replica {
    let more = [
        ("DUES__LIFECYCLE__GRACE_DAYS".to_owned(), days.to_owned()),
        ("DUES__WORKER__INTERVAL_MS".to_owned(), "20".to_owned()),
    ];
    let database = app.settings.database.url.expose();
    Replica::start(database, app.sandbox.url(), &more.into_iter().collect()).await
}

/// A service whose own worker looks once and leaves the rest to others.
async fn idle() -> TestApp {
    let app = TestApp::with()
        .setting("DUES__WORKER__INTERVAL_MS", 3_600_000)
        .start()
        .await;
    app.first_walk_is_over().await;
    app
}

#[tokio::test]
async fn another_grace_judges_what_was_judged_before() {
    let app = idle().await;
    app.stripe_settings(json!({ "final_failure": "past_due" }))
        .await;
    let purchase = app.sell(MONTHLY, FAILING_LATER_CARD).await;
    let id = &purchase.subscription;
    app.advance(MONTH).await;
    app.move_clocks(GRACE).await;
    // A longer one takes it back without a question to Stripe, none at all as well; a shorter one asks again.
    for (days, reason, calls) in [
        ("35", "overdue", 1),
        ("60", "payment_retrying", 0),
        ("7", "overdue", 1),
        ("", "payment_retrying", 0),
    ] {
        let asked = app.service_calls("GET /v1/invoices").await;
        let mut replica = replica_with_grace(&app, days).await;
        until_reason(&app, id, reason).await;
        replica.stop().await;
        let asked = app.service_calls("GET /v1/invoices").await - asked;
        assert!(asked <= calls, "{asked} calls with a grace of {days:?}");
    }
}

#[tokio::test]
async fn a_membership_from_before_dues_noted_it_is_looked_up_once() {
    let app = idle().await;
    let purchase = app.sell(ANNUAL, GOOD_CARD).await;
    let id = &purchase.subscription;
    let known = shown(&app, id).await;
    for before in [
        "UPDATE subscriptions SET paid_from = NULL, paid_until = NULL, next_look_at = NULL",
        "DELETE FROM cursors WHERE name = 'grace'",
    ] {
        let done = sqlx::query(before).execute(&app.pool).await;
        done.expect("the database obeys");
    }
    // The billed period stands in.
    assert_eq!(shown(&app, id).await["paid_until"], known["paid_until"]);
    app.move_clocks(2 * DAY).await;
    let mut replica = replica_with_grace(&app, "35").await;
    app.until("it is looked up", async || {
        app.value("subscriptions", "paid_until", id).await
    })
    .await;
    replica.stop().await;
    assert_eq!(shown(&app, id).await["paid_until"], known["paid_until"]);
    // It may be marked anew while it is looked at.
    let looks = app.service_calls("GET /v1/invoices").await;
    assert!((1..=2).contains(&looks), "{looks}");
}

#[tokio::test]
async fn a_change_to_a_shorter_period_is_paid_until_its_end() {
    let app = TestApp::start().await;
    let purchase = app.sell(ANNUAL, GOOD_CARD).await;
    let id = &purchase.subscription;
    let annual = shown(&app, id).await["paid_until"].clone();
    let monthly = app.price("membership_monthly").await;
    app.advance(DAY).await;
    let held = app.stripe_subscription(id).await;
    let item = text(&held["items"]["data"][0]["id"]);
    app.change_at_stripe(
        id,
        &[
            ("items[0][id]", &item),
            ("items[0][price]", &monthly),
            ("proration_behavior", "none"),
        ],
    )
    .await;
    let now = shown(&app, id).await;
    assert!(text(&now["paid_until"]) < text(&annual), "{now}");
    assert_eq!(now["paid_until"], now["current_period_end"]);
    let due = "SELECT next_look_at <= paid_until + interval '35 days' FROM subscriptions";
    let due: Option<bool> = sqlx::query_scalar(due)
        .fetch_one(&app.pool)
        .await
        .expect("the line");
    assert_eq!(
        due,
        Some(true),
        "it is looked at when its own grace is over"
    );
}

#[tokio::test]
async fn an_invoice_that_was_sent_and_is_not_due_yet_excuses_no_older_one() {
    let app = lenient().await;
    let purchase = app.sell(MONTHLY, GOOD_CARD).await;
    let id = &purchase.subscription;
    let sent = [
        ("collection_method", "send_invoice"),
        ("days_until_due", "45"),
    ];
    app.change_at_stripe(id, &sent).await;
    // Nobody pays; each month another invoice is sent that is not due for long.
    app.advance(MONTH).await;
    app.advance(30 * DAY).await;
    app.assert_line(id, "ACTIVE", "paid", true).await;
    app.advance(30 * DAY).await;
    until_reason(&app, id, "overdue").await;
}

#[tokio::test]
async fn a_subscription_of_which_stripe_talks_nonsense_keeps_no_other_from_being_looked_at() {
    let app = lenient().await;
    let odd = app.sell(MONTHLY, FAILING_LATER_CARD).await;
    let bob = app.member("bob");
    let other = app.buy_with(&bob, MONTHLY, FAILING_LATER_CARD).await;
    app.advance(MONTH).await;
    app.advance(ALL_RETRIES).await;
    // The odd one comes first, and each of its tries is garbled.
    sqlx::query("UPDATE subscriptions SET next_look_at = next_look_at - interval '1 hour' WHERE id = $1::text::uuid")
        .bind(&odd.subscription)
        .execute(&app.pool)
        .await
        .expect("the database obeys");
    app.fault(json!({"kind": "garbage", "method": "GET", "path": "/v1/invoices", "times": 3}))
        .await;
    app.move_clocks(GRACE - ALL_RETRIES).await;
    until_reason(&app, &other.subscription, "overdue").await;
    app.move_clocks(2 * HOUR).await;
    until_reason(&app, &odd.subscription, "overdue").await;
}

/// A membership that ended because its card failed, with the invoice that is still open.
async fn ended_unpaid(app: &TestApp) -> (Purchase, String) {
    app.stripe_settings(json!({ "final_failure": "cancel" }))
        .await;
    let purchase = app.sell(MONTHLY, FAILING_LATER_CARD).await;
    app.advance(MONTH).await;
    app.advance(ALL_RETRIES).await;
    let id = &purchase.subscription;
    app.assert_line(id, "ENDED", "ended", false).await;
    let invoice = text(&app.stripe_subscription(id).await["latest_invoice"]);
    (purchase, invoice)
}

#[tokio::test]
async fn money_that_comes_after_the_end_is_booked_and_flagged_once() {
    let app = TestApp::start().await;
    let (purchase, invoice) = ended_unpaid(&app).await;
    let id = &purchase.subscription;
    let path = format!("/v1/subscriptions/{id}/open-invoices");
    let call = app.get(&path).bearer(&app.member("alice"));
    let open = call.send().await.assert_status(200).json();
    assert_eq!(
        open["data"],
        json!([]),
        "nobody is asked to pay for what is over"
    );
    app.advance(DAY).await;
    let payments = app
        .money(id)
        .await
        .iter()
        .filter(|kind| *kind == "payment")
        .count();
    let pay = format!("/_sandbox/invoices/{invoice}/pay");
    app.sandbox.post(&pay, json!({ "card": GOOD_CARD })).await;
    app.settle().await;
    app.assert_line(id, "ENDED", "ended", false).await;
    let after = app
        .money(id)
        .await
        .iter()
        .filter(|kind| *kind == "payment")
        .count();
    assert_eq!(after, payments + 1);
    let flag =
        "an invoice of a subscription that has ended was paid: give the money back, or sell anew";
    assert_eq!(app.flags().await, [flag]);
    // The worker that was to settle it dies between the row and the event: whoever looks again sees it too.
    let again = "UPDATE webhook_events SET state = 'deferred', last_error = NULL, next_attempt_at = received_at
                  WHERE state = 'flagged'";
    sqlx::query(again)
        .execute(&app.pool)
        .await
        .expect("the database obeys");
    app.settle().await;
    assert_eq!(app.flags().await, [flag]);
}
