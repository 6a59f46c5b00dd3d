//! What a member holds.

use time::OffsetDateTime;
use uuid::Uuid;

use super::Members;
use crate::domain::ids::{SubscriptionId, UserId};
use crate::domain::plan::Kind;
use crate::domain::records::{ChangeRecord, Filter, TransactionRecord};
use crate::domain::subscription::Subscription;
use crate::purchases::Error;
use crate::storage::{status_changes, subscriptions, transactions};

/// Whether a member may use what a kind gives, and until when as far as is known today.
#[derive(Clone, Copy, Debug)]
pub struct Entitlement {
    /// Of which kind.
    pub kind: Kind,
    /// The one answer.
    pub entitled: bool,
    /// The latest end; none for ever, or not entitled.
    pub until: Option<OffsetDateTime>,
}

impl Members {
    /// A member's subscriptions, newest first.
    pub async fn subscriptions(
        &self,
        user: &UserId,
        filter: &Filter,
    ) -> Result<Vec<Subscription>, Error> {
        Ok(subscriptions::find_of_user(&self.pool, user, filter).await?)
    }

    /// One subscription of a member; none if it is somebody else's or nobody's.
    pub async fn subscription(
        &self,
        user: &UserId,
        id: SubscriptionId,
    ) -> Result<Option<Subscription>, Error> {
        Ok(subscriptions::find_one_of_user(&self.pool, user, id).await?)
    }

    /// For each kind whether a member is entitled now.
    pub async fn entitlements(
        &self,
        user: &UserId,
    ) -> Result<[Entitlement; Kind::ALL.len()], Error> {
        let now = self.clock.now();
        let held = subscriptions::find_in_force(&self.pool, user).await?;
        Ok(Kind::ALL.map(|kind| {
            let mut ends = held
                .iter()
                .filter(|line| line.kind == kind && line.entitled(now))
                .map(|line| line.until(now, self.settings.lifecycle.grace));
            let first = ends.next();
            // One without an end outlasts all others.
            let until = ends.fold(first.flatten(), |latest, end| {
                latest.zip(end).map(|(latest, end)| latest.max(end))
            });
            Entitlement {
                kind,
                entitled: first.is_some(),
                until,
            }
        }))
    }

    /// The transactions of a member's subscription, newest first; none if it isn't hers.
    pub async fn transactions(
        &self,
        user: &UserId,
        id: SubscriptionId,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Option<Vec<TransactionRecord>>, Error> {
        match self.subscription(user, id).await? {
            Some(line) => Ok(Some(
                transactions::find(&self.pool, line.id, before, limit).await?,
            )),
            None => Ok(None),
        }
    }

    /// The history of a member's subscription, newest first; none if it isn't hers.
    pub async fn status_changes(
        &self,
        user: &UserId,
        id: SubscriptionId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Option<Vec<ChangeRecord>>, Error> {
        match self.subscription(user, id).await? {
            Some(line) => Ok(Some(
                status_changes::find(&self.pool, line.id, before, limit).await?,
            )),
            None => Ok(None),
        }
    }
}
