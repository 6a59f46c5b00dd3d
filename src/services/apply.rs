//! The one way in which anything that Stripe says reaches our rows: find the basket, check that the source may speak
//! about it, merge, write guarded by the versions that were read.

use time::Duration;

use super::Services;
use crate::domain::facts::{Contradiction, Observation};
use crate::domain::lifecycle;
use crate::domain::subscription::Basket;
use crate::storage::StorageError;
use crate::storage::baskets::{self, By, Written};
use crate::storage::webhook_events::{EventRecord, EventState};

/// How often a write is tried anew when somebody else was faster. Each time somebody else made progress.
pub(super) const MAX_TRIES: u32 = 25;

/// Why an observation could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The object claims a row that isn't its own.
    #[error("{}", .0.as_str())]
    Contradiction(Contradiction),
    /// The rows kept moving; another try will do.
    #[error("the rows kept moving while they were written")]
    Contended,
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A basket after an observation was applied to it.
#[derive(Debug)]
pub(super) struct Applied {
    /// As it is in the database now.
    pub basket: Basket,
    /// Whether Stripe must be read to be sure.
    pub doubtful: bool,
}

impl Services {
    /// Merges an observation into the basket as it was read and writes what has changed; none when a line has moved.
    ///
    /// An event is recorded in the same statement: as deferred, for the worker, when it leaves a doubt.
    pub(super) async fn write(
        &self,
        before: &Basket,
        observation: &Observation,
        event: Option<EventRecord<'_>>,
        by: &By<'_>,
    ) -> Result<(Written, Applied), ApplyError> {
        observation
            .subject
            .check(before)
            .map_err(ApplyError::Contradiction)?;
        let now = self.clock.now();
        let mut after = before.clone();
        let margin =
            Duration::try_from(self.settings.stripe.snapshot_margin).unwrap_or(Duration::MAX);
        let merged = lifecycle::merge(&mut after, observation, margin, now);
        let event = event.map(|event| {
            if merged.doubtful {
                EventRecord {
                    state: EventState::Deferred,
                    next_attempt_at: Some(now),
                    ..event
                }
            } else {
                event
            }
        });
        let nothing_new = event.is_none() && merged.transactions.is_empty() && after == *before;
        let written = if nothing_new {
            Written::Done
        } else {
            let mut connection = self.pool.acquire().await.map_err(StorageError::from)?;
            baskets::update(
                &mut connection,
                before,
                &after,
                &merged.transactions,
                event.as_ref(),
                by,
                now,
            )
            .await?
        };
        if written == Written::Done {
            for (old, new) in before
                .lines
                .iter()
                .zip(&after.lines)
                .filter(|(old, new)| old.status != new.status)
            {
                tracing::info!(
                    subscription_id = %new.id, from = old.status.as_str(), to = new.status.as_str(),
                    reason = new.reason.as_str(), cause = by.cause.as_str(), "status changed"
                );
            }
            if merged.doubtful {
                self.deferred.notify_one();
            }
        }
        Ok((
            written,
            Applied {
                basket: after,
                doubtful: merged.doubtful,
            },
        ))
    }

    /// Applies facts that don't depend on when they are merged to the basket with that id.
    pub(super) async fn apply_to(
        &self,
        mut basket: Basket,
        observation: &Observation,
        by: &By<'_>,
    ) -> Result<Applied, ApplyError> {
        for _ in 0..MAX_TRIES {
            let (written, applied) = self.write(&basket, observation, None, by).await?;
            if written != Written::Moved {
                return Ok(applied);
            }
            match baskets::find_by_id(&self.pool, basket.checkout.id).await? {
                Some(newer) => basket = newer,
                None => break,
            }
        }
        Err(ApplyError::Contended)
    }
}
