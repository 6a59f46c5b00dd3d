//! What came of acts that were cut off, or of which Stripe did not say. Nothing is ever done again: Stripe is read, and what
//! is not there after a while was not done.

use time::Duration;

use super::{ActError, Ended};
use crate::domain::actor::By;
use crate::domain::ids::{SubscriptionId, UserId};
use crate::domain::subscription::{Status, Subscription};
use crate::purchases::Error;
use crate::services::operators::Operators;
use crate::storage::actions::{self, ActionRow};

/// Who began it may still be at work until then: no call to Stripe takes so long.
const STILL_AT_WORK: Duration = Duration::minutes(2);
/// What has not arrived at Stripe by then never will.
const NEVER_ARRIVES: Duration = Duration::minutes(5);
/// Acts that are looked after at once.
const BATCH: i64 = 20;

impl Operators {
    /// Settles acts that have no end; returns how many.
    pub(in crate::services) async fn settle_actions(&self) -> Result<usize, Error> {
        let now = self.purchases.clock.now();
        let open = actions::find_open(&self.pool, now - STILL_AT_WORK, BATCH).await?;
        let mut settled = 0;
        for action in open {
            match self.settle_action(&action).await {
                Ok(true) => settled += 1,
                Ok(false) => {}
                // One that can't be settled keeps none of the others waiting.
                Err(error) => {
                    tracing::warn!(%error, action_id = %action.id, "what came of an operator's act is not known yet");
                }
            }
        }
        Ok(settled)
    }

    async fn settle_action(&self, action: &ActionRow) -> Result<bool, ActError> {
        let is_late = self.purchases.clock.now() - action.at >= NEVER_ARRIVES;
        let ended = self.find_end(action, is_late).await;
        let ended = match ended {
            // There is nothing at Stripe in which it could be found any more: another account, or what was deleted.
            Err(ActError::Failed(Error::Stripe(error))) if is_late && error.is_no_such_object() => {
                Some(Ended::refused("not_at_stripe"))
            }
            ended => ended?,
        };
        match ended {
            Some(ended) => {
                self.note_end(action.id, &ended).await?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// How an act ended, by what is to be seen of it; none while it may still be under way.
    async fn find_end(&self, action: &ActionRow, is_late: bool) -> Result<Option<Ended>, ActError> {
        let line = || action.subject.parse::<SubscriptionId>().ok();
        Ok(match (action.verb.as_str(), line()) {
            ("refund", _) => self.refund_ended(action, is_late).await?,
            (verb @ ("cancel" | "resume"), Some(line)) => {
                let is_done: fn(&Subscription) -> bool = match (verb, action.target.as_deref()) {
                    ("resume", _) => |line| line.status != Status::Ended && !line.will_end(),
                    (_, Some("now")) => |line| line.status == Status::Ended,
                    _ => |line| line.status == Status::Ended || line.will_end(),
                };
                let ended = self
                    .find_cancelled(line, action.id, is_done, &action.actor)
                    .await?;
                Some(ended).filter(|ended| is_late || ended.state == "done")
            }
            ("settle", _) => {
                let found = match &action.target {
                    Some(invoice) => self.find_settled(invoice).await?,
                    None => None,
                };
                found.or_else(|| is_late.then(|| Ended::refused("never_reached_stripe")))
            }
            ("adopt", _) => self.adoption_ended(action, is_late).await?,
            ("dismiss", _) => self.dismissal_ended(action).await?,
            // It may still be at work: it asks Stripe many things. What it has written is in the story.
            _ => is_late.then(|| Ended::refused("cut_off")),
        })
    }

    async fn dismissal_ended(&self, action: &ActionRow) -> Result<Option<Ended>, ActError> {
        let event = self.events.find(&action.subject).await?;
        let cause = event.and_then(|event| event.last_error);
        let is_done = cause.is_some_and(|cause| cause.starts_with("dismissed"));
        Ok(Some(if is_done {
            Ended::done("dismissed")
        } else {
            Ended::refused("cut_off")
        }))
    }

    async fn refund_ended(
        &self,
        action: &ActionRow,
        is_late: bool,
    ) -> Result<Option<Ended>, ActError> {
        let Some(intent) = &action.target else {
            return Ok(Some(Ended::refused("cut_off")));
        };
        let found = self.find_refunds(intent, action.id).await?;
        let wanted = usize::try_from(action.wanted).unwrap_or(1);
        let ended = if found >= wanted {
            Ended::done("refunded")
        } else if !is_late {
            return Ok(None);
        } else if found > 0 {
            Ended::done("partly_refunded")
        } else {
            Ended::refused("never_reached_stripe")
        };
        if found > 0 {
            let user = UserId::new(&action.actor);
            let by = By::operator(&user, action.id);
            self.purchases.read_payment(intent, &by).await?;
        }
        Ok(Some(ended.counting(found)))
    }
}
