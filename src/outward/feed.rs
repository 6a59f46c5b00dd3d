//! The feed as it is read: every change once, in the order of the commits, from wherever the reader has come to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgPool;
use time::OffsetDateTime;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::feed::Entry;
use crate::domain::ids::SubscriptionId;
use crate::domain::records::Movement;
use crate::domain::subscription::Status;
use crate::storage::feed::{self, Head};
use crate::storage::{StorageError, subscriptions, transactions};

/// How often the head is looked at while somebody waits: other replicas write too.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Where a reader has come to; as text `epoch-position`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    epoch: String,
    position: i64,
}

impl Cursor {
    fn at(head: &Head) -> Self {
        Self {
            epoch: head.epoch.clone(),
            position: head.position,
        }
    }

    /// Reads one; none if it can't be one.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, position) = text.rsplit_once('-')?;
        let position = position.parse().ok().filter(|position| *position >= 0)?;
        let is_epoch = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_epoch.then(|| Self {
            epoch: epoch.to_owned(),
            position,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.position)
    }
}

/// A page of a snapshot, by what comes before it; as text `epoch-position~id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    begun: Cursor,
    last: Uuid,
}

impl Page {
    /// Reads one; none if it can't be one.
    pub fn parse(text: &str) -> Option<Self> {
        let (begun, last) = text.split_once('~')?;
        Some(Self {
            begun: Cursor::parse(begun)?,
            last: last.parse().ok()?,
        })
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{}", self.begun, self.last)
    }
}

/// A page of what is true now.
#[derive(Clone, Debug)]
pub struct Snapshot<T> {
    /// Where to read on when all pages are read.
    pub after: Cursor,
    /// What the page holds.
    pub data: Vec<T>,
    /// The next page; none after the last.
    pub next: Option<Page>,
}

/// A line that has not ended.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The member.
    pub user_id: String,
    /// The line.
    pub subscription_id: SubscriptionId,
    /// JSON: what is true of it, as entries of the feed have it.
    pub data: String,
}

/// Which entries are asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Those after it; none: from the oldest that is kept.
    pub after: Option<Cursor>,
    /// Only of these types; of all where there are none.
    pub types: Vec<String>,
    /// At most so many.
    pub limit: i64,
    /// How long to wait until there is one.
    pub wait: Duration,
}

/// Entries, and where to go on.
#[derive(Clone, Debug)]
pub struct Told {
    /// In their order.
    pub entries: Vec<Entry>,
    /// After the last of them, and after all that was not asked for.
    pub next: Cursor,
}

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The cursor is of another epoch, ahead of the newest entry, or before the oldest that is kept.
    #[error("what follows this cursor is not known any more")]
    Gone {
        /// Before the oldest entry that is kept.
        oldest: Cursor,
    },
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The feed; cloning copies references.
#[derive(Clone)]
pub struct Feed {
    pool: PgPool,
    /// The newest position that somebody has seen.
    seen: Arc<watch::Sender<i64>>,
    /// Held by the one of those who wait that looks.
    looking: Arc<Mutex<()>>,
}

