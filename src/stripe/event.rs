//! A webhook's body: a lean envelope, then only the object of a type that we know.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::objects::{
    Charge, CreditNote, Dispute, Invoice, InvoicePayment, Reference, Refund, Session, Subscription,
};
use super::observe::{News, Observer, Unknown};
use super::reading::{Unreadable, from_json};
use crate::domain::facts::{Freshness, Observation, Subject};

/// Declares the event types that we act on.
macro_rules! event_types {
    ($($variant:ident = $text:literal,)+) => {
        /// A type of event that Dues acts on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the names are Stripe's")]
        pub enum EventType { $($variant,)+ }

        impl EventType {
            /// Every type that Dues acts on: what a webhook endpoint should be subscribed to.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Stripe's name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The type of that name.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

event_types! {
    SessionCompleted = "checkout.session.completed",
    SessionAsyncPaymentSucceeded = "checkout.session.async_payment_succeeded",
    SessionAsyncPaymentFailed = "checkout.session.async_payment_failed",
    SessionExpired = "checkout.session.expired",
    SubscriptionCreated = "customer.subscription.created",
    SubscriptionUpdated = "customer.subscription.updated",
    SubscriptionPaused = "customer.subscription.paused",
    SubscriptionResumed = "customer.subscription.resumed",
    SubscriptionDeleted = "customer.subscription.deleted",
    CustomerDeleted = "customer.deleted",
    InvoicePaid = "invoice.paid",
    InvoicePaymentSucceeded = "invoice.payment_succeeded",
    InvoicePaymentFailed = "invoice.payment_failed",
    InvoicePaymentActionRequired = "invoice.payment_action_required",
    InvoiceFinalizationFailed = "invoice.finalization_failed",
    InvoiceVoided = "invoice.voided",
    InvoiceMarkedUncollectible = "invoice.marked_uncollectible",
    InvoicePaymentPaid = "invoice_payment.paid",
    ChargeRefunded = "charge.refunded",
    RefundCreated = "refund.created",
    RefundUpdated = "refund.updated",
    RefundFailed = "refund.failed",
    CreditNoteCreated = "credit_note.created",
    DisputeCreated = "charge.dispute.created",
    DisputeUpdated = "charge.dispute.updated",
    DisputeClosed = "charge.dispute.closed",
    DisputeFundsWithdrawn = "charge.dispute.funds_withdrawn",
    DisputeFundsReinstated = "charge.dispute.funds_reinstated",
}

/// What must be read from Stripe when an event leaves a doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The session that it is about.
    Session,
    /// The subscription that it is about.
    Subscription,
    /// The payment that it is about, with its refunds and disputes.
    Payment,
    /// The invoice that it is about, with all its lines.
    Invoice,
    /// All payments of the invoice that it is about.
    InvoicePayments,
    /// Nothing: it never leaves a doubt.
    Nothing,
}

impl EventType {
    /// What must be read when an event of this type leaves a doubt: [`Content::object_id`] is that object's.
    pub fn reading(self) -> Reading {
        match self {
            Self::SessionCompleted
            | Self::SessionAsyncPaymentSucceeded
            | Self::SessionAsyncPaymentFailed
            | Self::SessionExpired => Reading::Session,
            Self::SubscriptionCreated
            | Self::SubscriptionUpdated
            | Self::SubscriptionPaused
            | Self::SubscriptionResumed
            | Self::SubscriptionDeleted => Reading::Subscription,
            Self::ChargeRefunded
            | Self::RefundCreated
            | Self::RefundUpdated
            | Self::RefundFailed
            | Self::DisputeCreated
            | Self::DisputeUpdated
            | Self::DisputeClosed
            | Self::DisputeFundsWithdrawn
            | Self::DisputeFundsReinstated => Reading::Payment,
            Self::CreditNoteCreated => Reading::InvoicePayments,
            Self::InvoicePaid | Self::InvoicePaymentSucceeded => Reading::Invoice,
            Self::CustomerDeleted
            | Self::InvoicePaymentFailed
            | Self::InvoicePaymentActionRequired
            | Self::InvoiceFinalizationFailed
            | Self::InvoiceVoided
            | Self::InvoiceMarkedUncollectible
            | Self::InvoicePaymentPaid => Reading::Nothing,
        }
    }
}

/// What a thin event calls itself.
const THIN: &str = "v2.core.event";

#[derive(Deserialize)]
struct Envelope<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    created: i64,
    livemode: bool,
    account: Option<&'a str>,
    #[serde(borrow)]
    data: Data<'a>,
}

/// A thin event: it has no object, only its name.
#[derive(Deserialize)]
struct Thin<'a> {
    object: &'a str,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    object: &'a RawValue,
    #[serde(borrow)]
    previous_attributes: Option<&'a RawValue>,
}

