//! Stripe's objects, as little of them as we need, in every shape that the API has had since 2020.
//!
//! Nearly every field is optional: what isn't there in one version stands elsewhere in another, and the accessors know
//! both places. Unknown fields and unknown values of enums pass.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};

/// Key-value pairs of an object.
pub type Metadata = BTreeMap<String, String>;

/// A reference that Stripe gives as an id or, when asked to expand it, as the object.
#[derive(Clone, Debug)]
pub enum Expandable<T> {
    /// The id alone.
    Id(String),
    /// The object.
    Object(Box<T>),
}

/// An object that has an id.
pub trait HasId {
    /// Its id.
    fn id(&self) -> &str;
}

impl<T: HasId> Expandable<T> {
    /// The id, expanded or not.
    pub fn id(&self) -> &str {
        match self {
            Self::Id(id) => id,
            Self::Object(object) => object.id(),
        }
    }

    /// The object, if Stripe expanded it.
    pub fn object(&self) -> Option<&T> {
        match self {
            Self::Id(_) => None,
            Self::Object(object) => Some(object),
        }
    }
}

/// The id of a reference, if there is one.
pub(super) fn id_of<T: HasId>(reference: Option<&Expandable<T>>) -> Option<String> {
    reference.map(|reference| reference.id().to_owned())
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Expandable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdOrObject<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for IdOrObject<T> {
            type Value = Expandable<T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an id or an object")
            }

            fn visit_str<E>(self, id: &str) -> Result<Self::Value, E> {
                Ok(Expandable::Id(id.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
                    .map(|object| Expandable::Object(Box::new(object)))
            }
        }
        deserializer.deserialize_any(IdOrObject(PhantomData))
    }
}

/// A page of a list.
#[derive(Clone, Debug, Deserialize)]
pub struct List<T> {
    /// Newest first.
    pub data: Vec<T>,
    /// Whether there are more.
    #[serde(default)]
    pub has_more: bool,
}

macro_rules! has_id {
    ($($object:ident),+) => { $(impl HasId for $object {
        fn id(&self) -> &str {
            &self.id
        }
    })+ };
}
has_id!(
    Reference,
    Session,
    Subscription,
    Invoice,
    PaymentIntent,
    Charge,
    Product,
    Price
);

/// An object of which we need the id alone.
#[derive(Clone, Debug, Deserialize)]
pub struct Reference {
    /// Its id.
    pub id: String,
}

/// A Checkout Session.
#[derive(Clone, Debug, Deserialize)]
pub struct Session {
    /// `cs_…`.
    pub id: String,
    /// Test or live.
    pub livemode: Option<bool>,
    /// `payment`, `subscription`, `setup`.
    pub mode: Option<String>,
    /// `open`, `complete`, `expired`.
    pub status: Option<String>,
    /// `paid`, `unpaid`, `no_payment_required`.
    pub payment_status: Option<String>,
    /// Minor units; used only to tell money from none.
    pub amount_total: Option<i64>,
    /// Our checkout id.
    pub client_reference_id: Option<String>,
    /// Ours.
    pub metadata: Option<Metadata>,
    /// `cus_…`.
    pub customer: Option<Expandable<Reference>>,
    /// In subscription mode, once complete.
    pub subscription: Option<Expandable<Subscription>>,
    /// In subscription mode, once complete.
    pub invoice: Option<Expandable<Invoice>>,
    /// In payment mode.
    pub payment_intent: Option<Expandable<PaymentIntent>>,
    /// When expanded.
    pub line_items: Option<List<LineItem>>,
    /// The hosted page: a bearer link, never logged.
    pub url: Option<String>,
    /// Unix seconds.
    pub expires_at: Option<i64>,
}

/// A line of a Checkout Session.
#[derive(Clone, Debug, Deserialize)]
pub struct LineItem {
    /// `li_…`.
    pub id: String,
    /// Ours.
    pub metadata: Option<Metadata>,
}

/// A subscription at Stripe.
#[derive(Clone, Debug, Deserialize)]
pub struct Subscription {
    /// `sub_…`.
    pub id: String,
    /// Test or live.
    pub livemode: Option<bool>,
    /// See [`crate::domain::subscription::StripeStatus`].
    pub status: Option<String>,
    /// `cus_…`.
    pub customer: Option<Expandable<Reference>>,
    /// Ours.
    pub metadata: Option<Metadata>,
    /// With their periods since 2025-03-31.
    pub items: Option<List<SubscriptionItem>>,
    /// Unix seconds; before 2025-03-31.
    pub current_period_end: Option<i64>,
    /// Unix seconds.
    pub cancel_at: Option<i64>,
    /// Ends with its period.
    #[serde(default)]
    pub cancel_at_period_end: bool,
    /// Unix seconds.
    pub ended_at: Option<i64>,
    /// Set while Stripe collects nothing.
    pub pause_collection: Option<IgnoredAny>,
    /// The newest invoice.
    pub latest_invoice: Option<Expandable<Invoice>>,
}

