//! A webhook: one signature check, one lean parse, one read, one guarded write.

use std::sync::atomic::Ordering;

use metrics::counter;

use super::Services;
use super::apply::{ApplyError, MAX_TRIES};
use crate::domain::facts::{Cause, Contradiction};
use crate::storage::baskets::{self, By, Written};
use crate::storage::customers;
use crate::storage::webhook_events::{self, EventRecord, EventState};
pub use crate::stripe::event::ParseError;
use crate::stripe::event::{Event, EventType};
use crate::stripe::signature::SignatureError;

/// What became of a delivery that was answered with 2xx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingested {
    /// Its facts are in our rows.
    Applied,
    /// It is recorded; the worker reads Stripe to be sure.
    Deferred,
    /// It was recorded before.
    Duplicate,
    /// It concerns none of our rows.
    Foreign,
    /// It is of a type that Dues doesn't act on.
    Uninteresting,
    /// Recorded for an operator: it claims a row that isn't its own and was not applied, or says what the plans
    /// don't know.
    Flagged,
}

impl Ingested {
    /// The label in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Deferred => "deferred",
            Self::Duplicate => "duplicate",
            Self::Foreign => "foreign",
            Self::Uninteresting => "uninteresting",
            Self::Flagged => "flagged",
        }
    }
}

/// Why a delivery was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// It isn't Stripe's, or not of now.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It is Stripe's, but no event that can be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A test event at a live service, or the reverse.
    #[error("the event is of the other mode (test or live) than DUES__STRIPE__SECRET_KEY")]
    WrongMode,
    /// Our own trouble: Stripe shall deliver it again.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl IngestError {
    /// The label in the metrics and the code in the answer.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Signature(_) => "bad_signature",
            Self::Parse(ParseError::Envelope(_)) => "malformed_event",
            Self::Parse(ParseError::Object { .. }) => "unreadable_object",
            Self::WrongMode => "wrong_mode",
            Self::Apply(_) => "unavailable",
        }
    }
}

impl Services {
    /// Takes a delivery of Stripe: raw bytes and the value of the header `Stripe-Signature`.
    pub async fn ingest(
        &self,
        body: &[u8],
        signature: Option<&str>,
    ) -> Result<Ingested, IngestError> {
        let mut kind = "unknown";
        let result = self.ingest_event(body, signature, &mut kind).await;
        let outcome = result
            .as_ref()
            .map_or_else(IngestError::code, |ingested| ingested.as_str());
        counter!("webhook_events_total", "type" => kind, "outcome" => outcome).increment(1);
        result
    }

    async fn ingest_event(
        &self,
        body: &[u8],
        signature: Option<&str>,
        kind: &mut &'static str,
    ) -> Result<Ingested, IngestError> {
        // 1. Stripe signed these bytes, just now. Its clock is the wall's even where ours follows a sandbox.
        let tolerance = time::Duration::try_from(self.settings.stripe.webhook_tolerance)
            .unwrap_or(time::Duration::MAX);
        self.secrets
            .verify(signature, body, self.clock.wall(), tolerance)?;
        self.last_webhook
            .store(self.clock.wall().unix_timestamp(), Ordering::Relaxed);
        // 2. It is an event of our mode.
        let Event {
            id,
            created,
            livemode,
            content,
        } = self.observer.event(body)?;
        if livemode != self.settings.livemode() {
            return Err(IngestError::WrongMode);
        }
        *kind = content
            .as_ref()
            .map_or("other", |content| content.kind.as_str());
        // 3. It says something about a row of ours.
        Ok(self
            .take(
                &Event {
                    id,
                    created,
                    livemode,
                    content,
                },
                Cause::Webhook,
            )
            .await?)
    }

    /// Applies an event that is known to be Stripe's, whichever way it came.
    pub(super) async fn take(&self, event: &Event, cause: Cause) -> Result<Ingested, ApplyError> {
        let Some(content) = &event.content else {
            return Ok(Ingested::Uninteresting);
        };
        let record = EventRecord {
            id: &event.id,
            kind: content.kind.as_str(),
            object_id: &content.object_id,
            created: event.created,
            state: EventState::Applied,
            next_attempt_at: None,
            cause: None,
        };
        if content.kind == EventType::CustomerDeleted {
            let forgot = customers::update_deleted(&self.pool, &content.object_id).await?;
            return Ok(if forgot {
                Ingested::Applied
            } else {
                Ingested::Foreign
            });
        }
        let observation = match &content.observation {
            Ok(observation) => observation,
            Err(unknown) => return self.flag(&record, &unknown.to_string()).await,
        };
        // The row itself says whether it is the event's; then all of it is merged and recorded in one statement.
        let by = By {
            cause,
            reference: Some(&event.id),
            actor: None,
        };
        for _ in 0..MAX_TRIES {
            let mut found =
                baskets::find(&self.pool, &observation.subject, Some(&event.id)).await?;
            if found.seen {
                return Ok(Ingested::Duplicate);
            }
            let Some(basket) = found.baskets.pop() else {
                return if content.may_be_ours {
                    self.defer(&record).await
                } else {
                    Ok(Ingested::Foreign)
                };
            };
            if !found.baskets.is_empty() {
                return self
                    .flag(&record, Contradiction::SeveralCheckouts.as_str())
                    .await;
            }
            match self.write(&basket, observation, Some(record), &by).await {
                Ok((Written::Done, applied)) if applied.doubtful => return Ok(Ingested::Deferred),
                Ok((Written::Done, applied)) if applied.flag.is_some() => {
                    return Ok(Ingested::Flagged);
                }
                Ok((Written::Done, _)) => return Ok(Ingested::Applied),
                Ok((Written::Duplicate, _)) => return Ok(Ingested::Duplicate),
                Ok((Written::Moved, _)) => {}
                Err(ApplyError::Contradiction(contradiction)) => {
                    return self.flag(&record, contradiction.as_str()).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(ApplyError::Contended)
    }

    /// Leaves an event to the worker: only Stripe knows whose payment it is about.
    async fn defer(&self, event: &EventRecord<'_>) -> Result<Ingested, ApplyError> {
        let now = self.clock.now();
        let event = EventRecord {
            state: EventState::Deferred,
            next_attempt_at: Some(now),
            ..*event
        };
        let new = webhook_events::insert(&self.pool, &event, now).await?;
        self.deferred.notify_one();
        Ok(if new {
            Ingested::Deferred
        } else {
            Ingested::Duplicate
        })
    }

    async fn flag(&self, event: &EventRecord<'_>, cause: &str) -> Result<Ingested, ApplyError> {
        let record = EventRecord {
            state: EventState::Flagged,
            cause: Some(cause),
            ..*event
        };
        webhook_events::insert(&self.pool, &record, self.clock.now()).await?;
        tracing::warn!(
            event_id = event.id,
            event_type = event.kind,
            cause,
            "an event was flagged and not applied"
        );
        Ok(Ingested::Flagged)
    }
}