/// What an updated subscription was before, as far as it tells whether a trial or a pause has ended.
#[derive(Default, Deserialize)]
struct Before {
    status: Option<String>,
    pause_collection: Option<IgnoredAny>,
}

/// What is new about a subscription, given what it was before.
fn resumed(before: Option<&RawValue>) -> News {
    let before = before.and_then(|before| serde_json::from_str::<Before>(before.get()).ok());
    let before = before.unwrap_or_default();
    let waited = matches!(before.status.as_deref(), Some("trialing" | "paused"));
    if waited || before.pause_collection.is_some() {
        News::Resumed
    } else {
        News::Plain
    }
}

/// An event as we need it.
#[derive(Clone, Debug)]
pub struct Event {
    /// `evt_…`.
    pub id: String,
    /// When Stripe made it.
    pub created: OffsetDateTime,
    /// Test or live.
    pub livemode: bool,
    /// Whether it is of a connected account, whose business is its own.
    pub elsewhere: bool,
    /// What it says; none when it is of a type that we don't act on, or of an object that can't be ours.
    pub content: Option<Content>,
}

/// What an event of a known type says.
#[derive(Clone, Debug)]
pub struct Content {
    /// Its type.
    pub kind: EventType,
    /// What must be read if it leaves a doubt: the object that it is about, or the payment that a refund or a dispute
    /// is about.
    pub object_id: String,
    /// Whether Stripe must be asked whose it is when no row of ours is found.
    pub may_be_ours: bool,
    /// What it means, or why that can't be told.
    pub observation: Result<Observation, Unknown>,
}

/// A body that is no event, or an event whose object has an unknown shape.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Not an event.
    #[error("the body is not an event: {0}")]
    Envelope(Unreadable),
    /// A thin event (`/v2/core/event_destinations`): it tells that something happened, and not what.
    #[error(
        "this is a thin event, which Dues does not take: make an endpoint with snapshot payloads for this address"
    )]
    Thin,
    /// A known type, but its object can't be read: worth another try with a newer version of Dues.
    #[error("the object of a {} event can't be read: {error}", kind.as_str())]
    Object {
        /// The event's type.
        kind: EventType,
        /// Where it departs from what was expected.
        error: Unreadable,
    },
}

impl Event {
    /// Whether it names its row by nothing but an invoice.
    pub fn names_an_invoice(&self) -> bool {
        let observation = self.content.as_ref().map(|content| &content.observation);
        observation
            .and_then(|observation| observation.as_ref().ok())
            .is_some_and(|observation| observation.subject.invoice.is_some())
    }
}

impl Observer {
    /// Reads an event: the object only if its type is one that we act on.
    pub fn event(&self, body: &[u8]) -> Result<Event, ParseError> {
        let envelope: Envelope =
            from_json(body).map_err(|error| match serde_json::from_slice::<Thin>(body) {
                Ok(thin) if thin.object == THIN => ParseError::Thin,
                _ => ParseError::Envelope(error),
            })?;
        let created = OffsetDateTime::from_unix_timestamp(envelope.created)
            .map_err(|_| ParseError::Envelope(Unreadable::because("created is out of range")))?;
        let elsewhere = envelope.account.is_some();
        let content = match EventType::parse(envelope.kind).filter(|_| !elsewhere) {
            Some(kind) => {
                let content = self.content(kind, &envelope.data, created);
                content.map_err(|error| ParseError::Object { kind, error })?
            }
            None => None,
        };
        Ok(Event {
            id: envelope.id.to_owned(),
            created,
            livemode: envelope.livemode,
            elsewhere,
            content,
        })
    }

