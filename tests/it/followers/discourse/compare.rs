//! Whole groups compared: once a week, and whenever an operator asks.

use reqwest::Method;
use serde_json::{Value, json};

use super::{ADD, BY_EXTERNAL_ID, Joined, MEMBERS, OF_GROUP, OF_USER, REMOVE, SYNC, lines};
use crate::harness::lifecycle::DAY;

/// Somebody changes a group by hand.
async fn by_hand(joined: &Joined, group: &str, name: &str, is_in: bool) {
    if is_in {
        let member = json!({ "username": name });
        let path = format!("groups/{group}/members");
        joined.control(&path, member).await;
    } else {
        let path = format!("groups/{group}/members/{name}");
        let call = joined.call(Method::DELETE, &path);
        call.send().await.assert_status(200);
    }
}

/// A forum with five members, of whom `member-4` is one no more.
async fn five(mode: &str, lines: &str) -> Joined {
    let joined = Joined::with(
        mode,
        MEMBERS,
        lines,
        neighbours::discourse::Options::default(),
    )
    .await;
    let mut bought = Vec::new();
    for number in 0..5 {
        let name = format!("member-{number}");
        joined.account(&name).await;
        bought.push(joined.buy(&name, "membership-monthly").await);
    }
    let all: Vec<String> = (0..5).map(at_forum).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    joined.until_in("members", &all).await;
    let cancel = format!("/v1/subscriptions/{}/cancel", bought[4]);
    let cancel = joined
        .app
        .post(&cancel)
        .bearer(&joined.app.member("member-4"));
    let now = json!({ "at": "now" });
    cancel.json(now).send().await.assert_status(200);
    joined.until_in("members", &all[..4]).await;
    joined.told().await;
    joined
}

fn at_forum(number: usize) -> String {
    format!("member-{number}-at-forum")
}

/// What was called since, but for looks at the set-up.
fn since(before: &Value, after: &Value) -> Vec<(String, u64)> {
    let after = after.as_object().expect("counts");
    let calls = after.iter().map(|(call, count)| {
        let count = count.as_u64().unwrap_or_default();
        (
            call.clone(),
            count - before[call].as_u64().unwrap_or_default(),
        )
    });
    let is_look = |call: &str| call.ends_with("/groups/{name}.json") || call.contains("settings");
    calls
        .filter(|(call, count)| *count > 0 && !is_look(call))
        .collect()
}

async fn mends(mode: &str) {
    let joined = five(mode, "").await;
    // Drift in both directions, and two who were added by hand: one of them has bought something else.
    by_hand(&joined, "members", &at_forum(0), false).await;
    by_hand(&joined, "members", &at_forum(1), false).await;
    by_hand(&joined, "members", &at_forum(4), true).await;
    for name in ["guest", "friend"] {
        joined.account(name).await;
        by_hand(&joined, "members", &format!("{name}-at-forum"), true).await;
    }
    joined.buy("friend", "credits-20").await;
    joined.told().await;
    let before = joined.state().await["requests"].clone();
    let row = joined.resync().await;
    let in_group = joined.group("members").await;
    let expected = ["friend-at-forum", "guest-at-forum"];
    let expected = expected.map(str::to_owned).into_iter();
    let expected: Vec<String> = expected.chain((0..4).map(at_forum)).collect();
    assert_eq!(in_group, expected);
    let found = "group \"members\": 2 are in it by hand";
    assert_eq!(row["found"], found);
    let calls = since(&before, &joined.state().await["requests"]);
    let one = |call: &str, count| (call.to_owned(), count);
    assert_eq!(
        calls,
        [
            one(REMOVE, 1),
            one(OF_USER, 2),
            one(OF_GROUP, 1),
            one(ADD, 1)
        ]
    );
    let shown = joined.command(&["followers", "show", "forum"]).await;
    shown.assert_code(0).line(&format!("found {found}"));
    let doctor = joined.command(&["doctor"]).await;
    doctor.line(&format!("note followers forum: {found}"));
}

#[tokio::test]
async fn a_comparison_mends_both_ways_in_bulk_by_connect() {
    mends("connect").await;
}

#[tokio::test]
async fn a_comparison_mends_both_ways_in_bulk_by_the_groups_api() {
    mends("groups").await;
}

#[tokio::test]
async fn who_is_in_a_group_by_hand_leaves_it_where_the_file_says_so() {
    let joined = five("connect", "remove_by_hand = true\n").await;
    let guest = json!({"username": "guest", "email": "guest@forum.example"});
    joined.control("users", guest).await;
    by_hand(&joined, "members", "guest", true).await;
    by_hand(&joined, "annual", "guest", true).await;
    let row = joined.resync().await;
    let expected: Vec<String> = (0..4).map(at_forum).collect();
    assert_eq!(joined.group("members").await, expected);
    // A group of nobody's.
    assert_eq!(joined.group("annual").await, ["guest"]);
    assert_eq!(
        row["found"],
        "group \"members\": 1 were in it by hand and were removed"
    );
}

