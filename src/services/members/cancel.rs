//! A member cancels, or thinks better of it.

use super::Members;
use crate::domain::actor::By;
use crate::domain::ids::{SubscriptionId, UserId};
use crate::domain::subscription::{Status, Subscription};
use crate::purchases::cancel::CancelAt;
use crate::purchases::line::{Obstacle, WishError};

impl Members {
    /// Cancels one of the member's subscriptions; cancelling it again changes nothing.
    pub async fn cancel(
        &self,
        user: &UserId,
        id: SubscriptionId,
        at: CancelAt,
    ) -> Result<Subscription, WishError> {
        let line = self.own(user, id).await?;
        line.is_cancellable()?;
        if at == CancelAt::Now {
            let plans = self.catalogue.current();
            let allowed = plans
                .plan(&line.row.plan)
                .is_some_and(|plan| plan.cancel_now);
            if !allowed && line.row.status != Status::OnHold {
                return Err(Obstacle::CancelNowNotAllowed.into());
            }
        }
        self.purchases.cancel(line, at, &By::member(user)).await
    }

    /// Withdraws a cancellation that is not in force yet; withdrawing it again changes nothing.
    pub async fn resume(
        &self,
        user: &UserId,
        id: SubscriptionId,
    ) -> Result<Subscription, WishError> {
        let line = self.own(user, id).await?;
        self.purchases.resume(line, &By::member(user)).await
    }
}
