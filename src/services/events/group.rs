//! Events in groups: one read and one write for many. A group of one is a group like any other.
//!
//! All baskets that the events name are found in one query, what the events say is merged in memory in the order in
//! which they were taken, and all of it is written in one statement. The guard is each basket's own: one that moved
//! sends its own events round again and holds up nobody.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Events;
use super::ingest::Ingested;
use crate::domain::actor::{By, Cause};
use crate::domain::facts::{Contradiction, Observation};
use crate::purchases::{Error, HELD_ALREADY, Knowing, MAX_TRIES, keep_plans, tell};
use crate::storage::baskets::{self, Batch, Draft, Question};
use crate::storage::webhook_events::{EventRecord, EventState};
use crate::storage::{StorageError, customers};
use crate::stripe::event::{Content, Event, EventType};

/// Most events of one group: what is read and written for them stays small.
pub(in crate::services) const MAX_GROUP: usize = 128;

/// What became of an event, or why it could not be recorded.
pub(super) type Outcome = Result<Ingested, Error>;

/// How events came to be taken.
#[derive(Clone, Copy)]
pub(super) struct Way {
    /// Of what they change.
    cause: Cause,
    /// Whether they are recorded already, and their records are to be written anew.
    again: bool,
    /// Whether what somebody else has locked is left, rather than waited for.
    skip_locked: bool,
}

impl Way {
    /// As Stripe delivers them.
    pub(super) const WEBHOOK: Self = Self {
        cause: Cause::Webhook,
        again: false,
        skip_locked: false,
    };
    /// As Stripe lists them.
    pub(super) const RECONCILE: Self = Self {
        cause: Cause::Reconcile,
        ..Self::WEBHOOK
    };
    /// As somebody asks for them again, whatever became of them before.
    pub(super) const AGAIN: Self = Self {
        again: true,
        ..Self::RECONCILE
    };
}

/// An event of a group that is still to be settled.
#[derive(Clone, Copy)]
struct Told<'a> {
    /// Its place in the group.
    place: usize,
    id: &'a str,
    record: EventRecord<'a>,
    content: &'a Content,
}

/// What a round makes of an event.
struct Judged<'a> {
    place: usize,
    record: EventRecord<'a>,
    /// The place of its basket among the drafts.
    draft: Option<usize>,
    ingested: Ingested,
}

impl Events {
    /// Applies one event that is known to be Stripe's, whichever way it came.
    pub(super) async fn take(&self, event: &Event, way: Way) -> Outcome {
        let mut outcomes = self.take_all(&[event], way).await;
        outcomes.pop().unwrap_or(Err(Error::Contended))
    }