/// An item of a subscription.
#[derive(Clone, Debug, Deserialize)]
pub struct SubscriptionItem {
    /// Unix seconds; since 2025-03-31.
    pub current_period_end: Option<i64>,
}

impl Subscription {
    /// When the first of its items' periods ends: Unix seconds.
    pub fn period_end(&self) -> Option<i64> {
        let items = self.items.iter().flat_map(|items| &items.data);
        items
            .filter_map(|item| item.current_period_end)
            .min()
            .or(self.current_period_end)
    }
}

/// An invoice.
#[derive(Clone, Debug, Deserialize)]
pub struct Invoice {
    /// `in_…`; empty for an upcoming one, which has none.
    #[serde(default)]
    pub id: String,
    /// Test or live.
    pub livemode: Option<bool>,
    /// `draft`, `open`, `paid`, `void`, `uncollectible`.
    pub status: Option<String>,
    /// `subscription_create`, `subscription_cycle`, …
    pub billing_reason: Option<String>,
    /// Minor units; used only to tell money from none.
    pub amount_paid: Option<i64>,
    /// Minor units; used only to tell money from none.
    pub total: Option<i64>,
    /// How often payment was tried.
    pub attempt_count: Option<u64>,
    /// `cus_…`.
    pub customer: Option<Expandable<Reference>>,
    /// Since 2025-03-31.
    pub parent: Option<InvoiceParent>,
    /// Before 2025-03-31.
    pub subscription: Option<Expandable<Reference>>,
    /// Before 2025-03-31, from 2023 on.
    pub subscription_details: Option<SubscriptionDetails>,
    /// The only place before 2023 where the subscription's metadata stands.
    pub lines: Option<List<InvoiceLine>>,
    /// Before 2025-03-31.
    pub payment_intent: Option<Expandable<Reference>>,
    /// Since 2025-03-31, when expanded.
    pub payments: Option<List<InvoicePayment>>,
    /// When it changed.
    pub status_transitions: Option<StatusTransitions>,
}

/// A line of an invoice.
#[derive(Clone, Debug, Deserialize)]
pub struct InvoiceLine {
    /// Of a subscription's line at first a copy of the subscription's.
    pub metadata: Option<Metadata>,
}

/// What an invoice is for.
#[derive(Clone, Debug, Deserialize)]
pub struct InvoiceParent {
    /// When it is for a subscription.
    pub subscription_details: Option<SubscriptionDetails>,
}

/// The subscription of an invoice.
#[derive(Clone, Debug, Deserialize)]
pub struct SubscriptionDetails {
    /// `sub_…`.
    pub subscription: Option<Expandable<Reference>>,
    /// A copy of the subscription's.
    pub metadata: Option<Metadata>,
}

/// When an invoice changed.
#[derive(Clone, Debug, Deserialize)]
pub struct StatusTransitions {
    /// Unix seconds.
    pub paid_at: Option<i64>,
}

/// A payment of an invoice.
#[derive(Clone, Debug, Deserialize)]
pub struct InvoicePayment {
    /// `inpay_…`.
    #[serde(default)]
    pub id: String,
    /// The invoice.
    pub invoice: Option<Expandable<Invoice>>,
    /// `open`, `paid`, `canceled`.
    pub status: Option<String>,
    /// What paid.
    pub payment: Option<InvoicePaymentSource>,
}

impl InvoicePayment {
    /// `pi_…` of what paid.
    pub fn payment_intent_id(&self) -> Option<&str> {
        self.payment
            .as_ref()?
            .payment_intent
            .as_ref()
            .map(Expandable::id)
    }
}

/// What paid an invoice.
#[derive(Clone, Debug, Deserialize)]
pub struct InvoicePaymentSource {
    /// `pi_…`.
    pub payment_intent: Option<Expandable<Reference>>,
}

impl Invoice {
    fn details(&self) -> Option<&SubscriptionDetails> {
        self.parent
            .as_ref()
            .and_then(|parent| parent.subscription_details.as_ref())
    }

    /// When it was paid: Unix seconds.
    pub fn paid_at(&self) -> Option<i64> {
        self.status_transitions.as_ref()?.paid_at
    }

    /// `sub_…`, wherever it stands.
    pub fn subscription_id(&self) -> Option<&str> {
        let nested = self
            .details()
            .and_then(|details| details.subscription.as_ref());
        nested.or(self.subscription.as_ref()).map(Expandable::id)
    }

    /// The copy of the subscription's metadata, wherever it stands.
    pub fn subscription_metadata(&self) -> Option<&Metadata> {
        self.details()
            .or(self.subscription_details.as_ref())
            .and_then(|details| details.metadata.as_ref())
    }

