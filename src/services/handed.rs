//! What followers are handed: the plans, and what was paid.

use std::pin::Pin;
use std::sync::Arc;

use super::members::Members;
use super::members::statement::StatementError;
use crate::catalogue::Catalogue;
use crate::domain::ids::TransactionId;
use crate::domain::plan::Plan;
use crate::outward::{Context, NoAmount, Told};
use crate::purchases::{Purchases, Trouble};

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
                    Err(no_amount(&error))
                }
            }
        })
    }
}

/// One payment that can't be read must not keep everybody's from being told.
fn no_amount(error: &StatementError) -> NoAmount {
    let unreadable = NoAmount::Unreadable("what was paid can't be read at Stripe");
    let StatementError::Failed(error) = error else {
        return unreadable;
    };
    if error.is_unreadable() {
        return unreadable;
    }
    match error.trouble() {
        Trouble::StripeAway | Trouble::StripeTimedOut => {
            NoAmount::Away("Stripe can't be asked what was paid")
        }
        Trouble::DatabaseAway | Trouble::Busy => NoAmount::Away("our own database does not answer"),
        Trouble::CurrencyLocked | Trouble::StripeRefused | Trouble::Fault => unreadable,
    }
}
