//! What is told to whoever follows, as it is told.

use time::OffsetDateTime;
use uuid::Uuid;

/// What entries can be of, as they are named.
pub const TYPES: [&str; 7] = [
    "subscription.created",
    "subscription.status_changed",
    "subscription.plan_changed",
    "subscription.quantity_changed",
    "subscription.period_changed",
    "transaction.recorded",
    "transaction.updated",
];

/// What is told of everything in force to who begins: no change.
pub const IN_FORCE: &str = "subscription.in_force";

/// One change.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place: without gaps, in the order of the commits, within one epoch.
    pub position: i64,
    /// What a receiver knows a repeat by.
    pub id: Uuid,
    /// `subscription.status_changed`, …
    pub kind: String,
    /// The line.
    pub subscription_id: Uuid,
    /// The member.
    pub user_id: String,
    /// Of what is told of money: its transaction.
    pub transaction_id: Option<Uuid>,
    /// JSON: what was true after the change, and before it where the type says so.
    pub data: String,
    /// `import` for what an import wrote.
    pub origin: Option<String>,
    /// When it was recorded.
    pub at: OffsetDateTime,
}
