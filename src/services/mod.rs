//! The use cases, one a file. Each owns its database transactions and the order of things: our rows first, then
//! Stripe, then what Stripe said; never a call to Stripe while a transaction is open.

mod apply;
pub mod cancel;
pub mod cancel_checkout;
pub mod catalogue;
pub mod change;
pub mod compare;
pub mod confirm;
mod customers;
pub mod doctor;
pub mod events;
mod follow;
mod held;
pub mod holdings;
pub mod ingest;
pub mod open_invoices;
pub mod order;
pub mod own_affairs;
pub mod portal;
pub mod reconcile;
pub mod repair;
pub mod settle;
pub mod statement;
pub mod subscribe;
pub mod worker;

pub use self::apply::ApplyError;
pub use crate::storage::StorageError;
pub use crate::stripe::StripeError;
pub use crate::stripe::declines;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::postgres::PgPool;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::settings::{CheckoutPage, Settings};
use crate::storage::{self, MigrationError};
use crate::stripe::Stripe;
use crate::stripe::observe::Observer;
use crate::stripe::requests::checkout;
use crate::stripe::signature::Secrets;

use self::catalogue::reload::OnSale;
use self::catalogue::{Catalogue, CatalogueError};

/// What every use case works with; cloning copies references.
#[derive(Clone)]
pub struct Services {
    pool: PgPool,
    stripe: Stripe,
    observer: Observer,
    secrets: Secrets,
    catalogue: Arc<OnSale>,
    settings: Arc<Settings>,
    clock: Clock,
    /// When Stripe's last webhook came, or else this process was started: Unix seconds.
    last_webhook: Arc<AtomicI64>,
    /// Rung when something was deferred, so that the worker doesn't wait for its interval.
    deferred: Arc<Notify>,
}

/// Why the services can't be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The plans don't hold.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The HTTP client can't be built.
    #[error("the client for Stripe can't be built: {0}")]
    Stripe(String),
    /// Stripe's page has no such language or font.
    #[error("{0}")]
    Page(&'static str),
}

/// What keeps the service from doing its work.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The database does not answer, or its schema isn't this version's.
    #[error(transparent)]
    Database(#[from] MigrationError),
}

impl Services {
    /// Prepares the use cases and checks the plans against Stripe. A Stripe that doesn't answer does not stop the
    /// start: webhooks and members who already paid must be served; the plans are then checked when first asked for.
    pub async fn build(
        pool: PgPool,
        settings: Arc<Settings>,
        clock: Clock,
    ) -> Result<Self, BuildError> {
        let stripe =
            Stripe::new(&settings.stripe).map_err(|error| BuildError::Stripe(error.to_string()))?;
        check_page(&settings.checkout.page)?;
        let catalogue = Catalogue::read(&settings.plans.file)?;
        if let Err(error) = catalogue.refresh(&stripe).await {
            match error {
                CatalogueError::Stripe(ref cause) if !cause.is_refusal() => {
                    tracing::warn!(%error, "the plans could not be checked at start; they will be when first needed");
                }
                error => return Err(error.into()),
            }
        }
        let started = clock.wall().unix_timestamp();
        Ok(Self {
            pool,
            observer: Observer::new(settings.stripe.metadata_key.clone()),
            secrets: Secrets::new(
                settings
                    .stripe
                    .webhook_secrets
                    .iter()
                    .map(crate::settings::Secret::expose),
            ),
            stripe,
            catalogue: Arc::new(OnSale::new(catalogue)),
            settings,
            clock,
            deferred: Arc::new(Notify::new()),
            last_webhook: Arc::new(AtomicI64::new(started)),
        })
    }

    /// The same for work that nobody waits for: its calls to Stripe leave way to others.
    #[must_use]
    pub fn in_background(&self) -> Self {
        Self {
            stripe: self.stripe.in_background(),
            ..self.clone()
        }
    }

    /// Whether the database can be reached and has this version's schema.
    pub async fn ready(&self) -> Result<(), NotReady> {
        Ok(storage::check_migrations(&self.pool).await?)
    }

    /// Seconds since Stripe's last webhook came to this process, or since it was started.
    pub fn webhook_silence(&self) -> i64 {
        let last = self.last_webhook.load(Ordering::Relaxed);
        self.clock.wall().unix_timestamp() - last
    }

    /// Database connections: open, and of these idle.
    pub fn pool_stats(&self) -> (u32, u32) {
        (
            self.pool.size(),
            u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX),
        )
    }
}

/// What only Stripe's own lists tell: otherwise every checkout would be refused.
fn check_page(page: &CheckoutPage) -> Result<(), BuildError> {
    let unless = |text: &Option<String>, is_known: fn(&str) -> bool, what| match text.as_deref() {
        Some(text) if !is_known(text) => Err(BuildError::Page(what)),
        _ => Ok(()),
    };
    unless(
        &page.locale,
        checkout::is_locale,
        "DUES__CHECKOUT__LOCALE is not a language that Stripe's page speaks",
    )?;
    unless(
        &page.branding.font_family,
        checkout::is_font,
        "DUES__CHECKOUT__BRANDING__FONT_FAMILY is not a font that Stripe's page has",
    )
}
