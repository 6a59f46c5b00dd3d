//! The use cases, by who calls: members, Stripe's events, operators, and the upkeep that nobody calls. Each owns its
//! database transactions and the order of things: our rows first, then Stripe, then what Stripe said; never a call to
//! Stripe while a transaction is open. What they share is the floor below them, [`crate::purchases`].

pub mod events;
mod handed;
pub mod members;
pub mod operators;
pub mod upkeep;

use std::sync::Arc;

use sqlx::postgres::PgPool;
use tokio::sync::Notify;

use crate::catalogue::{Catalogue, CatalogueError};
use crate::clock::Clock;
use crate::outward::feed::Feed;
use crate::outward::followers::{Followers, FollowersError};
use crate::purchases::Purchases;
use crate::settings::{CheckoutPage, Settings};
use crate::storage::webhook_events::{self, Backlog};
use crate::storage::{self, MigrationError, StorageError};
use crate::stripe::Account;
use crate::stripe::requests::checkout;

use self::events::Events;
use self::handed::Handed;
use self::members::Members;
use self::operators::Operators;
use self::upkeep::Upkeep;

/// All use cases; cloning copies references.
#[derive(Clone)]
pub struct Services {
    /// What members do, and what is sold to them.
    pub members: Members,
    /// What Stripe tells, and what it has told.
    pub events: Events,
    /// What operators do.
    pub operators: Operators,
    /// What nobody calls.
    pub upkeep: Upkeep,
    /// The plans.
    pub catalogue: Arc<Catalogue>,
    /// What other services follow.
    pub feed: Feed,
    /// Those who are called about it.
    pub followers: Followers,
    pool: PgPool,
}

/// Why the services can't be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The plans don't hold.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The HTTP client can't be built.
    #[error("the client for Stripe can't be built: {0}")]
    Stripe(String),
    /// The followers' file doesn't hold.
    #[error(transparent)]
    Followers(#[from] FollowersError),
    /// Stripe's page has no such language or font.
    #[error("{0}")]
    Page(&'static str),
}

/// What keeps the service from doing its work.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The database does not answer, or its schema isn't this version's.
    #[error(transparent)]
    Database(#[from] MigrationError),
    /// Jobs of the upkeep die at every run: nobody settles, repairs or ends anything in this process.
    #[error("jobs of the upkeep keep dying ({0}): this is a fault of Dues")]
    Dying(String),
}

impl Services {
    /// Prepares the use cases and checks the plans against Stripe.
    pub async fn build(
        pool: PgPool,
        settings: Arc<Settings>,
        clock: Clock,
    ) -> Result<Self, BuildError> {
        check_page(&settings.checkout.page)?;
        let account =
            Account::new(&settings).map_err(|error| BuildError::Stripe(error.to_string()))?;
        let catalogue = Catalogue::open(&settings.plans, account.client.clone()).await?;
        let catalogue = Arc::new(catalogue);
        let feed = Feed::new(pool.clone());
        let purchases = Arc::new(Purchases {
            pool: pool.clone(),
            account: Arc::new(account),
            catalogue: Arc::clone(&catalogue),
            settings,
            clock,
            deferred: Arc::new(Notify::new()),
        });
        let context = Handed::new(&purchases);
        let followers = Followers::open(
            pool,
            feed.clone(),
            purchases.clock.clone(),
            Arc::clone(&purchases.settings),
            Some(Arc::new(context)),
        )?;
        Ok(Self::on(&purchases, feed, followers))
    }

    fn on(purchases: &Arc<Purchases>, feed: Feed, followers: Followers) -> Self {
        let events = Events::new(purchases);
        let background = events.in_background();
        let operators = Operators::new(purchases, events.clone());
        Self {
            members: Members::new(purchases),
            upkeep: Upkeep::new(
                &Arc::new(purchases.in_background()),
                background,
                operators.in_background(),
                followers.clone(),
            ),
            operators,
            events,
            catalogue: Arc::clone(&purchases.catalogue),
            feed,
            followers,
            pool: purchases.pool.clone(),
        }
    }

    /// Whether the database can be reached and has this version's schema, and no job keeps dying.
    pub async fn ready(&self) -> Result<(), NotReady> {
        storage::check_migrations(&self.pool).await?;
        let dying = self.upkeep.dying();
        if dying.is_empty() {
            Ok(())
        } else {
            Err(NotReady::Dying(dying.join(", ")))
        }
    }

    /// What of Stripe's events is not settled.
    pub async fn backlog(&self) -> Result<Backlog, StorageError> {
        webhook_events::find_backlog(&self.pool).await
    }

    /// Database connections: open, and of these idle.
    pub fn pool_stats(&self) -> (u32, u32) {
        (
            self.pool.size(),
            u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX),
        )
    }
}

/// What only Stripe's own lists tell: otherwise every checkout would be refused.
fn check_page(page: &CheckoutPage) -> Result<(), BuildError> {
    let unless = |text: &Option<String>, is_known: fn(&str) -> bool, what| match text.as_deref() {
        Some(text) if !is_known(text) => Err(BuildError::Page(what)),
        _ => Ok(()),
    };
    unless(
        &page.locale,
        checkout::is_locale,
        "DUES__CHECKOUT__LOCALE is not a language that Stripe's page speaks",
    )?;
    unless(
        &page.branding.font_family,
        checkout::is_font,
        "DUES__CHECKOUT__BRANDING__FONT_FAMILY is not a font that Stripe's page has",
    )
}
