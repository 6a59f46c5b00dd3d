//! What holds for every route, tried on routes made for it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::middleware;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{for_clients, protect};
use crate::auth::{Verifier, mint_development_token};
use crate::clock::Clock;
use crate::http::edge::extract::{Allowed, IdempotencyKey, Json, Path, Query, See};
use crate::http::edge::limits::{self, Limits};
use crate::http::edge::problem::ApiError;
use crate::settings::{Environment, Settings};

mod input;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Basket {
    lines: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[expect(dead_code, reason = "only its type matters")]
    plan: String,
    quantity: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    limit: Option<u32>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

fn settings() -> Result<Settings, crate::settings::SettingsError> {
    let variables = [
        ("DUES__HTTP__PUBLIC_URL", "http://localhost"),
        ("DUES__HTTP__BODY_LIMIT_BYTES", "1024"),
        ("DUES__HTTP__MAX_CONCURRENCY", "1"),
        ("DUES__DATABASE__URL", "postgres://localhost/none"),
        ("DUES__STRIPE__SECRET_KEY", "sk_test_none"),
        ("DUES__STRIPE__WEBHOOK_SECRETS", "whsec_none"),
        (
            "DUES__AUTH__HS256_SECRET",
            "0123456789abcdef0123456789abcdef",
        ),
        ("DUES__CLIENT__SUCCESS_URL", "http://localhost/s"),
        ("DUES__CLIENT__CANCEL_URL", "http://localhost/c"),
        ("DUES__CLIENT__ERROR_URL", "http://localhost/e"),
        ("DUES__CLIENT__ALLOWED_ORIGINS", "https://app.example.org"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Settings::load(Environment::Development, None, variables)
}

fn router(
    timeout: Duration,
    cut: &CancellationToken,
) -> Result<Router, crate::settings::SettingsError> {
    let mut settings = settings()?;
    settings.http.request_timeout = timeout;
    let limits = Limits::new(&settings.http, cut.clone());
    let router = Router::new()
        .route("/slow", get(|| tokio::time::sleep(Duration::from_mins(1))))
        .route(
            "/baskets",
            post(|Json(basket): Json<Basket>| async move {
                let quantity = basket.lines.first().and_then(|line| line.quantity);
                Json(json!({ "quantity": quantity }))
            }),
        )
        .route(
            "/maybe",
            post(|basket: Option<Json<Basket>>| async move { Json(json!(basket.is_some())) }),
        )
        .route(
            "/page",
            get(|Query(page): Query<Page>| async move { Json(json!(page.limit)) }),
        )
        .route(
            "/things/{id}",
            get(|Path(id): Path<uuid::Uuid>| async move { id.to_string() }),
        )
        .route(
            "/key",
            post(|IdempotencyKey(key): IdempotencyKey| async move { Json(json!(key)) }),
        )
        .route("/panic", get(async || -> () { panic!("a secret") }))
        .route(
            "/fault",
            get(async || -> ApiError { ApiError::internal("a secret").retry_after(7) }),
        )
        .layer(middleware::from_fn_with_state(limits, limits::limit));
    Ok(protect(
        for_clients(router, &settings),
        &settings,
        Clock::system(),
    ))
}

async fn ask(request: Request<Body>) -> Result<Answer, Box<dyn std::error::Error>> {
    let router = router(Duration::from_secs(5), &CancellationToken::new())?;
    answer(router, request).await
}

async fn answer(
    router: Router,
    request: Request<Body>,
) -> Result<Answer, Box<dyn std::error::Error>> {
    let response = router.oneshot(request).await?;
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await?;
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    })
}

fn request(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path)
}

impl Answer {
    #[track_caller]
    fn assert_problem(&self, status: u16, code: &str) -> &Self {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json"
        );
        assert_eq!(self.body["code"], code, "{}", self.body);
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["type"], format!("urn:dues:problem:{code}"));
        assert_eq!(
            self.body["request_id"],
            self.headers["x-request-id"].to_str().unwrap_or_default()
        );
        self
    }
}

#[tokio::test]
async fn an_unknown_route_is_a_problem_document() -> Outcome {
    let answer = ask(request(Method::GET, "/nowhere").body(Body::empty())?).await?;
    answer.assert_problem(404, "not_found");
    Ok(())
}

#[tokio::test]
async fn a_wrong_method_is_a_problem_document_that_names_the_right_ones() -> Outcome {
    let answer = ask(request(Method::DELETE, "/baskets").body(Body::empty())?).await?;
    answer.assert_problem(405, "method_not_allowed");
    assert_eq!(answer.headers[header::ALLOW], "POST");
    Ok(())
}

#[tokio::test]
async fn a_panic_is_500_and_tells_nothing() -> Outcome {
    let answer = ask(request(Method::GET, "/panic").body(Body::empty())?).await?;
    answer.assert_problem(500, "internal_error");
    assert!(!answer.body.to_string().contains("secret"));
    Ok(())
}

