//! Everything the sandbox knows, behind one lock: objects, clock, due work, deliveries.

pub(crate) mod amounts;
pub(crate) mod answers;
pub(crate) mod clock;
pub(crate) mod deliveries;
pub(crate) mod error;
pub(crate) mod faults;
pub(crate) mod ids;
pub(crate) mod journal;
pub(crate) mod json;
pub(crate) mod queue;
pub(crate) mod schedule;
pub(crate) mod searchable;
pub(crate) mod settings;
pub(crate) mod store;

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::answers::Stored;
use self::clock::{Clock, wall_ms};
use self::deliveries::{Delivery, DeliveryState, Hold};
use self::error::{ApiError, ApiResult};
use self::faults::Fault;
use self::journal::Journal;
use self::json::{Json, previous_attributes};
use self::queue::Deliveries;
use self::searchable::{Past, searched};
use self::settings::{Chaos, Settings};
use self::store::Store;

pub(crate) use self::schedule::Task;

/// The API version whose shapes the objects have.
pub(crate) const API_VERSION: &str = "2026-10-28.endive";

/// Seconds for which Stripe shows an event.
pub(crate) const EVENTS_KEPT: i64 = 30 * 86_400;

/// Who asked, as `event.request` tells.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestContext {
    /// The `Request-Id` of the call.
    pub id: String,
    /// Its `Idempotency-Key`.
    pub idempotency_key: Option<String>,
}

/// The whole state; what is not skipped is saved.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct World {
    pub store: Store,
    pub clock: Clock,
    /// Due work by moment and sequence.
    #[serde(with = "schedule")]
    pub schedule: BTreeMap<(i64, u64), Task>,
    pub sequence: u64,
    pub settings: Settings,
    pub invoice_numbers: u64,
    pub deliveries: Deliveries,
    pub idempotency: HashMap<String, Stored>,
    /// When the keys that are too old were last forgotten.
    #[serde(skip)]
    pub keys_forgotten: i64,
    /// What a search that lags behind still sees.
    #[serde(skip)]
    pub past: Past,
    #[serde(skip)]
    pub chaos: Chaos,
    #[serde(skip)]
    pub hold: Hold,
    #[serde(skip)]
    pub faults: Vec<Fault>,
    #[serde(skip)]
    pub request: Option<RequestContext>,
    #[serde(skip)]
    pub journal: Journal,
    /// Where the sandbox is reached, without a slash at the end.
    #[serde(skip)]
    pub base_url: String,
    /// What a debug build has found wrong with an event of its own: from then on every answer says so.
    #[serde(skip)]
    pub wrong: Option<String>,
    /// How many events were held against Stripe's description, or were there before.
    #[serde(skip)]
    pub events_held: usize,
    /// Something changed that should be saved.
    #[serde(skip)]
    pub dirty: bool,
}

impl World {
    /// Seconds since 1970 in the sandbox.
    pub(crate) fn now(&self) -> i64 {
        self.clock.now()
    }

    /// Forgets the events that the API no longer shows, and how they were delivered: most of what a long past weighs.
    pub(crate) fn forget_old_events(&mut self) {
        let oldest = self.now() - EVENTS_KEPT;
        let open = self.deliveries.unsettled();
        let open: HashSet<String> = open.map(|delivery| delivery.event.clone()).collect();
        self.store.forget("event", |event| {
            event.int("created") < oldest && !open.contains(event.text("id"))
        });
        let store = &self.store;
        self.deliveries
            .retain(|delivery| delivery.body.is_some() || store.get(&delivery.event).is_some());
        self.events_held = self.store.all("event").len();
        self.dirty = true;
    }

    /// Notes work for later.
    pub(crate) fn plan(&mut self, at: i64, task: Task) {
        self.sequence += 1;
        self.schedule.insert((at, self.sequence), task);
    }

    /// A copy of an object of a kind, or Stripe's 404.
    pub(crate) fn require(&self, kind: &str, id: &str) -> ApiResult {
        self.store
            .find(kind, id)
            .cloned()
            .ok_or_else(|| ApiError::missing(kind, id))
    }

    /// What a price costs in a currency, in minor units.
    pub(crate) fn unit_amount(&self, price: &Value, currency: &str) -> i64 {
        let options = self.store.hidden(price.text("id"), "currency_options");
        options.get(currency).map_or_else(
            || price.int("unit_amount"),
            |option| option.int("unit_amount"),
        )
    }

    /// Adds an object and announces it when it has an event for that.
    pub(crate) fn create(&mut self, object: Value, event: Option<&str>) -> Value {
        self.store.insert(object.clone());
        self.dirty = true;
        if let Some(event) = event {
            self.emit(event, &object, None);
        }
        object
    }

