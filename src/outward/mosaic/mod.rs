//! Keeps a Mosaic Billing Service in step: subscriptions, their status changes and their transactions.
//!
//! Access there is decided by `periodEndDate` beside the status, so both are always sent together. The service knows no
//! repeat of a transaction, so it is asked first, each time: what was told before a kill, before an answer that never came
//! or before a restore from a dump is found there.

mod client;
pub(super) mod plans;
pub(super) mod redirects;
mod told;

use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::postgres::PgPool;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use url::Url;
use uuid::Uuid;

use self::client::{Answer, Client};
use self::told::{Bounds, Data, Moved};
use super::Context;
use super::followers::file::Check;
use super::followers::receiver::Failure;
use crate::domain::currency::decimal;
use crate::domain::feed::Entry;
use crate::domain::ids::{SubscriptionId, TransactionId};
use crate::settings::Secret;
use crate::storage::subscriptions;

/// Transactions of one reference that are looked through: attempts at one invoice are fewer.
const SAME_REFERENCE: u32 = 100;

const CREATE: &str = "mutation createSubscription($input: CreateSubscriptionInput!) {
    createSubscription(input: $input) { subscription { id } } }";
const UPDATE: &str = "mutation updateSubscription($input: UpdateSubscriptionInput!) {
    updateSubscription(input: $input) { subscription { id } } }";
const RECORD: &str =
    "mutation createSubscriptionTransaction($input: CreateSubscriptionTransactionInput!) {
    createSubscriptionTransaction(input: $input) { transaction { id } } }";
const CORRECT: &str =
    "mutation updateSubscriptionTransaction($input: UpdateSubscriptionTransactionInput!) {
    updateSubscriptionTransaction(input: $input) { transaction { id } } }";
const IS_THERE: &str =
    "query subscription($id: UUID!) { subscription(id: $id) { id lifecycleStatus } }";
const RECORDED: &str =
    "query recorded($subscription: UUID!, $type: TransactionType!, $reference: String!, $first: Int!) {
    subscriptionTransactions(first: $first, filter: { subscriptionId: { equalTo: $subscription },
        transactionType: { equalTo: $type }, paymentProviderReference: { equalTo: $reference } }) {
        nodes { id transactionDate } } }";

/// What is sent where a dispute is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dispute {
    /// A refund of what was claimed.
    Refund,
    /// The status alone.
    Status,
}

/// Where the service is, and as whom it is called.
#[derive(Clone, Debug)]
pub(super) struct Config {
    /// The management API's base.
    url: Url,
    /// The identity service's base.
    id_url: Url,
    client_id: String,
    client_secret: Secret,
    /// The key of the custom payment provider there.
    provider_key: String,
    dispute: Dispute,
    /// How long after its paid time a subscription goes on.
    grace: Option<Duration>,
}

impl Config {
    /// Reads what the file says of it.
    pub(super) fn check(check: &mut Check<'_>, grace: Option<Duration>) -> Option<Self> {
        let url = check.url();
        let id_url = check.url_of("id_url");
        let client_id = check.required("client_id");
        let client_secret = check.secret("client_secret_env", true);
        let provider_key = check.required("provider_key");
        let dispute = match check.text("dispute").as_deref() {
            None | Some("status") => Dispute::Status,
            Some("refund") => Dispute::Refund,
            Some(_) => {
                check.problem("dispute is \"refund\" or \"status\"");
                return None;
            }
        };
        Some(Self {
            url: url?,
            id_url: id_url?,
            client_id: client_id?,
            client_secret: client_secret?,
            provider_key: provider_key?,
            dispute,
            grace,
        })
    }
}

/// A Mosaic Billing Service.
pub(super) struct Mosaic {
    config: Config,
    client: Client,
    redirects: redirects::Known,
    context: Option<Arc<dyn Context>>,
    pool: PgPool,
}

/// A subscription there.
struct There<'a> {
    id: Uuid,
    payment_plan: Uuid,
    entry: &'a Entry,
    data: Data,
    bounds: Bounds,
    /// `sub_…`.
    reference: Option<String>,
}

