//! Forums that are away, slow or broken, that refuse, or whose set-up is not as it must be.

use neighbours::discourse::Options;
use reqwest::Method;
use serde_json::{Value, json};

use super::{ADD, BY_EXTERNAL_ID, Joined, MEMBERS, SYNC, lines};
use crate::harness::lifecycle::HOUR;
use crate::harness::receiver::GIVEN_UP;

/// A forum where alice has an account, and a call of which goes wrong in this way when she buys.
async fn with_fault(mode: &str, fault: Value) -> Joined {
    let joined = Joined::start(mode, MEMBERS).await;
    joined.account("alice").await;
    joined.control("faults", fault).await;
    joined.buy("alice", "membership-monthly").await;
    joined
}

async fn well(joined: &Joined) {
    let faults = joined.call(Method::DELETE, "faults");
    faults.send().await.assert_status(200);
}

#[tokio::test]
async fn a_forum_that_wants_to_be_left_alone_is() {
    let fault =
        json!({"kind": "status", "status": 429, "retry_after": 1_800, "path": "/admin/users"});
    let joined = with_fault("connect", fault).await;
    assert_eq!(joined.trouble().await, "answered 429");
    joined.app.advance(HOUR / 3).await;
    joined.buy("bob", "membership-monthly").await;
    assert_eq!(joined.count(SYNC).await, 0);
    joined.app.advance(HOUR / 3).await;
    joined.until_in("members", &["alice-at-forum"]).await;
}

#[tokio::test]
async fn more_calls_than_the_forum_answers_are_not_lost() {
    let joined = Joined::start("groups", MEMBERS).await;
    let rate = json!({ "requests_per_minute": 1 });
    joined.control("settings", rate).await;
    joined.account("alice").await;
    joined.buy("alice", "membership-monthly").await;
    assert_eq!(joined.trouble().await, "answered 429");
    let rate = json!({ "requests_per_minute": 1_000 });
    joined.control("settings", rate).await;
    joined.app.move_clocks(61).await;
    joined.until_in("members", &["alice-at-forum"]).await;
}

#[tokio::test]
async fn an_effect_without_an_answer_is_brought_about_again() {
    let fault = json!({"kind": "stall_after", "ms": 30_000, "path": "/admin/users/sync_sso"});
    let joined = with_fault("connect", fault).await;
    joined.until_in("members", &["alice-at-forum"]).await;
    // Longer than anything else here is waited for.
    let forever = std::future::pending::<()>();
    assert!(tokio::time::timeout(GIVEN_UP, forever).await.is_err());
    assert_eq!(joined.trouble().await, "no answer within 15 s");
    joined.app.advance(HOUR).await;
    joined.told().await;
    assert_eq!(joined.group("members").await, ["alice-at-forum"]);
}

#[tokio::test]
async fn a_connection_that_breaks_off_after_the_effect_is_no_member_twice() {
    for (mode, path) in [
        ("connect", "/admin/users/sync_sso"),
        ("groups", "/groups/41"),
    ] {
        let joined = with_fault(mode, json!({"kind": "close_after", "path": path})).await;
        assert_eq!(joined.trouble().await, "the connection broke off");
        joined.until_in("members", &["alice-at-forum"]).await;
        joined.app.advance(HOUR).await;
        joined.told().await;
        assert_eq!(joined.group("members").await, ["alice-at-forum"]);
    }
}

#[tokio::test]
async fn who_was_added_between_the_question_and_the_change_is_a_member() {
    let fault = json!({"kind": "stall_before", "ms": 1_000, "method": "PUT", "path": "/groups"});
    let joined = with_fault("groups", fault).await;
    let is_asked = async || (joined.count(BY_EXTERNAL_ID).await > 0).then_some(());
    joined.app.until("she is asked for", is_asked).await;
    let member = json!({ "username": "alice-at-forum" });
    joined.control("groups/members/members", member).await;
    joined.told().await;
    assert_eq!(joined.state().await["refused"][format!("422 {ADD}")], 1);
    let row = joined.place(|_| true).await;
    assert_eq!(row["last_error"], json!(null));
}

