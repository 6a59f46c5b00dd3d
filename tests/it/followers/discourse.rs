//! A forum's groups follow what members hold, whatever happens to the forum.

mod bounds;
mod compare;
mod login;
mod trouble;

use std::collections::HashMap;

use neighbours::discourse::{Discourse, Options, Webhook};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::lifecycle::{ALL_RETRIES, DAY, MONTH, text};
use crate::harness::program::{Ended, File, run};
use crate::harness::purchase::{FAILING_LATER_CARD, GOOD_CARD};
use crate::harness::{Call, TestApp, client, usual_variables};

/// Of `DiscourseConnect`.
const CONNECT_SECRET: &str = "a secret of the login";
/// Of the forum's webhook.
const HOOK_SECRET: &str = "a secret of the webhook";
/// Both memberships give one group.
const MEMBERS: &str = "membership = \"members\"";

const SYNC: &str = "POST /admin/users/sync_sso.json";
const ADD: &str = "PUT /groups/{id}/members.json";
const REMOVE: &str = "DELETE /groups/{id}/members.json";
const OF_GROUP: &str = "GET /groups/{name}/members.json";
const OF_USER: &str = "GET /admin/users/{id}.json";
const BY_EXTERNAL_ID: &str = "GET /u/by-external/{external_id}.json";

/// A service, and a forum that follows it under the name `forum`.
struct Joined {
    app: TestApp,
    forum: Discourse,
    file: File,
    client: reqwest::Client,
}

/// The lines of the file for a mode: `connect` or `groups`.
fn lines(name: &str, url: &str, mode: &str, groups: &str) -> String {
    let secret = if mode == "connect" {
        "secret_env = \"FORUM_CONNECT\"\n"
    } else {
        ""
    };
    format!(
        "[[follower]]\nname = \"{name}\"\nkind = \"discourse\"\nurl = \"{url}\"\nmode = \"{mode}\"\n\
         api_key_env = \"FORUM_KEY\"\napi_username = \"system\"\nwebhook_secret_env = \"FORUM_HOOK\"\n{secret}\
         groups = {{ {groups} }}\n"
    )
}

impl Joined {
    async fn start(mode: &str, groups: &str) -> Self {
        Self::with(mode, groups, "", Options::default()).await
    }

    /// One whose file has these lines more, and whose forum differs from the usual one.
    async fn with(mode: &str, groups: &str, rest: &str, options: Options) -> Self {
        let file = File::new("followers.toml", "");
        let app = TestApp::with()
            .setting("DUES__FOLLOWERS__FILE", file.path().display())
            .setting("FORUM_KEY", "forum-admin-key")
            .setting("FORUM_OTHER_KEY", "forum-other-key")
            .setting("FORUM_CONNECT", CONNECT_SECRET)
            .setting("FORUM_HOOK", HOOK_SECRET)
            .start();
        // Large, as futures go.
        let app = Box::pin(app).await;
        let forum = Discourse::start(Options {
            connect_secret: Some(CONNECT_SECRET.to_owned()),
            // Its minutes are real ones: only who is tested for its limit is to meet it.
            requests_per_minute: 100_000,
            webhook: Some(Webhook {
                url: format!("http://{}/hooks/discourse/forum", app.address),
                secret: HOOK_SECRET.to_owned(),
            }),
            ..options
        });
        let joined = Self {
            app,
            forum: forum.await.expect("the forum starts"),
            file,
            client: client(),
        };
        for name in ["members", "annual", "monthly"] {
            joined.control("groups", json!({ "name": name })).await;
        }
        let lines = lines("forum", &joined.forum.url(), mode, groups);
        joined.follow(&format!("{lines}{rest}")).await;
        joined
    }

    /// Has this file read.
    async fn follow(&self, file: &str) {
        self.file.write(file);
        self.app.services.followers.reload();
        self.place(|_| true).await;
    }

    fn call(&self, method: Method, path: &str) -> Call {
        let url = format!("{}/_neighbour/{path}", self.forum.url());
        Call::new(&self.client, method, &url)
    }

    /// Something happens at the forum.
    async fn control(&self, path: &str, body: Value) -> Value {
        let call = self.call(Method::POST, path).json(body);
        call.send().await.assert_status(200).json()
    }

