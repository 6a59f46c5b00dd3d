//! Limits of one request: a place, a deadline, a body. A place is taken once it is known who asks, and nobody has more
//! than a share of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower_http::timeout::DeadlineBody;

use super::codes::Code;
use super::extract::{TurnedAway, bearer};
use super::problem::ApiError;
use crate::auth::Verifier;
use crate::domain::ids::UserId;
use crate::settings::Http;

/// Longest time that a client may take to send its body, whatever the deadline of the request.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// One member has at most one of so many places of a group.
const SHARES: usize = 8;
/// One member has at most so many requests under way that call Stripe, and her others wait for them: each may be several
/// calls, and those of all members wait in one line.
const CALLING_AT_ONCE: usize = 4;
/// After how many seconds a member with too many requests may have one place free again.
const SHARE_SECONDS: u64 = 1;

/// What the deadline answers instead of the handler.
pub(in crate::http) const DEADLINE: &[Code] = &[Code::Timeout, Code::ShuttingDown];
/// What a group with places answers instead of the handler.
pub(in crate::http) const LIMITS: &[Code] = &[Code::Overloaded, Code::Timeout, Code::ShuttingDown];

/// Places and deadline for one group of routes.
#[derive(Clone)]
pub(in crate::http) struct Limits {
    /// None where somebody else counts: webhooks take their place when their signature is known.
    places: Option<Arc<Semaphore>>,
    timeout: Duration,
    cut: CancellationToken,
}

impl Limits {
    /// A group with places of its own, so that a full one can't starve another.
    pub(in crate::http) fn new(settings: &Http, cut: CancellationToken) -> Self {
        Self {
            places: Some(Arc::new(Semaphore::new(settings.max_concurrency))),
            ..Self::without_places(settings, cut)
        }
    }

    /// A group with a deadline alone.
    pub(in crate::http) fn without_places(settings: &Http, cut: CancellationToken) -> Self {
        Self {
            places: None,
            timeout: settings.request_timeout,
            cut,
        }
    }
}

/// Answers 503 at once where no place is free: a queue would only make every answer late.
pub(in crate::http) async fn limit(
    State(limits): State<Limits>,
    request: Request,
    next: Next,
) -> Response {
    let _place = match &limits.places {
        None => None,
        Some(places) => match places.try_acquire() {
            Ok(place) => Some(place),
            Err(_) => return ApiError::new(Code::Overloaded).into_response(),
        },
    };
    // Before the deadline of the whole, so that the client learns which of the two it missed.
    let body_timeout = BODY_TIMEOUT.min(limits.timeout / 2);
    let request = request.map(|body| Body::new(DeadlineBody::new(body_timeout, body)));
    tokio::select! {
        response = next.run(request) => response,
        () = tokio::time::sleep(limits.timeout) => {
            ApiError::new(Code::Timeout).into_response()
        }
        () = limits.cut.cancelled() => {
            ApiError::new(Code::ShuttingDown).into_response()
        }
    }
}

/// Who is let in to a group of routes for members, and how much of it she may take.
#[derive(Clone)]
pub(in crate::http) struct Door {
    verifier: Arc<Verifier>,
    share: usize,
    inside: Arc<Mutex<HashMap<UserId, Share>>>,
    /// How long a request waits for others of the same member.
    patience: Duration,
    /// None where a request costs nothing but a look at our own rows.
    rate: Option<Arc<Rate>>,
}

impl Door {
    /// A door that nobody has gone through.
    pub(in crate::http) fn new(settings: &Http, verifier: Arc<Verifier>) -> Self {
        Self {
            verifier,
            share: settings.max_concurrency.div_ceil(SHARES),
            inside: Arc::default(),
            patience: settings.request_timeout,
            rate: None,
        }
    }

    /// The same for whoever has another login than members.
    pub(in crate::http) fn with_verifier(self, verifier: Arc<Verifier>) -> Self {
        Self { verifier, ..self }
    }

    /// The same where each request costs calls to Stripe: a member can make only so many a minute.
    pub(in crate::http) fn with_rate(self, per_minute: u32) -> Self {
        let rate = Rate::new(per_minute);
        Self {
            rate: Some(Arc::new(rate)),
            ..self
        }
    }

