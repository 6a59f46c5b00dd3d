//! The queue of webhook deliveries: at least once, in no guaranteed order, retried until a 2xx.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::spec::older;
use crate::world::World;
use crate::world::clock::wall_ms;
use crate::world::deliveries::{Attempt, Delivery, DeliveryState};
use crate::world::json::Json;

/// A request to be sent.
#[derive(Debug)]
pub(crate) struct Job {
    pub delivery: u64,
    pub url: String,
    pub body: String,
    pub secrets: Vec<String>,
    pub timeout_ms: u64,
}

/// How many deliveries are where.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Due now or on their way.
    pub busy: usize,
    /// Not yet answered 2xx and not given up, held ones included.
    pub pending: usize,
    /// Whose latest attempt failed.
    pub failed: usize,
}

impl World {
    /// Takes what is due, up to the concurrency, and tells when the next will be.
    pub(crate) fn take_due_deliveries(&mut self) -> (Vec<Job>, Option<i64>) {
        if self.hold.0 {
            return (vec![], None);
        }
        let now = wall_ms();
        let room = self
            .settings
            .webhook_concurrency
            .saturating_sub(self.deliveries.in_flight().len());
        let mut jobs = vec![];
        while jobs.len() < room {
            let chosen = self.choose_due(now, room - jobs.len());
            if chosen.is_empty() {
                break;
            }
            for id in chosen {
                jobs.extend(self.start_delivery(id));
            }
        }
        (jobs, self.deliveries.next_due(now))
    }

    /// Chooses what to send next; of those that keep an order, one at a time.
    fn choose_due(&mut self, now: i64, room: usize) -> Vec<u64> {
        let mut line_is_busy = self.deliveries.in_flight().any(|delivery| delivery.in_line);
        let may_go =
            |delivery: &&Delivery| !delivery.in_line || !std::mem::replace(&mut line_is_busy, true);
        let due = self
            .deliveries
            .due(now)
            .filter(may_go)
            .map(|delivery| delivery.id);
        if !self.chaos.shuffle {
            return due.take(room).collect();
        }
        let mut due: Vec<u64> = due.collect();
        self.chaos.shuffle(&mut due);
        due.truncate(room);
        due
    }

    fn start_delivery(&mut self, id: u64) -> Option<Job> {
        let delivery = self.deliveries.get(id)?;
        let endpoint = self
            .store
            .get(&delivery.endpoint)
            .filter(|endpoint| !endpoint.flag("deleted"));
        let Some(endpoint) = endpoint else {
            self.deliveries.set_state(id, DeliveryState::Dropped);
            return None;
        };
        if endpoint.text("status") == "disabled" {
            // Later retries go on once it is enabled again.
            self.finish_delivery(id, Err("the endpoint is disabled".to_owned()));
            return None;
        }
        let body = match &delivery.body {
            Some(body) => body.clone(),
            None => older::event(
                &self.store,
                &self.store.copy(&delivery.event),
                endpoint.opt_text("api_version"),
            ),
        };
        let secrets = self.store.hidden(&delivery.endpoint, "secrets");
        let job = Job {
            delivery: delivery.id,
            url: endpoint.text("url").to_owned(),
            // Stripe sends its events pretty-printed: whoever signs a re-serialised body finds out.
            body: format!("{body:#}"),
            secrets: secrets
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            timeout_ms: self.settings.webhook_timeout_ms,
        };
        self.deliveries.set_state(id, DeliveryState::InFlight);
        Some(job)
    }

    /// Notes the answer to an attempt and plans the next one where it failed.
    pub(crate) fn finish_delivery(&mut self, id: u64, answer: Result<u16, String>) {
        self.dirty = true;
        let Some(event) = self
            .deliveries
            .get(id)
            .map(|delivery| delivery.event.clone())
        else {
            return;
        };
        let retries = &self.settings.webhook_retry_ms;
        self.deliveries.change(id, |delivery| {
            delivery.attempts += 1;
            let status = answer.as_ref().ok().copied();
            delivery.log.push(Attempt {
                at: wall_ms() / 1000,
                status,
                error: answer.err(),
            });
            delivery.state = if status.is_some_and(|status| (200..300).contains(&status)) {
                DeliveryState::Delivered
            } else if let Some(wait) = retries.get(delivery.attempts - 1) {
                delivery.due_ms = wall_ms() + wait;
                DeliveryState::Retrying
            } else {
                DeliveryState::Failed
            };
        });
        let pending = self.undelivered_endpoints(&event);
        self.store
            .edit(&event, |event| event.set("pending_webhooks", pending));
    }

    /// How many endpoints have not yet answered 2xx to an event.
    fn undelivered_endpoints(&self, event: &str) -> usize {
        let mut answered: BTreeMap<&str, bool> = BTreeMap::new();
        for delivery in self.deliveries.of_event(event) {
            *answered.entry(&delivery.endpoint).or_default() |=
                delivery.state == DeliveryState::Delivered;
        }
        answered.values().filter(|answered| !**answered).count()
    }

    /// Whether every endpoint that wants an event has answered 2xx, or none ever will.
    pub(crate) fn is_delivered(&self, event: &str) -> bool {
        self.undelivered_endpoints(event) == 0
            || !self.deliveries.of_event(event).any(|d| d.state.is_open())
    }

    /// Counts deliveries as `settle` reports them.
    pub(crate) fn count_deliveries(&self) -> Counts {
        let now = wall_ms();
        let mut counts = Counts::default();
        for delivery in self.deliveries.unsettled() {
            match delivery.state {
                DeliveryState::InFlight => {
                    counts.busy += 1;
                    counts.pending += 1;
                }
                // What chaos delays is still to come; what waits for its retry is not waited for.
                DeliveryState::Waiting => {
                    counts.pending += 1;
                    counts.busy += usize::from(!self.hold.0);
                }
                DeliveryState::Retrying => {
                    counts.pending += 1;
                    counts.failed += 1;
                    counts.busy += usize::from(!self.hold.0 && delivery.due_ms <= now);
                }
                DeliveryState::Failed => counts.failed += 1,
                DeliveryState::Delivered | DeliveryState::Dropped => {}
            }
        }
        counts
    }

    /// Every attempt, and every delivery that had none, as the control API shows them.
    pub(crate) fn delivery_log(&self) -> Vec<Value> {
        let mut rows = vec![];
        for delivery in self.deliveries.all() {
            let kind = self
                .store
                .get(&delivery.event)
                .map_or("", |event| event.text("type"));
            let url = self
                .store
                .get(&delivery.endpoint)
                .map_or("", |endpoint| endpoint.text("url"));
            let row = |number: usize, attempt: Option<&Attempt>| {
                json!({
                    "event": delivery.event, "type": kind, "endpoint": url, "attempt": number,
                    "status": attempt.and_then(|a| a.status), "error": attempt.and_then(|a| a.error.clone()),
                    "at": attempt.map(|a| a.at), "state": delivery.state, "forged": delivery.body.is_some(),
                })
            };
            if delivery.log.is_empty() {
                rows.push(row(0, None));
            }
            rows.extend(
                delivery
                    .log
                    .iter()
                    .enumerate()
                    .map(|(at, attempt)| row(at + 1, Some(attempt))),
            );
        }
        rows
    }
}

/// How many deliveries are open and failed, in the words of the control API.
pub(crate) fn delivery_counts(world: &World) -> Value {
    let counts = world.count_deliveries();
    json!({"settled": counts.busy == 0, "pending": counts.pending, "failed": counts.failed})
}
