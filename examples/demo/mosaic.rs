//! `cargo demo -- --mosaic`: beside Dues a Mosaic Billing Service that follows, and the client of its old connector, which
//! finds the connector's routes at Dues.
//!
//! Members' tokens are then those of Mosaic's user service, for the service knows exactly one key.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use aws_lc_rs::digest::{SHA256, digest};
use dues::domain::currency::decimal;
use neighbours::mosaic::{
    APPLICATION_ID, ENVIRONMENT_ID, Mosaic, Options, PaymentPlan, Plan, Price, SubscriptionPlan,
    TENANT_ID, USER_ISSUER,
};
use serde_json::{Value, json};
use uuid::{Builder, Uuid};

/// The follower's name.
pub(crate) const FOLLOWER: &str = "mosaic";
/// The variable in which its secret stands.
const SECRET: &str = "MOSAIC_SECRET";

/// Where it is, and the files that tell Dues of it.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) url: String,
    listen: SocketAddr,
    plans: PathBuf,
    followers: PathBuf,
}

/// The same name is the same id in every run.
pub(crate) fn id_of(name: &str) -> Uuid {
    let hash = digest(&SHA256, name.as_bytes());
    let bytes = hash.as_ref().first_chunk::<16>().copied();
    Builder::from_random_bytes(bytes.unwrap_or_default()).into_uuid()
}

impl Place {
    pub(crate) fn new(listen: SocketAddr, dir: &Path) -> Self {
        Self {
            url: format!("http://{listen}"),
            listen,
            plans: dir.join("plans.toml"),
            followers: dir.join("followers.toml"),
        }
    }

    /// The old client's page, which finds both services by its address.
    pub(crate) fn client(&self, service: &str) -> String {
        let url = &self.url;
        format!(
            "{url}/client/?billing-service-base-url={url}/billing/&payment-connector-base-url={service}/"
        )
    }

    /// The service's settings, which are variables of its environment.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let keys = format!(
            "{}/user/{TENANT_ID}/{ENVIRONMENT_ID}/{APPLICATION_ID}/.well-known/jwks.json",
            self.url
        );
        let variables = [
            ("DUES__AUTH__HS256_SECRET", String::new()),
            ("DUES__AUTH__JWKS_URL", keys),
            ("DUES__AUTH__ISSUER", USER_ISSUER.to_owned()),
            ("DUES__AUTH__AUDIENCE", "*".to_owned()),
            ("DUES__MOSAIC__COMPATIBLE_ROUTES", "true".to_owned()),
            ("DUES__PLANS__FILE", self.plans.display().to_string()),
            (
                "DUES__FOLLOWERS__FILE",
                self.followers.display().to_string(),
            ),
            (SECRET, Options::default().client_secret),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value));
        variables.into()
    }

    /// Starts it with a payment plan for each plan that renews, and writes the files.
    pub(crate) async fn start(&self, plans: &Path, stripe: (&str, &str)) -> anyhow::Result<Mosaic> {
        let text =
            fs::read_to_string(plans).with_context(|| format!("can't read {}", plans.display()))?;
        let file: toml::Table = text.parse().context("the plans are no TOML")?;
        let mut sold = Vec::new();
        let mut mapped = text;
        for plan in file
            .get("plan")
            .and_then(toml::Value::as_array)
            .into_iter()
            .flatten()
        {
            let text = |key: &str| plan.get(key).and_then(toml::Value::as_str);
            let (Some(code), Some(price)) = (text("code"), text("price")) else {
                continue;
            };
            if let Some(plan) = payment_plan(code, price, stripe).await? {
                sold.push(plan);
                let line = format!("code = \"{code}\"\n");
                let with_id = format!("{line}mosaic_payment_plan = \"{}\"\n", id_of(code));
                mapped = mapped.replace(&line, &with_id);
            }
        }
        fs::write(&self.plans, mapped).context("can't write the plans")?;
        fs::write(&self.followers, self.follower()).context("can't write the followers")?;
        let page = |name: &str| Some(format!("{}/client/{name}.html", self.url));
        Ok(Mosaic::start(Options {
            listen: self.listen,
            plans: sold,
            success_redirect: page("success"),
            cancel_redirect: page("cancelled"),
            error_redirect: page("cancelled"),
            ..Options::default()
        })
        .await?)
    }

    fn follower(&self) -> String {
        let Self { url, .. } = self;
        let Options {
            client_id,
            provider_key,
            ..
        } = Options::default();
        let mut text = String::new();
        for (key, value) in [
            ("name", FOLLOWER),
            ("kind", "mosaic"),
            // It forgets everything with each run, and is then told what is in force.
            ("from", "snapshot"),
            ("url", &format!("{url}/management/")),
            ("id_url", &format!("{url}/id")),
            ("client_id", &client_id),
            ("client_secret_env", SECRET),
            ("provider_key", &provider_key),
        ] {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{key} = \"{value}\"");
        }
        format!("[[follower]]\n{text}")
    }

    /// A member's token of Mosaic's user service.
    pub(crate) async fn token(
        &self,
        user: &str,
        name: &str,
        seconds: u64,
    ) -> anyhow::Result<String> {
        let about = json!({ "sub": user, "name": name, "email": "member@example.org", "expires_in": seconds });
        let request = client()?.post(format!("{}/_neighbour/end-user-token", self.url));
        let answer = request.json(&about).send().await?.error_for_status()?;
        let answer: Value = answer.json().await?;
        let token = answer["accessToken"].as_str().map(str::to_owned);
        token.context("Mosaic's user service gives no token")
    }
}

/// What stands there for a plan; none for one that does not renew, which it can't keep.
async fn payment_plan(
    code: &str,
    price: &str,
    (stripe, key): (&str, &str),
) -> anyhow::Result<Option<Plan>> {
    let query = [("lookup_keys[]", price), ("expand[]", "data.product")];
    let request = client()?.get(format!("{stripe}/v1/prices")).query(&query);
    let answer = request.bearer_auth(key).send().await?.error_for_status()?;
    let answer: Value = answer.json().await?;
    let price = &answer["data"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let Some(unit) = price["recurring"]["interval"].as_str() else {
        return Ok(None);
    };
    let count = price["recurring"]["interval_count"].as_i64().unwrap_or(1);
    let (currency, amount) = (text(&price["currency"]), price["unit_amount"].as_i64());
    Ok(Some(Plan {
        subscription_plan: SubscriptionPlan {
            id: Some(id_of(&format!("{code}, sold"))),
            title: text(&price["product"]["name"]),
            is_active: true,
        },
        payment_plan: PaymentPlan {
            id: Some(id_of(code)),
            title: "by card".to_owned(),
            period_unit: unit.to_uppercase(),
            period_quantity: i32::try_from(count)?,
            is_active: true,
            external_id: Some(text(&price["id"])),
            product_external_id: Some(text(&price["product"]["id"])),
        },
        prices: vec![Price {
            country: "XX".to_owned(),
            price: decimal(amount.unwrap_or_default(), &currency),
            currency: currency.to_uppercase(),
        }],
    }))
}

fn client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().build()?)
}
