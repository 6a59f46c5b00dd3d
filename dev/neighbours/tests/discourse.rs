//! The forum over real HTTP, as those who keep its groups in step see it.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use aws_lc_rs::hmac;
use axum::http::HeaderMap;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use neighbours::discourse::{Discourse, Options};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

const SECRET: &str = "connect-secret";
const MEMBERS: &str = "/groups/41/members.json";
const SYNC: &str = "/admin/users/sync_sso.json";

struct Forum(Discourse, reqwest::Client);

struct Reply {
    status: u16,
    headers: HeaderMap,
    text: String,
}

async fn send(request: RequestBuilder) -> Reply {
    let response = request.send().await.unwrap();
    Reply {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.text().await.unwrap(),
    }
}

/// What a call is answered, once the status is as expected.
async fn json_of(request: RequestBuilder, status: u16) -> Value {
    let reply = send(request).await;
    assert_eq!(reply.status, status, "{}", reply.text);
    serde_json::from_str(&reply.text).unwrap_or_else(|_| panic!("no JSON: {}", reply.text))
}

impl Forum {
    async fn start(options: Options) -> Self {
        let client = reqwest::Client::builder().no_proxy();
        let client = client.redirect(reqwest::redirect::Policy::none());
        let client = client.timeout(Duration::from_secs(20)).build().unwrap();
        Self(Discourse::start(options).await.unwrap(), client)
    }

    /// A forum with a group `members` (41) and `ada`, `bob` and `cy` (1 to 3), whose external ids are `sub-…`.
    async fn populated() -> Self {
        let options = Options {
            connect_secret: Some(SECRET.to_owned()),
            requests_per_minute: 1000,
            ..Options::default()
        };
        let forum = Self::start(options).await;
        let group = json!({"name": "members"});
        forum.control("POST", "groups", group).await;
        for name in ["ada", "bob", "cy"] {
            let (email, id) = (format!("{name}@example.org"), format!("sub-{name}"));
            let user = json!({"username": name, "email": email, "external_id": id});
            forum.control("POST", "users", user).await;
        }
        forum
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.1.request(method, format!("{}{path}", self.0.url()))
    }

    fn keyed(&self, method: &str, path: &str) -> RequestBuilder {
        let request = self.request(method, path).header("Api-Username", "system");
        request.header("Api-Key", "forum-admin-key")
    }

    async fn get(&self, path: &str, status: u16) -> Value {
        json_of(self.keyed("GET", path), status).await
    }

    async fn put(&self, body: Value, status: u16) -> Value {
        json_of(self.keyed("PUT", MEMBERS).json(&body), status).await
    }

    async fn delete(&self, body: Value) -> Value {
        json_of(self.keyed("DELETE", MEMBERS).json(&body), 200).await
    }

    async fn control(&self, method: &str, path: &str, body: Value) -> Value {
        let request = self.request(method, &format!("/_neighbour/{path}"));
        json_of(request.json(&body), 200).await
    }

    async fn sync(&self, fields: &[(&str, &str)], status: u16) -> Value {
        json_of(self.keyed("POST", SYNC).json(&payload(fields)), status).await
    }

    async fn state(&self) -> Value {
        self.control("GET", "state", Value::Null).await
    }

    /// The members of the first group, by the control API.
    async fn members(&self) -> Value {
        self.state().await["groups"][0]["members"].clone()
    }
}

fn hex_hmac(secret: &str, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, text.as_bytes());
    let digits = tag.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

fn payload(fields: &[(&str, &str)]) -> Value {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    let sso = BASE64_STANDARD.encode(form.extend_pairs(fields).finish());
    json!({"sig": hex_hmac(SECRET, &sso), "sso": sso})
}

