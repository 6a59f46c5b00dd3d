//! Faults and webhooks over real HTTP; the rest is in `tests/discourse.rs`.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::connect::sign;
use super::{Discourse, Options, Webhook};

const MEMBERS: &str = "/groups/41/members.json";

struct Forum(Discourse, reqwest::Client);

impl Forum {
    /// A forum with a group `members` (41).
    async fn start(options: Options) -> Self {
        let client = reqwest::Client::builder().no_proxy();
        let client = client.redirect(reqwest::redirect::Policy::none());
        let client = client.timeout(Duration::from_secs(20)).build().unwrap();
        let forum = Self(Discourse::start(options).await.unwrap(), client);
        let group = json!({"name": "members"});
        forum.control("POST", "groups", group).await;
        forum
    }

    fn keyed(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.1.request(method, format!("{}{path}", self.0.url()));
        let request = request.header("Api-Key", "forum-admin-key");
        request.header("Api-Username", "system")
    }

    async fn control(&self, method: &str, path: &str, body: Value) -> Value {
        let request = self.keyed(method, &format!("/_neighbour/{path}"));
        let response = request.json(&body).send().await.unwrap();
        let response = response.error_for_status().unwrap();
        response.json().await.unwrap()
    }

    /// A forum with a user `ada` who is in no group.
    async fn with_ada() -> Self {
        let forum = Self::start(Options::default()).await;
        let ada = json!({"username": "ada"});
        forum.control("POST", "users", ada).await;
        forum
    }

    fn add_ada(&self) -> RequestBuilder {
        self.keyed("PUT", MEMBERS).json(&json!({"user_id": 1}))
    }

    async fn members(&self) -> Value {
        let state = self.control("GET", "state", Value::Null).await;
        state["groups"][0]["members"].clone()
    }
}

#[tokio::test]
async fn a_login_tells_the_receiver_and_shows_its_answer() {
    type Seen = (HeaderMap, String);
    type Sender = mpsc::UnboundedSender<Seen>;
    let (sender, mut seen) = mpsc::unbounded_channel::<Seen>();
    let receive = async |State(sender): State<Sender>, headers: HeaderMap, body: String| {
        sender.send((headers, body)).unwrap();
        "noted"
    };
    let app = axum::Router::new().route("/hook", post(receive));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app.with_state(sender)).await });
    let secret = "hook-secret".to_owned();
    let options = Options {
        webhook: Some(Webhook { url, secret }),
        connect_secret: Some("connect-secret".to_owned()),
        ..Options::default()
    };
    let forum = Forum::start(options).await;
    let login = json!({"external_id": "sub-ada", "email": "ada@example.org"});
    let first = forum.control("POST", "login", login.clone()).await;
    assert_eq!(first["created"], true);
    assert_eq!(first["deliveries"][1]["body"], "noted");
    let again = forum.control("POST", "login", login).await;
    assert_eq!(again["created"], false);
    for (id, event) in [
        (1, "user_created"),
        (2, "user_logged_in"),
        (3, "user_logged_in"),
    ] {
        let (headers, body) = seen.recv().await.unwrap();
        assert_eq!(headers["x-discourse-event"], event);
        assert_eq!(headers["x-discourse-event-id"], id.to_string());
        assert_eq!(headers["x-discourse-event-type"], "user");
        let signature = format!("sha256={}", sign("hook-secret", body.as_bytes()));
        assert_eq!(headers["x-discourse-event-signature"], signature);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["user"]["external_id"], "sub-ada");
    }
}

#[tokio::test]
async fn planted_faults_without_effect_hit_the_calls_they_name() {
    let forum = Forum::with_ada().await;
    let plant = |fault: Value| forum.control("POST", "faults", fault);
    let list = || forum.keyed("GET", "/groups.json").send();
    let mut busy = json!({"kind": "status", "status": 503, "retry_after": 7});
    (busy["path"], busy["times"]) = (json!("/groups/41/"), json!(2));
    plant(busy).await;
    assert_eq!(list().await.unwrap().status(), 200);
    for _ in 0..2 {
        let refused = forum.add_ada().send().await.unwrap();
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()["retry-after"], "7");
    }
    for kind in ["garbage", "redirect", "close", "endless"] {
        plant(json!({"kind": kind})).await;
    }
    let garbage = forum.add_ada().send().await.unwrap();
    assert_eq!(garbage.status(), 200);
    assert!(garbage.json::<Value>().await.is_err());
    let redirected = forum.add_ada().send().await.unwrap();
    assert_eq!(redirected.status(), 302);
    assert_eq!(redirected.headers()["location"], "/login");
    assert!(forum.add_ada().send().await.is_err());
    let mut endless = forum.add_ada().send().await.unwrap();
    let mut read = 0;
    while read < 1_000_000 {
        read += endless.chunk().await.unwrap().expect("goes on").len();
    }
    assert_eq!(forum.members().await, json!([]));
    plant(json!({"kind": "close", "times": 100})).await;
    forum.control("DELETE", "faults", json!({})).await;
    assert_eq!(list().await.unwrap().status(), 200);
    let wrong = forum.keyed("POST", "/_neighbour/faults");
    let wrong = wrong.json(&json!({"kind": "status"})).send().await;
    assert_eq!(wrong.unwrap().status(), 400);
}

#[tokio::test]
async fn planted_faults_may_come_before_or_after_the_effect() {
    let forum = Forum::with_ada().await;
    let plant = |fault: Value| forum.control("POST", "faults", fault);
    plant(json!({"kind": "stall_before", "ms": 60, "method": "PUT"})).await;
    let asked = Instant::now();
    assert_eq!(forum.add_ada().send().await.unwrap().status(), 200);
    assert!(asked.elapsed() >= Duration::from_millis(60));
    let path = "groups/members/members/ada";
    forum.control("DELETE", path, json!({})).await;
    plant(json!({"kind": "close_after"})).await;
    assert!(forum.add_ada().send().await.is_err());
    assert_eq!(forum.members().await, json!(["ada"]));
    forum.control("DELETE", path, json!({})).await;
    plant(json!({"kind": "stall_after", "ms": 600_000})).await;
    let waiting = tokio::spawn(forum.add_ada().send());
    let seen = async {
        while forum.members().await != json!(["ada"]) {
            tokio::task::yield_now().await;
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(20), seen).await;
    assert!(seen.is_ok() && !waiting.is_finished());
    waiting.abort();
}
