//! Work that falls due by the sandbox clock.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Work that becomes due by the sandbox clock. Each is checked again when it is executed: a task whose
/// reason has gone does nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// A checkout session's time is over.
    ExpireSession(String),
    /// An invoice is about to come: three days before the period's end.
    AnnounceRenewal(String),
    /// A subscription's period or trial ends.
    EndPeriod(String),
    /// A trial ends in three days.
    AnnounceTrialEnd(String),
    /// A subscription's `cancel_at` is reached.
    CancelAt(String),
    /// A first invoice stayed unpaid for 23 hours.
    ExpireIncomplete(String),
    /// A draft's hour is over.
    FinalizeInvoice(String),
    /// The next attempt to collect an invoice.
    RetryInvoice(String),
    /// A sent invoice is overdue.
    InvoiceOverdue(String),
    /// A delayed debit is settled, with this outcome.
    SettleDebit(String, bool),
    /// A refund to an account arrives.
    SettleRefund(String),
    /// A dispute arrives for a charge.
    OpenDispute(String),
    /// Collection resumes by itself.
    ResumeCollection(String),
    /// An invoice for a resumption was not paid in time.
    ExpireResumption(String),
    /// The last day of a coupon or a promotion code.
    EndOffer(String),
}

// JSON has no tuples for keys: the schedule is saved as a list.

type Schedule = BTreeMap<(i64, u64), Task>;

pub(super) fn serialize<S: Serializer>(schedule: &Schedule, to: S) -> Result<S::Ok, S::Error> {
    schedule.iter().collect::<Vec<_>>().serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Schedule, D::Error> {
    Ok(Vec::<((i64, u64), Task)>::deserialize(from)?
        .into_iter()
        .collect())
}
