//! Lists of what everybody has, and what refuses to be told.

use super::Operators;
use super::describe::Described;
use crate::domain::listing::{Place, Wanted};
use crate::purchases::Error;
use crate::storage::followers::{self, ParkedAnywhere};
use crate::storage::subscriptions;

/// So many parked members are shown, whichever follower refuses them.
const PARKED: i64 = 200;

impl Operators {
    /// Subscriptions of everybody, each with its place in the list.
    pub async fn list(&self, wanted: &Wanted) -> Result<Vec<(Place, Described)>, Error> {
        let found = subscriptions::list(&self.pool, wanted).await?;
        let described = found.into_iter();
        Ok(described
            .map(|found| (found.place(), self.described(found)))
            .collect())
    }

    /// Members whose changes a follower refuses.
    pub async fn parked(&self) -> Result<Vec<ParkedAnywhere>, Error> {
        Ok(followers::find_all_parked(&self.pool, PARKED).await?)
    }
}
