//! The few calls that the payment connector makes at Stripe.

use serde_json::Value;
use url::form_urlencoded;

use super::Connector;

const VERSION: &str = "2026-10-28.endive";

/// Stripe, as one connector reaches it.
pub(super) struct Stripe<'a> {
    pub client: &'a reqwest::Client,
    pub connector: &'a Connector,
}

impl Stripe<'_> {
    /// Makes an object; parameters are form-encoded, as Stripe takes nothing else.
    pub(super) async fn create(&self, path: &str, params: &[(&str, &str)]) -> Option<Value> {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(params)
            .finish();
        let request = self.client.post(self.address(path));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(body)).await
    }

    /// Reads an object.
    pub(super) async fn read(&self, path: &str) -> Option<Value> {
        self.send(self.client.get(self.address(path))).await
    }

    fn address(&self, path: &str) -> String {
        let base = self.connector.stripe_base.trim_end_matches('/');
        format!("{base}/v1/{path}")
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Option<Value> {
        let request = request
            .bearer_auth(&self.connector.stripe_key)
            .header("stripe-version", VERSION);
        let response = request.send().await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        response.json().await.ok()
    }
}
