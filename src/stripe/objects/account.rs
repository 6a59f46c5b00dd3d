//! The account as an operator sets it up.

use serde::Deserialize;

use super::or_default;

/// A webhook endpoint.
#[derive(Clone, Deserialize)]
pub struct WebhookEndpoint {
    /// `we_…`.
    pub id: String,
    /// Where events go.
    pub url: String,
    /// `enabled` or `disabled`.
    pub status: String,
    /// Types, or `*`.
    pub enabled_events: Vec<String>,
    /// The shape of its events; none is the account's default.
    pub api_version: Option<String>,
    /// Told once, in the answer to its creation: never logged.
    pub secret: Option<String>,
}

/// How the customer portal looks and what it lets members do.
#[derive(Clone, Debug, Deserialize)]
pub struct PortalConfiguration {
    /// `bpc_…`.
    pub id: String,
    /// Where its link back leads when a session says nothing.
    pub default_return_url: Option<String>,
    /// What members may do.
    pub features: PortalFeatures,
}

/// What the portal lets members do.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct PortalFeatures {
    /// See their invoices.
    #[serde(default, deserialize_with = "or_default")]
    pub invoice_history: Feature,
    /// Change their card.
    #[serde(default, deserialize_with = "or_default")]
    pub payment_method_update: Feature,
    /// Cancel.
    #[serde(default, deserialize_with = "or_default")]
    pub subscription_cancel: Feature,
    /// Pause.
    #[serde(default, deserialize_with = "or_default")]
    pub subscription_pause: Feature,
    /// Switch to another price.
    #[serde(default, deserialize_with = "or_default")]
    pub subscription_update: Feature,
}

/// Something that the portal lets members do or not.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Feature {
    /// Whether it does.
    #[serde(default, deserialize_with = "or_default")]
    pub enabled: bool,
}
