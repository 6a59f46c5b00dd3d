//! What strangers can send: nothing of it is believed, nothing of it breaks anything. `PROPTEST_CASES=n` tries longer;
//! `fuzz/` holds the same readers for a fuzzer.

use dues::auth::Verifier;
use dues::clock::Clock;
use dues::settings::{Environment, Settings};
use dues::stripe::event::EventType;
use dues::stripe::observe::Observer;
use dues::stripe::signature::Secrets;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use reqwest::Method;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokio::runtime::{Builder, Runtime};

use crate::harness::purchase::GOOD_CARD;
use crate::harness::{TestApp, usual_variables};

fn cases(usual: u32) -> ProptestConfig {
    let wanted = std::env::var("PROPTEST_CASES").ok();
    let wanted = wanted.and_then(|cases| cases.parse().ok());
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(wanted.unwrap_or(usual))
    }
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// Any JSON, not deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("sub_1")),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("[a-z_]{1,8}", inner, 0..3)
                .prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

/// Puts another value somewhere into this one; the path chooses where.
fn spoil(value: &mut Value, path: &[prop::sample::Index], with: &Value) {
    let Some((first, rest)) = path.split_first() else {
        *value = with.clone();
        return;
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let at = first.index(fields.len());
            if let Some((_, field)) = fields.iter_mut().nth(at) {
                spoil(field, rest, with);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let at = first.index(items.len());
            spoil(&mut items[at], rest, with);
        }
        _ => *value = with.clone(),
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn no_signature_is_believed_without_the_secret(
        header in prop_oneof![
            "\\PC{0,80}",
            "(t=[0-9]{0,20},?){0,2}(v[01]=[0-9a-f]{0,70},?){0,3}",
            "t=0,v1=[0-9a-f]{64}",
        ],
        body in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let secrets = Secrets::new(["whsec_one", "whsec_two"]);
        let now = OffsetDateTime::UNIX_EPOCH;
        prop_assert!(secrets.verify(Some(&header), &body, now, Duration::MAX).is_err());
    }

    #[test]
    fn any_bytes_are_an_event_or_none(body in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Observer::new("key").event(&body).is_err());
    }

    #[test]
    fn an_event_with_any_object_is_read_or_refused(
        kind in prop::sample::select(EventType::ALL),
        object in any_json(),
        created in any::<i64>(),
    ) {
        let event = json!({"id": "evt_1", "type": kind.as_str(), "created": created, "livemode": false,
            "data": {"object": object}});
        drop(Observer::new("key").event(event.to_string().as_bytes()));
    }
}

#[test]
fn no_token_is_believed_without_the_secret() {
    let variables = usual_variables(
        "postgres://localhost/none",
        ([127, 0, 0, 1], 1).into(),
        "http://127.0.0.1:1",
    );
    let settings = Settings::load(Environment::Development, None, variables).expect("settings");
    let verifier = Verifier::from_settings(&settings, Clock::system()).expect("a verifier");
    let runtime = runtime();
    let header = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
    let token = prop_oneof![
        "\\PC{0,80}",
        "[A-Za-z0-9_-]{0,60}(\\.[A-Za-z0-9_-]{0,60}){0,4}",
        "[A-Za-z0-9_-]{0,60}".prop_map(move |rest| format!("{header}.{rest}.{rest}")),
    ];
    TestRunner::new(cases(2_000))
        .run(&token, |token| {
            prop_assert!(runtime.block_on(verifier.verify(&token)).is_err());
            Ok(())
        })
        .expect("none is believed");
}

/// Events that the service has understood, one field of each replaced by anything.
#[test]
fn an_event_that_is_spoilt_anywhere_is_read_or_refused() {
    let events = runtime().block_on(async {
        let app = TestApp::start().await;
        let alice = app.member("alice");
        app.buy_with(&alice, "membership-annual", GOOD_CARD).await;
        app.buy_with(&alice, "credits-20", GOOD_CARD).await;
        let events = app.sandbox.stripe("/v1/events?limit=100").await;
        events["data"].as_array().cloned().expect("a list")
    });
    let spoilt = (
        prop::sample::select(events),
        prop::collection::vec(any::<prop::sample::Index>(), 1..8),
        any_json(),
    );
    TestRunner::new(cases(3_000))
        .run(&spoilt, |(mut event, path, with)| {
            spoil(&mut event, &path, &with);
            drop(Observer::new("dues_subscription_id").event(event.to_string().as_bytes()));
            Ok(())
        })
        .expect("each is read or refused");
}

#[test]
fn no_query_path_or_body_breaks_the_service() {
    let runtime = runtime();
    let app = runtime.block_on(TestApp::start());
    let token = app.member("alice");
    let request = (
        prop::sample::select(vec![
            (Method::GET, "/v1/subscriptions?"),
            (Method::GET, "/v1/subscriptions/"),
            (Method::GET, "/v1/plans?"),
            (Method::GET, "/v1/entitlements?"),
            (Method::GET, "/checkout/success?session_id="),
            (Method::GET, "/checkout/cancel?checkout="),
            (Method::GET, "/checkout/cancel?token="),
            (Method::POST, "/v1/subscriptions"),
            (Method::POST, "/webhooks/stripe"),
        ]),
        prop_oneof![
            "(limit|cursor|kind|status|checkout|token)=[a-zA-Z0-9%-]{0,20}(&(limit|cursor|kind|token)=[0-9%-]{0,24}){0,2}",
            "[!-~&&[^#]]{0,40}",
        ],
        prop_oneof![
            any_json().prop_map(|body| body.to_string()),
            any_json().prop_map(|lines| json!({"lines": [lines]}).to_string()),
            any_json().prop_map(|plan| json!({"plan": plan, "currency": plan}).to_string()),
            "\\PC{0,60}",
        ],
        "[ -~]{0,30}",
    );
    TestRunner::new(cases(300))
        .run(&request, |((method, path), more, body, header)| {
            let whole = if method == Method::GET {
                format!("{path}{more}")
            } else {
                path.to_owned()
            };
            let call = app
                .request(method, &whole)
                .bearer(&token)
                .header("content-type", "application/json")
                .header("idempotency-key", &header)
                .header("stripe-signature", &header);
            let answer = runtime.block_on(call.body(body).send());
            prop_assert!(!answer.status.is_server_error(), "{:?}", answer);
            prop_assert!(
                !answer.status.is_success() || whole.starts_with("/v1/"),
                "{:?}",
                answer
            );
            Ok(())
        })
        .expect("each is answered");
    runtime.block_on(async move { drop(app) });
}
