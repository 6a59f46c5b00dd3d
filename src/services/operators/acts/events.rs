//! An event that failed or was flagged: applied again, or taken off the list of what needs somebody.

use super::{About, ActError, Acted, Ask, Ended, Verb};
use crate::domain::ids::UserId;
use crate::services::events::ingest::Ingested;
use crate::services::events::replay::ReplayError;
use crate::services::operators::Operators;
use crate::storage::webhook_events::EventRow;

impl Operators {
    /// An event that is to be acted on, and whose it is.
    async fn event_for(&self, id: &str, ask: &Ask) -> Result<(EventRow, Option<UserId>), ActError> {
        let described = self.described_event(id).await?.ok_or(ActError::NotFound)?;
        let user = described.user.map(UserId::new);
        if let Some(user) = &user {
            super::may_act_on(&ask.staff, user)?;
        }
        Ok((described.event, user))
    }

    /// Applies an event again, whatever became of it before.
    pub async fn replay(&self, id: &str, ask: &Ask) -> Result<Acted, ActError> {
        if let Some(action) = self.repeated(ask).await? {
            return Ok(Acted { action, line: None });
        }
        let (_, user) = self.event_for(id, ask).await?;
        let about = About::new(Verb::Replay, id, user.as_ref());
        if let Some(action) = self.begin(ask, &about).await? {
            return Ok(Acted { action, line: None });
        }
        let ended = match self.events.replay(id).await {
            Ok(Ingested::Flagged) => Ok(Ended::done("flagged")),
            Ok(taken) => Ok(Ended::done(taken.as_str())),
            Err(ReplayError::Parse(_)) => Ok(Ended::refused("unreadable")),
            Err(ReplayError::Work(error)) => Err(error.into()),
        };
        let action = self.conclude(ask.key, ended).await?;
        Ok(Acted { action, line: None })
    }

    /// Says that an event needs nobody any more, and why.
    pub async fn dismiss(&self, id: &str, ask: &Ask) -> Result<Acted, ActError> {
        if let Some(action) = self.repeated(ask).await? {
            return Ok(Acted { action, line: None });
        }
        let (event, user) = self.event_for(id, ask).await?;
        if !matches!(event.state.as_str(), "failed" | "flagged") {
            return Err(ActError::EventSettled);
        }
        let about = About::new(Verb::Dismiss, id, user.as_ref());
        if let Some(action) = self.begin(ask, &about).await? {
            return Ok(Acted { action, line: None });
        }
        let dismissed = self.events.dismiss(id, &ask.reason).await;
        let ended = dismissed.map_err(ActError::from).map(|was_open| {
            if was_open {
                Ended::done("dismissed")
            } else {
                Ended::refused("settled_meanwhile")
            }
        });
        let action = self.conclude(ask.key, ended).await?;
        Ok(Acted { action, line: None })
    }
}
