//! The end of a session.

use reqwest::RequestBuilder;
use serde_json::Value;

use crate::bench::{Bench, ORIGIN, Reply, asked};

async fn signed_in(bench: &Bench, sub: &str) -> (String, Value) {
    let reply = bench.choose(&asked(&[]), ("sub", sub)).await;
    let cookie = reply
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let tokens = bench
        .exchange(&reply.brought()["code"], &[])
        .await
        .json(200);
    (cookie, tokens)
}

fn leaving(bench: &Bench, cookie: &str, query: &[(&str, &str)]) -> RequestBuilder {
    let request = bench.http.get(bench.at("/logout")).query(query);
    request.header("cookie", cookie)
}

fn sessions(state: &Value) -> usize {
    state["sessions"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_page_with_the_id_token_signs_her_out_and_gets_her_back() {
    let bench = Bench::start().await;
    let back = format!("{ORIGIN}/console");
    let (cookie, tokens) = signed_in(&bench, "operator").await;
    // A key that signs no more, and is gone, has signed it all the same.
    bench
        .control("keys/rotate", serde_json::json!({"drop_old": true}))
        .await;
    let hint = tokens["id_token"].as_str().unwrap();
    let query = [
        ("id_token_hint", hint),
        ("post_logout_redirect_uri", &back),
        ("state", "s&1"),
    ];
    let reply = bench.send(leaving(&bench, &cookie, &query)).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    assert_eq!(reply.header("location"), format!("{back}?state=s%261"));
    assert!(reply.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(sessions(&bench.state().await), 0);
    let again = bench
        .authorize(&asked(&[("prompt", "none")]))
        .header("cookie", cookie);
    assert_eq!(bench.send(again).await.brought()["error"], "login_required");
    // What was given for her absence stays.
    let refresh = tokens["refresh_token"].as_str().unwrap();
    bench.refresh(refresh, &[]).await.json(200);
}

#[tokio::test]
async fn a_page_without_it_has_to_let_her_be_asked() {
    let bench = Bench::start().await;
    let back = format!("{ORIGIN}/console");
    let (cookie, _) = signed_in(&bench, "operator").await;
    let (_, others) = signed_in(&bench, "reader").await;
    let hint = others["id_token"].as_str().unwrap();
    let asks = |reply: &Reply| reply.text.contains("Sign out?");
    for query in [
        &[][..],
        &[
            ("client_id", "console"),
            ("post_logout_redirect_uri", &back),
        ],
        &[("id_token_hint", hint)],
    ] {
        let reply = bench.send(leaving(&bench, &cookie, query)).await;
        assert!(reply.status == 200 && asks(&reply), "{query:?}: {reply:?}");
    }
    assert_eq!(sessions(&bench.state().await), 2);
    let fields = [
        ("client_id", "console"),
        ("post_logout_redirect_uri", &back),
        ("confirmed", "1"),
    ];
    let confirmed = bench.posted("/logout", &fields).header("cookie", cookie);
    let reply = bench.send(confirmed).await;
    assert_eq!(
        (reply.status, reply.header("location")),
        (303, back.as_str())
    );
    assert_eq!(sessions(&bench.state().await), 1);
    // Without a session nobody needs to be asked.
    let nobody = bench.get("/logout").await;
    assert!(nobody.text.contains("You are signed out"));
}

#[tokio::test]
async fn nobody_is_sent_back_to_where_no_client_is() {
    let bench = Bench::start().await;
    let back = format!("{ORIGIN}/console");
    let (cookie, tokens) = signed_in(&bench, "operator").await;
    let text = |name: &str| tokens[name].as_str().unwrap();
    let forged = format!("{}x", text("id_token"));
    for query in [
        &[("post_logout_redirect_uri", back.as_str())][..],
        &[("client_id", "nobody")],
        &[("client_id", "other"), ("post_logout_redirect_uri", &back)],
        &[("client_id", "other"), ("id_token_hint", text("id_token"))],
        &[("id_token_hint", text("access_token"))],
        &[("id_token_hint", &forged)],
        &[
            ("client_id", "console"),
            ("post_logout_redirect_uri", "http://127.0.0.1:8080/console/"),
        ],
        &[("client_id", "console"), ("client_id", "console")],
        &[("redirect_uri", &back)],
    ] {
        let reply = bench.send(leaving(&bench, &cookie, query)).await;
        assert_eq!(reply.status, 400, "{query:?}");
        assert_eq!(reply.headers.get("location"), None);
    }
    assert_eq!(sessions(&bench.state().await), 1);
}