    /// Changes an object without an event.
    pub(crate) fn change(&mut self, id: &str, edit: impl FnOnce(&mut Value)) -> Value {
        self.dirty = true;
        let before = self.store.find("customer", id).map(searched);
        let after = self.store.edit(id, edit).cloned().unwrap_or_default();
        if let Some(before) = before.filter(|before| *before != searched(&after)) {
            let (now, lag) = (self.now(), self.settings.search_lag_seconds);
            self.past.note(id, before, now, lag);
        }
        after
    }

    /// Changes an object and announces what changed; no change, no event.
    pub(crate) fn update(&mut self, id: &str, event: &str, edit: impl FnOnce(&mut Value)) -> Value {
        let before = self.store.copy(id);
        let after = self.change(id, edit);
        let previous = previous_attributes(&before, &after);
        if !previous.is_empty() {
            self.emit(event, &after, Some(previous));
        }
        after
    }

    /// Creates an event and enqueues it for every endpoint that wants its type.
    pub(crate) fn emit(
        &mut self,
        kind: &str,
        object: &Value,
        previous: Option<Map<String, Value>>,
    ) -> String {
        let event = self.emit_once(kind, object, previous.clone());
        if self.chaos.twin_events {
            self.emit_once(kind, object, previous);
        }
        event
    }

    fn emit_once(
        &mut self,
        kind: &str,
        object: &Value,
        previous: Option<Map<String, Value>>,
    ) -> String {
        let mut data = json!({"object": object});
        if let Some(previous) = previous {
            data.set("previous_attributes", previous);
        }
        let endpoints = self.endpoints_for(kind);
        let request = self.request.clone().unwrap_or_default();
        let id = Some(request.id).filter(|id| !id.is_empty());
        let event = json!({
            "id": ids::new("evt"), "object": "event", "api_version": API_VERSION, "created": self.now(),
            "data": data, "livemode": false, "pending_webhooks": endpoints.len(),
            "request": {"id": id, "idempotency_key": request.idempotency_key}, "type": kind,
        });
        let event_id = event.text("id").to_owned();
        self.journal.event(&event);
        self.store.insert(event);
        for endpoint in endpoints {
            self.enqueue(&event_id, &endpoint);
        }
        self.dirty = true;
        event_id
    }

    /// The enabled endpoints that want a type.
    fn endpoints_for(&self, kind: &str) -> Vec<String> {
        self.store.ids_where("webhook_endpoint", |endpoint| {
            let wants = |pattern: &Value| pattern.as_str().is_some_and(|p| p == "*" || p == kind);
            !endpoint.flag("deleted")
                && endpoint.text("status") == "enabled"
                && endpoint.items("enabled_events").iter().any(wants)
        })
    }

    /// Puts an event into the queue of an endpoint.
    pub(crate) fn enqueue(&mut self, event: &str, endpoint: &str) {
        let dropped = self.chaos.drops();
        for _ in 0..self.chaos.copies() {
            let id = self.enqueue_body(event, endpoint, None);
            if dropped {
                self.deliveries.set_state(id, DeliveryState::Dropped);
            }
        }
    }

    /// Puts an event, or a forged body, into the queue of an endpoint.
    pub(crate) fn enqueue_body(&mut self, event: &str, endpoint: &str, body: Option<Value>) -> u64 {
        let id = self.next_number();
        self.deliveries.insert(Delivery {
            id,
            event: event.to_owned(),
            endpoint: endpoint.to_owned(),
            body,
            attempts: 0,
            due_ms: wall_ms() + self.chaos.delay_ms(),
            rank: id,
            state: DeliveryState::Waiting,
            in_line: false,
            log: vec![],
        });
        id
    }

    /// A number that was not used before.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}

/// Merges metadata into an object: an empty value deletes a key, an empty string all of them.
pub(crate) fn merge(object: &mut Value, given: Option<&Value>) {
    let Some(given) = given else { return };
    let mut metadata = if given.is_string() {
        Map::new()
    } else {
        object["metadata"].fields()
    };
    for (key, value) in given.fields() {
        if value.as_str() == Some("") {
            metadata.remove(&key);
        } else {
            metadata.insert(key, value);
        }
    }
    object.set("metadata", metadata);
}

/// The metadata of a new object: what was given, without empty values.
pub(crate) fn new_metadata(given: Option<&Value>) -> Value {
    let mut holder = json!({"metadata": {}});
    merge(&mut holder, given);
    holder["metadata"].take()
}

/// A text parameter, where an empty one means that the field is unset.
pub(crate) fn set_texts(object: &mut Value, params: &Value, names: &[&str]) {
    for name in names {
        match params.get(*name) {
            Some(Value::String(text)) if text.is_empty() => object.set(name, Value::Null),
            Some(value) => object.set(name, value.clone()),
            None => {}
        }
    }
}
