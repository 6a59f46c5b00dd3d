//! What tests and demos do to the login.

use neighbours::login::{Client, Login, Options, StartError};
use serde_json::{Value, json};
use stripe_sandbox::Sandbox;

use crate::bench::{API, Bench, options, verified};

#[tokio::test]
async fn a_new_key_signs_and_the_old_one_stays_until_it_is_dropped() {
    let bench = Bench::start().await;
    let old = bench.tokens("operator").await["access_token"].clone();
    let rotated = bench
        .control("keys/rotate", json!({"algorithm": "RS256"}))
        .await
        .json(200);
    let new = bench.tokens("operator").await["access_token"].clone();
    assert_eq!(bench.read(&new).await.0["kid"], rotated["kid"]);
    assert_eq!(bench.read(&new).await.0["alg"], "RS256");
    assert_eq!(bench.read(&old).await.0["alg"], "ES256");
    bench
        .control("keys/rotate", json!({"drop_old": true}))
        .await
        .json(200);
    let keys = bench.get("/jwks").await.json(200);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    assert!(verified(&keys, old.as_str().unwrap()).is_none());
    assert_eq!(keys["keys"][0].get("d"), None);
}

#[tokio::test]
async fn the_next_call_can_be_made_to_fail() {
    let bench = Bench::start().await;
    let code = bench.code("operator", &[]).await;
    for fault in [
        json!({"kind": "refuse"}),
        json!({"kind": "refuse", "error": "temporarily_unavailable"}),
        json!({"kind": "status", "status": 503, "path": "/token", "times": 1}),
        json!({"kind": "stall", "ms": 1}),
    ] {
        assert_eq!(bench.control("faults", fault).await.status, 204);
    }
    assert_eq!(bench.exchange(&code, &[]).await.error(), "invalid_grant");
    assert_eq!(
        bench.exchange(&code, &[]).await.error(),
        "temporarily_unavailable"
    );
    assert_eq!(bench.exchange(&code, &[]).await.status, 503);
    let tokens = bench.exchange(&code, &[]).await.json(200);
    // The answer is lost, and with it the session: the token is spent, and the next one nobody has.
    bench
        .control("faults", json!({"kind": "close_after"}))
        .await;
    let token = tokens["refresh_token"].as_str().unwrap();
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", "console"),
        ("refresh_token", token),
    ];
    assert!(bench.posted("/token", &fields).send().await.is_err());
    assert_eq!(bench.refresh(token, &[]).await.error(), "invalid_grant");
    bench
        .control("faults", json!({"kind": "close", "path": "/jwks"}))
        .await;
    assert!(bench.http.get(bench.at("/jwks")).send().await.is_err());
    for wrong in [
        json!({"kind": "status", "status": 200}),
        json!({"kind": "stall"}),
        json!({"kind": "explode"}),
        json!({"kind": "close", "colour": "red"}),
    ] {
        assert_eq!(bench.control("faults", wrong).await.status, 400);
    }
    let state = bench.state().await;
    assert_eq!(state["requests"]["POST /token"], 6);
}

#[tokio::test]
async fn access_tokens_are_in_the_time_of_the_api_and_id_tokens_in_that_of_the_browser() {
    let bench = Bench::start().await;
    let month = 30 * 86_400;
    bench
        .control("settings", json!({"offset_seconds": month}))
        .await
        .json(200);
    let tokens = bench.tokens("operator").await;
    let (_, access) = bench.read(&tokens["access_token"]).await;
    let (_, id) = bench.read(&tokens["id_token"]).await;
    let ahead = access["iat"].as_i64().unwrap() - id["iat"].as_i64().unwrap();
    assert!((month..month + 5).contains(&ahead), "{ahead}");
}

#[tokio::test]
async fn the_clock_of_a_sandbox_is_followed() {
    let sandbox = Sandbox::start(stripe_sandbox::Options::default())
        .await
        .unwrap();
    let options = Options {
        follow: Some(sandbox.url()),
        ..options()
    };
    let bench = Bench::with(options).await;
    let before = bench.tokens("operator").await;
    let (_, before) = bench.read(&before["access_token"]).await;
    let advance = format!("{}/_sandbox/clock/advance", sandbox.url());
    let advance = bench.http.post(advance).json(&json!({"seconds": 86_400}));
    bench.send(advance).await.json(200);
    let after = bench.tokens("operator").await;
    let (_, after) = bench.read(&after["access_token"]).await;
    assert!(after["iat"].as_i64().unwrap() - before["iat"].as_i64().unwrap() >= 86_400);
    let by_hand = bench
        .control("settings", json!({"offset_seconds": 0}))
        .await;
    assert_eq!(by_hand.status, 400);
}

#[tokio::test]
async fn a_token_is_made_as_a_test_wants_it() {
    let bench = Bench::start().await;
    let mint = |body: Value| bench.control("tokens", body);
    let plain = mint(json!({"sub": "operator"})).await.json(200);
    let (header, claims) = bench.read(&plain["access_token"]).await;
    assert_eq!(
        (&header["typ"], &claims["aud"]),
        (&json!("at+jwt"), &json!(API))
    );
    assert_eq!(claims["roles"], json!(["dues:operator"]));
    let odd = json!({
        "sub": "x", "claims": {"aud": ["a", API], "roles": null, "exp": 1}, "header": {"typ": "JWT"},
    });
    let odd = mint(odd).await.json(200);
    let (header, claims) = bench.read(&odd["access_token"]).await;
    assert_eq!((&header["typ"], &claims["exp"]), (&json!("JWT"), &json!(1)));
    assert_eq!(
        (claims.get("roles"), &claims["aud"][1]),
        (None, &json!(API))
    );
    assert_eq!(
        mint(json!({"sub": "x", "client_id": "who"})).await.status,
        400
    );
}

#[tokio::test]
async fn clients_come_while_it_runs() {
    let bench = Bench::start().await;
    let late =
        json!({"id": "console", "redirect_uris": ["http://127.0.0.1:1/x"], "audiences": ["dues"]});
    assert_eq!(bench.control("clients", late).await.status, 204);
    let reply = bench.send(bench.authorize(&crate::bench::asked(&[]))).await;
    assert_eq!(reply.status, 400);
    for wrong in [
        json!({"id": "", "redirect_uris": ["http://x/"], "audiences": ["dues"]}),
        json!({"id": "a", "redirect_uris": ["/x"], "audiences": ["dues"]}),
        json!({"id": "a", "redirect_uris": ["http://x/#y"], "audiences": ["dues"]}),
        json!({"id": "a", "redirect_uris": ["http://x/"]}),
        json!({"id": "a", "redirect_uris": ["http://x/"], "audiences": ["dues"], "secret": "y"}),
    ] {
        assert_eq!(bench.control("clients", wrong).await.status, 400);
    }
}

#[tokio::test]
async fn it_starts_for_this_machine_only_and_with_clients_that_make_sense() {
    let remote = Options {
        listen: ([0, 0, 0, 0], 0).into(),
        ..options()
    };
    assert!(matches!(
        Login::start(remote).await,
        Err(StartError::Remote(_))
    ));
    let wrong = Options {
        clients: vec![Client::default()],
        ..options()
    };
    assert!(matches!(
        Login::start(wrong).await,
        Err(StartError::Client(_))
    ));
    let alone = Options {
        follow: Some("http://127.0.0.1:9".to_owned()),
        ..options()
    };
    assert!(matches!(
        Login::start(alone).await,
        Err(StartError::Follow(_))
    ));
}
