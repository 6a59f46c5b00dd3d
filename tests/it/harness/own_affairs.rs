//! What members do with what they hold: plans that can be changed, prices, and the history in full.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::Method;
use serde_json::{Value, json};

use super::lifecycle::text;
use super::{Answer, Builder, TestApp};

/// Two memberships of one group of which one can be ended at once, a donation that renews without a group, seats by
/// number in a group of their own, and what is bought once.
const PLANS: &str = r#"
[[plan]]
code = "basic"
kind = "membership"
price = "membership_monthly"
upgrade_group = "membership"
cancel_now = true

[[plan]]
code = "yearly"
kind = "membership"
price = "membership_annual"
upgrade_group = "membership"

[[plan]]
code = "patron"
kind = "donation"
price = "membership_monthly"
quantity = { min = 1, max = 9 }

[[plan]]
code = "seats"
kind = "donation"
price = "membership_monthly"
quantity = { min = 1, max = 9 }
upgrade_group = "seats"

[[plan]]
code = "yearly-seats"
kind = "donation"
price = "membership_annual"
quantity = { min = 2, max = 8, step = 2 }
upgrade_group = "seats"

[[plan]]
code = "bundle"
kind = "share"
price = "share"
quantity = { min = 1, max = 9, adjustable = true }

[[plan]]
code = "credits-20"
kind = "top_up"
price = "credits_20"
"#;

/// A plans file that goes with its test.
pub(crate) struct Plans(PathBuf);

impl Plans {
    /// Writes these plans.
    pub(crate) fn write(text: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("dues-own-plans-{}-{number}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("a directory for temporary files");
        Self(path)
    }

    /// A service that sells them.
    pub(crate) fn sold(&self) -> Builder {
        TestApp::with()
            .setting("DUES__PLANS__FILE", self.0.display())
            .setting("DUES__WORKER__INTERVAL_MS", 20)
    }
}

impl Drop for Plans {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The usual plans of these tests.
pub(crate) fn plans() -> Plans {
    Plans::write(PLANS)
}

impl TestApp {
    /// The id of the price with that lookup key.
    pub(crate) async fn price(&self, key: &str) -> String {
        let path = format!("/v1/prices?lookup_keys[]={key}");
        text(&self.sandbox.stripe(&path).await["data"][0]["id"])
    }

    /// A price of the same product that no plan has.
    pub(crate) async fn foreign_price(&self, key: &str, amount: &str) -> String {
        let path = format!("/v1/prices?lookup_keys[]={key}");
        let known = &self.sandbox.stripe(&path).await["data"][0];
        let (product, interval) = (
            text(&known["product"]),
            text(&known["recurring"]["interval"]),
        );
        let form = [
            ("product", product.as_str()),
            ("currency", "eur"),
            ("unit_amount", amount),
            ("recurring[interval]", &interval),
        ];
        text(&self.at_stripe(Method::POST, "/v1/prices", &form).await["id"])
    }

    /// Sells alice so many of a plan; the line's id.
    pub(crate) async fn open_and_pay(&self, plan: &str, quantity: u32) -> String {
        let body = json!({"lines": [{"plan": plan, "quantity": quantity}]});
        let purchase = self.open_basket(&self.member("alice"), body).await;
        self.pay(&purchase).await;
        self.settle().await;
        purchase.subscription
    }

    /// Moves the subscription at Stripe of a line to another price or quantity, as an operator does in Stripe's
    /// pages; waits for nothing.
    pub(crate) async fn move_at_stripe(&self, id: &str, price: Option<&str>, quantity: u32) {
        let held = self.stripe_subscription(id).await;
        let (item, quantity) = (text(&held["items"]["data"][0]["id"]), quantity.to_string());
        let mut form = vec![
            ("items[0][id]", item.as_str()),
            ("items[0][quantity]", &quantity),
            ("proration_behavior", "none"),
        ];
        form.extend(price.map(|price| ("items[0][price]", price)));
        let path = format!("/v1/subscriptions/{}", text(&held["id"]));
        self.at_stripe(Method::POST, &path, &form).await;
    }

    /// What alice's service does with one of her subscriptions: `cancel`, `resume`, `change`, …
    pub(crate) async fn act(&self, id: &str, what: &str, body: Value) -> Answer {
        let call = self.post(&format!("/v1/subscriptions/{id}/{what}"));
        call.bearer(&self.member("alice")).json(body).send().await
    }

    /// The changes of one of alice's subscriptions as the API tells them, oldest first.
    pub(crate) async fn changes(&self, id: &str) -> Vec<Value> {
        let path = format!("/v1/subscriptions/{id}/changes?limit=100");
        let call = self.get(&path).bearer(&self.member("alice"));
        let mut data = call.send().await.assert_status(200).json()["data"]
            .as_array()
            .cloned()
            .expect("a list");
        data.reverse();
        data
    }

    /// Of these the last one, as `reason cause`.
    pub(crate) async fn last_change(&self, id: &str) -> String {
        let changes = self.changes(id).await;
        let last = changes.last().expect("a change");
        format!("{} {}", text(&last["reason"]), text(&last["cause"]))
    }

    /// What of a line may change beside its status: plan, quantity, price at Stripe.
    pub(crate) async fn terms(&self, id: &str) -> (String, i32, String) {
        let query = "SELECT plan, quantity, stripe_price_id FROM subscriptions WHERE id = $1::uuid";
        sqlx::query_as(query)
            .bind(id)
            .fetch_one(&self.pool)
            .await
            .expect("the row is there")
    }
}
