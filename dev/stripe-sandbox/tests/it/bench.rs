//! A sandbox of one's own, a client for it, and an endpoint that collects webhooks.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use stripe_sandbox::{Options, Sandbox, Webhook};

pub(crate) const VERSION: &str = "2026-10-28.endive";
pub(crate) const SECRETS: [&str; 2] = ["whsec_new", "whsec_old"];

const CATALOGUE: &str = r#"
[[product]]
name = "Annual membership"
[[product.price]]
lookup_key = "annual"
currency = "eur"
unit_amount = 3000
interval = "year"
currency_options.usd.unit_amount = 3300

[[product]]
name = "Monthly membership"
[[product.price]]
lookup_key = "monthly"
currency = "eur"
unit_amount = 500
interval = "month"

[[product]]
name = "Share"
[[product.price]]
lookup_key = "share"
currency = "eur"
unit_amount = 5000

[[product]]
name = "Donation"
[[product.price]]
lookup_key = "donation"
currency = "eur"
custom_unit_amount = { minimum = 100, preset = 1000 }
"#;

/// A running sandbox with a small catalogue.
pub(crate) struct Bench {
    pub sandbox: Sandbox,
    pub url: String,
    pub http: Client,
}

/// An answer with its status and headers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self {
            status,
            headers,
            body,
        }
    }

    /// The body of a successful answer.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{:#}", self.body);
        self.body
    }

    /// Status, code and parameter of an error.
    pub(crate) fn error(&self) -> (u16, &str, &str) {
        let text = |key: &str| self.body["error"][key].as_str().unwrap_or_default();
        assert!(
            !text("type").is_empty() && !text("message").is_empty(),
            "{:#}",
            self.body
        );
        (self.status, text("code"), text("param"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

pub(crate) fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!(
        "stripe-sandbox-{}-{}-{name}",
        std::process::id(),
        fastrand::u64(..)
    ))
}

impl Bench {
    /// Starts a sandbox whose journal is checked against Stripe's description afterwards.
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// Starts one for requests that are wrong on purpose: its journal is thrown away.
    pub(crate) async fn unrecorded() -> Self {
        Self::with(Options {
            journal: Some("/dev/null".into()),
            ..Options::default()
        })
        .await
    }

    /// Starts one that sends webhooks to a collector.
    pub(crate) async fn with_hook() -> (Self, Hook) {
        let hook = Hook::start().await;
        let secrets = SECRETS.map(str::to_owned).to_vec();
        let webhook = Some(Webhook {
            url: hook.url.clone(),
            secrets,
        });
        let bench = Self::with(Options {
            webhook,
            ..Options::default()
        })
        .await;
        bench
            .control("settings", json!({"webhook_retry_ms": [10, 10, 10]}))
            .await;
        (bench, hook)
    }

    pub(crate) async fn with(options: Options) -> Self {
        let path = temporary("catalogue.toml");
        std::fs::write(&path, CATALOGUE).unwrap();
        let sandbox = Sandbox::start(Options {
            catalogue: Some(path.clone()),
            ..options
        })
        .await
        .unwrap();
        std::fs::remove_file(path).unwrap();
        let http = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            url: sandbox.url(),
            sandbox,
            http,
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth("sk_test_sandbox")
            .header("stripe-version", VERSION)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).send().await.unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path).send().await.unwrap()).await
    }

    /// Posts a form that is written as `a=b&c[d]=e`, unescaped but for `&`, `+` and `%`.
    pub(crate) async fn post(&self, path: &str, form: &str) -> Answer {
        self.post_with(path, form, &[]).await
    }

    pub(crate) async fn post_with(
        &self,
        path: &str,
        form: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self
            .request(Method::POST, path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    /// Posts JSON to the control API.
    pub(crate) async fn control_answer(&self, path: &str, body: Value) -> Answer {
        let request = self
            .http
            .post(format!("{}/_sandbox/{path}", self.url))
            .json(&body);
        Answer::of(request.send().await.unwrap()).await
    }

    pub(crate) async fn control(&self, path: &str, body: Value) -> Value {
        self.control_answer(path, body).await.ok()
    }

    /// Reads from the control API.
    pub(crate) async fn look(&self, path: &str) -> Value {
        Answer::of(
            self.http
                .get(format!("{}/_sandbox/{path}", self.url))
                .send()
                .await
                .unwrap(),
        )
        .await
        .ok()
    }

    /// The id of a price of the catalogue.
    pub(crate) async fn price(&self, key: &str) -> String {
        let found = self
            .get(&format!("/v1/prices?lookup_keys[]={key}"))
            .await
            .ok();
        text(&found["data"][0]["id"])
    }

    pub(crate) async fn customer(&self) -> String {
        text(
            &self
                .post(
                    "/v1/customers",
                    "email=member@example.com&metadata[dues_user_id]=u1",
                )
                .await
                .ok()["id"],
        )
    }

    /// Opens a session for one line.
    pub(crate) async fn session(&self, mode: &str, key: &str, rest: &str) -> Value {
        let price = self.price(key).await;
        let form = format!(
            "mode={mode}&line_items[0][price]={price}&line_items[0][quantity]=1&adaptive_pricing[enabled]=false\
             &success_url=https://app.test/done?session_id={{CHECKOUT_SESSION_ID}}&cancel_url=https://app.test/back{rest}"
        );
        self.post("/v1/checkout/sessions", &form).await.ok()
    }

    /// Pays a session with a card or an IBAN.
    pub(crate) async fn pay(&self, session: &Value, number: &str) -> Answer {
        let id = session["id"].as_str().unwrap();
        let kind = if number.starts_with(char::is_alphabetic) {
            "iban"
        } else {
            "card"
        };
        self.control_answer(&format!("checkout/{id}/pay"), json!({kind: number}))
            .await
    }

    /// Buys a subscription and returns its id, with the customer's.
    pub(crate) async fn subscribe(&self, key: &str, number: &str) -> (String, String) {
        let customer = self.customer().await;
        let more =
            format!("&customer={customer}&subscription_data[metadata][dues_subscription_id]=s1");
        let session = self.session("subscription", key, &more).await;
        self.pay(&session, number).await.ok();
        let done = self
            .get(&format!("/v1/checkout/sessions/{}", text(&session["id"])))
            .await
            .ok();
        (text(&done["subscription"]), customer)
    }

    /// Moves the clock.
    pub(crate) async fn advance_days(&self, days: i64) {
        self.control("clock/advance", json!({"seconds": days * 86_400}))
            .await;
    }

    /// All events, oldest first.
    pub(crate) async fn events(&self) -> Vec<Value> {
        self.look("objects/event")
            .await
            .as_array()
            .cloned()
            .unwrap()
    }

    /// The types of all events from a position on, oldest first.
    pub(crate) async fn types_since(&self, start: usize) -> Vec<String> {
        self.events().await[start..]
            .iter()
            .map(|event| text(&event["type"]))
            .collect()
    }
}

/// A text that must be there.
#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
        .to_owned()
}

