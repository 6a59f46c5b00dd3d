//! What followers are handed: the plans, and what was paid.

use std::pin::Pin;
use std::sync::Arc;

use super::members::Members;
use crate::catalogue::Catalogue;
use crate::domain::ids::TransactionId;
use crate::domain::plan::Plan;
use crate::outward::{Context, NoAmount, Told};
use crate::purchases::Purchases;

/// Reads leave way to who waits.
pub(super) struct Handed {
    catalogue: Arc<Catalogue>,
    members: Members,
}

impl Handed {
    pub(super) fn new(purchases: &Purchases) -> Self {
        Self {
            catalogue: Arc::clone(&purchases.catalogue),
            members: Members::new(&Arc::new(purchases.in_background())),
        }
    }
}

impl Context for Handed {
    fn plan(&self, code: &str) -> Option<Plan> {
        self.catalogue.plan(code)
    }

    fn amount(&self, id: TransactionId) -> Pin<Box<dyn Future<Output = Told> + Send + '_>> {
        Box::pin(async move {
            match self.members.movement(id).await {
                Ok(found) => Ok(found.and_then(|(_, amount)| amount)),
                Err(error) => {
                    tracing::warn!(%error, "what a transaction moved could not be read");
                    Err(NoAmount("Stripe can't be asked what was paid".to_owned()))
                }
            }
        })
    }
}
