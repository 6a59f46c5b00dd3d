//! Which rows of everybody's an operator wants to see, and in which order.

use time::OffsetDateTime;

use super::ids::{SubscriptionId, UserId};
use super::plan::Kind;
use super::subscription::Status;

/// Which subscriptions to list.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only hers.
    pub user: Option<UserId>,
    /// Only of that kind.
    pub kind: Option<Kind>,
    /// Only of that plan.
    pub plan: Option<String>,
    /// Only settled by that provider.
    pub provider: Option<String>,
    /// Only with that status.
    pub status: Option<Status>,
    /// Only with that reason.
    pub reason: Option<String>,
    /// Only what ends before: of what has not ended yet.
    pub ends_before: Option<OffsetDateTime>,
    /// Only what was first paid then or later.
    pub joined_after: Option<OffsetDateTime>,
    /// Only what comes after that place.
    pub after: Option<Place>,
    /// At most so many.
    pub limit: i64,
}

/// A place in a list: after that line, and in a list by time after its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In a list by time.
    pub at: Option<OffsetDateTime>,
    /// The line.
    pub id: SubscriptionId,
}

/// In which order a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Newest first.
    Newest,
    /// What ends first comes first.
    Ending,
    /// Who joined last comes first.
    Joined,
}

impl Wanted {
    /// The order follows from the index that is sure to lead to few rows that are not wanted.
    pub fn order(&self) -> Order {
        if self.user.is_some() {
            Order::Newest
        } else if self.ends_before.is_some() {
            Order::Ending
        } else if self.joined_after.is_some() && !self.is_of_few() {
            Order::Joined
        } else {
            Order::Newest
        }
    }

    /// Whether it asks for a status that few have: these are looked through one by one.
    fn is_of_few(&self) -> bool {
        self.status.is_some_and(|status| match status {
            Status::Active | Status::Ended => false,
            Status::PendingActivation
            | Status::PendingCompletion
            | Status::OnHold
            | Status::Cancelled => true,
        })
    }

    /// Whether all are wanted, or all of some time.
    pub fn is_plain(&self) -> bool {
        self.kind.is_none()
            && self.plan.is_none()
            && self.provider.is_none()
            && self.status.is_none()
            && self.reason.is_none()
    }
}

/// Which events to list.
#[derive(Clone, Debug, Default)]
pub struct WantedEvents {
    /// Only in that state: `applied`, `ignored`, `deferred`, `failed`, `flagged`.
    pub state: Option<String>,
    /// Only of that type, as Stripe names it.
    pub kind: Option<String>,
    /// Only about that object.
    pub object: Option<String>,
    /// Only what comes after that one: when it was received, and its id.
    pub after: Option<(OffsetDateTime, String)>,
    /// At most so many.
    pub limit: i64,
}
