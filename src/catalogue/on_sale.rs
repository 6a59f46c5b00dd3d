//! What is on sale: the plans of the file that was read last, with prices that are kept fresh behind everybody's back.
//! Another file while the service runs is taken whole, or not at all.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use metrics::counter;

use super::{CatalogueError, Offer, Plans, Priced};
use crate::settings;
use crate::stripe::Stripe;

/// What is on sale; cloning copies references. Whoever took its offers keeps them while others take their place.
#[derive(Clone)]
pub struct Catalogue {
    stripe: Stripe,
    plans: Arc<RwLock<Arc<Plans>>>,
    file: PathBuf,
    /// How old prices may be before they are read again.
    refresh: Duration,
}

impl Catalogue {
    /// Reads the plans file and checks it against Stripe. A Stripe that doesn't answer does not stop the start:
    /// webhooks and members who already paid must be served; the plans are then checked when first asked for.
    pub async fn open(settings: &settings::Plans, stripe: Stripe) -> Result<Self, CatalogueError> {
        let plans = Plans::read(&settings.file)?;
        if let Err(error) = plans.refresh(&stripe).await {
            match error {
                CatalogueError::Stripe(ref cause) if !cause.is_refusal() => {
                    tracing::warn!(%error, "the plans could not be checked at start; they will be when first needed");
                }
                error => return Err(error),
            }
        }
        Ok(Self {
            stripe,
            plans: Arc::new(RwLock::new(Arc::new(plans))),
            file: settings.file.clone(),
            refresh: settings.refresh,
        })
    }

    /// The same for work that nobody waits for.
    #[must_use]
    pub fn in_background(&self) -> Self {
        Self {
            stripe: self.stripe.in_background(),
            ..self.clone()
        }
    }

    /// The plans as they are now.
    pub(crate) fn current(&self) -> Arc<Plans> {
        Arc::clone(&self.plans.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The plans with their prices: at once from memory once they were read, refreshed behind the caller's back.
    pub async fn offers(&self) -> Result<Arc<Vec<Offer>>, CatalogueError> {
        Ok(self.priced().await?.offers)
    }

    /// The same, with how old the prices are, and whether they are older than they should be because Stripe can't be
    /// asked.
    pub async fn priced_offers(&self) -> Result<(Arc<Vec<Offer>>, Duration, bool), CatalogueError> {
        let priced = self.priced().await?;
        let age = priced.at.elapsed();
        let failing = self.current().failing.load(Ordering::Relaxed);
        Ok((priced.offers, age, failing && age > self.refresh))
    }

    async fn priced(&self) -> Result<Priced, CatalogueError> {
        let plans = self.current();
        if let Some(priced) = plans.held() {
            if priced.at.elapsed() > self.refresh {
                let stripe = self.stripe.clone();
                tokio::spawn(async move {
                    let Ok(_one_at_a_time) = plans.refreshing.try_lock() else {
                        return;
                    };
                    let refreshed = plans.refresh(&stripe).await;
                    plans.failing.store(refreshed.is_err(), Ordering::Relaxed);
                    if let Err(error) = refreshed {
                        tracing::warn!(%error, "the plans' prices could not be refreshed; the last known are served");
                    }
                });
            }
            return Ok(priced);
        }
        let _one_at_a_time = plans.refreshing.lock().await;
        match plans.held() {
            Some(priced) => Ok(priced),
            None => plans.refresh(&self.stripe).await,
        }
    }

    /// Reads the plans' prices anew, unless somebody just did.
    pub(crate) async fn read_prices(&self) -> Result<(), CatalogueError> {
        let plans = self.current();
        let _one_at_a_time = plans.refreshing.lock().await;
        if !plans.known().1 {
            plans.refresh(&self.stripe).await?;
        }
        Ok(())
    }

    /// Reads the plans file again and sells from it, if every plan can be sold; else the old plans stay, also when
    /// Stripe can't be asked. The log says which.
    pub async fn reload(&self) {
        let reloaded = self.read_plans().await;
        let outcome = match &reloaded {
            Ok(_) => "reloaded",
            Err(CatalogueError::Missing { .. }) => "missing",
            Err(CatalogueError::Malformed { .. }) => "malformed",
            Err(CatalogueError::Wrong { .. }) => "wrong",
            Err(CatalogueError::Stripe(_)) => "stripe",
        };
        counter!("catalogue_reloads_total", "outcome" => outcome).increment(1);
        let file = self.file.display();
        match reloaded {
            Ok(plans) => tracing::info!(%file, plans, "the plans were reloaded"),
            Err(error) => {
                tracing::error!(%file, %error, "the plans were not reloaded; the old ones are sold on");
            }
        }
    }

    async fn read_plans(&self) -> Result<usize, CatalogueError> {
        let plans = Plans::read(&self.file)?;
        let priced = plans.refresh(&self.stripe).await?;
        *self.plans.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(plans);
        Ok(priced.offers.len())
    }
}
