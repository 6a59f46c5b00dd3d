//! Who may be asked for what, and how often a person is asked.

use neighbours::login::{Algorithm, Options};
use serde_json::json;

use crate::bench::{API, BACK, Bench, ORIGIN, asked, options};

#[tokio::test]
async fn a_person_signs_in_and_the_tokens_say_who_she_is() {
    for algorithm in [Algorithm::Es256, Algorithm::Rs256] {
        let options = Options {
            algorithm,
            ..options()
        };
        let bench = Bench::with(options).await;
        let issuer = json!(bench.login.url());
        let brought = bench.choose(&asked(&[]), ("sub", "treasurer")).await;
        let brought = brought.brought();
        assert_eq!(brought["state"], "af0ifjsldkj");
        assert_eq!(issuer, brought["iss"]);
        let reply = bench.exchange(&brought["code"], &[]).await;
        assert_eq!(reply.header("cache-control"), "no-store");
        let tokens = reply.json(200);
        assert_eq!(tokens["token_type"], "Bearer");
        assert_eq!(tokens["expires_in"], 300);
        assert_eq!(tokens["scope"], "openid profile offline_access");
        let (header, access) = bench.read(&tokens["access_token"]).await;
        assert_eq!(header["typ"], "at+jwt");
        assert_eq!(header["alg"], json!(algorithm));
        assert_eq!(
            (&access["iss"], &access["sub"]),
            (&issuer, &json!("treasurer"))
        );
        assert_eq!(
            (&access["aud"], &access["client_id"]),
            (&json!(API), &json!("console"))
        );
        assert_eq!(access["roles"], json!(["dues:treasurer"]));
        assert_eq!(access["scope"], tokens["scope"]);
        assert_eq!(
            access["exp"].as_i64().unwrap() - access["iat"].as_i64().unwrap(),
            300
        );
        let (header, id) = bench.read(&tokens["id_token"]).await;
        assert_eq!(header["typ"], "JWT");
        assert_eq!((&id["iss"], &id["aud"]), (&issuer, &json!("console")));
        assert_eq!(
            (&id["nonce"], &id["name"]),
            (&json!("n-0S6_WzA2Mj"), &json!("Theo Treasurer"))
        );
        assert_eq!(id["at_hash"].as_str().unwrap().len(), 22);
        assert_eq!(id.get("roles"), None);
        let state = bench.state().await;
        assert_eq!(state["grants"][0]["access_tokens"], json!([access["jti"]]));
        let given = json!({"codes": 1, "access_tokens": 1, "id_tokens": 1, "refresh_tokens": 1});
        assert_eq!(state["issued"], given);
    }
}

#[tokio::test]
async fn discovery_names_what_is_there_and_any_page_may_read_it() {
    let bench = Bench::start().await;
    let reply = bench.get("/.well-known/openid-configuration").await;
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    let document = reply.json(200);
    assert_eq!(document["issuer"], bench.login.url());
    assert_eq!(
        document["authorization_response_iss_parameter_supported"],
        true
    );
    for (endpoint, status) in [
        ("authorization_endpoint", 400),
        ("jwks_uri", 200),
        ("end_session_endpoint", 200),
        ("token_endpoint", 405),
        ("revocation_endpoint", 405),
    ] {
        let url = document[endpoint].as_str().unwrap();
        assert_eq!(
            bench.send(bench.http.get(url)).await.status,
            status,
            "{endpoint}"
        );
    }
}

#[tokio::test]
async fn nobody_is_redirected_to_where_no_client_is() {
    let bench = Bench::start().await;
    for changes in [
        [("client_id", "")],
        [("client_id", "nobody")],
        [("redirect_uri", "")],
        [("redirect_uri", "http://127.0.0.1:8080/console/back/")],
        [("redirect_uri", "http://127.0.0.1:8080/console/back?x=1")],
        [("redirect_uri", "http://localhost:8080/console/back")],
        [("redirect_uri", "http://127.0.0.1:9090/")],
    ] {
        let reply = bench.send(bench.authorize(&asked(&changes))).await;
        assert_eq!(reply.status, 400, "{changes:?}");
        assert_eq!(reply.headers.get("location"), None);
        assert!(
            reply.text.contains("This can&#39;t go on"),
            "{}",
            reply.text
        );
    }
    for repeated in [("client_id", "console"), ("redirect_uri", BACK)] {
        let mut asked = asked(&[]);
        asked.push((repeated.0.to_owned(), repeated.1.to_owned()));
        assert_eq!(bench.send(bench.authorize(&asked)).await.status, 400);
    }
}

