//! Clients that were made for the payment connector of Axinom Mosaic: they find its routes here, and whoever writes the
//! plans file finds what Mosaic Billing sells.

mod answers;
mod flow;
mod plans;

use std::net::SocketAddr;

use neighbours::mosaic::{
    APPLICATION_ID, Connector, ENVIRONMENT_ID, Options, TENANT_ID, USER_ISSUER,
};
use serde_json::{Value, json};

use crate::harness::mosaic::{Billing, SECRET, mapped, member, payment_plan, shipped_plans};
use crate::harness::program::File;
use crate::harness::{Builder, Call, TestApp, TestSandbox};

/// Where Mosaic's settings send browsers.
const SUCCESS: &str = "https://client.example.org/thanks?from=mosaic";
const CANCEL: &str = "https://client.example.org/cancelled";
const ERROR: &str = "https://client.example.org/problem";
/// Plans that are sold there.
const SOLD: [&str; 2] = ["membership-annual", "membership-monthly"];

/// A Mosaic Billing with the connector as it was, its account at Stripe, and what is told of it here.
struct Before {
    billing: Billing,
    _stripe: TestSandbox,
    plans: File,
    followers: File,
}

impl Before {
    async fn start() -> Self {
        let stripe = TestSandbox::start(SocketAddr::from(([127, 0, 0, 1], 1))).await;
        let options = Options {
            success_redirect: Some(SUCCESS.to_owned()),
            cancel_redirect: Some(CANCEL.to_owned()),
            error_redirect: Some(ERROR.to_owned()),
            connector: Some(Connector {
                stripe_base: stripe.url().to_owned(),
                stripe_key: "sk_test_sandbox".to_owned(),
                public_base: None,
            }),
            ..Options::default()
        };
        let billing = Billing::with(&[], options).await;
        for code in SOLD {
            let price = price(&stripe, code).await;
            billing.sell(code, Some(&price)).await;
        }
        let plans = mapped(&shipped_plans(), &[]);
        Self {
            plans: File::new("plans.toml", &plans),
            followers: File::new("followers.toml", &billing.named("mosaic", "")),
            billing,
            _stripe: stripe,
        }
    }

    /// A service that takes its place.
    fn service(&self) -> Builder {
        let keys = format!(
            "{}/user/{TENANT_ID}/{ENVIRONMENT_ID}/{APPLICATION_ID}/.well-known/jwks.json",
            self.billing.url()
        );
        compatible()
            .setting("DUES__AUTH__HS256_SECRET", "")
            .setting("DUES__AUTH__JWKS_URL", keys)
            .setting("DUES__AUTH__ISSUER", USER_ISSUER)
            .setting("DUES__AUTH__AUDIENCE", "*")
            .setting("DUES__PLANS__FILE", self.plans.path().display())
            .setting("DUES__FOLLOWERS__FILE", self.followers.path().display())
            .setting("MOSAIC_SECRET", SECRET)
    }

    /// The token of the member with that number.
    async fn ada(&self, number: u32) -> String {
        let ada =
            json!({ "sub": member(number), "email": "ada@example.org", "name": "Ada Lovelace" });
        self.billing.token(ada).await
    }
}

/// A service on which the connector's routes answer.
fn compatible() -> Builder {
    TestApp::with().setting("DUES__MOSAIC__COMPATIBLE_ROUTES", true)
}

/// What the client asks for, to buy a plan.
fn wanted(code: &str, currency: &str) -> Value {
    json!({ "paymentPlanId": payment_plan(code), "currency": currency })
}

/// The id at Stripe of a shipped plan's price.
async fn price(stripe: &TestSandbox, code: &str) -> String {
    let key = code.replace('-', "_");
    let prices = stripe
        .stripe(&format!("/v1/prices?lookup_keys[]={key}"))
        .await;
    prices["data"][0]["id"].as_str().expect("an id").to_owned()
}

/// A purchase as a client of the connector begins it.
fn start(app: &TestApp, token: &str, body: Value) -> Call {
    app.post("/start-checkout").bearer(token).json(body)
}
