//! Tokens signed with the issuer's keys, and an issuer that misbehaves.

use std::time::Duration;

use dues::auth::{AuthError, InvalidToken, Verifier};
use jsonwebtoken::{Algorithm, Header};
use serde_json::json;

use super::{accepted, claims, refused, sign_with, verifier};
use crate::harness::TestApp;
use crate::harness::issuer::{Issuer, SigningKey};

fn verifier_of(issuer: &Issuer) -> Verifier {
    verifier(&[
        ("DUES__AUTH__HS256_SECRET", ""),
        ("DUES__AUTH__JWKS_URL", &issuer.jwks_url()),
    ])
}

#[tokio::test]
async fn public_keys_of_every_kind_verify() {
    let keys = [
        SigningKey::rs256("r"),
        SigningKey::es256("e"),
        SigningKey::eddsa("d"),
    ];
    let issuer = Issuer::start(&[&keys[0], &keys[1], &keys[2]]).await;
    let verifier = verifier_of(&issuer);
    for key in &keys {
        accepted(&verifier, &key.sign(&claims(json!({})))).await;
    }
    assert_eq!(issuer.asked(), 1, "the keys are kept");
    let stranger = SigningKey::es256("e").sign(&claims(json!({})));
    assert_eq!(refused(&verifier, &stranger).await, InvalidToken::Signature);
}

#[tokio::test]
async fn a_public_key_is_no_secret_to_sign_with() {
    let key = SigningKey::rs256("r");
    let issuer = Issuer::start(&[&key]).await;
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("r".to_owned());
    let modulus = key.public()["n"].as_str().expect("an RSA key").to_owned();
    let token = sign_with(&modulus, &header, &claims(json!({})));
    assert_eq!(
        refused(&verifier_of(&issuer), &token).await,
        InvalidToken::Algorithm
    );
}

#[tokio::test]
async fn keys_for_something_else_are_left_out() {
    let (good, encrypting) = (SigningKey::es256("good"), SigningKey::es256("encrypting"));
    let mut other_use = encrypting.public();
    other_use["use"] = json!("enc");
    let mut other_algorithm = SigningKey::rs256("rs512").public();
    other_algorithm["alg"] = json!("RS512");
    let keys = json!({"keys": [
        {"kty": "oct", "kid": "shared", "k": "AAAA"},
        {"kty": "of the future", "kid": "future"},
        "nonsense",
        other_use,
        other_algorithm,
        good.public(),
    ]});
    let issuer = Issuer::start(&[]).await;
    issuer.publish_text(keys.to_string());
    let verifier = verifier_of(&issuer);
    accepted(&verifier, &good.sign(&claims(json!({})))).await;
    let token = encrypting.sign(&claims(json!({})));
    assert_eq!(refused(&verifier, &token).await, InvalidToken::UnknownKey);
}

#[tokio::test]
async fn a_new_key_is_found_and_an_invented_one_does_not_ask_again() {
    let (old, new) = (SigningKey::es256("old"), SigningKey::es256("new"));
    let issuer = Issuer::start(&[&old]).await;
    let verifier = verifier_of(&issuer);
    accepted(&verifier, &old.sign(&claims(json!({})))).await;
    issuer.publish(&[&old, &new]);
    accepted(&verifier, &new.sign(&claims(json!({})))).await;
    assert_eq!(issuer.asked(), 2);
    for id in ["invented", "also invented"] {
        let token = SigningKey::es256(id).sign(&claims(json!({})));
        assert_eq!(refused(&verifier, &token).await, InvalidToken::UnknownKey);
    }
    assert_eq!(issuer.asked(), 2, "at most once a minute");
}

#[tokio::test]
async fn a_crowd_asks_for_the_keys_once() {
    let key = SigningKey::eddsa("k");
    let issuer = Issuer::start(&[&key]).await;
    let verifier = std::sync::Arc::new(verifier_of(&issuer));
    let token = key.sign(&claims(json!({})));
    let crowd: Vec<_> = (0..20)
        .map(|_| {
            let (verifier, token) = (verifier.clone(), token.clone());
            tokio::spawn(async move { accepted(&verifier, &token).await })
        })
        .collect();
    for member in crowd {
        member.await.expect("accepted");
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn without_the_keys_nobody_is_believed_or_refused() {
    let key = SigningKey::es256("k");
    let token = key.sign(&claims(json!({})));
    let oversized = format!("{{\"keys\":[],\"padding\":\"{}\"}}", "x".repeat(70_000));
    let texts = [
        ("too long an answer", oversized.as_str()),
        ("no JSON", "<html>"),
        ("no usable key", "{\"keys\":[]}"),
    ];
    let mut issuers = Vec::new();
    for (what, break_it) in [
        ("an error", Issuer::fail as fn(&Issuer)),
        ("a redirect", Issuer::redirect),
    ] {
        let issuer = Issuer::start(&[&key]).await;
        break_it(&issuer);
        issuers.push((what, issuer));
    }
    for (what, text) in texts {
        let issuer = Issuer::start(&[&key]).await;
        issuer.publish_text(text);
        issuers.push((what, issuer));
    }
    for (what, issuer) in issuers {
        let verifier = verifier_of(&issuer);
        for _ in 0..3 {
            let error = verifier.verify(&token).await.expect_err(what);
            assert!(
                matches!(error, AuthError::KeysUnavailable { retry_after, .. } if retry_after <= Duration::from_secs(5)),
                "{what}: {error:?}"
            );
        }
        assert_eq!(
            issuer.asked(),
            1,
            "{what}: a failure is not repeated at once"
        );
    }
}

#[tokio::test]
async fn known_keys_outlive_an_issuer_that_fails() {
    let key = SigningKey::es256("k");
    let issuer = Issuer::start(&[&key]).await;
    let verifier = verifier_of(&issuer);
    accepted(&verifier, &key.sign(&claims(json!({})))).await;
    issuer.fail();
    accepted(&verifier, &key.sign(&claims(json!({})))).await;
}

#[tokio::test]
async fn without_the_keys_the_answer_is_503_with_a_retry_hint() {
    let issuer = Issuer::start(&[]).await;
    issuer.fail();
    let app = TestApp::with()
        .setting("DUES__AUTH__HS256_SECRET", "")
        .setting("DUES__AUTH__JWKS_URL", issuer.jwks_url())
        .start()
        .await;
    let token = SigningKey::es256("k").sign(&claims(json!({})));
    let answer = app.get("/v1/subscriptions").bearer(&token).send().await;
    let answer = answer.assert_problem(503, "auth_keys_unavailable");
    let seconds: u64 = answer
        .header("retry-after")
        .parse()
        .expect("a hint in seconds");
    assert!((1..=5).contains(&seconds));
}
