//! `dues doctor`: a healthy deployment passes; each broken thing has its line, says what to do, and fails the command.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};

use reqwest::Method;
use serde_json::{Value, json};
use stripe_sandbox::{Options, Sandbox, Webhook};

use crate::harness::program::{Ended, File, run};
use crate::harness::purchase::GOOD_CARD;
use crate::harness::replica::Replica;
use crate::harness::{
    TestApp, TestSandbox, empty_database, in_project, migrated_database, usual_variables,
};

/// The settings of the service, for a program beside it; its pages are pages of the service.
fn variables(app: &TestApp) -> HashMap<String, String> {
    let url = app.settings.database.url.expose();
    let mut variables = usual_variables(url, app.address, app.sandbox.url());
    let page = format!("http://{}/docs/", app.address);
    for (name, value) in [
        ("DUES_ENV", "development"),
        ("DUES__CLIENT__SUCCESS_URL", &format!("{page}?from=dues")),
        ("DUES__CLIENT__CANCEL_URL", &page),
        ("DUES__CLIENT__ERROR_URL", &page),
        ("DUES__STRIPE__REQUESTS_PER_SECOND", "1000"),
    ] {
        variables.insert(name.to_owned(), value.to_owned());
    }
    variables
}

async fn doctor(app: &TestApp, arguments: &[&str], changes: &[(&str, &str)]) -> Ended {
    let mut variables = variables(app);
    for (name, value) in changes {
        variables.insert((*name).to_owned(), (*value).to_owned());
    }
    let ended = run(&[&["doctor"], arguments].concat(), &variables).await;
    for secret in ["sk_test_sandbox", "whsec_test", "a secret of tests"] {
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(!said.contains(secret), "{secret} was printed: {said}");
    }
    ended
}

/// Takes the endpoint away with which the sandbox started.
async fn no_endpoint(sandbox: &TestSandbox) {
    let all = sandbox.stripe("/v1/webhook_endpoints").await;
    for endpoint in all["data"].as_array().expect("a list") {
        let id = endpoint["id"].as_str().expect("an id");
        let path = format!("/v1/webhook_endpoints/{id}");
        let call = sandbox.request(Method::DELETE, &path);
        call.bearer("sk_test_sandbox")
            .send()
            .await
            .assert_status(200);
    }
}

/// Saves the portal's settings, as an operator does once in the Dashboard.
async fn portal(app: &TestApp) {
    let customer = app.at_stripe(Method::POST, "/v1/customers", &[]).await;
    let customer = customer["id"].as_str().expect("an id");
    app.at_stripe(
        Method::POST,
        "/v1/billing_portal/sessions",
        &[("customer", customer), ("return_url", "https://a.example")],
    )
    .await;
    let all = app
        .sandbox
        .stripe("/v1/billing_portal/configurations")
        .await;
    let id = all["data"][0]["id"].as_str().expect("an id");
    let path = format!("/v1/billing_portal/configurations/{id}");
    let back = [("default_return_url", "https://app.example.org/")];
    app.at_stripe(Method::POST, &path, &back).await;
}

/// A deployment in which nothing is to be mended.
async fn healthy() -> TestApp {
    let app = TestApp::start().await;
    heal(&app).await;
    app
}

/// Mends everything. The service does not know the new endpoint's secret, so no webhook is taken from then on.
async fn heal(app: &TestApp) {
    no_endpoint(&app.sandbox).await;
    portal(app).await;
    let ended = doctor(app, &["--create-webhook-endpoint"], &[]).await;
    ended.assert_code(0);
}

async fn forbid(app: &TestApp, method: &str, path: &str) {
    app.fault(json!({"kind": "forbidden", "method": method, "path": path, "times": 100}))
        .await;
}

