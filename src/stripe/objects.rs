//! Stripe's objects, as little of them as we need, in every shape that the API has had since 2020.
//!
//! Nearly every field is optional: what isn't there in one version stands elsewhere in another, and the accessors know
//! both places. Unknown fields and unknown values of enums pass.

mod account;
mod billing;
mod catalogue;
mod checkout;
mod payments;
mod self_service;

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};
use time::OffsetDateTime;

pub use self::account::*;
pub use self::billing::*;
pub use self::catalogue::*;
pub use self::checkout::*;
pub use self::payments::*;
pub use self::self_service::*;

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

/// The moment that Stripe means by Unix seconds; none beyond the calendar.
pub fn time_of(seconds: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(seconds).ok()
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
    Price,
    ItemPrice,
    LineItem,
    InvoiceLine,
    CreditNote
);

/// An object of which we need the id alone.
#[derive(Clone, Debug, Deserialize)]
pub struct Reference {
    /// Its id.
    pub id: String,
}
