//! Codes and refresh tokens: what they are good for, and for how long.

use std::time::Duration;

use neighbours::login::Options;
use serde_json::{Value, json};

use crate::bench::{API, BACK, Bench, ORIGIN, options};

#[tokio::test]
async fn a_code_that_comes_twice_ends_what_it_gave() {
    let bench = Bench::start().await;
    let code = bench.code("operator", &[]).await;
    let tokens = bench.exchange(&code, &[]).await.json(200);
    let again = bench.exchange(&code, &[]).await;
    assert_eq!(
        (again.status, again.error()),
        (400, "invalid_grant".to_owned())
    );
    let refresh = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(bench.refresh(refresh, &[]).await.error(), "invalid_grant");
    let state = bench.state().await;
    assert_eq!(state["grants"][0]["revoked"], "the code came twice");
    assert_eq!(state["refused"]["invalid_grant"], 2);
}

#[tokio::test]
async fn a_code_is_good_for_one_attempt_of_its_own_client() {
    let bench = Bench::start().await;
    let other = "a".repeat(43);
    for changes in [
        [("code_verifier", other.as_str())],
        [("redirect_uri", "http://127.0.0.1:8080/console/other")],
    ] {
        let code = bench.code("operator", &[]).await;
        assert_eq!(
            bench.exchange(&code, &changes).await.error(),
            "invalid_grant"
        );
        // The right one comes too late.
        assert_eq!(bench.exchange(&code, &[]).await.error(), "invalid_grant");
    }
    // What another client tries costs the code nothing, nor does what can't be read.
    let code = bench.code("operator", &[]).await;
    for (name, value, error) in [
        ("client_id", "other", "invalid_grant"),
        ("client_id", "nobody", "invalid_client"),
        ("client_id", "", "invalid_client"),
        ("client_secret", "x", "invalid_client"),
        ("grant_type", "", "invalid_request"),
        ("grant_type", "password", "unsupported_grant_type"),
        ("code", "", "invalid_request"),
        ("code", "guess", "invalid_grant"),
        ("redirect_uri", "", "invalid_request"),
        ("code_verifier", "", "invalid_request"),
        ("code_verifier", "short", "invalid_request"),
        ("scope", "openid", "invalid_request"),
        ("colour", "red", "invalid_request"),
    ] {
        let reply = bench.exchange(&code, &[(name, value)]).await;
        assert_eq!(reply.error(), error, "{name}={value}");
        let status = if error == "invalid_client" { 401 } else { 400 };
        assert_eq!(reply.status, status, "{name}={value}");
    }
    bench.exchange(&code, &[]).await.json(200);
}

#[tokio::test]
async fn only_a_form_without_a_secret_is_read() {
    let bench = Bench::start().await;
    let code = bench.code("operator", &[]).await;
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", "console"),
        ("code", code.as_str()),
    ];
    let basic = bench
        .posted("/token", &fields)
        .basic_auth("console", Some("x"));
    let reply = bench.send(basic).await;
    assert_eq!(
        (reply.status, reply.header("www-authenticate")),
        (401, "Basic")
    );
    let body = json!({"grant_type": "authorization_code", "client_id": "console", "code": code});
    let request = bench.http.post(bench.at("/token")).json(&body);
    assert_eq!(bench.send(request).await.error(), "invalid_request");
    let twice = [fields.as_slice(), &[("code", code.as_str())]].concat();
    assert_eq!(
        bench.form("/token", &twice).await.error(),
        "invalid_request"
    );
    bench.exchange(&code, &[]).await.json(200);
}

#[tokio::test]
async fn a_code_gets_too_old() {
    let options = Options {
        code_seconds: 0,
        ..options()
    };
    let bench = Bench::with(options).await;
    let code = bench.code("operator", &[]).await;
    assert_eq!(bench.exchange(&code, &[]).await.error(), "invalid_grant");
}

#[tokio::test]
async fn a_refresh_token_is_traded_for_the_next_one() {
    let bench = Bench::start().await;
    let first = bench.tokens("reader").await;
    let first = first["refresh_token"].as_str().unwrap();
    // Roles are those of now.
    let person = json!({"sub": "reader", "name": "Rosa", "roles": ["dues:operator"]});
    bench.control("people", person).await;
    let second = bench.refresh(first, &[("scope", "openid")]).await.json(200);
    assert_eq!(second["scope"], "openid");
    let (_, access) = bench.read(&second["access_token"]).await;
    assert_eq!(access["roles"], json!(["dues:operator"]));
    let token = second["refresh_token"].as_str().unwrap();
    for (name, value, error) in [
        ("scope", "openid email", "invalid_scope"),
        ("client_id", "other", "invalid_grant"),
        ("resource", "https://other.example", "invalid_target"),
        ("refresh_token", "guess", "invalid_grant"),
        ("redirect_uri", BACK, "invalid_request"),
    ] {
        let reply = bench.refresh(token, &[(name, value)]).await;
        assert_eq!(reply.error(), error, "{name}={value}");
    }
    let third = bench.refresh(token, &[("resource", API)]).await.json(200);
    // Narrowed for one token, not for those that follow.
    assert_eq!(third["scope"], "openid profile offline_access");
    // The first comes again: one of two has stolen it, so that the newest ends too.
    assert_eq!(bench.refresh(first, &[]).await.error(), "invalid_grant");
    let newest = third["refresh_token"].as_str().unwrap();
    assert_eq!(bench.refresh(newest, &[]).await.error(), "invalid_grant");
    let state = bench.state().await;
    assert_eq!(state["grants"][0]["revoked"], "a refresh token came twice");
}

