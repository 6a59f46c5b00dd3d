//! What is told to whoever follows, as it is told.

use time::OffsetDateTime;
use uuid::Uuid;

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
