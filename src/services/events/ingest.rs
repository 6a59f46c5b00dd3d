//! A webhook: one signature check, one lean parse; then it waits with others for one read and one guarded write.

use std::sync::atomic::Ordering;

use metrics::counter;

use super::Events;
use crate::purchases::Error;
use crate::stripe::event::ParseError;
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
    /// It is Stripe's, but no event.
    #[error(transparent)]
    Malformed(ParseError),
    /// It is Stripe's, but tells nothing by itself.
    #[error(transparent)]
    Thin(ParseError),
    /// It is an event of a type that Dues acts on, but its object can't be read.
    #[error(transparent)]
    Unreadable(ParseError),
    /// One of its names can't be a name: it holds what no text in the database can.
    #[error("the event names something by a text that can't be a name")]
    Unstorable,
    /// A test event at a live service, or the reverse.
    #[error("the event is of the other mode (test or live) than DUES__STRIPE__SECRET_KEY")]
    WrongMode,
    /// More deliveries wait than can be worked on: Stripe shall deliver it again.
    #[error("too many deliveries are waiting")]
    Overloaded,
    /// Our own trouble: Stripe shall deliver it again.
    #[error(transparent)]
    Apply(#[from] Error),
}

impl From<ParseError> for IngestError {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Envelope(_) => Self::Malformed(error),
            ParseError::Thin => Self::Thin(error),
            ParseError::Object { .. } => Self::Unreadable(error),
        }
    }
}

impl IngestError {
    /// The label in the metrics and the code in the answer.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Signature(_) => "bad_signature",
            Self::Malformed(_) | Self::Unstorable => "malformed_event",
            Self::Thin(_) => "thin_event",
            Self::Unreadable(_) => "unreadable_object",
            Self::WrongMode => "wrong_mode",
            Self::Overloaded => "overloaded",
            Self::Apply(_) => "unavailable",
        }
    }
}

impl Events {
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
        self.account
            .secrets
            .verify(signature, body, self.clock.wall(), tolerance)?;
        self.last_webhook
            .store(self.clock.wall().unix_timestamp(), Ordering::Relaxed);
        // 2. It is an event of our account and our mode. Connected accounts' come in both.
        let event = self.account.observer.event(body)?;
        if event.elsewhere {
            return Ok(Ingested::Foreign);
        }
        if event.livemode != self.account.livemode {
            return Err(IngestError::WrongMode);
        }
        let Some(content) = &event.content else {
            *kind = "other";
            return Ok(Ingested::Uninteresting);
        };
        *kind = content.kind.as_str();
        // 3. What it says about rows of ours is written with what others say that arrive at the same time.
        match self.queue.wait_for(event).await {
            // It would be the same at every delivery.
            Err(IngestError::Apply(error)) if error.is_of_a_text() => Err(IngestError::Unstorable),
            settled => settled,
        }
    }
}
