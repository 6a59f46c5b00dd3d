//! The control API under `/_sandbox/`: clock, deliveries, faults, chaos, and what a test wants to see.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json as Body, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::app::{App, delivery_counts};
use crate::delivery::{Delivery, DeliveryState};
use crate::engine::checkout::{self, NotPaid, Payment};
use crate::engine::clock;
use crate::error::ApiError;
use crate::faults::Fault;
use crate::json::Json;
use crate::settings::Chaos;
use crate::world::World;

type Shared = State<Arc<App>>;

/// A refusal of the control API.
pub(crate) struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Body(json!({"error": self.1}))).into_response()
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
        Self(status, error.message().to_owned())
    }
}

type Answer = Result<Body<Value>, Refused>;

/// The routes of the control API.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/_sandbox/clock", get(show_clock))
        .route("/_sandbox/clock/advance", post(advance_clock))
        .route("/_sandbox/checkout/{id}/pay", post(pay))
        .route("/_sandbox/deliveries", get(deliveries))
        .route("/_sandbox/deliveries/settle", post(settle))
        .route("/_sandbox/deliveries/hold", post(hold))
        .route("/_sandbox/deliveries/release", post(release))
        .route("/_sandbox/events/forge", post(forge))
        .route("/_sandbox/events/{id}/send", post(send_again))
        .route(
            "/_sandbox/faults",
            get(show_faults).post(add_fault).delete(clear_faults),
        )
        .route("/_sandbox/chaos", get(show_chaos).post(set_chaos))
        .route("/_sandbox/settings", get(show_settings).post(set_settings))
        .route("/_sandbox/journal", get(journal))
        .route("/_sandbox/objects/{kind}", get(objects))
        .route("/_sandbox/reset", post(reset))
        .with_state(app)
}

/// Parses a JSON body; none is an empty object. Unknown fields are refused by the types.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Refused> {
    let text: &[u8] = if bytes.iter().all(u8::is_ascii_whitespace) {
        b"{}"
    } else {
        bytes
    };
    serde_json::from_slice(text)
        .map_err(|error| Refused(StatusCode::BAD_REQUEST, error.to_string()))
}

async fn show_clock(State(app): Shared) -> Body<Value> {
    Body(clock_of(&app.world()))
}

fn clock_of(world: &World) -> Value {
    json!({"now": world.now(), "offset": world.clock.offset})
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    seconds: Option<i64>,
    to: Option<i64>,
}

async fn advance_clock(State(app): Shared, body: Bytes) -> Answer {
    let wanted: Advance = parse(&body)?;
    let now = app.world().now();
    let target = match (wanted.seconds, wanted.to) {
        (Some(seconds), None) => now + seconds,
        (None, Some(to)) => to,
        _ => {
            return Err(Refused(
                StatusCode::BAD_REQUEST,
                "give either seconds or to".to_owned(),
            ));
        }
    };
    if target < now {
        return Err(Refused(
            StatusCode::BAD_REQUEST,
            "the clock goes forwards only".to_owned(),
        ));
    }
    Ok(Body(app.with(|world| {
        clock::advance_to(world, target);
        clock_of(world)
    })))
}

/// Pays a session as its buyer would, for programs.
async fn pay(State(app): Shared, Path(id): Path<String>, body: Bytes) -> Response {
    let payment: Payment = match parse(&body) {
        Ok(payment) => payment,
        Err(refused) => return refused.into_response(),
    };
    match app.with(|world| checkout::pay(world, &id, &payment)) {
        Ok(done) => {
            if payment.wait_for_webhook {
                wait_for_delivery(&app, &done.event).await;
            }
            Body(json!({
                "status": done.session["status"], "payment_status": done.session["payment_status"],
                "redirect_url": done.redirect_url, "event": done.event,
            }))
            .into_response()
        }
        Err(NotPaid::NotOpen(session)) => {
            let message = format!("The session is not open but '{}'.", session.text("status"));
            (
                StatusCode::CONFLICT,
                Body(json!({"error": {"type": "invalid_request_error", "message": message}})),
            )
                .into_response()
        }
        Err(NotPaid::Refused(error)) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::PAYMENT_REQUIRED);
            (status, Body(error.to_json())).into_response()
        }
    }
}