#[tokio::test]
async fn members_are_added_once_and_removed_once() {
    let forum = Forum::populated().await;
    let both = forum.put(json!({"usernames": "Ada,bob,nobody"}), 200).await;
    let expected = json!({"success": "OK", "usernames": ["ada", "bob"], "emails": []});
    assert_eq!(both, expected);
    let again = forum.put(json!({"usernames": "ada"}), 422).await;
    let message = "'ada' is already a member of this group.";
    assert_eq!(again, json!({"errors": [message]}));
    let all = forum.put(json!({"user_ids": "2,1"}), 422).await;
    let message = "The following users are already members of this group: ada, bob";
    assert_eq!(all, json!({"errors": [message]}));
    let alias = forum.keyed("PUT", "/admin/groups/41/members");
    let some = json_of(alias.json(&json!({"user_ids": "1,3"})), 200).await;
    assert_eq!(some["usernames"], json!(["ada", "cy"]));
    assert_eq!(forum.members().await, json!(["ada", "bob", "cy"]));
    let gone = forum
        .delete(json!({"user_emails": "BOB@example.org"}))
        .await;
    let expected = json!({"success": "OK", "usernames": ["bob"], "skipped_usernames": []});
    assert_eq!(gone, expected);
    let twice = forum.delete(json!({"username": "bob"})).await;
    let expected = json!({"success": "OK", "usernames": [], "skipped_usernames": ["bob"]});
    assert_eq!(twice, expected);
    let logs = forum.get("/groups/members/logs.json", 200).await;
    assert_eq!(logs["logs"][0]["action"], "remove_user_from_group");
    assert_eq!(logs["logs"][0]["target_user"]["username"], "bob");
    assert_eq!(logs["logs"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn what_cannot_be_added_says_why() {
    let forum = Forum::populated().await;
    let none = forum.put(json!({"usernames": "nobody"}), 400).await;
    let message = "You supplied invalid parameters to the request: usernames";
    let expected = json!({"errors": [message], "error_type": "invalid_parameters"});
    assert_eq!(none, expected);
    forum.put(json!({}), 400).await;
    // A name in place of the id is read as 0, which is an automatic group.
    for (id, status) in [("99", 404), ("10", 403), ("members", 403)] {
        let path = format!("/groups/{id}/members.json");
        let request = forum.keyed("PUT", &path).json(&json!({"user_id": 1}));
        json_of(request, status).await;
    }
    // JSON lists are no lists: of names they are an exception, of ids the first is lost.
    forum.put(json!({"usernames": ["ada"]}), 500).await;
    let ids = forum.put(json!({"user_ids": [1, 2]}), 200).await;
    assert_eq!(ids["usernames"], json!(["bob"]));
    // Nothing is trimmed, and only the first selector counts.
    let spaced = json!({"usernames": "ada, cy", "user_id": 3});
    assert_eq!(forum.put(spaced, 200).await["usernames"], json!(["ada"]));
    let invited = json!({"emails": "cy@example.org,new@example.org"});
    let invited = forum.put(invited, 200).await;
    assert_eq!(invited["usernames"], json!(["cy"]));
    assert_eq!(invited["emails"], json!(["new@example.org"]));
    let encoded = forum.keyed("DELETE", MEMBERS).body("usernames=ada");
    let encoded = encoded.header("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(json_of(encoded, 200).await["usernames"], json!(["ada"]));
    // A body without a type is not read.
    json_of(forum.keyed("DELETE", MEMBERS).body("usernames=cy"), 400).await;
}

#[tokio::test]
async fn a_thousand_users_fit_in_a_call_and_in_a_page() {
    let forum = Forum::populated().await;
    let names: Vec<_> = (0..1001).map(|number| format!("u{number:04}")).collect();
    for name in &names {
        forum
            .control("POST", "users", json!({"username": name}))
            .await;
    }
    let many = forum.put(json!({"usernames": names.join(",")}), 422).await;
    let message = "Maximum 1000 users can be added at once";
    assert_eq!(many, json!({"errors": [message]}));
    forum
        .put(json!({"usernames": names[..1000].join(",")}), 200)
        .await;
    let page = forum.get("/groups/members/members.json", 200).await;
    assert_eq!(
        page["meta"],
        json!({"total": 1000, "limit": 50, "offset": 0})
    );
    assert_eq!(page["members"][0]["username"], "u0999");
    let last = "/groups/Members/members.json?limit=1000&offset=999&asc=true";
    let last = forum.get(last, 200).await;
    assert_eq!(last["members"][0]["username"], "u0999");
    assert_eq!(last["members"].as_array().unwrap().len(), 1);
    forum
        .get("/groups/members/members.json?limit=1001", 400)
        .await;
    forum
        .get("/groups/members/members.json?offset=-1", 400)
        .await;
    forum.get("/groups/nothing/members.json", 404).await;
}

#[tokio::test]
async fn groups_come_in_pages_that_never_say_which_is_the_last() {
    let forum = Forum::populated().await;
    for number in 0..40 {
        let group = json!({"name": format!("g{number}")});
        forum.control("POST", "groups", group).await;
    }
    for (page, size) in [36, 13, 0].into_iter().enumerate() {
        let page = forum.get(&format!("/groups.json?page={page}"), 200).await;
        assert_eq!(page["groups"].as_array().unwrap().len(), size);
        assert_eq!(page["total_rows_groups"], 49);
        assert!(page["load_more_groups"].is_string());
    }
    let by_name = forum.get("/groups/MEMBERS.json", 200).await;
    assert_eq!(by_name, forum.get("/groups/by-id/41.json", 200).await);
    let patrons = json!({"name": "patrons"});
    forum.control("PATCH", "groups/members", patrons).await;
    forum.get("/groups/members.json", 404).await;
    let renamed = forum.get("/groups/by-id/41.json", 200).await;
    assert_eq!(renamed["group"]["name"], "patrons");
    forum.control("DELETE", "groups/patrons", json!({})).await;
    forum.get("/groups/by-id/41.json", 404).await;
}

#[tokio::test]
async fn keys_do_what_their_scopes_say() {
    let forum = Forum::populated().await;
    for (key, scope) in [("narrow", "users:sync_sso"), ("reader", "global:read")] {
        let key = json!({"key": key, "scopes": [scope]});
        forum.control("POST", "keys", key).await;
    }
    let (all, groups) = ("forum-admin-key", "/groups.json");
    for (key, user, method, path, status) in [
        ("guess", "system", "GET", groups, 403),
        (all, "nobody", "GET", groups, 403),
        (all, "", "GET", groups, 403),
        (all, "ada", "POST", SYNC, 404),
        ("narrow", "system", "POST", SYNC, 200),
        ("narrow", "system", "GET", groups, 403),
        ("narrow", "system", "PUT", MEMBERS, 403),
        ("reader", "system", "GET", groups, 200),
        ("reader", "system", "POST", SYNC, 403),
    ] {
        let request = forum.request(method, path).header("Api-Key", key);
        let request = request.json(&payload(&[("external_id", "sub-ada")]));
        let answer = json_of(request.header("Api-Username", user), status).await;
        let refused = answer["error_type"] == "invalid_access";
        assert_eq!(refused, status == 403, "{key} {path}");
    }
    assert_eq!(forum.state().await["refused"]["403 GET /groups.json"], 4);
}

#[tokio::test]
async fn without_a_key_or_a_format_less_is_shown() {
    let forum = Forum::populated().await;
    let change = forum.request("PUT", MEMBERS);
    assert_eq!(json_of(change, 403).await, json!(["BAD CSRF"]));
    let public = json_of(forum.request("GET", "/groups.json"), 200).await;
    assert_eq!(public["total_rows_groups"], 1);
    let html = send(forum.keyed("GET", "/groups")).await;
    assert_eq!(html.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(html.status, 200);
    let accepting = forum.keyed("GET", "/groups");
    let accepting = accepting.header("Accept", "application/json");
    assert_eq!(json_of(accepting, 200).await["total_rows_groups"], 9);
}

#[tokio::test]
async fn more_calls_than_allowed_are_told_how_long_to_wait() {
    let options = Options {
        requests_per_minute: 2,
        ..Options::default()
    };
    let forum = Forum::start(options).await;
    forum.get("/about.json", 200).await;
    forum.get("/groups.json", 200).await;
    let limited = send(forum.keyed("GET", "/about.json")).await;
    let body: Value = serde_json::from_str(&limited.text).unwrap();
    let wait = body["extras"]["wait_seconds"].as_u64().unwrap();
    assert!((1..=60).contains(&wait), "{body}");
    assert_eq!(limited.headers["retry-after"], wait.to_string());
    assert_eq!(
        (limited.status, &body["error_type"]),
        (429, &json!("rate_limit"))
    );
    forum.control("POST", "rate/reset", json!({})).await;
    forum.get("/about.json", 200).await;
}

#[tokio::test]
async fn users_are_found_by_each_of_their_names() {
    let forum = Forum::populated().await;
    let mut eve = json!({"username": "eve", "external_id": "a b/c", "provider": "oidc"});
    eve["groups"] = json!(["members"]);
    forum.control("POST", "users", eve).await;
    let ada = forum.get("/u/by-external/sub-ada.json", 200).await;
    assert_eq!(
        ada["user"]["single_sign_on_record"]["external_id"],
        "sub-ada"
    );
    forum.get("/u/by-external/SUB-ADA.json", 404).await;
    let eve = forum.get("/u/by-external/oidc/a%20b%2Fc.json", 200).await;
    assert_eq!(eve["user"]["single_sign_on_record"], Value::Null);
    forum.get("/u/by-external/a%20b%2Fc.json", 404).await;
    assert_eq!(forum.get("/u/EVE.json", 200).await, eve);
    let groups = eve["user"]["groups"].as_array().unwrap();
    assert!(groups.iter().any(|group| group["id"] == 41));
    let admin = forum.get("/admin/users/2.json", 200).await;
    assert_eq!(admin["single_sign_on_record"]["external_id"], "sub-bob");
    let listed = forum
        .get("/admin/users/list/all.json?email=CY@example.org", 200)
        .await;
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(
        (&listed[0]["id"], listed[0].get("email")),
        (&json!(3), None)
    );
}

#[tokio::test]
async fn sync_sso_may_be_repeated() {
    let forum = Forum::populated().await;
    let fields = [
        ("external_id", "sub-ada"),
        ("add_groups", "MEMBERS,unknown,staff"),
    ];
    for _ in 0..2 {
        assert_eq!(forum.sync(&fields, 200).await["username"], "ada");
        assert_eq!(forum.members().await, json!(["ada"]));
    }
    let state = forum.state().await;
    assert_eq!(state["groups"][0]["history"].as_array().unwrap().len(), 1);
    assert_eq!(state["requests"]["POST /admin/users/sync_sso.json"], 2);
}

#[tokio::test]
async fn sync_sso_refuses_what_it_cannot_trust_or_place() {
    let forum = Forum::populated().await;
    let mut forged = payload(&[("external_id", "sub-ada")]);
    forged["sig"] = forged["sig"].as_str().unwrap().to_uppercase().into();
    let forged = json_of(forum.keyed("POST", SYNC).json(&forged), 422).await;
    assert_eq!(
        forged,
        json!({"failed": "FAILED", "message": "Login Error"})
    );
    let blank = forum.sync(&[("external_id", " ")], 422).await;
    let message = "The `external_id` is required but was blank";
    assert_eq!(blank["message"], message);
    forum
        .sync(&[("external_id", "NULL"), ("email", "x@example.org")], 500)
        .await;
    let unknown = forum.sync(&[("external_id", "sub-new")], 403).await;
    let message = "Validation failed: Primary email can't be blank";
    assert_eq!(unknown["message"], message);
    assert_eq!(forum.state().await["users"].as_array().unwrap().len(), 3);
    let off = json!({"connect_secret": null});
    forum.control("POST", "settings", off).await;
    let off = send(forum.keyed("POST", SYNC).json(&payload(&[]))).await;
    assert_eq!((off.status, off.text.as_str()), (404, ""));
    let settings = forum.get("/admin/site_settings.json", 200).await;
    let first = &settings["site_settings"][0];
    assert_eq!(first["setting"], "enable_discourse_connect");
    assert_eq!(first["value"], "false");
}

#[tokio::test]
async fn the_page_shows_groups_and_escapes_names() {
    let forum = Forum::populated().await;
    let mut eve = json!({"username": "eve", "groups": ["members"]});
    eve["name"] = json!("<script>alert('x')</script>");
    forum.control("POST", "users", eve).await;
    let page = send(forum.request("GET", "/")).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("<h2>members</h2>"), "{}", page.text);
    assert!(page.text.contains("<b>eve</b> &lt;script&gt;"));
    assert!(!page.text.contains("<script"));
}
