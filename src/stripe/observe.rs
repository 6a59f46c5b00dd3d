//! What Stripe's objects mean in our words: each becomes an [`Observation`].

use time::OffsetDateTime;

use super::objects::{Expandable, Invoice, Metadata, Session, Subscription, id_of, time_of};
use super::requests::CHECKOUT_KEY;
use crate::domain::facts::{
    Fact, Freshness, Observation, Scope, Snapshot, Subject, Transaction, TransactionKind,
};
use crate::domain::ids::{SubscriptionId, is_external_id};
use crate::domain::subscription::{Collection, Mode, Period, StripeStatus};

/// Translates objects into observations.
#[derive(Clone, Debug)]
pub struct Observer {
    metadata_key: String,
}

/// An object says something that this version of Dues doesn't know, so that none of it is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// A status of a subscription that Stripe has added.
    #[error("{}", self.as_str())]
    SubscriptionStatus,
    /// An invoice of so many lines that none of those that were read tells its period.
    #[error("{}", self.as_str())]
    Period,
}

impl Unknown {
    /// In words for an operator.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SubscriptionStatus => {
                "the subscription at Stripe has a status that this version of Dues doesn't know"
            }
            Self::Period => "it can't be read for which period an invoice was paid",
        }
    }
}

/// What the event's type says beyond its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing: the object was read, or says it all.
    Plain,
    /// `checkout.session.completed` and what follows it: objects of old API versions have no `status`.
    SessionCompleted,
    /// `checkout.session.expired`.
    SessionExpired,
    /// `checkout.session.async_payment_failed`.
    FirstPaymentFailed,
    /// `customer.subscription.deleted`.
    Deleted,
    /// `customer.subscription.resumed`, and an update that ends a trial or a pause.
    Resumed,
    /// `invoice.payment_failed`.
    PaymentFailed,
}

impl Observer {
    /// An observer that finds our ids under that metadata key.
    pub fn new(metadata_key: impl Into<String>) -> Self {
        Self {
            metadata_key: metadata_key.into(),
        }
    }

    /// What a Checkout Session says, with all that is expanded in it.
    pub fn session(
        &self,
        session: &Session,
        at: OffsetDateTime,
        freshness: Freshness,
        news: News,
    ) -> Result<Observation, Unknown> {
        let mut facts = Vec::with_capacity(4);
        let invoice = session.invoice.as_ref();
        let intent = session.payment_intent.as_ref();
        let completed = matches!(news, News::SessionCompleted | News::FirstPaymentFailed);
        if completed || session.status.as_deref() == Some("complete") {
            facts.push(Fact::SessionCompleted);
            match session.payment_status.as_deref() {
                Some("paid" | "no_payment_required") => {
                    let paid_at = paid_at(session).unwrap_or(at);
                    facts.push(Fact::Paid(paid_at, Scope::Basket));
                    facts.extend(payment(session, paid_at));
                }
                Some(_) => facts.extend(came_to_nothing(session, at)),
                // The oldest shape doesn't tell.
                None => facts.push(Fact::Unclear),
            }
        } else if news == News::SessionExpired || session.status.as_deref() == Some("expired") {
            facts.push(Fact::SessionExpired);
        }
        if news == News::FirstPaymentFailed {
            facts.push(Fact::FirstPaymentFailed(at));
            facts.extend(first_payment_failed(session, at));
        }
        if let Some(intent) = intent {
            facts.push(Fact::PaymentIntent(intent.id().to_owned()));
        }
        // Until the buyer has finished she may still change how many.
        let finished = facts.contains(&Fact::SessionCompleted);
        for item in session.line_items.iter().flat_map(|items| &items.data) {
            let quantity = item.quantity.filter(|_| finished);
            for id in self.internal_ids(item.metadata.as_ref()) {
                facts.push(Fact::LineItem(id, item.id.clone()));
                facts.extend(quantity.map(|quantity| Fact::Quantity(id, quantity)));
            }
        }
        if let Some(subscription) = session.subscription.as_ref().and_then(Expandable::object) {
            subscription_facts(subscription, at, News::Plain, &mut facts)?;
        }
        if let Some(invoice) = invoice.and_then(Expandable::object) {
            invoice_facts(invoice, at, News::Plain, &mut facts);
        }
        let reference = session.client_reference_id.as_deref();
        let checkout = reference.or_else(|| {
            session
                .metadata
                .as_ref()?
                .get(CHECKOUT_KEY)
                .map(String::as_str)
        });
        let subject = Subject {
            session: Some(session.id.clone()),
            stripe_subscription: id_of(session.subscription.as_ref()),
            customer: id_of(session.customer.as_ref()),
            checkout: checkout.and_then(|id| id.parse().ok()),
            subscriptions: self.internal_ids(session.metadata.as_ref()),
            external: self.external_ids(session.metadata.as_ref()),
            mode: session.mode.as_deref().and_then(Mode::parse),
            ..Subject::default()
        };
        Ok(Observation {
            subject,
            at,
            freshness,
            facts,
        })
    }

