//! A member cancels, or thinks better of it.

use super::Services;
use super::own_affairs::{AffairError, Obstacle, by_member, is_alive};
use crate::domain::ids::{SubscriptionId, UserId};
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

impl Services {
    /// Cancels one of the member's subscriptions; cancelling it again changes nothing.
    pub async fn cancel(
        &self,
        user: &UserId,
        id: SubscriptionId,
        at: CancelAt,
    ) -> Result<Subscription, AffairError> {
        let mut own = self.own(user, id).await?;
        if !own.line.recurring {
            return Err(Obstacle::NotCancellable.into());
        }
        is_alive(&own.line)?;
        let stripe = own.at_stripe()?;
        let by = by_member(user, &stripe);
        if at == CancelAt::Now {
            let catalogue = self.catalogue.current();
            let plan = catalogue.plan(&own.line.plan);
            let allowed = plan.is_some_and(|plan| plan.cancel_now);
            if !allowed && own.line.status != Status::OnHold {
                return Err(Obstacle::CancelNowNotAllowed.into());
            }
            let answer = self.stripe.cancel_subscription(&stripe).await;
            let has_ended = |line: &Subscription| line.status == Status::Ended;
            return Ok(self.conclude(own, answer, &by, has_ended).await?.line);
        }
        // Our row says that it is done: Stripe decides.
        if will_end(&own.line) {
            own = self.look_again(own, &by).await?;
            is_alive(&own.line)?;
            if will_end(&own.line) {
                return Ok(own.line);
            }
        }
        let wanted = Cancellation::AtPeriodEnd;
        let answer = self.stripe.schedule_cancellation(&stripe, wanted).await;
        Ok(self.conclude(own, answer, &by, will_end).await?.line)
    }

    /// Withdraws a cancellation that is not in force yet; withdrawing it again changes nothing.
    pub async fn resume(
        &self,
        user: &UserId,
        id: SubscriptionId,
    ) -> Result<Subscription, AffairError> {
        let mut own = self.own(user, id).await?;
        if !own.line.recurring {
            return Err(Obstacle::NotResumable.into());
        }
        is_resumable(&own.line)?;
        let stripe = own.at_stripe()?;
        let by = by_member(user, &stripe);
        if !will_end(&own.line) {
            own = self.look_again(own, &by).await?;
            is_resumable(&own.line)?;
        }
        // Only the field that was set can be cleared; whoever set both needs both cleared.
        for _ in 0..2 {
            if !will_end(&own.line) {
                break;
            }
            let wanted = if own.line.cancel_at_period_end {
                Cancellation::NotAtPeriodEnd
            } else {
                Cancellation::NotOnDate
            };
            let answer = self.stripe.schedule_cancellation(&stripe, wanted).await;
            own = self
                .conclude(own, answer, &by, |line| !will_end(line))
                .await?;
        }
        is_resumable(&own.line)?;
        Ok(own.line)
    }
}

/// Whether Stripe will end it by itself.
fn will_end(line: &Subscription) -> bool {
    line.cancel_at_period_end || line.cancel_at.is_some()
}

fn is_resumable(line: &Subscription) -> Result<(), Obstacle> {
    is_alive(line)?;
    if line.status == Status::OnHold {
        return Err(Obstacle::OnHold);
    }
    Ok(())
}
