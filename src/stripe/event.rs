//! A webhook's body: a lean envelope, then only the object of a type that we know.

use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::objects::{HasId as _, Invoice, Session, Subscription};
use super::observe::{News, Observer, Unknown};
use crate::domain::facts::{Freshness, Observation};

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

            fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

event_types! {
    SessionCompleted = "checkout.session.completed",
    SessionExpired = "checkout.session.expired",
    SubscriptionCreated = "customer.subscription.created",
    SubscriptionUpdated = "customer.subscription.updated",
    SubscriptionDeleted = "customer.subscription.deleted",
    InvoicePaid = "invoice.paid",
    InvoicePaymentSucceeded = "invoice.payment_succeeded",
    InvoicePaymentFailed = "invoice.payment_failed",
}

#[derive(Deserialize)]
struct Envelope<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    created: i64,
    livemode: bool,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    object: &'a RawValue,
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
    /// What it says; none when it is of a type that we don't act on, or of an object that can't be ours.
    pub content: Option<Content>,
}

/// What an event of a known type says.
#[derive(Clone, Debug)]
pub struct Content {
    /// Its type.
    pub kind: EventType,
    /// The object that it is about.
    pub object_id: String,
    /// What it means, or why that can't be told.
    pub observation: Result<Observation, Unknown>,
}

/// A body that is no event, or an event whose object has an unknown shape.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Not an event.
    #[error("the body is not an event: {0}")]
    Envelope(serde_json::Error),
    /// A known type, but its object can't be read: worth another try with a newer version of Dues.
    #[error("the object of a {} event can't be read: {error}", kind.as_str())]
    Object {
        /// The event's type.
        kind: EventType,
        /// Where it departs from what was expected.
        error: serde_json::Error,
    },
}

impl Observer {
    /// Reads an event: the object only if its type is one that we act on.
    pub fn event(&self, body: &[u8]) -> Result<Event, ParseError> {
        let envelope: Envelope = serde_json::from_slice(body).map_err(ParseError::Envelope)?;
        let created = OffsetDateTime::from_unix_timestamp(envelope.created).map_err(|_| {
            ParseError::Envelope(serde::de::Error::custom("created is out of range"))
        })?;
        let content = match EventType::parse(envelope.kind) {
            Some(kind) => {
                let content = self.content(kind, envelope.data.object, created);
                content.map_err(|error| ParseError::Object { kind, error })?
            }
            None => None,
        };
        Ok(Event {
            id: envelope.id.to_owned(),
            created,
            livemode: envelope.livemode,
            content,
        })
    }

    fn content(
        &self,
        kind: EventType,
        object: &RawValue,
        at: OffsetDateTime,
    ) -> Result<Option<Content>, serde_json::Error> {
        let json = object.get();
        let session = |news| {
            let session: Session = serde_json::from_str(json)?;
            let observation = self.session(&session, at, Freshness::Event, news);
            Ok(Some(Content {
                kind,
                object_id: session.id,
                observation,
            }))
        };
        let subscription = |news| {
            let subscription: Subscription = serde_json::from_str(json)?;
            let observation = self.subscription(&subscription, at, Freshness::Event, news);
            Ok(Some(Content {
                kind,
                object_id: subscription.id,
                observation,
            }))
        };
        let invoice = |news| {
            let invoice: Invoice = serde_json::from_str(json)?;
            let observation = self.invoice(&invoice, at, Freshness::Event, news);
            Ok(observation.map(|facts| Content {
                kind,
                object_id: invoice.id().to_owned(),
                observation: Ok(facts),
            }))
        };
        match kind {
            EventType::SessionCompleted => session(News::SessionCompleted),
            EventType::SessionExpired => session(News::SessionExpired),
            EventType::SubscriptionCreated | EventType::SubscriptionUpdated => {
                subscription(News::Plain)
            }
            EventType::SubscriptionDeleted => subscription(News::Deleted),
            EventType::InvoicePaid | EventType::InvoicePaymentSucceeded => invoice(News::Plain),
            EventType::InvoicePaymentFailed => invoice(News::PaymentFailed),
        }
    }
}
