//! Reading whatever an id names, to learn to whom it leads.

use std::collections::BTreeMap;

use super::account::request;
use crate::stripe::client::{Operation, Stripe, StripeError};
use crate::stripe::objects::{Told, Trace};

/// What an id of Stripe's names, by how it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// `sub_…`.
    Subscription,
    /// `cs_…`.
    Session,
    /// `pi_…`.
    Payment,
    /// `in_…`.
    Invoice,
    /// `ch_…` or `py_…`.
    Charge,
    /// `re_…` or `pyr_…`.
    Refund,
    /// `du_…` or `dp_…`.
    Dispute,
    /// `evt_…`.
    Event,
    /// `cus_…`.
    Customer,
}

impl Named {
    /// What that id names; none that begins otherwise, or holds what no id of Stripe's does.
    pub fn by(id: &str) -> Option<Self> {
        let (prefix, rest) = id.split_once('_')?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if rest.is_empty() || !rest.bytes().all(is_plain) {
            return None;
        }
        Some(match prefix {
            "sub" => Self::Subscription,
            "cs" => Self::Session,
            "pi" => Self::Payment,
            "in" => Self::Invoice,
            "ch" | "py" => Self::Charge,
            "re" | "pyr" => Self::Refund,
            "du" | "dp" => Self::Dispute,
            "evt" => Self::Event,
            "cus" => Self::Customer,
            _ => return None,
        })
    }

    fn operation(self) -> Operation {
        match self {
            Self::Subscription => Operation::RetrieveSubscription,
            Self::Session => Operation::RetrieveSession,
            Self::Payment => Operation::RetrievePaymentIntent,
            Self::Invoice => Operation::RetrieveInvoice,
            Self::Charge => Operation::RetrieveCharge,
            Self::Refund => Operation::RetrieveRefund,
            Self::Dispute => Operation::RetrieveDispute,
            Self::Event => Operation::RetrieveEvent,
            Self::Customer => Operation::RetrieveCustomer,
        }
    }
}

impl Stripe {
    /// Reads what the id names, as far as it tells to whom it leads; of an event the object that it is about.
    pub async fn trace(&self, named: Named, id: &str) -> Result<Trace, StripeError> {
        let operation = named.operation();
        let nothing: BTreeMap<&str, &str> = BTreeMap::new();
        let request = request(operation, id, &nothing);
        if named == Named::Event {
            let told: Told = self.call(operation, request, None).await?.body;
            return Ok(told.data.object);
        }
        Ok(self.call(operation, request, None).await?.body)
    }
}
