//! The one way in which anything that Stripe says reaches our rows: find the basket, check that the source may speak
//! about it, merge, let the plan follow the price, write guarded by the versions that were read.

use std::ops::ControlFlow;
use std::time::Instant;

use time::Duration;

use super::follow::{Followed, HELD_ALREADY, Judging, UNKNOWN_PRICE, keep_plans};
use super::{Error, Purchases};
use crate::domain::actor::{By, Cause};
use crate::domain::facts::{Contradiction, Observation, Subject, TransactionKind};
use crate::domain::lifecycle::{self, Rules};
use crate::domain::subscription::{Basket, Payment};
use crate::storage::StorageError;
use crate::storage::baskets::{self, Batch, Draft, Question};

/// How often a write is tried anew when somebody else was faster. Each time somebody else made progress.
pub(crate) const MAX_TRIES: u32 = 25;

/// What an observation leaves to be done beside writing it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Left {
    /// Whether Stripe must be read to be sure.
    pub doubtful: bool,
    /// Whether the plans' prices must be read to tell which plan it is.
    pub needs_prices: bool,
    /// Why a person should look, though all of it was applied.
    pub flag: Option<&'static str>,
}

/// What is known of an observation beside itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Knowing {
    /// It has just arrived. What can't be helped is told of once, not by everything that says it again.
    First,
    /// Somebody looks, and perhaps not for the first time.
    More,
    /// So it is, and the plans' prices were read since it was made.
    Prices,
}

/// A basket after something was written to it.
#[derive(Debug)]
pub(crate) struct Applied {
    /// As it is in the database now.
    pub basket: Basket,
    /// What is left to be done.
    pub left: Left,
}

impl Purchases {
    /// By what statuses are derived, beside the facts.
    pub(crate) fn rules(&self) -> Rules {
        let margin = self.settings.stripe.snapshot_margin;
        Rules {
            margin: Duration::try_from(margin).unwrap_or(Duration::MAX),
            grace: self.settings.lifecycle.grace,
            again: true,
        }
    }

    /// The checkout that a subject points at, with its lines; none if it isn't ours.
    pub(crate) async fn find_one(&self, subject: &Subject) -> Result<Option<Basket>, StorageError> {
        let mut asked = Question::default();
        asked.about(subject);
        Ok(baskets::find(&self.pool, &asked).await?.baskets.pop())
    }

    /// Merges an observation into a draft, if it may speak about that basket. Nothing is written, nobody is asked.
    pub(crate) fn merge(
        &self,
        draft: &mut Draft,
        observation: &Observation,
        by: &By,
        knowing: Knowing,
    ) -> Result<Left, Contradiction> {
        observation.subject.check(&draft.after)?;
        let now = self.clock.now();
        // On a copy: whatever goes wrong on the way leaves no half of it in the draft.
        let mut after = draft.after.clone();
        let rules = Rules {
            again: knowing != Knowing::First,
            ..self.rules()
        };
        let merged = lifecycle::merge(&mut after, observation, rules, now);
        let judging = Judging {
            at: observation.at,
            prices_are_newer: knowing == Knowing::Prices,
            again: by.cause != Cause::Webhook,
        };
        let followed = self.follow_price(&draft.after, &mut after, judging);
        let before = std::mem::replace(&mut draft.after, after);
        for (line, transaction) in &merged.transactions {
            if transaction.kind == TransactionKind::Payment {
                draft.after.payments.push(Payment {
                    line: *line,
                    reference: transaction.reference.clone(),
                    payment_intent: transaction.payment_intent.clone(),
                });
            }
            lifecycle::record(&mut draft.transactions, *line, transaction);
        }
        draft.note(&before, by, now);
        Ok(Left {
            doubtful: merged.doubtful || followed == Followed::Later,
            needs_prices: followed == Followed::Later,
            flag: (followed == Followed::Unknown)
                .then_some(UNKNOWN_PRICE)
                .or(merged.flag),
        })
    }

