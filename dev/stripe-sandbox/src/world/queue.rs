//! All deliveries, with those that are due at hand.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::world::deliveries::{Delivery, DeliveryState};

/// The deliveries by id. Only the map is saved; the rest is found from it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Deliveries {
    all: BTreeMap<u64, Delivery>,
    /// What is still to be sent, by moment and rank.
    #[serde(skip)]
    queue: BTreeSet<(i64, u64, u64)>,
    #[serde(skip)]
    in_flight: BTreeSet<u64>,
    #[serde(skip)]
    failed: BTreeSet<u64>,
    #[serde(skip)]
    by_event: HashMap<String, Vec<u64>>,
}

impl Deliveries {
    /// Adds a delivery.
    pub(crate) fn insert(&mut self, delivery: Delivery) {
        self.by_event
            .entry(delivery.event.clone())
            .or_default()
            .push(delivery.id);
        self.index(&delivery);
        self.all.insert(delivery.id, delivery);
    }

    fn index(&mut self, delivery: &Delivery) {
        match delivery.state {
            DeliveryState::Waiting | DeliveryState::Retrying => {
                self.queue
                    .insert((delivery.due_ms, delivery.rank, delivery.id));
            }
            DeliveryState::InFlight => {
                self.in_flight.insert(delivery.id);
            }
            DeliveryState::Failed => {
                self.failed.insert(delivery.id);
            }
            DeliveryState::Delivered | DeliveryState::Dropped => {}
        }
    }

    /// Rebuilds what is not saved. What was on its way has no answer: at least once means again.
    pub(crate) fn reindex(&mut self) {
        for (_, mut delivery) in std::mem::take(&mut self.all) {
            if delivery.state == DeliveryState::InFlight {
                delivery.state = DeliveryState::Waiting;
            }
            self.insert(delivery);
        }
    }

    /// Keeps those that are wanted.
    pub(crate) fn retain(&mut self, is_wanted: impl Fn(&Delivery) -> bool) {
        for (_, delivery) in std::mem::take(self).all {
            if is_wanted(&delivery) {
                self.insert(delivery);
            }
        }
    }

    /// Changes a delivery and finds its place again.
    pub(crate) fn change(&mut self, id: u64, edit: impl FnOnce(&mut Delivery)) {
        let Some(delivery) = self.all.get_mut(&id) else {
            return;
        };
        self.queue.remove(&(delivery.due_ms, delivery.rank, id));
        self.in_flight.remove(&id);
        self.failed.remove(&id);
        edit(delivery);
        let changed = delivery.clone();
        self.index(&changed);
    }

    /// Moves a delivery to another state.
    pub(crate) fn set_state(&mut self, id: u64, state: DeliveryState) {
        self.change(id, |delivery| delivery.state = state);
    }

    /// One delivery.
    pub(crate) fn get(&self, id: u64) -> Option<&Delivery> {
        self.all.get(&id)
    }

    /// All of them, oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Delivery> {
        self.all.values()
    }

    /// Those that wait, are on their way or have failed for good: all but what is done with.
    pub(crate) fn unsettled(&self) -> impl Iterator<Item = &Delivery> {
        let queued = self.queue.iter().map(|(_, _, id)| id);
        let others = self.in_flight.iter().chain(&self.failed);
        queued.chain(others).filter_map(|id| self.all.get(id))
    }

    /// Those that were never tried, in the order in which they are due.
    pub(crate) fn waiting(&self) -> Vec<Delivery> {
        let queued = self.queue.iter().filter_map(|(_, _, id)| self.all.get(id));
        queued
            .filter(|delivery| delivery.state == DeliveryState::Waiting)
            .cloned()
            .collect()
    }

    /// Those that are to be sent by a moment, in order.
    pub(crate) fn due(&self, now: i64) -> impl Iterator<Item = &Delivery> {
        self.queue
            .range(..=(now, u64::MAX, u64::MAX))
            .filter_map(|(_, _, id)| self.all.get(id))
    }

    /// When the next is due after a moment.
    pub(crate) fn next_due(&self, now: i64) -> Option<i64> {
        self.queue
            .range((now + 1, 0, 0)..)
            .next()
            .map(|(due, ..)| *due)
    }

    /// Those on their way.
    pub(crate) fn in_flight(&self) -> impl ExactSizeIterator<Item = &Delivery> {
        // Every id of the set is one of the map: both are changed together.
        self.in_flight.iter().map(|id| &self.all[id])
    }

    /// Those of an event.
    pub(crate) fn of_event(&self, event: &str) -> impl Iterator<Item = &Delivery> {
        self.by_event
            .get(event)
            .into_iter()
            .flatten()
            .filter_map(|id| self.all.get(id))
    }
}
