//! What has changed is told once and in order to whoever follows, whatever overlaps.

use std::collections::{HashMap, HashSet};

use dues::auth::mint_development_token;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::harness::lifecycle::{MONTH, text};
use crate::harness::program::run;
use crate::harness::purchase::{FAILING_LATER_CARD, GOOD_CARD};
use crate::harness::replica::Replica;
use crate::harness::{Answer, TestApp};

const PAID: &str = "transaction.recorded payment";
const TOKEN: &str = "a token of thirty-two characters";

async fn followed() -> TestApp {
    TestApp::with()
        .setting("DUES__FEED__TOKENS", TOKEN)
        .start()
        .await
}

async fn read(app: &TestApp, query: &str) -> Answer {
    let path = format!("/v1/feed?{query}");
    app.get(&path).bearer(TOKEN).send().await
}

/// All that is told after a cursor, or from the beginning.
async fn told(app: &TestApp, after: &str) -> Vec<Value> {
    let query = match after {
        "" => "limit=1000".to_owned(),
        after => format!("limit=1000&after={after}"),
    };
    let answer = read(app, &query).await.assert_status(200).json();
    answer["data"].as_array().cloned().expect("a list")
}

async fn cursor(app: &TestApp) -> String {
    text(&read(app, "").await.assert_status(200).json()["next_after"])
}

/// `type from>to`, of one line.
fn of_line(entries: &[Value], id: &str) -> Vec<String> {
    let own = entries
        .iter()
        .filter(|entry| entry["subscription_id"] == id);
    own.map(|entry| {
        let data = &entry["data"];
        let kind = text(&entry["type"]).replace("subscription.", "");
        match (&data["from"], &data["transaction"]["kind"]) {
            (Value::Null, Value::Null) => kind,
            (Value::Null, money) => format!("{kind} {}", text(money)),
            (from, _) => format!("{kind} {from}>{}", data["to"]).replace('"', ""),
        }
    })
    .collect()
}

/// Positions follow each other without gaps.
fn assert_whole(entries: &[Value]) {
    for (before, after) in entries.iter().zip(entries.iter().skip(1)) {
        let place = |entry: &Value| entry["position"].as_i64().expect("a position");
        assert_eq!(place(after), place(before) + 1, "{before} {after}");
    }
}

/// The feed is whole and says what the rows say: positions without gaps up to the head, each transaction told once, and
/// of each line the last status that was told is its own.
pub(crate) async fn assert_tells_what_rows_say(pool: &PgPool) {
    for (what, wrong) in [
        (
            "positions have gaps, or the head is not their last",
            "SELECT count(*) FROM feed_head h
              WHERE h.position <> (SELECT count(*) FROM feed) OR h.position <> (SELECT max(position) FROM feed)",
        ),
        (
            "transactions are not told once each",
            "SELECT count(*) FROM transactions t
              WHERE (SELECT count(*) FROM feed f WHERE f.transaction_id = t.id AND f.type = 'transaction.recorded') <> 1",
        ),
        (
            "lines are not what was told of them last",
            "SELECT count(*) FROM subscriptions s
              WHERE s.status IS DISTINCT FROM (SELECT f.data->>'status' FROM feed f WHERE f.subscription_id = s.id
                                                ORDER BY f.position DESC LIMIT 1)",
        ),
    ] {
        let count: i64 = sqlx::query_scalar(wrong)
            .fetch_one(pool)
            .await
            .expect("the feed is there");
        assert_eq!(count, 0, "{what}");
    }
}

