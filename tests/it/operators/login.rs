//! Operators with a login of their own: its access tokens open the console's API and nothing else does, and the pages name it
//! in their policy.

use neighbours::login::{Client, Login, Options};
use serde_json::{Value, json};

use crate::harness::{Answer, TestApp};

const CONSOLE: &str = "dues-console";
const AUDIENCE: &str = "https://dues.example.org/v1/operator";

async fn login() -> Login {
    let console = Client {
        id: CONSOLE.to_owned(),
        redirect_uris: vec!["http://127.0.0.1:1/console/".to_owned()],
        audiences: vec![AUDIENCE.to_owned()],
        ..Client::default()
    };
    let options = Options {
        clients: vec![console],
        ..Options::default()
    };
    Login::start(options).await.expect("the login starts")
}

async fn service(login: &Login) -> TestApp {
    TestApp::with()
        .setting("DUES__CONSOLE__ENABLED", true)
        .setting("DUES__CONSOLE__ISSUER", login.url())
        .setting("DUES__CONSOLE__JWKS_URL", format!("{}/jwks", login.url()))
        .setting("DUES__CONSOLE__AUDIENCE", AUDIENCE)
        .setting("DUES__CONSOLE__CLIENT_ID", CONSOLE)
        .start()
        .await
}

/// An access token as the login signs it, with other claims where these are given.
async fn token(login: &Login, sub: &str, claims: Value) -> String {
    let body = json!({ "sub": sub, "claims": claims });
    let answer = crate::harness::client()
        .post(format!("{}/_login/tokens", login.url()))
        .json(&body)
        .send()
        .await
        .expect("the login answers");
    let answer: Value = answer.json().await.expect("JSON");
    let token = answer["access_token"].as_str();
    token
        .unwrap_or_else(|| panic!("no token: {answer}"))
        .to_owned()
}

async fn me(app: &TestApp, token: &str) -> Answer {
    app.get("/v1/operator/me").bearer(token).send().await
}

#[tokio::test]
async fn an_access_token_of_the_operators_login_opens_their_api_and_no_other_token_does() {
    let login = login().await;
    let app = service(&login).await;
    let operator = token(&login, "operator", json!({})).await;
    let answer = me(&app, &operator).await.assert_status(200).json();
    assert_eq!(answer["roles"], json!(["operator"]), "{answer}");
    let reader = token(&login, "reader", json!({})).await;
    let answer = me(&app, &reader).await.assert_status(200).json();
    let may = &answer["may"];
    assert_eq!(
        (&may["see"], &may["names"], &may["act"]),
        (&json!(true), &json!(false), &json!(false))
    );
    let nobody = token(&login, "nobody", json!({})).await;
    me(&app, &nobody).await.assert_problem(403, "forbidden");
    for (what, claims) in [
        ("an ID token", json!({ "nonce": "n", "aud": CONSOLE })),
        ("an ID token for this API", json!({ "at_hash": "h" })),
        ("Keycloak's ID token", json!({ "typ": "ID" })),
        (
            "for another API",
            json!({ "aud": "https://other.example.org" }),
        ),
        (
            "of another issuer",
            json!({ "iss": "https://other.example.org" }),
        ),
        ("expired", json!({ "exp": 1 })),
    ] {
        let refused = token(&login, "operator", claims).await;
        let answer = me(&app, &refused).await;
        assert_eq!(answer.status, 401, "{what}");
    }
    // A member's token with the role opens nothing here, and an operator's nothing of members.
    me(&app, &app.grace())
        .await
        .assert_problem(401, "unauthorized");
    let members = app.get("/v1/subscriptions").bearer(&operator).send().await;
    members.assert_problem(401, "unauthorized");
    app.get("/v1/subscriptions")
        .bearer(&app.member("alice"))
        .send()
        .await
        .assert_status(200);
}

#[tokio::test]
async fn the_pages_are_served_with_a_strict_policy_that_names_the_login_and_nothing_else() {
    let login = login().await;
    let app = service(&login).await;
    let config = app
        .get("/console/config.json")
        .send()
        .await
        .assert_status(200)
        .json();
    assert_eq!(config["issuer"], login.url());
    assert_eq!(
        (&config["client_id"], &config["audience"]),
        (&json!(CONSOLE), &json!(AUDIENCE))
    );
    for path in ["/console/", "/console/subscriptions/x"] {
        let page = app.get(path).send().await.assert_status(200);
        let policy = page.header("content-security-policy").to_owned();
        assert!(
            policy.ends_with(&format!("connect-src 'self' {}", login.url())),
            "{policy}"
        );
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        let tag = page.header("etag").to_owned();
        let again = app.get(path).header("if-none-match", tag).send().await;
        again.assert_status(304);
    }
    app.get("/console/no-such.js")
        .send()
        .await
        .assert_problem(404, "not_found");
    app.get("/console/..%2f..%2fCargo.toml")
        .send()
        .await
        .assert_problem(404, "not_found");
    let closed = TestApp::start().await;
    closed
        .get("/console/")
        .send()
        .await
        .assert_problem(404, "not_found");
    let call = closed.get("/v1/operator/me").bearer(&closed.grace());
    call.send().await.assert_status(200);
}
