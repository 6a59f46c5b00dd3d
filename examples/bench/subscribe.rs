//! A purchase through the service, beside the calls to Stripe that it cannot do without: the same bodies, sent to the
//! same sandbox by the same client.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use dues::auth::mint_development_token;
use dues::clock::Clock;
use dues::settings::Settings;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use crate::children::Child;
use crate::figures::{median, millis};
use crate::fill::Database;
use crate::load::percentile;
use crate::options::Role;
use crate::servers;
use crate::webhooks::Bench;

/// How many members buy at once, and how many do in a round.
const CROWDS: [(u16, u32); 2] = [(1, 40), (8, 160)];
/// Of the two that a member buys, one after the other: she may have both open.
const FIRST: &str = "credits-20";
const SECOND: &str = "credits-50";
const WARM_UP: u32 = 40;

/// What a purchase takes, in milliseconds: the median and the 95th percentile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub p50: f64,
    pub p95: f64,
}

/// A kind of purchase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purchase {
    /// Whether Stripe knows the member already.
    pub returning: bool,
    pub at_once: u16,
    pub bare: Times,
    pub service: Times,
}

/// Who sells, and what the service was heard to say to Stripe.
struct Shop {
    client: reqwest::Client,
    settings: Settings,
    service: String,
    sandbox: String,
    customer: String,
    first: String,
    second: String,
    calls: AtomicU32,
}

pub(crate) async fn measure(
    bench: &Bench<'_>,
    database: &Database,
) -> anyhow::Result<Vec<Purchase>> {
    let variables = servers::variables(&database.url, bench.sandbox);
    let service = Child::start(Role::Service, bench.scratch, &variables).await?;
    let mut shop = Shop {
        client: reqwest::Client::builder().no_proxy().build()?,
        settings: servers::settings(&variables)?,
        service: service.url(),
        sandbox: bench.sandbox.to_owned(),
        customer: String::new(),
        first: String::new(),
        second: String::new(),
        calls: AtomicU32::new(0),
    };
    shop.overhear().await?;
    let mut rounds = Vec::new();
    for round in 1..=bench.cli.rounds {
        for (at_once, count) in CROWDS {
            rounds.push(shop.round(round, bench.cli.rounds, at_once, count).await?);
        }
    }
    service.stop().await?;
    let mut purchases = Vec::new();
    for (at_once, _) in CROWDS {
        for returning in [false, true] {
            let same = |purchase: &&Purchase| {
                (purchase.at_once, purchase.returning) == (at_once, returning)
            };
            let all = || rounds.iter().flatten().filter(same);
            let bare = middle(all().map(|purchase| purchase.bare))?;
            let service = middle(all().map(|purchase| purchase.service))?;
            purchases.push(Purchase {
                returning,
                at_once,
                bare,
                service,
            });
        }
    }
    Ok(purchases)
}

fn middle(rounds: impl Iterator<Item = Times> + Clone) -> anyhow::Result<Times> {
    let p50 = median(rounds.clone().map(|times| times.p50));
    let p95 = median(rounds.map(|times| times.p95));
    Ok(Times {
        p50: p50.context("nothing was measured")?,
        p95: p95.context("nothing was measured")?,
    })
}

impl Shop {
    /// Lets a few members buy, unmeasured, and takes the bodies of the last one's calls from the sandbox's journal.
    async fn overhear(&mut self) -> anyhow::Result<()> {
        for plan in [FIRST, SECOND] {
            let buyers = 0..WARM_UP;
            let buy = |number| self.buy(format!("early-{number}"), plan);
            crowd(8, buyers.map(buy)).await?;
        }
        self.buy("overheard".to_owned(), FIRST).await?;
        self.customer = self.last_body("/v1/customers").await?;
        self.first = self.last_body("/v1/checkout/sessions").await?;
        self.buy("overheard".to_owned(), SECOND).await?;
        self.second = self.last_body("/v1/checkout/sessions").await?;
        ensure!(
            self.customer.contains("overheard") && self.first != self.second,
            "a purchase no longer makes the calls that are known here"
        );
        Ok(())
    }

    async fn last_body(&self, path: &str) -> anyhow::Result<String> {
        let url = format!("{}/_sandbox/journal", self.sandbox);
        let journal: Vec<Value> = self.client.get(url).send().await?.json().await?;
        let call = journal
            .iter()
            .rev()
            .find(|record| record["method"] == "POST" && record["path"] == path);
        let body = call.and_then(|call| call["body"].as_str());
        Ok(body
            .with_context(|| format!("{path} was not called"))?
            .to_owned())
    }

