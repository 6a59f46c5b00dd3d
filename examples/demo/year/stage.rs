//! How what is written comes to pass: members call the service, buyers, banks and support act at the sandbox.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::PgPool;
use url::form_urlencoded;

use dues::auth::mint_development_token;
use dues::clock::Clock;
use dues::settings::Settings;

/// Longest time that one step may take: a machine that is slower has other troubles.
const PATIENCE: Duration = Duration::from_mins(1);

/// Those who are played against: the service and the sandbox, both over HTTP.
pub(super) struct Stage {
    client: reqwest::Client,
    service: String,
    sandbox: String,
    settings: Settings,
    clock: Clock,
    /// Only looked at.
    pool: PgPool,
}

impl Stage {
    pub(super) fn new(
        (service, sandbox): (&str, &str),
        settings: &Settings,
        clock: &Clock,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(PATIENCE)
                .build()?,
            service: service.to_owned(),
            sandbox: sandbox.to_owned(),
            settings: settings.clone(),
            clock: clock.clone(),
            pool: PgPool::connect_lazy(settings.database.url.expose())?,
        })
    }

    /// Calls the service as a member.
    pub(super) async fn as_member(
        &self,
        user: &str,
        path: &str,
        body: Value,
    ) -> anyhow::Result<Value> {
        let hour = Duration::from_hours(1);
        let token = mint_development_token(&self.settings, &self.clock, user, &[], hour)?;
        let url = format!("{}{path}", self.service);
        let call = self.client.post(url).bearer_auth(token).json(&body);
        answer(call)
            .await
            .with_context(|| format!("{user} can't {path}"))
    }

    /// Calls Stripe's API, as support's own programs do.
    pub(super) async fn stripe(
        &self,
        method: Method,
        path: &str,
        form: &[(&str, &str)],
    ) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.sandbox);
        let key = self.settings.stripe.secret_key.expose();
        let mut call = self.client.request(method, url).bearer_auth(key);
        if !form.is_empty() {
            let body = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(form)
                .finish();
            let kind = "application/x-www-form-urlencoded";
            call = call.header("content-type", kind).body(body);
        }
        answer(call).await.with_context(|| path.to_owned())
    }

    /// Reads an object at Stripe.
    pub(super) async fn look(&self, path: &str) -> anyhow::Result<Value> {
        self.stripe(Method::GET, path, &[]).await
    }

    /// Does what no API of Stripe's can: what buyers and banks do, and time.
    pub(super) async fn control(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        answer(self.control_call(path, &body))
            .await
            .with_context(|| path.to_owned())
    }

    fn control_call(&self, path: &str, body: &Value) -> RequestBuilder {
        let url = format!("{}/_sandbox/{path}", self.sandbox);
        self.client.post(url).json(body)
    }

    /// The same where the bank says no.
    pub(super) async fn is_declined(&self, path: &str, body: Value) -> anyhow::Result<()> {
        let answer = self.control_call(path, &body).send().await?;
        let status = answer.status().as_u16();
        ensure!(status == 402, "{path}: {status} in place of a card's no");
        Ok(())
    }

    /// From now on Stripe refuses to show this, as to a key that lacks the permission, until it is told otherwise.
    pub(super) async fn forbid(&self, path: &str) -> anyhow::Result<()> {
        let fault =
            json!({ "kind": "forbidden", "method": "GET", "path": path, "times": u32::MAX });
        self.control("faults", fault).await.map(drop)
    }

    /// Does something of which no webhook ever arrives.
    pub(super) async fn unheard<T>(
        &self,
        act: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        self.control("chaos", json!({ "drop": 1.0 })).await?;
        let done = act.await;
        self.control("chaos", json!({})).await?;
        done
    }

    /// Moves both clocks to a moment, or as near as it is to now; what falls due on the way is done and told.
    pub(super) async fn advance(&self, to: i64) -> anyhow::Result<()> {
        let clock = self.control("clock/advance", json!({ "to": to })).await?;
        self.take_over(&clock)?;
        self.settle().await
    }

    /// When the next thing falls due at Stripe.
    pub(super) async fn due(&self) -> anyhow::Result<Option<i64>> {
        let url = format!("{}/_sandbox/clock", self.sandbox);
        let clock = answer(self.client.get(url)).await?;
        Ok(clock["next_due"].as_i64())
    }

    /// Lets the sandbox's time be the machine's again.
    pub(super) async fn arrive_now(&self) -> anyhow::Result<()> {
        loop {
            let body = json!({ "seconds": 0 });
            let offset = self.take_over(&self.control("clock/advance", body).await?)?;
            if offset >= 0 {
                return self.settle().await;
            }
            // The second may end between asking and doing: then one is left.
            let body = json!({ "seconds": -offset });
            self.control("clock/advance", body).await?;
        }
    }

    /// The service follows the sandbox's clock five times a second; that is long here.
    fn take_over(&self, clock: &Value) -> anyhow::Result<i64> {
        let offset = clock["offset"].as_i64().context("a clock without offset")?;
        self.clock.set_offset(offset);
        Ok(offset)
    }

    /// Waits until every webhook is answered, and until what was doubtful has been asked for.
    pub(super) async fn settle(&self) -> anyhow::Result<()> {
        let patience = json!({ "timeout_ms": PATIENCE.as_millis() / 2 });
        let left = self.control("deliveries/settle", patience).await?;
        if left["settled"] != true || left["failed"] != 0 {
            bail!("webhooks do not arrive: {left}");
        }
        let waiting = async {
            while self.is_doubtful().await? {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .context("what is doubtful is never asked for")?
    }

    /// Whether an event waits to be asked for now. One that has failed has its own times to be tried again.
    async fn is_doubtful(&self) -> anyhow::Result<bool> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM webhook_events
              WHERE state = 'deferred' AND (last_error IS NULL OR next_attempt_at <= $1))",
        )
        .bind(self.clock.now())
        .fetch_one(&self.pool)
        .await?)
    }

    /// How many events have failed for good.
    pub(super) async fn failed(&self) -> anyhow::Result<i64> {
        let failed = "SELECT count(*) FROM webhook_events WHERE state = 'failed'";
        Ok(sqlx::query_scalar(failed).fetch_one(&self.pool).await?)
    }
}

async fn answer(call: RequestBuilder) -> anyhow::Result<Value> {
    let answer = call.send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    ensure!(status.is_success(), "{status}: {text}");
    Ok(serde_json::from_str(&text)?)
}

/// A text that must be there.
pub(super) fn text(value: &Value) -> anyhow::Result<String> {
    let text = value.as_str().context("a text is missing in an answer")?;
    Ok(text.to_owned())
}
