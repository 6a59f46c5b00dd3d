//! An open invoice was paid elsewhere, by cash or transfer, and Stripe is told so. Nothing takes that back.

use time::OffsetDateTime;

use super::{About, ActError, Acted, Ask, Began, Ended, Preview, Verb};
use crate::domain::ids::SubscriptionId;
use crate::purchases::line::{Line, Obstacle};
use crate::services::operators::Operators;
use crate::stripe::objects::{OpenInvoice, time_of};

/// The invoice that would count as paid.
#[derive(Clone, Debug)]
pub struct SettlePreview {
    /// `in_…`.
    pub invoice: String,
    /// ISO 4217, lower case.
    pub currency: String,
    /// Minor units that are open.
    pub amount_due: i64,
    /// When Stripe tries to collect it by itself the next time.
    pub next_attempt_at: Option<OffsetDateTime>,
}

impl Operators {
    /// What settling would do.
    pub async fn preview_settle(
        &self,
        id: SubscriptionId,
        invoice: Option<&str>,
    ) -> Result<Preview, ActError> {
        let line = self.purchases.line(id).await?.ok_or(ActError::NotFound)?;
        let open = self.open_invoice(&line, invoice).await?;
        Ok(Preview::Settle(open))
    }

    /// Has Stripe count an open invoice as paid.
    pub async fn settle(
        &self,
        id: SubscriptionId,
        invoice: Option<&str>,
        ask: &Ask,
    ) -> Result<Acted, ActError> {
        if let Some(action) = self.repeated(ask).await? {
            return Ok(Acted::of(action, id));
        }
        let line = self.line_for(id, ask).await?;
        let open = self.open_invoice(&line, invoice).await?;
        let subject = id.to_string();
        let about = About {
            target: Some(&open.invoice),
            ..About::new(Verb::Settle, &subject, Some(&line.basket.checkout.user))
        };
        if let Some(action) = self.begin(ask, &about).await? {
            return Ok(Acted::of(action, id));
        }
        let began = self.begins();
        let ended = self.settle_now(&line, &open.invoice, ask, began).await;
        let action = self.conclude(ask.key, ended).await?;
        Ok(Acted::of(action, id))
    }

    async fn settle_now(
        &self,
        line: &Line,
        invoice: &str,
        ask: &Ask,
        began: Began,
    ) -> Result<Ended, ActError> {
        // Somebody may have settled or paid it since it was chosen.
        self.open_invoice(line, Some(invoice)).await?;
        // A process that slept may have been taken for dead, and the act settled.
        if self.is_too_late(began) {
            return Ok(Ended::unknown("too_late"));
        }
        let client = &self.purchases.account.client;
        client
            .settle_invoice(invoice, &format!("action:{}", ask.key))
            .await?;
        // Where that fails the webhook tells it.
        if let Err(error) = self.events.sync(&line.basket, Some(&Self::by(ask))).await {
            tracing::warn!(%error, action_id = %ask.key, "what a settled invoice changed could not be written: its webhook will");
        }
        Ok(Ended::done("settled"))
    }

    /// The open invoice that is meant: one by its id, else the newest.
    async fn open_invoice(
        &self,
        line: &Line,
        meant: Option<&str>,
    ) -> Result<SettlePreview, ActError> {
        let Some(stripe) = &line.row.stripe_subscription else {
            return Err(if line.row.recurring {
                Obstacle::AwaitingPayment.into()
            } else {
                ActError::NothingToSettle
            });
        };
        let client = &self.purchases.account.client;
        let open: Vec<OpenInvoice> = client.list_open_invoices(stripe).await?.body.data;
        if open.is_empty() {
            return Err(ActError::NothingToSettle);
        }
        let is_meant = |invoice: &OpenInvoice| meant.is_none_or(|meant| invoice.id == meant);
        let found = open.into_iter().find(is_meant).ok_or_else(|| {
            let detail = "This is no open invoice of it.";
            ActError::invalid("invoice", "unknown_value", detail)
        })?;
        // Money that is on its way would come as well.
        if let Some(intent) = found.payment_intent_id() {
            let payment = client.retrieve_payment_intent(intent).await?.body;
            if matches!(payment.status.as_deref(), Some("processing" | "succeeded")) {
                return Err(Obstacle::PaymentProcessing.into());
            }
        }
        Ok(SettlePreview {
            amount_due: found.amount_remaining.unwrap_or(found.amount_due),
            next_attempt_at: found.next_payment_attempt.and_then(time_of),
            invoice: found.id,
            currency: found.currency,
        })
    }

    /// What came of settling an invoice that was cut off: Stripe's word. None as long as it is open.
    pub(super) async fn find_settled(&self, invoice: &str) -> Result<Option<Ended>, ActError> {
        let client = &self.purchases.account.client;
        let held = client.retrieve_invoice(invoice).await?.body;
        if held.status.as_deref() != Some("paid") {
            return Ok(None);
        }
        // Stripe may have collected it by itself: then it was not paid elsewhere.
        let payments = client.list_payments_of_invoice(invoice).await?.body;
        Ok(Some(if payments.paid_by().is_some() {
            Ended::refused("paid_by_stripe")
        } else {
            Ended::done("settled")
        }))
    }
}