    /// Counts a member's request, as long as what is returned lives; none when she has her share.
    async fn enter(&self, user: &UserId) -> Option<(Inside, Option<OwnedSemaphorePermit>)> {
        let (inside, calling) = {
            let mut all = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
            let share = all.entry(user.clone()).or_insert_with(Share::new);
            if share.requests >= self.share {
                return None;
            }
            share.requests += 1;
            let inside = Inside {
                door: self.clone(),
                user: user.clone(),
            };
            (inside, Arc::clone(&share.calling))
        };
        if self.rate.is_none() {
            return Some((inside, None));
        }
        let turn = tokio::time::timeout(self.patience, calling.acquire_owned());
        Some((inside, Some(turn.await.ok()?.ok()?)))
    }
}

/// What a member has of a group of routes.
struct Share {
    requests: usize,
    calling: Arc<Semaphore>,
}

impl Share {
    fn new() -> Self {
        Self {
            requests: 0,
            calling: Arc::new(Semaphore::new(CALLING_AT_ONCE)),
        }
    }
}

/// How often each member may ask: so many at once, and as many again in a minute.
#[derive(Debug)]
pub(super) struct Rate {
    per_minute: f64,
    /// What each has left, and since when; whoever has all left is not in it.
    left: Mutex<HashMap<UserId, (f64, Instant)>>,
}

/// Members of whom it is known what they have left; beyond, those who have all again are forgotten.
const MOST_KNOWN: usize = 10_000;

impl Rate {
    fn new(per_minute: u32) -> Self {
        Self {
            per_minute: f64::from(per_minute),
            left: Mutex::default(),
        }
    }

    /// Takes one of a member's requests, or says how long until she has one.
    fn take(&self, user: &UserId, now: Instant) -> Result<(), Duration> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = |(held, at): (f64, Instant)| {
            let minutes = now.saturating_duration_since(at).as_secs_f64() / 60.0;
            (held + minutes * self.per_minute).min(self.per_minute)
        };
        if left.len() >= MOST_KNOWN {
            left.retain(|_, known| filled(*known) < self.per_minute);
        }
        let held = left
            .get(user)
            .map_or(self.per_minute, |known| filled(*known));
        if held < 1.0 {
            let minutes = (1.0 - held) / self.per_minute;
            return Err(Duration::from_secs_f64(minutes * 60.0));
        }
        left.insert(user.clone(), (held - 1.0, now));
        Ok(())
    }
}

/// A member's request that is under way.
struct Inside {
    door: Door,
    user: UserId,
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut inside = self
            .door
            .inside
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = inside.get_mut(&self.user) {
            share.requests -= 1;
            if share.requests == 0 {
                inside.remove(&self.user);
            }
        }
    }
}

/// Verifies the member's token before a place is taken: whoever has none, or waits for the issuer's keys, takes nothing
/// from members.
pub(in crate::http) async fn admit(
    State(door): State<Door>,
    mut request: Request,
    next: Next,
) -> Response {
    let verified = match bearer(request.headers()) {
        Ok(token) => door.verifier.verify(token).await.map_err(ApiError::from),
        Err(error) => Err(error),
    };
    let principal = match verified {
        Ok(principal) => principal,
        // Told by the handler, which may have another answer first: the method is not its own.
        Err(error) => {
            request.extensions_mut().insert(TurnedAway::because(error));
            return next.run(request).await;
        }
    };
    if let Some(rate) = &door.rate
        && let Err(pause) = rate.take(&principal.user, Instant::now())
    {
        return ApiError::new(Code::TooManyRequests)
            .explained()
            .retry_after(pause.as_secs() + 1)
            .into_response();
    }
    let Some(_inside) = door.enter(&principal.user).await else {
        return ApiError::new(Code::TooManyRequests)
            .explained()
            .retry_after(SHARE_SECONDS)
            .into_response();
    };
    request.extensions_mut().insert(principal);
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_so_many_a_minute_and_nobody_else_feels_it() {
        let rate = Rate::new(6);
        let (ada, bob) = (UserId::new("ada"), UserId::new("bob"));
        let start = Instant::now();
        let taken = |user, at| std::iter::from_fn(|| rate.take(user, at).ok()).count();
        assert_eq!((taken(&ada, start), taken(&bob, start)), (6, 6));
        let pause = rate.take(&ada, start).expect_err("she has none left");
        assert!(pause <= Duration::from_secs(10), "{pause:?}");
        assert_eq!(taken(&ada, start + Duration::from_secs(30)), 3);
        assert_eq!(taken(&ada, start + Duration::from_mins(9)), 6);
    }
}
