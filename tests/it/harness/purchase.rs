//! A purchase, step by step, as a member, her browser and Stripe make it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use aws_lc_rs::hmac;
use reqwest::Method;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::call::{Answer, Call};
use super::{TestApp, WEBHOOK_SECRET};

/// The card that always works.
pub(crate) const GOOD_CARD: &str = "4242424242424242";
/// The card that is always declined.
pub(crate) const DECLINED_CARD: &str = "4000000000000002";
/// The card that pays once and is declined from then on.
pub(crate) const FAILING_LATER_CARD: &str = "4000000000000341";

/// How long a test waits for what the worker does, before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// Sends calls at the same moment; their answers in the same order.
pub(crate) async fn at_once(calls: impl IntoIterator<Item = Call>) -> Vec<Answer> {
    let calls: Vec<_> = calls
        .into_iter()
        .map(|call| tokio::spawn(call.send()))
        .collect();
    let mut answers = Vec::with_capacity(calls.len());
    for call in calls {
        answers.push(call.await.expect("a call ends"));
    }
    answers
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

    /// Waits until the worker has walked once through Stripe's events: for a while it brings nothing more.
    pub(crate) async fn first_walk_is_over(&self) {
        self.until("the first walk is over", async || {
            let walked = self.count("cursors WHERE name = 'events'").await;
            (walked > 0).then_some(())
        })
        .await;
    }

    /// Keeps Stripe's webhooks back until they are released. The worker's first walk over Stripe's events is waited
    /// for, so that it doesn't bring what the webhooks keep back.
    pub(crate) async fn hold_deliveries(&self) {
        self.first_walk_is_over().await;
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

    /// An order, to which a test may add headers.
    pub(crate) fn order(&self, token: &str, body: Value) -> Call {
        self.post("/v1/subscriptions").bearer(token).json(body)
    }

    /// Opens a checkout and pays it with a card; waits for the webhooks.
    pub(crate) async fn buy_with(&self, token: &str, plan: &str, card: &str) -> Purchase {
        let purchase = self.open(token, plan).await;
        let path = format!("/_sandbox/checkout/{}/pay", purchase.session);
        self.sandbox.post(&path, json!({ "card": card })).await;
        self.settle().await;
        purchase
    }

    /// Waits until Stripe has told everything and the worker has settled what was doubtful.
    pub(crate) async fn settle(&self) {
        self.deliveries_settle().await;
        self.until("nothing is deferred", async || {
            self.events_in("deferred").await.is_empty().then_some(())
        })
        .await;
    }

    /// Moves the sandbox's clock and the service's; waits for what fell due meanwhile.
    pub(crate) async fn advance(&self, seconds: i64) {
        let clock = self
            .sandbox
            .post("/_sandbox/clock/advance", json!({ "seconds": seconds }))
            .await;
        self.clock
            .set_offset(clock["offset"].as_i64().expect("an offset"));
        self.settle().await;
    }

    /// Asks again and again until there is an answer; fails when there is none for too long.
    pub(crate) async fn until<T>(&self, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        let asking = async {
            loop {
                if let Some(answer) = ask().await {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let answer = tokio::time::timeout(PATIENCE, asking).await;
        answer.unwrap_or_else(|_| panic!("it never came to pass that {what}"))
    }

    /// Waits until a subscription has that status.
    pub(crate) async fn until_status(&self, id: &str, status: &str) -> Row {
        self.until(&format!("{id} is {status}"), async || {
            Some(self.row(id).await).filter(|row| row.status == status)
        })
        .await
    }

    /// Lets a call to Stripe go wrong: `kind`, `method`, `path`, `times`, `stall_ms`.
    pub(crate) async fn fault(&self, fault: Value) {
        self.sandbox.post("/_sandbox/faults", fault).await;
    }

    /// Takes all planned faults back.
    pub(crate) async fn no_more_faults(&self) {
        self.sandbox
            .request(Method::DELETE, "/_sandbox/faults")
            .send()
            .await
            .assert_status(200);
    }

    /// Changes something at Stripe, as the organisation does in Stripe's own pages.
    pub(crate) async fn at_stripe(
        &self,
        method: Method,
        path: &str,
        form: &[(&str, &str)],
    ) -> Value {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let call = self.sandbox.request(method, path).bearer("sk_test_sandbox");
        call.body(body).send().await.assert_status(200).json()
    }

    /// The calls that reached Stripe so far whose method and path start like this, oldest first.
    pub(crate) async fn calls(&self, what: &str) -> Vec<Value> {
        let journal = self.sandbox.get("/_sandbox/journal").await;
        let records = journal.as_array().expect("a list").iter();
        let named = |record: &&Value| {
            let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
            format!("{} {}", text("method"), text("path")).starts_with(what)
        };
        records
            .filter(|record| record["kind"] == "request")
            .filter(named)
            .cloned()
            .collect()
    }

    /// The form of the newest request for a Checkout Session.
    pub(crate) async fn sent_session(&self) -> HashMap<String, String> {
        let sent = self.calls("POST /v1/checkout/sessions").await;
        let body = sent.last().expect("a call")["body"].as_str();
        form_urlencoded::parse(body.expect("a body").as_bytes())
            .into_owned()
            .collect()
    }

    /// The ids of the sessions at Stripe with that status, newest first.
    pub(crate) async fn sessions(&self, status: &str) -> Vec<String> {
        let all = self.sandbox.stripe("/v1/checkout/sessions?limit=100").await;
        let all = all["data"].as_array().expect("a list").iter();
        all.filter(|session| session["status"] == status)
            .map(|session| session["id"].as_str().expect("an id").to_owned())
            .collect()
    }

    /// The types of the recorded events in that state, by the time of their arrival.
    pub(crate) async fn events_in(&self, state: &str) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT type FROM webhook_events WHERE state = $1 ORDER BY received_at, id",
        )
        .bind(state)
        .fetch_all(&self.pool)
        .await
        .expect("the events are there")
    }

    /// What the flagged events were flagged for, by the time of their arrival.
    pub(crate) async fn flags(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT last_error FROM webhook_events WHERE state = 'flagged' ORDER BY received_at, id",
        )
        .fetch_all(&self.pool)
        .await
        .expect("the events are there")
    }

    /// A value of a table's only row, or of the row with that id, as text.
    pub(crate) async fn value(&self, table: &str, column: &str, id: &str) -> Option<String> {
        let query = format!("SELECT {column}::text FROM {table} WHERE id::text = $1");
        sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .bind(id)
            .fetch_one(&self.pool)
            .await
            .expect("the row is there")
    }

    /// A delivery of an event, signed now as Stripe signs, with this endpoint's secret.
    pub(crate) fn delivery_signed_with(&self, secret: &str, event: &Value) -> Call {
        self.delivery_to("/webhooks/stripe", secret, event)
    }

    /// The same to another address.
    pub(crate) fn delivery_to(&self, path: &str, secret: &str, event: &Value) -> Call {
        // Stripe's bodies are pretty-printed: who signs a body that was written anew finds out.
        let body = format!("{event:#}");
        let at = self.clock.wall().unix_timestamp();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, format!("{at}.{body}").as_bytes());
        let mut signature = format!("t={at},v1=");
        for byte in tag.as_ref() {
            let _ = write!(signature, "{byte:02x}");
        }
        self.post(path)
            .header("stripe-signature", signature)
            .body(body)
    }

    /// A delivery of an event, signed as the endpoint signs.
    pub(crate) fn delivery(&self, event: &Value) -> Call {
        self.delivery_signed_with(WEBHOOK_SECRET, event)
    }

    /// Delivers an event; returns what became of it.
    pub(crate) async fn deliver(&self, event: &Value) -> String {
        let answer = self.delivery(event).send().await.assert_status(200).json();
        let outcome = answer["outcome"].as_str().expect("an outcome");
        outcome.to_owned()
    }

    /// Stripe's events of that type, oldest first.
    pub(crate) async fn events_of(&self, kind: &str) -> Vec<Value> {
        let path = format!("/v1/events?limit=100&type={kind}");
        let mut events = self.sandbox.stripe(&path).await["data"]
            .as_array()
            .cloned()
            .expect("a list");
        events.reverse();
        events
    }
}
