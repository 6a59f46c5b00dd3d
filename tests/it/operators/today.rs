//! The page of the day: what is counted once a minute, and the history that it is counted from.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::lifecycle::DAY;
use crate::harness::purchase::GOOD_CARD;
use crate::harness::replica::Replica;

async fn today(app: &TestApp) -> Value {
    app.looked_at("/v1/operator/today").await
}

/// A service beside a replica that counts as soon as the clock lets it.
async fn counting() -> (TestApp, Replica) {
    let app = TestApp::with().following_the_sandbox().start().await;
    app.first_walk_is_over().await;
    let often = [(
        "DUES__WORKER__COMPARE_INTERVAL_SECONDS".to_owned(),
        "1".to_owned(),
    )];
    let database = app.settings.database.url.expose();
    let replica = Replica::start(database, app.sandbox.url(), &HashMap::from(often)).await;
    (app, replica)
}

/// What is counted after now.
async fn counted(app: &TestApp) -> Value {
    for _ in 0..2 {
        let before = today(app).await["counted_at"].clone();
        app.until("it is counted anew", async || {
            app.move_clocks(61).await;
            let page = today(app).await;
            (page["counted_at"] != before).then_some(())
        })
        .await;
    }
    today(app).await
}

fn count_of(page: &Value, plan: &str) -> i64 {
    let plans = page["in_force"].as_array().expect("a list").iter();
    let mut counts = plans.filter(|one| one["plan"] == plan);
    counts
        .next()
        .map_or(0, |one| one["count"].as_i64().expect("a number"))
}

fn history_of(page: &Value, plan: &str) -> Vec<i64> {
    let plans = page["history"]["plans"].as_array().expect("a list");
    let of_plan = plans.iter().find(|one| one["plan"] == plan);
    let counts = of_plan.map_or(&Value::Null, |one| &one["counts"]);
    let counts = counts.as_array().into_iter().flatten();
    counts
        .map(|count| count.as_i64().expect("a number"))
        .collect()
}

#[tokio::test]
async fn what_is_in_force_is_counted_by_plan_with_its_history() {
    let (app, replica) = counting().await;
    // Waiting for a count moves the clock by hours: a day that has just begun is not over before it is looked at.
    let seconds_of_day = app.clock.now().unix_timestamp() % DAY;
    app.advance(DAY - seconds_of_day).await;
    let first = today(&app).await;
    assert_eq!(first["in_force"], json!([]));
    assert_eq!(first["compared_at"], Value::Null);
    let alice = app.member("alice");
    app.buy_with(&alice, "membership-annual", GOOD_CARD).await;
    app.buy_with(&alice, "share", GOOD_CARD).await;
    let page = counted(&app).await;
    assert_eq!(count_of(&page, "membership-annual"), 1);
    assert_eq!(count_of(&page, "share"), 1);
    let days = page["history"]["days"].as_array().expect("days");
    let history = history_of(&page, "membership-annual");
    assert_eq!((days.len(), history.len()), (366, 366));
    assert_eq!((history[364], history[365]), (0, 1));
    // Two days later bob has come, and alice has changed her plan.
    app.advance(2 * DAY).await;
    let bob = app.member("bob");
    let bobs = app.buy_with(&bob, "membership-annual", GOOD_CARD).await;
    app.by_hand(
        "INSERT INTO status_changes (subscription_id, from_status, to_status, reason, from_plan, to_plan, cause, at)
         SELECT id, 'ACTIVE', 'ACTIVE', 'plan_changed', 'membership-annual', 'membership-monthly', 'member',
                (SELECT max(at) FROM status_changes)
           FROM subscriptions WHERE user_id = 'alice' AND plan = 'membership-annual';
         UPDATE subscriptions SET plan = 'membership-monthly', version = version + 1
          WHERE user_id = 'alice' AND plan = 'membership-annual'",
    )
    .await;
    let page = counted(&app).await;
    assert_eq!(count_of(&page, "membership-annual"), 1);
    assert_eq!(count_of(&page, "membership-monthly"), 1);
    let annual = history_of(&page, "membership-annual");
    assert_eq!(annual[362..], [0, 1, 1, 1], "one was hers, one is bob's");
    assert_eq!(history_of(&page, "membership-monthly")[362..], [0, 0, 0, 1]);
    // Cancelled is still in force, and told as ending; ended is not.
    let path = format!("/v1/subscriptions/{}/cancel", bobs.subscription);
    let bob = app.member("bob");
    app.post(&path)
        .bearer(&bob)
        .json(json!({}))
        .send()
        .await
        .assert_status(200);
    app.settle().await;
    let page = counted(&app).await;
    assert_eq!(
        (count_of(&page, "membership-annual"), &page["ending"]),
        (1, &json!({"days": 30, "count": 0}))
    );
    app.advance(340 * DAY).await;
    let page = counted(&app).await;
    assert_eq!(page["ending"]["count"], 1);
    app.advance(30 * DAY).await;
    let page = counted(&app).await;
    assert_eq!(
        (
            count_of(&page, "membership-annual"),
            &page["ending"]["count"]
        ),
        (0, &json!(0))
    );
    drop(replica);
}

