//! How fast we call Stripe: so many calls a second of this process, first come, first served. Work that nobody waits for
//! has a share of its own, which members can't take from it, nor it theirs; what one doesn't use the other may.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout_at;

/// The part of the calls that is kept for work that nobody waits for.
const BACKGROUND: f64 = 0.2;

/// Whoever can't be served before her deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crowded;

/// The order in which callers have come.
#[derive(Debug, Default)]
struct Lane {
    /// Whoever holds it is next; it is handed on in the order in which it was asked for, and whoever gives up leaves it.
    next: tokio::sync::Mutex<()>,
    waiting: AtomicUsize,
}

/// Counts a caller for as long as she waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn in_lane(lane: &'a Lane) -> Self {
        lane.waiting.fetch_add(1, Ordering::Relaxed);
        Self(&lane.waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Calls that may be made at once: it fills at a steady rate and holds one second's worth.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    per_second: f64,
    held: f64,
}

impl Bucket {
    fn new(per_second: f64) -> Self {
        Self {
            per_second,
            held: per_second.max(1.0),
        }
    }

    fn fill(&mut self, seconds: f64) {
        self.held = (self.held + seconds * self.per_second).min(self.per_second.max(1.0));
    }

    /// Takes a call if `left` more remain after it.
    fn take(&mut self, left: f64) -> bool {
        let enough = self.held >= left + 1.0;
        if enough {
            self.held -= 1.0;
        }
        enough
    }
}

#[derive(Debug)]
struct Buckets {
    foreground: Bucket,
    background: Bucket,
    filled_at: Instant,
}

/// The calls of this process.
#[derive(Debug)]
pub(super) struct Pace {
    buckets: Mutex<Buckets>,
    foreground: Lane,
    background: Lane,
}

impl Pace {
    pub(super) fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self {
            buckets: Mutex::new(Buckets {
                foreground: Bucket::new(per_second * (1.0 - BACKGROUND)),
                background: Bucket::new(per_second * BACKGROUND),
                filled_at: Instant::now(),
            }),
            foreground: Lane::default(),
            background: Lane::default(),
        }
    }

    /// Waits for a turn, behind those who came before. Who can't have one before her deadline is told so at once, and who
    /// gives up costs nobody a turn.
    pub(super) async fn turn(&self, in_background: bool, deadline: Instant) -> Result<(), Crowded> {
        let lane = self.lane(in_background);
        let ahead = u32::try_from(lane.waiting.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        let wait = f64::from(ahead) / self.rate(in_background);
        let now = Instant::now();
        if Duration::try_from_secs_f64(wait).is_ok_and(|wait| now + wait > deadline) {
            return Err(Crowded);
        }
        let _waiting = Waiting::in_lane(lane);
        let waited = async {
            let _next = lane.next.lock().await;
            while let Err(pause) = self.take(in_background, Instant::now()) {
                tokio::time::sleep(pause).await;
            }
        };
        timeout_at(deadline.into(), waited)
            .await
            .map_err(|_| Crowded)
    }

    fn lane(&self, in_background: bool) -> &Lane {
        if in_background {
            &self.background
        } else {
            &self.foreground
        }
    }

    fn rate(&self, in_background: bool) -> f64 {
        let buckets = self.lock();
        let bucket = if in_background {
            buckets.background
        } else {
            buckets.foreground
        };
        bucket.per_second
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a call: of one's own, or of the others' while none of them waits. Else how long until there may be one.
    fn take(&self, in_background: bool, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.lock();
        let seconds = now.saturating_duration_since(buckets.filled_at);
        let seconds = seconds.as_secs_f64();
        buckets.foreground.fill(seconds);
        buckets.background.fill(seconds);
        buckets.filled_at = now;
        let nobody_else = self.lane(!in_background).waiting.load(Ordering::Relaxed) == 0;
        let (own, other, left) = if in_background {
            // Half of what is there stays for the member who comes next.
            let half = buckets.foreground.per_second / 2.0;
            let Buckets {
                foreground,
                background,
                ..
            } = &mut *buckets;
            (background, foreground, half)
        } else {
            let Buckets {
                foreground,
                background,
                ..
            } = &mut *buckets;
            (foreground, background, 0.0)
        };
        if own.take(0.0) || nobody_else && other.take(left) {
            return Ok(());
        }
        let missing = (1.0 - own.held) / own.per_second;
        Err(Duration::from_secs_f64(missing.max(0.001)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn taken(pace: &Pace, in_background: bool, at: Instant) -> usize {
        std::iter::from_fn(|| pace.take(in_background, at).ok()).count()
    }

    #[test]
    fn background_work_leaves_members_half_of_theirs_and_keeps_its_own_share() {
        let pace = Pace::new(10);
        let start = Instant::now();
        assert_eq!(
            taken(&pace, true, start),
            2 + 4,
            "its own, and half of theirs"
        );
        assert_eq!(taken(&pace, false, start), 4);
        // While the others wait, everybody has what is her own.
        let _members = Waiting::in_lane(&pace.foreground);
        let _work = Waiting::in_lane(&pace.background);
        let later = start + Duration::from_secs(1);
        assert_eq!(taken(&pace, true, later), 2);
        assert_eq!(taken(&pace, false, later), 8);
        let much_later = start + Duration::from_mins(1);
        assert_eq!(
            taken(&pace, false, much_later),
            8,
            "it holds one second's worth"
        );
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[tokio::test]
    async fn whoever_comes_first_is_served_first_and_who_gives_up_costs_no_turn() {
        let pace = Arc::new(Pace::new(10));
        while pace.take(false, Instant::now()).is_ok() {}
        let served = Arc::new(Mutex::new(Vec::new()));
        let mut callers = Vec::new();
        for number in 0..6 {
            let (pace, served) = (Arc::clone(&pace), Arc::clone(&served));
            callers.push(tokio::spawn(async move {
                pace.turn(false, soon()).await.expect("in time");
                served.lock().expect("nobody panics").push(number);
            }));
            tokio::task::yield_now().await;
        }
        callers[2].abort();
        for (number, caller) in callers.into_iter().enumerate() {
            assert_eq!(caller.await.is_err(), number == 2);
        }
        assert_eq!(*served.lock().expect("nobody panics"), [0, 1, 3, 4, 5]);
    }

    #[tokio::test]
    async fn whoever_can_t_be_served_in_time_is_told_at_once() {
        let pace = Pace::new(10);
        let _crowd: Vec<Waiting> = (0..100)
            .map(|_| Waiting::in_lane(&pace.foreground))
            .collect();
        let asked = Instant::now();
        let deadline = asked + Duration::from_secs(10);
        assert_eq!(pace.turn(false, deadline).await, Err(Crowded));
        assert!(asked.elapsed() < Duration::from_secs(1));
        assert_eq!(
            pace.turn(true, deadline).await,
            Ok(()),
            "the others have a lane of their own"
        );
    }
}