#[tokio::test]
async fn a_healthy_deployment_passes_and_nothing_is_changed_by_looking() {
    let app = TestApp::start().await;
    app.sandbox
        .post("/_sandbox/settings", json!({"mail_receipts": true}))
        .await;
    app.sell("membership-annual", GOOD_CARD).await;
    heal(&app).await;
    let before = app.sandbox.stripe("/v1/events?limit=100").await;
    let ended = doctor(&app, &[], &[]).await.assert_code(0);
    for wanted in [
        "ok settings environment development, Stripe's test mode",
        "ok database PostgreSQL",
        "ok events none has failed",
        "note stripe a secret key of the test mode is accepted",
        "ok permissions the key may",
        "ok version 2026-10-28.endive",
        "ok clock within 2 s",
        "ok webhook we_",
        "ok portal bpc_",
        "ok receipts for the newest payment Stripe has mailed a receipt",
        "ok catalogue all 6 plans can be sold",
        "ok pages the pages to which browsers return answer",
        "ok service it answers at",
    ] {
        ended.line(wanted);
    }
    assert!(
        ended
            .line("ok database")
            .contains("migrations, none pending")
    );
    assert!(
        ended
            .line("note stripe")
            .contains("Checkout Sessions: write")
    );
    ended.line("12 ok, 1 to note, 0 to look at, 0 to mend, 0 not looked at");
    assert_eq!(app.sandbox.stripe("/v1/events?limit=100").await, before);
}

