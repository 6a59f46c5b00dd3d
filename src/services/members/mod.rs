//! What members do: order, come back, look at what they hold, cancel, change, pay, and have it on paper.

mod cancel;
mod cancel_checkout;
mod change;
pub mod confirm;
mod held;
pub mod lines;
pub mod open_invoices;
pub mod order;
pub mod portal;
mod returning;
pub mod statement;
pub mod subscribe;

use std::sync::Arc;

use sqlx::postgres::PgPool;

use self::returning::Returning;
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::domain::ids::{SubscriptionId, UserId};
use crate::purchases::Purchases;
use crate::purchases::line::{Line, WishError};
use crate::settings::Settings;
use crate::stripe::Account;

/// What members do; cloning copies references.
#[derive(Clone)]
pub struct Members {
    purchases: Arc<Purchases>,
    pool: PgPool,
    account: Arc<Account>,
    catalogue: Arc<Catalogue>,
    settings: Arc<Settings>,
    clock: Clock,
    returning: Arc<Returning>,
}

impl Members {
    pub(super) fn new(purchases: &Arc<Purchases>) -> Self {
        Self {
            pool: purchases.pool.clone(),
            account: Arc::clone(&purchases.account),
            catalogue: Arc::clone(&purchases.catalogue),
            settings: Arc::clone(&purchases.settings),
            clock: purchases.clock.clone(),
            returning: Arc::default(),
            purchases: Arc::clone(purchases),
        }
    }

    /// One of the member's lines; somebody else's is not there.
    async fn own(&self, user: &UserId, id: SubscriptionId) -> Result<Line, WishError> {
        let line = self.purchases.line(id).await?;
        line.filter(|line| line.basket.checkout.user == *user)
            .ok_or(WishError::NotFound)
    }
}
