//! Operators at work: their tokens, and their acts as sentences.

use std::time::Duration;

use dues::auth::mint_development_token;
use dues::domain::ids::ActionId;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::call::Call;
use super::{Answer, TestApp};

impl TestApp {
    /// A token that names roles, good for an hour.
    pub(crate) fn staff(&self, user: &str, roles: &[&str]) -> String {
        let roles: Vec<String> = roles.iter().map(|role| format!("dues:{role}")).collect();
        let life = Duration::from_hours(1);
        mint_development_token(&self.settings, &self.clock, user, &roles, life)
            .expect("tests run in development, with a secret")
    }

    /// A key that nobody has used.
    pub(crate) fn key(&self) -> Uuid {
        ActionId::new(self.clock.now()).0
    }

    /// Grace, who may everything.
    pub(crate) fn grace(&self) -> String {
        self.staff("grace", &["operator"])
    }

    /// `GET /v1/operator/…` as Grace.
    pub(crate) async fn look(&self, path: &str) -> Value {
        let call = self
            .get(&format!("/v1/operator/{path}"))
            .bearer(&self.grace());
        call.send().await.assert_status(200).json()
    }

    /// `POST /v1/operator/…` as somebody, under that key.
    pub(crate) fn staff_act(&self, token: &str, path: &str, key: Uuid, body: Value) -> Call {
        self.request(Method::POST, &format!("/v1/operator/{path}"))
            .bearer(token)
            .header("idempotency-key", key)
            .json(body)
    }

    /// `POST /v1/operator/…` as Grace, because a member asked for it; the answer to what was done.
    pub(crate) async fn grace_does(&self, path: &str, body: Value) -> Answer {
        let mut body = body;
        body["reason"] = json!("member_request");
        self.staff_act(&self.grace(), path, self.key(), body)
            .send()
            .await
    }

    /// What Grace would do, without doing it.
    pub(crate) async fn grace_would(&self, path: &str, body: Value) -> Answer {
        let mut body = body;
        body["dry_run"] = json!(true);
        self.request(Method::POST, &format!("/v1/operator/{path}"))
            .bearer(&self.grace())
            .json(body)
            .send()
            .await
    }
}