impl Mosaic {
    pub(super) fn new(
        config: Config,
        context: Option<Arc<dyn Context>>,
        pool: PgPool,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            client: Client::new(&config)?,
            redirects: redirects::Known::default(),
            config,
            context,
            pool,
        })
    }

    fn context(&self) -> Result<&dyn Context, Failure> {
        let context = self.context.as_deref();
        context.ok_or_else(|| Failure::away("only the service itself can tell this"))
    }

    /// Tells one row.
    pub(super) async fn tell(&self, entry: &Entry) -> Result<(), Failure> {
        let data = Data::read(entry)?;
        let context = self.context()?;
        let payment_plan =
            |plan: &str| context.plan(plan).and_then(|plan| plan.mosaic_payment_plan);
        // The service can't move a subscription to another plan: one that is sold no longer under a plan it knows ends.
        let kept = payment_plan(&data.plan);
        let left = data.plan_before().and_then(payment_plan);
        let Some(payment_plan) = kept.or(left) else {
            return Ok(());
        };
        if entry.user_id.parse::<Uuid>().is_err() {
            return Err(Failure::Refused {
                why: "the member's id is no UUID, which Mosaic Billing wants".to_owned(),
                is_hers: true,
            });
        }
        let keys = subscriptions::find_keys(&self.pool, SubscriptionId(entry.subscription_id))
            .await
            .map_err(|_| Failure::away("our own database does not answer"))?;
        // What another system made there keeps the id that it has there.
        let once = keys.as_ref().filter(|keys| !keys.recurring);
        let bounds = Bounds {
            grace: self.config.grace,
            once: once.map(|keys| keys.term_ends_at.unwrap_or(told::FOR_EVER)),
        };
        let (external, reference) = keys
            .map(|keys| (keys.external_id, keys.stripe_subscription_id))
            .unwrap_or_default();
        let external = external.and_then(|id| id.parse().ok());
        let there = There {
            bounds,
            id: external.unwrap_or(entry.subscription_id),
            payment_plan,
            entry,
            reference,
            data,
        };
        match &there.data.transaction {
            Some(moved) => self.tell_money(&there, moved).await,
            None if entry.kind == "subscription.created" => self.create(&there).await,
            None if entry.kind == "subscription.quantity_changed" => Ok(()),
            None => self.tell_state(&there, kept.is_none()).await,
        }
    }

    /// Makes a subscription there, unless it is.
    async fn create(&self, there: &There<'_>) -> Result<(), Failure> {
        let input = json!({
            "subscriptionId": there.id,
            "paymentPlanId": there.payment_plan,
            "paymentProviderKey": self.config.provider_key,
            "endUserId": there.entry.user_id,
            // It has happened already: what the service thinks of its plans may not undo it.
            "skipValidations": ["ACTIVE_PLANS", "COUNTRY_PRICE", "SINGLE_SUBSCRIPTION"],
        });
        match self.client.ask(CREATE, json!({ "input": input })).await? {
            Answer::Data(_) => Ok(()),
            // A repeat is one of the things that it can't be refused for.
            Answer::Refused(_) if self.is_there(there).await? => Ok(()),
            Answer::Refused(why) => Err(Failure::refused(why)),
        }
    }

    async fn is_there(&self, there: &There<'_>) -> Result<bool, Failure> {
        let asked = self.client.ask(IS_THERE, json!({ "id": there.id })).await?;
        Ok(matches!(asked, Answer::Data(data) if data["subscription"].is_object()))
    }

    async fn tell_state(&self, there: &There<'_>, is_left: bool) -> Result<(), Failure> {
        let data = &there.data;
        let (status, reason) = if is_left {
            ("ENDED", told::LEFT.to_owned())
        } else {
            (data.status.as_str(), data.reason())
        };
        let until = if is_left {
            Some(there.entry.at)
        } else {
            data.period_end(there.entry.at, &there.bounds)
        };
        // What is left out stays as it is; null would be refused.
        let mut input = json!({
            "subscriptionId": there.id,
            "lifecycleStatus": status,
            "lifecycleStatusChangeReason": reason,
        });
        for (name, value) in [
            ("activationDate", data.activated_at.map(time)),
            ("periodEndDate", until.map(time)),
            ("paymentProviderReference", there.reference.clone()),
        ] {
            if let Some(value) = value {
                input[name] = Value::String(value);
            }
        }
        self.with_subscription(there, UPDATE, json!({ "input": input }))
            .await
    }

    /// Carries out a mutation of a subscription; makes it first where it isn't there, for it is older than the follower.
    async fn with_subscription(
        &self,
        there: &There<'_>,
        mutation: &str,
        variables: Value,
    ) -> Result<(), Failure> {
        let Answer::Refused(why) = self.client.ask(mutation, variables.clone()).await? else {
            return Ok(());
        };
        if self.is_there(there).await? {
            return Err(Failure::refused(why));
        }
        self.create(there).await?;
        match self.client.ask(mutation, variables).await? {
            Answer::Data(_) => Ok(()),
            Answer::Refused(why) => Err(Failure::refused(why)),
        }
    }

    async fn tell_money(&self, there: &There<'_>, moved: &Moved) -> Result<(), Failure> {
        let Some(what) = moved.transaction_type(self.config.dispute) else {
            return Ok(());
        };
        let recorded = self.recorded(there, what, moved).await?;
        if moved.has_failed() {
            return self.note_failed(recorded).await;
        }
        let Some(id) = there.entry.transaction_id.filter(|_| recorded.is_none()) else {
            return Ok(());
        };
        let amount = self.context()?.amount(TransactionId(id)).await?;
        let amount = amount.ok_or_else(|| Failure::Refused {
            why: "nobody says how much of the payment was for this subscription".to_owned(),
            is_hers: true,
        })?;
        // The service takes no payment and no refund of nothing.
        if amount.amount == 0 && what != told::PAYMENT_FAILED {
            return Ok(());
        }
        let mut input = json!({
            "subscriptionId": there.id,
            "paymentProviderKey": self.config.provider_key,
            "transactionType": what,
            "currency": amount.currency.to_uppercase(),
            "totalPrice": decimal(amount.amount, &amount.currency),
            "paymentProviderReference": moved.reference(),
            "transactionDate": time(moved.occurred_at),
            "method": "Stripe",
            "description": moved.description(&there.data.plan),
        });
        if let Some(until) = there.data.paid_until.filter(|_| what == told::PAYMENT) {
            input["periodEndDate"] = Value::String(time(until));
        }
        self.with_subscription(there, RECORD, json!({ "input": input }))
            .await
    }

    /// The id there of what is told already. Attempts at one invoice, and several payments of one, share its id and differ in
    /// time; whoever brought a subscription along may have noted another time.
    async fn recorded(
        &self,
        there: &There<'_>,
        what: &str,
        moved: &Moved,
    ) -> Result<Option<String>, Failure> {
        let asked = json!({ "subscription": there.id, "type": what, "reference": moved.reference(),
            "first": SAME_REFERENCE });
        let answer = match self.client.ask(RECORDED, asked).await? {
            Answer::Data(data) => data,
            Answer::Refused(why) => return Err(Failure::refused(why)),
        };
        let by_time = moved.is_one_of_several() && there.entry.origin.is_none();
        let is_it = |node: &&Value| {
            let at = node["transactionDate"].as_str();
            let at = at.and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok());
            !by_time || at == Some(moved.occurred_at)
        };
        let nodes = answer["subscriptionTransactions"]["nodes"].as_array();
        let nodes = nodes.map(Vec::as_slice).unwrap_or_default();
        let found = nodes.iter().find(is_it);
        Ok(found
            .and_then(|node| node["id"].as_str())
            .map(str::to_owned))
    }

    /// What was told as paid back and was not cannot be taken back there: it is noted beside it, and said here.
    async fn note_failed(&self, recorded: Option<String>) -> Result<(), Failure> {
        let Some(id) = recorded else {
            return Ok(());
        };
        tracing::warn!(
            transaction = id,
            "a refund that Mosaic Billing was told of has failed later"
        );
        let input = json!({ "transactionId": id, "description": told::REFUND_FAILED });
        match self.client.ask(CORRECT, json!({ "input": input })).await? {
            Answer::Data(_) => Ok(()),
            Answer::Refused(why) => Err(Failure::refused(why)),
        }
    }

    /// Whether it can be called with what the file says.
    pub(super) async fn sign_of_life(&self) -> Result<String, Failure> {
        let asked = "query { subscriptions(first: 1) { totalCount } }";
        match self.client.ask(asked, json!({})).await? {
            Answer::Data(data) => {
                let count = data["subscriptions"]["totalCount"].as_i64();
                Ok(format!(
                    "answers, and has {} subscription(s)",
                    count.unwrap_or_default()
                ))
            }
            Answer::Refused(why) => Err(Failure::refused(why)),
        }
    }
}

/// A moment as GraphQL has it.
fn time(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}
