//! What any object tells of whose it is.

use serde::Deserialize;

use super::{Expandable, Metadata, Reference};

/// Any object, as far as it leads to others.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Trace {
    /// Its own.
    pub id: Option<String>,
    /// `cus_…`.
    pub customer: Option<Expandable<Reference>>,
    /// `pi_…`.
    pub payment_intent: Option<Expandable<Reference>>,
    /// `sub_…`; of an invoice before 2025-03-31.
    pub subscription: Option<Expandable<Reference>>,
    /// `in_…`; of a charge before 2025-03-31.
    pub invoice: Option<Expandable<Reference>>,
    /// Of an invoice, since 2025-03-31.
    pub parent: Option<TraceParent>,
}

/// What an invoice came from.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TraceParent {
    /// A subscription.
    pub subscription_details: Option<TraceSubscription>,
}

/// The subscription that an invoice came from.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TraceSubscription {
    /// `sub_…`.
    pub subscription: Option<Expandable<Reference>>,
}

impl Trace {
    /// The ids that it leads to, but for the customer's.
    pub fn leads_to(&self) -> Vec<String> {
        let parent = self.parent.as_ref();
        let parent = parent.and_then(|parent| parent.subscription_details.as_ref());
        let parent = parent.and_then(|details| details.subscription.as_ref());
        let references = [
            self.subscription.as_ref(),
            parent,
            self.invoice.as_ref(),
            self.payment_intent.as_ref(),
        ];
        let ids = references.into_iter().flatten();
        ids.map(|reference| reference.id().to_owned()).collect()
    }
}

/// An event, as far as it tells what it is about.
#[derive(Clone, Debug, Deserialize)]
pub struct Told {
    /// What it tells.
    pub data: ToldData,
}

/// What an event tells.
#[derive(Clone, Debug, Deserialize)]
pub struct ToldData {
    /// What it is about.
    pub object: Trace,
}

/// A customer, for who may know who she is: never logged, never kept.
#[derive(Clone, Debug, Deserialize)]
pub struct Person {
    /// `cus_…`.
    pub id: String,
    /// As she wrote it.
    pub name: Option<String>,
    /// As she wrote it.
    pub email: Option<String>,
    /// Ours.
    pub metadata: Option<Metadata>,
}

impl Person {
    /// The member whom whoever made the customer named in its metadata.
    pub fn user(&self) -> Option<&str> {
        let user = self.metadata.as_ref()?.get("dues_user_id")?;
        Some(user.as_str()).filter(|user| !user.is_empty())
    }
}