    /// What a subscription says.
    pub fn subscription(
        &self,
        subscription: &Subscription,
        at: OffsetDateTime,
        freshness: Freshness,
        news: News,
    ) -> Result<Observation, Unknown> {
        let mut facts = Vec::with_capacity(2);
        subscription_facts(subscription, at, news, &mut facts)?;
        if let Some(invoice) = subscription
            .latest_invoice
            .as_ref()
            .and_then(Expandable::object)
        {
            invoice_facts(invoice, at, News::Plain, &mut facts);
        }
        let subject = Subject {
            stripe_subscription: Some(subscription.id.clone()),
            customer: id_of(subscription.customer.as_ref()),
            subscriptions: self.internal_ids(subscription.metadata.as_ref()),
            external: self.external_ids(subscription.metadata.as_ref()),
            ..Subject::default()
        };
        Ok(Observation {
            subject,
            at,
            freshness,
            facts,
        })
    }

    /// What an invoice of a subscription says; none for any other invoice.
    pub fn invoice(
        &self,
        invoice: &Invoice,
        at: OffsetDateTime,
        freshness: Freshness,
        news: News,
    ) -> Option<Observation> {
        let subscription = invoice.subscription_id()?;
        let mut facts = Vec::with_capacity(2);
        invoice_facts(invoice, at, news, &mut facts);
        let subject = Subject {
            stripe_subscription: Some(subscription.to_owned()),
            customer: id_of(invoice.customer.as_ref()),
            subscriptions: self.ids_of_invoice(invoice),
            external: self.external_ids(invoice.subscription_metadata()),
            ..Subject::default()
        };
        Some(Observation {
            subject,
            at,
            freshness,
            facts,
        })
    }

    /// The internal ids of an invoice: in the copy of its subscription's metadata, in old versions in its lines'.
    fn ids_of_invoice(&self, invoice: &Invoice) -> Vec<SubscriptionId> {
        let mut ids = self.internal_ids(invoice.subscription_metadata());
        if ids.is_empty() {
            let lines = invoice.lines.iter().flat_map(|lines| &lines.data);
            ids.extend(lines.flat_map(|line| self.internal_ids(line.metadata.as_ref())));
        }
        ids
    }

    /// The internal ids in metadata; what isn't an id of ours is somebody else's text.
    pub fn internal_ids(&self, metadata: Option<&Metadata>) -> Vec<SubscriptionId> {
        let text = metadata
            .and_then(|metadata| metadata.get(&self.metadata_key))
            .map_or("", String::as_str);
        text.split(',')
            .filter_map(|id| id.trim().parse().ok())
            .collect()
    }

    /// What stands there beside: another system may know a line of ours by it. An id of our own kind is looked up as ours
    /// alone, so that nobody who has nothing from other systems pays for a second look-up.
    pub(super) fn external_ids(&self, metadata: Option<&Metadata>) -> Vec<String> {
        let text = metadata
            .and_then(|metadata| metadata.get(&self.metadata_key))
            .map_or("", String::as_str);
        let names = text.split(',').map(str::trim);
        names
            .filter(|name| is_external_id(name) && !SubscriptionId::is_one(name))
            .map(str::to_owned)
            .collect()
    }
}

/// When the session was paid, where an expanded object tells.
fn paid_at(session: &Session) -> Option<OffsetDateTime> {
    let invoice = session.invoice.as_ref().and_then(Expandable::object);
    let charge = session
        .payment_intent
        .as_ref()
        .and_then(Expandable::object)
        .and_then(|intent| {
            intent
                .latest_charge
                .as_ref()
                .and_then(Expandable::object)
                .filter(|charge| charge.paid)
        });
    let invoice_paid = invoice.and_then(Invoice::paid_at);
    invoice_paid.or_else(|| charge?.created).and_then(time_of)
}

/// A payment that was under way when the buyer had finished, and that has failed for good since: Stripe tries a debit
/// once.
fn came_to_nothing(session: &Session, at: OffsetDateTime) -> Option<Fact> {
    let intent = session
        .payment_intent
        .as_ref()
        .and_then(Expandable::object)?;
    let failed = matches!(
        intent.status.as_deref(),
        Some("requires_payment_method" | "canceled")
    );
    failed.then_some(Fact::FirstPaymentFailed(at))
}

