//! What operators do: find and understand what members hold, look at a whole deployment, and adopt what another system
//! sold.

pub mod actions;
pub mod acts;
pub mod adopt;
pub mod describe;
pub mod doctor;
pub mod events;
mod lists;
pub mod members;
pub mod search;
pub mod story;
pub mod today;

use std::sync::Arc;

use sqlx::postgres::PgPool;

use super::events::Events;
use crate::purchases::Purchases;

/// What operators do; cloning copies references.
#[derive(Clone)]
pub struct Operators {
    purchases: Arc<Purchases>,
    events: Events,
    pool: PgPool,
}

impl Operators {
    pub(super) fn new(purchases: &Arc<Purchases>, events: Events) -> Self {
        Self {
            events,
            pool: purchases.pool.clone(),
            purchases: Arc::clone(purchases),
        }
    }

    /// The same for work that nobody waits for: its calls to Stripe leave way to others.
    #[must_use]
    pub fn in_background(&self) -> Self {
        Self {
            purchases: Arc::new(self.purchases.in_background()),
            events: self.events.in_background(),
            ..self.clone()
        }
    }
}
