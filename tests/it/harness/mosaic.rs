//! A Mosaic Billing Service of one test, the plans that it knows, and whether it is in step with our rows.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use dues::domain::currency::decimal;
use dues::domain::ids::TransactionId;
use dues::services::Services;
use neighbours::mosaic::{Mosaic, Options, PaymentPlan, Plan, SubscriptionPlan};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::{Call, client, in_project};

/// The secret of its service account.
pub(crate) const SECRET: &str = "neighbour-secret";

/// The service.
pub(crate) struct Billing {
    stand_in: Mosaic,
    client: reqwest::Client,
}

/// The payment plan that stands there for a plan of ours.
pub(crate) fn payment_plan(code: &str) -> Uuid {
    let bytes = code.bytes().fold(0_u128, |hash, byte| {
        hash.wrapping_mul(257).wrapping_add(byte.into())
    });
    Uuid::from_u128(0x4000_8000_0000_0000_0000 | bytes & 0xffff_ffff_ffff)
}

/// A member's id as the service wants it.
pub(crate) fn member(number: u32) -> String {
    Uuid::from_u128(0x4000_8000_0000_0000_0000 | u128::from(number)).to_string()
}

/// A plans file whose plans have payment plans there, but for these.
pub(crate) fn mapped(plans: &str, without: &[&str]) -> String {
    let mut text = String::new();
    for line in plans.lines() {
        text.push_str(line);
        text.push('\n');
        let code = line
            .strip_prefix("code = \"")
            .and_then(|rest| rest.strip_suffix('"'));
        if let Some(code) = code.filter(|code| !without.contains(code)) {
            // Writing to a string can't fail.
            let _ = writeln!(text, "mosaic_payment_plan = \"{}\"", payment_plan(code));
        }
    }
    text
}

/// The shipped plans.
pub(crate) fn shipped_plans() -> String {
    std::fs::read_to_string(in_project("config/plans.toml")).expect("the shipped plans")
}

impl Billing {
    /// One that knows these plans.
    pub(crate) async fn start(codes: &[&str]) -> Self {
        Self::with(codes, Options::default()).await
    }

    pub(crate) async fn with(codes: &[&str], options: Options) -> Self {
        let plans = codes.iter().map(|code| Plan {
            subscription_plan: SubscriptionPlan {
                id: None,
                title: (*code).to_owned(),
                is_active: true,
            },
            payment_plan: PaymentPlan {
                id: Some(payment_plan(code)),
                title: (*code).to_owned(),
                period_unit: "MONTH".to_owned(),
                period_quantity: 1,
                is_active: true,
                external_id: None,
                product_external_id: None,
            },
            prices: Vec::new(),
        });
        let options = Options {
            plans: plans.collect(),
            ..options
        };
        let stand_in = Mosaic::start(options).await;
        Self {
            stand_in: stand_in.unwrap_or_else(|error| panic!("no Mosaic Billing: {error}")),
            client: client(),
        }
    }

    /// Has it sell a plan of ours, at that price at Stripe.
    pub(crate) async fn sell(&self, code: &str, price: Option<&str>) {
        self.add(code, price, true).await;
    }

    /// Has it know a plan that it sells no longer.
    pub(crate) async fn retire(&self, code: &str, price: &str) {
        self.add(code, Some(price), false).await;
    }

    async fn add(&self, code: &str, price: Option<&str>, is_active: bool) {
        let plan = json!({
            "subscriptionPlan": { "title": code },
            "paymentPlan": { "id": payment_plan(code), "title": "Monthly", "periodUnit": "MONTH", "periodQuantity": 1,
                "isActive": is_active, "externalId": price },
            "prices": [{ "country": "DE", "currency": "EUR", "price": "30.00" }],
        });
        let call = self.request(Method::POST, "/_neighbour/plans");
        call.json(plan).send().await.assert_status(201);
    }

    pub(crate) fn url(&self) -> String {
        self.stand_in.url()
    }

