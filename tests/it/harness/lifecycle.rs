//! What happens to a purchase after it was paid, and what must be true of its rows whatever happened.

use reqwest::Method;
use serde_json::{Value, json};

use super::TestApp;
use super::purchase::Purchase;

/// An account whose debit arrives after days.
pub(crate) const GOOD_ACCOUNT: &str = "AT611904300234573201";
/// An account whose debit comes back after days.
pub(crate) const BAD_ACCOUNT: &str = "AT861904300235473202";
/// Seconds.
pub(crate) const HOUR: i64 = 3_600;
/// Seconds.
pub(crate) const DAY: i64 = 86_400;
/// A monthly period at its longest, and the hour that its invoice is a draft.
pub(crate) const MONTH: i64 = 31 * DAY + 2 * HOUR;
/// The seven retries of the ladder, two days apart, and a bit.
pub(crate) const ALL_RETRIES: i64 = 15 * DAY;

/// A service whose worker looks for work all the time.
pub(crate) async fn busy() -> TestApp {
    TestApp::with()
        .setting("DUES__WORKER__INTERVAL_MS", 20)
        .start()
        .await
}

/// A service whose first walk through Stripe's events is over: for a while a webhook that is lost stays lost.
pub(crate) async fn forgetful() -> TestApp {
    let app = TestApp::start().await;
    app.first_walk_is_over().await;
    app
}

impl TestApp {
    /// Sells alice a plan that she pays with a card or from an account, and waits for the webhooks.
    pub(crate) async fn sell(&self, plan: &str, with: &str) -> Purchase {
        self.buy_with(&self.member("alice"), plan, with).await
    }

    /// Sells alice several plans in one checkout; the purchase, and the lines' ids in their order.
    pub(crate) async fn sell_basket(&self, plans: &[&str], with: &str) -> (Purchase, Vec<String>) {
        let lines: Vec<Value> = plans.iter().map(|plan| json!({ "plan": plan })).collect();
        let body = json!({ "lines": lines });
        let purchase = self.open_basket(&self.member("alice"), body).await;
        let path = format!("/_sandbox/checkout/{}/pay", purchase.session);
        self.sandbox.post(&path, json!({ "card": with })).await;
        self.settle().await;
        let lines = sqlx::query_scalar(
            "SELECT id::text FROM subscriptions WHERE checkout_id = $1::uuid ORDER BY position",
        )
        .bind(&purchase.checkout)
        .fetch_all(&self.pool)
        .await
        .expect("the lines are there");
        (purchase, lines)
    }

