//! Returns of one buyer that come at the same moment: anybody who has the link can come back as often as she likes, and
//! each would cost a call to Stripe.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::confirm::Return;
use crate::purchases::Error;

/// The last answer, and when it was begun to be read.
type Slot = Arc<tokio::sync::Mutex<Option<(Instant, Result<Return, Arc<Error>>)>>>;

/// The returns that are under way, by their sessions.
#[derive(Debug, Default)]
pub(super) struct Returning(Mutex<HashMap<String, Slot>>);

/// A place in the map, for as long as somebody waits: also whoever goes away leaves nothing behind.
struct Place<'a> {
    returning: &'a Returning,
    session: &'a str,
    slot: Slot,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut under_way = self.returning.lock();
        // Ours and the map's: nobody else waits.
        if Arc::strong_count(&self.slot) <= 2 {
            under_way.remove(self.session);
        }
    }
}

impl Returning {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what became of a session; whoever asks while it is read waits, and shares an answer that was begun after she
    /// asked.
    pub(super) async fn once(
        &self,
        session: &str,
        read: impl Future<Output = Result<Return, Error>>,
    ) -> Result<Return, Error> {
        let asked = Instant::now();
        let place = Place {
            returning: self,
            session,
            slot: Arc::clone(self.lock().entry(session.to_owned()).or_default()),
        };
        let mut last = place.slot.lock().await;
        if let Some((begun, answer)) = &*last
            && *begun >= asked
        {
            return answer.clone().map_err(Error::Shared);
        }
        let begun = Instant::now();
        let answer = read.await.map_err(Arc::new);
        *last = Some((begun, answer.clone()));
        answer.map_err(Error::Shared)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn whoever_goes_away_leaves_nothing_behind() {
        let returning = Returning::default();
        let (mut one, mut other) = (
            Box::pin(returning.once("cs_1", pending())),
            Box::pin(returning.once("cs_1", pending())),
        );
        tokio::select! {
            biased;
            _ = &mut one => {}
            _ = &mut other => {}
            () = ready(()) => {}
        }
        assert_eq!(returning.lock().len(), 1, "both wait for the same");
        drop(one);
        assert_eq!(returning.lock().len(), 1, "the other still waits");
        drop(other);
        assert!(returning.lock().is_empty());
    }
}
