//! The account as an operator sets it up.

use serde::Deserialize;

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
#[serde(default)]
pub struct PortalFeatures {
    /// See their invoices.
    pub invoice_history: Feature,
    /// Change their card.
    pub payment_method_update: Feature,
    /// Cancel.
    pub subscription_cancel: Feature,
    /// Pause.
    pub subscription_pause: Feature,
    /// Switch to another price.
    pub subscription_update: Feature,
}

/// Something that the portal lets members do or not.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Feature {
    /// Whether it does.
    pub enabled: bool,
}
