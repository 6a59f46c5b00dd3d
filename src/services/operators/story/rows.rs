//! Our rows of a story, each read to a bound.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::domain::ids::{SubscriptionId, UserId};
use crate::domain::subscription::Subscription;
use crate::purchases::Error;
use crate::services::operators::Operators;
use crate::storage::actions::{self, ActionRow};
use crate::storage::checkouts::{self, CheckoutRow};
use crate::storage::customers;
use crate::storage::status_changes::{self, ChangeRow};
use crate::storage::subscriptions::{self, Placed};
use crate::storage::transactions::{self, TransactionRow};
use crate::storage::webhook_events::{self, EventRow};

/// So many of each table are read: one more than a story has, so that it is known when something is left out.
const LIMIT: i64 = 101;
// The same number, as a table counts.
const _: () = assert!(super::MOST == 100);
/// Payments for the same plan within so long may be one too many.
const TWICE: Duration = Duration::DAY;

/// Whose story it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Of one line.
    Line(SubscriptionId),
    /// Of all of a member's.
    Member,
}

/// Our rows of a story. What Stripe's objects tell too is taken out before the rest is told from here.
pub(super) struct Rows {
    pub(super) wanted: Wanted,
    pub(super) user: UserId,
    /// All lines of the member: the newest basket first, each basket in its order.
    pub(super) lines: Vec<Placed>,
    pub(super) checkouts: HashMap<Uuid, CheckoutRow>,
    /// Currency and `cus_…`.
    pub(super) customers: Vec<(String, String)>,
    pub(super) transactions: Vec<TransactionRow>,
    /// Of the objects that our rows name, and later of those that Stripe does.
    pub(super) events: HashMap<String, EventRow>,
    /// Whose an object at Stripe is.
    pub(super) places: HashMap<String, SubscriptionId>,
    pub(super) changes: Vec<ChangeRow>,
    pub(super) actions: Vec<ActionRow>,
    /// Before it, settled events are kept no more.
    pub(super) purged_before: OffsetDateTime,
}

impl Rows {
    pub(super) async fn of_subscription(
        operators: &Operators,
        id: SubscriptionId,
    ) -> Result<Option<Self>, Error> {
        let Some(one) = subscriptions::find_placed(&operators.pool, id).await? else {
            return Ok(None);
        };
        let user = one.user.clone();
        let mut lines = subscriptions::find_placed_of_user(&operators.pool, &user, LIMIT).await?;
        if !lines.iter().any(|placed| placed.line.id == id) {
            lines.push(one);
        }
        Self::read(operators, Wanted::Line(id), user, lines)
            .await
            .map(Some)
    }

    pub(super) async fn of_member(
        operators: &Operators,
        user: &UserId,
    ) -> Result<Option<Self>, Error> {
        let lines = subscriptions::find_placed_of_user(&operators.pool, user, LIMIT).await?;
        let rows = Self::read(operators, Wanted::Member, user.clone(), lines).await?;
        let is_known = !(rows.lines.is_empty() && rows.customers.is_empty());
        Ok(is_known.then_some(rows))
    }

    async fn read(
        operators: &Operators,
        wanted: Wanted,
        user: UserId,
        mut lines: Vec<Placed>,
    ) -> Result<Self, Error> {
        let pool = &operators.pool;
        lines.sort_by_key(|placed| (Reverse(placed.checkout), placed.position));
        let told: Vec<Uuid> = { lines.iter() }
            .filter(|placed| wanted.is_of(placed.line.id))
            .map(|placed| placed.line.id.0)
            .collect();
        let baskets: Vec<Uuid> = lines.iter().map(|placed| placed.checkout.0).collect();
        let checkouts = checkouts::find_by_ids(pool, &baskets).await?;
        let days = i64::from(operators.purchases.settings.worker.purge_after_days);
        let mut rows = Self {
            changes: status_changes::find_of_lines(pool, &told, LIMIT).await?,
            transactions: transactions::find_of_lines(pool, &told, LIMIT).await?,
            customers: customers::find_of_user_ever(pool, &user).await?,
            checkouts: { checkouts.into_iter() }.map(|row| (row.id, row)).collect(),
            purged_before: operators.purchases.clock.now() - Duration::days(days),
            places: HashMap::new(),
            events: HashMap::new(),
            actions: Vec::new(),
            wanted,
            user,
            lines,
        };
        rows.places = rows.places();
        let mut objects: Vec<String> = rows.places.keys().cloned().collect();
        if wanted == Wanted::Member {
            objects.extend(rows.customers.iter().map(|(_, customer)| customer.clone()));
        }
        rows.read_events(operators, objects).await?;
        rows.read_actions(operators).await?;
        Ok(rows)
    }

