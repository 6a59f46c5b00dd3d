//! Where deliveries wait, and the writer who takes them in groups: whatever has come by the time it is free.
//!
//! There is one writer in a process. A statement costs much the same for one event as for thirty, so a second writer
//! would not do more, it would halve the groups (measured: the same rate at 64 connections, and for 16 half as much again of
//! Postgres); and events of one basket would get into each other's way.

use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt as _;
use metrics::{counter, histogram};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Events;
use super::group::{MAX_GROUP, Outcome, Way};
use super::ingest::{IngestError, Ingested};
use crate::purchases::Error;
use crate::stripe::event::Event;

/// An event whose delivery is still to be answered.
struct Delivery {
    event: Event,
    answer: oneshot::Sender<Outcome>,
}

/// What waits for the writer.
pub(super) struct Queue {
    /// For what waits and what is being written: taken only here, where a delivery is known to be Stripe's.
    places: Semaphore,
    waiting: mpsc::Sender<Delivery>,
    /// Until the writer takes it.
    end: Mutex<Option<mpsc::Receiver<Delivery>>>,
}

impl Queue {
    /// A queue of at most `length` deliveries, with those that are being written.
    pub(super) fn new(length: usize) -> Self {
        let (waiting, end) = mpsc::channel(length.max(1));
        Self {
            places: Semaphore::new(length.max(1)),
            waiting,
            end: Mutex::new(Some(end)),
        }
    }

    /// How many deliveries wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.max_capacity() - self.waiting.capacity()
    }

    /// Leaves an event to the writer and waits for what becomes of it.
    pub(super) async fn wait_for(&self, event: Event) -> Result<Ingested, IngestError> {
        let place = self.places.try_acquire();
        let _place = place.map_err(|_| IngestError::Overloaded)?;
        let (answer, answered) = oneshot::channel();
        self.waiting
            .try_send(Delivery { event, answer })
            .map_err(|_| IngestError::Overloaded)?;
        // A group that dies takes nothing with it but itself: Stripe delivers it again.
        let outcome = answered.await.map_err(|_| Error::Panicked)?;
        Ok(outcome?)
    }
}

impl Events {
    /// Writes what waits until `stop` is cancelled; what waits then is written first.
    pub async fn write_queue(self, stop: CancellationToken) {
        let end = self
            .queue
            .end
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut waiting) = end else { return };
        loop {
            let next = tokio::select! {
                biased;
                next = waiting.recv() => next,
                () = stop.cancelled() => {
                    waiting.close();
                    waiting.recv().await
                }
            };
            let Some(next) = next else { break };
            let mut group = vec![next];
            while group.len() < MAX_GROUP
                && let Ok(next) = waiting.try_recv()
            {
                group.push(next);
            }
            // Nobody waits for it any more, so Stripe will deliver it again.
            group.retain(|delivery| !delivery.answer.is_closed());
            // Whatever goes wrong with a group, the writer goes on; its deliveries are answered 5xx.
            let answered = AssertUnwindSafe(self.answer(group)).catch_unwind().await;
            if answered.is_err() {
                counter!("webhook_groups_died_total").increment(1);
                tracing::error!(
                    "a group of webhooks could not be written: this is a fault of Dues"
                );
            }
        }
    }

    async fn answer(&self, group: Vec<Delivery>) {
        let events: Vec<&Event> = group.iter().map(|delivery| &delivery.event).collect();
        let size = u32::try_from(events.len()).unwrap_or(u32::MAX);
        histogram!("webhook_group_size").record(size);
        let outcomes = self.take_all(&events, Way::WEBHOOK).await;
        for (delivery, outcome) in group.into_iter().zip(outcomes) {
            // Whoever asked may be gone: the retry is told that it is a duplicate.
            let _gone = delivery.answer.send(outcome);
        }
    }
}