    fn content(
        &self,
        kind: EventType,
        data: &Data<'_>,
        at: OffsetDateTime,
    ) -> Result<Option<Content>, Unreadable> {
        let json = data.object.get().as_bytes();
        let told = |object_id, observation| {
            Ok(Some(Content {
                kind,
                object_id,
                may_be_ours: false,
                observation,
            }))
        };
        let session = |news| {
            let session: Session = from_json(json)?;
            let observation = self.session(&session, at, Freshness::Event, news);
            told(session.id, observation)
        };
        let subscription = |news| {
            let subscription: Subscription = from_json(json)?;
            let observation = self.subscription(&subscription, at, Freshness::Event, news);
            told(subscription.id, observation)
        };
        let invoice = |news| {
            let invoice: Invoice = from_json(json)?;
            match self.invoice(&invoice, at, Freshness::Event, news) {
                Some(observation) => told(invoice.id, Ok(observation)),
                None => Ok(None),
            }
        };
        // A payment without a payment intent is none that Checkout made.
        let payment = |observation: Observation| {
            let id = observation.subject.payment_intent.clone();
            let content = |object_id| Content {
                kind,
                object_id,
                may_be_ours: true,
                observation: Ok(observation),
            };
            Ok(id.map(content))
        };
        match kind {
            EventType::SessionCompleted | EventType::SessionAsyncPaymentSucceeded => {
                session(News::SessionCompleted)
            }
            EventType::SessionAsyncPaymentFailed => session(News::FirstPaymentFailed),
            EventType::SessionExpired => session(News::SessionExpired),
            EventType::SubscriptionCreated | EventType::SubscriptionPaused => {
                subscription(News::Plain)
            }
            EventType::SubscriptionUpdated => subscription(resumed(data.previous_attributes)),
            EventType::SubscriptionResumed => subscription(News::Resumed),
            EventType::SubscriptionDeleted => subscription(News::Deleted),
            EventType::InvoicePaid
            | EventType::InvoicePaymentSucceeded
            | EventType::InvoicePaymentActionRequired
            | EventType::InvoiceFinalizationFailed
            | EventType::InvoiceVoided
            | EventType::InvoiceMarkedUncollectible => invoice(News::Plain),
            EventType::InvoicePaymentFailed => invoice(News::PaymentFailed),
            EventType::InvoicePaymentPaid => {
                let payment: InvoicePayment = from_json(json)?;
                let observation = Self::invoice_payment(&payment, at);
                told(payment.id, Ok(observation))
            }
            EventType::ChargeRefunded => {
                let charge: Charge = from_json(json)?;
                payment(self.charge_refunded(&charge, at))
            }
            EventType::RefundCreated | EventType::RefundUpdated | EventType::RefundFailed => {
                let refund: Refund = from_json(json)?;
                payment(Self::refund(&refund, at))
            }
            EventType::DisputeCreated
            | EventType::DisputeUpdated
            | EventType::DisputeClosed
            | EventType::DisputeFundsWithdrawn
            | EventType::DisputeFundsReinstated => {
                let dispute: Dispute = from_json(json)?;
                payment(Self::dispute(&dispute, at))
            }
            EventType::CreditNoteCreated => {
                let note: CreditNote = from_json(json)?;
                let observation = Self::credit_note(&note, at);
                match observation.subject.invoice.clone() {
                    Some(invoice) => told(invoice, Ok(observation)),
                    None => Ok(None),
                }
            }
            EventType::CustomerDeleted => {
                let customer: Reference = from_json(json)?;
                let about_nothing = customer_deleted(&customer.id, at);
                told(customer.id, Ok(about_nothing))
            }
        }
    }
}

/// What `customer.deleted` says about purchases: nothing by itself.
fn customer_deleted(id: &str, at: OffsetDateTime) -> Observation {
    let subject = Subject {
        customer: Some(id.to_owned()),
        ..Subject::default()
    };
    Observation {
        subject,
        at,
        freshness: Freshness::Event,
        facts: Vec::new(),
    }
}
