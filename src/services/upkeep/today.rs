//! What operators see first is counted once a minute, so that nobody who looks at it waits.

use time::Duration;
use tokio_util::sync::CancellationToken;

use super::Upkeep;
use crate::purchases::Error;
use crate::storage::{cursors, today};

/// One replica counts so often.
const EVERY: Duration = Duration::minutes(1);
/// Changes of the history that are counted at once.
const CHANGES: i64 = 5_000;

impl Upkeep {
    /// Counts what has changed since the last time, and with it what the page of the day shows. After a migration that is
    /// the whole history, piece by piece.
    pub(super) async fn count_today(&self, stop: &CancellationToken) -> Result<usize, Error> {
        const CURSOR: &str = "count today";
        let now = self.clock.now();
        let turn = cursors::take_turn(&self.pool, CURSOR, now, now - EVERY).await?;
        if turn.is_none() {
            return Ok(0);
        }
        while !today::update_walked(&self.pool, CHANGES).await? {
            if stop.is_cancelled() {
                return Ok(0);
            }
        }
        let off = today::update_recounted(&self.pool, now).await?;
        if off > 0 {
            tracing::warn!(
                plans = off,
                "the counts of what is in force were off, and are mended"
            );
        }
        today::update(&self.pool, now).await?;
        today::update_seen(&self.pool).await?;
        // There is nothing to come back for at once.
        Ok(0)
    }
}