#[tokio::test]
async fn programs_get_json() {
    let app = TestApp::start().await;
    let ended = doctor(&app, &["--json"], &[]).await.assert_code(1);
    let found = ended.json();
    let found = found.as_array().expect("an array");
    let portal = found.iter().find(|finding| finding["check"] == "portal");
    let portal = portal.expect("it was looked at");
    assert_eq!(portal["status"], "fail");
    assert!(portal["detail"].is_string() && portal["advice"].is_string());
    let version = found.iter().find(|finding| finding["check"] == "version");
    let wanted =
        json!({"check": "version", "status": "ok", "detail": "2026-10-28.endive", "advice": null});
    assert_eq!(version, Some(&wanted));
    assert!(
        ended.stderr.contains("1 thing(s) must be mended"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn all_wrong_settings_are_named_and_the_rest_is_skipped() {
    let variables = HashMap::from([
        (
            "DUES__STRIPE__SECRET_KEY".to_owned(),
            "pk_test_1".to_owned(),
        ),
        ("DUES__LOG__FORMAT".to_owned(), "xml".to_owned()),
    ]);
    let ended = run(&["doctor"], &variables).await.assert_code(1);
    for name in [
        "DUES__DATABASE__URL is missing",
        "DUES__STRIPE__SECRET_KEY does",
        "DUES__LOG__FORMAT is neither",
    ] {
        let line = ended.line(&format!("FAIL settings {name}"));
        assert!(line.contains("set it in the environment"), "{line}");
    }
    for check in [
        "database",
        "stripe",
        "webhook",
        "catalogue",
        "pages",
        "service",
    ] {
        ended.line(&format!("skip {check} the settings can't be used"));
    }
    assert!(!ended.stdout.contains("pk_test_1"), "{ended:?}");
}

#[tokio::test]
async fn a_wrong_key_fails_and_what_needs_stripe_is_skipped() {
    let app = TestApp::start().await;
    let wrong = [("DUES__STRIPE__SECRET_KEY", "rk_test_wrong")];
    let ended = doctor(&app, &[], &wrong).await.assert_code(1);
    let line = ended.line("FAIL stripe Stripe does not know the key:");
    assert!(line.contains("DUES__STRIPE__SECRET_KEY"), "{line}");
    for check in [
        "permissions",
        "version",
        "clock",
        "webhook",
        "portal",
        "receipts",
    ] {
        ended.line(&format!("skip {check} Stripe can't be asked"));
    }
    ended.line("skip catalogue the file can be read");
    ended.line("ok database");
    ended.line("ok service");
    assert!(!ended.stdout.contains("rk_test_wrong"), "{ended:?}");
}

#[tokio::test]
async fn a_stripe_that_is_away_is_one_failure_and_a_bad_plans_file_is_still_found() {
    let app = TestApp::start().await;
    let plans = File::new("plans.toml", "[[plan]]\n");
    let away = [
        ("DUES__STRIPE__API_BASE", "http://127.0.0.1:1"),
        ("DUES__PLANS__FILE", plans.path().to_str().expect("text")),
    ];
    let ended = doctor(&app, &[], &away).await.assert_code(1);
    ended.line("FAIL stripe Stripe can't be reached");
    let line = ended.line("FAIL catalogue the plans file");
    assert!(
        line.contains("line 1") && line.contains("missing field"),
        "{line}"
    );
}

#[tokio::test]
async fn a_database_that_is_away_fails_and_the_rest_is_looked_at() {
    let app = healthy().await;
    let away = [(
        "DUES__DATABASE__URL",
        "postgres://dues:pa55word@127.0.0.1:1/dues",
    )];
    let ended = doctor(&app, &[], &away).await.assert_code(1);
    let line = ended.line("FAIL database");
    assert!(line.contains("DUES__DATABASE__URL"), "{line}");
    assert!(!line.contains("pa55word"), "{line}");
    ended.line("skip events the database can't be asked");
    ended.line("ok webhook");
}

#[tokio::test]
async fn pending_migrations_are_named_and_a_newer_schema_is_noted() {
    let app = healthy().await;
    let empty = empty_database().await;
    let old = [("DUES__DATABASE__URL", empty.url())];
    let ended = doctor(&app, &[], &old).await.assert_code(1);
    let line = ended.line("FAIL database");
    assert!(
        line.contains("0001 schema") && line.ends_with("run `dues migrate`"),
        "{line}"
    );
    let by_itself = [old[0], ("DUES__DATABASE__MIGRATE", "true")];
    let ended = doctor(&app, &[], &by_itself).await.assert_code(0);
    ended.line("note database");
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of tomorrow', true, '\\x00', 1)",
    )
    .execute(&app.pool)
    .await
    .expect("a row");
    let ended = doctor(&app, &[], &[]).await.assert_code(0);
    let line = ended.line("note database");
    assert!(line.contains("1 that this version does not know"), "{line}");
}

#[tokio::test]
async fn events_that_want_a_person_are_counted() {
    let app = TestApp::start().await;
    app.sell("membership-annual", GOOD_CARD).await;
    heal(&app).await;
    sqlx::query(
        "UPDATE webhook_events SET state = CASE type WHEN 'invoice.paid' THEN 'flagged' ELSE 'failed' END
          WHERE type IN ('invoice.paid', 'checkout.session.completed')",
    )
    .execute(&app.pool)
    .await
    .expect("two events");
    let ended = doctor(&app, &[], &[]).await.assert_code(0);
    let failed = ended.line("warn events 1 event(s) are failed");
    assert!(
        failed.ends_with("dues events list --state failed"),
        "{failed}"
    );
    ended.line("warn events 1 event(s) are flagged");
}

#[tokio::test]
async fn each_permission_that_the_key_lacks_is_named_in_stripe_s_words() {
    let app = healthy().await;
    for (method, path, permission) in [
        ("GET", "/v1/prices", "Prices: read"),
        ("GET", "/v1/disputes", "Disputes: read"),
        ("GET", "/v1/invoice_payments", "Invoices: read"),
        ("POST", "/v1/checkout/sessions", "Checkout Sessions: write"),
        (
            "POST",
            "/v1/checkout/sessions/*",
            "Checkout Sessions: write",
        ),
        ("POST", "/v1/subscriptions/*", "Subscriptions: write"),
        ("POST", "/v1/customers/*", "Customers: write"),
        ("POST", "/v1/invoices/create_preview", "Invoices: write"),
        (
            "POST",
            "/v1/billing_portal/sessions",
            "Customer portal: write",
        ),
    ] {
        app.no_more_faults().await;
        forbid(&app, method, path).await;
        let ended = doctor(&app, &[], &[]).await.assert_code(1);
        let line = ended.line(&format!("FAIL permissions the key lacks \"{permission}\","));
        assert!(line.contains("edit the restricted key"), "{line}");
        assert!(!ended.stdout.contains("rak_"), "Stripe's words: {ended:?}");
        assert_eq!(ended.stdout.matches("FAIL").count(), 1, "{ended:?}");
    }
}

#[tokio::test]
async fn a_key_that_may_not_look_at_endpoints_and_portal_is_only_warned_about() {
    let app = healthy().await;
    forbid(&app, "GET", "/v1/webhook_endpoints").await;
    forbid(&app, "GET", "/v1/billing_portal/configurations").await;
    let ended = doctor(&app, &[], &[]).await.assert_code(0);
    let line = ended.line("warn webhook the key may not look");
    assert!(line.contains("\"Webhook Endpoints: read\""), "{line}");
    let line = ended.line("warn portal the key may not look");
    assert!(line.contains("\"Customer portal: write\""), "{line}");
}

#[tokio::test]
async fn a_restricted_key_is_what_is_wanted() {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let database = migrated_database().await;
    let sandbox = Sandbox::start(Options {
        secret_key: "rk_test_dues".to_owned(),
        catalogue: Some(in_project("config/sandbox-catalogue.toml")),
        ..Options::default()
    });
    let sandbox = sandbox.await.expect("a sandbox");
    let mut variables = usual_variables(database.url(), address, &sandbox.url());
    for (name, value) in [
        ("DUES_ENV", "development"),
        ("DUES__STRIPE__SECRET_KEY", "rk_test_dues"),
    ] {
        variables.insert(name.to_owned(), value.to_owned());
    }
    let ended = run(&["doctor"], &variables).await.assert_code(1);
    ended.line("ok stripe a restricted key of the test mode is accepted");
    ended.line("ok permissions");
    assert!(!ended.stdout.contains("rk_test_dues"), "{ended:?}");
}

#[tokio::test]
async fn a_stripe_that_does_not_answer_is_not_waited_for() {
    let app = TestApp::start().await;
    app.fault(json!({"kind": "stall", "path": "/v1/*", "times": 100, "stall_ms": 60_000}))
        .await;
    let hasty = [("DUES__STRIPE__TIMEOUT_MS", "200")];
    let ended = doctor(&app, &[], &hasty).await.assert_code(1);
    ended.line("FAIL stripe Stripe did not answer in time");
    ended.line("ok service");
}

#[tokio::test]
async fn an_unknown_version_fails_and_another_one_is_warned_about() {
    let app = healthy().await;
    let unknown = [("DUES__STRIPE__API_VERSION", "2027-13-01.nowhere")];
    let ended = doctor(&app, &[], &unknown).await.assert_code(1);
    let line = ended.line("FAIL version Stripe does not know");
    assert!(
        line.ends_with("set DUES__STRIPE__API_VERSION=2026-10-28.endive"),
        "{line}"
    );
    ended.line("note stripe");
    let older = [("DUES__STRIPE__API_VERSION", "2026-09-30.endive")];
    let ended = doctor(&app, &[], &older).await.assert_code(0);
    ended.line("warn version Stripe answers in 2026-09-30.endive, but");
    let line = ended.line("warn webhook");
    assert!(line.contains("in the version 2026-10-28.endive"), "{line}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_seen() {
    let app = healthy().await;
    app.sandbox
        .post("/_sandbox/clock/advance", json!({"seconds": 60}))
        .await;
    let ended = doctor(&app, &[], &[]).await.assert_code(0);
    let line = ended.line("warn clock this machine's clock is");
    assert!(line.contains("behind Stripe's"), "{line}");
    app.sandbox
        .post("/_sandbox/clock/advance", json!({"seconds": 600}))
        .await;
    let ended = doctor(&app, &[], &[]).await.assert_code(1);
    let line = ended.line("FAIL clock");
    assert!(line.contains("webhooks are refused at 300 s"), "{line}");
}

#[tokio::test]
async fn an_endpoint_that_is_made_from_here_brings_webhooks() {
    let address: SocketAddr = {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        free.local_addr().expect("a bound port")
    };
    let database = migrated_database().await;
    let sandbox = TestSandbox::start(address).await;
    no_endpoint(&sandbox).await;
    let mut variables = usual_variables(database.url(), address, sandbox.url());
    variables.insert("DUES_ENV".to_owned(), "development".to_owned());
    // There is no secret before there is an endpoint.
    variables.remove("DUES__STRIPE__WEBHOOK_SECRETS");
    let first = run(&["doctor"], &variables).await.assert_code(1);
    first.line("FAIL settings DUES__STRIPE__WEBHOOK_SECRETS is missing");
    let line = first.line("FAIL webhook Stripe has no webhook endpoint");
    assert!(
        line.ends_with("dues doctor --create-webhook-endpoint makes it"),
        "{line}"
    );

    let made = run(&["doctor", "--create-webhook-endpoint"], &variables).await;
    let line = made.line("warn webhook we_");
    let secret = line.split_whitespace().last().expect("a word");
    assert!(
        secret.starts_with("whsec_") && line.contains("DUES__STRIPE__WEBHOOK_SECRETS"),
        "{line}"
    );
    assert_eq!(made.stdout.matches(secret).count(), 1);
    let again = run(&["doctor", "--create-webhook-endpoint"], &variables).await;
    again.line("ok webhook we_");
    assert!(!again.stdout.contains("whsec_"), "{again:?}");

    let more = HashMap::from([(
        "DUES__STRIPE__WEBHOOK_SECRETS".to_owned(),
        secret.to_owned(),
    )]);
    let mut service = Replica::start_at(address, database.url(), sandbox.url(), &more).await;
    let opened = service
        .request(Method::POST, "/v1/subscriptions")
        .bearer(&service.member("alice"))
        .json(json!({"plan": "credits-20"}))
        .send()
        .await
        .assert_status(201)
        .json();
    let url = opened["checkout"]["url"].as_str().expect("a URL");
    let session = url
        .rsplit('/')
        .next()
        .expect("a session")
        .split('#')
        .next()
        .expect("an id");
    let pay = format!("/_sandbox/checkout/{session}/pay");
    sandbox.post(&pay, json!({"card": GOOD_CARD})).await;
    let settled = sandbox
        .post("/_sandbox/deliveries/settle", json!({"timeout_ms": 10_000}))
        .await;
    assert_eq!(
        (&settled["settled"], &settled["failed"]),
        (&json!(true), &json!(0))
    );
    let deliveries = sandbox.get("/_sandbox/deliveries").await;
    let deliveries = deliveries.as_array().expect("a list");
    assert!(!deliveries.is_empty());
    assert!(
        deliveries.iter().all(|delivery| delivery["status"] == 200),
        "{deliveries:?}"
    );
    service.stop().await;
}

#[tokio::test]
async fn events_that_an_endpoint_lacks_are_named_and_can_be_added() {
    let app = healthy().await;
    let all = app.sandbox.stripe("/v1/webhook_endpoints").await;
    let id = all["data"][0]["id"].as_str().expect("an id");
    let path = format!("/v1/webhook_endpoints/{id}");
    let poor = [
        ("enabled_events[0]", "invoice.paid"),
        ("enabled_events[1]", "payout.paid"),
    ];
    app.at_stripe(Method::POST, &path, &poor).await;
    let ended = doctor(&app, &["--create-webhook-endpoint"], &[])
        .await
        .assert_code(1);
    let line = ended.line(&format!("FAIL webhook {id} does not get"));
    assert!(
        line.contains("checkout.session.completed") && !line.contains("invoice.paid,"),
        "{line}"
    );
    let ended = doctor(&app, &["--update-webhook-endpoint"], &[])
        .await
        .assert_code(0);
    ended.line(&format!("ok webhook {id} gets all events now"));
    let ended = doctor(&app, &[], &[]).await.assert_code(0);
    ended.line(&format!("note webhook {id} also gets payout.paid"));

    app.at_stripe(Method::POST, &path, &[("disabled", "true")])
        .await;
    let ended = doctor(&app, &["--create-webhook-endpoint"], &[])
        .await
        .assert_code(1);
    let line = ended.line(&format!("FAIL webhook {id} for"));
    assert!(line.contains("is disabled"), "{line}");
}

#[tokio::test]
async fn an_endpoint_of_the_connector_whose_place_we_take_is_ours_where_its_routes_answer() {
    let app = healthy().await;
    let all = app.sandbox.stripe("/v1/webhook_endpoints").await;
    let id = all["data"][0]["id"].as_str().expect("an id");
    let url = format!("http://{}/webhooks", app.address);
    let path = format!("/v1/webhook_endpoints/{id}");
    app.at_stripe(Method::POST, &path, &[("url", &url)]).await;
    let ended = doctor(&app, &[], &[]).await.assert_code(1);
    ended.line("FAIL webhook Stripe has no webhook endpoint");
    let answers = [("DUES__MOSAIC__COMPATIBLE_ROUTES", "true")];
    let ended = doctor(&app, &[], &answers).await.assert_code(0);
    let line = ended.line(&format!("ok webhook {id} sends"));
    assert!(line.ends_with(&url), "{line}");
}

#[tokio::test]
async fn what_the_endpoint_is_made_with_must_be_allowed() {
    let app = healthy().await;
    no_endpoint(&app.sandbox).await;
    forbid(&app, "POST", "/v1/webhook_endpoints").await;
    let ended = doctor(&app, &["--create-webhook-endpoint"], &[])
        .await
        .assert_code(1);
    let lines: Vec<&str> = ended
        .stdout
        .lines()
        .filter(|line| line.contains("webhook"))
        .collect();
    let last = lines.last().expect("a line");
    assert!(
        last.contains("FAIL") && last.contains("\"Webhook Endpoints: write\""),
        "{last}"
    );
}

#[tokio::test]
async fn plans_that_can_t_be_sold_fail() {
    let app = healthy().await;
    let shipped = std::fs::read_to_string(in_project("config/plans.toml")).expect("the plans");
    let plans = File::new(
        "plans.toml",
        &shipped.replace("\"credits_50\"", "\"nowhere\""),
    );
    let file = [("DUES__PLANS__FILE", plans.path().to_str().expect("text"))];
    let ended = doctor(&app, &[], &file).await.assert_code(1);
    let line = ended.line("FAIL catalogue plan \"credits-50\"");
    assert!(
        line.contains("no active price") && line.contains("dues plans check"),
        "{line}"
    );
    ended.line("note catalogue 1 active price(s)");
}

#[tokio::test]
async fn a_portal_that_is_not_set_up_fails_and_one_that_lets_nobody_cancel_is_warned_about() {
    let app = TestApp::start().await;
    let ended = doctor(&app, &[], &[]).await.assert_code(1);
    let line = ended.line("FAIL portal the customer portal is not set up");
    assert!(
        line.contains("Settings, Billing, Customer portal"),
        "{line}"
    );
    // The sandbox's own endpoint gets everything, in the account's version.
    ended.line("warn webhook we_");
    ended.line("note webhook we_");
    ended.line("note receipts nobody has paid yet");
    portal(&app).await;
    let all = app
        .sandbox
        .stripe("/v1/billing_portal/configurations")
        .await;
    let id = all["data"][0]["id"].as_str().expect("an id");
    let path = format!("/v1/billing_portal/configurations/{id}");
    let off = [("features[subscription_cancel][enabled]", "false")];
    app.at_stripe(Method::POST, &path, &off).await;
    app.sell("credits-20", GOOD_CARD).await;
    let ended = doctor(&app, &[], &[]).await.assert_code(0);
    let line = ended.line("warn portal");
    assert!(line.contains("does not let members cancel"), "{line}");
    ended.line("note receipts in test mode Stripe mails no receipts");
}

#[tokio::test]
async fn a_portal_where_members_switch_plans_is_warned_about_and_one_that_is_named_must_be_there() {
    let app = healthy().await;
    let unknown = [("DUES__PORTAL__CONFIGURATION", "bpc_nobody")];
    let ended = doctor(&app, &[], &unknown).await.assert_code(1);
    ended.line("FAIL portal Stripe has no active configuration bpc_nobody");

    let price = app
        .sandbox
        .stripe("/v1/prices?lookup_keys[]=membership_annual")
        .await;
    let text = |key: &str| price["data"][0][key].as_str().expect("a text").to_owned();
    let (price, product) = (text("id"), text("product"));
    let update = "features[subscription_update]";
    let form = [
        (format!("{update}[enabled]"), "true"),
        (format!("{update}[default_allowed_updates][0]"), "price"),
        (format!("{update}[products][0][product]"), &product),
        (format!("{update}[products][0][prices][0]"), &price),
    ];
    let form: Vec<(&str, &str)> = form
        .iter()
        .map(|(key, value)| (key.as_str(), *value))
        .collect();
    let all = app
        .sandbox
        .stripe("/v1/billing_portal/configurations")
        .await;
    let id = all["data"][0]["id"].as_str().expect("an id");
    let path = format!("/v1/billing_portal/configurations/{id}");
    app.at_stripe(Method::POST, &path, &form).await;
    let named = [("DUES__PORTAL__CONFIGURATION", id)];
    let ended = doctor(&app, &[], &named).await.assert_code(0);
    let line = ended.line("warn portal");
    assert!(line.contains("switch"), "{line}");
}

#[tokio::test]
async fn pages_and_a_service_that_do_not_answer_are_seen() {
    let app = healthy().await;
    let gone = format!("http://{}/nowhere?secret=4711", app.address);
    let ended = doctor(&app, &[], &[("DUES__CLIENT__CANCEL_URL", &gone)]).await;
    let ended = ended.assert_code(0);
    let line = ended.line("warn pages");
    assert!(
        line.contains("answers 404") && line.contains("DUES__CLIENT__CANCEL_URL"),
        "{line}"
    );
    assert!(!line.contains("4711"), "{line}");
    let dead = [("DUES__CLIENT__SUCCESS_URL", "http://127.0.0.1:1/thanks")];
    let ended = doctor(&app, &[], &dead).await.assert_code(1);
    ended.line("FAIL pages http://127.0.0.1:1/thanks does not answer");
    let elsewhere = [("DUES__HTTP__PUBLIC_URL", app.sandbox.url())];
    let ended = doctor(&app, &[], &elsewhere).await.assert_code(1);
    ended.line("FAIL service something else than Dues answers");
    let away = [("DUES__HTTP__PUBLIC_URL", "http://127.0.0.1:1")];
    let ended = doctor(&app, &[], &away).await.assert_code(1);
    ended.line("FAIL service nobody answers at http://127.0.0.1:1/");
}

#[tokio::test]
async fn between_containers_nothing_is_to_be_mended_for_the_names_they_have_for_each_other() {
    let app = TestApp::start().await;
    let sandbox = Sandbox::start(Options {
        set_up: true,
        catalogue: Some(in_project("config/sandbox-catalogue.toml")),
        webhook: Some(Webhook {
            url: "http://dues:8080/webhooks/stripe".to_owned(),
            secrets: vec!["whsec_test".to_owned()],
        }),
        ..Options::default()
    });
    let sandbox = sandbox.await.expect("it starts");
    // Any address but the loopback's own, that leads there.
    let elsewhere = sandbox.url().replace("127.0.0.1", "0.0.0.0");
    let containers = [
        ("DUES__STRIPE__API_BASE", elsewhere.as_str()),
        ("DUES__CLIENT__CANCEL_URL", "http://127.0.0.1:1/back"),
    ];
    let ended = doctor(&app, &[], &containers).await.assert_code(0);
    ended.line("note portal bpc_");
    ended.line("note pages http://127.0.0.1:1/back does not answer");
    for line in ended.stdout.lines() {
        assert!(!line.starts_with("warn"), "{line}");
    }
    let moved = [
        containers[0],
        ("DUES__HTTP__PUBLIC_URL", "https://dues.example.org"),
    ];
    let ended = doctor(&app, &[], &moved).await.assert_code(1);
    ended.line("FAIL webhook");
}

#[tokio::test]
async fn a_service_that_is_not_ready_is_seen() {
    let app = TestApp::start().await;
    app.lose_database().await;
    let ended = doctor(&app, &[], &[]).await.assert_code(1);
    let line = ended.line("FAIL service it answers at");
    assert!(line.contains("is not ready"), "{line}");
}

#[tokio::test]
async fn production_settings_that_look_like_development_are_warned_about() {
    let app = healthy().await;
    let production = [
        ("DUES_ENV", "production"),
        ("DUES__LOG__LEVEL", "info,dues=debug"),
    ];
    let ended = doctor(&app, &["--json"], &production).await.assert_code(0);
    let found = ended.json();
    let settings: Vec<&Value> = found
        .as_array()
        .expect("an array")
        .iter()
        .filter(|finding| finding["check"] == "settings")
        .collect();
    let statuses: Vec<&Value> = settings.iter().map(|finding| &finding["status"]).collect();
    assert_eq!(statuses, ["ok", "note", "warn", "warn"], "{settings:?}");
}
