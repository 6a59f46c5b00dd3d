//! Identifiers: ours are `UUIDv7` (sortable by creation), Stripe's and the member's are opaque text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::{ContextV7, Timestamp, Uuid};

/// The `sub` of a verified token: opaque, compared byte by byte, never parsed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserId(String);

impl UserId {
    /// Wraps a subject that authentication has already checked for length.
    pub fn new(subject: impl Into<String>) -> Self {
        Self(subject.into())
    }

    /// The subject as it came in the token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id whose leading bits are `now`, so that ids sort by creation.
            pub fn new(now: OffsetDateTime) -> Self {
                Self(uuid_v7(now))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

uuid_id! {
    /// One hosted checkout: a basket of lines that are paid together.
    CheckoutId
}
uuid_id! {
    /// The internal subscription: one line of a checkout.
    SubscriptionId
}
impl SubscriptionId {
    /// Whether a text is an id of the kind that we give.
    pub fn is_one(text: &str) -> bool {
        let version = |id: Self| id.0.get_version_num();
        text.parse().is_ok_and(|id| version(id) == 7)
    }
}

/// Whether another system can know a line by this text, or a member: what no column holds leads nowhere.
pub fn is_external_id(text: &str) -> bool {
    const LONGEST: usize = 255;
    (1..=LONGEST).contains(&text.len()) && !text.contains('\0')
}

uuid_id! {
    /// Our reference to money that moved, failed to, went back or is claimed back.
    TransactionId
}
uuid_id! {
    /// An entry of the feed: what a receiver knows a repeat by.
    EntryId
}
uuid_id! {
    /// What an operator did, where no client has named it.
    ActionId
}
uuid_id! {
    /// Our row of a customer at Stripe: one for each user and currency.
    CustomerId
}

fn uuid_v7(now: OffsetDateTime) -> Uuid {
    // A time before 1970 can only come from a broken clock; the id stays unique by its random part.
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(
        ContextV7::new(),
        seconds,
        now.nanosecond(),
    ))
}
