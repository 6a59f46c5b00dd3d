//! What other systems have sold at Stripe: as the old connector of a billing service makes it, and as a forum's plugin does.

use std::collections::HashMap;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::lifecycle::text;
use crate::harness::program::{Ended, program, run};
use crate::harness::purchase::GOOD_CARD;
use crate::harness::{TestApp, usual_variables};

/// What the old connector's subscriptions are adopted with.
pub(crate) const OLD: [&str; 5] = [
    "adopt",
    "--user-from",
    "customer.metadata.end_user_id",
    "--id-from",
    "subscription.metadata.subscriptionId",
];

/// A subscription of the old connector.
#[derive(Clone, Debug)]
pub(crate) struct Old {
    pub(crate) customer: String,
    /// `sub_…`.
    pub(crate) stripe: String,
    /// By which the old system knows it.
    pub(crate) id: String,
}

/// An id as the old system gives them: nobody orders by it.
pub(crate) fn old_id(number: u32) -> String {
    format!("da6cdb9d-822c-4a33-8953-{number:012x}")
}

/// A service that has heard of nothing, whose worker is busy and whose first walk through Stripe's events is over.
pub(crate) async fn service() -> TestApp {
    let app = TestApp::with()
        .setting("DUES__WORKER__INTERVAL_MS", 20)
        .setting("DUES__STRIPE__REQUESTS_PER_SECOND", 1000)
        .start()
        .await;
    app.first_walk_is_over().await;
    app
}

/// A service that knows its rows by the key of the old connector.
pub(crate) async fn with_the_old_key() -> TestApp {
    let app = TestApp::with()
        .setting("DUES__WORKER__INTERVAL_MS", 20)
        .setting("DUES__STRIPE__METADATA_KEY", "subscriptionId")
        .start()
        .await;
    app.first_walk_is_over().await;
    app
}

/// The settings of the service, for a program beside it.
pub(crate) fn variables(app: &TestApp) -> HashMap<String, String> {
    let url = app.settings.database.url.expose();
    let mut variables = usual_variables(url, app.address, app.sandbox.url());
    let key = app.settings.stripe.metadata_key.as_str();
    let plans = app.settings.plans.file.to_string_lossy();
    let more = [
        ("DUES_ENV", "development"),
        ("DUES__CLOCK__FOLLOW", app.sandbox.url()),
        ("DUES__STRIPE__REQUESTS_PER_SECOND", "1000"),
        ("DUES__STRIPE__MAX_RETRIES", "0"),
        ("DUES__STRIPE__METADATA_KEY", key),
        ("DUES__PLANS__FILE", &plans),
    ];
    let more = more.map(|(name, value)| (name.to_owned(), value.to_owned()));
    variables.extend(more);
    variables
}

/// The command with these options, not yet run.
pub(crate) fn command(app: &TestApp, arguments: &[&str]) -> Command {
    program(arguments, &variables(app))
}

/// Runs the command to its end, whatever it is.
pub(crate) async fn attempt(app: &TestApp, arguments: &[&str], more: &[&str]) -> Ended {
    let arguments: Vec<&str> = arguments.iter().chain(more).copied().collect();
    run(&arguments, &variables(app)).await
}

/// Runs the command; what it found, as JSON.
pub(crate) async fn adopt(app: &TestApp, arguments: &[&str], more: &[&str]) -> Value {
    let mut more = more.to_vec();
    more.push("--json");
    let report = attempt(app, arguments, &more).await.assert_code(0).json();
    assert_eq!(report["is_whole"], true, "{report:#}");
    let buckets = report["buckets"].as_object().expect("buckets").values();
    let sum: u64 = buckets.filter_map(Value::as_u64).sum();
    assert_eq!(report["listed"], sum, "{report:#}");
    report
}

/// The buckets in which there is anything.
pub(crate) fn buckets(report: &Value) -> Value {
    let all = report["buckets"].as_object().expect("buckets");
    let filled = all.iter().filter(|(_, count)| **count != 0);
    filled
        .map(|(name, count)| (name.clone(), count.clone()))
        .collect()
}

/// The ids of the subscriptions at Stripe in a bucket.
pub(crate) fn in_bucket(report: &Value, bucket: &str) -> Vec<String> {
    let entries = report["subscriptions"].as_array().expect("a list").iter();
    entries
        .filter(|entry| entry["bucket"] == bucket)
        .map(|entry| text(&entry["stripe_subscription_id"]))
        .collect()
}

impl TestApp {
    /// The customer that the old connector makes for a user and a currency.
    pub(crate) async fn old_customer(&self, user: &str, currency: &str) -> String {
        let form = [
            ("email", "somebody@example.org"),
            ("name", "Somebody"),
            (
                "description",
                "End-user created via Stripe payment connector",
            ),
            ("metadata[end_user_id]", user),
            ("metadata[end_user_currency]", currency),
        ];
        text(&self.at_stripe(Method::POST, "/v1/customers", &form).await["id"])
    }

    /// Sells as the old connector does: its own customer, its own session, its ids in both metadata.
    pub(crate) async fn old_sale(&self, user: &str, price: &str, number: u32, card: &str) -> Old {
        let customer = self.old_customer(user, "EUR").await;
        self.old_sale_to(&customer, price, number, card, &[]).await
    }