#[tokio::test]
async fn without_offline_access_there_is_no_refresh_token() {
    let bench = Bench::start().await;
    let code = bench
        .code("operator", &[("scope", "openid"), ("nonce", "")])
        .await;
    let tokens = bench.exchange(&code, &[]).await.json(200);
    assert_eq!(tokens.get("refresh_token"), None);
    let (_, id) = bench.read(&tokens["id_token"]).await;
    assert_eq!((id.get("name"), id.get("nonce")), (None, None));
}

#[tokio::test]
async fn a_refresh_token_ends_with_its_person_its_time_or_its_client() {
    let bench = Bench::start().await;
    let token = |tokens: Value| tokens["refresh_token"].as_str().unwrap().to_owned();
    let withdrawn = token(bench.tokens("operator").await);
    let other = bench
        .form("/revoke", &[("token", &withdrawn), ("client_id", "other")])
        .await;
    assert_eq!(other.status, 200);
    let next = token(bench.refresh(&withdrawn, &[]).await.json(200));
    let own = bench
        .form("/revoke", &[("token", &next), ("client_id", "console")])
        .await;
    assert_eq!((own.status, own.text.as_str()), (200, ""));
    assert_eq!(bench.refresh(&next, &[]).await.error(), "invalid_grant");
    let jwt = [("token", "a.b.c"), ("client_id", "console")];
    assert_eq!(
        bench.form("/revoke", &jwt).await.error(),
        "unsupported_token_type"
    );

    let orphaned = token(bench.tokens("support").await);
    let gone = bench.http.delete(bench.at("/_login/people/support"));
    assert_eq!(bench.send(gone).await.status, 204);
    assert_eq!(bench.refresh(&orphaned, &[]).await.error(), "invalid_grant");

    bench
        .control("settings", json!({"refresh_seconds": 0}))
        .await;
    let old = token(bench.tokens("operator").await);
    assert_eq!(bench.refresh(&old, &[]).await.error(), "invalid_grant");
}

#[tokio::test]
async fn pages_of_the_client_may_call_and_no_others() {
    let bench = Bench::start().await;
    let code = bench.code("operator", &[]).await;
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", "console"),
        ("code", &code),
        ("redirect_uri", BACK),
        ("code_verifier", crate::bench::VERIFIER),
    ];
    // The second is an origin of the other client.
    for (origin, allowed) in [
        ("http://evil.example", ""),
        ("http://127.0.0.1:9090", "http://127.0.0.1:9090"),
    ] {
        let request = bench.posted("/token", &fields).header("origin", origin);
        let reply = bench.send(request).await;
        assert_eq!(reply.error(), "invalid_request");
        assert_eq!(reply.header("access-control-allow-origin"), allowed);
    }
    let request = bench.posted("/token", &fields).header("origin", ORIGIN);
    let reply = bench.send(request).await;
    reply.json(200);
    assert_eq!(reply.header("access-control-allow-origin"), ORIGIN);
    assert_eq!(reply.header("vary"), "origin");
    for (origin, status) in [(ORIGIN, 204), ("http://evil.example", 405)] {
        let asked = bench
            .http
            .request(reqwest::Method::OPTIONS, bench.at("/token"));
        let asked = asked
            .header("origin", origin)
            .header("access-control-request-method", "POST");
        let reply = bench.send(asked).await;
        assert_eq!(reply.status, status);
        let methods = if status == 204 { "POST" } else { "" };
        assert_eq!(reply.header("access-control-allow-methods"), methods);
    }
    let page = bench
        .http
        .get(bench.at("/authorize"))
        .header("origin", ORIGIN);
    assert_eq!(
        bench.send(page).await.header("access-control-allow-origin"),
        ""
    );
}

#[tokio::test]
async fn a_token_lives_as_long_as_is_set() {
    let bench = Bench::start().await;
    bench
        .control("settings", json!({"token_seconds": 1}))
        .await
        .json(200);
    let tokens = bench.tokens("operator").await;
    assert_eq!(tokens["expires_in"], 1);
    let (_, access) = bench.read(&tokens["access_token"]).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let token = tokens["refresh_token"].as_str().unwrap();
    let next = bench.refresh(token, &[]).await.json(200);
    let (_, later) = bench.read(&next["access_token"]).await;
    assert!(later["iat"].as_i64() >= access["exp"].as_i64());
}
