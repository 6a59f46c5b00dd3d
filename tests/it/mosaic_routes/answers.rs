//! What the connector's clients call, at the connector's stand-in and here: the answers are the same.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Before, compatible, start, wanted};
use crate::harness::mosaic::{mapped, member, shipped_plans};
use crate::harness::program::File;
use crate::harness::purchase::GOOD_CARD;
use crate::harness::{Answer, Call, TestApp};

/// What a client can tell answers apart by: the status, what pages may read, and the form of the body, of which names are
/// kept and whatever is an address or an id is not.
fn form(answer: &Answer) -> Value {
    fn of(value: &Value) -> Value {
        match value {
            Value::String(text) if text.starts_with("http") => json!("a URL"),
            Value::String(text) if text.parse::<uuid::Uuid>().is_ok() => json!("an id"),
            Value::Array(all) => all.iter().map(of).collect(),
            Value::Object(all) => all
                .iter()
                .map(|(name, value)| (name.clone(), of(value)))
                .collect(),
            other => other.clone(),
        }
    }
    let open = ["origin", "headers", "methods"];
    let open = open.map(|name| {
        answer
            .header(&format!("access-control-allow-{name}"))
            .to_owned()
    });
    let body = if answer.text.is_empty() {
        Value::Null
    } else {
        of(&answer.json())
    };
    json!({ "status": answer.status.as_u16(), "open": open, "body": body })
}

/// The same call at the connector and here.
async fn compare(before: &Before, app: &TestApp, what: &str, ask: impl Fn(Call) -> Call) -> Value {
    let (method, path) = what.split_once(' ').expect("a method and a path");
    let method: Method = method.parse().expect("a method");
    let page = |call: Call| ask(call.header("origin", "https://client.example.org"));
    let theirs = before
        .billing
        .request(method.clone(), &format!("/connector{path}"));
    let theirs = form(&page(theirs).send().await);
    let ours = form(&page(app.request(method, path)).send().await);
    assert_eq!(ours, theirs, "{what}");
    ours
}

const NOTHING: &str = "{\"redirectUrl\":null,\"subscriptionId\":null}";

#[tokio::test]
async fn every_call_of_a_client_is_answered_as_the_connector_answers_it() {
    let before = Before::start().await;
    let app = before.service().start().await;
    let ada = before.ada(1).await;
    for path in ["/start-checkout", "/customer-overview"] {
        let asked = |call: Call| {
            call.header("access-control-request-method", "POST").header(
                "access-control-request-headers",
                "authorization,content-type",
            )
        };
        let allowed = compare(&before, &app, &format!("OPTIONS {path}"), asked).await;
        assert_eq!(
            (&allowed["status"], &allowed["open"][0]),
            (&json!(204), &json!("*"))
        );
    }
    let overview = "GET /customer-overview";
    let none = compare(&before, &app, overview, |call| call.bearer(&ada)).await;
    assert_eq!((&none["status"], &none["body"]), (&json!(200), &json!([])));

    let started = compare(&before, &app, "POST /start-checkout", |call| {
        call.bearer(&ada).json(wanted("membership-annual", "EUR"))
    });
    let opened = json!({ "subscriptionId": "an id", "redirectUrl": "a URL" });
    assert_eq!(started.await["body"], opened);
    let portals = compare(&before, &app, overview, |call| call.bearer(&ada)).await;
    assert_eq!(
        portals["body"],
        json!([{ "name": "Ada Lovelace (EUR)", "url": "a URL" }])
    );
}