    /// The same to a customer who is there, with more of a session.
    pub(crate) async fn old_sale_to(
        &self,
        customer: &str,
        price: &str,
        number: u32,
        with: &str,
        more: &[(&str, &str)],
    ) -> Old {
        let (price, id) = (self.price(price).await, old_id(number));
        let mut form = vec![
            ("mode", "subscription"),
            ("customer", customer),
            ("billing_address_collection", "auto"),
            ("line_items[0][price]", &price),
            ("line_items[0][quantity]", "1"),
            (
                "success_url",
                "https://old.example.org/success-checkout?session_id={CHECKOUT_SESSION_ID}",
            ),
            ("cancel_url", "https://old.example.org/cancelled"),
            ("metadata[source]", "session"),
            ("metadata[subscriptionId]", &id),
            (
                "subscription_data[metadata][source]",
                "session.subscription_data",
            ),
            ("subscription_data[metadata][subscriptionId]", &id),
        ];
        form.extend_from_slice(more);
        let opened = self
            .at_stripe(Method::POST, "/v1/checkout/sessions", &form)
            .await;
        let session = text(&opened["id"]);
        let how = if with.starts_with("AT") {
            "iban"
        } else {
            "card"
        };
        let path = format!("/_sandbox/checkout/{session}/pay");
        self.sandbox.post(&path, json!({ how: with })).await;
        self.deliveries_settle().await;
        let path = format!("/v1/checkout/sessions/{session}");
        let stripe = text(&self.sandbox.stripe(&path).await["subscription"]);
        Old {
            customer: customer.to_owned(),
            stripe,
            id,
        }
    }

    /// Subscribes as a forum's plugin does: a customer without metadata and a card of hers, her number at the forum in the
    /// subscription's metadata.
    pub(crate) async fn forum_sale(&self, user: &str, items: &[&str], card: &str) -> String {
        let form = [("email", "member@example.org")];
        let customer = self.at_stripe(Method::POST, "/v1/customers", &form).await;
        let customer = text(&customer["id"]);
        let path = format!("/_sandbox/customers/{customer}/card");
        self.sandbox.post(&path, json!({ "card": card })).await;
        let keys: Vec<String> = (0..items.len())
            .map(|at| format!("items[{at}][price]"))
            .collect();
        let mut form = vec![("customer", customer.as_str())];
        if !user.is_empty() {
            form.extend([
                ("metadata[user_id]", user),
                ("metadata[username]", "member"),
            ]);
        }
        form.extend(keys.iter().map(String::as_str).zip(items.iter().copied()));
        let made = self
            .at_stripe(Method::POST, "/v1/subscriptions", &form)
            .await;
        self.deliveries_settle().await;
        text(&made["id"])
    }

    /// Writes an entry into the metadata of a subscription at Stripe.
    pub(crate) async fn write_at(&self, stripe: &str, key: &str, value: &str) {
        let path = format!("/v1/subscriptions/{stripe}");
        let key = format!("metadata[{key}]");
        self.at_stripe(Method::POST, &path, &[(&key, value)]).await;
    }

    /// Our row of a subscription at Stripe, if there is one.
    pub(crate) async fn row_of(&self, stripe: &str) -> Option<String> {
        sqlx::query_scalar("SELECT id::text FROM subscriptions WHERE stripe_subscription_id = $1")
            .bind(stripe)
            .fetch_optional(&self.pool)
            .await
            .expect("the table is there")
    }

    /// What our row of a subscription at Stripe says: its id, its status and reason.
    pub(crate) async fn standing(&self, stripe: &str) -> (String, String) {
        let id = self.row_of(stripe).await.expect("a row");
        let row = self.row(&id).await;
        (id, format!("{} {}", row.status, row.reason))
    }

    /// All that stands in the database, as text: two moments with the same text are the same.
    pub(crate) async fn everything(&self) -> String {
        let mut all = String::new();
        for table in [
            "customers",
            "checkouts",
            "subscriptions",
            "transactions",
            "status_changes",
            "feed",
        ] {
            // Which comparison has come to it is no business of anybody's.
            let query =
                format!("SELECT (to_jsonb(t) - 'compared_at')::text FROM {table} t ORDER BY 1");
            let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
                .fetch_all(&self.pool)
                .await
                .expect("the table is there");
            all.push_str(&rows.join("\n"));
        }
        all
    }

    /// The calls of the service and its commands that change something at Stripe.
    pub(crate) async fn changes_at_stripe(&self) -> usize {
        self.service_calls("POST").await + self.service_calls("DELETE").await
    }

    /// Compares everything with Stripe; what differs.
    pub(crate) async fn differences(&self) -> Value {
        let compared = run(&["reconcile", "--full", "--json"], &variables(self)).await;
        let compared = compared.assert_code(0).json();
        assert_eq!(compared["is_whole"], true, "{compared:#}");
        compared["drift"].clone()
    }
}

/// The card that pays, under a shorter name.
pub(crate) const CARD: &str = GOOD_CARD;