#[tokio::test]
async fn everything_else_that_is_wrong_is_told_to_the_client() {
    let bench = Bench::start().await;
    for (name, value, error) in [
        ("response_type", "", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        (
            "response_type",
            "code id_token",
            "unsupported_response_type",
        ),
        ("response_mode", "fragment", "invalid_request"),
        ("scope", "", "invalid_scope"),
        ("scope", "profile", "invalid_scope"),
        ("scope", "openid  profile", "invalid_scope"),
        ("scope", "openid admin", "invalid_scope"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("resource", "https://unknown.example", "invalid_target"),
        ("prompt", "none login", "invalid_request"),
        ("prompt", "please", "invalid_request"),
        ("prompt", "none", "login_required"),
        ("max_age", "soon", "invalid_request"),
        ("claims", "{}", "invalid_request"),
        ("audience", API, "invalid_request"),
        ("request", "e30.e30.", "request_not_supported"),
        (
            "request_uri",
            "https://x.example",
            "request_uri_not_supported",
        ),
        ("registration", "{}", "registration_not_supported"),
    ] {
        let reply = bench.send(bench.authorize(&asked(&[(name, value)]))).await;
        let brought = reply.brought();
        assert_eq!(brought["error"], error, "{name}={value}");
        assert_eq!(brought["state"], "af0ifjsldkj");
        assert_eq!(brought["iss"], bench.login.url());
        assert!(!brought.contains_key("code"));
    }
    let without = bench.send(bench.authorize(&asked(&[("state", "")]))).await;
    assert_eq!(without.brought()["error"], "invalid_request");
    assert_eq!(without.brought().get("state"), None);
    let mut twice = asked(&[]);
    twice.push(("state".to_owned(), "another".to_owned()));
    let twice = bench.send(bench.authorize(&twice)).await.brought();
    assert_eq!(
        (&*twice["error"], twice.get("state")),
        ("invalid_request", None)
    );
    let refused = bench.state().await["refused"].clone();
    assert_eq!(refused["request_not_supported"], 1);
}

#[tokio::test]
async fn a_client_gets_tokens_for_its_own_apis_only() {
    let bench = Bench::start().await;
    let other = "https://other.example";
    let code = bench.code("reader", &[("resource", other)]).await;
    let tokens = bench
        .exchange(&code, &[("resource", other)])
        .await
        .json(200);
    let (_, access) = bench.read(&tokens["access_token"]).await;
    assert_eq!(access["aud"], other);
    let code = bench.code("reader", &[("resource", other)]).await;
    let reply = bench.exchange(&code, &[("resource", API)]).await;
    assert_eq!(reply.error(), "invalid_target");
    // The other client has nothing to do with the console's API, and gets no refresh token.
    let uri = "http://127.0.0.1:9090/";
    let of_other = |more: &'static str| {
        [
            ("client_id", "other"),
            ("redirect_uri", uri),
            ("scope", more),
        ]
    };
    let reply = bench
        .send(bench.authorize(&asked(&of_other("openid offline_access"))))
        .await;
    assert!(
        reply.header("location").contains("error=invalid_scope"),
        "{reply:?}"
    );
}

#[tokio::test]
async fn who_is_signed_in_is_not_asked_again_unless_the_client_wants_it() {
    let bench = Bench::start().await;
    let first = bench.choose(&asked(&[]), ("sub", "support")).await;
    let cookie = first.header("set-cookie").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"));
    let cookie = cookie.split(';').next().unwrap();
    for (changes, asks) in [
        (&[][..], false),
        (&[("prompt", "none")], false),
        (&[("max_age", "3600")], false),
        (&[("prompt", "login")], true),
        (&[("prompt", "select_account")], true),
    ] {
        let request = bench.authorize(&asked(changes)).header("cookie", cookie);
        let reply = bench.send(request).await;
        assert_eq!(reply.status, if asks { 200 } else { 303 }, "{changes:?}");
        if !asks {
            let tokens = bench
                .exchange(&reply.brought()["code"], &[])
                .await
                .json(200);
            let (_, id) = bench.read(&tokens["id_token"]).await;
            assert_eq!(id["sub"], "support");
        }
    }
    let gone = bench.http.delete(bench.at("/_login/people/support"));
    assert_eq!(bench.send(gone).await.status, 204);
    let request = bench.authorize(&asked(&[("prompt", "none")]));
    let reply = bench.send(request.header("cookie", cookie)).await;
    assert_eq!(reply.brought()["error"], "login_required");
}

#[tokio::test]
async fn a_request_may_be_posted() {
    let bench = Bench::start().await;
    let asked = asked(&[]);
    let pairs: Vec<_> = asked
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let page = bench.form("/authorize", &pairs).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("Olga Operator"));
    assert!(
        page.header("content-security-policy")
            .contains(&format!("'self' {ORIGIN}"))
    );
}
