//! What operators see first.

use super::Operators;
use crate::purchases::Error;
use crate::storage::today::{self, Today};

/// What ends within so many days is told.
pub const ENDING_DAYS: i64 = today::ENDING_DAYS;

/// What was counted.
#[derive(Clone, Debug)]
pub struct Counted(pub Today);

impl Operators {
    /// What was counted last; before the first time it is counted now, as far as the history was read by then.
    pub async fn today(&self) -> Result<Counted, Error> {
        if let Some(counted) = today::find(&self.pool).await? {
            return Ok(Counted(counted));
        }
        today::update(&self.pool, self.purchases.clock.now()).await?;
        let counted = today::find(&self.pool).await?;
        counted.map(Counted).ok_or(Error::Contended)
    }
}
