//! Whose token is believed, and whose is not.
//!
//! Most of it asks the verifier itself; the last part asks over HTTP.

mod keys;

use dues::auth::{AuthError, InvalidToken, Principal, Verifier};
use dues::clock::Clock;
use dues::settings::{Environment, Settings};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::harness::{TOKEN_SECRET, TestApp, usual_variables};

const OTHER_SECRET: &str = "another secret, also of thirty-two bytes";

fn settings(changes: &[(&str, &str)]) -> Settings {
    let mut variables = usual_variables(
        "postgres://localhost/none",
        ([127, 0, 0, 1], 1).into(),
        "http://127.0.0.1:1",
    );
    for (name, value) in changes {
        variables.insert((*name).to_owned(), (*value).to_owned());
    }
    Settings::load(Environment::Development, None, variables)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn verifier(changes: &[(&str, &str)]) -> Verifier {
    Verifier::from_settings(&settings(changes), Clock::system()).expect("a client")
}

fn now() -> i64 {
    Clock::system().now().unix_timestamp()
}

/// Claims that are fine, with changes; a null takes a claim away.
#[expect(clippy::needless_pass_by_value, reason = "reads well with json!")]
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "sub": "alice",
        "iss": "https://login.example.org",
        "aud": "dues",
        "exp": now() + 600,
    });
    let all = claims.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            all.remove(name);
        } else {
            all.insert(name.clone(), value.clone());
        }
    }
    claims
}

fn sign_with(secret: &str, header: &Header, claims: &Value) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret.as_bytes()))
        .expect("a token")
}

fn sign(claims: &Value) -> String {
    sign_with(TOKEN_SECRET, &Header::new(Algorithm::HS256), claims)
}

async fn accepted(verifier: &Verifier, token: &str) -> Principal {
    verifier
        .verify(token)
        .await
        .unwrap_or_else(|error| panic!("refused: {error}"))
}

async fn refused(verifier: &Verifier, token: &str) -> InvalidToken {
    match verifier.verify(token).await {
        Err(AuthError::Invalid(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// Base64 without padding, as tokens use it; enough for texts of three bytes and their multiples.
fn unsigned(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}.",
        base64(&header.to_string()),
        base64(&claims.to_string())
    )
}

fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            encoded.push(char::from(ALPHABET[bits >> (18 - 6 * place) & 63]));
        }
    }
    encoded
}

#[tokio::test]
async fn a_good_token_names_its_member() {
    let principal = accepted(
        &verifier(&[]),
        &sign(&claims(json!({"email": "a@example.org"}))),
    )
    .await;
    assert_eq!(principal.user.as_str(), "alice");
    assert!(principal.roles.is_empty());
    assert_eq!(principal.email.as_deref(), Some("a@example.org"));
}

#[tokio::test]
async fn an_address_that_the_login_has_not_verified_is_nobodys() {
    let email_of = async |verified: Value| {
        let token = sign(&claims(
            json!({"email": "a@example.org", "email_verified": verified}),
        ));
        accepted(&verifier(&[]), &token).await.email
    };
    assert_eq!(
        email_of(json!(true)).await.as_deref(),
        Some("a@example.org")
    );
    // Some logins write it as a text.
    for no in [json!(false), json!("false")] {
        assert_eq!(email_of(no).await, None);
    }
}

#[tokio::test]
async fn a_token_is_refused_for_whatever_is_wrong_with_it() {
    let verifier = verifier(&[]);
    let cases = [
        (json!({"exp": now() - 31}), InvalidToken::Expired),
        (json!({"exp": null}), InvalidToken::NoExpiry),
        (json!({"exp": "tomorrow"}), InvalidToken::NoExpiry),
        (json!({"nbf": now() + 40}), InvalidToken::NotYet),
        (json!({"nbf": "tomorrow"}), InvalidToken::NotYet),
        (
            json!({"iss": "https://evil.example.org"}),
            InvalidToken::Issuer,
        ),
        (json!({"iss": null}), InvalidToken::Issuer),
        (
            json!({"iss": ["https://login.example.org"]}),
            InvalidToken::Issuer,
        ),
        (json!({"aud": "other"}), InvalidToken::Audience),
        (json!({"aud": ["other", "another"]}), InvalidToken::Audience),
        (json!({"aud": null}), InvalidToken::Audience),
        (json!({"sub": null}), InvalidToken::Subject),
        (json!({"sub": ""}), InvalidToken::Subject),
        (json!({"sub": 7}), InvalidToken::Subject),
        (json!({"sub": "x".repeat(256)}), InvalidToken::Subject),
        (json!({"sub": "é".repeat(128)}), InvalidToken::Subject),
        (json!({"sub": "a\u{0}b"}), InvalidToken::Subject),
    ];
    for (changes, reason) in cases {
        assert_eq!(
            refused(&verifier, &sign(&claims(changes.clone()))).await,
            reason,
            "{changes}"
        );
    }
}

#[tokio::test]
async fn small_differences_of_clocks_are_forgiven() {
    let verifier = verifier(&[]);
    for changes in [
        json!({"exp": now() - 20}),
        json!({"nbf": now() + 20}),
        json!({"exp": now() + 1}),
    ] {
        accepted(&verifier, &sign(&claims(changes))).await;
    }
}