    /// Somebody has an account there, who is known by the login's id.
    async fn account(&self, name: &str) {
        let mail = format!("{name}@forum.example");
        let user =
            json!({"username": format!("{name}-at-forum"), "email": mail, "external_id": name});
        self.control("users", user).await;
    }

    async fn state(&self) -> Value {
        let state = self.call(Method::GET, "state").send().await;
        state.assert_status(200).json()
    }

    /// Who is in a group.
    async fn group(&self, name: &str) -> Vec<String> {
        let state = self.state().await;
        let groups = state["groups"].as_array().expect("a list").iter();
        let group = groups.clone().find(|group| group["name"] == name);
        let group = group.unwrap_or_else(|| panic!("no group {name}"));
        let members = group["members"].as_array().expect("a list").iter();
        members.map(text).collect()
    }

    /// Waits until exactly these are in a group.
    async fn until_in(&self, group: &str, members: &[&str]) {
        let what = format!("{group} has {members:?}");
        let is_so = async || (self.group(group).await == members).then_some(());
        self.app.until(&what, is_so).await;
    }

    /// How often each operation was called.
    async fn calls(&self) -> HashMap<String, u64> {
        let calls = self.state().await["requests"].clone();
        serde_json::from_value(calls).expect("numbers")
    }

    async fn count(&self, operation: &str) -> u64 {
        self.calls()
            .await
            .get(operation)
            .copied()
            .unwrap_or_default()
    }

    /// The follower's row, as soon as it is so.
    async fn place(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        let ask = async || {
            let row: Option<Value> =
                sqlx::query_scalar("SELECT to_jsonb(f) FROM followers f WHERE name = 'forum'")
                    .fetch_optional(&self.app.pool)
                    .await
                    .expect("the table is there");
            row.filter(|row| is_so(row))
        };
        self.app.until("the follower's place is so", ask).await
    }

    /// Waits until it waits, and says why.
    async fn trouble(&self) -> String {
        let row = self.place(|row| row["attempts"].as_i64() > Some(0)).await;
        text(&row["last_error"])
    }

    /// Has its rows been told, and nobody's wait?
    async fn told(&self) {
        let head: i64 = sqlx::query_scalar(
            "SELECT coalesce(max(position), 0) FROM feed WHERE type IN
                ('subscription.status_changed', 'subscription.plan_changed')",
        )
        .fetch_one(&self.app.pool)
        .await
        .expect("the table is there");
        self.place(|row| row["position"].as_i64() >= Some(head))
            .await;
        let nobody = async || self.parked().await.is_empty().then_some(());
        self.app.until("nobody's rows wait", nobody).await;
    }

    /// Members whose rows wait, and why.
    async fn parked(&self) -> Vec<(String, String)> {
        sqlx::query_as("SELECT user_id, last_error FROM followers_parked ORDER BY user_id")
            .fetch_all(&self.app.pool)
            .await
            .expect("the table is there")
    }

    async fn buy(&self, member: &str, plan: &str) -> String {
        let token = self.app.member(member);
        self.app
            .buy_with(&token, plan, GOOD_CARD)
            .await
            .subscription
    }

    /// Settings of the service, for a command beside it.
    fn variables(&self) -> HashMap<String, String> {
        let url = self.app.settings.database.url.expose();
        let mut variables = usual_variables(url, self.app.address, self.app.sandbox.url());
        for (name, value) in [
            ("DUES_ENV", "development"),
            ("FORUM_KEY", "forum-admin-key"),
            ("FORUM_OTHER_KEY", "forum-other-key"),
            ("FORUM_CONNECT", CONNECT_SECRET),
            ("FORUM_HOOK", HOOK_SECRET),
            (
                "DUES__FOLLOWERS__FILE",
                &self.file.path().display().to_string(),
            ),
            ("DUES__CLOCK__FOLLOW", self.app.sandbox.url()),
        ] {
            variables.insert(name.to_owned(), value.to_owned());
        }
        variables
    }

    async fn command(&self, arguments: &[&str]) -> Ended {
        run(arguments, &self.variables()).await
    }

