//! What a member is called at Stripe, shown to whoever may see it, and written down that it was.

use uuid::Uuid;

use super::{ActError, Verb};
use crate::domain::actor::Staff;
use crate::domain::ids::UserId;
use crate::services::operators::Operators;
use crate::storage::actions::{self, BeginError, NewAction, Outcome};

/// What somebody is called at Stripe.
#[derive(Clone, Debug)]
pub struct Named {
    /// `cus_…`.
    pub customer: String,
    /// ISO 4217, lower case; none for a customer who was replaced.
    pub currency: Option<String>,
    /// As she wrote it on Stripe's page.
    pub name: Option<String>,
    /// As she wrote it on Stripe's page.
    pub email: Option<String>,
}

impl Operators {
    /// Writes down that a name is looked at, once an operator, member and hour. Before it is shown: what was seen is told.
    pub(in crate::services::operators) async fn tell_of_reveal(
        &self,
        staff: &Staff,
        user: &UserId,
        request_id: Option<&str>,
    ) -> Result<(), ActError> {
        let now = self.purchases.clock.now();
        let id = Uuid::now_v7();
        let new = NewAction {
            id,
            at: now,
            actor: staff.user.as_str(),
            role: staff.role.as_str(),
            request_id,
            request_hash: &[],
            verb: Verb::Reveal.as_str(),
            subject: user.as_str(),
            user_id: Some(user.as_str()),
            target: None,
            wanted: 1,
            reason: None,
            reference: None,
            parent: None,
        };
        match actions::begin(&self.pool, &new).await {
            Ok(()) => {}
            Err(BeginError::Busy | BeginError::Known) => return Ok(()),
            Err(BeginError::Storage(error)) => return Err(error.into()),
        }
        let seen = Outcome {
            state: "done",
            outcome: "shown",
            found: None,
        };
        actions::finish(&self.pool, id, seen, now).await?;
        Ok(())
    }
}
