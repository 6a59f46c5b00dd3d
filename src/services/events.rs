//! Events as an operator handles them: look, and apply again what failed.

use super::Services;
use super::ingest::{Ingested, ParseError};
use super::subscribe::SubscribeError;
use crate::domain::facts::Cause;
use crate::storage::StorageError;
use crate::storage::webhook_events;
pub use crate::storage::webhook_events::EventRow;
use crate::stripe::event::EventType;

/// Why an event was not replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Stripe's copy can't be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// Stripe has it no more, or the rows could not be written.
    #[error(transparent)]
    Work(#[from] SubscribeError),
}

/// The types of event that Dues acts on: what a webhook endpoint at Stripe should be subscribed to.
pub fn types() -> impl Iterator<Item = &'static str> {
    EventType::ALL.iter().map(|kind| kind.as_str())
}

impl Services {
    /// The newest events, of one state if given.
    pub async fn events(
        &self,
        state: Option<&str>,
        limit: i64,
    ) -> Result<Vec<EventRow>, StorageError> {
        webhook_events::find(&self.pool, state, limit).await
    }

    /// One event.
    pub async fn event(&self, id: &str) -> Result<Option<EventRow>, StorageError> {
        webhook_events::find_by_id(&self.pool, id).await
    }

    /// Reads an event from Stripe and applies it as if it had just arrived, whatever became of it before.
    pub async fn replay(&self, id: &str) -> Result<Ingested, ReplayError> {
        let body = self
            .stripe
            .retrieve_event(id)
            .await
            .map_err(SubscribeError::from)?;
        let event = self.observer.event(body.get().as_bytes())?;
        // Facts merge any number of times, so forgetting that it was seen does no harm.
        webhook_events::delete(&self.pool, id)
            .await
            .map_err(SubscribeError::from)?;
        Ok(self
            .take(&event, Cause::Reconcile)
            .await
            .map_err(SubscribeError::from)?)
    }
}
