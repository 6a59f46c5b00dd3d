//! Somebody who acts: what she has bought so far, and what becomes of it.

use std::collections::BTreeSet;

use anyhow::Context;
use reqwest::Method;
use serde_json::{Value, json};

use super::script::{Act, GOOD_CARD, Line, Member, Pays};
use super::stage::{Stage, text};

/// A member, and what the rest of the year must know of her.
pub(super) struct Person {
    pub(super) member: Member,
    /// An id at Stripe that she knows: of her refund, her dispute, her subscription.
    pub(super) mentions: Option<String>,
    /// The path of what Stripe refuses to show.
    pub(super) forbidden: Option<String>,
    /// Her newest purchase.
    bought: Option<Bought>,
    /// In which she has bought.
    currencies: BTreeSet<&'static str>,
}

/// A purchase: our line, the first of its basket, and the session at Stripe.
struct Bought {
    line: String,
    session: String,
}

impl Person {
    pub(super) fn new(member: Member) -> Self {
        Self {
            member,
            mentions: None,
            forbidden: None,
            bought: None,
            currencies: BTreeSet::new(),
        }
    }

    /// Whether she has ever bought something.
    pub(super) fn is_member(&self) -> bool {
        self.bought.is_some()
    }

    /// Does, or suffers, what is written.
    pub(super) async fn act(&mut self, stage: &Stage, act: &Act) -> anyhow::Result<()> {
        let done = match act {
            Act::Buys(lines, how) => self.buy(stage, lines, *how).await.map(|()| Value::Null),
            Act::SoldBySupport => self.sold_by_support(stage).await,
            Act::WonButUnreadable => self.won_but_unreadable(stage).await,
            act => self.suffer(stage, act).await,
        };
        let done = done.with_context(|| format!("{}, {act:?}", self.member.name))?;
        let id = done["id"].as_str().unwrap_or_default();
        if ["re_", "du_", "sub_"]
            .iter()
            .any(|kind| id.starts_with(kind))
        {
            self.mentions = Some(id.to_owned());
        }
        Ok(())
    }

    async fn buy(&mut self, stage: &Stage, lines: &[Line], how: Pays) -> anyhow::Result<()> {
        let lines: Vec<Value> = lines.iter().map(line).collect();
        let mut order = json!({ "lines": lines });
        let mut currency = "eur";
        if matches!(how, Pays::InDollars) {
            currency = "usd";
            order["currency"] = currency.into();
        }
        let user = self.member.id();
        let opened = stage.as_member(&user, "/v1/subscriptions", order).await?;
        let url = text(&opened["checkout"]["url"])?;
        let session = url.rsplit('/').next().unwrap_or_default().to_owned();
        self.bought = Some(Bought {
            line: text(&opened["subscriptions"][0]["id"])?,
            session: session.clone(),
        });
        let (name, email) = (self.member.name, self.member.email());
        // Dues tells Stripe no names: support keeps its address book there. A currency is a customer of its own.
        if self.currencies.insert(currency) {
            let path = format!("/v1/checkout/sessions/{session}");
            let customer = text(&stage.look(&path).await?["customer"])?;
            let about = [("name", name), ("email", email.as_str())];
            let path = format!("/v1/customers/{customer}");
            stage.stripe(Method::POST, &path, &about).await?;
        }
        let path = format!("checkout/{session}/pay");
        let with = |instrument: &str| json!({ instrument_kind(instrument): instrument, "name": name, "email": email });
        match how {
            Pays::With(instrument) => stage.control(&path, with(instrument)).await.map(drop),
            Pays::InDollars => stage.control(&path, with(GOOD_CARD)).await.map(drop),
            Pays::Leaves => Ok(()),
            Pays::IsDeclined => {
                stage
                    .is_declined(&path, with(super::script::DECLINED))
                    .await
            }
            Pays::Unheard => {
                let paid = stage.control(&path, with(GOOD_CARD));
                stage.unheard(paid).await.map(drop)
            }
        }
    }

    /// Support's own sale: a customer and a subscription that name none of our ids.
    async fn sold_by_support(&self, stage: &Stage) -> anyhow::Result<Value> {
        let (name, email) = (self.member.name, self.member.email());
        let about = [("name", name), ("email", email.as_str())];
        let customer = stage.stripe(Method::POST, "/v1/customers", &about).await?;
        let customer = text(&customer["id"])?;
        let card = json!({ "card": GOOD_CARD });
        stage
            .control(&format!("customers/{customer}/card"), card)
            .await?;
        let query = "/v1/prices?lookup_keys[]=membership_monthly";
        let price = text(&stage.look(query).await?["data"][0]["id"])?;
        let form = [
            ("customer", customer.as_str()),
            ("items[0][price]", &price),
            ("description", "By phone"),
        ];
        stage.stripe(Method::POST, "/v1/subscriptions", &form).await
    }

    async fn won_but_unreadable(&mut self, stage: &Stage) -> anyhow::Result<Value> {
        let bought = self.bought.as_ref().context("nothing was bought before")?;
        let path = format!("/v1/payment_intents/{}", bought.payment(stage).await?);
        stage.forbid(&path).await?;
        self.forbidden = Some(path);
        bought.decide(stage, "won").await
    }

