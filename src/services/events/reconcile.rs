//! What webhooks lost: Stripe's list of events is walked from where the last walk stopped.

use metrics::counter;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use super::Events;
use super::group::Way;
use super::ingest::Ingested;
use crate::purchases::{Error, Trouble};
use crate::storage::baskets::{self, Batch};
use crate::storage::webhook_events::{EventRecord, EventState};
use crate::storage::{StorageError, checkouts, cursors, webhook_events};
use crate::stripe::event::Event;
use crate::stripe::objects::Reference;

/// The walk's name among the cursors.
const CURSOR: &str = "events";
/// Stripe keeps events for so long.
const KEPT: Duration = Duration::days(30);
/// Events may appear late in Stripe's list; what was seen is passed over.
const OVERLAP: Duration = Duration::minutes(10);
/// The walk is stored after every step of at most so long.
const STEP: Duration = Duration::days(1);

/// What a walk has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Walked {
    /// Events that Stripe listed.
    pub listed: usize,
    /// Of these new to us and applied.
    pub applied: usize,
    /// New to us, left to the worker.
    pub deferred: usize,
    /// New to us and flagged.
    pub flagged: usize,
    /// New to us, and not to be applied by a fault of ours.
    pub failed: usize,
    /// Whether events between the last walk and this one are gone at Stripe: only a full comparison finds what they told.
    pub gap: bool,
}

impl Walked {
    fn count(&mut self, taken: Ingested) {
        match taken {
            Ingested::Applied => self.applied += 1,
            Ingested::Deferred => self.deferred += 1,
            Ingested::Flagged => self.flagged += 1,
            Ingested::Duplicate | Ingested::Foreign | Ingested::Uninteresting => {}
        }
    }
}

impl Events {
    /// Walks Stripe's events up to now and takes in those that never arrived. `progress` is told after every step how
    /// far the walk has come. When `stop` is cancelled the walk ends after the page at hand; the next one goes on.
    pub async fn reconcile_events(
        &self,
        stop: &CancellationToken,
        mut progress: impl FnMut(OffsetDateTime, Walked),
    ) -> Result<Walked, Error> {
        let until = self.clock.now();
        let stored = cursors::find(&self.pool, CURSOR).await?;
        let begin = match stored.and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok()) {
            Some(stored) => stored,
            // Nothing that happened before the first checkout can be ours.
            None => checkouts::find_oldest(&self.pool).await?.unwrap_or(until),
        };
        let mut from = (begin - OVERLAP).max(until - KEPT);
        let mut walked = Walked::default();
        if begin < until - KEPT {
            walked.gap = true;
            counter!("reconcile_gaps_total").increment(1);
            tracing::error!(
                since = %begin,
                "Stripe has no events of that time any more: dues reconcile --full finds what was lost"
            );
        }
        while from < until && !stop.is_cancelled() {
            let to = (from + STEP).min(until);
            // The window's last second belongs to it: Stripe's times are whole seconds.
            if !self
                .reconcile_window(from, to + Duration::SECOND, stop, &mut walked)
                .await?
            {
                break;
            }
            let position = to.format(&Rfc3339).unwrap_or_default();
            cursors::update(&self.pool, CURSOR, &position, self.clock.now()).await?;
            progress(to, walked);
            from = to;
        }
        Ok(walked)
    }

    /// Records an event that can't be applied, so that somebody sees it and it can be replayed.
    async fn give_up(&self, event: &Event, error: &Error) -> Result<(), Error> {
        tracing::error!(event_id = event.id, %error, "an event in Stripe's list can't be applied");
        let Some(content) = &event.content else {
            return Ok(());
        };
        let record = EventRecord {
            id: &event.id,
            kind: content.kind.as_str(),
            object_id: &content.object_id,
            created: event.created,
            state: EventState::Failed,
            next_attempt_at: None,
            cause: Some("it could not be applied: the log says why"),
        };
        let batch = Batch {
            drafts: &[],
            events: &[(record, None)],
            now: self.clock.now(),
            grace: None,
            again: false,
            skip_locked: false,
            is_import: false,
        };
        let mut connection = self.pool.acquire().await.map_err(StorageError::from)?;
        match baskets::write(&mut connection, &batch).await {
            Ok(_) => Ok(()),
            // Somebody else has.
            Err(error) if error.constraint() == Some("webhook_events_pkey") => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes in one window, newest first: the order doesn't matter. False if it was stopped on the way.
    async fn reconcile_window(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        stop: &CancellationToken,
        walked: &mut Walked,
    ) -> Result<bool, Error> {
        let mut after: Option<String> = None;
        // What names nothing but an invoice is told apart from a stranger's only when the invoice itself was taken in.
        let mut unclaimed: Vec<Event> = Vec::new();
        loop {
            let page = self
                .account
                .client
                .list_events(from, to, after.as_deref())
                .await?
                .body;
            let ids: Vec<String> = page
                .data
                .iter()
                .filter_map(|event| serde_json::from_str::<Reference>(event.get()).ok())
                .map(|event| event.id)
                .collect();
            let seen = webhook_events::find_seen(&self.pool, &ids).await?;
            walked.listed += page.data.len();
            let mut events = Vec::with_capacity(page.data.len());
            for event in &page.data {
                match self.account.observer.event(event.get().as_bytes()) {
                    Ok(event) if !seen.contains(&event.id) => events.push(event),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::error!(%error, "an event in Stripe's list can't be read and was left out");
                    }
                }
            }
            let group: Vec<&Event> = events.iter().collect();
            let outcomes = self.take_all(&group, Way::RECONCILE).await;
            for (event, outcome) in events.into_iter().zip(outcomes) {
                let taken = match outcome {
                    Ok(taken) => taken,
                    // The walk would stop at it for ever, and find nothing of what came later.
                    Err(error) if !error.is_outage() && error.trouble() != Trouble::Busy => {
                        self.give_up(&event, &error).await?;
                        walked.failed += 1;
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                walked.count(taken);
                if taken == Ingested::Foreign && event.names_an_invoice() {
                    unclaimed.push(event);
                }
            }
            if stop.is_cancelled() {
                return Ok(false);
            }
            after = ids.last().cloned();
            if !page.has_more || after.is_none() {
                break;
            }
        }
        for event in &unclaimed {
            // It only completes a payment that is known: nothing was lost, so nothing is counted.
            self.take(event, Way::RECONCILE).await?;
        }
        Ok(true)
    }
}
