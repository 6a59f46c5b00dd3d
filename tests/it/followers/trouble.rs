//! Receivers that are away, slow, broken or refuse, and what becomes of what they are to be told.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{Followed, assert_in_order, naming};
use crate::harness::lifecycle::{DAY, HOUR, text};
use crate::harness::purchase::GOOD_CARD;
use crate::harness::receiver::{GIVEN_UP, Receiver, Reply, hanging_up};
use crate::harness::replica::Replica;

/// Buys for so many members, `member-0` first.
async fn members_buy(followed: &Followed, count: usize) {
    for member in 0..count {
        let token = followed.app.member(&format!("member-{member}"));
        followed.app.open(&token, "share").await;
    }
}

fn waits(row: &Value) -> bool {
    row["attempts"].as_i64() > Some(0)
}

#[tokio::test]
async fn who_is_away_for_a_week_is_told_all_of_it_in_order_as_soon_as_he_is_back() {
    let followed = Followed::start("").await;
    followed.receiver.reply("", Reply::Status(503));
    let app = &followed.app;
    app.sell("membership-monthly", GOOD_CARD).await;
    let row = followed.place("player", async |row| waits(row)).await;
    assert_eq!(row["last_error"], "answered 503");
    for _ in 0..7 {
        app.advance(DAY).await;
        members_buy(&followed, 2).await;
    }
    assert!(followed.receiver.taken().is_empty());
    // It costs him a request now and then, not one for each row.
    assert!(
        followed.receiver.got().len() < 60,
        "{}",
        followed.receiver.got().len()
    );
    followed.receiver.be_well();
    app.advance(2 * HOUR).await;
    followed.told("player").await;
    followed.assert_all_taken_once().await;
    let row = followed.place("player", async |row| !waits(row)).await;
    assert_eq!(row["last_error"], json!(null));
}

#[tokio::test]
async fn a_wish_to_wait_is_granted() {
    let followed = Followed::start("").await;
    followed.receiver.reply("", Reply::Later(1_800));
    members_buy(&followed, 1).await;
    followed.place("player", async |row| waits(row)).await;
    followed.receiver.be_well();
    followed.app.advance(HOUR / 3).await;
    // Long enough for several looks.
    followed
        .app
        .buy_with(&followed.app.member("bob"), "credits-20", GOOD_CARD)
        .await;
    assert_eq!(followed.receiver.got().len(), 1);
    followed.app.advance(HOUR / 3).await;
    followed.told("player").await;
    followed.assert_all_taken_once().await;
}

