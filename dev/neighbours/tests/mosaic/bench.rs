//! A stand-in with one plan, and the calls that tests make.

use neighbours::mosaic::{Mosaic, Options, PaymentPlan, Plan, Price, SubscriptionPlan};
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) const PLAN: Uuid = Uuid::from_u128(0x1000);
pub(crate) const PARENT: Uuid = Uuid::from_u128(0x2000);
pub(crate) const SUBSCRIPTION: Uuid = Uuid::from_u128(0x3000);
pub(crate) const MEMBER: Uuid = Uuid::from_u128(0x4000);
pub(crate) const OTHER: Uuid = Uuid::from_u128(0x5000);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// The code of its first error; nothing where it has none.
    pub(crate) fn code(&self) -> &str {
        self.body["errors"][0]["code"].as_str().unwrap_or_default()
    }

    /// Its data, which came without an error.
    #[track_caller]
    pub(crate) fn data(&self) -> &Value {
        assert!(self.body["errors"].is_null(), "{self:?}");
        assert_eq!(self.status, 200, "{self:?}");
        &self.body["data"]
    }

    /// Holds it to be refused: with HTTP 200, because it was executed.
    #[track_caller]
    pub(crate) fn refused(&self, code: &str) {
        assert_eq!((self.status, self.code()), (200, code), "{self:?}");
    }

    /// Holds it to be invalid: with HTTP 400, because nothing was executed.
    #[track_caller]
    pub(crate) fn invalid(&self) {
        let found = (self.status, self.code());
        assert_eq!(found, (400, "GRAPHQL_VALIDATION_FAILED"), "{self:?}");
    }
}

/// A running stand-in and a client for it.
pub(crate) struct Bench {
    pub url: String,
    pub http: reqwest::Client,
    pub token: String,
    _mosaic: Mosaic,
}

/// The plan of the bench: 30.00 EUR or 33.00 USD a month.
pub(crate) fn plan() -> Plan {
    let price = |country: &str, currency: &str, price: &str| Price {
        country: country.to_owned(),
        currency: currency.to_owned(),
        price: price.to_owned(),
    };
    Plan {
        subscription_plan: SubscriptionPlan {
            id: Some(PARENT),
            title: "Supporter".to_owned(),
            is_active: true,
        },
        payment_plan: PaymentPlan {
            id: Some(PLAN),
            title: "Monthly".to_owned(),
            period_unit: "MONTH".to_owned(),
            period_quantity: 1,
            is_active: true,
            external_id: Some("price_1".to_owned()),
            product_external_id: Some("prod_1".to_owned()),
        },
        prices: vec![price("US", "USD", "33.00"), price("DE", "EUR", "30.00")],
    }
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let mut options = options;
        options.plans.push(plan());
        let mosaic = Mosaic::start(options).await.unwrap();
        let mut bench = Self {
            url: mosaic.url(),
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .build()
                .unwrap(),
            token: String::new(),
            _mosaic: mosaic,
        };
        bench.log_in().await;
        bench
    }

    /// Gets a new token for the service account.
    pub(crate) async fn log_in(&mut self) {
        let answer = self.authenticate("neighbour-secret").await;
        let token = &answer.data()["authenticateServiceAccount"]["accessToken"];
        token.as_str().unwrap().clone_into(&mut self.token);
    }

    pub(crate) async fn authenticate(&self, secret: &str) -> Answer {
        let query = "mutation GetServiceToken($clientId: String!, $clientSecret: String!) {
            authenticateServiceAccount(input: {clientId: $clientId, clientSecret: $clientSecret}) {
                accessToken expiresInSeconds tokenType } }";
        let variables = json!({"clientId": "neighbour-service-account", "clientSecret": secret});
        let request = self.http.post(format!("{}/id/graphql", self.url));
        send(request, query, &variables).await.unwrap()
    }

    pub(crate) fn management(&self) -> reqwest::RequestBuilder {
        let request = self.http.post(format!("{}/management/graphql", self.url));
        request.bearer_auth(&self.token)
    }

    /// Asks the management API.
    pub(crate) async fn ask(&self, query: &str, variables: Value) -> Answer {
        send(self.management(), query, &variables).await.unwrap()
    }

    /// Asks the end-user API with a member's token.
    pub(crate) async fn ask_as(&self, token: &str, query: &str, variables: Value) -> Answer {
        let request = self.http.post(format!("{}/billing/graphql", self.url));
        send(request.bearer_auth(token), query, &variables)
            .await
            .unwrap()
    }

    /// A mutation with an input.
    pub(crate) async fn mutate(&self, name: &str, input: Value) -> Answer {
        self.ask(&mutation(name), json!({"input": input})).await
    }

    /// Creates the subscription of the bench.
    pub(crate) async fn subscribe(&self) {
        let created = self.mutate("createSubscription", subscription()).await;
        created.data();
    }

    /// The state, or a part of it.
    pub(crate) async fn state(&self, part: &str) -> Value {
        let url = format!("{}/_neighbour/state", self.url);
        let state: Value = self
            .http
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        state[part].clone()
    }

    /// Posts to the control API.
    pub(crate) async fn control(&self, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/_neighbour/{path}", self.url);
        let response = self.http.post(url).json(&body).send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    pub(crate) async fn fault(&self, fault: Value) {
        assert_eq!(self.control("faults", fault).await.0, 204);
    }

    /// A token for a member.
    pub(crate) async fn member(&self, sub: Uuid) -> String {
        let body = json!({"sub": sub, "email": "ada@example.org", "name": "Ada"});
        let (status, answer) = self.control("end-user-token", body).await;
        assert_eq!(status, 200);
        answer["accessToken"].as_str().unwrap().to_owned()
    }
}

/// Sends a query; an error where no GraphQL came back.
pub(crate) async fn send(
    request: reqwest::RequestBuilder,
    query: &str,
    variables: &Value,
) -> reqwest::Result<Answer> {
    let body = json!({"query": query, "variables": variables});
    let response = request.json(&body).send().await?;
    let status = response.status().as_u16();
    let body = response.json().await?;
    Ok(Answer { status, body })
}

/// A mutation as a client writes it.
pub(crate) fn mutation(name: &str) -> String {
    let kind = format!("{}{}Input", name[..1].to_uppercase(), &name[1..]);
    let answer = if name.ends_with("Transaction") {
        "transaction { id totalPrice currency }"
    } else {
        "subscription { id lifecycleStatus }"
    };
    format!("mutation M($input: {kind}!) {{ {name}(input: $input) {{ {answer} }} }}")
}

/// What creates the subscription of the bench.
pub(crate) fn subscription() -> Value {
    json!({
        "subscriptionId": SUBSCRIPTION, "endUserId": MEMBER, "paymentPlanId": PLAN, "paymentProviderKey": "CPC_STRIPE",
    })
}

/// What creates a payment of it.
pub(crate) fn payment() -> Value {
    json!({
        "subscriptionId": SUBSCRIPTION, "paymentProviderKey": "CPC_STRIPE", "transactionType": "PAYMENT",
        "totalPrice": "30.00000", "currency": "EUR", "paymentProviderReference": "in_1",
        "transactionDate": "2026-11-01T10:00:00Z",
    })
}

/// A value with some fields set to others.
pub(crate) fn but(mut value: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else {
        panic!("changes are an object");
    };
    value.as_object_mut().unwrap().extend(changes);
    value
}
