//! Lists of what everybody has, and what refuses to be told.

use super::Operators;
use super::describe::Described;
use crate::domain::ids::SubscriptionId;
use crate::domain::listing::{Place, Wanted};
use crate::purchases::Error;
use crate::storage::differing::{self, Differing};
use crate::storage::followers::{self, ParkedAnywhere};
use crate::storage::subscriptions;

/// So many parked members are shown, whichever follower refuses them.
const PARKED: i64 = 200;
/// So many of those that differ from what Stripe says.
const DIFFERING: i64 = 200;

impl Operators {
    /// Subscriptions of everybody, each with its place in the list.
    pub async fn list(&self, wanted: &Wanted) -> Result<Vec<(Place, Described)>, Error> {
        let found = subscriptions::list(&self.pool, wanted).await?;
        let described = found.into_iter();
        Ok(described
            .map(|found| (found.place(), self.described(found)))
            .collect())
    }

    /// Of which subscriptions Stripe says something else than we do, as the last comparison has found it.
    pub async fn differing(
        &self,
        direction: Option<&str>,
    ) -> Result<Vec<(Described, Differing)>, Error> {
        let found = differing::find(&self.pool, direction, DIFFERING).await?;
        let ids: Vec<SubscriptionId> = found
            .iter()
            .map(|one| SubscriptionId(one.subscription_id))
            .collect();
        let lines = subscriptions::find_listed(&self.pool, &ids).await?;
        let mut described: Vec<Described> =
            lines.into_iter().map(|line| self.described(line)).collect();
        let both = found.into_iter().filter_map(|one| {
            let id = SubscriptionId(one.subscription_id);
            let place = described.iter().position(|line| line.line.id == id)?;
            Some((described.swap_remove(place), one))
        });
        Ok(both.collect())
    }

    /// Members whose changes a follower refuses.
    pub async fn parked(&self) -> Result<Vec<ParkedAnywhere>, Error> {
        Ok(followers::find_all_parked(&self.pool, PARKED).await?)
    }
}
