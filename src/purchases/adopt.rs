//! What another system sold at Stripe becomes a row like any other: recorded first, so that from then on every webhook
//! finds it, then read from Stripe, and at last marked there with our ids. Whatever it was cut off at, doing it again ends
//! in the same state: what lacks the mark is read anew.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;

use time::OffsetDateTime;

use super::rows::Applied;
use super::{Error, MAX_TRIES, Purchases};
use crate::domain::actor::By;
use crate::domain::facts::{Fact, Freshness, Scope, Transaction, TransactionKind};
use crate::domain::ids::{CheckoutId, SubscriptionId, UserId};
use crate::domain::lifecycle;
use crate::domain::plan::Plan;
use crate::domain::subscription::{
    Basket, Checkout, Mode, Reason, SessionStatus, Status, Subscription,
};
use crate::storage::baskets;
use crate::storage::checkouts::{self, AdoptError, NewAdopted};
use crate::storage::webhook_events::Settled;
use crate::stripe::StripeError;
use crate::stripe::objects::{self, Invoice, InvoicePayment, id_of, time_of};
use crate::stripe::observe::News;

/// A subscription at Stripe that is to become a row.
#[derive(Clone, Debug)]
pub(crate) struct Adoption {
    /// `sub_…`.
    pub stripe_subscription: String,
    /// `cus_…`.
    pub stripe_customer: String,
    /// `price_…`.
    pub stripe_price: String,
    /// How many of it.
    pub quantity: i32,
    /// ISO 4217, lower case.
    pub currency: String,
    /// When it was made at Stripe.
    pub created_at: Option<OffsetDateTime>,
    /// Whose it is.
    pub user: UserId,
    /// Which plan it is on.
    pub plan: Plan,
    /// By which another system knows it.
    pub external_id: Option<String>,
    /// The entries in its metadata that name rows which are not here any more.
    pub lost: Vec<String>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Adopted {
    /// It is a row of ours, and all is read.
    Done(Box<Finished>),
    /// It is one already.
    Known,
    /// The member holds the single plan, or one of its group, already.
    Held,
    /// Another line is known by its external id.
    IdTaken,
    /// Its customer is another member's.
    OtherMember,
}

/// What was adopted, with all that was read of it.
#[derive(Debug)]
pub(crate) struct Finished {
    /// As it is in the database now.
    pub basket: Basket,
    /// Why a person should look, if one should.
    pub flags: BTreeSet<&'static str>,
}

impl Purchases {
    /// Makes a subscription at Stripe a row of ours.
    pub(crate) async fn adopt_subscription(
        &self,
        new: &Adoption,
        by: &By,
    ) -> Result<Adopted, Error> {
        let by = &by.clone().about(&new.stripe_subscription);
        let owner = checkouts::find_member_of(&self.pool, &new.stripe_customer).await?;
        if owner.is_some_and(|owner| owner != new.user) {
            return Ok(Adopted::OtherMember);
        }
        // Before there is a row: what names another one would contradict it, and what is marked counts as read.
        if !new.lost.is_empty() {
            let client = &self.account.client;
            client
                .clear_metadata(&new.stripe_subscription, &new.lost)
                .await?;
        }
        let now = self.clock.now();
        let checkout = new_checkout(new, now);
        let mut line = new_line(new, now);
        (line.status, line.reason) =
            lifecycle::derive(&line, &checkout, self.settings.lifecycle.grace, now);
        let record = NewAdopted {
            checkout: &checkout,
            line: &line,
            currency: &new.currency,
        };
        match checkouts::insert_adopted(&self.pool, &record, by, now).await {
            Ok(()) => {}
            Err(AdoptError::Known) => return Ok(Adopted::Known),
            Err(AdoptError::IdTaken) => return Ok(Adopted::IdTaken),
            Err(AdoptError::Held) => return Ok(Adopted::Held),
            Err(AdoptError::Storage(error)) => return Err(error.into()),
        }
        tracing::info!(subscription_id = %line.id, plan = line.plan, "a subscription was adopted");
        let basket = baskets::find_by_id(&self.pool, checkout.id).await?;
        let basket = basket.ok_or(Error::Contended)?;
        let finished = self.finish_adoption(basket, by).await?;
        Ok(Adopted::Done(Box::new(finished)))
    }

    /// Whether an adoption was cut off before its end: the mark at Stripe is its last step.
    pub(crate) fn is_unfinished(basket: &Basket, stripe: &objects::Subscription) -> bool {
        let id = basket.checkout.id.to_string();
        basket.checkout.mode == Mode::Adopted && stripe.checkout_tag() != Some(&id)
    }

    /// Reads all that Stripe says of what was adopted (the subscription, its paid invoices, what of these went back), then
    /// writes our ids into its metadata, beside what others have there.
    pub(crate) async fn finish_adoption(&self, basket: Basket, by: &By) -> Result<Finished, Error> {
        let line = basket.recurring().ok_or(Error::Contended)?;
        let (line, stripe) = (line.id, line.stripe_subscription.clone());
        let stripe = stripe.ok_or(Error::Contended)?;
        let by = &by.clone().about(&stripe);
        let (applied, now, payments) = self.read_adopted(basket, &stripe, by).await?;
        let (basket, mut flags) = (applied.basket, BTreeSet::from_iter(applied.left.flag));
        if let Some(customer) = id_of(now.customer.as_ref()) {
            flags.extend(self.read_what_went_back(&customer, &payments, by).await?);
        }
        // What others have under our own key stays. Where it is the other system's id, it leads to the line as well.
        let held = now.metadata.as_ref();
        let held = held.and_then(|held| held.get(&self.settings.stripe.metadata_key));
        let tag = held.is_none().then_some(line);
        let client = &self.account.client;
        let answer = client
            .tag_subscription(&stripe, basket.checkout.id, tag)
            .await?;
        // What went back was written since.
        let id = basket.checkout.id;
        let basket = baskets::find_by_id(&self.pool, id).await?;
        let basket = basket.ok_or(Error::Contended)?;
        let (basket, flag) = self.apply_subscription(basket, answer, by).await?;
        flags.extend(flag);
        Ok(Finished { basket, flags })
    }