    /// What the followers' file says of it.
    pub(crate) fn named(&self, name: &str, more: &str) -> String {
        let url = self.url();
        format!(
            "[[follower]]\nname = \"{name}\"\nkind = \"mosaic\"\nurl = \"{url}/management/\"\nid_url = \"{url}/id\"\n\
             client_id = \"neighbour-service-account\"\nclient_secret_env = \"MOSAIC_SECRET\"\n\
             provider_key = \"CPC_STRIPE\"\n{more}"
        )
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> Call {
        Call::new(&self.client, method, &format!("{}{path}", self.url()))
    }

    /// All that it holds.
    pub(crate) async fn state(&self) -> Value {
        self.request(Method::GET, "/_neighbour/state")
            .send()
            .await
            .assert_status(200)
            .json()
    }

    /// Has it go wrong.
    pub(crate) async fn fault(&self, fault: Value) {
        let call = self.request(Method::POST, "/_neighbour/faults");
        call.json(fault).send().await.assert_status(204);
    }

    /// A member's token of the user service there.
    pub(crate) async fn token(&self, about: Value) -> String {
        let call = self.request(Method::POST, "/_neighbour/end-user-token");
        let token = call.json(about).send().await.assert_status(200).json();
        token["accessToken"].as_str().expect("a token").to_owned()
    }

    /// Whether the service's own consumers let a member in now.
    pub(crate) async fn lets_in(&self, member: &str) -> bool {
        let token = self
            .token(json!({ "sub": member, "email": "a@example.org" }))
            .await;
        let query = "query ($now: Datetime!) { subscriptions(first: 1, orderBy: LIFECYCLE_STATUS_ASC, filter: {
            lifecycleStatus: { in: [ACTIVE, CANCELLED, ON_HOLD] }, periodEndDate: { greaterThan: $now } }) {
            nodes { id } } }";
        let now = dues::clock::Clock::system()
            .now()
            .format(&Rfc3339)
            .expect("a time");
        let call = self
            .request(Method::POST, "/billing/graphql")
            .bearer(&token);
        let asked = json!({ "query": query, "variables": { "now": now } });
        let answer = call.json(asked).send().await.assert_status(200).json();
        let nodes = answer["data"]["subscriptions"]["nodes"].as_array();
        !nodes.unwrap_or_else(|| panic!("{answer}")).is_empty()
    }

    /// Fails unless its subscriptions, status changes and transactions are exactly what our rows say, of the plans that it
    /// knows, with what Stripe says was moved.
    pub(crate) async fn assert_in_step(
        &self,
        services: &Services,
        pool: &PgPool,
        plans: &[&str],
        story: &str,
    ) {
        let state = self.state().await;
        assert_eq!(state["duplicates"], json!([]), "{story}");
        let plans: Vec<String> = plans.iter().map(|plan| (*plan).to_owned()).collect();
        let theirs = by_id(&state["subscriptions"], "id", |row| {
            json!({ "user": row["userId"], "status": row["lifecycleStatus"], "reference": row["paymentProviderReference"],
                "activated": instant(&row["activationDate"]) })
        });
        let ours: Vec<(String, Value)> = sqlx::query_as(
            "SELECT id::text, jsonb_build_object('user', user_id, 'status', status, 'reference', stripe_subscription_id,
                    'activated', first_paid_at) FROM subscriptions WHERE plan = ANY ($1) ORDER BY id",
        )
        .bind(&plans)
        .fetch_all(pool)
        .await
        .expect("the rows");
        let ours: BTreeMap<String, Vec<Value>> = { ours.into_iter() }
            .map(|(id, mut row)| {
                row["activated"] = instant(&row["activated"]);
                (id, vec![row])
            })
            .collect();
        assert_eq!(theirs, ours, "{story}: subscriptions");
        let theirs = by_id(&state["statusChanges"], "subscriptionId", |row| {
            row["newLifecycleStatus"].clone()
        });
        let ours: Vec<(String, Vec<String>)> = sqlx::query_as(
            "SELECT c.subscription_id::text, array_agg(c.to_status ORDER BY c.seq) FROM status_changes c
               JOIN subscriptions s ON s.id = c.subscription_id
              WHERE s.plan = ANY ($1) AND c.from_status IS NOT NULL AND c.from_status <> c.to_status GROUP BY 1",
        )
        .bind(&plans)
        .fetch_all(pool)
        .await
        .expect("the rows");
        let ours: BTreeMap<String, Vec<Value>> = { ours.into_iter() }
            .map(|(id, changes)| (id, changes.into_iter().map(Value::from).collect()))
            .collect();
        assert_eq!(theirs, ours, "{story}: status changes");
        // What was paid back and did not arrive stays there, with a word.
        let arrived = { state["transactions"].as_array().expect("a list").iter() }
            .filter(|row| row["description"] != "This refund has failed: nothing went back");
        let arrived = Value::Array(arrived.cloned().collect());
        let mut theirs = by_id(&arrived, "subscriptionId", |row| {
            let names = [
                "transactionType",
                "paymentProviderReference",
                "totalPrice",
                "currency",
            ];
            json!(names.map(|name| row[name].clone()))
        });
        let all: Vec<(Uuid, String, String, String)> = sqlx::query_as(
            "SELECT t.id, t.subscription_id::text, upper(t.kind), split_part(t.stripe_reference, '#', 1)
               FROM transactions t JOIN subscriptions s ON s.id = t.subscription_id
              WHERE s.plan = ANY ($1) AND (t.kind IN ('payment', 'payment_failed') OR t.state = 'succeeded')",
        )
        .bind(&plans)
        .fetch_all(pool)
        .await
        .expect("the rows");
        let mut ours: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (id, line, kind, reference) in all {
            let moved = services.members.movement(TransactionId(id)).await;
            let (_, amount) = moved.expect("Stripe is there").expect("it is there");
            let amount = amount
                .unwrap_or_else(|| panic!("{story}: {kind} {reference} of {line} has no amount"));
            if amount.amount != 0 || kind == "PAYMENT_FAILED" {
                let price = decimal(amount.amount, &amount.currency);
                let row = json!([kind, reference, price, amount.currency.to_uppercase()]);
                ours.entry(line).or_default().push(row);
            }
        }
        for rows in theirs.values_mut().chain(ours.values_mut()) {
            rows.sort_by_key(ToString::to_string);
        }
        assert_eq!(theirs, ours, "{story}: transactions");
    }

    /// What it holds of one subscription's money: type, price and currency, as they came.
    pub(crate) async fn money(&self, subscription: &str) -> Vec<String> {
        let state = self.state().await;
        let all = state["transactions"].as_array().expect("a list").iter();
        let own = all.filter(|row| row["subscriptionId"] == subscription);
        own.map(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            format!(
                "{} {} {}",
                text("transactionType"),
                text("totalPrice"),
                text("currency")
            )
        })
        .collect()
    }
}

fn by_id(rows: &Value, id: &str, what: impl Fn(&Value) -> Value) -> BTreeMap<String, Vec<Value>> {
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for row in rows.as_array().expect("a list") {
        let id = row[id].as_str().expect("an id").to_owned();
        all.entry(id).or_default().push(what(row));
    }
    all
}

/// A moment as nanoseconds, however it was written.
fn instant(value: &Value) -> Value {
    let at = value
        .as_str()
        .map(|text| OffsetDateTime::parse(text, &Rfc3339).expect("a time"));
    at.map_or(Value::Null, |at| {
        json!(at.unix_timestamp_nanos().to_string())
    })
}

/// An amount as it must be told.
pub(crate) fn told(amount: i64, currency: &str) -> String {
    format!("{} {}", decimal(amount, currency), currency.to_uppercase())
}
