//! Events.

use serde_json::value::RawValue;
use stripe_client_core::StripeRequest as _;
use stripe_core::event::{ListEvent, RetrieveEvent};
use time::OffsetDateTime;

use super::PAGE;
use crate::stripe::client::{Answer, Operation, Stripe, StripeError};
use crate::stripe::objects::List;

impl Stripe {
    /// Events made from `from` up to `to` (not included), newest first, one page after the event `after`.
    pub async fn list_events(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        after: Option<&str>,
    ) -> Result<Answer<List<Box<RawValue>>>, StripeError> {
        let created = stripe_types::RangeQueryTs::Bounds(stripe_types::RangeBoundsTs {
            gte: Some(from.unix_timestamp()),
            lt: Some(to.unix_timestamp()),
            ..stripe_types::RangeBoundsTs::default()
        });
        let mut request = ListEvent::new().created(created).limit(PAGE);
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        self.call(Operation::ListEvents, request.build(), None)
            .await
    }

    /// An event as it was sent: Stripe keeps them for 30 days.
    pub async fn retrieve_event(&self, id: &str) -> Result<Box<RawValue>, StripeError> {
        Ok(self
            .call(
                Operation::RetrieveEvent,
                RetrieveEvent::new(id).build(),
                None,
            )
            .await?
            .body)
    }
}
