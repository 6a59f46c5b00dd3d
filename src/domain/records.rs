//! What is shown of a line's past: its transactions and its history, as they were recorded.

use time::OffsetDateTime;

use super::ids::{SubscriptionId, TransactionId, UserId};
use super::plan::Kind;
use super::subscription::Status;

/// Which of a member's subscriptions to list.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    /// Only of that kind.
    pub kind: Option<Kind>,
    /// Only with that status.
    pub status: Option<Status>,
    /// Only older than that one.
    pub before: Option<SubscriptionId>,
    /// At most so many.
    pub limit: i64,
}

/// A reference to money that moved, failed to, went back or is claimed back.
#[derive(Clone, Debug)]
pub struct TransactionRecord {
    /// Ours.
    pub id: TransactionId,
    /// `payment`, `payment_failed`, `refund` or `dispute`.
    pub kind: String,
    /// How a refund or a dispute stands.
    pub state: Option<String>,
    /// At Stripe.
    pub stripe_reference: String,
    /// When it happened.
    pub occurred_at: OffsetDateTime,
}

/// A transaction, whose it is and what it was for.
#[derive(Clone, Debug)]
pub struct Movement {
    /// The transaction.
    pub transaction: TransactionRecord,
    /// When we recorded it.
    pub recorded_at: OffsetDateTime,
    /// The line.
    pub subscription_id: SubscriptionId,
    /// The member.
    pub user_id: UserId,
    /// The plan that the line is on now.
    pub plan: String,
    /// The line's kind.
    pub kind: String,
    /// How many the line is of now.
    pub quantity: i32,
    /// Of its checkout: ISO 4217, lower case.
    pub currency: String,
}

/// What a transaction moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    /// ISO 4217, lower case.
    pub currency: String,
    /// Minor units; what goes back is negative, what failed or came to nothing is zero.
    pub amount: i64,
    /// Minor units of tax in the amount.
    pub tax: i64,
}

/// One change of status, plan or quantity.
#[derive(Clone, Debug)]
pub struct ChangeRecord {
    /// The order of the changes.
    pub seq: i64,
    /// None for the first.
    pub from_status: Option<String>,
    /// The status from then on.
    pub to_status: String,
    /// What happened.
    pub reason: String,
    /// By which way we learnt of it.
    pub cause: String,
    /// Of a change of plan: the plan before.
    pub from_plan: Option<String>,
    /// Of a change of plan: the plan from then on.
    pub to_plan: Option<String>,
    /// Of a change of quantity: how many before.
    pub from_quantity: Option<i32>,
    /// Of a change of quantity: how many from then on.
    pub to_quantity: Option<i32>,
    /// When we recorded it.
    pub at: OffsetDateTime,
}