    /// Has all compared, and waits for its end.
    async fn resync(&self) -> Value {
        let before = self.place(|_| true).await["compared_at"].clone();
        let ended = self.command(&["followers", "resync", "forum"]).await;
        ended.assert_code(0);
        self.place(|row| row["state"] == "following" && row["compared_at"] != before)
            .await
    }
}

async fn follows_membership(mode: &str) {
    let joined = Joined::start(mode, MEMBERS).await;
    let app = &joined.app;
    app.stripe_settings(json!({ "final_failure": "unpaid" }))
        .await;
    joined.account("alice").await;
    joined.account("bob").await;
    let alice = app.member("alice");
    let purchase = app
        .buy_with(&alice, "membership-monthly", FAILING_LATER_CARD)
        .await;
    joined.until_in("members", &["alice-at-forum"]).await;
    // What no group follows is nobody's business.
    joined.buy("bob", "credits-20").await;
    app.advance(MONTH).await;
    joined.told().await;
    joined.until_in("members", &["alice-at-forum"]).await;
    app.advance(ALL_RETRIES).await;
    let id = &purchase.subscription;
    app.assert_line(id, "ON_HOLD", "unpaid", false).await;
    joined.until_in("members", &[]).await;
    let invoice = text(&app.stripe_subscription(id).await["latest_invoice"]);
    let pay = format!("/_sandbox/invoices/{invoice}/pay");
    app.sandbox.post(&pay, json!({ "card": GOOD_CARD })).await;
    app.settle().await;
    joined.until_in("members", &["alice-at-forum"]).await;
    // Nothing was sent of her but her id.
    let state = joined.state().await;
    assert_eq!(state["users"][0]["email"], "alice@forum.example");
    assert_eq!(state["invitations"], json!([]));
    let refused = state["refused"].as_object().expect("counts");
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test]
async fn a_group_follows_a_membership_that_lapses_and_returns_by_connect() {
    follows_membership("connect").await;
}

#[tokio::test]
async fn a_group_follows_a_membership_that_lapses_and_returns_by_the_groups_api() {
    follows_membership("groups").await;
}

async fn follows_plans(mode: &str) {
    let groups =
        "\"plan:membership-annual\" = \"annual\", \"plan:membership-monthly\" = \"Monthly\"";
    let joined = Joined::start(mode, groups).await;
    joined.account("alice").await;
    let id = joined.buy("alice", "membership-monthly").await;
    joined.until_in("monthly", &["alice-at-forum"]).await;
    let body = json!({ "plan": "membership-annual" });
    joined.app.act(&id, "change", body).await.assert_status(200);
    joined.until_in("annual", &["alice-at-forum"]).await;
    joined.until_in("monthly", &[]).await;
    // A group that nobody named is left alone.
    let member = json!({ "username": "alice-at-forum" });
    joined.control("groups/members/members", member).await;
    joined
        .app
        .act(&id, "cancel", json!({}))
        .await
        .assert_status(200);
    joined.app.advance(12 * MONTH).await;
    joined.until_in("annual", &[]).await;
    joined.until_in("members", &["alice-at-forum"]).await;
}

#[tokio::test]
async fn a_change_of_plan_moves_between_groups_by_connect() {
    follows_plans("connect").await;
}

#[tokio::test]
async fn a_change_of_plan_moves_between_groups_by_the_groups_api() {
    follows_plans("groups").await;
}

#[tokio::test]
async fn all_that_happened_to_a_member_meanwhile_is_one_call() {
    let joined = Joined::start("connect", MEMBERS).await;
    let down = json!({"kind": "status", "status": 503, "times": 100});
    joined.control("faults", down).await;
    joined.account("alice").await;
    let id = joined.buy("alice", "membership-monthly").await;
    assert_eq!(joined.trouble().await, "answered 503");
    let body = json!({ "plan": "membership-annual" });
    joined.app.act(&id, "change", body).await.assert_status(200);
    joined
        .app
        .act(&id, "cancel", json!({}))
        .await
        .assert_status(200);
    joined
        .call(Method::DELETE, "faults")
        .send()
        .await
        .assert_status(200);
    joined.app.advance(DAY).await;
    joined.told().await;
    joined.until_in("members", &["alice-at-forum"]).await;
    assert_eq!(joined.count(SYNC).await, 1);
}