#[tokio::test]
async fn what_is_not_known_any_more_is_asked_and_then_known() {
    for (mode, per_member) in [("connect", SYNC), ("groups", BY_EXTERNAL_ID)] {
        let joined = five(mode, "").await;
        by_hand(&joined, "members", &at_forum(0), false).await;
        by_hand(&joined, "members", &at_forum(4), true).await;
        // As after a restart.
        joined
            .follow(&lines("forum", &joined.forum.url(), mode, MEMBERS))
            .await;
        let before = joined.state().await["requests"].clone();
        joined.resync().await;
        let expected: Vec<String> = (0..4).map(at_forum).collect();
        assert_eq!(joined.group("members").await, expected);
        let calls = since(&before, &joined.state().await["requests"]);
        let count = |name: &str| {
            let call = calls.iter().find(|(call, _)| call == name);
            call.map(|(_, count)| *count)
        };
        assert_eq!(
            (count(per_member), count(OF_USER)),
            (Some(4), Some(1)),
            "{calls:?}"
        );
        let before = joined.state().await["requests"].clone();
        joined.resync().await;
        let calls = since(&before, &joined.state().await["requests"]);
        assert_eq!(calls, [(OF_GROUP.to_owned(), 1)]);
    }
}

#[tokio::test]
async fn once_a_week_all_is_compared_and_the_place_stays_where_it_is() {
    let joined = five("connect", "").await;
    let place = joined.place(|_| true).await;
    assert_eq!(place["compared_at"], json!(null));
    by_hand(&joined, "members", &at_forum(0), false).await;
    joined.app.move_clocks(6 * DAY).await;
    joined.buy("late", "credits-20").await;
    joined.told().await;
    assert_eq!(joined.group("members").await.len(), 3);
    joined.app.move_clocks(DAY + 60).await;
    let compared = joined
        .place(|row| row["compared_at"].is_string() && row["state"] == "following")
        .await;
    assert_eq!(joined.group("members").await.len(), 4);
    assert!(compared["position"].as_i64() >= place["position"].as_i64());
    assert_eq!(compared["found"], json!(null));
    // Not again before another week.
    let lists = joined.count(OF_GROUP).await;
    by_hand(&joined, "members", &at_forum(1), false).await;
    joined.app.move_clocks(6 * DAY).await;
    joined.account("later").await;
    joined.buy("later", "membership-annual").await;
    joined.told().await;
    assert_eq!(joined.count(OF_GROUP).await, lists);
}

#[tokio::test]
async fn who_begins_with_a_snapshot_is_compared_first() {
    let joined = five("groups", "").await;
    by_hand(&joined, "members", &at_forum(2), false).await;
    let file = lines("later", &joined.forum.url(), "connect", MEMBERS);
    joined.follow(&format!("{file}from = \"snapshot\"\n")).await;
    joined
        .until_in(
            "members",
            &[&at_forum(0), &at_forum(1), &at_forum(2), &at_forum(3)],
        )
        .await;
}

#[tokio::test]
async fn while_all_is_compared_what_is_new_is_told() {
    let joined = five("connect", "").await;
    // The comparison can't go on, and the forum is not called for long.
    let slow = json!({"kind": "stall_before", "ms": 3_000, "path": "/groups/members/members"});
    joined.control("faults", slow).await;
    joined.account("new").await;
    let ended = joined.command(&["followers", "resync", "forum"]).await;
    ended.assert_code(0);
    joined.buy("new", "membership-annual").await;
    let is_in = async || {
        let members = joined.group("members").await;
        members.contains(&"new-at-forum".to_owned()).then_some(())
    };
    joined.app.until("the new one is in", is_in).await;
    joined.place(|row| row["state"] == "following").await;
    joined.told().await;
    assert_eq!(joined.group("members").await.len(), 5);
}

#[tokio::test]
async fn groups_of_more_than_a_page_are_read_to_their_end() {
    let joined = five("connect", "").await;
    for number in 0..1_100 {
        let guest = json!({"username": format!("a{number:04}"), "groups": ["members"]});
        joined.control("users", guest).await;
    }
    by_hand(&joined, "members", &at_forum(3), false).await;
    let before = joined.count(OF_GROUP).await;
    let ended = joined.command(&["followers", "resync", "forum"]).await;
    ended.assert_code(0);
    // Each of them is asked for, at the pace: the clock is moved on, minute by minute.
    for asked in (50..=1_100).step_by(150) {
        let is_so = async || {
            joined.app.move_clocks(60).await;
            (joined.count(OF_USER).await >= asked).then_some(())
        };
        joined.app.until("some more were asked for", is_so).await;
    }
    let row = joined.place(|row| row["compared_at"].is_string()).await;
    assert_eq!(row["found"], "group \"members\": 1100 are in it by hand");
    assert_eq!(joined.count(OF_GROUP).await, before + 2);
    assert!(joined.group("members").await.contains(&at_forum(3)));
}