#[tokio::test]
async fn a_membership_s_life_is_told_in_order_with_what_is_true_after_each_change() {
    let app = followed().await;
    let purchase = app.sell("membership-monthly", GOOD_CARD).await;
    let id = &purchase.subscription;
    app.advance(MONTH).await;
    app.change_at_stripe(id, &[("cancel_at_period_end", "true")])
        .await;
    let entries = told(&app, "").await;
    assert_whole(&entries);
    // Which of Stripe's events comes first decides whether the money is seen on its way, and where periods are told.
    let mut told = of_line(&entries, id);
    told.retain(|told| told != "period_changed" && !told.contains("PENDING_COMPLETION"));
    let last = told.pop();
    assert_eq!(told, ["created", PAID, PAID]);
    assert_eq!(last.as_deref(), Some("status_changed ACTIVE>CANCELLED"));
    let first = &entries[0];
    assert_eq!(first["user_id"], "alice");
    assert_eq!(
        (&first["data"]["status"], &first["data"]["entitled"]),
        (&json!("PENDING_ACTIVATION"), &json!(false))
    );
    let active = entries
        .iter()
        .find(|entry| entry["data"]["status"] == "ACTIVE");
    let active = &active.expect("it becomes active")["data"];
    assert_eq!(
        (&active["plan"], &active["kind"], &active["quantity"]),
        (
            &json!("membership-monthly"),
            &json!("membership"),
            &json!(1)
        )
    );
    assert_eq!(active["entitled"], true);
    assert!(active["activated_at"].is_string());
    let last = entries.last().expect("an entry");
    let shown = app.subscription(&app.member("alice"), id).await;
    for name in [
        "status",
        "entitled",
        "paid_until",
        "current_period_end",
        "cancel_at",
    ] {
        assert_eq!(last["data"][name], shown[name], "{name}");
    }
    let paid = entries
        .iter()
        .find(|entry| entry["type"] == "transaction.recorded");
    let paid = paid.expect("a payment");
    assert!(text(&paid["data"]["transaction"]["stripe_reference"]).starts_with("in_"));
    assert!(paid["transaction_id"].is_string());
    assert!(!json!(entries).to_string().contains("amount"), "no amounts");
}

#[tokio::test]
async fn money_that_fails_and_goes_back_is_told_when_it_is_recorded_and_when_it_moves_on() {
    let app = followed().await;
    let late = app.sell("membership-monthly", FAILING_LATER_CARD).await;
    let share = app.sell("share", GOOD_CARD).await;
    let begin = cursor(&app).await;
    app.advance(MONTH).await;
    let failed = of_line(&told(&app, &begin).await, &late.subscription);
    assert!(
        failed.contains(&"transaction.recorded payment_failed".to_owned()),
        "{failed:?}"
    );
    let begin = cursor(&app).await;
    let payment = app.payment_of(&share).await;
    let dispute = app.dispute(&payment, "fraudulent").await;
    app.close_dispute(&dispute, "won").await;
    app.refund(&payment, &[]).await;
    app.settle().await;
    assert_eq!(
        of_line(&told(&app, &begin).await, &share.subscription),
        [
            "status_changed ACTIVE>ON_HOLD",
            "transaction.recorded dispute",
            "status_changed ON_HOLD>ACTIVE",
            "transaction.updated dispute",
            "status_changed ACTIVE>ENDED",
            "transaction.recorded refund",
        ]
    );
}