#[tokio::test]
async fn what_is_at_the_limit_is_accepted() {
    let verifier = verifier(&[]);
    let longest = "x".repeat(255);
    for (changes, user) in [
        (json!({"sub": longest}), longest.as_str()),
        (json!({"aud": ["other", "dues"]}), "alice"),
        (json!({"exp": 9_999_999_999.5}), "alice"),
    ] {
        assert_eq!(
            accepted(&verifier, &sign(&claims(changes)))
                .await
                .user
                .as_str(),
            user
        );
    }
}

#[tokio::test]
async fn a_token_expires_by_the_service_s_clock() {
    let clock = Clock::system();
    let verifier = Verifier::from_settings(&settings(&[]), clock.clone()).expect("a client");
    let token = sign(&claims(json!({})));
    accepted(&verifier, &token).await;
    clock.set_offset(3600);
    assert_eq!(refused(&verifier, &token).await, InvalidToken::Expired);
}

#[tokio::test]
async fn a_signature_counts_only_with_the_right_secret_and_algorithm() {
    let verifier = verifier(&[]);
    let good = claims(json!({}));
    let other = sign_with(OTHER_SECRET, &Header::new(Algorithm::HS256), &good);
    assert_eq!(refused(&verifier, &other).await, InvalidToken::Signature);
    let stronger = sign_with(TOKEN_SECRET, &Header::new(Algorithm::HS512), &good);
    assert_eq!(refused(&verifier, &stronger).await, InvalidToken::Algorithm);
    for algorithm in ["none", "None", "NONE", ""] {
        let token = unsigned(&json!({"alg": algorithm, "typ": "JWT"}), &good);
        assert_eq!(
            refused(&verifier, &token).await,
            InvalidToken::Malformed,
            "{algorithm}"
        );
    }
    let stripped = unsigned(&json!({"alg": "HS256"}), &good);
    assert_eq!(refused(&verifier, &stripped).await, InvalidToken::Signature);
    let token = sign(&good);
    let (head, _) = token.rsplit_once('.').expect("a token has parts");
    let altered = format!("{head}.{}", "A".repeat(43));
    assert_eq!(refused(&verifier, &altered).await, InvalidToken::Signature);
}

#[tokio::test]
async fn a_token_that_needs_an_extension_is_refused() {
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["exp".to_owned()]);
    let token = sign_with(TOKEN_SECRET, &header, &claims(json!({})));
    assert_eq!(
        refused(&verifier(&[]), &token).await,
        InvalidToken::CriticalHeader
    );
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let verifier = verifier(&[]);
    let long = "x".repeat(20_000);
    for token in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "é.é.é", &long] {
        assert_eq!(
            refused(&verifier, token).await,
            InvalidToken::Malformed,
            "{token}"
        );
    }
}

#[tokio::test]
async fn issuer_and_audience_may_be_left_open_in_development() {
    let open = verifier(&[("DUES__AUTH__ISSUER", ""), ("DUES__AUTH__AUDIENCE", "")]);
    accepted(&open, &sign(&claims(json!({"iss": null, "aud": null})))).await;
    accepted(&open, &sign(&claims(json!({"aud": "whoever"})))).await;
}

#[tokio::test]
async fn the_role_of_an_operator_is_found_where_the_settings_say() {
    let usual = verifier(&[]);
    let nested = verifier(&[
        ("DUES__AUTH__ROLES_CLAIM", "realm_access.roles"),
        ("DUES__AUTH__OPERATOR_ROLE", "office"),
    ]);
    let cases = [
        (&usual, json!({"roles": ["x", "dues:operator"]}), true),
        (&usual, json!({"roles": "dues:operator"}), true),
        (&usual, json!({"roles": ["dues:operator2", 7, null]}), false),
        (
            &usual,
            json!({"realm_access": {"roles": ["dues:operator"]}}),
            false,
        ),
        (
            &nested,
            json!({"realm_access": {"roles": ["office"]}}),
            true,
        ),
        (
            &nested,
            json!({"roles": ["office", "dues:operator"]}),
            false,
        ),
    ];
    for (verifier, changes, operator) in cases {
        let principal = accepted(verifier, &sign(&claims(changes.clone()))).await;
        assert_eq!(!principal.roles.is_empty(), operator, "{changes}");
    }
}

#[tokio::test]
async fn without_a_good_token_the_answer_is_401_and_says_how_to_ask() {
    let app = TestApp::start().await;
    let none = app
        .get("/v1/subscriptions")
        .send()
        .await
        .assert_problem(401, "unauthorized");
    assert_eq!(none.header("www-authenticate"), "Bearer");
    let basic = app
        .get("/v1/subscriptions")
        .header("authorization", "Basic YTpi")
        .send()
        .await;
    basic.assert_problem(401, "unauthorized");
    let expired = sign(&claims(json!({"exp": now() - 60})));
    let answer = app
        .get("/v1/subscriptions")
        .bearer(&expired)
        .send()
        .await
        .assert_problem(401, "unauthorized");
    assert_eq!(
        answer.header("www-authenticate"),
        "Bearer error=\"invalid_token\""
    );
    assert_eq!(answer.json()["detail"], "The token has expired.");
    let wrong = sign_with(
        OTHER_SECRET,
        &Header::new(Algorithm::HS256),
        &claims(json!({})),
    );
    app.get("/v1/subscriptions")
        .bearer(&wrong)
        .send()
        .await
        .assert_problem(401, "unauthorized");
}

#[tokio::test]
async fn a_minted_token_is_believed() {
    let app = TestApp::start().await;
    app.get("/v1/subscriptions")
        .bearer(&app.member("alice"))
        .send()
        .await
        .assert_status(200);
}
