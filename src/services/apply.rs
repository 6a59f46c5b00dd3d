//! The one way in which anything that Stripe says reaches our rows: find the basket, check that the source may speak
//! about it, merge, let the plan follow the price, write guarded by the versions that were read.

use std::ops::ControlFlow;

use time::{Duration, OffsetDateTime};

use super::Services;
use super::follow::{Followed, HELD_ALREADY, UNKNOWN_PRICE, keep_plans};
use super::subscribe::SubscribeError;
use crate::domain::facts::{Contradiction, Observation, Transaction};
use crate::domain::ids::SubscriptionId;
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
    /// Whether the plans' prices must be read to tell which plan it is.
    pub needs_prices: bool,
    /// Why a person should look, though all of it was applied.
    pub flag: Option<&'static str>,
}

impl Applied {
    /// A basket of which nothing is left to be said.
    pub(super) fn of(basket: Basket) -> Self {
        Self {
            basket,
            doubtful: false,
            needs_prices: false,
            flag: None,
        }
    }
}

impl Services {
    /// Merges an observation into the basket as it was read and writes what has changed; none when a line has moved.
    ///
    /// An event is recorded in the same statement: as deferred, for the worker, when it leaves a doubt; as flagged
    /// when a person should look.
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
        let followed = self.follow_price(before, &mut after);
        let mut applied = Applied {
            basket: after,
            doubtful: merged.doubtful || followed == Followed::Later,
            needs_prices: followed == Followed::Later,
            flag: (followed == Followed::Unknown).then_some(UNKNOWN_PRICE),
        };
        let nothing_new =
            event.is_none() && merged.transactions.is_empty() && applied.basket == *before;
        let written = if nothing_new {
            Written::Done
        } else {
            self.store(before, &mut applied, &merged.transactions, event, by, now)
                .await?
        };
        if written == Written::Done {
            self.tell(before, &applied, by);
        }
        Ok((written, applied))
    }

    /// Writes what has changed. A plan that the member holds already is not taken over a second time: the line keeps
    /// the one that it has.
    pub(super) async fn store(
        &self,
        before: &Basket,
        applied: &mut Applied,
        transactions: &[(SubscriptionId, Transaction)],
        event: Option<EventRecord<'_>>,
        by: &By<'_>,
        now: OffsetDateTime,
    ) -> Result<Written, StorageError> {
        let mut connection = self.pool.acquire().await?;
        loop {
            let event = event.map(|event| recorded(event, applied, now));
            let after = &applied.basket;
            let event = event.as_ref();
            let written =
                baskets::update(&mut connection, before, after, transactions, event, by, now).await;
            match written {
                Err(error) if error.is_held_already() && applied.flag != Some(HELD_ALREADY) => {
                    keep_plans(before, &mut applied.basket);
                    applied.flag = Some(HELD_ALREADY);
                }
                Ok(Written::Done) => {
                    count_up(before, &mut applied.basket);
                    return Ok(Written::Done);
                }
                written => return written,
            }
        }
    }

    fn tell(&self, before: &Basket, applied: &Applied, by: &By<'_>) {
        let pairs = before.lines.iter().zip(&applied.basket.lines);
        for (old, new) in pairs {
            let (subscription_id, cause) = (new.id, by.cause.as_str());
            if old.status != new.status {
                let (from, to, reason) = (
                    old.status.as_str(),
                    new.status.as_str(),
                    new.reason.as_str(),
                );
                tracing::info!(%subscription_id, from, to, reason, cause, "status changed");
            }
            if old.plan != new.plan {
                tracing::info!(%subscription_id, from = old.plan, to = new.plan, cause, "plan changed");
            }
        }
        if let Some(flag) = applied.flag {
            let checkout_id = before.checkout.id;
            tracing::warn!(%checkout_id, flag, cause = by.cause.as_str(), "a person should look");
        }
        if applied.doubtful {
            self.deferred.notify_one();
        }
    }

    /// Writes what was read from Stripe after the basket was. Broken off: done. Else the rows have moved, or the
    /// plans' prices had to be read: here is the basket as it is now, and Stripe must be read again.
    pub(super) async fn write_read(
        &self,
        basket: &Basket,
        observation: &Observation,
        by: &By<'_>,
    ) -> Result<ControlFlow<Applied, Basket>, SubscribeError> {
        let (written, applied) = self.write(basket, observation, None, by).await?;
        if written != Written::Moved {
            if !applied.needs_prices {
                return Ok(ControlFlow::Break(applied));
            }
            self.read_prices().await?;
        }
        let newer = baskets::find_by_id(&self.pool, basket.checkout.id).await?;
        newer
            .map(ControlFlow::Continue)
            .ok_or(ApplyError::Contended.into())
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

/// Every line that was written has another version, as in the database.
fn count_up(before: &Basket, after: &mut Basket) {
    let checkout_moved = before.checkout != after.checkout;
    for (before, after) in before.lines.iter().zip(&mut after.lines) {
        if checkout_moved || before != after {
            after.version += 1;
        }
    }
}

/// An event as it is recorded after all of it that can be was applied.
fn recorded<'a>(event: EventRecord<'a>, applied: &Applied, now: OffsetDateTime) -> EventRecord<'a> {
    if applied.doubtful {
        EventRecord {
            state: EventState::Deferred,
            next_attempt_at: Some(now),
            ..event
        }
    } else if let Some(flag) = applied.flag {
        EventRecord {
            state: EventState::Flagged,
            cause: Some(flag),
            ..event
        }
    } else {
        event
    }
}