#[tokio::test]
async fn garbage_errors_and_redirects_wait_with_their_member_and_the_others_go_on() {
    for (fault, why) in [
        (
            json!({"kind": "garbage"}),
            "answered 200 with something that is not JSON",
        ),
        (
            json!({"kind": "endless"}),
            "its answer is longer than 4 MiB",
        ),
        (json!({"kind": "status", "status": 500}), "answered 500"),
        (json!({"kind": "status", "status": 418}), "answered 418"),
        (
            json!({"kind": "redirect"}),
            "answered 302: redirects are not followed",
        ),
    ] {
        let mut fault = fault;
        fault["path"] = json!("/admin/users/sync_sso");
        let joined = with_fault("connect", fault).await;
        let is_parked = async || joined.parked().await.into_iter().next();
        let parked = joined.app.until("she is parked", is_parked).await;
        assert_eq!(parked, ("alice".to_owned(), why.to_owned()));
        joined.account("bob").await;
        joined.buy("bob", "membership-monthly").await;
        joined.until_in("members", &["bob-at-forum"]).await;
        joined.app.move_clocks(60).await;
        joined
            .until_in("members", &["alice-at-forum", "bob-at-forum"])
            .await;
        joined.told().await;
    }
}

#[tokio::test]
async fn a_connection_that_is_closed_makes_the_forum_wait() {
    let joined = with_fault(
        "groups",
        json!({"kind": "close", "path": "/u/", "times": 2}),
    )
    .await;
    assert_eq!(joined.trouble().await, "the connection broke off");
    well(&joined).await;
    joined.app.advance(HOUR).await;
    joined.until_in("members", &["alice-at-forum"]).await;
}

#[tokio::test]
async fn a_key_that_may_not_makes_the_forum_wait_and_the_doctor_says_so() {
    let refused = "answered 403: the key is wrong, or may not do this; it must be a global one of an administrator";
    let hidden = "answered 404: the key acts as somebody who is no administrator";
    for (mode, key, why) in [
        ("connect", json!({"scopes": ["users:sync_sso"]}), refused),
        ("groups", json!({"scopes": ["global:read"]}), refused),
        ("connect", json!({"username": "bob-at-forum"}), hidden),
        ("connect", Value::Null, refused),
    ] {
        let joined = Joined::start("connect", MEMBERS).await;
        joined.account("alice").await;
        joined.account("bob").await;
        let mut file = lines("forum", &joined.forum.url(), mode, MEMBERS);
        if let Some(mut key) = Some(key).filter(Value::is_object) {
            key["key"] = json!("forum-other-key");
            if key["username"].is_string() {
                file = file.replace("\"system\"", "\"bob-at-forum\"");
            }
            joined.control("keys", key).await;
        }
        let mended = lines("forum", &joined.forum.url(), mode, MEMBERS);
        joined
            .follow(&file.replace("FORUM_KEY", "FORUM_OTHER_KEY"))
            .await;
        joined.buy("alice", "membership-monthly").await;
        assert_eq!(joined.trouble().await, why);
        let doctor = joined.command(&["doctor"]).await.assert_code(1);
        // A key that may read all and change nothing shows itself when something is changed.
        if mode == "connect" {
            doctor.line(&format!("FAIL followers forum: {why}"));
        } else {
            let waits = doctor.line("warn followers forum waits,");
            assert!(waits.contains(why), "{waits}");
        }
        joined.follow(&mended).await;
        joined.app.move_clocks(60).await;
        joined.until_in("members", &["alice-at-forum"]).await;
    }
}

