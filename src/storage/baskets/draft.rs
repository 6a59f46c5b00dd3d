//! A basket between its reading and its writing.

use time::OffsetDateTime;

use crate::domain::actor::By;
use crate::domain::facts::Transaction;
use crate::domain::history::{Change, changes};
use crate::domain::ids::SubscriptionId;
use crate::domain::subscription::{Basket, Subscription};
use crate::storage::feed::{self, Told};

/// A basket on its way from what was read to what is to be written.
#[derive(Clone, Debug)]
pub struct Draft {
    /// As it was read.
    pub before: Basket,
    /// As it is by now.
    pub after: Basket,
    /// To be recorded, each once.
    pub transactions: Vec<(SubscriptionId, Transaction)>,
    /// To be recorded, in the order in which it was told.
    pub changes: Vec<(SubscriptionId, Change, By)>,
    /// To be told to who follows, in that order too.
    pub feed: Vec<Told>,
}

impl Draft {
    /// Nothing was told yet.
    pub fn of(basket: Basket) -> Self {
        Self {
            before: basket.clone(),
            after: basket,
            transactions: Vec::new(),
            changes: Vec::new(),
            feed: Vec::new(),
        }
    }

    /// Notes for the history and for the feed what has changed since `before`.
    pub fn note(&mut self, before: &Basket, by: &By, now: OffsetDateTime) {
        for (before, after) in before.lines.iter().zip(&self.after.lines) {
            if before == after {
                continue;
            }
            let changes = changes(before, after).into_iter();
            self.changes
                .extend(changes.map(|change| (after.id, change, by.clone())));
            self.feed.extend(feed::changed(before, after, now));
        }
    }

    /// Whether there is nothing to write.
    pub fn is_idle(&self) -> bool {
        let (before, after) = (&self.before, &self.after);
        self.transactions.is_empty()
            && before.checkout == after.checkout
            && before.lines == after.lines
    }

    /// The lines that are to be written, as they were and as they will be.
    pub fn moved(&self) -> impl Iterator<Item = (&Subscription, &Subscription)> {
        let pairs = self.lines().filter(|(.., changed)| *changed);
        pairs.map(|(before, after, _)| (before, after))
    }

    /// Every line as it was and as it will be, and whether it is to be written: with its checkout, or for itself.
    pub fn lines(&self) -> impl Iterator<Item = (&Subscription, &Subscription, bool)> {
        let checkout_moved = self.before.checkout != self.after.checkout;
        let pairs = self.before.lines.iter().zip(&self.after.lines);
        pairs.map(move |(before, after)| (before, after, checkout_moved || before != after))
    }

    /// The basket as it is in the database once the draft was written: every line that was has another version.
    pub fn written(self) -> Basket {
        let changed: Vec<bool> = self.lines().map(|(.., changed)| changed).collect();
        let mut basket = self.after;
        for (line, changed) in basket.lines.iter_mut().zip(changed) {
            line.version += i64::from(changed);
        }
        basket
    }
}