/// Waits as the hosted page does: until the endpoints have answered, or time is up.
pub(crate) async fn wait_for_delivery(app: &App, event: &str) {
    let wait = Duration::from_millis(app.world().settings.redirect_wait_ms);
    app.wait_for(wait, |world| world.is_delivered(event)).await;
}

async fn deliveries(State(app): Shared) -> Body<Value> {
    Body(app.world().delivery_log().into())
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settle {
    timeout_ms: u64,
}

impl Default for Settle {
    fn default() -> Self {
        Self { timeout_ms: 5_000 }
    }
}

async fn settle(State(app): Shared, body: Bytes) -> Answer {
    let Settle { timeout_ms } = parse(&body)?;
    app.with(|_| ());
    app.wait_for(Duration::from_millis(timeout_ms), |world| {
        world.count_deliveries().busy == 0
    })
    .await;
    Ok(Body(delivery_counts(&app.world())))
}

async fn hold(State(app): Shared) -> Body<Value> {
    app.world().hold.0 = true;
    Body(json!({"held": true}))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum Order {
    #[default]
    AsIs,
    Reverse,
    Shuffle,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Release {
    order: Option<Order>,
    /// How many more times each event is sent.
    duplicate: usize,
    /// Types or ids of events that are never sent.
    drop: Vec<String>,
}

/// Lets the held deliveries go; with an order, one after the other in that order.
async fn release(State(app): Shared, body: Bytes) -> Answer {
    let how: Release = parse(&body)?;
    Ok(Body(app.with(|world| {
        world.hold.0 = false;
        let (held, mut rest): (Vec<Delivery>, Vec<Delivery>) =
            std::mem::take(&mut world.deliveries)
                .into_iter()
                .partition(|d| d.state == DeliveryState::Waiting);
        let (mut dropped, mut going): (Vec<Delivery>, Vec<Delivery>) =
            held.into_iter().partition(|delivery| {
                let kind = world
                    .store
                    .get(&delivery.event)
                    .map_or("", |event| event.text("type"));
                how.drop
                    .iter()
                    .any(|name| name == kind || *name == delivery.event)
            });
        for delivery in &mut dropped {
            delivery.state = DeliveryState::Dropped;
        }
        let copies = going
            .iter()
            .flat_map(|d| std::iter::repeat_n(d.clone(), how.duplicate))
            .collect::<Vec<_>>();
        going.extend(copies.into_iter().map(|mut copy| {
            copy.id = world.next_number();
            copy
        }));
        match how.order {
            Some(Order::Reverse) => going.reverse(),
            Some(Order::Shuffle) => world.chaos.shuffle(&mut going),
            Some(Order::AsIs) | None => {}
        }
        let now = crate::clock::wall_ms();
        for delivery in &mut going {
            delivery.in_line = how.order.is_some();
            delivery.due_ms = now;
        }
        let counts = json!({"released": going.len(), "dropped": dropped.len()});
        rest.extend(dropped);
        rest.extend(going);
        world.deliveries = rest;
        counts
    })))
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SendAgain {
    times: usize,
}

impl Default for SendAgain {
    fn default() -> Self {
        Self { times: 1 }
    }
}

async fn send_again(State(app): Shared, Path(id): Path<String>, body: Bytes) -> Answer {
    let SendAgain { times } = parse(&body)?;
    app.with(|world| {
        world.require("event", &id)?;
        let endpoints = world
            .store
            .ids_where("webhook_endpoint", |endpoint| !endpoint.flag("deleted"));
        for endpoint in &endpoints {
            for _ in 0..times {
                world.enqueue_body(&id, endpoint, None);
            }
        }
        Ok(Body(json!({"enqueued": times * endpoints.len()})))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Forge {
    /// Event to start from: an id, or the newest of the type.
    event: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Object to put into the event instead: its id.
    object: Option<String>,
    /// Fields of `data.object` to replace; nested hashes are merged, null stays null.
    #[serde(default)]
    object_patch: Value,
    /// Fields of the event itself to replace.
    #[serde(default)]
    event_patch: Value,
    api_version: Option<String>,
    livemode: Option<bool>,
    created: Option<i64>,
    id: Option<String>,
}

/// Sends a validly signed event with an edited body. It is not stored: the API does not know it.
async fn forge(State(app): Shared, body: Bytes) -> Answer {
    let forge: Forge = parse(&body)?;
    app.with(|world| {
        let event = forged_event(world, &forge)?;
        let id = event.text("id").to_owned();
        let endpoints = world
            .store
            .ids_where("webhook_endpoint", |endpoint| !endpoint.flag("deleted"));
        for endpoint in &endpoints {
            world.enqueue_body(&id, endpoint, Some(event.clone()));
        }
        Ok(Body(json!({"event": event, "enqueued": endpoints.len()})))
    })
}

fn forged_event(world: &World, forge: &Forge) -> Result<Value, Refused> {
    let of_kind = |kind: &str| {
        world
            .store
            .all("event")
            .iter()
            .rev()
            .find(|event| event.text("type") == kind)
            .cloned()
    };
    let base = match (&forge.event, &forge.kind) {
        (Some(id), _) => Some(world.require("event", id)?),
        (None, Some(kind)) => of_kind(kind),
        (None, None) => None,
    };
    let mut event = base.unwrap_or_else(|| {
        json!({"object": "event", "api_version": crate::table::version(), "data": {"object": {}}, "livemode": false,
            "pending_webhooks": 1, "request": {"id": null, "idempotency_key": null}})
    });
    event.set(
        "id",
        forge.id.clone().unwrap_or_else(|| crate::ids::new("evt")),
    );
    event.set("created", forge.created.unwrap_or_else(|| world.now()));
    if let Some(kind) = &forge.kind {
        event.set("type", kind.as_str());
    }
    if let Some(id) = &forge.object {
        let object = world.store.get(id).cloned();
        event["data"].set(
            "object",
            object.ok_or_else(|| Refused(StatusCode::NOT_FOUND, format!("no object {id}")))?,
        );
    }
    patch(&mut event["data"]["object"], &forge.object_patch);
    if let Some(version) = &forge.api_version {
        event = crate::render::event(&event, Some(version));
        event.set("api_version", version.as_str());
    }
    if let Some(livemode) = forge.livemode {
        event.set("livemode", livemode);
    }
    patch(&mut event, &forge.event_patch);
    Ok(event)
}

fn patch(target: &mut Value, with: &Value) {
    for (key, value) in with.fields() {
        if value.is_object() && target.get(&key).is_some_and(Value::is_object) {
            patch(&mut target[&key], &value);
        } else {
            target.set(&key, value);
        }
    }
}

async fn show_faults(State(app): Shared) -> Body<Value> {
    Body(json!(app.world().faults))
}

async fn add_fault(State(app): Shared, body: Bytes) -> Answer {
    let fault: Fault = parse(&body)?;
    let mut world = app.world();
    world.faults.push(fault);
    Ok(Body(json!(world.faults)))
}

async fn clear_faults(State(app): Shared) -> Body<Value> {
    app.world().faults.clear();
    Body(json!([]))
}

async fn show_chaos(State(app): Shared) -> Body<Value> {
    Body(json!(app.world().chaos))
}

async fn set_chaos(State(app): Shared, body: Bytes) -> Answer {
    let chaos: Chaos = parse(&body)?;
    let mut world = app.world();
    world.chaos = chaos;
    Ok(Body(json!(world.chaos)))
}

async fn show_settings(State(app): Shared) -> Body<Value> {
    Body(json!(app.world().settings))
}

/// Changes the settings that are given and keeps the others.
async fn set_settings(State(app): Shared, body: Bytes) -> Answer {
    let given: Value = parse(&body)?;
    let mut world = app.world();
    let mut settings = json!(world.settings);
    patch(&mut settings, &given);
    world.settings = serde_json::from_value(settings)
        .map_err(|error| Refused(StatusCode::BAD_REQUEST, error.to_string()))?;
    world.dirty = true;
    Ok(Body(json!(world.settings)))
}

async fn journal(State(app): Shared) -> Body<Value> {
    Body(app.world().journal.records().to_vec().into())
}

async fn objects(State(app): Shared, Path(kind): Path<String>) -> Body<Value> {
    Body(app.world().store.all(&kind).to_vec().into())
}

async fn reset(State(app): Shared) -> Answer {
    app.reset()
        .map_err(|error| Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(Body(json!({"reset": true})))
}