    /// Reads the subscription and all its invoices, and writes it in one go: nobody sees a state in between. With the
    /// payments that the invoices name.
    async fn read_adopted(
        &self,
        mut basket: Basket,
        id: &str,
        by: &By,
    ) -> Result<(Applied, objects::Subscription, HashSet<String>), Error> {
        for _ in 0..MAX_TRIES {
            let answer = self.account.client.retrieve_subscription(id).await?;
            let observer = &self.account.observer;
            let said = observer.subscription(&answer.body, answer.at, Freshness::Live, News::Plain);
            let mut said = said?;
            let (facts, payments) = self.all_paid(id).await?;
            said.facts.extend(facts);
            match self.write_read(&basket, &said, by).await? {
                ControlFlow::Break(applied) => {
                    return Ok((applied, answer.body, payments));
                }
                ControlFlow::Continue(newer) => basket = newer,
            }
        }
        Err(Error::Contended)
    }

    /// What all paid invoices of a subscription tell, and which payments paid them.
    async fn all_paid(&self, id: &str) -> Result<(Vec<Fact>, HashSet<String>), Error> {
        let (mut facts, mut payments) = (Vec::new(), HashSet::new());
        let mut after: Option<String> = None;
        loop {
            let client = &self.account.client;
            let page = client.list_invoices_of_subscription(id, after.as_deref());
            let page = page.await?;
            let invoices = &page.body.data;
            let named = invoices.iter().flat_map(Invoice::payment_intent_ids);
            payments.extend(named.map(str::to_owned));
            let others: Vec<Fact> = invoices.iter().flat_map(other_payments).collect();
            let last = invoices.last().filter(|_| page.body.has_more);
            after = last.map(|invoice| invoice.id.clone());
            facts.extend(self.paid(page).await?);
            facts.extend(others);
            if after.is_none() {
                return Ok((facts, payments));
            }
        }
    }

    /// Reads refunds and disputes of those payments that have any: the customer's charges tell which. With why a person
    /// should look.
    async fn read_what_went_back(
        &self,
        customer: &str,
        payments: &HashSet<String>,
        by: &By,
    ) -> Result<Vec<&'static str>, Error> {
        let now = self.clock.now();
        let mut flags = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let client = &self.account.client;
            let page = match client.list_charges(customer, now, after.as_deref()).await {
                // A customer who was deleted tells nothing more.
                Err(error) if is_gone(&error) => return Ok(flags),
                page => page?.body,
            };
            for charge in page.data.iter().filter(|charge| charge.ever_went_back()) {
                let intent = id_of(charge.payment_intent.as_ref());
                if let Some(intent) = intent.filter(|intent| payments.contains(intent))
                    && let Settled::Flagged(flag) = self.read_payment(&intent, by).await?
                {
                    flags.push(flag);
                }
            }
            let last = page.data.last().filter(|_| page.has_more);
            after = last.map(|charge| charge.id.clone());
            if after.is_none() {
                return Ok(flags);
            }
        }
    }
}

/// The payments of an invoice that was paid by several, but for the one that it tells itself: said as their own events say
/// it, so that each becomes the row that it would have become by these.
fn other_payments(invoice: &Invoice) -> Vec<Fact> {
    let paid_at = invoice.paid_at().and_then(time_of);
    let Some(at) = paid_at.filter(|_| invoice.status.as_deref() == Some("paid")) else {
        return Vec::new();
    };
    let first = invoice.payment_intent_id();
    let payments = invoice.payments.iter().flat_map(|payments| &payments.data);
    let paid = payments.filter(|payment| payment.status.as_deref() == Some("paid"));
    let others = paid.filter_map(InvoicePayment::payment_intent_id);
    let others = others.filter(|intent| Some(*intent) != first);
    let told = others.map(|intent| {
        let (kind, intent) = (TransactionKind::Payment, Some(intent.to_owned()));
        let told = Transaction::new(kind, invoice.id.clone(), intent, at);
        Fact::Transaction(told, Scope::Recurring)
    });
    told.collect()
}

fn is_gone(error: &StripeError) -> bool {
    error.is_no_such_object() || error.is_missing("customer")
}

fn new_checkout(new: &Adoption, now: OffsetDateTime) -> Checkout {
    Checkout {
        id: CheckoutId::new(now),
        user: new.user.clone(),
        mode: Mode::Adopted,
        status: SessionStatus::Complete,
        stripe_session: None,
        stripe_customer: Some(new.stripe_customer.clone()),
        cancel_requested_at: None,
        expires_at: now,
        created_at: now,
    }
}

fn new_line(new: &Adoption, now: OffsetDateTime) -> Subscription {
    let id = SubscriptionId::new(now);
    Subscription {
        quantity: new.quantity,
        term: None,
        status: Status::PendingCompletion,
        reason: Reason::PaymentProcessing,
        stripe_subscription: Some(new.stripe_subscription.clone()),
        created_at: new.created_at.unwrap_or(now),
        external_id: new.external_id.clone(),
        ..Subscription::new(id, &new.plan, &new.stripe_price, true, now)
    }
}
