//! The floor under every use case: the one way in for whatever is said about a purchase, by Stripe, a member, an
//! operator or our own upkeep.
//!
//! Whoever has something to say finds the rows (`rows`), reads Stripe where it must, merges, and writes guarded by
//! what was read. `session`, `subscription`, `invoice` and `payment` ask Stripe and write what it answers; `repair`
//! finds a session that was lost; `adopt` makes a row of what another system sold; [`cancel`] and [`change`] carry out wishes; `follow` lets the plan follow the price.

mod adopt;
pub mod cancel;
pub mod change;
mod customer;
mod follow;
mod invoice;
pub mod line;
mod payment;
mod repair;
mod rows;
mod session;
mod subscription;

pub(crate) use self::adopt::{Adopted, Adoption};
pub(crate) use self::follow::{Followed, HELD_ALREADY, Judging, UNKNOWN_PRICE, keep_plans};
pub(crate) use self::payment::NOT_ADOPTED;
pub(crate) use self::repair::{Repaired, SKEW};
pub(crate) use self::rows::{Knowing, Left, MAX_TRIES, tell};

use std::sync::Arc;

use sqlx::postgres::PgPool;
use tokio::sync::Notify;

use crate::catalogue::{Catalogue, CatalogueError};
use crate::clock::Clock;
use crate::domain::facts::Contradiction;
use crate::settings::Settings;
use crate::storage::StorageError;
use crate::stripe::observe::Unknown;
use crate::stripe::{Account, StripeError};

/// What is done to purchases, and what it is done with; cloning copies references.
#[derive(Clone)]
pub struct Purchases {
    pub(crate) pool: PgPool,
    pub(crate) account: Arc<Account>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) clock: Clock,
    /// Rung when an event was deferred, so that upkeep doesn't wait for its interval.
    pub(crate) deferred: Arc<Notify>,
}

/// Why something that was said about a purchase is not in our rows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Stripe can't be asked, or refused.
    #[error(transparent)]
    Stripe(#[from] StripeError),
    /// The plans' prices can't be read.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The object claims a row that isn't its own.
    #[error("{}", .0.as_str())]
    Contradiction(Contradiction),
    /// Stripe says what this version of Dues can't judge.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// The rows kept moving; another try will do.
    #[error("the rows kept moving while they were written")]
    Contended,
    /// A fault of ours, caught before it touched anything.
    #[error("what was said could not be merged: this is a fault of Dues")]
    Panicked,
    /// One trouble of several events that were written together.
    #[error(transparent)]
    Shared(Arc<Error>),
}

impl From<Contradiction> for Error {
    fn from(contradiction: Contradiction) -> Self {
        Self::Contradiction(contradiction)
    }
}

/// What a caller can make of an [`Error`]: whose fault it is, and whether another try may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Stripe did not answer in time; the call may have taken effect.
    StripeTimedOut,
    /// Stripe can't be reached, or not be understood.
    StripeAway,
    /// Stripe keeps the customer to another currency.
    CurrencyLocked,
    /// Stripe said no.
    StripeRefused,
    /// The database does not answer.
    DatabaseAway,
    /// Somebody else was faster, again and again.
    Busy,
    /// Ours, and no try will help.
    Fault,
}

impl Trouble {
    /// Whether it is Stripe with which something is the matter.
    pub fn is_at_stripe(self) -> bool {
        match self {
            Self::StripeTimedOut
            | Self::StripeAway
            | Self::CurrencyLocked
            | Self::StripeRefused => true,
            Self::DatabaseAway | Self::Busy | Self::Fault => false,
        }
    }
}

impl Error {
    /// Whether nobody has judged what was asked: Stripe or the database were not there to do so.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Stripe(error) => error.is_outage(),
            Self::Catalogue(error) => error.of_stripe().is_some_and(StripeError::is_outage),
            Self::Storage(error) => !error.is_of_the_data(),
            Self::Shared(error) => error.is_outage(),
            Self::Contradiction(_) | Self::Unknown(_) | Self::Contended | Self::Panicked => false,
        }
    }

    /// Whether Stripe has answered what can't be understood.
    pub fn is_unreadable(&self) -> bool {
        match self {
            Self::Stripe(error) => matches!(error, StripeError::Unreadable { .. }),
            Self::Shared(error) => error.is_unreadable(),
            _ => false,
        }
    }

    /// Whether a text was to be written that the database can't hold.
    pub fn is_of_a_text(&self) -> bool {
        match self {
            Self::Storage(error) => error.is_of_a_text(),
            Self::Shared(error) => error.is_of_a_text(),
            Self::Stripe(_)
            | Self::Catalogue(_)
            | Self::Contradiction(_)
            | Self::Unknown(_)
            | Self::Contended
            | Self::Panicked => false,
        }
    }

    /// What a caller can make of it.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Stripe(error) => of_stripe(error),
            // Of the file: it is read at start and on a signal, and nobody waits for it.
            Self::Catalogue(error) => error.of_stripe().map_or(Trouble::Fault, of_stripe),
            Self::Storage(StorageError::Database(_)) => Trouble::DatabaseAway,
            Self::Storage(StorageError::ImpossibleRow { .. })
            | Self::Contradiction(_)
            | Self::Unknown(_)
            | Self::Panicked => Trouble::Fault,
            Self::Contended => Trouble::Busy,
            Self::Shared(error) => error.trouble(),
        }
    }
}

fn of_stripe(error: &StripeError) -> Trouble {
    match error {
        StripeError::TimedOut { .. } => Trouble::StripeTimedOut,
        StripeError::Crowded { .. }
        | StripeError::Unreachable { .. }
        | StripeError::Unavailable { .. }
        | StripeError::Unreadable { .. } => Trouble::StripeAway,
        StripeError::Refused { .. } if error.is_currency_lock() => Trouble::CurrencyLocked,
        StripeError::Refused { .. } | StripeError::PaymentFailed { .. } => Trouble::StripeRefused,
    }
}

impl Purchases {
    /// The same for work that nobody waits for: its calls to Stripe leave way to others.
    #[must_use]
    pub fn in_background(&self) -> Self {
        Self {
            account: Arc::new(self.account.in_background()),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stripe_that_is_away_while_prices_are_read_is_an_outage_whoever_waited_for_them() {
        let away = CatalogueError::Stripe(StripeError::TimedOut {
            operation: "prices",
        });
        let shared = Error::Catalogue(CatalogueError::Shared(Arc::new(away)));
        assert!(shared.is_outage());
        assert_eq!(shared.trouble(), Trouble::StripeTimedOut);
        let wrong = CatalogueError::Wrong {
            file: "plans.toml".into(),
            problems: Vec::new(),
        };
        assert!(!Error::Catalogue(wrong).is_outage());
    }
}