#[tokio::test]
async fn a_year_that_was_there_before_the_migration_is_counted_too() {
    let app = TestApp::with().following_the_sandbox().start().await;
    app.first_walk_is_over().await;
    let bought = app.sell("membership-annual", GOOD_CARD).await;
    // As the tables were when the migration came: a history of two years, and nothing counted.
    app.by_hand(&format!(
        "ALTER TABLE status_changes DISABLE TRIGGER ALL; DELETE FROM status_changes;
         INSERT INTO status_changes (subscription_id, from_status, to_status, reason, cause, at) VALUES
           ('{0}', NULL, 'ACTIVE', 'paid', 'webhook', now() - interval '700 days'),
           ('{0}', 'ACTIVE', 'ON_HOLD', 'unpaid', 'webhook', now() - interval '100 days'),
           ('{0}', 'ON_HOLD', 'ACTIVE', 'paid', 'webhook', now() - interval '90 days');
         DELETE FROM in_force_days; DELETE FROM today; DELETE FROM in_force_walk;
         INSERT INTO in_force_walk (done, seen) SELECT 0, max(seq) FROM status_changes",
        bought.subscription
    ))
    .await;
    let page = today(&app).await;
    let history = history_of(&page, "membership-annual");
    let at = |days_ago: usize| history[365 - days_ago];
    assert_eq!((at(365), at(101), at(95), at(89), at(0)), (1, 1, 0, 1, 1));
    let often = [(
        "DUES__WORKER__COMPARE_INTERVAL_SECONDS".to_owned(),
        "1".to_owned(),
    )];
    let database = app.settings.database.url.expose();
    let replica = Replica::start(database, app.sandbox.url(), &HashMap::from(often)).await;
    let walked = counted(&app).await;
    assert_eq!(
        history_of(&walked, "membership-annual"),
        history,
        "walked or not, it is the same"
    );
    let days: i64 = app.count("in_force_days").await;
    assert_eq!(days, 3, "each change is counted on its day");
    // A row that was edited by hand is made up for, once a day.
    app.by_hand(
        "UPDATE subscriptions SET status = 'ENDED', status_reason = 'ended', version = version + 1",
    )
    .await;
    app.advance(DAY).await;
    let page = counted(&app).await;
    assert_eq!(count_of(&page, "membership-annual"), 0);
    drop(replica);
}