/// The newest two hundred events.
async fn two_pages_of_events(app: &TestApp) -> Vec<Value> {
    let listed = app.sandbox.stripe("/v1/events?limit=100").await;
    let mut events = listed["data"].as_array().cloned().expect("a list");
    let more = format!(
        "/v1/events?limit=100&starting_after={}",
        text(&events[99]["id"])
    );
    let listed = app.sandbox.stripe(&more).await;
    events.extend(listed["data"].as_array().cloned().expect("a list"));
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_at_two_replicas_are_told_once_and_in_order_to_who_reads_all_the_while() {
    let app = followed().await;
    let more = HashMap::from([("DUES__FEED__TOKENS".to_owned(), TOKEN.to_owned())]);
    let url = app.settings.database.url.expose();
    let other = Replica::start(url, app.sandbox.url(), &more).await;
    app.hold_deliveries().await;
    let mut purchases = Vec::new();
    for member in 0..16 {
        let token = app.member(&format!("member-{member}"));
        let purchase = app.open(&token, "membership-monthly").await;
        app.pay(&purchase).await;
        purchases.push(purchase);
    }
    let mut events = two_pages_of_events(&app).await;
    fastrand::Rng::with_seed(7).shuffle(&mut events);
    // Each twice, at both, at the same time; and orders beside them.
    let told_twice = events.iter().map(|event| async {
        let bytes = event.to_string().into_bytes();
        tokio::join!(app.delivery(event).send(), other.webhook(&bytes).send())
    });
    let orders = (0..16).map(|member| {
        let token = other.member(&format!("member-{member}"));
        let body = json!({"plan": "credits-20"});
        let call = other.request(Method::POST, "/v1/subscriptions");
        call.bearer(&token).json(body).send()
    });
    // A transaction that takes its time, in the middle of it.
    let slow = async {
        let mut slow = app.pool.begin().await.expect("the database is there");
        sqlx::query("UPDATE feed_head SET position = position")
            .execute(&mut *slow)
            .await
            .expect("it is held");
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        slow.rollback().await.expect("it is let go");
    };
    let writing = async {
        let (_, ordered, ()) = tokio::join!(join_all(told_twice), join_all(orders), slow);
        for order in ordered {
            order.assert_status(201);
        }
        app.release_deliveries(json!({})).await;
        app.settle().await;
    };
    let mut seen: Vec<Value> = Vec::new();
    let mut reading = Box::pin(async {
        let mut after = String::new();
        loop {
            let query = format!("/v1/feed?wait=1&limit=7&{after}");
            let answer = other
                .request(Method::GET, &query)
                .bearer(TOKEN)
                .send()
                .await;
            let answer = answer.assert_status(200).json();
            seen.extend(answer["data"].as_array().cloned().expect("a list"));
            after = format!("after={}", text(&answer["next_after"]));
            if text(&answer["next_after"]).ends_with("-0") {
                after.clear();
            }
        }
    });
    tokio::select! {
        () = &mut reading => {}
        () = writing => {}
    }
    // What is left, until nothing comes for a second.
    let _rest = tokio::time::timeout(std::time::Duration::from_secs(2), &mut reading).await;
    drop(reading);
    assert_whole(&seen);
    assert_tells_what_rows_say(&app.pool).await;
    assert_eq!(seen[0]["position"], 1);
    assert_eq!(
        seen,
        told(&app, "").await,
        "nothing was missed, and nothing told twice"
    );
    let ids: HashSet<String> = seen.iter().map(|entry| text(&entry["id"])).collect();
    assert_eq!(ids.len(), seen.len());
    for purchase in &purchases {
        let id = &purchase.subscription;
        let statuses: Vec<String> = of_line(&seen, id)
            .into_iter()
            .filter_map(|told| told.strip_prefix("status_changed ").map(ToOwned::to_owned))
            .collect();
        let history = app.history(id).await;
        let history: Vec<String> = history[1..]
            .iter()
            .map(|change| change.split(' ').next().unwrap_or_default().to_owned())
            .collect();
        let differs = |told: &&String| {
            let (from, to) = told.split_once('>').expect("two states");
            from != to
        };
        let moves: Vec<&String> = statuses.iter().filter(differs).collect();
        assert_eq!(moves, history.iter().collect::<Vec<_>>(), "{id}");
        let payments = of_line(&seen, id);
        let payments = payments.iter().filter(|told| told.contains("recorded"));
        assert_eq!(payments.count(), app.transactions(id).await.len(), "{id}");
    }
}

#[tokio::test]
async fn who_waits_is_told_as_soon_as_there_is_something_and_at_the_end_that_there_is_not() {
    let app = followed().await;
    app.open(&app.member("alice"), "share").await;
    let begin = cursor(&app).await;
    let none = read(&app, &format!("after={begin}&wait=1")).await;
    let none = none.assert_status(200).json();
    assert_eq!(
        (&none["data"], &none["next_after"]),
        (&json!([]), &json!(begin))
    );
    let path =
        format!("/v1/feed?after={begin}&wait=20&types=transaction.recorded,subscription.created");
    let waiting = tokio::spawn(app.get(&path).bearer(TOKEN).send());
    // What is not asked for wakes nobody, and is passed over.
    let other = app.open(&app.member("bob"), "credits-20").await;
    let told = waiting.await.expect("it ends").assert_status(200).json();
    assert_eq!(
        of_line(
            told["data"].as_array().expect("a list"),
            &other.subscription
        ),
        ["created"]
    );
}

#[tokio::test]
async fn only_services_read_the_feed() {
    let app = followed().await;
    let with = async |token: &str| app.get("/v1/feed").bearer(token).send().await;
    app.get("/v1/feed")
        .send()
        .await
        .assert_problem(401, "unauthorized");
    with("another token of more than thirty-two characters")
        .await
        .assert_problem(401, "unauthorized");
    with(&app.member("alice"))
        .await
        .assert_problem(403, "forbidden");
    let roles = ["dues:service".to_owned()];
    let life = std::time::Duration::from_mins(1);
    let service = mint_development_token(&app.settings, &app.clock, "player", &roles, life);
    with(&service.expect("a token")).await.assert_status(200);
    with(TOKEN).await.assert_status(200);
    for (query, field) in [
        ("after=17", "after"),
        ("limit=0", "limit"),
        ("wait=26", "wait"),
        ("types=", "types"),
    ] {
        read(&app, query)
            .await
            .assert_problem(422, "validation_failed")
            .assert_field(
                field,
                if field == "after" {
                    "unknown_value"
                } else {
                    "out_of_range"
                },
            );
    }
}

#[tokio::test]
async fn a_cursor_that_leads_nowhere_is_gone_and_told_where_to_begin() {
    let app = followed().await;
    for plan in ["share", "credits-20", "credits-50"] {
        app.open(&app.member("alice"), plan).await;
    }
    let end = cursor(&app).await;
    let (epoch, _) = end.split_once('-').expect("a cursor");
    for wrong in [format!("{epoch}-4"), "00000000-1".to_owned()] {
        let gone = read(&app, &format!("after={wrong}")).await;
        let gone = gone.assert_problem(410, "cursor_gone").json();
        assert_eq!(gone["detail"], format!("Begin again after {epoch}-0."));
    }
    // The oldest are purged; what is left has no gaps, and who was behind is told.
    sqlx::query("UPDATE feed SET at = at - interval '100 days' WHERE position IN (1, 3)")
        .execute(&app.pool)
        .await
        .expect("the database obeys");
    let more = HashMap::from([("DUES__FEED__TOKENS".to_owned(), TOKEN.to_owned())]);
    let url = app.settings.database.url.expose();
    let other = Replica::start(url, app.sandbox.url(), &more).await;
    app.until("the first is purged", async || {
        (app.count("feed").await == 2).then_some(())
    })
    .await;
    drop(other);
    let gone = read(&app, &format!("after={epoch}-0")).await;
    let gone = gone.assert_problem(410, "cursor_gone").json();
    assert_eq!(gone["detail"], format!("Begin again after {epoch}-1."));
    assert_eq!(told(&app, &format!("{epoch}-1")).await.len(), 2);
    assert_eq!(told(&app, "").await.len(), 2, "from the oldest");

    // A reader that is told of what follows is told of all that does.
    let none = read(&app, &format!("after={end}")).await.assert_status(200);
    assert_eq!(none.json()["data"], json!([]));

    // After a restore, what was told may have been something else.
    let variables = HashMap::from([("DUES__DATABASE__URL".to_owned(), url.to_owned())]);
    let said = run(&["feed", "new-epoch"], &variables).await;
    let said = said.assert_code(0).line("a new epoch begins:");
    let gone = read(&app, &format!("after={end}")).await;
    let gone = gone.assert_problem(410, "cursor_gone").json();
    let begin = text(&gone["detail"]);
    let new = cursor(&app).await;
    assert!(said.ends_with(&new), "{said} {new}");
    assert!(
        !new.starts_with(epoch) && begin.contains(&new[..8]),
        "{begin}"
    );
}

#[tokio::test]
async fn what_came_to_nothing_is_told_all_the_same() {
    let app = followed().await;
    let purchase = app.open(&app.member("alice"), "share").await;
    let path = format!("/v1/checkout/sessions/{}/expire", purchase.session);
    app.at_stripe(Method::POST, &path, &[]).await;
    app.settle().await;
    assert_eq!(
        of_line(&told(&app, "").await, &purchase.subscription),
        ["created", "status_changed PENDING_ACTIVATION>ENDED"]
    );
}

#[test]
fn a_feed_token_that_is_too_short_stops_the_start() {
    let variables = crate::harness::usual_variables(
        "postgres://localhost/none",
        ([127, 0, 0, 1], 1).into(),
        "http://127.0.0.1:1",
    );
    let variables = variables
        .into_iter()
        .chain([("DUES__FEED__TOKENS".to_owned(), format!("{TOKEN},short"))]);
    let environment = dues::settings::Environment::Development;
    let error = dues::settings::Settings::load(environment, None, variables);
    let error = error.expect_err("one is too short").to_string();
    assert!(
        error.contains("DUES__FEED__TOKENS") && !error.contains("short\""),
        "{error}"
    );
}

#[tokio::test]
async fn a_snapshot_is_what_is_in_force_and_where_to_read_on() {
    let app = followed().await;
    let ended = app.open(&app.member("alice"), "share").await;
    let path = format!("/v1/checkout/sessions/{}/expire", ended.session);
    app.at_stripe(Method::POST, &path, &[]).await;
    app.settle().await;
    let mut live = HashSet::new();
    for member in 0..5 {
        let token = app.member(&format!("member-{member}"));
        live.insert(
            app.buy_with(&token, "credits-20", GOOD_CARD)
                .await
                .subscription,
        );
    }
    let begun = cursor(&app).await;
    let mut seen = HashSet::new();
    let mut page = String::new();
    let mut pages = 0;
    loop {
        let path = format!("/v1/feed/snapshot?limit=2{page}");
        let answer = app.get(&path).bearer(TOKEN).send().await;
        let answer = answer.assert_status(200).json();
        assert_eq!(answer["after"], begun, "as of its beginning");
        for line in answer["data"].as_array().expect("a list") {
            if live.contains(&text(&line["subscription_id"])) {
                assert_eq!(
                    (&line["data"]["status"], &line["data"]["entitled"]),
                    (&json!("ACTIVE"), &json!(true))
                );
            }
            seen.insert(text(&line["subscription_id"]));
        }
        pages += 1;
        // What is bought meanwhile is told by the feed.
        app.open(&app.member(&format!("later-{pages}")), "credits-50")
            .await;
        match answer["next_page"].as_str() {
            Some(next) => page = format!("&page={next}"),
            None => break,
        }
        if pages == 3 {
            break;
        }
    }
    assert!(live.is_subset(&seen), "{seen:?}");
    assert!(!seen.contains(&ended.subscription));
    assert!(told(&app, &begun).await.len() >= pages);
    app.get("/v1/feed/snapshot?page=1")
        .bearer(TOKEN)
        .send()
        .await
        .assert_problem(422, "validation_failed")
        .assert_field("page", "unknown_value");
    app.get("/v1/feed/snapshot?page=00000000-1~01a2271d-d108-7c71-98e2-de9bffa59f4a")
        .bearer(TOKEN)
        .send()
        .await
        .assert_problem(410, "cursor_gone");
}
