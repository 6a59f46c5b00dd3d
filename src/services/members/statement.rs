//! A member's statement: everything that she paid, got back and failed to pay, read live from Stripe.
//!
//! Three lists of each of her customers are walked at once, charges, invoices and sessions, and put together here: the
//! number of calls grows with the pages, not with the payments. All is read before the answer begins, so that a Stripe
//! that fails gives an error and never half a statement.

mod attributing;
mod causes;
mod ledger;
mod movement;
mod range;
mod reading;
mod totals;

use time::OffsetDateTime;

use self::attributing::Attribution;
use self::reading::Reader;
use super::Members;
use crate::domain::ids::{SubscriptionId, UserId};
use crate::domain::plan::Kind;
use crate::purchases::Error;
use crate::storage::{StorageError, customers, subscriptions};
use crate::stripe::StripeError;

pub use self::causes::Cause;
pub use self::range::{Invalid, Range};
pub use self::totals::Total;

/// The most entries of one statement: more are asked for in several.
pub const MAX_ENTRIES: usize = 20_000;

/// Why there is no statement.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// More than [`MAX_ENTRIES`].
    #[error("the range holds too many entries")]
    TooLarge,
    /// Stripe or the database.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<StripeError> for StatementError {
    fn from(error: StripeError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<StorageError> for StatementError {
    fn from(error: StorageError) -> Self {
        Self::Failed(error.into())
    }
}

/// Everything of a member's in a range of time.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Oldest first.
    pub entries: Vec<Entry>,
    /// By currency and kind.
    pub totals: Vec<Total>,
    /// The shares she held.
    pub shares: Shares,
}

/// What happened, as far as money goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryType {
    /// A payment was tried and failed.
    PaymentFailed,
    /// She paid.
    Payment,
    /// She got back.
    Refund,
    /// Her bank took back.
    Dispute,
}

impl EntryType {
    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PaymentFailed => "payment_failed",
            Self::Payment => "payment",
            Self::Refund => "refund",
            Self::Dispute => "dispute",
        }
    }
}

/// One movement of money, or one that failed. Its lines' amounts and taxes sum to its own, always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When, by Stripe's clock.
    pub at: OffsetDateTime,
    /// What.
    pub what: EntryType,
    /// How a refund or a dispute stands: `pending`, `succeeded`, `failed`; `open`, `won`, `lost`.
    pub state: Option<&'static str>,
    /// `in_…`, else `pi_…`, of a payment; `re_…`; `du_…`.
    pub reference: String,
    /// ISO 4217, lower case.
    pub currency: String,
    /// Minor units; what goes back is negative, what failed or came to nothing is zero.
    pub amount: i64,
    /// Minor units of what failed.
    pub attempted_amount: Option<i64>,
    /// Minor units of tax in the amount.
    pub tax: i64,
    /// What it was for; at least one.
    pub lines: Vec<Line>,
    /// Stripe's page: a bearer link, never logged.
    pub receipt_url: Option<String>,
    /// Stripe's page: a bearer link, never logged.
    pub invoice_url: Option<String>,
    /// Stripe's document: a bearer link, never logged.
    pub invoice_pdf: Option<String>,
    /// Why it failed or went back.
    pub cause: Option<Cause>,
}

/// What a line of an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineType {
    /// Something that was sold.
    Item,
    /// What the invoice says beyond its lines: credit that was used up or made, shipping.
    Balance,
    /// A part of a payment of which nobody has said for which of its lines it is.
    Unassigned,
}

impl LineType {
    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Item => "item",
            Self::Balance => "balance",
            Self::Unassigned => "unassigned",
        }
    }
}

/// What a part of an entry was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it is.
    pub what: LineType,
    /// Which purchase of ours, if it is known.
    pub bought: Option<Purchase>,
    /// Stripe's, where Stripe has one.
    pub description: Option<String>,
    /// How many, of a whole line.
    pub quantity: Option<i64>,
    /// Minor units, signed as the entry's.
    pub amount: i64,
    /// Minor units of tax in the amount.
    pub tax: i64,
}

impl Line {
    /// The kind, if it is known.
    pub fn kind(&self) -> Option<Kind> {
        self.bought.as_ref().map(|bought| bought.kind)
    }
}

/// A purchase of ours that a line was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// Ours.
    pub id: SubscriptionId,
    /// The plan's code.
    pub plan: String,
    /// The plan's kind.
    pub kind: Kind,
}

/// The shares that a member held at a moment.
#[derive(Clone, Debug)]
pub struct Shares {
    /// The moment.
    pub on: OffsetDateTime,
    /// Oldest first.
    pub held: Vec<HeldShares>,
}

/// Shares that were bought together.
#[derive(Clone, Debug)]
pub struct HeldShares {
    /// Ours.
    pub subscription: SubscriptionId,
    /// The plan's code.
    pub plan: String,
    /// How many.
    pub quantity: i32,
    /// When they were paid.
    pub since: OffsetDateTime,
}

impl Members {
    /// A member's statement.
    pub async fn statement(
        &self,
        user: &UserId,
        range: Range,
    ) -> Result<Statement, StatementError> {
        let customers = customers::find_stripe_customers(&self.pool, user).await?;
        let on = range.to.min(self.clock.now());
        let held = subscriptions::find_shares_held(&self.pool, user, on).await?;
        let held = held.into_iter().map(|row| HeldShares {
            subscription: SubscriptionId(row.id),
            plan: row.plan,
            quantity: row.quantity,
            since: row.first_paid_at,
        });
        let shares = Shares {
            on,
            held: held.collect(),
        };
        if customers.is_empty() || range.to <= OffsetDateTime::UNIX_EPOCH {
            return Ok(Statement {
                entries: Vec::new(),
                totals: Vec::new(),
                shares,
            });
        }
        let bought = subscriptions::find_own_lines(&self.pool, user).await?;
        let read = Reader::new(&self.account.client, range)
            .read(&customers)
            .await?;
        let entries = Attribution::new(&read, &bought, &self.account.observer).entries(range);
        if entries.len() > MAX_ENTRIES {
            return Err(StatementError::TooLarge);
        }
        Ok(Statement {
            totals: totals::of(&entries),
            entries,
            shares,
        })
    }
}
