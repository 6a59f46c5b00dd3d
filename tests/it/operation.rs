//! What machines and people who run the service rely on.

use std::time::Duration;

use dues::app::{App, StartError};
use dues::settings::{Environment, Settings};
use dues::storage::MigrationError;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Answer, TestApp, client, empty_database, usual_variables};

#[tokio::test]
async fn a_running_service_is_alive_and_ready() {
    let app = TestApp::start().await;
    assert_eq!(
        app.get("/healthz").send().await.assert_status(200).json()["status"],
        "ok"
    );
    assert_eq!(
        app.get("/readyz").send().await.assert_status(200).json()["status"],
        "ready"
    );
}

#[tokio::test]
async fn without_its_database_the_service_is_alive_but_not_ready() {
    let app = TestApp::with()
        .setting("DUES__DATABASE__ACQUIRE_TIMEOUT_MS", 500)
        .start()
        .await;
    app.lose_database().await;
    app.get("/healthz").send().await.assert_status(200);
    let answer = app
        .get("/readyz")
        .send()
        .await
        .assert_problem(503, "not_ready");
    assert!(!answer.header("retry-after").is_empty());
    assert!(!answer.text.contains("postgres"), "{}", answer.text);
}

#[tokio::test]
async fn pending_migrations_stop_the_start_unless_told_to_run_them() {
    let database = empty_database().await;
    let settings = |migrate: &str| {
        let mut variables = usual_variables(
            database.url(),
            ([127, 0, 0, 1], 0).into(),
            "http://127.0.0.1:1",
        );
        variables.insert("DUES__HTTP__LISTEN".to_owned(), "127.0.0.1:0".to_owned());
        variables.insert("DUES__DATABASE__MIGRATE".to_owned(), migrate.to_owned());
        Settings::load(Environment::Development, None, variables).expect("good settings")
    };
    let Err(error) = App::build(settings("false")).await else {
        panic!("the service started");
    };
    assert!(
        matches!(&error, StartError::Schema(MigrationError::Pending(_))),
        "{error:?}"
    );
    assert!(error.to_string().contains("0001 schema"), "{error}");
    assert!(error.to_string().contains("dues migrate"), "{error}");
    App::build(settings("true"))
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    App::build(settings("false"))
        .await
        .unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test]
async fn metrics_count_requests_by_route_and_never_by_uri() {
    let app = TestApp::start().await;
    app.get("/healthz").send().await.assert_status(200);
    app.get("/nowhere-mallory?secret=mallory")
        .send()
        .await
        .assert_problem(404, "not_found");
    let page = app.get("/metrics").send().await.assert_status(200);
    assert!(page.header("content-type").starts_with("text/plain"));
    for line in [
        "http_requests_total{route=\"/healthz\",method=\"GET\",status=\"200\"}",
        "http_requests_total{route=\"unmatched\",method=\"GET\",status=\"404\"}",
        "http_request_seconds_bucket{route=\"/healthz\",method=\"GET\",le=\"0.005\"}",
        "http_problems_total{code=\"not_found\"}",
        "database_connections{state=\"idle\"}",
        "webhook_seconds_since_last ",
    ] {
        assert!(
            page.text.contains(line),
            "{line} is missing in\n{}",
            page.text
        );
    }
    assert!(!page.text.contains("mallory"));
}