#[tokio::test]
async fn where_the_forum_overrides_groups_nobody_loses_any_and_the_doctor_refuses_it() {
    let options = Options {
        overrides_groups: true,
        ..Options::default()
    };
    let joined = Joined::with("connect", MEMBERS, "", options).await;
    joined.account("alice").await;
    let member = json!({ "username": "alice-at-forum" });
    joined.control("groups/annual/members", member).await;
    joined.buy("alice", "membership-monthly").await;
    let why = joined.trouble().await;
    assert!(
        why.starts_with("discourse_connect_overrides_groups is on"),
        "{why}"
    );
    assert_eq!(joined.group("annual").await, ["alice-at-forum"]);
    assert_eq!(joined.count(SYNC).await, 0);
    let doctor = joined.command(&["doctor"]).await.assert_code(1);
    doctor.line("FAIL followers forum: discourse_connect_overrides_groups is on");
    let off = json!({"overrides_groups": false, "connect_secret": null});
    joined.control("settings", off).await;
    let doctor = joined.command(&["doctor"]).await.assert_code(1);
    doctor.line("FAIL followers forum: enable_discourse_connect is off");
    // The other way does without.
    joined
        .follow(&lines("forum", &joined.forum.url(), "groups", MEMBERS))
        .await;
    joined.app.move_clocks(60).await;
    joined.until_in("members", &["alice-at-forum"]).await;
    let doctor = joined.command(&["doctor"]).await;
    doctor.line("ok followers forum has the groups members, and its key may change them");
    let tested = joined.command(&["followers", "test", "forum"]).await;
    tested.assert_code(0).line("forum has the groups members");
}

#[tokio::test]
async fn a_wrong_secret_of_the_login_makes_the_forum_wait() {
    let joined = Joined::start("connect", MEMBERS).await;
    let secret = json!({ "connect_secret": "another secret" });
    joined.control("settings", secret).await;
    joined.account("alice").await;
    joined.buy("alice", "membership-monthly").await;
    let why = joined.trouble().await;
    assert_eq!(
        why,
        "answered 422: secret_env is not the forum's discourse_connect_secret"
    );
}

async fn renamed(mode: &str) {
    let joined = Joined::start(mode, MEMBERS).await;
    joined.account("alice").await;
    joined.account("bob").await;
    joined.buy("alice", "membership-monthly").await;
    joined.until_in("members", &["alice-at-forum"]).await;
    let rename = json!({ "name": "patrons" });
    let rename = joined.call(Method::PATCH, "groups/members").json(rename);
    rename.send().await.assert_status(200);
    let doctor = joined.command(&["doctor"]).await.assert_code(1);
    let gone = "there is no group \"members\" at the forum: was it renamed?";
    doctor.line(&format!("FAIL followers forum: {gone}"));
    joined.app.move_clocks(HOUR).await;
    joined.buy("bob", "membership-monthly").await;
    // The forum says nothing of a name that it does not know.
    assert_eq!(joined.trouble().await, gone);
    let patrons = "membership = \"patrons\"";
    joined
        .follow(&lines("forum", &joined.forum.url(), mode, patrons))
        .await;
    joined.resync().await;
    joined
        .until_in("patrons", &["alice-at-forum", "bob-at-forum"])
        .await;
    joined.told().await;
}

#[tokio::test]
async fn a_group_that_was_renamed_is_told_by_connect() {
    renamed("connect").await;
}

#[tokio::test]
async fn a_group_that_was_renamed_is_told_by_the_groups_api() {
    renamed("groups").await;
}

#[tokio::test]
async fn a_group_that_vanishes_within_the_hour_is_seen_at_once() {
    for mode in ["connect", "groups"] {
        let joined = Joined::start(mode, MEMBERS).await;
        joined.account("alice").await;
        joined.account("bob").await;
        joined.buy("alice", "membership-monthly").await;
        joined.until_in("members", &["alice-at-forum"]).await;
        let delete = joined.call(Method::DELETE, "groups/members");
        delete.send().await.assert_status(200);
        joined.buy("bob", "membership-monthly").await;
        let gone = "there is no group \"members\" at the forum: was it renamed?";
        assert_eq!(joined.trouble().await, gone);
        joined.control("groups", json!({ "name": "members" })).await;
        joined.resync().await;
        joined
            .until_in("members", &["alice-at-forum", "bob-at-forum"])
            .await;
    }
}
