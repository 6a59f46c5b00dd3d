//! Another plans file while the service runs: taken whole, or not at all.

use std::sync::{Arc, PoisonError, RwLock};

use metrics::counter;

use super::{Catalogue, CatalogueError};
use crate::services::Services;

/// The catalogue that is sold from. Whoever took its offers keeps them while another takes its place.
pub(in crate::services) struct OnSale(RwLock<Arc<Catalogue>>);

impl OnSale {
    pub(in crate::services) fn new(catalogue: Catalogue) -> Self {
        Self(RwLock::new(Arc::new(catalogue)))
    }

    pub(in crate::services) fn current(&self) -> Arc<Catalogue> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, catalogue: Catalogue) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalogue);
    }
}

impl Services {
    /// Reads the plans file again and sells from it, if every plan can be sold; else the old plans stay, also when
    /// Stripe can't be asked. The log says which.
    pub async fn reload_plans(&self) {
        let reloaded = self.read_plans().await;
        let outcome = match &reloaded {
            Ok(_) => "reloaded",
            Err(CatalogueError::Missing { .. }) => "missing",
            Err(CatalogueError::Malformed { .. }) => "malformed",
            Err(CatalogueError::Wrong { .. }) => "wrong",
            Err(CatalogueError::Stripe(_)) => "stripe",
        };
        counter!("catalogue_reloads_total", "outcome" => outcome).increment(1);
        let file = self.settings.plans.file.display();
        match reloaded {
            Ok(plans) => tracing::info!(%file, plans, "the plans were reloaded"),
            Err(error) => {
                tracing::error!(%file, %error, "the plans were not reloaded; the old ones are sold on");
            }
        }
    }

    async fn read_plans(&self) -> Result<usize, CatalogueError> {
        let catalogue = Catalogue::read(&self.settings.plans.file)?;
        let priced = catalogue.refresh(&self.stripe).await?;
        self.catalogue.replace(catalogue);
        Ok(priced.offers.len())
    }
}
