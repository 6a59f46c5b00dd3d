//! Returns of one buyer that come at the same moment: anybody who has the link can come back as often as she likes, and
//! each would cost a call to Stripe.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::confirm::Return;
use crate::purchases::Error;

/// The last answer, and when it was begun to be read.
type Slot = Arc<tokio::sync::Mutex<Option<(Instant, Return)>>>;

/// The returns that are under way, by their sessions.
#[derive(Debug, Default)]
pub(super) struct Returning(Mutex<HashMap<String, Slot>>);

impl Returning {
    /// Reads what became of a session; whoever asks while it is read waits, and shares an answer that was begun after she
    /// asked.
    pub(super) async fn once(
        &self,
        session: &str,
        read: impl Future<Output = Result<Return, Error>>,
    ) -> Result<Return, Error> {
        let asked = Instant::now();
        let slot = {
            let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(under_way.entry(session.to_owned()).or_default())
        };
        let answer = {
            let mut last = slot.lock().await;
            match &*last {
                Some((begun, answer)) if *begun >= asked => Ok(answer.clone()),
                _ => {
                    let begun = Instant::now();
                    let answer = read.await;
                    *last = answer.as_ref().ok().map(|answer| (begun, answer.clone()));
                    answer
                }
            }
        };
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Ours and the map's: nobody else waits.
        if Arc::strong_count(&slot) <= 2 {
            under_way.remove(session);
        }
        answer
    }
}
