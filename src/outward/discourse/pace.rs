//! How often a forum is called: by default it answers sixty calls a minute, to all keys together.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use crate::clock::Clock;

/// Calls a minute: what is left is for whoever else has a key.
const MOST: usize = 50;
const MINUTE: time::Duration = time::Duration::MINUTE;
/// How often the clock is looked at while a call waits: it may have been moved.
const LOOK: Duration = Duration::from_millis(100);

/// When the calls of the last minute were made.
#[derive(Debug)]
pub(super) struct Pace {
    clock: Clock,
    made: Mutex<VecDeque<OffsetDateTime>>,
}

impl Pace {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            made: Mutex::default(),
        }
    }

    /// Waits until a call may be made.
    pub(super) async fn turn(&self) {
        while let Err(wait) = self.take(self.clock.now()) {
            tokio::time::sleep(wait.min(LOOK)).await;
        }
    }

    /// Counts a call, or says how long it must wait.
    fn take(&self, now: OffsetDateTime) -> Result<(), Duration> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        // What lies in the future was made before the clock went back.
        made.retain(|at| *at <= now && now - *at < MINUTE);
        if let Some(oldest) = made.front().filter(|_| made.len() >= MOST) {
            let wait = MINUTE - (now - *oldest);
            return Err(wait.try_into().unwrap_or(LOOK));
        }
        made.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifty_calls_fit_in_any_minute() {
        let pace = Pace::new(Clock::system());
        let start = OffsetDateTime::UNIX_EPOCH;
        let at = |seconds: i64| start + time::Duration::seconds(seconds);
        for call in 0..50 {
            assert_eq!(pace.take(at(call / 2)), Ok(()));
        }
        assert_eq!(pace.take(at(25)), Err(Duration::from_secs(35)));
        assert_eq!(pace.take(at(60)), Ok(()));
        assert_eq!(pace.take(at(60)), Ok(()));
        assert_eq!(pace.take(at(60)), Err(Duration::from_secs(1)));
        // The clock went back: nothing is waited for that is not to come for long.
        assert_eq!(pace.take(at(-3_600)), Ok(()));
    }
}
