//! Payments, refunds, disputes.

use serde::Deserialize;

use super::{Expandable, List, Metadata, Reference, or_default};

/// A payment intent.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PaymentIntent {
    /// `pi_…`.
    pub id: String,
    /// `cus_…`.
    pub customer: Option<Expandable<Reference>>,
    /// Ours, on a payment without an invoice.
    pub metadata: Option<Metadata>,
    /// The charge that succeeded, or the last that failed.
    pub latest_charge: Option<Expandable<Charge>>,
    /// `requires_payment_method`, `requires_action`, `processing`, `succeeded`, …
    pub status: Option<String>,
    /// Why the newest attempt failed.
    pub last_payment_error: Option<PaymentError>,
}

/// Why a payment failed, without Stripe's texts: see [`crate::stripe::declines`].
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PaymentError {
    /// `card_declined`, `expired_card`, …
    pub code: Option<String>,
    /// What the bank said.
    pub decline_code: Option<String>,
    /// What the card's network recommends.
    pub advice_code: Option<String>,
}

/// A charge.
#[derive(Clone, Debug, Deserialize)]
pub struct Charge {
    /// `ch_…`.
    pub id: String,
    /// `pi_…`.
    pub payment_intent: Option<Expandable<Reference>>,
    /// `cus_…`.
    pub customer: Option<Expandable<Reference>>,
    /// The payment intent's, on a payment without an invoice.
    pub metadata: Option<Metadata>,
    /// Unix seconds.
    pub created: Option<i64>,
    /// ISO 4217, lower case.
    pub currency: Option<String>,
    /// Minor units that were asked for.
    pub amount: Option<i64>,
    /// Minor units that were taken.
    pub amount_captured: Option<i64>,
    /// False while money is only reserved.
    pub captured: Option<bool>,
    /// `succeeded`, `pending`, `failed`.
    pub status: Option<String>,
    /// Why it failed, as an error code.
    pub failure_code: Option<String>,
    /// Why it failed, as the bank said.
    pub outcome: Option<ChargeOutcome>,
    /// What the payment was called.
    pub description: Option<String>,
    /// The receipt's page: a bearer link, never logged.
    pub receipt_url: Option<String>,
    /// Whether there ever was a dispute.
    #[serde(default, deserialize_with = "or_default")]
    pub disputed: bool,
    /// Before 2025-03-31.
    pub invoice: Option<Expandable<Reference>>,
    /// Whether money came.
    #[serde(default, deserialize_with = "or_default")]
    pub paid: bool,
    /// Whether all of it went back.
    #[serde(default, deserialize_with = "or_default")]
    pub refunded: bool,
    /// Minor units of all refunds so far; used only to tell some from none.
    pub amount_refunded: Option<i64>,
    /// Before 2022-11-15, and when expanded.
    pub refunds: Option<List<Refund>>,
    /// The number of the receipt that Stripe mailed, if it did.
    pub receipt_number: Option<String>,
    /// How it was paid.
    pub payment_method_details: Option<PaymentMethodDetails>,
}

/// How a charge was paid: the kind alone, neither card nor account.
#[derive(Clone, Debug, Deserialize)]
pub struct PaymentMethodDetails {
    /// `card`, `sepa_debit`, …
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

impl Charge {
    /// Minor units that were taken: of what was only reserved perhaps less than was asked for.
    pub fn taken(&self) -> Option<i64> {
        self.amount_captured.or(self.amount)
    }

    /// Whether there ever was a refund or a dispute, be it one that failed; of a charge that was listed with its refunds.
    pub fn ever_went_back(&self) -> bool {
        let refunds = self.refunds.as_ref();
        self.disputed
            || self.amount_refunded.is_some_and(|amount| amount > 0)
            || refunds.is_some_and(|refunds| !refunds.data.is_empty())
    }
}

/// What the bank said of a charge.
#[derive(Clone, Debug, Deserialize)]
pub struct ChargeOutcome {
    /// The decline code.
    pub reason: Option<String>,
}

/// A refund.
#[derive(Clone, Debug, Deserialize)]
pub struct Refund {
    /// `re_…`.
    pub id: String,
    /// `pending`, `requires_action`, `succeeded`, `failed`, `canceled`.
    pub status: Option<String>,
    /// `pi_…`.
    pub payment_intent: Option<Expandable<Reference>>,
    /// Unix seconds.
    pub created: Option<i64>,
    /// May name the lines that are refunded.
    pub metadata: Option<Metadata>,
    /// Minor units.
    pub amount: Option<i64>,
    /// `requested_by_customer`, `duplicate`, `fraudulent`, …
    pub reason: Option<String>,
    /// Why it did not arrive.
    pub failure_reason: Option<String>,
}

/// A dispute.
#[derive(Clone, Debug, Deserialize)]
pub struct Dispute {
    /// `du_…` or `dp_…`.
    pub id: String,
    /// `needs_response`, `won`, `lost`, `warning_closed`, …
    pub status: Option<String>,
    /// `pi_…`.
    pub payment_intent: Option<Expandable<Reference>>,
    /// Unix seconds.
    pub created: Option<i64>,
    /// ISO 4217, lower case.
    pub currency: Option<String>,
    /// Minor units.
    pub amount: Option<i64>,
    /// `fraudulent`, `duplicate`, `product_not_received`, …
    pub reason: Option<String>,
    /// Until when it can be answered.
    pub evidence_details: Option<EvidenceDetails>,
}

/// How a dispute can be answered.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct EvidenceDetails {
    /// Unix seconds.
    pub due_by: Option<i64>,
}