    /// Applies events that are known to be Stripe's, whichever way they came; answers in their order.
    pub(super) async fn take_all(&self, events: &[&Event], way: Way) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = events.iter().map(|_| None).collect();
        let mut waiting = Vec::with_capacity(events.len());
        let mut first = HashMap::with_capacity(events.len());
        let mut twins = Vec::new();
        for (place, event) in events.iter().enumerate() {
            let Some(content) = &event.content else {
                outcomes[place] = Some(Ok(Ingested::Uninteresting));
                continue;
            };
            // The same event twice shares its fate.
            if let Some(twin) = first.insert(event.id.as_str(), place) {
                first.insert(event.id.as_str(), twin);
                twins.push((place, twin));
                continue;
            }
            if content.kind == EventType::CustomerDeleted {
                outcomes[place] = Some(self.forget_customer(&content.object_id).await);
                continue;
            }
            waiting.push(Told::of(place, event, content));
        }
        if let Err(error) = self.settle_group(&mut waiting, way, &mut outcomes).await {
            let one_by_one = waiting.len() > 1
                && matches!(&error, Error::Storage(error) if error.is_of_the_data());
            let error = Arc::new(error);
            for told in waiting {
                // One bad event shall hurt no neighbour.
                let outcome = if one_by_one {
                    Box::pin(self.take(events[told.place], way)).await
                } else {
                    Err(Error::Shared(Arc::clone(&error)))
                };
                outcomes[told.place] = Some(outcome);
            }
        }
        for (place, twin) in twins {
            outcomes[place] = match outcomes[twin].take() {
                Some(Err(error)) => {
                    let error = Arc::new(error);
                    outcomes[twin] = Some(Err(Error::Shared(Arc::clone(&error))));
                    Some(Err(Error::Shared(error)))
                }
                first => {
                    outcomes[twin] = first;
                    first_again(outcomes[twin].as_ref())
                }
            };
        }
        let outcomes = outcomes.into_iter();
        outcomes
            .map(|outcome| outcome.unwrap_or(Err(Error::Contended)))
            .collect()
    }

    async fn forget_customer(&self, id: &str) -> Outcome {
        let forgot = customers::update_deleted(&self.pool, id).await;
        match forgot {
            Ok(true) => Ok(Ingested::Applied),
            Ok(false) => Ok(Ingested::Foreign),
            Err(error) => Err(error.into()),
        }
    }

    /// Rounds of reading, merging and writing, until nothing is left; what is left at the end kept moving.
    async fn settle_group(
        &self,
        waiting: &mut Vec<Told<'_>>,
        way: Way,
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Error> {
        for _ in 0..MAX_TRIES {
            if waiting.is_empty() {
                break;
            }
            let round = self.round(waiting, way, outcomes).await;
            match round {
                // Somebody keeps a line locked. Its own events come again, and the others wait no longer for them.
                Err(Error::Storage(error)) if error.is_of_a_lock() => {
                    let skipping = Way {
                        skip_locked: true,
                        ..way
                    };
                    return self.round(waiting, skipping, outcomes).await;
                }
                round => round?,
            }
        }
        Ok(())
    }

    /// One read, one merge in memory, one write. What is settled leaves `waiting`; with `skip_locked` the events of
    /// lines that somebody else has locked stay there, and nobody waits for the locks.
    async fn round(
        &self,
        waiting: &mut Vec<Told<'_>>,
        way: Way,
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Error> {
        let mut asked = Question::default();
        for told in waiting.iter() {
            if !way.again {
                asked.event(told.id);
            }
            if let Ok(observation) = &told.content.observation {
                asked.about(&observation.subject);
            }
        }
        let mut connection = self.pool.acquire().await.map_err(StorageError::from)?;
        let found = baskets::find(&mut *connection, &asked).await?;
        waiting.retain(|told| {
            let seen = found.seen.contains(told.id);
            if seen {
                outcomes[told.place] = Some(Ok(Ingested::Duplicate));
            }
            !seen
        });
        let mut drafts: Vec<Draft> = found.baskets.into_iter().map(Draft::of).collect();
        let mut judged = Vec::with_capacity(waiting.len());
        let mut unclaimed = Vec::new();
        for told in waiting.iter() {
            match self.judge(told, &mut drafts, way) {
                Some(Ok(one)) => judged.push(one),
                Some(Err(error)) => outcomes[told.place] = Some(Err(error)),
                None => unclaimed.push(*told),
            }
        }
        // What names only a payment may be about one that a later event of the group has told.
        for told in unclaimed {
            match self.judge(&told, &mut drafts, way) {
                Some(Ok(one)) => judged.push(one),
                Some(Err(error)) => outcomes[told.place] = Some(Err(error)),
                None if told.content.may_be_ours => judged.push(self.defer(&told)),
                None => outcomes[told.place] = Some(Ok(Ingested::Foreign)),
            }
        }
        waiting.retain(|told| outcomes[told.place].is_none());
        if judged.is_empty() {
            return Ok(());
        }
        let written = self.write_group(&mut connection, &mut drafts, &mut judged, way);
        let Some(written) = written.await? else {
            return Ok(());
        };
        for one in judged {
            if one.draft.is_none_or(|draft| written[draft]) {
                self.announce(&one);
                outcomes[one.place] = Some(Ok(one.ingested));
            }
        }
        for (draft, _) in drafts.iter().zip(written).filter(|(_, written)| *written) {
            tell(draft);
        }
        waiting.retain(|told| outcomes[told.place].is_none());
        Ok(())
    }

    /// Writes a round; none if one of its events was recorded by somebody else meanwhile, so that it must be read anew.
    async fn write_group(
        &self,
        connection: &mut sqlx::PgConnection,
        drafts: &mut [Draft],
        judged: &mut [Judged<'_>],
        way: Way,
    ) -> Result<Option<Vec<bool>>, Error> {
        loop {
            let events: Vec<_> = judged.iter().map(|one| (one.record, one.draft)).collect();
            let batch = Batch {
                drafts,
                events: &events,
                now: self.clock.now(),
                grace: self.settings.lifecycle.grace,
                again: way.again,
                skip_locked: way.skip_locked,
                is_import: false,
            };
            match baskets::write(connection, &batch).await {
                Ok(written) => return Ok(Some(written)),
                Err(error) if error.constraint() == Some("webhook_events_pkey") => return Ok(None),
                // Alone, a plan that the member holds already is left as it was.
                Err(error) if error.is_held_already() => match (&mut *drafts, &mut *judged) {
                    ([draft], [one]) if one.record.cause != Some(HELD_ALREADY) => {
                        let by = By::event(one.record.id, way.cause);
                        keep_plans(draft, &by, self.clock.now());
                        one.flag(HELD_ALREADY);
                    }
                    _ => return Err(error.into()),
                },
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Merges an event into the draft of its basket; none if no basket is known to be its own.
    fn judge<'a>(
        &self,
        told: &Told<'a>,
        drafts: &mut [Draft],
        way: Way,
    ) -> Option<Result<Judged<'a>, Error>> {
        let observation = match &told.content.observation {
            Ok(observation) => observation,
            Err(unknown) => return Some(Ok(told.flagged(unknown.as_str()))),
        };
        let mut own =
            (0..drafts.len()).filter(|place| observation.subject.points_at(&drafts[*place].after));
        let draft = own.next()?;
        if own.next().is_some() {
            let cause = Contradiction::SeveralCheckouts.as_str();
            return Some(Ok(told.flagged(cause)));
        }
        // Whatever is wrong with one event is wrong with that event alone.
        let merging = AssertUnwindSafe(|| self.merge(told, &mut drafts[draft], observation, way));
        let merged = catch_unwind(merging).map_err(|_| Error::Panicked);
        Some(merged.map(|one| Judged {
            draft: Some(draft),
            ..one
        }))
    }

    fn merge<'a>(
        &self,
        told: &Told<'a>,
        draft: &mut Draft,
        observation: &Observation,
        way: Way,
    ) -> Judged<'a> {
        let by = By::event(told.id, way.cause);
        let knowing = match way.cause {
            Cause::Webhook if !way.again => Knowing::First,
            _ => Knowing::More,
        };
        let left = match self.purchases.merge(draft, observation, &by, knowing) {
            Ok(left) => left,
            Err(contradiction) => return told.flagged(contradiction.as_str()),
        };
        if left.doubtful {
            self.defer(told)
        } else if let Some(flag) = left.flag {
            told.flagged(flag)
        } else {
            Judged {
                place: told.place,
                record: told.record,
                draft: None,
                ingested: Ingested::Applied,
            }
        }
    }

    /// Leaves an event to upkeep: only Stripe knows.
    fn defer<'a>(&self, told: &Told<'a>) -> Judged<'a> {
        Judged {
            place: told.place,
            record: EventRecord {
                state: EventState::Deferred,
                next_attempt_at: Some(self.clock.now()),
                ..told.record
            },
            draft: None,
            ingested: Ingested::Deferred,
        }
    }

    /// Says what was recorded, where somebody has to do something about it.
    fn announce(&self, one: &Judged<'_>) {
        match one.record.state {
            EventState::Deferred => self.purchases.deferred.notify_one(),
            EventState::Flagged => tracing::warn!(
                event_id = one.record.id,
                event_type = one.record.kind,
                cause = one.record.cause,
                "an event was flagged: a person should look"
            ),
            EventState::Applied | EventState::Failed => {}
        }
    }
}

