//! Why money did not come or went back, in words for the member: the codes are Stripe's, the words ours.

use crate::stripe::declines;
use crate::stripe::objects::{Charge, Dispute, Refund};

/// Why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// What to do, if something is.
    pub advice: Option<&'static str>,
}

impl Cause {
    /// Why a charge failed.
    pub(super) fn of_charge(charge: &Charge) -> Self {
        let reason = charge
            .outcome
            .as_ref()
            .and_then(|outcome| outcome.reason.as_deref());
        let cause = declines::explain(reason, charge.failure_code.as_deref());
        Self {
            code: cause.code.to_owned(),
            message: cause.message.to_owned(),
            advice: Some(cause.advice),
        }
    }

    /// Why money was paid back, or why it did not arrive.
    pub(super) fn of_refund(refund: &Refund) -> Option<Self> {
        let why = refund.failure_reason.as_deref();
        let (code, message) = match (why, refund.reason.as_deref()) {
            (Some(code), _) => (code, format!("The refund did not arrive: {}.", words(code))),
            (None, Some(code)) => (code, format!("Paid back: {}.", words(code))),
            (None, None) => return None,
        };
        Some(Self {
            code: code.to_owned(),
            message,
            advice: None,
        })
    }

    /// Why a bank takes money back.
    pub(super) fn of_dispute(dispute: &Dispute) -> Option<Self> {
        let code = dispute.reason.as_deref()?;
        Some(Self {
            code: code.to_owned(),
            message: format!("Disputed with the bank: {}.", words(code)),
            advice: None,
        })
    }
}

fn words(code: &str) -> String {
    code.replace('_', " ")
}
