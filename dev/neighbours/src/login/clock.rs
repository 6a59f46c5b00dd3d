//! Two clocks. Browsers live in wall time: sessions, codes, refresh tokens and ID tokens are for them. The API may live
//! ahead of it, where a sandbox's clock was moved: access tokens are for the API, so their `iat` and `exp` are in its time.

use std::sync::atomic::{AtomicI64, Ordering};

use serde::Deserialize;
use time::OffsetDateTime;

use super::PATIENCE;

/// Wall time plus the offset that the API lives with.
pub(super) struct Clock {
    offset: AtomicI64,
    followed: Option<(reqwest::Client, String)>,
}

#[derive(Deserialize)]
struct SandboxClock {
    offset: i64,
}

/// Wall time, in seconds since 1970.
pub(super) fn wall() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "what browsers see is in wall time, wherever the API's clock stands"
    )]
    let now = OffsetDateTime::now_utc();
    now.unix_timestamp()
}

impl Clock {
    /// A clock without an offset, or one that takes over that of a sandbox.
    pub(super) fn new(followed: Option<&str>) -> Result<Self, reqwest::Error> {
        let follow = |base: &str| {
            let url = format!("{}/_sandbox/clock", base.trim_end_matches('/'));
            let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
            client.build().map(|client| (client, url))
        };
        Ok(Self {
            offset: AtomicI64::new(0),
            followed: followed.map(follow).transpose()?,
        })
    }

    /// Asks the sandbox where it is. Asked before each token instead of now and then: a token from before a jump of the
    /// clock would be dead when it arrives.
    pub(super) async fn ask(&self) -> Result<(), reqwest::Error> {
        let Some((client, url)) = &self.followed else {
            return Ok(());
        };
        let answer = client.get(url).send().await?.error_for_status()?;
        let clock: SandboxClock = answer.json().await?;
        self.offset.store(clock.offset, Ordering::Relaxed);
        Ok(())
    }

    /// Moves the API's time by hand; false where a sandbox is followed.
    pub(super) fn set_offset(&self, seconds: i64) -> bool {
        if self.followed.is_none() {
            self.offset.store(seconds, Ordering::Relaxed);
        }
        self.followed.is_none()
    }

    /// How far the API is ahead, in seconds.
    pub(super) fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// The API's time, in seconds since 1970.
    pub(super) fn api(&self) -> i64 {
        wall() + self.offset()
    }
}
