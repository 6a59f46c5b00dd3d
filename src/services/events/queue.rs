//! Where deliveries wait, and the writers who take them in groups: whatever has come by the time a writer is free.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, PoisonError};

use metrics::{counter, histogram};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Events;
use super::group::{MAX_GROUP, Outcome};
use super::ingest::{IngestError, Ingested};
use crate::domain::actor::Cause;
use crate::purchases::Error;
use crate::stripe::event::Event;

/// While one writer waits for the disk, the other reads and merges; more would only make the groups smaller.
const WRITERS: usize = 2;

/// An event whose delivery is still to be answered.
struct Delivery {
    event: Event,
    answer: oneshot::Sender<Outcome>,
}

/// A lane for each writer.
pub(super) struct Queue {
    lanes: Vec<mpsc::Sender<Delivery>>,
    /// Until the writers take them.
    ends: Mutex<Vec<mpsc::Receiver<Delivery>>>,
}

impl Queue {
    /// Lanes of which each holds at most `length` deliveries.
    pub(super) fn new(length: usize) -> Self {
        let lanes = (0..WRITERS).map(|_| mpsc::channel(length.max(1)));
        let (lanes, ends) = lanes.unzip();
        Self {
            lanes,
            ends: Mutex::new(ends),
        }
    }

    /// How many deliveries wait for a writer.
    pub(super) fn len(&self) -> usize {
        let lanes = self.lanes.iter();
        lanes
            .map(|lane| lane.max_capacity() - lane.capacity())
            .sum()
    }

    /// Leaves an event to the writers and waits for what becomes of it.
    pub(super) async fn wait_for(&self, event: Event) -> Result<Ingested, IngestError> {
        let (answer, answered) = oneshot::channel();
        let lane = &self.lanes[lane_of(&event)];
        lane.try_send(Delivery { event, answer })
            .map_err(|_| IngestError::Overloaded)?;
        // A writer that dies takes nothing with it but this group: Stripe delivers it again.
        let outcome = answered.await.map_err(|_| Error::Panicked)?;
        Ok(outcome?)
    }
}

/// Events of one customer always meet in one lane, where no two writers get into each other's way; those that name
/// none go by what they are about.
fn lane_of(event: &Event) -> usize {
    let mut hasher = DefaultHasher::new();
    let content = event.content.as_ref();
    let subject = content
        .and_then(|content| content.observation.as_ref().ok())
        .map(|observation| &observation.subject);
    let customer = subject.and_then(|subject| subject.customer.as_deref());
    let object = content.map(|content| content.object_id.as_str());
    customer.or(object).unwrap_or(&event.id).hash(&mut hasher);
    let lanes = u64::try_from(WRITERS).unwrap_or(1);
    usize::try_from(hasher.finish() % lanes).unwrap_or_default()
}

impl Events {
    /// Runs the writers until `stop` is cancelled; what waits then is written first.
    pub async fn write_queue(self, stop: CancellationToken) {
        let ends = std::mem::take(
            &mut *self
                .queue
                .ends
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let mut writers = JoinSet::new();
        for lane in ends {
            writers.spawn(self.clone().write_lane(lane, stop.clone()));
        }
        while let Some(ended) = writers.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a writer of webhooks ended badly");
            }
        }
    }

    async fn write_lane(self, mut lane: mpsc::Receiver<Delivery>, stop: CancellationToken) {
        loop {
            let next = tokio::select! {
                biased;
                next = lane.recv() => next,
                () = stop.cancelled() => {
                    lane.close();
                    lane.recv().await
                }
            };
            let Some(next) = next else { break };
            let mut group = vec![next];
            while group.len() < MAX_GROUP
                && let Ok(next) = lane.try_recv()
            {
                group.push(next);
            }
            // Nobody waits for it any more, so Stripe will deliver it again.
            group.retain(|delivery| !delivery.answer.is_closed());
            // In a task of its own: whatever goes wrong with a group, the lane goes on.
            if let Err(error) = tokio::spawn(self.clone().answer(group)).await {
                counter!("webhook_groups_died_total").increment(1);
                tracing::error!(%error, "a group of webhooks could not be written");
            }
        }
    }

    async fn answer(self, group: Vec<Delivery>) {
        let events: Vec<&Event> = group.iter().map(|delivery| &delivery.event).collect();
        let size = u32::try_from(events.len()).unwrap_or(u32::MAX);
        histogram!("webhook_group_size").record(size);
        let outcomes = self.take_all(&events, Cause::Webhook).await;
        for (delivery, outcome) in group.into_iter().zip(outcomes) {
            // Whoever asked may be gone: the retry is told that it is a duplicate.
            let _gone = delivery.answer.send(outcome);
        }
    }
}
