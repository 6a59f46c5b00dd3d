//! The sandbox, as a test reaches it: over HTTP like everybody else.

use std::net::SocketAddr;

use reqwest::Method;
use serde_json::Value;
use stripe_sandbox::{Options, Sandbox, Webhook};

use super::call::{Answer, Call};
use super::{WEBHOOK_SECRET, client, in_project};

/// A sandbox of one test; it stops with it.
pub(crate) struct TestSandbox {
    url: String,
    client: reqwest::Client,
    _sandbox: Sandbox,
}

impl TestSandbox {
    /// Starts one with the catalogue of the shipped plans, whose webhooks go to the service at this address.
    pub(crate) async fn start(service: SocketAddr) -> Self {
        Self::selling("config/sandbox-catalogue.toml", service).await
    }

    /// The same with another catalogue.
    pub(crate) async fn selling(catalogue: &str, service: SocketAddr) -> Self {
        let options = Options {
            catalogue: Some(in_project(catalogue)),
            webhook: Some(Webhook {
                url: format!("http://{service}/webhooks/stripe"),
                secrets: vec![WEBHOOK_SECRET.to_owned()],
            }),
            ..Options::default()
        };
        let sandbox = Sandbox::start(options)
            .await
            .unwrap_or_else(|error| panic!("the sandbox does not start: {error}"));
        Self {
            url: sandbox.url(),
            client: client(),
            _sandbox: sandbox,
        }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A request to the control API or a hosted page.
    pub(crate) fn request(&self, method: Method, path: &str) -> Call {
        Call::new(&self.client, method, &format!("{}{path}", self.url))
    }

    /// Tells the control API to do something; fails unless it does.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        self.request(Method::POST, path)
            .json(body)
            .send()
            .await
            .succeeded()
    }

    /// Asks the control API; fails unless it answers.
    pub(crate) async fn get(&self, path: &str) -> Value {
        self.request(Method::GET, path).send().await.succeeded()
    }

    /// Asks Stripe's API, as the organisation's own account.
    pub(crate) async fn stripe(&self, path: &str) -> Value {
        self.request(Method::GET, path)
            .bearer("sk_test_sandbox")
            .send()
            .await
            .succeeded()
    }
}

impl Answer {
    #[track_caller]
    fn succeeded(self) -> Value {
        assert!(self.status.is_success(), "{self:#?}");
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }
}
