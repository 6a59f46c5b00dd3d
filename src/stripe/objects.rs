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
mod tracing;

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
pub use self::tracing::*;

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

    /// The object itself, if Stripe expanded it.
    pub fn into_object(self) -> Option<T> {
        match self {
            Self::Id(_) => None,
            Self::Object(object) => Some(*object),
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

/// A field that may be left out may also be null: both mean that nothing is there.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The id of a reference, if there is one.
pub(crate) fn id_of<T: HasId>(reference: Option<&Expandable<T>>) -> Option<String> {
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
#[serde(bound = "T: Deserialize<'de>")]
pub struct List<T> {
    /// Newest first.
    #[serde(default, deserialize_with = "or_default")]
    pub data: Vec<T>,
    /// Whether there are more.
    #[serde(default, deserialize_with = "or_default")]
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
    Customer,
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

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    /// Reads the object, then again with each of the fields being null that Stripe may leave out.
    fn takes_null<T: DeserializeOwned>(object: &Value, optional: &[&str]) {
        let read = |object: &Value| serde_json::from_value::<T>(object.clone()).map(drop);
        read(object).expect("the object itself");
        for field in optional {
            let mut with_null = object.clone();
            with_null[field] = Value::Null;
            read(&with_null).unwrap_or_else(|error| panic!("{field}: {error}"));
        }
    }

    #[test]
    fn what_may_be_left_out_may_be_null() {
        takes_null::<Price>(
            &json!({"id": "price_1", "currency": "eur", "product": "prod_1"}),
            &[
                "active",
                "unit_amount",
                "recurring",
                "lookup_key",
                "currency_options",
            ],
        );
        takes_null::<Subscription>(
            &json!({"id": "sub_1"}),
            &[
                "items",
                "metadata",
                "cancel_at_period_end",
                "pause_collection",
                "latest_invoice",
            ],
        );
        takes_null::<Invoice>(
            &json!({"id": "in_1"}),
            &[
                "id",
                "lines",
                "payments",
                "paid_out_of_band",
                "parent",
                "metadata",
                "due_date",
            ],
        );
        takes_null::<InvoiceLine>(
            &json!({}),
            &[
                "id",
                "discount_amounts",
                "taxes",
                "tax_amounts",
                "proration",
                "period",
                "parent",
            ],
        );
        takes_null::<InvoiceLineParent>(
            &json!({"subscription_item_details": {"proration": null}}),
            &["subscription_item_details", "invoice_item_details"],
        );
        takes_null::<Charge>(
            &json!({"id": "ch_1"}),
            &[
                "disputed",
                "paid",
                "refunded",
                "refunds",
                "metadata",
                "amount_refunded",
            ],
        );
        takes_null::<CreditNote>(&json!({"id": "cn_1"}), &["refunds", "lines", "metadata"]);
        takes_null::<Session>(
            &json!({"id": "cs_1"}),
            &[
                "metadata",
                "line_items",
                "customer",
                "invoice",
                "payment_intent",
                "status",
            ],
        );
        takes_null::<PortalConfiguration>(
            &json!({"id": "bpc_1", "features": {"invoice_history": {"enabled": null}}}),
            &["default_return_url"],
        );
        takes_null::<PortalFeatures>(
            &json!({}),
            &[
                "invoice_history",
                "payment_method_update",
                "subscription_cancel",
                "subscription_pause",
                "subscription_update",
            ],
        );
        takes_null::<List<Reference>>(&json!({"data": []}), &["data", "has_more"]);
        takes_null::<Metadata>(&json!({"a": "b"}), &[]);
    }
}
