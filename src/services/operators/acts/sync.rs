//! Our rows take over what Stripe says, of one basket.

use super::{About, ActError, Acted, Ask, Ended, Preview, Verb};
use crate::domain::ids::SubscriptionId;
use crate::services::operators::Operators;

impl Operators {
    /// What differs between our rows and Stripe.
    pub async fn preview_sync(&self, id: SubscriptionId) -> Result<Preview, ActError> {
        let line = self.purchases.line(id).await?.ok_or(ActError::NotFound)?;
        let drift = self.events.sync(&line.basket, None).await?;
        Ok(Preview::Sync(drift))
    }

    /// Takes over what Stripe says.
    pub async fn sync(&self, id: SubscriptionId, ask: &Ask) -> Result<Acted, ActError> {
        if let Some(action) = self.repeated(ask).await? {
            return Ok(Acted::of(action, id));
        }
        let line = self.line_for(id, ask).await?;
        let subject = id.to_string();
        let about = About::new(Verb::Sync, &subject, Some(&line.basket.checkout.user));
        if let Some(action) = self.begin(ask, &about).await? {
            return Ok(Acted::of(action, id));
        }
        let drift = self.events.sync(&line.basket, Some(&Self::by(ask))).await;
        let ended = drift.map(|drift| {
            let mended = drift.iter().filter(|drift| drift.mended).count();
            let outcome = if drift.iter().any(|drift| drift.flag.is_some()) {
                "needs_a_person"
            } else if mended > 0 {
                "taken_over"
            } else {
                "nothing_differed"
            };
            Ended::done(outcome).counting(mended)
        });
        let action = self
            .conclude(ask.key, ended.map_err(ActError::from))
            .await?;
        Ok(Acted::of(action, id))
    }
}
