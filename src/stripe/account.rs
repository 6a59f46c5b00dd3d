//! One account at Stripe, as one value: how to call it, how to read it, and by what it is known.

use super::client::Stripe;
use super::observe::Observer;
use super::signature::Secrets;
use crate::settings::{Secret, Settings};

/// An account at Stripe; cloning copies references.
#[derive(Clone)]
pub struct Account {
    /// Calls it.
    pub client: Stripe,
    /// Translates its objects.
    pub observer: Observer,
    /// What its webhooks are signed with.
    pub secrets: Secrets,
    /// Live or test.
    pub livemode: bool,
}

impl Account {
    /// The account that the settings name; nothing is sent yet.
    pub fn new(settings: &Settings) -> Result<Self, reqwest::Error> {
        Ok(Self {
            client: Stripe::new(&settings.stripe)?,
            observer: Observer::new(settings.stripe.metadata_key.clone()),
            secrets: Secrets::new(settings.stripe.webhook_secrets.iter().map(Secret::expose)),
            livemode: settings.livemode(),
        })
    }

    /// The same for work that nobody waits for: its calls leave way to others.
    #[must_use]
    pub fn in_background(&self) -> Self {
        Self {
            client: self.client.in_background(),
            ..self.clone()
        }
    }
}
