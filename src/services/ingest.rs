//! A webhook: one signature check, one lean parse, one read, one guarded write.

use metrics::{counter, gauge};

use super::Services;
use super::apply::{ApplyError, MAX_TRIES};
use crate::domain::facts::{Cause, Contradiction};
use crate::storage::StorageError;
use crate::storage::baskets::{self, By, Written};
use crate::storage::webhook_events::{self, EventRecord, EventState};
pub use crate::stripe::event::ParseError;
use crate::stripe::event::{Content, Event};
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
    /// It claims a row that isn't its own: recorded for an operator, not applied.
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

impl From<StorageError> for IngestError {
    fn from(error: StorageError) -> Self {
        Self::Apply(error.into())
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
        gauge!("webhook_last_received_timestamp_seconds").set(unix_seconds(self.clock.wall()));
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
        // 3. Of a type that says something to us.
        let Some(Content {
            kind: event_type,
            object_id,
            observation,
        }) = content
        else {
            *kind = "other";
            return Ok(Ingested::Uninteresting);
        };
        *kind = event_type.as_str();
        let event = EventRecord {
            id: &id,
            kind: event_type.as_str(),
            object_id: &object_id,
            created,
            state: EventState::Applied,
            next_attempt_at: None,
        };
        // 4. About a row of ours, as the row itself says; then it is merged and recorded in one statement.
        let by = By {
            cause: Cause::Webhook,
            reference: Some(&id),
            actor: None,
            reason: None,
        };
        for _ in 0..MAX_TRIES {
            let observation = match &observation {
                Ok(observation) => observation,
                Err(unknown) => return self.flag(&event, &unknown.to_string()).await,
            };
            let mut found = baskets::find(&self.pool, &observation.subject, Some(&id)).await?;
            if found.seen {
                return Ok(Ingested::Duplicate);
            }
            let Some(basket) = found.baskets.pop() else {
                return Ok(Ingested::Foreign);
            };
            if !found.baskets.is_empty() {
                return self
                    .flag(&event, Contradiction::SeveralCheckouts.as_str())
                    .await;
            }
            match self.write(&basket, observation, Some(event), &by).await {
                Ok((Written::Done, applied)) if applied.doubtful => return Ok(Ingested::Deferred),
                Ok((Written::Done, _)) => return Ok(Ingested::Applied),
                Ok((Written::Duplicate, _)) => return Ok(Ingested::Duplicate),
                Ok((Written::Moved, _)) => {}
                Err(ApplyError::Contradiction(contradiction)) => {
                    return self.flag(&event, contradiction.as_str()).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(ApplyError::Contended.into())
    }

    async fn flag(&self, event: &EventRecord<'_>, cause: &str) -> Result<Ingested, IngestError> {
        webhook_events::insert_flagged(&self.pool, event, cause, self.clock.now()).await?;
        tracing::warn!(
            event_id = event.id,
            event_type = event.kind,
            cause,
            "an event was flagged and not applied"
        );
        Ok(Ingested::Flagged)
    }
}

/// Seconds since 1970, as a metric wants them.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact until the year 285 million"
)]
fn unix_seconds(at: time::OffsetDateTime) -> f64 {
    at.unix_timestamp() as f64
}
