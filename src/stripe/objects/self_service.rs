//! What members see when they look after what they hold: previews, open invoices, the portal.

use serde::Deserialize;

use super::{Expandable, InvoicePayment, List, Reference, or_default};

/// An invoice that there is not yet.
#[derive(Clone, Debug, Deserialize)]
pub struct Preview {
    /// ISO 4217, lower case.
    pub currency: String,
    /// Minor units; nothing where a credit is larger.
    pub amount_due: i64,
    /// What is charged and credited.
    pub lines: List<PreviewLine>,
}

/// A line of such an invoice.
#[derive(Clone, Debug, Deserialize)]
pub struct PreviewLine {
    /// Minor units; negative for a credit.
    pub amount: i64,
    /// Written for customers.
    pub description: Option<String>,
    /// What it is for.
    pub period: Option<Period>,
    /// Since 2025-03-31.
    pub parent: Option<LineParent>,
    /// Before 2025-03-31.
    #[serde(default, deserialize_with = "or_default")]
    pub proration: bool,
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Period {
    /// Unix seconds.
    pub start: i64,
    /// Unix seconds.
    pub end: i64,
}

/// What a line came from.
#[derive(Clone, Debug, Deserialize)]
pub struct LineParent {
    /// Of the subscription itself.
    pub subscription_item_details: Option<LineDetails>,
    /// Of what waits for an invoice.
    pub invoice_item_details: Option<LineDetails>,
}

/// What a line says of where it came from.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct LineDetails {
    /// Whether it is for a part of a period.
    #[serde(default, deserialize_with = "or_default")]
    pub proration: bool,
}

impl PreviewLine {
    /// Whether it is for a part of a period.
    pub fn is_proration(&self) -> bool {
        let details = self.parent.as_ref().and_then(|parent| {
            parent
                .subscription_item_details
                .or(parent.invoice_item_details)
        });
        details.map_or(self.proration, |details| details.proration)
    }
}

/// An invoice that waits for its payment.
#[derive(Clone, Debug, Deserialize)]
pub struct OpenInvoice {
    /// `in_…`.
    pub id: String,
    /// ISO 4217, lower case.
    pub currency: String,
    /// Minor units.
    pub amount_due: i64,
    /// Minor units that are not paid yet.
    pub amount_remaining: Option<i64>,
    /// Unix seconds.
    pub created: i64,
    /// Unix seconds; none when Stripe does not try again.
    pub next_payment_attempt: Option<i64>,
    /// Where its customer can pay it: a bearer link, never logged.
    pub hosted_invoice_url: Option<String>,
    /// Since 2025-03-31, when expanded.
    pub payments: Option<List<InvoicePayment>>,
    /// Before 2025-03-31.
    pub payment_intent: Option<Expandable<Reference>>,
}

impl OpenInvoice {
    /// `pi_…` of what is to pay it.
    pub fn payment_intent_id(&self) -> Option<&str> {
        let payments = self.payments.iter().flat_map(|payments| &payments.data);
        let open = payments
            .filter(|payment| payment.status.as_deref() == Some("open"))
            .find_map(InvoicePayment::payment_intent_id);
        open.or_else(|| self.payment_intent.as_ref().map(Expandable::id))
    }
}

/// A session of the customer portal.
#[derive(Clone, Debug, Deserialize)]
pub struct PortalSession {
    /// A bearer link, never logged.
    pub url: String,
}
