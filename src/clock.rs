//! The one clock: nothing else in the tree asks the machine for the time of day (`clippy.toml` forbids it).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::Deserialize;
use time::OffsetDateTime;
use url::Url;

/// How often a followed sandbox is asked.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

/// Wall time plus an offset that development and tests can move; clones share the offset.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_seconds: Arc<AtomicI64>,
}

/// Why a sandbox's clock can't be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The sandbox does not answer, or with something else than a clock.
    #[error("the sandbox whose clock DUES__CLOCK__FOLLOW names does not answer: {0}")]
    Unanswered(#[source] reqwest::Error),
    /// The address can't carry a path.
    #[error("DUES__CLOCK__FOLLOW is not an address that can carry a path")]
    Address,
}

#[derive(Deserialize)]
struct SandboxClock {
    offset: i64,
}

impl Clock {
    /// Wall time, without an offset.
    pub fn system() -> Self {
        Self::default()
    }

    /// The time that the service lives in, in UTC, in whole microseconds: so the database keeps it, and what was just
    /// written is equal to what will be read.
    pub fn now(&self) -> OffsetDateTime {
        let now =
            self.wall() + time::Duration::seconds(self.offset_seconds.load(Ordering::Relaxed));
        now - time::Duration::nanoseconds((now.nanosecond() % 1_000).into())
    }

    /// Wall time in UTC, whatever the offset: webhook signatures carry real time even where a sandbox's clock is
    /// ahead.
    #[expect(clippy::disallowed_methods, reason = "the only place that may ask")]
    pub fn wall(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    /// Moves the clock to wall time plus so many seconds.
    pub fn set_offset(&self, seconds: i64) {
        self.offset_seconds.store(seconds, Ordering::Relaxed);
    }

    /// Takes over the offset of the sandbox's clock once, so that the first request already lives in its time.
    pub async fn adopt(&self, sandbox: &Url) -> Result<(), FollowError> {
        let clock = Follower::new(sandbox)?.ask().await?;
        self.set_offset(clock.offset);
        Ok(())
    }

    /// Follows the sandbox's clock until dropped; a sandbox that is away leaves the offset as it is.
    pub async fn follow(self, sandbox: Url) -> Result<(), FollowError> {
        let follower = Follower::new(&sandbox)?;
        loop {
            let held = self.offset_seconds.load(Ordering::Relaxed);
            if let Ok(clock) = follower.ask().await {
                // Whoever has set it meanwhile knows better: this answer may be older than that.
                let (told, order) = (clock.offset, Ordering::Relaxed);
                let _ = self
                    .offset_seconds
                    .compare_exchange(held, told, order, order);
            }
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
    }
}

struct Follower {
    client: reqwest::Client,
    url: Url,
}

impl Follower {
    fn new(sandbox: &Url) -> Result<Self, FollowError> {
        let url = sandbox
            .join("/_sandbox/clock")
            .map_err(|_| FollowError::Address)?;
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(2))
            .build()
            .map_err(FollowError::Unanswered)?;
        Ok(Self { client, url })
    }

    async fn ask(&self) -> Result<SandboxClock, FollowError> {
        let answer = self.client.get(self.url.clone()).send().await;
        answer
            .and_then(reqwest::Response::error_for_status)
            .map_err(FollowError::Unanswered)?
            .json()
            .await
            .map_err(FollowError::Unanswered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_offset_and_wall_time_ignores_it() {
        let clock = Clock::system();
        clock.clone().set_offset(86_400);
        assert!(clock.now() - clock.wall() > time::Duration::hours(23));
    }
}
