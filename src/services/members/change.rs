//! A member changes plan or quantity of what renews, or asks what that would cost.

use super::Members;
use crate::domain::actor::By;
use crate::domain::ids::{SubscriptionId, UserId};
use crate::domain::subscription::Subscription;
use crate::purchases::change::{ChangePreview, ChangeWish};
use crate::purchases::line::WishError;

impl Members {
    /// Changes what one of the member's subscriptions bills. If a payment is due at once and fails, nothing changes.
    pub async fn change(
        &self,
        user: &UserId,
        id: SubscriptionId,
        wish: &ChangeWish,
    ) -> Result<Subscription, WishError> {
        let line = self.own(user, id).await?;
        self.purchases.change(line, wish, &By::member(user)).await
    }

    /// Says what a change would cost, without making it.
    pub async fn preview_change(
        &self,
        user: &UserId,
        id: SubscriptionId,
        wish: &ChangeWish,
    ) -> Result<ChangePreview, WishError> {
        let line = self.own(user, id).await?;
        self.purchases
            .preview_change(line, wish, &By::member(user))
            .await
    }
}