    /// `pi_…` of what paid it, where the object tells.
    pub fn payment_intent_id(&self) -> Option<&str> {
        let payments = self.payments.iter().flat_map(|payments| &payments.data);
        let paid = payments
            .filter(|payment| payment.status.as_deref() == Some("paid"))
            .find_map(|payment| payment.payment.as_ref()?.payment_intent.as_ref());
        paid.or(self.payment_intent.as_ref()).map(Expandable::id)
    }
}

/// A payment intent.
#[derive(Clone, Debug, Deserialize)]
pub struct PaymentIntent {
    /// `pi_…`.
    pub id: String,
    /// `cus_…`.
    pub customer: Option<Expandable<Reference>>,
    /// Ours, on a payment without an invoice.
    pub metadata: Option<Metadata>,
    /// The charge that succeeded, or the last that failed.
    pub latest_charge: Option<Expandable<Charge>>,
}

/// A charge.
#[derive(Clone, Debug, Deserialize)]
pub struct Charge {
    /// `ch_…`.
    pub id: String,
    /// `pi_…`.
    pub payment_intent: Option<Expandable<Reference>>,
    /// `cus_…`.
    pub customer: Option<Expandable<Reference>>,
    /// The payment intent's, on a payment without an invoice.
    pub metadata: Option<Metadata>,
    /// Unix seconds.
    pub created: Option<i64>,
    /// Whether money came.
    #[serde(default)]
    pub paid: bool,
    /// Whether all of it went back.
    #[serde(default)]
    pub refunded: bool,
    /// Minor units of all refunds so far; used only to tell some from none.
    pub amount_refunded: Option<i64>,
    /// Before 2022-11-15.
    pub refunds: Option<List<Refund>>,
}

/// A refund.
#[derive(Clone, Debug, Deserialize)]
pub struct Refund {
    /// `re_…`.
    pub id: String,
    /// `pending`, `requires_action`, `succeeded`, `failed`, `canceled`.
    pub status: Option<String>,
    /// `pi_…`.
    pub payment_intent: Option<Expandable<Reference>>,
    /// Unix seconds.
    pub created: Option<i64>,
    /// May name the lines that are refunded.
    pub metadata: Option<Metadata>,
}

/// A dispute.
#[derive(Clone, Debug, Deserialize)]
pub struct Dispute {
    /// `du_…` or `dp_…`.
    pub id: String,
    /// `needs_response`, `won`, `lost`, `warning_closed`, …
    pub status: Option<String>,
    /// `pi_…`.
    pub payment_intent: Option<Expandable<Reference>>,
    /// Unix seconds.
    pub created: Option<i64>,
}

/// A credit note.
#[derive(Clone, Debug, Deserialize)]
pub struct CreditNote {
    /// `cn_…`.
    pub id: String,
    /// The invoice that it corrects.
    pub invoice: Option<Expandable<Reference>>,
    /// May name the lines that it is about.
    pub metadata: Option<Metadata>,
    /// The refunds that it made or took over.
    #[serde(default)]
    pub refunds: Vec<CreditedRefund>,
    /// The same before 2025-03-31.
    pub refund: Option<Expandable<Reference>>,
}

/// A refund of a credit note.
#[derive(Clone, Debug, Deserialize)]
pub struct CreditedRefund {
    /// `re_…`.
    pub refund: Expandable<Reference>,
}

impl CreditNote {
    /// Whether it made or took over that refund.
    pub fn has_refund(&self, id: &str) -> bool {
        let listed = self.refunds.iter().map(|credited| &credited.refund);
        listed.chain(&self.refund).any(|refund| refund.id() == id)
    }
}

/// A price.
#[derive(Clone, Debug, Deserialize)]
pub struct Price {
    /// `price_…`.
    pub id: String,
    /// Whether it may be used.
    #[serde(default)]
    pub active: bool,
    /// ISO 4217, lower case.
    pub currency: String,
    /// Minor units of one.
    pub unit_amount: Option<i64>,
    /// How often it renews; none for a one-off.
    pub recurring: Option<Recurring>,
    /// The name under which plans find it.
    pub lookup_key: Option<String>,
    /// What is sold.
    pub product: Expandable<Product>,
    /// The same price in other currencies, when expanded.
    #[serde(default)]
    pub currency_options: BTreeMap<String, CurrencyOption>,
}

/// How often a price renews.
#[derive(Clone, Debug, Deserialize)]
pub struct Recurring {
    /// `day`, `week`, `month`, `year`.
    pub interval: String,
    /// Every how many of these.
    pub interval_count: u64,
}

/// A price in another currency.
#[derive(Clone, Debug, Deserialize)]
pub struct CurrencyOption {
    /// Minor units of one.
    pub unit_amount: Option<i64>,
}

/// A product.
#[derive(Clone, Debug, Deserialize)]
pub struct Product {
    /// `prod_…`.
    pub id: String,
    /// Whether it may be sold.
    pub active: Option<bool>,
    /// What people read.
    pub name: Option<String>,
    /// What people read.
    pub description: Option<String>,
}
