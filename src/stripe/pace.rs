//! How fast we call Stripe: a token bucket for the process, in which callers who wait go first.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A bucket that fills at a steady rate and holds one second's worth.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: f64,
    state: Mutex<(f64, Instant)>,
}

impl Pace {
    pub(super) fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self {
            per_second,
            state: Mutex::new((per_second, Instant::now())),
        }
    }

    /// Waits for a turn. Work that nobody waits for leaves half of the bucket to those who do.
    pub(super) async fn turn(&self, in_background: bool) {
        while let Err(pause) = self.take(in_background, Instant::now()) {
            tokio::time::sleep(pause).await;
        }
    }

    fn take(&self, in_background: bool, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (held, filled_at) = *state;
        let tokens = (held
            + now.saturating_duration_since(filled_at).as_secs_f64() * self.per_second)
            .min(self.per_second);
        let reserve = if in_background {
            self.per_second / 2.0
        } else {
            0.0
        };
        if tokens >= reserve + 1.0 {
            *state = (tokens - 1.0, now);
            return Ok(());
        }
        *state = (tokens, now);
        Err(Duration::from_secs_f64(
            (reserve + 1.0 - tokens) / self.per_second,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn background_work_leaves_half_to_those_who_wait_and_the_bucket_fills_again() {
        let pace = Pace::new(4);
        let start = Instant::now();
        let taken =
            |in_background, at| std::iter::from_fn(|| pace.take(in_background, at).ok()).count();
        assert_eq!(taken(true, start), 2);
        assert_eq!(taken(false, start), 2);
        assert!(
            pace.take(false, start)
                .is_err_and(|pause| pause <= Duration::from_millis(250))
        );
        assert_eq!(taken(false, start + Duration::from_millis(500)), 2);
        assert_eq!(
            taken(false, start + Duration::from_mins(1)),
            4,
            "it holds one second's worth"
        );
    }
}
