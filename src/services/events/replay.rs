//! Events as an operator handles them: look, and apply again what failed.

use super::Events;
use super::group::Way;
use super::ingest::Ingested;
use crate::purchases::Error;
use crate::storage::StorageError;
use crate::storage::webhook_events;
use crate::storage::webhook_events::EventRow;
use crate::stripe::event::{Event, EventType, ParseError};

/// Why an event was not replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Stripe's copy can't be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// Stripe has it no more, or the rows could not be written.
    #[error(transparent)]
    Work(#[from] Error),
}

/// The types of event that Dues acts on: what a webhook endpoint at Stripe should be subscribed to.
pub fn types() -> impl Iterator<Item = &'static str> {
    EventType::ALL.iter().map(|kind| kind.as_str())
}

impl Events {
    /// The newest events, of one state if given.
    pub async fn list(
        &self,
        state: Option<&str>,
        limit: i64,
    ) -> Result<Vec<EventRow>, StorageError> {
        webhook_events::find(&self.pool, state, limit).await
    }

    /// Takes an event that failed or was flagged off the list of what wants attention, for a reason; false when it is not
    /// on it.
    pub async fn dismiss(&self, id: &str, reason: &str) -> Result<bool, StorageError> {
        webhook_events::update_dismissed(&self.pool, id, reason).await
    }

    /// One event.
    pub async fn find(&self, id: &str) -> Result<Option<EventRow>, StorageError> {
        webhook_events::find_by_id(&self.pool, id).await
    }

    /// Reads an event from Stripe and applies it as if it had just arrived, whatever became of it before.
    pub async fn replay(&self, id: &str) -> Result<Ingested, ReplayError> {
        let body = self
            .account
            .client
            .retrieve_event(id)
            .await
            .map_err(Error::from)?;
        let event = self.account.observer.event(body.get().as_bytes())?;
        Ok(self.take_again(&event).await?)
    }

    /// Applies an event whether or not it was before: facts merge any number of times. What is recorded of it is written
    /// with what it changes, so that a failure leaves it on the list of what wants attention.
    pub(super) async fn take_again(&self, event: &Event) -> Result<Ingested, Error> {
        let taken = self.take(event, Way::AGAIN).await?;
        if matches!(taken, Ingested::Foreign | Ingested::Uninteresting) {
            webhook_events::update_ignored(&self.pool, &event.id).await?;
        }
        Ok(taken)
    }
}
