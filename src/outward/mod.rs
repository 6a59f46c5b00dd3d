//! Who is told what has changed, and how: the feed, which other services read, and the followers, which are called.

mod discourse;
pub mod feed;
pub mod followers;
mod mosaic;
mod webhook;

use std::pin::Pin;

use crate::domain::ids::TransactionId;
use crate::domain::plan::Plan;
use crate::domain::records::Amount;

/// What is handed in: what receivers must know and this room has no way to ask.
pub trait Context: Send + Sync {
    /// A plan by its code.
    fn plan(&self, code: &str) -> Option<Plan>;

    /// What a transaction moved, read live; none where nobody says how much of it was for its line.
    fn amount(&self, id: TransactionId) -> Pin<Box<dyn Future<Output = Told> + Send + '_>>;
}

/// An amount, or why it can't be told.
pub type Told = Result<Option<Amount>, NoAmount>;

/// Why an amount can't be told; a sentence each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAmount {
    /// Nobody can be asked now.
    Away(&'static str),
    /// This one can't be read, whoever asks and whenever.
    Unreadable(&'static str),
}

impl From<NoAmount> for followers::receiver::Failure {
    fn from(no_amount: NoAmount) -> Self {
        match no_amount {
            NoAmount::Away(why) => Self::away(why),
            NoAmount::Unreadable(why) => Self::Refused {
                why: why.to_owned(),
                is_hers: true,
            },
        }
    }
}
