//! Whose turn it is: what is new, whoever waits, and all that is in force. Each has its turn, so that neither a crowd that
//! waits nor a comparison of hours keeps anybody waiting who has just paid.

use time::Duration;

use super::walk::{MEMBER_WAITS, Walker, Went, wait};
use crate::storage::StorageError;
use crate::storage::followers::{self, Park, Place, Step};

/// How often all is compared: what was changed by hand, and logins that were never told.
const WEEK: Duration = Duration::WEEK;

impl Walker {
    /// Does what there is to do of the first whose turn it is and who has something. One that is told states is told what is
    /// new while all is compared; of the others the feed waits until they know what is in force.
    pub(super) async fn take_turns(&mut self, place: &Place) -> Result<Went, StorageError> {
        let is_of_states = self.told().receiver.of_states().is_some();
        for _ in 0..3 {
            self.turn = (self.turn + 1) % 3;
            let went = match self.turn {
                0 if is_of_states => self.compare(place).await?,
                0 => Went::Nothing,
                1 => self.retry_parked(place).await?,
                _ if place.state == "snapshot" && !is_of_states => self.snapshot(place).await?,
                _ => self.follow(place).await?,
            };
            if !matches!(went, Went::Nothing) {
                return Ok(went);
            }
        }
        Ok(Went::Nothing)
    }

    /// Compares the next piece, where a comparison goes on or is due.
    async fn compare(&mut self, place: &Place) -> Result<Went, StorageError> {
        if place.state != "snapshot" {
            if place.compared_at.unwrap_or(place.created_at) + WEEK > self.now() {
                return Ok(Went::Nothing);
            }
            let is_begun = followers::update_compare(self.pool(), self.lease()).await?;
            return Ok(if is_begun { Went::On } else { Went::Lost });
        }
        let Some(forum) = self.told().receiver.of_states() else {
            return Ok(Went::Nothing);
        };
        let compared = tokio::select! {
            compared = forum.compare(place.snapshot_after) => compared,
            () = self.stop.cancelled() => return Ok(Went::On),
        };
        let compared = match compared {
            Ok(compared) => compared,
            Err(trouble) => return self.wait_for(place, &trouble.of_forum()?).await,
        };
        let follower = self.name();
        match (compared.goes_on, &compared.found) {
            (true, _) => {}
            (false, None) => tracing::info!(follower, "all that is in force was compared"),
            (false, Some(found)) => {
                tracing::warn!(follower, found, "all that is in force was compared");
            }
        }
        let parks = compared.refused.into_iter().map(|(user, why)| Park {
            user,
            positions: vec![0],
            error: Some(why),
            next_attempt_at: self.now() + wait(&MEMBER_WAITS, 1),
        });
        let step = Step {
            position: place.position,
            snapshot_after: compared.after.filter(|_| compared.goes_on),
            in_snapshot: compared.goes_on,
            told: true,
            parks: parks.collect(),
            found: compared.found,
        };
        self.advance(place, &step).await
    }
}