/// Whether a list of types has all of these.
#[track_caller]
pub(crate) fn assert_has(types: &[String], wanted: &[&str]) {
    for kind in wanted {
        assert!(
            types.iter().any(|given| given == kind),
            "no {kind} in {types:?}"
        );
    }
}

/// A webhook as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub body: String,
    pub signature: String,
}

impl Received {
    pub(crate) fn event(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

#[derive(Default)]
struct Collected {
    received: Vec<Received>,
    /// Statuses to answer with before it is 200 again.
    answers: VecDeque<u16>,
}

/// An endpoint that collects webhooks.
#[derive(Clone)]
pub(crate) struct Hook {
    pub url: String,
    collected: Arc<Mutex<Collected>>,
}

impl Hook {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let hook = Self {
            url,
            collected: Arc::default(),
        };
        let app = Router::new()
            .route("/hook", post(collect))
            .with_state(hook.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        hook
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.collected.lock().unwrap().received.clone()
    }

    /// The types of what arrived, in order of arrival.
    pub(crate) fn types(&self) -> Vec<String> {
        self.received()
            .iter()
            .map(|received| text(&received.event()["type"]))
            .collect()
    }

    pub(crate) fn forget(&self) {
        self.collected.lock().unwrap().received.clear();
    }

    /// Answers the next requests with these statuses.
    pub(crate) fn answer(&self, statuses: &[u16]) {
        self.collected.lock().unwrap().answers.extend(statuses);
    }
}

async fn collect(State(hook): State<Hook>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let signature = headers
        .get("stripe-signature")
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let mut collected = hook.collected.lock().unwrap();
    collected.received.push(Received {
        body: String::from_utf8(body.to_vec()).unwrap(),
        signature,
    });
    let status = collected.answers.pop_front().unwrap_or(200);
    StatusCode::from_u16(status).unwrap()
}