    /// Merges an observation into the basket as it was read and writes what has changed; none when a line has moved.
    pub(crate) async fn write(
        &self,
        before: &Basket,
        observation: &Observation,
        by: &By,
    ) -> Result<Option<Applied>, Error> {
        let mut draft = Draft::of(before.clone());
        let left = self.merge(&mut draft, observation, by, Knowing::More)?;
        self.store(draft, left, by).await
    }

    /// Writes a draft of what one source said; none when a line has moved. A plan that the member holds already is
    /// not taken over a second time: the line keeps the one that it has.
    pub(crate) async fn store(
        &self,
        mut draft: Draft,
        mut left: Left,
        by: &By,
    ) -> Result<Option<Applied>, Error> {
        let mut connection = None;
        while !draft.is_idle() {
            let connection = match &mut connection {
                Some(connection) => connection,
                none => none.insert(self.pool.acquire().await.map_err(StorageError::from)?),
            };
            let batch = Batch {
                drafts: std::slice::from_ref(&draft),
                events: &[],
                now: self.clock.now(),
                grace: self.settings.lifecycle.grace,
                again: false,
                skip_locked: false,
                is_import: by.is_import,
            };
            match baskets::write(connection, &batch).await {
                Ok(written) if written == [true] => break,
                Ok(_) => return Ok(None),
                Err(error) if error.is_held_already() && left.flag != Some(HELD_ALREADY) => {
                    keep_plans(&mut draft, by, self.clock.now());
                    left.flag = Some(HELD_ALREADY);
                }
                Err(error) => return Err(error.into()),
            }
        }
        tell(&draft);
        if let Some(flag) = left.flag {
            let checkout_id = draft.before.checkout.id;
            tracing::warn!(%checkout_id, flag, cause = by.cause.as_str(), "a person should look");
        }
        Ok(Some(Applied {
            basket: draft.written(),
            left,
        }))
    }

    /// Writes what was read from Stripe after the basket was. Broken off: done. Else the rows have moved: here is the
    /// basket as it is now, and Stripe must be read again.
    pub(crate) async fn write_read(
        &self,
        basket: &Basket,
        observation: &Observation,
        by: &By,
    ) -> Result<ControlFlow<Applied, Basket>, Error> {
        let read = Instant::now();
        let mut draft = Draft::of(basket.clone());
        let mut left = self.merge(&mut draft, observation, by, Knowing::More)?;
        if left.needs_prices {
            self.catalogue.read_prices(read).await?;
            draft = Draft::of(basket.clone());
            left = self.merge(&mut draft, observation, by, Knowing::Prices)?;
        }
        if let Some(applied) = self.store(draft, left, by).await? {
            return Ok(ControlFlow::Break(applied));
        }
        let newer = baskets::find_by_id(&self.pool, basket.checkout.id).await?;
        newer.map(ControlFlow::Continue).ok_or(Error::Contended)
    }

    /// Applies facts that don't depend on when they are merged to the basket with that id.
    pub(crate) async fn apply_to(
        &self,
        mut basket: Basket,
        observation: &Observation,
        by: &By,
    ) -> Result<Applied, Error> {
        for _ in 0..MAX_TRIES {
            if let Some(applied) = self.write(&basket, observation, by).await? {
                return Ok(applied);
            }
            match baskets::find_by_id(&self.pool, basket.checkout.id).await? {
                Some(newer) => basket = newer,
                None => break,
            }
        }
        Err(Error::Contended)
    }
}

/// Logs what was written.
pub(crate) fn tell(draft: &Draft) {
    for (subscription_id, change, by) in &draft.changes {
        let cause = by.cause.as_str();
        if change.from != change.to {
            let (from, to, reason) = (change.from.as_str(), change.to.as_str(), change.reason);
            tracing::info!(%subscription_id, from, to, reason, cause, "status changed");
        }
        if let Some((from, to)) = &change.plan {
            tracing::info!(%subscription_id, from, to, cause, "plan changed");
        }
    }
}