/// The payment of a paid session: by its invoice where it has one, and none where no money moved.
fn payment(session: &Session, at: OffsetDateTime) -> Option<Fact> {
    if session.amount_total.is_some_and(|total| total <= 0) {
        return None;
    }
    let intent = id_of(session.payment_intent.as_ref());
    let reference = id_of(session.invoice.as_ref()).or_else(|| intent.clone())?;
    let transaction = Transaction::new(TransactionKind::Payment, reference, intent, at);
    Some(Fact::Transaction(transaction, Scope::Basket))
}

/// The first payment that came back: of a session with an invoice, that invoice's first attempt.
fn first_payment_failed(session: &Session, at: OffsetDateTime) -> Option<Fact> {
    let intent = id_of(session.payment_intent.as_ref());
    let reference = match &session.invoice {
        Some(invoice) => format!("{}#1", invoice.id()),
        None => intent.clone()?,
    };
    let transaction = Transaction::new(TransactionKind::PaymentFailed, reference, intent, at);
    Some(Fact::Transaction(transaction, Scope::Basket))
}

fn subscription_facts(
    subscription: &Subscription,
    at: OffsetDateTime,
    news: News,
    facts: &mut Vec<Fact>,
) -> Result<(), Unknown> {
    if let Some(status) = &subscription.status {
        let status = StripeStatus::parse(status).ok_or(Unknown::SubscriptionStatus)?;
        let collection = collection_of(subscription);
        let excused = matches!(status, StripeStatus::Trialing | StripeStatus::Paused)
            || collection != Collection::Running
            || news == News::Resumed;
        facts.push(Fact::Snapshot(Snapshot {
            status,
            current_period_end: subscription.period_end().and_then(time_of),
            cancel_at: subscription.cancel_at.and_then(time_of),
            cancel_at_period_end: subscription.cancel_at_period_end,
            collection,
            excused,
            price: subscription.price_id().map(str::to_owned),
            quantity: subscription.item_quantity(),
        }));
    }
    // One that was never paid in time has an end too, but its status says more.
    let expired = subscription.status.as_deref() == Some(StripeStatus::IncompleteExpired.as_str());
    let ended_at = subscription.ended_at.and_then(time_of);
    let ended_at = ended_at.filter(|_| !expired);
    facts.extend(
        ended_at
            .or((news == News::Deleted).then_some(at))
            .map(Fact::Ended),
    );
    Ok(())
}

fn collection_of(subscription: &Subscription) -> Collection {
    match &subscription.pause_collection {
        None => Collection::Running,
        Some(pause) if pause.behavior.as_deref() == Some("void") => Collection::Void,
        Some(_) => Collection::Paused,
    }
}

fn invoice_facts(invoice: &Invoice, at: OffsetDateTime, news: News, facts: &mut Vec<Fact>) {
    let first = invoice.billing_reason.as_deref() == Some("subscription_create");
    let scope = if first {
        Scope::Basket
    } else {
        Scope::Recurring
    };
    let intent = invoice.payment_intent_id().map(str::to_owned);
    let transaction = |kind, reference, at| {
        let payment_intent = intent.clone();
        Fact::Transaction(Transaction::new(kind, reference, payment_intent, at), scope)
    };
    if invoice.status.as_deref() == Some("paid") {
        let at = invoice.paid_at().and_then(time_of).unwrap_or(at);
        if first || invoice.total.is_some_and(|total| total > 0) {
            facts.push(Fact::Paid(at, scope));
            facts.push(Fact::InvoicePaid {
                at,
                made_at: invoice.created.and_then(time_of),
            });
        }
        facts.extend(paid_period(invoice));
        if invoice.amount_paid.is_some_and(|paid| paid > 0) {
            facts.push(transaction(
                TransactionKind::Payment,
                invoice.id.clone(),
                at,
            ));
        }
        // The one-off lines of a basket were paid by its first invoice.
        facts.extend(intent.clone().filter(|_| first).map(Fact::PaymentIntent));
    } else if first && matches!(invoice.status.as_deref(), Some("void" | "uncollectible")) {
        facts.push(Fact::FirstPaymentFailed(at));
    } else if news == News::PaymentFailed {
        let reference = format!("{}#{}", invoice.id, invoice.attempt_count.unwrap_or(1));
        facts.push(transaction(TransactionKind::PaymentFailed, reference, at));
    }
}

/// The period that a paid invoice covers; unclear where the lines that would tell are left out.
fn paid_period(invoice: &Invoice) -> Option<Fact> {
    let period = invoice.service_period();
    let period = period.and_then(|period| {
        let (start, end) = time_of(period.start).zip(time_of(period.end))?;
        Some(Fact::PaidPeriod(Period { start, end }))
    });
    let cut = invoice.lines.as_ref().is_some_and(|lines| lines.has_more);
    period.or_else(|| cut.then_some(Fact::Unclear))
}