impl<'a> Told<'a> {
    fn of(place: usize, event: &'a Event, content: &'a Content) -> Self {
        Self {
            place,
            id: &event.id,
            record: EventRecord {
                id: &event.id,
                kind: content.kind.as_str(),
                object_id: &content.object_id,
                created: event.created,
                state: EventState::Applied,
                next_attempt_at: None,
                cause: None,
            },
            content,
        }
    }

    fn flagged(&self, cause: &'static str) -> Judged<'a> {
        let mut one = Judged {
            place: self.place,
            record: self.record,
            draft: None,
            ingested: Ingested::Flagged,
        };
        one.flag(cause);
        one
    }
}

impl Judged<'_> {
    fn flag(&mut self, cause: &'static str) {
        self.record.state = EventState::Flagged;
        self.record.next_attempt_at = None;
        self.record.cause = Some(cause);
        self.ingested = Ingested::Flagged;
    }
}

/// What a repeat of an event is told that has just been settled.
fn first_again(first: Option<&Outcome>) -> Option<Outcome> {
    match first {
        Some(Ok(Ingested::Foreign)) => Some(Ok(Ingested::Foreign)),
        Some(Ok(_)) => Some(Ok(Ingested::Duplicate)),
        Some(Err(_)) | None => None,
    }
}
