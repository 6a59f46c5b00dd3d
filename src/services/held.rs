//! What a member holds already when she orders a plan of which she can hold one, and what she should do instead.

use crate::domain::subscription::{Reason, Status, Subscription};

/// What keeps a member from buying a single plan.
#[derive(Debug)]
pub struct Held {
    /// What she holds.
    pub line: Subscription,
    /// What to do instead of buying.
    pub advice: Advice,
}

/// What a member should do instead of buying what she holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Nothing for now: money is on its way, or a dispute is under way.
    Wait,
    /// Withdraw the cancellation.
    Resume,
    /// Pay the open invoice.
    Pay,
    /// Change the plan of what she holds.
    ChangePlan,
    /// Look at it in Stripe's portal.
    Portal,
}

impl Advice {
    /// For the client's code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Resume => "resume",
            Self::Pay => "pay",
            Self::ChangePlan => "change_plan",
            Self::Portal => "portal",
        }
    }

    pub(super) fn of(line: &Subscription, wants_other_plan: bool) -> Self {
        match (line.status, line.reason) {
            (Status::PendingActivation | Status::PendingCompletion | Status::Ended, _)
            | (Status::OnHold, Reason::FirstPaymentFailed | Reason::Disputed) => Self::Wait,
            (Status::Cancelled, _) => Self::Resume,
            (Status::OnHold, Reason::Unpaid) | (Status::Active, Reason::PaymentRetrying) => {
                Self::Pay
            }
            (Status::Active, _) if !line.recurring => Self::Wait,
            (Status::Active, _) if wants_other_plan => Self::ChangePlan,
            (Status::Active | Status::OnHold, _) => Self::Portal,
        }
    }
}