#[tokio::test]
async fn what_is_wrong_is_counted() {
    let (app, replica) = counting().await;
    let bought = app.sell("membership-annual", GOOD_CARD).await;
    app.by_hand(&format!(
        "INSERT INTO webhook_events (id, type, object_id, created, received_at, state, next_attempt_at) VALUES
           ('evt_1', 'invoice.paid', 'in_x', now(), now(), 'failed', NULL),
           ('evt_2', 'invoice.paid', 'in_x', now(), now(), 'flagged', NULL),
           ('evt_3', 'invoice.paid', 'in_x', now(), now() - interval '20 minutes', 'deferred', '2126-01-01'),
           ('evt_4', 'invoice.paid', 'in_x', now(), now() + interval '9 years', 'deferred', '2126-01-01');
         INSERT INTO followers (name, kind, state, position, created_at) VALUES ('forum', 'webhook', 'following', 0, now());
         INSERT INTO followers_parked VALUES ('forum', 'alice', '{{3}}', 2, '2126-01-02', 'it said 400', now());
         INSERT INTO actions (id, seq, at, actor, role, request_hash, verb, subject, reason, state, outcome)
         VALUES ('{0}', 1, now(), 'boss', 'operator', '', 'sync', '{0}', 'mistake', 'unknown', 'stripe_timeout')",
        bought.subscription
    ))
    .await;
    app.by_hand("UPDATE subscriptions SET status = 'ON_HOLD', status_reason = 'unpaid', version = version + 1").await;
    // Not by moving the clock much: what waits would have waited too long.
    let page = counted(&app).await;
    let wrong = &page["wrong"];
    assert_eq!(
        *wrong,
        json!({"failed": wrong["failed"], "flagged": 1, "deferred_too_long": 1, "parked": 1, "actions_unknown": 1,
               "paid_not_here": null, "here_not_paid": null})
    );
    assert_eq!(page["on_hold"], json!([{"reason": "unpaid", "count": 1}]));
    assert!(page["last_webhook_at"].is_string());
    drop(replica);
}

#[tokio::test]
async fn what_a_whole_comparison_has_found_is_kept_with_its_time() {
    let app = TestApp::with().following_the_sandbox().start().await;
    app.first_walk_is_over().await;
    app.sandbox
        .post("/_sandbox/chaos", json!({"drop": 1.0}))
        .await;
    let unheard = app.open(&app.member("alice"), "membership-annual").await;
    app.pay(&unheard).await;
    let bob = app.open(&app.member("bob"), "membership-annual").await;
    app.by_hand(&format!(
        "UPDATE subscriptions SET status = 'ACTIVE', status_reason = 'paid', first_paid_at = now() WHERE id = '{}'",
        bob.subscription
    ))
    .await;
    let how = dues::services::events::compare::How::default();
    let never = tokio_util::sync::CancellationToken::new();
    let found = app
        .services
        .events
        .compare(how, &never, |_| {})
        .await
        .expect("it is compared");
    assert!(found.is_whole);
    let page = today(&app).await;
    assert_eq!(
        (
            &page["wrong"]["paid_not_here"],
            &page["wrong"]["here_not_paid"]
        ),
        (&json!(1), &json!(1))
    );
    assert!(page["compared_at"].is_string());
    let differing = app
        .looked_at("/v1/operator/differing?direction=paid_not_here")
        .await;
    assert_eq!(differing["data"][0]["subscription"]["user_id"], "alice");
    assert_eq!(
        differing["data"][0]["subscription"]["status"],
        "PENDING_ACTIVATION"
    );
    let both = app.looked_at("/v1/operator/differing").await;
    assert_eq!(both["data"].as_array().map(Vec::len), Some(2), "{both}");
    // What an operator has taken over is not on the list any more.
    let path = format!("subscriptions/{}/sync", unheard.subscription);
    app.grace_does(&path, json!({})).await.assert_status(200);
    let page = today(&app).await;
    assert_eq!(page["wrong"]["paid_not_here"], json!(0));
    // Mended is not wrong any more.
    let how = dues::services::events::compare::How {
        apply: true,
        since: None,
    };
    app.services
        .events
        .compare(how, &never, |_| {})
        .await
        .expect("it is compared");
    let page = today(&app).await;
    assert_eq!(
        (
            &page["wrong"]["paid_not_here"],
            &page["wrong"]["here_not_paid"]
        ),
        (&json!(0), &json!(0))
    );
}