    /// The lines that are told of.
    pub(super) fn told(&self) -> impl Iterator<Item = &Placed> {
        self.lines
            .iter()
            .filter(|placed| self.wanted.is_of(placed.line.id))
    }

    pub(super) fn line(&self, id: SubscriptionId) -> Option<&Subscription> {
        let found = self.lines.iter().find(|placed| placed.line.id == id);
        found.map(|placed| &placed.line)
    }

    pub(super) fn checkout(&self, placed: &Placed) -> Option<&CheckoutRow> {
        self.checkouts.get(&placed.checkout.0)
    }

    /// The ids at Stripe that our rows name, each with its line: what events are about.
    fn places(&self) -> HashMap<String, SubscriptionId> {
        let mut places = HashMap::new();
        for placed in self.told() {
            let line = &placed.line;
            let session = self
                .checkout(placed)
                .and_then(|row| row.stripe_session_id.clone());
            let own = [
                line.stripe_subscription.clone(),
                line.payment_intent.clone(),
                session,
            ];
            for object in own.into_iter().flatten() {
                places.entry(object).or_insert(line.id);
            }
        }
        for row in &self.transactions {
            let reference = row.stripe_reference.split('#').next().map(str::to_owned);
            for object in reference
                .into_iter()
                .chain(row.stripe_payment_intent_id.clone())
            {
                places
                    .entry(object)
                    .or_insert(SubscriptionId(row.subscription_id));
            }
        }
        places
    }

    /// Reads the events about these objects, and those that our changes name.
    pub(super) async fn read_events(
        &mut self,
        operators: &Operators,
        objects: Vec<String>,
    ) -> Result<(), Error> {
        let named = self.changes.iter().filter_map(|row| row.cause_ref.clone());
        let named: Vec<String> = named.filter(|id| id.starts_with("evt_")).collect();
        let found = webhook_events::find_about(&operators.pool, &objects, &named, LIMIT).await?;
        self.events
            .extend(found.into_iter().map(|row| (row.id.clone(), row)));
        Ok(())
    }

    async fn read_actions(&mut self, operators: &Operators) -> Result<(), Error> {
        let mut subjects: Vec<String> = self.events.keys().cloned().collect();
        for placed in self.told() {
            subjects.push(placed.line.id.to_string());
            subjects.extend(placed.line.stripe_subscription.clone());
        }
        subjects.push(self.user.as_str().to_owned());
        let mut targets = HashSet::new();
        for row in &self.transactions {
            targets.extend(row.stripe_payment_intent_id.clone());
            targets.extend(row.stripe_reference.split('#').map(str::to_owned));
        }
        let targets: Vec<String> = targets.into_iter().collect();
        let user = (self.wanted == Wanted::Member).then_some(self.user.as_str());
        self.actions =
            actions::find_about(&operators.pool, &subjects, &targets, user, LIMIT).await?;
        Ok(())
    }

    /// Takes out the transactions that the test says, to tell them together with what Stripe says of them.
    pub(super) fn take(&mut self, is_it: impl Fn(&TransactionRow) -> bool) -> Vec<TransactionRow> {
        self.transactions.extract_if(.., |row| is_it(row)).collect()
    }

    /// The action that is known by this id.
    pub(super) fn action(&self, id: &str) -> Option<&ActionRow> {
        let id: Uuid = id.parse().ok()?;
        self.actions.iter().find(|row| row.id == id)
    }

    /// Another line of hers of the same plan that was paid at about the same time, before this one.
    pub(super) fn paid_just_before(&self, line: &Subscription) -> Option<&Subscription> {
        let paid = line.first_paid_at?;
        let lines = self.lines.iter().map(|placed| &placed.line);
        lines
            .filter(|other| other.id != line.id && other.plan == line.plan)
            .find(|other| {
                let before = other.first_paid_at.map(|at| paid - at);
                before.is_some_and(|before| {
                    (Duration::ZERO..TWICE).contains(&before)
                        && (before > Duration::ZERO || other.id < line.id)
                })
            })
    }
}

impl Wanted {
    pub(super) fn is_of(self, line: SubscriptionId) -> bool {
        match self {
            Self::Line(one) => one == line,
            Self::Member => true,
        }
    }
}