    /// Fails unless alice's line has that status and reason, in the API as in the row, and its history is a chain that
    /// leads there.
    #[track_caller]
    pub(crate) fn assert_line<'a>(
        &'a self,
        id: &'a str,
        status: &'a str,
        reason: &'a str,
        entitled: bool,
    ) -> impl Future<Output = ()> + 'a {
        let place = std::panic::Location::caller();
        async move {
            let shown = self.subscription(&self.member("alice"), id).await;
            let row = self.row(id).await;
            let history = self.history(id).await;
            let story = format!("at {place}\n{shown:#}\n{history:#?}");
            assert_eq!(
                (row.status.as_str(), row.reason.as_str()),
                (status, reason),
                "{story}"
            );
            assert_eq!(
                (&shown["status"], &shown["status_reason"]),
                (&json!(status), &json!(reason)),
                "{story}"
            );
            assert_eq!(shown["entitled"], entitled, "{story}");
            let mut at = "";
            for change in &history {
                let (from, to) = change.split_once('>').expect("a change");
                let to = to.split(' ').next().unwrap_or_default();
                assert_eq!(from, at, "{story}");
                let beside = ["plan_changed", "quantity_changed"];
                let beside = beside.iter().any(|reason| change.contains(reason));
                assert_eq!(from == to, beside, "{story}");
                at = to;
            }
            assert_eq!(at, status, "{story}");
        }
    }

    /// The statuses that a line went through, with their reasons.
    pub(crate) async fn path(&self, id: &str) -> Vec<String> {
        let history = self.history(id).await;
        let words = |change: &String| {
            let (_, to) = change.split_once('>').expect("a change");
            to.rsplit_once(' ').expect("a cause").0.to_owned()
        };
        history.iter().map(words).collect()
    }

    /// So it went on once the line was active: on the way there the order of the webhooks decides.
    pub(crate) async fn path_since_active(&self, id: &str) -> Vec<String> {
        let path = self.path(id).await.into_iter();
        path.skip_while(|step| !step.starts_with("ACTIVE "))
            .skip(1)
            .collect()
    }

    /// The kinds of a line's transactions, oldest first.
    pub(crate) async fn money(&self, id: &str) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT kind FROM transactions WHERE subscription_id = $1::uuid
              ORDER BY occurred_at, kind <> 'payment', id",
        )
        .bind(id)
        .fetch_all(&self.pool)
        .await
        .expect("the transactions are there")
    }

    /// The subscription at Stripe of a line.
    pub(crate) async fn at_stripes(&self, id: &str) -> String {
        let row = self.row(id).await;
        row.stripe_subscription.expect("a subscription at Stripe")
    }

    /// A subscription as Stripe has it.
    pub(crate) async fn stripe_subscription(&self, id: &str) -> Value {
        let path = format!("/v1/subscriptions/{}", self.at_stripes(id).await);
        self.sandbox.stripe(&path).await
    }

    /// Changes the subscription at Stripe of a line, and waits for the webhooks.
    pub(crate) async fn change_at_stripe(&self, id: &str, form: &[(&str, &str)]) -> Value {
        let path = format!("/v1/subscriptions/{}", self.at_stripes(id).await);
        let changed = self.at_stripe(Method::POST, &path, form).await;
        self.settle().await;
        changed
    }

    /// The customer at Stripe of a purchase.
    pub(crate) async fn customer_of(&self, purchase: &Purchase) -> String {
        let path = format!("/v1/checkout/sessions/{}", purchase.session);
        text(&self.sandbox.stripe(&path).await["customer"])
    }

    /// Gives the customer of a purchase another card, as in the portal.
    pub(crate) async fn change_card(&self, purchase: &Purchase, card: &str) {
        let path = format!(
            "/_sandbox/customers/{}/card",
            self.customer_of(purchase).await
        );
        self.sandbox.post(&path, json!({ "card": card })).await;
        self.settle().await;
    }

    /// The payment intent of a purchase's first payment.
    pub(crate) async fn payment_of(&self, purchase: &Purchase) -> String {
        let path = format!("/v1/checkout/sessions/{}", purchase.session);
        let session = self.sandbox.stripe(&path).await;
        match session["payment_intent"].as_str() {
            Some(intent) => intent.to_owned(),
            None => self.payment_of_invoice(&text(&session["invoice"])).await,
        }
    }

    /// The payment intent that pays an invoice.
    pub(crate) async fn payment_of_invoice(&self, invoice: &str) -> String {
        let path = format!("/v1/invoice_payments?invoice={invoice}");
        let payments = self.sandbox.stripe(&path).await;
        text(&payments["data"][0]["payment"]["payment_intent"])
    }

    /// Pays back, all or the amount in the form; the refund's id.
    pub(crate) async fn refund(&self, intent: &str, form: &[(&str, &str)]) -> String {
        let mut all = vec![("payment_intent", intent)];
        all.extend_from_slice(form);
        let refund = self.at_stripe(Method::POST, "/v1/refunds", &all).await;
        self.settle().await;
        text(&refund["id"])
    }

    /// Opens a dispute about a payment; its id.
    pub(crate) async fn dispute(&self, intent: &str, reason: &str) -> String {
        let body = json!({ "payment_intent": intent, "reason": reason });
        let dispute = self.sandbox.post("/_sandbox/disputes", body).await;
        self.settle().await;
        text(&dispute["id"])
    }

    /// Closes a dispute.
    pub(crate) async fn close_dispute(&self, dispute: &str, status: &str) {
        let path = format!("/_sandbox/disputes/{dispute}/close");
        self.sandbox.post(&path, json!({ "status": status })).await;
        self.settle().await;
    }

    /// Moves both clocks and waits for nothing.
    pub(crate) async fn move_clocks(&self, seconds: i64) {
        let body = json!({ "seconds": seconds });
        let clock = self.sandbox.post("/_sandbox/clock/advance", body).await;
        let offset = clock["offset"].as_i64().expect("an offset");
        self.clock.set_offset(offset);
    }

    /// Changes how Stripe behaves.
    pub(crate) async fn stripe_settings(&self, settings: Value) {
        self.sandbox.post("/_sandbox/settings", settings).await;
    }

    /// Sends a validly signed event that was never made.
    pub(crate) async fn forge(&self, forge: Value) {
        self.sandbox.post("/_sandbox/events/forge", forge).await;
        self.settle().await;
    }

    /// The calls that the service itself has made to Stripe, and not the test.
    pub(crate) async fn calls_of_service(&self, what: &str) -> Vec<Value> {
        let mut calls = self.calls(what).await;
        calls.retain(|call| {
            let agent = call["headers"]["user-agent"].as_str().unwrap_or_default();
            agent.starts_with("dues/")
        });
        calls
    }

    /// How many they are.
    pub(crate) async fn service_calls(&self, what: &str) -> usize {
        self.calls_of_service(what).await.len()
    }

    /// The same, but for the walk of its worker over events; counted at one moment, for the worker may be at it.
    pub(crate) async fn service_calls_but_events(&self) -> usize {
        let mut calls = self.calls_of_service("").await;
        calls.retain(|call| call["path"] != "/v1/events");
        calls.len()
    }
}

/// A text that must be there.
#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text but {value}"))
        .to_owned()
}