#[tokio::test]
async fn a_fault_of_ours_is_500_and_tells_nothing() -> Outcome {
    let answer = ask(request(Method::GET, "/fault").body(Body::empty())?).await?;
    answer.assert_problem(500, "internal_error");
    assert_eq!(answer.headers[header::RETRY_AFTER], "7");
    assert!(!answer.body.to_string().contains("secret"));
    Ok(())
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_503() -> Outcome {
    let router = router(Duration::from_millis(20), &CancellationToken::new())?;
    let answer = answer(router, request(Method::GET, "/slow").body(Body::empty())?).await?;
    answer.assert_problem(503, "timeout");
    assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    Ok(())
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_408() -> Outcome {
    // Long enough that a busy machine wakes up between the body's deadline and the request's.
    let router = router(Duration::from_secs(1), &CancellationToken::new())?;
    let never = Body::new(NeverEnding);
    let request = request(Method::POST, "/baskets")
        .header(header::CONTENT_TYPE, "application/json")
        .body(never)?;
    answer(router, request)
        .await?
        .assert_problem(408, "request_timeout");
    Ok(())
}

#[tokio::test]
async fn with_all_places_taken_the_next_request_is_turned_away_at_once() -> Outcome {
    let router = router(Duration::from_mins(1), &CancellationToken::new())?;
    let slow = tokio::spawn(
        router
            .clone()
            .oneshot(request(Method::GET, "/slow").body(Body::empty())?),
    );
    tokio::time::sleep(Duration::from_millis(50)).await;
    let answer = answer(router, request(Method::GET, "/page").body(Body::empty())?).await?;
    answer.assert_problem(503, "overloaded");
    assert!(answer.headers.contains_key(header::RETRY_AFTER));
    slow.abort();
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_cut_off_is_told_so() -> Outcome {
    let cut = CancellationToken::new();
    let router = router(Duration::from_mins(1), &cut)?;
    cut.cancel();
    let answer = answer(router, request(Method::GET, "/slow").body(Body::empty())?).await?;
    answer.assert_problem(503, "shutting_down");
    Ok(())
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_another_replaced() -> Outcome {
    let with = |id: &str| {
        request(Method::GET, "/nowhere")
            .header("x-request-id", id)
            .body(Body::empty())
    };
    let kept = ask(with("proxy-0123456789")?).await?;
    assert_eq!(kept.body["request_id"], "proxy-0123456789");
    for id in [
        "short",
        "with space in it",
        "tab\tin-it-12345",
        &"x".repeat(65),
    ] {
        let replaced = ask(with(id)?).await?;
        let id = replaced.headers["x-request-id"].to_str()?;
        assert_eq!(uuid::Uuid::parse_str(id)?.get_version_num(), 7);
    }
    Ok(())
}

#[tokio::test]
async fn only_the_configured_origin_may_call_from_a_browser() -> Outcome {
    let preflight = |origin: &str| {
        request(Method::OPTIONS, "/baskets")
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(
                header::ACCESS_CONTROL_REQUEST_HEADERS,
                "authorization,idempotency-key",
            )
            .body(Body::empty())
    };
    let ours = ask(preflight("https://app.example.org")?).await?;
    assert_eq!(ours.status, 200);
    assert_eq!(
        ours.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN],
        "https://app.example.org"
    );
    let allowed = ours.headers[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str()?;
    for name in ["authorization", "content-type", "idempotency-key"] {
        assert!(allowed.contains(name), "{allowed}");
    }
    assert!(
        !ours
            .headers
            .contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS)
    );
    for origin in ["https://evil.example.org", "null", "http://app.example.org"] {
        let foreign = ask(preflight(origin)?).await?;
        assert!(
            !foreign
                .headers
                .contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN),
            "{origin}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn an_error_can_be_read_by_the_page_that_caused_it() -> Outcome {
    let request = request(Method::GET, "/nowhere")
        .header(header::ORIGIN, "https://app.example.org")
        .body(Body::empty())?;
    let answer = ask(request).await?;
    answer.assert_problem(404, "not_found");
    assert_eq!(
        answer.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN],
        "https://app.example.org"
    );
    let exposed = answer.headers[header::ACCESS_CONTROL_EXPOSE_HEADERS].to_str()?;
    assert!(
        exposed.contains("x-request-id") && exposed.contains("retry-after"),
        "{exposed}"
    );
    Ok(())
}

#[tokio::test]
async fn every_answer_tells_browsers_to_keep_nothing_and_to_guess_nothing() -> Outcome {
    for path in ["/page", "/nowhere", "/panic"] {
        let headers = ask(request(Method::GET, path).body(Body::empty())?)
            .await?
            .headers;
        assert_eq!(headers[header::CACHE_CONTROL], "no-store", "{path}");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer", "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn an_operator_s_route_is_for_operators() -> Outcome {
    let settings = settings()?;
    let clock = Clock::system();
    let verifier = Arc::new(Verifier::from_settings(&settings, clock.clone())?);
    let router = Router::new()
        .route(
            "/office",
            get(async |staff: Allowed<See>| staff.0.user.as_str().to_owned()),
        )
        .with_state(verifier);
    let router = protect(for_clients(router, &settings), &settings, clock.clone());
    let operator = settings.auth.operator_role.clone();
    for (roles, status) in [
        (vec![operator], 200),
        (vec![], 403),
        (vec!["dues".to_owned()], 403),
    ] {
        let lifetime = Duration::from_mins(1);
        let token = mint_development_token(&settings, &clock, "olga", &roles, lifetime)?;
        let request = request(Method::GET, "/office")
            .header(header::AUTHORIZATION, format!("bearer {token}"))
            .body(Body::empty())?;
        let answer = answer(router.clone(), request).await?;
        assert_eq!(answer.status, status, "{roles:?}");
        if status == 403 {
            answer.assert_problem(403, "forbidden");
        }
    }
    let answer = answer(router, request(Method::GET, "/office").body(Body::empty())?).await?;
    answer.assert_problem(401, "unauthorized");
    Ok(())
}

/// A body of which nothing ever comes.
struct NeverEnding;

impl hyper::body::Body for NeverEnding {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Pending
    }
}