    /// Bare and service in turns, so that whatever else the machine does meets both.
    async fn round(
        &self,
        round: u8,
        rounds: u8,
        at_once: u16,
        count: u32,
    ) -> anyhow::Result<[Purchase; 2]> {
        let name = |number| format!("buyer-{round}-{at_once}-{number}");
        let calls = (0..count).map(|_| self.call_stripe(&self.first, None));
        let (bare, customers): (Vec<_>, Vec<_>) = crowd(at_once, calls).await?.into_iter().unzip();
        let buys = (0..count).map(|number| self.buy(name(number), FIRST));
        let service = crowd(at_once, buys).await?;
        let new = purchase(false, at_once, bare, service);

        let calls = customers
            .iter()
            .map(|customer| self.call_stripe(&self.second, Some(customer)));
        let bare = crowd(at_once, calls)
            .await?
            .into_iter()
            .unzip::<_, _, _, Vec<_>>()
            .0;
        let buys = (0..count).map(|number| self.buy(name(number), SECOND));
        let service = crowd(at_once, buys).await?;
        let returning = purchase(true, at_once, bare, service);
        println!(
            "  round {round}/{rounds} ×{at_once}  new {:.1} ms, bare {:.1}  returning {:.1} ms, bare {:.1}",
            new.service.p50, new.bare.p50, returning.service.p50, returning.bare.p50
        );
        Ok([new, returning])
    }

    /// One purchase through the service.
    async fn buy(&self, user: String, plan: &str) -> anyhow::Result<Duration> {
        let hour = Duration::from_hours(1);
        let token = mint_development_token(&self.settings, &Clock::system(), &user, &[], hour)?;
        let request = self
            .client
            .post(format!("{}/v1/subscriptions", self.service))
            .bearer_auth(token)
            .json(&json!({"plan": plan}));
        let began = Instant::now();
        let answer = request.send().await?;
        let status = answer.status();
        let body: Value = answer.json().await?;
        let took = began.elapsed();
        ensure!(
            status == 201 && body["checkout"]["url"].is_string(),
            "a purchase failed: {status} {body}"
        );
        Ok(took)
    }

    /// The same calls without the service; gives the customer too.
    async fn call_stripe(
        &self,
        session: &str,
        known: Option<&String>,
    ) -> anyhow::Result<(Duration, String)> {
        let began = Instant::now();
        let customer = if let Some(customer) = known {
            customer.clone()
        } else {
            let customer = self.post("/v1/customers", self.customer.clone()).await?;
            customer["id"].as_str().context("no customer")?.to_owned()
        };
        let pairs = session.split('&').map(|pair| match pair.split_once('=') {
            Some(("customer", _)) => format!("customer={customer}"),
            _ => pair.to_owned(),
        });
        let body = pairs.collect::<Vec<_>>().join("&");
        let session = self.post("/v1/checkout/sessions", body).await?;
        let took = began.elapsed();
        ensure!(session["url"].is_string(), "no session: {session}");
        Ok((took, customer))
    }

    async fn post(&self, path: &str, body: String) -> anyhow::Result<Value> {
        let stripe = &self.settings.stripe;
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let answer = self
            .client
            .post(format!("{}{path}", self.sandbox))
            .bearer_auth(stripe.secret_key.expose())
            .header("stripe-version", &stripe.api_version)
            .header("idempotency-key", format!("bench-{number}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await?;
        let status = answer.status();
        let body: Value = answer.json().await?;
        ensure!(status.is_success(), "{path}: {status} {body}");
        Ok(body)
    }
}

fn purchase(
    returning: bool,
    at_once: u16,
    bare: Vec<Duration>,
    service: Vec<Duration>,
) -> Purchase {
    Purchase {
        returning,
        at_once,
        bare: times(bare),
        service: times(service),
    }
}

fn times(mut all: Vec<Duration>) -> Times {
    all.sort_unstable();
    Times {
        p50: millis(percentile(&all, 50)),
        p95: millis(percentile(&all, 95)),
    }
}

/// Does all of it, so much at a time.
async fn crowd<T>(
    at_once: u16,
    work: impl Iterator<Item = impl Future<Output = anyhow::Result<T>>>,
) -> anyhow::Result<Vec<T>> {
    stream::iter(work)
        .buffer_unordered(usize::from(at_once))
        .try_collect()
        .await
}
