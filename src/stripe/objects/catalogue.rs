//! Prices and products.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Expandable, Reference, or_default};

/// A price.
#[derive(Clone, Debug, Deserialize)]
pub struct Price {
    /// `price_…`.
    pub id: String,
    /// Whether it may be used.
    #[serde(default, deserialize_with = "or_default")]
    pub active: bool,
    /// ISO 4217, lower case.
    pub currency: String,
    /// Minor units of one.
    pub unit_amount: Option<i64>,
    /// `inclusive`, `exclusive`, `unspecified`.
    pub tax_behavior: Option<String>,
    /// How often it renews; none for a one-off.
    pub recurring: Option<Recurring>,
    /// The name under which plans find it.
    pub lookup_key: Option<String>,
    /// What is sold.
    pub product: Expandable<Product>,
    /// The same price in other currencies, when expanded.
    #[serde(default, deserialize_with = "or_default")]
    pub currency_options: BTreeMap<String, CurrencyOption>,
}

/// A price, as far as it tells one line from another.
#[derive(Clone, Debug, Deserialize)]
pub struct PriceReference {
    /// `price_…`.
    pub id: String,
    /// `prod_…`.
    pub product: Option<Expandable<Reference>>,
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
