//! Checkout Sessions.

use serde::Deserialize;

use super::{
    Expandable, Invoice, List, Metadata, PaymentIntent, PriceReference, Reference, Subscription,
};

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
    /// When it was opened: Unix seconds.
    pub created: Option<i64>,
    /// ISO 4217, lower case.
    pub currency: Option<String>,
}

/// A line of a Checkout Session.
#[derive(Clone, Debug, Deserialize)]
pub struct LineItem {
    /// `li_…`.
    pub id: String,
    /// Ours.
    pub metadata: Option<Metadata>,
    /// What the buyer read.
    pub description: Option<String>,
    /// How many.
    pub quantity: Option<i64>,
    /// Minor units, after discounts, with tax.
    pub amount_total: Option<i64>,
    /// Minor units.
    pub amount_tax: Option<i64>,
    /// At which price.
    pub price: Option<PriceReference>,
}
