//! A subscription is cancelled for its member, or its cancellation withdrawn. Unlike her, an operator may always end it at
//! once.

use uuid::Uuid;

use super::{About, ActError, Acted, Ask, Ended, Preview, Verb, wish};
use crate::domain::actor::By;
use crate::domain::ids::{SubscriptionId, UserId};
use crate::domain::subscription::Subscription;
use crate::purchases::cancel::CancelAt;
use crate::purchases::line::Line;
use crate::services::operators::Operators;

/// Which end was asked for, as it is written down.
pub(super) fn name_of(at: CancelAt) -> &'static str {
    match at {
        CancelAt::PeriodEnd => "period_end",
        CancelAt::Now => "now",
    }
}

impl Operators {
    /// What cancelling would do: until when it goes on, none for at once.
    pub async fn preview_cancel(
        &self,
        id: SubscriptionId,
        at: CancelAt,
    ) -> Result<Preview, ActError> {
        let line = self.purchases.line(id).await?.ok_or(ActError::NotFound)?;
        line.is_cancellable()?;
        let ends = match at {
            CancelAt::Now => None,
            CancelAt::PeriodEnd => line.row.cancel_at().or(line.row.current_period_end()),
        };
        Ok(Preview::Ends(at, ends))
    }

    /// Cancels what renews.
    pub async fn cancel(
        &self,
        id: SubscriptionId,
        at: CancelAt,
        ask: &Ask,
    ) -> Result<Acted, ActError> {
        if let Some(action) = self.repeated(ask).await? {
            return Ok(Acted::of(action, id));
        }
        let line = self.line_for(id, ask).await?;
        line.is_cancellable()?;
        let subject = id.to_string();
        let about = About {
            target: Some(name_of(at)),
            ..About::new(Verb::Cancel, &subject, Some(&line.basket.checkout.user))
        };
        if let Some(action) = self.begin(ask, &about).await? {
            return Ok(Acted::of(action, id));
        }
        let ended = self.cancel_line(line, at, &Self::by(ask)).await;
        let action = self.conclude(ask.key, ended).await?;
        Ok(Acted::of(action, id))
    }

    /// The effect alone, for whoever has begun the act.
    pub(super) async fn cancel_line(
        &self,
        line: Line,
        at: CancelAt,
        by: &By,
    ) -> Result<Ended, ActError> {
        let row = self.purchases.cancel(line, at, by).await.map_err(wish)?;
        Ok(Ended::done(if row.ended_at.is_some() {
            "ended"
        } else {
            "will_not_renew"
        }))
    }

    /// What withdrawing a cancellation would do: until when it is paid.
    pub async fn preview_resume(&self, id: SubscriptionId) -> Result<Preview, ActError> {
        let line = self.purchases.line(id).await?.ok_or(ActError::NotFound)?;
        line.is_resumable()?;
        Ok(Preview::Renews(line.row.current_period_end()))
    }

    /// Withdraws a cancellation that is not in force yet.
    pub async fn resume(&self, id: SubscriptionId, ask: &Ask) -> Result<Acted, ActError> {
        if let Some(action) = self.repeated(ask).await? {
            return Ok(Acted::of(action, id));
        }
        let line = self.line_for(id, ask).await?;
        line.is_resumable()?;
        let subject = id.to_string();
        let about = About::new(Verb::Resume, &subject, Some(&line.basket.checkout.user));
        if let Some(action) = self.begin(ask, &about).await? {
            return Ok(Acted::of(action, id));
        }
        let resumed = self.purchases.resume(line, &Self::by(ask)).await;
        let ended = resumed.map(|_| Ended::done("renews_again")).map_err(wish);
        let action = self.conclude(ask.key, ended).await?;
        Ok(Acted::of(action, id))
    }

    /// What came of an act that was cut off: Stripe's word.
    pub(super) async fn find_cancelled(
        &self,
        id: SubscriptionId,
        action: Uuid,
        is_done: fn(&Subscription) -> bool,
        actor: &str,
    ) -> Result<Ended, ActError> {
        let Some(line) = self.purchases.line(id).await? else {
            return Ok(Ended::refused("cut_off"));
        };
        if line.row.stripe_subscription.is_none() {
            return Ok(Ended::refused("cut_off"));
        }
        let by = By::operator(&UserId::new(actor), action);
        let line = self.purchases.look_again(line, &by).await.map_err(wish)?;
        Ok(if is_done(&line.row) {
            Ended::done("found_done")
        } else {
            Ended::refused("cut_off")
        })
    }
}