    /// What is done to her newest purchase.
    async fn suffer(&self, stage: &Stage, act: &Act) -> anyhow::Result<Value> {
        let bought = self.bought.as_ref().context("nothing was bought before")?;
        let own = |what: &str, body: Value| {
            let path = format!("/v1/subscriptions/{}/{what}", bought.line);
            async move { stage.as_member(&self.member.id(), &path, body).await }
        };
        match act {
            Act::Cancels(at) => own("cancel", json!({ "at": at })).await,
            Act::Keeps => own("resume", json!({})).await,
            Act::ChangesTo(plan) => own("change", json!({ "plan": plan })).await,
            Act::TakesCard(card) => {
                let customer = bought.session(stage).await?;
                let path = format!("customers/{}/card", text(&customer["customer"])?);
                stage.control(&path, json!({ "card": card })).await
            }
            Act::PaysInvoice => bought.pay_invoice(stage).await,
            Act::PaysInvoiceUnheard => stage.unheard(bought.pay_invoice(stage)).await,
            Act::Refunded(cents) => bought.refund(stage, *cents).await,
            Act::Disputed => {
                let payment = bought.payment(stage).await?;
                let body = json!({ "payment_intent": payment, "reason": "fraudulent" });
                stage.control("disputes", body).await
            }
            Act::Decided(how) => bought.decide(stage, how).await,
            Act::MovedToReducedPrice => bought.reduce(stage).await,
            Act::EndedBySupport => {
                let subscription = bought.subscription(stage).await?;
                let path = format!("/v1/subscriptions/{}", text(&subscription["id"])?);
                stage.stripe(Method::DELETE, &path, &[]).await
            }
            Act::Buys(..) | Act::SoldBySupport | Act::WonButUnreadable => {
                unreachable!("told apart before")
            }
        }
    }
}

impl Bought {
    async fn session(&self, stage: &Stage) -> anyhow::Result<Value> {
        let path = format!("/v1/checkout/sessions/{}", self.session);
        stage.look(&path).await
    }

    async fn subscription(&self, stage: &Stage) -> anyhow::Result<Value> {
        let id = text(&self.session(stage).await?["subscription"])?;
        stage.look(&format!("/v1/subscriptions/{id}")).await
    }

    /// The payment that the session brought about.
    async fn payment(&self, stage: &Stage) -> anyhow::Result<String> {
        let session = self.session(stage).await?;
        if let Some(payment) = session["payment_intent"].as_str() {
            return Ok(payment.to_owned());
        }
        let invoice = text(&session["invoice"])?;
        let payments = format!("/v1/invoice_payments?invoice={invoice}");
        text(&stage.look(&payments).await?["data"][0]["payment"]["payment_intent"])
    }

    async fn pay_invoice(&self, stage: &Stage) -> anyhow::Result<Value> {
        let invoice = text(&self.subscription(stage).await?["latest_invoice"])?;
        let path = format!("invoices/{invoice}/pay");
        stage.control(&path, json!({ "card": GOOD_CARD })).await
    }

    async fn refund(&self, stage: &Stage, cents: Option<i64>) -> anyhow::Result<Value> {
        let payment = self.payment(stage).await?;
        let cents = cents.map(|cents| cents.to_string());
        let mut form = vec![
            ("payment_intent", payment.as_str()),
            ("reason", "requested_by_customer"),
        ];
        form.extend(cents.as_deref().map(|cents| ("amount", cents)));
        stage.stripe(Method::POST, "/v1/refunds", &form).await
    }

    async fn decide(&self, stage: &Stage, how: &str) -> anyhow::Result<Value> {
        let payment = self.payment(stage).await?;
        let query = format!("/v1/disputes?payment_intent={payment}");
        let dispute = text(&stage.look(&query).await?["data"][0]["id"])?;
        let path = format!("disputes/{dispute}/close");
        stage.control(&path, json!({ "status": how })).await
    }

    async fn reduce(&self, stage: &Stage) -> anyhow::Result<Value> {
        let subscription = self.subscription(stage).await?;
        let item = &subscription["items"]["data"][0];
        let (id, product) = (text(&item["id"])?, text(&item["price"]["product"])?);
        let form = [
            ("product", product.as_str()),
            ("nickname", "Reduced"),
            ("currency", "eur"),
            ("unit_amount", "150"),
            ("recurring[interval]", "month"),
        ];
        let price = stage.stripe(Method::POST, "/v1/prices", &form).await?;
        let price = text(&price["id"])?;
        let form = [
            ("items[0][id]", id.as_str()),
            ("items[0][price]", &price),
            ("proration_behavior", "none"),
        ];
        let path = format!("/v1/subscriptions/{}", text(&subscription["id"])?);
        stage.stripe(Method::POST, &path, &form).await
    }
}

fn line(line: &Line) -> Value {
    let mut value = json!({ "plan": line.plan });
    if let Some(quantity) = line.quantity {
        value["quantity"] = quantity.into();
    }
    if let Some(amount) = line.amount {
        value["amount"] = amount.into();
    }
    value
}

/// Accounts begin with a country.
fn instrument_kind(number: &str) -> &'static str {
    if number.starts_with(|first: char| first.is_ascii_alphabetic()) {
        "iban"
    } else {
        "card"
    }
}
