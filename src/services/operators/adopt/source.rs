//! Where at Stripe it stands whose a subscription is, and by which id another system knows it.

use std::str::FromStr;

use crate::domain::ids::is_external_id;
use crate::stripe::objects::{Expandable, Metadata, Subscription};

/// A key in the metadata of a subscription or of its customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `customer.metadata.KEY`.
    Customer(String),
    /// `subscription.metadata.KEY`.
    Subscription(String),
    /// Nowhere: an operator says it.
    Given(String),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let key = |rest: Option<&str>| rest.filter(|key| !key.is_empty()).map(str::to_owned);
        let customer = key(text.strip_prefix("customer.metadata."));
        let subscription = key(text.strip_prefix("subscription.metadata."));
        let source = customer.map(Self::Customer);
        source
            .or(subscription.map(Self::Subscription))
            .ok_or_else(|| {
                format!("{text:?} is neither customer.metadata.KEY nor subscription.metadata.KEY")
            })
    }
}

impl Source {
    /// The text that stands there, if it can be an id.
    pub(super) fn read<'a>(&'a self, subscription: &'a Subscription) -> Option<&'a str> {
        let (metadata, key): (Option<&Metadata>, &String) = match self {
            Self::Given(text) => return Some(text),
            Self::Customer(key) => {
                let customer = subscription.customer.as_ref().and_then(Expandable::object);
                (customer?.metadata.as_ref(), key)
            }
            Self::Subscription(key) => (subscription.metadata.as_ref(), key),
        };
        let text = metadata?.get(key)?.as_str();
        Some(text).filter(|text| is_external_id(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_names_an_object_and_a_key_of_its_metadata() {
        let customer = Ok(Source::Customer("end_user_id".to_owned()));
        assert_eq!("customer.metadata.end_user_id".parse(), customer);
        let dotted = Ok(Source::Subscription("a.b".to_owned()));
        assert_eq!("subscription.metadata.a.b".parse(), dotted);
        for wrong in [
            "",
            "customer.id",
            "customer.metadata.",
            "invoice.metadata.x",
            "user_id",
        ] {
            assert!(wrong.parse::<Source>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_what_can_be_an_id_is_one() {
        let read = |value: &str| {
            let json = serde_json::json!({"id": "sub_1", "metadata": {"user_id": value}});
            let subscription: Subscription = serde_json::from_value(json).expect("a subscription");
            let source = Source::Subscription("user_id".to_owned());
            source.read(&subscription).map(str::to_owned)
        };
        assert_eq!(read("42").as_deref(), Some("42"));
        for wrong in ["", "\0", &"x".repeat(256)] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