#[tokio::test]
async fn metrics_may_have_a_port_of_their_own() {
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        free.local_addr().expect("a bound port").port()
    };
    let app = TestApp::with()
        .setting("DUES__HTTP__METRICS_LISTEN", format!("127.0.0.1:{port}"))
        .start()
        .await;
    app.get("/metrics")
        .send()
        .await
        .assert_problem(404, "not_found");
    let page = client()
        .get(format!("http://127.0.0.1:{port}/metrics"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(page.status(), 200);
}

#[tokio::test]
async fn the_api_is_described_and_the_page_to_read_it_needs_no_network() {
    let app = TestApp::start().await;
    let description = app
        .get("/openapi.json")
        .send()
        .await
        .assert_status(200)
        .json();
    for (method, path) in [
        ("get", "/v1/plans"),
        ("post", "/v1/subscriptions"),
        ("get", "/v1/subscriptions"),
        ("get", "/v1/subscriptions/{id}"),
        ("get", "/v1/entitlements"),
        ("get", "/checkout/success"),
        ("get", "/checkout/cancel"),
        ("post", "/webhooks/stripe"),
        ("get", "/healthz"),
        ("get", "/readyz"),
        ("get", "/metrics"),
    ] {
        let operation = &description["paths"][path][method];
        assert!(operation.is_object(), "{method} {path} is not described");
        let for_members = path.starts_with("/v1/") && path != "/v1/plans";
        assert_eq!(
            operation["security"][0]["bearer"].is_array(),
            for_members,
            "{method} {path}: {operation}"
        );
    }
    assert_eq!(
        description["components"]["securitySchemes"]["bearer"]["scheme"],
        "bearer"
    );
    assert!(description["components"]["schemas"]["Problem"].is_object());

    let page = app.get("/docs/").send().await.assert_status(200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(
        !page.text.contains("//cdn") && !page.text.contains("https://"),
        "{}",
        page.text
    );
    for asset in [
        "swagger-ui.css",
        "swagger-ui-bundle.js",
        "swagger-initializer.js",
    ] {
        assert!(page.text.contains(asset), "{asset}");
        app.get(&format!("/docs/{asset}"))
            .send()
            .await
            .assert_status(200);
    }
    let start = app.get("/docs/swagger-initializer.js").send().await.text;
    assert!(start.contains("\"validatorUrl\": \"none\""), "{start}");
    assert!(!start.contains("https://"), "{start}");
}

#[tokio::test]
async fn half_a_head_holds_up_the_end_no_longer_than_a_request_and_nothing_new_is_taken() {
    let mut app = TestApp::with()
        .setting("DUES__HTTP__SHUTDOWN_SECONDS", 1)
        .start()
        .await;
    let mut begun = TcpStream::connect(app.address).await.expect("a connection");
    begun
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        .await
        .expect("half a head");
    // It was read: what comes after it on another connection is answered.
    app.get("/healthz").send().await.assert_status(200);
    let address = app.address;
    tokio::time::timeout(Duration::from_secs(20), app.stop())
        .await
        .expect("it ends long before it gives up the head");
    assert!(TcpStream::connect(address).await.is_err());
    let mut rest = String::new();
    let _ = begun.read_to_string(&mut rest).await;
    assert_eq!(rest, "", "nobody has asked anything");
}

#[tokio::test]
async fn every_answer_carries_the_request_s_id() {
    let app = TestApp::start().await;
    let id = |answer: &Answer| answer.header("x-request-id").to_owned();
    let (first, second) = (
        app.get("/healthz").send().await,
        app.get("/nowhere").send().await,
    );
    assert_ne!(id(&first), id(&second));
    assert_eq!(second.json()["request_id"], id(&second));
    let mine = app
        .get("/nowhere")
        .header("x-request-id", "from-the-proxy-1")
        .send()
        .await;
    assert_eq!(mine.json()["request_id"], "from-the-proxy-1");
}

#[tokio::test]
async fn the_clock_follows_the_sandbox_s_from_the_start_and_when_it_is_moved() {
    let app = TestApp::with().following_the_sandbox().start().await;
    let ahead = || (app.clock.now() - app.clock.wall()).whole_seconds();
    assert!(ahead() < 60);
    app.sandbox
        .post("/_sandbox/clock/advance", json!({"seconds": 86_400}))
        .await;
    let moved = async {
        while ahead() < 86_300 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), moved)
        .await
        .expect("the service follows within a second");
    let sandbox = app.sandbox.get("/_sandbox/clock").await;
    assert!(
        sandbox["offset"]
            .as_i64()
            .is_some_and(|seconds| seconds - ahead() < 5)
    );
}