#[tokio::test]
async fn who_hangs_up_redirects_or_never_ends_is_told_like_others() {
    let (url, hung_up) = hanging_up().await;
    let followed = Followed::start("").await;
    let elsewhere = format!(
        "{}\n[[follower]]\nname = \"rude\"\nkind = \"webhook\"\nurl = \"{url}\"\nsecret_env = \"PLAYER_SECRET\"\n",
        naming(&followed.receiver, "")
    );
    followed.file.write(&elsewhere);
    followed.app.services.followers.reload();
    followed.place("rude", async |_| true).await;
    followed.receiver.reply("", Reply::Endless);
    members_buy(&followed, 1).await;
    followed.told("player").await;
    let row = followed.place("rude", async |row| waits(row)).await;
    assert_eq!(row["last_error"], "the connection broke off");
    assert!(hung_up.load(Ordering::SeqCst) > 0);
    followed.receiver.reply("", Reply::Elsewhere);
    let bob = followed.app.member("bob");
    followed.app.open(&bob, "share").await;
    followed.told("player").await;
    let parked = followed
        .command(&["show", "player", "--json"])
        .await
        .assert_code(0)
        .json();
    let error = text(&parked["parked"][0]["last_error"]);
    assert_eq!(error, "answered 302: redirects are not followed");
    // Once, and not followed.
    assert_eq!(followed.receiver.got().len(), 2);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_given_up_and_the_row_sent_again() {
    let followed = Followed::start("").await;
    followed.receiver.reply("", Reply::Never);
    members_buy(&followed, 1).await;
    let sent = async || (followed.receiver.got().len() == 1).then_some(());
    followed.app.until("it is sent", sent).await;
    // Longer than anything else here is waited for.
    let forever = std::future::pending::<()>();
    let over = tokio::time::timeout(GIVEN_UP, forever).await;
    assert!(over.is_err());
    let row = followed.place("player", async |row| waits(row)).await;
    assert_eq!(row["last_error"], "no answer within 15 s");
    followed.receiver.be_well();
    followed.app.advance(HOUR).await;
    followed.told("player").await;
    let got = followed.receiver.got();
    // It may have had its effect: the receiver knows by the id.
    assert_eq!((got.len(), &got[0].id), (2, &got[1].id));
}

#[tokio::test]
async fn a_member_who_is_refused_waits_in_order_and_the_others_go_on() {
    let followed = Followed::start("").await;
    followed.receiver.reply("alice", Reply::Status(500));
    let app = &followed.app;
    let alice = app.member("alice");
    app.open(&alice, "share").await;
    followed.told("player").await;
    app.open(&app.member("bob"), "share").await;
    let hers = app.buy_with(&alice, "credits-20", GOOD_CARD).await;
    followed.told("player").await;
    let taken = followed.receiver.taken();
    assert!(taken.iter().all(|got| got.body["user_id"] == "bob") && !taken.is_empty());
    let parked = followed.parked().await;
    let rows = followed.feed().await.len();
    assert_eq!(parked.len(), 1);
    assert_eq!(
        (&parked[0].0, parked[0].1.len()),
        (&"alice".to_owned(), rows - taken.len())
    );
    // Refused again, she waits longer.
    app.advance(10).await;
    followed
        .app
        .until("she was tried again", async || {
            let attempts: i32 = sqlx::query_scalar("SELECT attempts FROM followers_parked")
                .fetch_one(&app.pool)
                .await
                .expect("she is parked");
            (attempts == 2).then_some(())
        })
        .await;
    followed.receiver.be_well();
    app.advance(HOUR).await;
    app.until("nobody is parked", async || {
        followed.parked().await.is_empty().then_some(())
    })
    .await;
    followed.assert_all_taken_once().await;
    let last = followed.receiver.taken().pop().expect("a message").body;
    assert_eq!(last["subscription_id"], hers.subscription.as_str());
}

#[tokio::test]
async fn when_everybody_is_refused_the_follower_waits_at_the_first() {
    let followed = Followed::start("").await;
    followed.receiver.reply("", Reply::Status(500));
    members_buy(&followed, 15).await;
    let row = followed.place("player", async |row| waits(row)).await;
    assert_eq!(
        row["last_error"],
        "10 members in a row were refused: answered 500"
    );
    assert_eq!(row["position"], 0);
    assert_eq!(followed.parked().await, []);
    followed.receiver.be_well();
    followed.app.advance(2 * HOUR).await;
    followed.told("player").await;
    followed.assert_all_taken_once().await;
}

#[tokio::test]
async fn a_receiver_that_wants_no_more_is_left_alone_until_a_person_says_otherwise() {
    let followed = Followed::start("").await;
    followed.receiver.reply("", Reply::Status(410));
    members_buy(&followed, 1).await;
    let row = followed
        .place("player", async |row| row["stopped"] == true)
        .await;
    assert_eq!(row["last_error"], "answered 410: it wants no more");
    followed.receiver.be_well();
    followed.app.advance(7 * DAY).await;
    members_buy(&followed, 3).await;
    assert_eq!(followed.receiver.got().len(), 1);
    let list = followed.command(&["list"]).await.assert_code(0);
    assert!(
        list.line("player webhook stopped").contains("410"),
        "{list:?}"
    );
    followed.command(&["retry", "player"]).await.assert_code(0);
    followed.told("player").await;
    followed.assert_all_taken_once().await;
}

#[tokio::test]
async fn two_replicas_tell_once_and_one_takes_over_from_the_other() {
    let mut followed = Followed::start("").await;
    let more: HashMap<String, String> = { followed.variables().into_iter() }
        .filter(|(name, _)| name.starts_with("PLAYER") || name.contains("FOLLOWERS"))
        .collect();
    let database = followed.app.settings.database.url.expose().to_owned();
    let mut other = Replica::start(&database, followed.app.sandbox.url(), &more).await;
    members_buy(&followed, 10).await;
    followed.told("player").await;
    followed.assert_all_taken_once().await;
    // The one ends in order, and what is bought at the other is told all the same.
    followed.app.stop().await;
    for member in 0..3 {
        let token = other.member(&format!("late-{member}"));
        let order = other
            .request(reqwest::Method::POST, "/v1/subscriptions")
            .bearer(&token);
        let order = order.json(json!({ "lines": [{ "plan": "share" }] }));
        order.send().await.assert_status(201);
    }
    followed.told("player").await;
    followed.assert_all_taken_once().await;
    other.stop().await;
}

#[tokio::test]
async fn killed_at_any_line_nothing_is_lost_or_told_out_of_order() {
    let followed = Followed::start("").await;
    let app = &followed.app;
    for round in 0..5 {
        for member in 0..8 {
            let token = app.member(&format!("member-{round}-{member}"));
            app.open(&token, "share").await;
        }
        app.until("some of it is told", async || {
            (followed.receiver.taken().len() > round * 8 + 1).then_some(())
        })
        .await;
        // As a lease looks whose process was killed, and another that takes over at once.
        sqlx::query("UPDATE followers SET lease_token = gen_random_uuid(), lease_until = now() - interval '1 second'")
            .execute(&app.pool)
            .await
            .expect("the table is there");
    }
    followed.told("player").await;
    let taken = followed.receiver.taken();
    assert_in_order(&taken);
    let told: HashSet<String> = taken.iter().map(|got| got.id.clone()).collect();
    let rows: HashSet<String> = followed
        .feed()
        .await
        .into_iter()
        .map(|(_, id)| id)
        .collect();
    assert_eq!(told, rows);
}

#[tokio::test]
async fn what_a_follower_was_not_told_is_never_purged_and_what_was_purged_stops_him() {
    let followed = Followed::start("").await;
    followed.receiver.reply("member-0", Reply::Status(500));
    members_buy(&followed, 3).await;
    followed.told("player").await;
    let parked = followed.parked().await;
    assert_eq!(parked.len(), 1, "{parked:?}");
    let app = &followed.app;
    app.advance(120 * DAY).await;
    let oldest = async || followed.feed().await.first().map(|(position, _)| *position);
    // Purged is all before what waits of hers: nothing, for she was the first.
    assert_eq!(oldest().await, Some(parked[0].1[0]));
    followed
        .command(&["skip", "player", "--user", "member-0"])
        .await
        .assert_code(0);
    followed.told("player").await;
    // Somebody purges by hand, while nobody looks.
    sqlx::query("UPDATE followers SET position = 0")
        .execute(&app.pool)
        .await
        .expect("it is there");
    sqlx::query("DELETE FROM feed WHERE position = 1")
        .execute(&app.pool)
        .await
        .expect("it is there");
    let row = followed
        .place("player", async |row| row["stopped"] == true)
        .await;
    assert!(
        text(&row["last_error"]).contains("dues followers resync"),
        "{row}"
    );
}

#[tokio::test]
async fn a_file_that_is_read_again_keeps_places_by_name_and_by_the_name_before() {
    let followed = Followed::start("").await;
    members_buy(&followed, 1).await;
    followed.told("player").await;
    followed.file.write("[[follower]]\nname = \"broken\n");
    followed.app.services.followers.reload();
    members_buy(&followed, 2).await;
    followed.told("player").await;
    let other = Receiver::start().await;
    let renamed = naming(&other, "renamed_from = \"player\"\n")
        .replace("\"player\"\nkind", "\"stage\"\nkind");
    followed.file.write(&renamed);
    followed.app.services.followers.reload();
    followed.place("stage", async |_| true).await;
    let before = followed.receiver.taken().len();
    followed
        .app
        .open(&followed.app.member("bob"), "share")
        .await;
    followed.told("stage").await;
    assert_eq!(followed.receiver.taken().len(), before);
    let told = other.taken();
    let told: Vec<String> = told.iter().map(|got| text(&got.body["user_id"])).collect();
    assert_eq!(told, ["bob"]);
    let places: Vec<String> = sqlx::query_scalar("SELECT name FROM followers")
        .fetch_all(&followed.app.pool)
        .await
        .expect("the table is there");
    assert_eq!(places, ["stage"]);
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_snapshot_loses_nothing_of_it() {
    let followed = Followed::start("").await;
    members_buy(&followed, 3).await;
    followed.told("player").await;
    followed.receiver.reply("", Reply::Status(410));
    followed.command(&["resync", "player"]).await.assert_code(0);
    let row = followed
        .place("player", async |row| row["stopped"] == true)
        .await;
    assert_eq!(row["state"], "snapshot");
    followed.receiver.be_well();
    followed.command(&["retry", "player"]).await.assert_code(0);
    followed
        .place("player", async |row| row["state"] == "following")
        .await;
    let in_force = { followed.receiver.taken().into_iter() }
        .filter(|got| got.body["type"] == "subscription.in_force");
    assert_eq!(in_force.count(), 3);
}

#[tokio::test]
async fn when_everybody_is_refused_in_a_snapshot_it_waits_and_parks_nobody() {
    let followed = Followed::start("").await;
    members_buy(&followed, 12).await;
    followed.told("player").await;
    followed.receiver.reply("", Reply::Status(401));
    followed.command(&["resync", "player"]).await.assert_code(0);
    let row = followed.place("player", async |row| waits(row)).await;
    let why = "10 members in a row were refused: answered 401";
    assert_eq!(
        (&row["last_error"], &row["state"]),
        (&json!(why), &json!("snapshot"))
    );
    assert_eq!(followed.parked().await, []);
    followed.receiver.be_well();
    followed.app.advance(HOUR).await;
    followed
        .place("player", async |row| row["state"] == "following")
        .await;
}

#[tokio::test]
async fn a_wish_to_wait_for_no_time_is_not_taken_at_its_word() {
    let followed = Followed::start("").await;
    followed.receiver.reply("", Reply::Later(0));
    members_buy(&followed, 1).await;
    let row = followed.place("player", async |row| waits(row)).await;
    let (next, failed) = (text(&row["next_attempt_at"]), text(&row["last_error_at"]));
    let at = |text: &str| {
        let format = &time::format_description::well_known::Rfc3339;
        time::OffsetDateTime::parse(text, format).expect("a time")
    };
    assert!(
        at(&next) - at(&failed) >= time::Duration::seconds(5),
        "{row}"
    );
    followed.receiver.be_well();
    followed.app.advance(HOUR).await;
    followed.told("player").await;
    followed.assert_all_taken_once().await;
}
