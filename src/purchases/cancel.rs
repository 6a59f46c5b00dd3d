//! A subscription is cancelled, or its cancellation withdrawn, at Stripe. Each sets a state, and is safe to repeat.

use super::Purchases;
use super::line::{Line, Obstacle, WishError, is_alive};
use crate::domain::actor::By;
use crate::domain::subscription::{Status, Subscription};
use crate::stripe::requests::subscriptions::Cancellation;

/// When a subscription is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelAt {
    /// With the period that is paid.
    PeriodEnd,
    /// At once.
    Now,
}

impl Line {
    /// Only what renews and is alive can be cancelled.
    pub(crate) fn is_cancellable(&self) -> Result<(), Obstacle> {
        if !self.row.recurring {
            return Err(Obstacle::NotCancellable);
        }
        is_alive(&self.row)?;
        self.at_stripe().map(drop)
    }

    /// Only what renews, is alive and is not on hold can go on.
    pub(crate) fn is_resumable(&self) -> Result<(), Obstacle> {
        if !self.row.recurring {
            return Err(Obstacle::NotResumable);
        }
        is_resumable(&self.row)
    }
}

impl Purchases {
    /// Cancels what renews; cancelling it again changes nothing.
    pub(crate) async fn cancel(
        &self,
        mut line: Line,
        at: CancelAt,
        by: &By,
    ) -> Result<Subscription, WishError> {
        line.is_cancellable()?;
        let stripe = line.at_stripe()?;
        let by = &by.clone().about(&stripe);
        let client = &self.account.client;
        if at == CancelAt::Now {
            let answer = client.cancel_subscription(&stripe).await;
            let has_ended = |line: &Subscription| line.status == Status::Ended;
            return Ok(self.conclude(line, answer, by, has_ended).await?.row);
        }
        // Our row says that it is done: Stripe decides.
        if line.row.will_end() {
            line = self.look_again(line, by).await?;
            is_alive(&line.row)?;
            if line.row.will_end() {
                return Ok(line.row);
            }
        }
        let wanted = Cancellation::AtPeriodEnd;
        let answer = client.schedule_cancellation(&stripe, wanted).await;
        Ok(self
            .conclude(line, answer, by, Subscription::will_end)
            .await?
            .row)
    }

    /// Withdraws a cancellation that is not in force yet; withdrawing it again changes nothing.
    pub(crate) async fn resume(&self, mut line: Line, by: &By) -> Result<Subscription, WishError> {
        line.is_resumable()?;
        let stripe = line.at_stripe()?;
        let by = &by.clone().about(&stripe);
        if !line.row.will_end() {
            line = self.look_again(line, by).await?;
            is_resumable(&line.row)?;
        }
        // Only the field that was set can be cleared; whoever set both needs both cleared.
        for _ in 0..2 {
            if !line.row.will_end() {
                break;
            }
            let wanted = if line
                .row
                .stripe
                .is_some_and(|held| held.cancel_at_period_end)
            {
                Cancellation::NotAtPeriodEnd
            } else {
                Cancellation::NotOnDate
            };
            let client = &self.account.client;
            let answer = client.schedule_cancellation(&stripe, wanted).await;
            line = self
                .conclude(line, answer, by, |line| !line.will_end())
                .await?;
        }
        is_resumable(&line.row)?;
        Ok(line.row)
    }
}

fn is_resumable(line: &Subscription) -> Result<(), Obstacle> {
    is_alive(line)?;
    if line.status == Status::OnHold {
        return Err(Obstacle::OnHold);
    }
    Ok(())
}
