//! Whoever buys before she is at the forum is brought in by her first login there.

use aws_lc_rs::hmac;
use serde_json::json;

use super::{HOOK_SECRET, Joined, MEMBERS, SYNC};
use crate::harness::Answer;

fn signature(secret: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body.as_bytes());
    let digits = tag.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("sha256={}", digits.collect::<String>())
}

async fn is_brought_in(mode: &str) {
    let joined = Joined::start(mode, MEMBERS).await;
    joined.buy("alice", "membership-monthly").await;
    joined.told().await;
    // It is no failure, and nothing of her is kept.
    let row = joined.place(|_| true).await;
    assert_eq!(
        (&row["attempts"], &row["last_error"]),
        (&json!(0), &json!(null))
    );
    let state = joined.state().await;
    assert_eq!(state["users"], json!([]));
    let login = json!({"external_id": "alice", "email": "alice@forum.example", "username": "ally"});
    let login = joined.control("login", login).await;
    let deliveries = login["deliveries"].as_array().expect("a list");
    assert_eq!(deliveries.len(), 2, "{login}");
    for delivery in deliveries {
        assert_eq!(delivery["status"], 200, "{delivery}");
        assert_eq!(delivery["body"], r#"{"outcome":"noted"}"#, "{delivery}");
    }
    joined.until_in("members", &["ally"]).await;
    joined.told().await;
}

#[tokio::test]
async fn a_first_login_brings_a_member_in_by_connect() {
    is_brought_in("connect").await;
}

#[tokio::test]
async fn a_first_login_brings_a_member_in_by_the_groups_api() {
    is_brought_in("groups").await;
}

#[tokio::test]
async fn a_login_of_somebody_who_never_bought_costs_nothing() {
    let joined = Joined::start("connect", MEMBERS).await;
    let login = json!({"external_id": "bob", "email": "bob@forum.example", "username": "bob"});
    let login = joined.control("login", login).await;
    assert_eq!(login["deliveries"][0]["status"], 200, "{login}");
    assert_eq!(joined.parked().await, []);
    joined.buy("bob", "credits-20").await;
    joined.told().await;
    assert_eq!(joined.count(SYNC).await, 0);
}

#[tokio::test]
async fn a_login_is_taken_while_the_forum_is_away_and_looked_at_when_it_is_back() {
    let joined = Joined::start("connect", MEMBERS).await;
    joined.buy("alice", "membership-monthly").await;
    joined.told().await;
    let down = json!({"kind": "status", "status": 503, "path": "/admin", "times": 100});
    joined.control("faults", down).await;
    let login = json!({"external_id": "alice", "email": "alice@forum.example", "username": "ally"});
    joined.control("login", login).await;
    assert_eq!(joined.trouble().await, "answered 503");
    assert_eq!(joined.parked().await.len(), 1);
    let faults = joined.call(reqwest::Method::DELETE, "faults");
    faults.send().await.assert_status(200);
    joined.app.move_clocks(3_600).await;
    joined.until_in("members", &["ally"]).await;
    joined.told().await;
}

#[tokio::test]
async fn what_no_forum_of_ours_has_signed_is_not_believed() {
    let joined = Joined::start("connect", MEMBERS).await;
    joined.buy("alice", "membership-monthly").await;
    joined.told().await;
    let body = r#"{"user":{"external_id":"alice"}}"#;
    let send = async |name: &str, event: &str, signature: Option<String>, body: &str| -> Answer {
        let call = joined.app.post(&format!("/hooks/discourse/{name}"));
        let mut call = call.header("X-Discourse-Event", event).body(body);
        if let Some(signature) = signature {
            call = call.header("X-Discourse-Event-Signature", signature);
        }
        call.send().await
    };
    let signed = |body: &str| Some(signature(HOOK_SECRET, body));
    for wrong in [
        None,
        Some(String::new()),
        Some("sha256=00".to_owned()),
        Some(signature("another secret", body)),
        signed("another body"),
    ] {
        let answer = send("forum", "user_logged_in", wrong, body).await;
        answer.assert_problem(400, "bad_signature");
    }
    let answer = send("player", "user_logged_in", signed(body), body).await;
    answer.assert_problem(404, "not_found");
    let answer = send("forum", "user_logged_in", signed("{"), "{").await;
    answer.assert_problem(400, "malformed_event");
    let long = " ".repeat(300_000);
    let answer = send("forum", "user_logged_in", signed(&long), &long).await;
    answer.assert_problem(413, "payload_too_large");
    for (event, body) in [
        ("ping", "ping"),
        ("user_destroyed", body),
        ("user_logged_in", r#"{"user":{"id":7,"external_id":null}}"#),
        ("user_logged_in", r#"{"user":{"external_id":"a\u0000b"}}"#),
    ] {
        let answer = send("forum", event, signed(body), body).await;
        let outcome = answer.assert_status(200).json()["outcome"].clone();
        assert_eq!(outcome, "uninteresting", "{event} {body}");
    }
    assert_eq!(joined.parked().await, []);
    assert_eq!(joined.count(SYNC).await, 1);
    let answer = send("forum", "user_created", signed(body), body).await;
    assert_eq!(answer.assert_status(200).json()["outcome"], "noted");
    let is_called = async || (joined.count(SYNC).await == 2).then_some(());
    joined.app.until("she is looked at", is_called).await;
}