impl Feed {
    /// The feed in that database.
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            seen: Arc::new(watch::Sender::new(0)),
            looking: Arc::default(),
        }
    }

    /// What follows a cursor. Waits as long as is wished until there is something.
    pub async fn read(&self, wanted: &Wanted) -> Result<Told, ReadError> {
        let until = Instant::now() + wanted.wait;
        let mut head = feed::head(&self.pool).await?;
        let mut after = match &wanted.after {
            Some(cursor) => cursor.position,
            None => self.before_oldest(&head).await?,
        };
        loop {
            let found = feed::find(
                &self.pool,
                after,
                head.position,
                &wanted.types,
                wanted.limit,
            )
            .await?;
            if let Some(cursor) = &wanted.after {
                // After the entries: what was purged before they were read must not be missed in silence.
                let oldest = self.before_oldest(&head).await?;
                let is_known = (oldest..=head.position).contains(&after);
                if !is_known || cursor.epoch != head.epoch {
                    return Err(self.gone(head).await?);
                }
            }
            let is_full = i64::try_from(found.len()).is_ok_and(|found| found >= wanted.limit);
            let last = found.last().map(|entry| entry.position);
            let position = last.filter(|_| is_full).unwrap_or(head.position);
            if !found.is_empty() || Instant::now() >= until {
                return Ok(Told {
                    entries: found,
                    next: Cursor {
                        epoch: head.epoch,
                        position,
                    },
                });
            }
            after = position;
            self.newer_until(after, until).await?;
            let newer = feed::head(&self.pool).await?;
            if newer.epoch != head.epoch {
                return Err(self.gone(newer).await?);
            }
            head = newer;
        }
    }

    /// A page of what is true of everything that has not ended, and where to read on when all pages are read: what has
    /// changed since the first of them was is told there.
    pub async fn snapshot(
        &self,
        page: Option<&Page>,
        limit: i64,
        now: OffsetDateTime,
    ) -> Result<Snapshot<InForce>, ReadError> {
        let begun = self.begun(page).await?;
        let after = page.map(|page| SubscriptionId(page.last));
        let lines = subscriptions::find_of_all(&self.pool, after, limit).await?;
        let next = next_page(&begun, &lines, limit, |(_, line)| line.id.0);
        let live = { lines.into_iter() }.filter(|(_, line)| line.status != Status::Ended);
        Ok(Snapshot {
            after: begun,
            data: live
                .map(|(user_id, line)| InForce {
                    user_id,
                    subscription_id: line.id,
                    data: feed::state(&line, now),
                })
                .collect(),
            next,
        })
    }

    /// A page of the money that was recorded since then, oldest first, and where to read on when all pages are read.
    pub async fn transactions(
        &self,
        since: OffsetDateTime,
        page: Option<&Page>,
        limit: i64,
    ) -> Result<Snapshot<Movement>, ReadError> {
        let begun = self.begun(page).await?;
        let after = page.map(|page| page.last);
        let data = transactions::find_since(&self.pool, since, after, limit).await?;
        let next = next_page(&begun, &data, limit, |moved| moved.transaction.id.0);
        Ok(Snapshot {
            after: begun,
            data,
            next,
        })
    }

    /// Where to read on after a snapshot: where the feed was when its first page was read.
    async fn begun(&self, page: Option<&Page>) -> Result<Cursor, ReadError> {
        let head = feed::head(&self.pool).await?;
        let begun = page.map_or_else(|| Cursor::at(&head), |page| page.begun.clone());
        if begun.epoch == head.epoch {
            Ok(begun)
        } else {
            Err(self.gone(head).await?)
        }
    }

    /// The position before the oldest entry that is kept.
    async fn before_oldest(&self, head: &Head) -> Result<i64, StorageError> {
        let oldest = feed::oldest(&self.pool).await?;
        Ok(oldest.map_or(head.position, |oldest| oldest - 1))
    }

    async fn gone(&self, head: Head) -> Result<ReadError, StorageError> {
        let position = self.before_oldest(&head).await?;
        Ok(ReadError::Gone {
            oldest: Cursor {
                epoch: head.epoch,
                position,
            },
        })
    }

    /// Waits until there is something after a position, or for so long.
    pub(super) async fn newer_than(
        &self,
        position: i64,
        longest: Duration,
    ) -> Result<(), StorageError> {
        self.newer_until(position, Instant::now() + longest).await
    }

    /// The same until then. Of all who wait one looks.
    async fn newer_until(&self, position: i64, until: Instant) -> Result<(), StorageError> {
        let mut seen = self.seen.subscribe();
        let look = async {
            let _looking = self.looking.lock().await;
            loop {
                let head = feed::head(&self.pool).await?;
                self.seen.send_replace(head.position);
                if head.position > position {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            looked = look => looked,
            // The sender lives as long as we do.
            _ = seen.wait_for(|seen| *seen > position) => Ok(()),
            () = tokio::time::sleep_until(until) => Ok(()),
        }
    }

    /// Begins another epoch, as after a restore from a dump: every cursor that was handed out is gone.
    pub async fn new_epoch(&self) -> Result<Cursor, StorageError> {
        let epoch = format!("{:08x}", fastrand::u32(..));
        feed::update_epoch(&self.pool, &epoch).await?;
        Ok(Cursor::at(&feed::head(&self.pool).await?))
    }
}

/// The page after this one, if it is full.
fn next_page<T>(begun: &Cursor, found: &[T], limit: i64, id: fn(&T) -> Uuid) -> Option<Page> {
    let is_full = i64::try_from(found.len()).is_ok_and(|count| count >= limit);
    let last = found.last().filter(|_| is_full)?;
    Some(Page {
        begun: begun.clone(),
        last: id(last),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is_one() {
        let cursor = Cursor::parse("0a1b2c3d-17");
        assert_eq!(
            cursor.map(|cursor| cursor.to_string()).as_deref(),
            Some("0a1b2c3d-17")
        );
        let page = "0a1b2c3d-17~01a2271d-d108-7c71-98e2-de9bffa59f4a";
        assert_eq!(
            Page::parse(page).map(|page| page.to_string()).as_deref(),
            Some(page)
        );
        assert_eq!(Page::parse("0a1b2c3d-17~"), None);
        for wrong in ["", "17", "epoch-", "epoch--1", "epoch-x", "-"] {
            assert_eq!(Cursor::parse(wrong), None, "{wrong}");
        }
    }
}