#[tokio::test]
async fn whatever_goes_wrong_is_said_in_the_connector_s_words() {
    let before = Before::start().await;
    let app = before.service().start().await;
    let ada = before.ada(1).await;
    let expired = json!({ "sub": member(1), "email": "a@example.org", "expires_in": -3600 });
    let expired = before.billing.token(expired).await;
    let (head, _) = ada.rsplit_once('.').expect("a signature");
    let forged = format!("{head}.{}", "A".repeat(342));
    let good = wanted("membership-annual", "EUR");
    let nothing: Value = serde_json::from_str(NOTHING).expect("JSON");
    for token in [
        None,
        Some(""),
        Some("no token"),
        Some(&expired),
        Some(&forged),
    ] {
        let with = |call: Call| match token {
            Some(token) => call.bearer(token),
            None => call,
        };
        let answer = compare(&before, &app, "POST /start-checkout", |call| {
            with(call).json(good.clone())
        });
        let answer = answer.await;
        assert_eq!(
            (&answer["status"], &answer["body"]),
            (&json!(400), &nothing),
            "{token:?}"
        );
        let answer = compare(&before, &app, "GET /customer-overview", with).await;
        assert_eq!(
            (&answer["status"], &answer["body"]),
            (&json!(400), &json!([])),
            "{token:?}"
        );
    }
    for body in [
        "",
        "no JSON",
        "[]",
        "{}",
        r#"{"paymentPlanId":"no id","currency":"EUR"}"#,
        r#"{"paymentPlanId":"0f0f0f0f-0000-4000-8000-000000000000","currency":"EUR"}"#,
        r#"{"paymentPlanId":7,"currency":"EUR"}"#,
        r#"{"paymentPlanId":null,"currency":null}"#,
        r#"{"currency":"EUR"}"#,
    ] {
        let answer = compare(&before, &app, "POST /start-checkout", |call| {
            let json = call.bearer(&ada).header("content-type", "application/json");
            json.body(body)
        });
        let answer = answer.await;
        assert_eq!(
            (&answer["status"], &answer["body"]),
            (&json!(400), &nothing),
            "{body}"
        );
    }
    assert_eq!(app.count("checkouts").await, 0);
    // What another system would sell all the same: a currency in which the plan has no price, what she holds already.
    let other = start(&app, &ada, wanted("membership-monthly", "USD"))
        .send()
        .await;
    assert_eq!(form(&other)["body"], nothing);
    let session = app.opened(&ada, "membership-monthly").await.session;
    app.sandbox
        .post(
            &format!("/_sandbox/checkout/{session}/pay"),
            json!({ "card": GOOD_CARD }),
        )
        .await;
    app.settle().await;
    let again = start(&app, &ada, wanted("membership-monthly", "EUR"))
        .send()
        .await;
    assert_eq!(form(&again)["body"], nothing);
}

#[tokio::test]
async fn a_member_has_one_share_of_calls_whichever_routes_she_takes() {
    let before = Before::start().await;
    let limited = before
        .service()
        .setting("DUES__HTTP__MEMBER_REQUESTS_PER_MINUTE", 2);
    let app = limited.start().await;
    let ada = before.ada(1).await;
    let one = start(&app, &ada, wanted("membership-annual", "EUR"))
        .send()
        .await;
    one.assert_status(200);
    let own = app.post("/v1/portal-sessions").bearer(&ada).send().await;
    own.assert_status(201);
    let own = app.post("/v1/portal-sessions").bearer(&ada).send().await;
    own.assert_problem(429, "too_many_requests");
    let third = app.get("/customer-overview").bearer(&ada).send().await;
    assert_ne!(
        third.header("x-request-id"),
        "",
        "by which the log tells why"
    );
    let open = [
        "*",
        "authorization, content-type",
        "GET, HEAD, PUT, PATCH, POST, DELETE",
    ];
    assert_eq!(
        form(&third),
        json!({ "status": 400, "open": open, "body": [] })
    );
    let other = app.get("/customer-overview").bearer(&before.ada(2).await);
    other.send().await.assert_status(200);
}

#[tokio::test]
async fn whoever_pays_in_two_currencies_has_two_portals_and_without_a_name_her_id() {
    let file = File::new("plans.toml", &mapped(&shipped_plans(), &[]));
    let app = compatible()
        .setting("DUES__PLANS__FILE", file.path().display())
        .start()
        .await;
    let alice = app.member("alice");
    for currency in ["EUR", "USD"] {
        let started = start(&app, &alice, wanted("credits-20", currency))
            .send()
            .await;
        started.assert_status(200);
    }
    let portals = app.get("/customer-overview").bearer(&alice).send().await;
    let portals = portals.assert_status(200).json();
    let names = [
        &portals[0]["name"],
        &portals[1]["name"],
        &portals[2]["name"],
    ];
    assert_eq!(
        names,
        [&json!("alice (EUR)"), &json!("alice (USD)"), &Value::Null]
    );
    assert_ne!(portals[0]["url"], portals[1]["url"]);
    let broken = json!({ "kind": "error_500", "path": "/v1/billing_portal/sessions", "times": 10 });
    app.fault(broken).await;
    let failed = app.get("/customer-overview").bearer(&alice).send().await;
    assert_eq!((failed.status.as_u16(), failed.text.as_str()), (400, "[]"));
}

#[tokio::test]
async fn without_the_setting_nobody_answers() {
    let app = TestApp::start().await;
    for path in [
        "/start-checkout",
        "/success-checkout",
        "/cancel-checkout",
        "/customer-overview",
        "/webhooks",
    ] {
        for method in [Method::GET, Method::POST] {
            let answer = app
                .request(method, path)
                .header("origin", "https://client.example.org");
            let answer = answer.send().await.assert_problem(404, "not_found");
            assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
        }
    }
}
