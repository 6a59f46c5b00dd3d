//! A purchase, step by step, as a member, her browser and Stripe make it.

use serde_json::{Value, json};

use super::TestApp;
use super::call::Answer;

/// The card that always works.
pub(crate) const GOOD_CARD: &str = "4242424242424242";

/// An opened checkout.
#[derive(Clone, Debug)]
pub(crate) struct Purchase {
    pub(crate) checkout: String,
    /// The first line's id; most purchases have one.
    pub(crate) subscription: String,
    pub(crate) session: String,
    /// Stripe's page.
    pub(crate) url: String,
}

/// A subscription's row, as far as tests look at it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) version: i64,
    pub(crate) stripe_subscription: Option<String>,
}

impl TestApp {
    /// Opens a checkout of one plan.
    pub(crate) async fn open(&self, token: &str, plan: &str) -> Purchase {
        self.open_basket(token, json!({ "plan": plan })).await
    }

    /// Opens a checkout.
    pub(crate) async fn open_basket(&self, token: &str, body: Value) -> Purchase {
        let answer = self
            .post("/v1/subscriptions")
            .bearer(token)
            .json(body)
            .send()
            .await
            .assert_status(201);
        self.purchase(&answer.json()).await
    }

    /// The purchase that an answer of 201 tells of.
    pub(crate) async fn purchase(&self, body: &Value) -> Purchase {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let checkout = text(&body["checkout"]["id"]);
        Purchase {
            session: self
                .session_of(&checkout)
                .await
                .expect("the session is attached"),
            subscription: text(&body["subscriptions"][0]["id"]),
            url: text(&body["checkout"]["url"]),
            checkout,
        }
    }

    /// The session at Stripe of a checkout.
    pub(crate) async fn session_of(&self, checkout: &str) -> Option<String> {
        let (session,): (Option<String>,) =
            sqlx::query_as("SELECT stripe_session_id FROM checkouts WHERE id = $1::uuid")
                .bind(checkout)
                .fetch_one(&self.pool)
                .await
                .expect("the checkout is there");
        session
    }

    /// Pays with a good card; returns where Stripe sends the browser.
    pub(crate) async fn pay(&self, purchase: &Purchase) -> String {
        let path = format!("/_sandbox/checkout/{}/pay", purchase.session);
        let paid = self.sandbox.post(&path, json!({ "card": GOOD_CARD })).await;
        paid["redirect_url"].as_str().expect("a URL").to_owned()
    }

    /// Opens an address of the service as a browser does; returns the page that it is sent to.
    pub(crate) async fn browse(&self, url: &str) -> url::Url {
        let path = url
            .strip_prefix(&format!("http://{}", self.address))
            .expect("an address of the service");
        let answer: Answer = self.get(path).send().await.assert_status(303);
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        answer.header("location").parse().expect("an absolute URL")
    }

    /// Waits until Stripe has no delivery under way.
    pub(crate) async fn deliveries_settle(&self) {
        let settled = self
            .sandbox
            .post(
                "/_sandbox/deliveries/settle",
                json!({ "timeout_ms": 10_000 }),
            )
            .await;
        assert_eq!(settled["settled"], true, "{settled}");
        assert_eq!(settled["failed"], 0, "{settled}");
    }

    /// Keeps Stripe's webhooks back until they are released.
    pub(crate) async fn hold_deliveries(&self) {
        self.sandbox
            .post("/_sandbox/deliveries/hold", json!({}))
            .await;
    }

    /// Sends the webhooks that were kept back, and waits for them.
    pub(crate) async fn release_deliveries(&self, how: Value) {
        self.sandbox.post("/_sandbox/deliveries/release", how).await;
        self.deliveries_settle().await;
    }

    /// A subscription as its member sees it.
    pub(crate) async fn subscription(&self, token: &str, id: &str) -> Value {
        self.get(&format!("/v1/subscriptions/{id}"))
            .bearer(token)
            .send()
            .await
            .assert_status(200)
            .json()
    }

    /// A subscription's row.
    pub(crate) async fn row(&self, id: &str) -> Row {
        let (status, reason, version, stripe_subscription) = sqlx::query_as(
            "SELECT status, status_reason, version, stripe_subscription_id FROM subscriptions WHERE id = $1::uuid",
        )
        .bind(id)
        .fetch_one(&self.pool)
        .await
        .expect("the row is there");
        Row {
            status,
            reason,
            version,
            stripe_subscription,
        }
    }

    /// The history of a subscription, as `from>to reason cause`, oldest first.
    pub(crate) async fn history(&self, id: &str) -> Vec<String> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT concat(from_status, '>', to_status, ' ', reason, ' ', cause) FROM status_changes
              WHERE subscription_id = $1::uuid ORDER BY seq",
        )
        .bind(id)
        .fetch_all(&self.pool)
        .await
        .expect("the history is there");
        rows.into_iter().map(|(row,)| row).collect()
    }

    /// The transactions of a subscription, as `kind reference`, oldest first.
    pub(crate) async fn transactions(&self, id: &str) -> Vec<String> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT concat(kind, ' ', stripe_reference) FROM transactions
              WHERE subscription_id = $1::uuid ORDER BY occurred_at, kind, stripe_reference",
        )
        .bind(id)
        .fetch_all(&self.pool)
        .await
        .expect("the transactions are there");
        rows.into_iter().map(|(row,)| row).collect()
    }

    /// How many rows a table has.
    pub(crate) async fn count(&self, table: &str) -> i64 {
        let (count,): (i64,) =
            sqlx::query_as(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
                .fetch_one(&self.pool)
                .await
                .expect("the table is there");
        count
    }
}
