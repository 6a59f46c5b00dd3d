//! A page of rows told by lanes: one member's rows in their order, several members' at once.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt as _, stream};
use metrics::counter;
use sqlx::postgres::PgPool;
use tokio_util::sync::CancellationToken;

use super::by_member;
use super::receiver::{Failure, Receiver};
use crate::domain::feed::Entry;
use crate::outward::discourse::Discourse;
use crate::storage::{StorageError, followers};

/// What became of a member's rows of a page.
pub(super) struct Lane {
    /// The member.
    pub(super) user: String,
    /// Her rows, in order.
    pub(super) positions: Vec<i64>,
    /// How many of them were told.
    pub(super) told: usize,
    /// What ended it before its end; none where nothing did, or where it was not begun.
    pub(super) failure: Option<Failure>,
}

impl Lane {
    /// The rows that are not told.
    pub(super) fn left(&self) -> &[i64] {
        self.positions.get(self.told..).unwrap_or_default()
    }
}

/// Who tells rows, and to whom.
pub(super) struct Teller<'a> {
    pub(super) name: &'a str,
    pub(super) receiver: &'a Receiver,
    pub(super) pool: &'a PgPool,
    pub(super) stop: &'a CancellationToken,
}

impl Teller<'_> {
    /// Tells a page. As soon as nobody is there to be told, or it is time to stop, no more members are begun.
    pub(super) async fn tell_page(&self, page: Vec<Entry>) -> Result<Vec<Lane>, StorageError> {
        let enough = AtomicBool::new(false);
        let lanes = by_member(page, |entry| entry.user_id.clone());
        let lanes = stream::iter(lanes).map(|(user, entries)| {
            let enough = &enough;
            async move {
                if enough.load(Ordering::Relaxed) || self.stop.is_cancelled() {
                    return Ok(Lane {
                        user,
                        positions: entries.iter().map(|entry| entry.position).collect(),
                        told: 0,
                        failure: None,
                    });
                }
                let lane = self.tell_lane(user, &entries).await?;
                if matches!(
                    lane.failure,
                    Some(Failure::Away { .. } | Failure::Stop { .. })
                ) {
                    enough.store(true, Ordering::Relaxed);
                }
                Ok(lane)
            }
        });
        let lanes: Vec<Result<Lane, StorageError>> =
            lanes.buffered(self.receiver.at_once()).collect().await;
        lanes.into_iter().collect()
    }

    /// Tells a member's rows up to the first that can't be told.
    pub(super) async fn tell_lane(
        &self,
        user: String,
        entries: &[Entry],
    ) -> Result<Lane, StorageError> {
        let positions: Vec<i64> = entries.iter().map(|entry| entry.position).collect();
        if let Some(forum) = self.receiver.of_states() {
            return self.tell_state(forum, user, positions).await;
        }
        let sent = if self.receiver.forgets() {
            followers::find_sent(self.pool, self.name, &positions).await?
        } else {
            HashSet::new()
        };
        let mut lane = Lane {
            user,
            positions,
            told: 0,
            failure: None,
        };
        for entry in entries {
            if self.stop.is_cancelled() {
                break;
            }
            if sent.contains(&entry.position) {
                lane.told += 1;
                continue;
            }
            let told = self.receiver.tell(entry).await;
            self.count(&told);
            if let Err(failure) = told {
                lane.failure = Some(failure);
                break;
            }
            lane.told += 1;
            // What is in force has no place, and may be told again.
            if self.receiver.forgets() && entry.position > 0 {
                followers::insert_sent(self.pool, self.name, entry.position).await?;
            }
        }
        Ok(lane)
    }

    /// Makes true what holds of a member now, for all of these rows at once. It may wait for long, and can be cut off
    /// anywhere: then it is done again.
    pub(super) async fn tell_state(
        &self,
        forum: &Discourse,
        user: String,
        positions: Vec<i64>,
    ) -> Result<Lane, StorageError> {
        let mut lane = Lane {
            user,
            positions,
            told: 0,
            failure: None,
        };
        let told = tokio::select! {
            told = forum.tell(&lane.user) => told,
            () = self.stop.cancelled() => return Ok(lane),
        };
        let told = match told {
            Ok(()) => Ok(()),
            Err(trouble) => Err(trouble.of_forum()?),
        };
        self.count(&told);
        match told {
            Ok(()) => lane.told = lane.positions.len(),
            Err(failure) => lane.failure = Some(failure),
        }
        Ok(lane)
    }

    fn count(&self, told: &Result<(), Failure>) {
        let outcome = match told {
            Ok(()) => "told",
            Err(Failure::Away { .. }) => "away",
            Err(Failure::Refused { .. }) => "refused",
            Err(Failure::Stop { .. }) => "stopped",
        };
        let name = self.name.to_owned();
        counter!("follower_deliveries_total", "follower" => name, "outcome" => outcome)
            .increment(1);
    }
}
