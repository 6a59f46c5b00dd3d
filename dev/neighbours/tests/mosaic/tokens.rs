//! Tokens: who gets them, what they say, and what happens without one.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use neighbours::mosaic::{
    APPLICATION_ID, ENVIRONMENT_ID, Options, SERVICE_ISSUER, TENANT_ID, USER_ISSUER,
};
use serde_json::{Value, json};

use crate::bench::{Bench, MEMBER, send, subscription};

const SETTINGS: &str = "{ getSettings { successRedirect cancelRedirect errorRedirect } }";

/// The claims of a token, whose signature fits the one key at a path.
async fn claims(bench: &Bench, token: &str, path: &str) -> Value {
    let url = format!("{}{path}/.well-known/jwks.json", bench.url);
    let keys: Value = bench
        .http
        .get(url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let key = &keys["keys"][0];
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let part = |name: &str| decode(key[name].as_str().unwrap());
    let (content, signature) = token.rsplit_once('.').unwrap();
    let public = RsaPublicKeyComponents {
        n: part("n"),
        e: part("e"),
    };
    public
        .verify(
            &RSA_PKCS1_2048_8192_SHA256,
            content.as_bytes(),
            &decode(signature),
        )
        .unwrap();
    let (header, claims) = content.split_once('.').unwrap();
    let header: Value = serde_json::from_slice(&decode(header)).unwrap();
    assert_eq!(
        (&header["alg"], &header["kid"]),
        (&json!("RS256"), &key["kid"])
    );
    serde_json::from_slice(&decode(claims)).unwrap()
}

#[tokio::test]
async fn a_service_account_gets_a_token_for_its_secret() {
    let bench = Bench::start().await;
    let wrong = bench.authenticate("guess").await;
    wrong.refused("UNAUTHORIZED");
    assert!(wrong.body["data"].is_null());
    let answer = bench.authenticate("neighbour-secret").await;
    let given = &answer.data()["authenticateServiceAccount"];
    assert_eq!(given["expiresInSeconds"], 600);
    assert_eq!(given["tokenType"], "Bearer");
    let path = format!("/id/{TENANT_ID}/{ENVIRONMENT_ID}");
    let claims = claims(&bench, given["accessToken"].as_str().unwrap(), &path).await;
    assert_eq!(claims["iss"], SERVICE_ISSUER);
    assert_eq!(claims["subjectType"], "ServiceAccount");
    let permissions = json!({"ax-billing-service": ["SUBSCRIPTIONS_EDIT", "SETTINGS_VIEW"]});
    assert_eq!(claims["permissions"], permissions);
    let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(lifetime, 600);
}

#[tokio::test]
async fn a_member_is_named_in_her_token() {
    let bench = Bench::start().await;
    let token = bench.member(MEMBER).await;
    let path = format!("/user/{TENANT_ID}/{ENVIRONMENT_ID}/{APPLICATION_ID}");
    let claims = claims(&bench, &token, &path).await;
    assert_eq!(claims["iss"], USER_ISSUER);
    assert_eq!(claims["aud"], "*");
    assert_eq!(claims["sub"], MEMBER.to_string());
    assert_eq!(claims["email"], "ada@example.org");
    assert_eq!(claims["name"], "Ada");
    assert_eq!(claims["applicationId"], APPLICATION_ID);
    assert_eq!(claims["subjectType"], "EndUserAccount");
    let (status, _) = bench.control("end-user-token", json!({"sub": "ada"})).await;
    assert_eq!(status, 400, "a user id is a UUID there");
}

#[tokio::test]
async fn a_call_without_a_good_token_is_refused_with_http_200() {
    let bench = Bench::start().await;
    let url = format!("{}/management/graphql", bench.url);
    let member = bench.member(MEMBER).await;
    let (content, _) = bench.token.rsplit_once('.').unwrap();
    let forged = format!("{content}.AAAA");
    let cases = [
        ("", "ACCESS_TOKEN_REQUIRED"),
        ("Basic abc", "MALFORMED_TOKEN"),
        ("Bearer abc", "MALFORMED_TOKEN"),
        (&format!("Bearer {forged}"), "ACCESS_TOKEN_INVALID"),
        (&format!("Bearer {member}"), "SIGNING_KEY_NOT_FOUND"),
    ];
    for (header, code) in cases {
        let request = bench.http.post(&url).header("authorization", header);
        let answer = send(request, SETTINGS, &json!({})).await.unwrap();
        answer.refused(code);
        assert_eq!(answer.body["data"], json!({"getSettings": null}));
    }
    let answer = send(bench.http.post(&url), SETTINGS, &json!({}))
        .await
        .unwrap();
    answer.refused("ACCESS_TOKEN_REQUIRED");
}

#[tokio::test]
async fn tokens_expire_by_themselves_and_on_demand() {
    let mut bench = Bench::start().await;
    bench.ask(SETTINGS, json!({})).await.data();
    let member = bench.member(MEMBER).await;
    bench.fault(json!({"kind": "expire_tokens"})).await;
    let expired = bench.ask(SETTINGS, json!({})).await;
    expired.refused("ACCESS_TOKEN_EXPIRED");
    let plans = "{ subscriptionPlans { totalCount } }";
    let expired = bench.ask_as(&member, plans, json!({})).await;
    expired.refused("ACCESS_TOKEN_EXPIRED");
    bench.log_in().await;
    bench.ask(SETTINGS, json!({})).await.data();
    let body = json!({"sub": MEMBER, "expires_in": -1});
    let (_, old) = bench.control("end-user-token", body).await;
    let old = old["accessToken"].as_str().unwrap();
    let expired = bench.ask_as(old, plans, json!({})).await;
    expired.refused("ACCESS_TOKEN_EXPIRED");
}

#[tokio::test]
async fn a_token_that_lives_no_second_is_expired_at_once() {
    let bench = Bench::with(Options {
        token_seconds: 0,
        ..Options::default()
    })
    .await;
    let expired = bench.ask(SETTINGS, json!({})).await;
    expired.refused("ACCESS_TOKEN_EXPIRED");
}

#[tokio::test]
async fn a_permission_that_is_missing_is_named() {
    let bench = Bench::with(Options {
        permissions: vec!["SETTINGS_EDIT".to_owned()],
        success_redirect: Some("https://example.org/thanks".to_owned()),
        ..Options::default()
    })
    .await;
    let refused = bench.mutate("createSubscription", subscription()).await;
    refused.refused("USER_NOT_AUTHORIZED");
    let message = refused.body["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("SUBSCRIPTIONS_EDIT"), "{message}");
    let change = "mutation { setSettings(input: {cancelRedirectVal: \"https://example.org/no\", clientMutationId: \"7\"}) {
        clientMutationId setting { successRedirect cancelRedirect } } }";
    let set = bench.ask(change, json!({})).await;
    assert_eq!(set.data()["setSettings"]["clientMutationId"], "7");
    let settings = bench.ask(SETTINGS, json!({})).await;
    let expected = json!({
        "successRedirect": "https://example.org/thanks", "cancelRedirect": "https://example.org/no",
        "errorRedirect": null,
    });
    assert_eq!(settings.data()["getSettings"], expected);
}
