//! The queue of webhook deliveries: at least once, in no guaranteed order, retried until a 2xx.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::wall_ms;
use crate::json::Json;
use crate::render;
use crate::world::World;

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeliveryState {
    /// Not yet tried.
    Waiting,
    /// On its way.
    InFlight,
    /// Answered 2xx.
    Delivered,
    /// Failed, to be tried again.
    Retrying,
    /// Failed for good.
    Failed,
    /// Lost on purpose.
    Dropped,
}

/// One attempt and its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// Wall time in seconds.
    pub at: i64,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What went wrong otherwise.
    pub error: Option<String>,
}

/// An event on its way to an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Delivery {
    pub id: u64,
    pub event: String,
    pub endpoint: String,
    /// A forged body instead of the event's own.
    pub body: Option<Value>,
    pub attempts: usize,
    /// When the next attempt is due, in wall milliseconds.
    pub due_ms: i64,
    pub state: DeliveryState,
    /// Sent only after those before it were answered: a release that names an order keeps it.
    #[serde(default)]
    pub in_line: bool,
    pub log: Vec<Attempt>,
}

/// Whether deliveries are held back.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Hold(pub bool);

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
        let mut open: Vec<usize> = (0..self.deliveries.len())
            .filter(|at| self.deliveries[*at].is_open())
            .collect();
        open.sort_by_key(|at| self.deliveries[*at].due_ms);
        let mut due: Vec<usize> = open
            .iter()
            .copied()
            .filter(|at| self.deliveries[*at].due_ms <= now)
            .collect();
        if self.chaos.shuffle {
            self.chaos.shuffle(&mut due);
        }
        let in_flight = |d: &&Delivery| d.state == DeliveryState::InFlight;
        let mut line_is_busy = self.deliveries.iter().filter(in_flight).any(|d| d.in_line);
        let room = self
            .settings
            .webhook_concurrency
            .saturating_sub(self.deliveries.iter().filter(in_flight).count());
        let mut jobs = vec![];
        for at in due {
            if jobs.len() == room {
                break;
            }
            if self.deliveries[at].in_line && std::mem::replace(&mut line_is_busy, true) {
                continue;
            }
            if let Some(job) = self.start_delivery(at) {
                jobs.push(job);
            }
        }
        let next = open
            .iter()
            .map(|at| self.deliveries[*at].due_ms)
            .find(|due| *due > now);
        (jobs, next)
    }

    fn start_delivery(&mut self, at: usize) -> Option<Job> {
        let delivery = &self.deliveries[at];
        let endpoint = self
            .store
            .get(&delivery.endpoint)
            .filter(|endpoint| !endpoint.flag("deleted"));
        let Some(endpoint) = endpoint else {
            self.deliveries[at].state = DeliveryState::Dropped;
            return None;
        };
        let body = match &delivery.body {
            Some(body) => body.clone(),
            None => render::event(
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
        self.deliveries[at].state = DeliveryState::InFlight;
        Some(job)
    }

    /// Notes the answer to an attempt and plans the next one where it failed.
    pub(crate) fn finish_delivery(&mut self, id: u64, answer: Result<u16, String>) {
        self.dirty = true;
        let retries = &self.settings.webhook_retry_ms;
        let Some(delivery) = self
            .deliveries
            .iter_mut()
            .find(|delivery| delivery.id == id)
        else {
            return;
        };
        delivery.attempts += 1;
        let status = answer.as_ref().ok().copied();
        delivery.log.push(Attempt {
            at: wall_ms() / 1000,
            status,
            error: answer.err(),
        });
        if status.is_some_and(|status| (200..300).contains(&status)) {
            delivery.state = DeliveryState::Delivered;
        } else if let Some(wait) = retries.get(delivery.attempts - 1) {
            delivery.state = DeliveryState::Retrying;
            delivery.due_ms = wall_ms() + wait;
        } else {
            delivery.state = DeliveryState::Failed;
        }
        let event = delivery.event.clone();
        let pending = self.undelivered_endpoints(&event);
        if let Some(event) = self.store.get_mut(&event) {
            event.set("pending_webhooks", pending);
        }
    }

    /// How many endpoints have not yet answered 2xx to an event.
    fn undelivered_endpoints(&self, event: &str) -> usize {
        let of_event = || {
            self.deliveries
                .iter()
                .filter(|delivery| delivery.event == event)
        };
        let answered = |endpoint: &str| {
            of_event().any(|d| d.endpoint == endpoint && d.state == DeliveryState::Delivered)
        };
        let mut endpoints: Vec<&str> = of_event()
            .map(|delivery| delivery.endpoint.as_str())
            .collect();
        endpoints.sort_unstable();
        endpoints.dedup();
        endpoints
            .into_iter()
            .filter(|endpoint| !answered(endpoint))
            .count()
    }

    /// Whether every endpoint that wants an event has answered 2xx, or none ever will.
    pub(crate) fn is_delivered(&self, event: &str) -> bool {
        let lost = |d: &Delivery| matches!(d.state, DeliveryState::Failed | DeliveryState::Dropped);
        self.undelivered_endpoints(event) == 0
            || self
                .deliveries
                .iter()
                .filter(|d| d.event == event)
                .all(|d| lost(d) || d.state == DeliveryState::Delivered)
    }

    /// Counts deliveries as `settle` reports them.
    pub(crate) fn count_deliveries(&self) -> Counts {
        let now = wall_ms();
        let mut counts = Counts::default();
        for delivery in &self.deliveries {
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
        for delivery in &self.deliveries {
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

impl Delivery {
    /// Whether it is still to be sent.
    fn is_open(&self) -> bool {
        matches!(self.state, DeliveryState::Waiting | DeliveryState::Retrying)
    }
}
