//! Deliveries under control: settle, hold, release, send again, forge.

use std::time::Duration;

use axum::Json as Body;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Refused, Shared, parse};
use crate::webhooks::delivery::delivery_counts;
use crate::world::World;
use crate::world::deliveries::{Delivery, DeliveryState};
use crate::world::json::Json;

pub(super) async fn show(State(app): Shared) -> Body<Value> {
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

pub(super) async fn settle(State(app): Shared, body: Bytes) -> Answer {
    let Settle { timeout_ms } = parse(&body)?;
    app.with(|_| ());
    app.wait_for(Duration::from_millis(timeout_ms), |world| {
        world.count_deliveries().busy == 0
    })
    .await;
    Ok(Body(delivery_counts(&app.world())))
}

pub(super) async fn hold(State(app): Shared) -> Body<Value> {
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
pub(super) async fn release(State(app): Shared, body: Bytes) -> Answer {
    let how: Release = parse(&body)?;
    Ok(Body(app.with(|world| {
        world.hold.0 = false;
        let (dropped, mut going): (Vec<Delivery>, Vec<Delivery>) = world
            .deliveries
            .waiting()
            .into_iter()
            .partition(|delivery| {
                let kind = world
                    .store
                    .get(&delivery.event)
                    .map_or("", |event| event.text("type"));
                how.drop
                    .iter()
                    .any(|name| name == kind || *name == delivery.event)
            });
        for delivery in &dropped {
            world
                .deliveries
                .set_state(delivery.id, DeliveryState::Dropped);
        }
        for original in going.clone() {
            for _ in 0..how.duplicate {
                let id = world.next_number();
                let copy = Delivery {
                    id,
                    ..original.clone()
                };
                world.deliveries.insert(copy.clone());
                going.push(copy);
            }
        }
        match how.order {
            Some(Order::Reverse) => going.reverse(),
            Some(Order::Shuffle) => world.chaos.shuffle(&mut going),
            Some(Order::AsIs) | None => {}
        }
        let now = crate::world::clock::wall_ms();
        for delivery in &going {
            let rank = world.next_number();
            world.deliveries.change(delivery.id, |delivery| {
                delivery.in_line = how.order.is_some();
                delivery.due_ms = now;
                delivery.rank = rank;
            });
        }
        json!({"released": going.len(), "dropped": dropped.len()})
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

pub(super) async fn send_again(State(app): Shared, Path(id): Path<String>, body: Bytes) -> Answer {
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
    /// Whether it is sent as a thin event is (`v2.core.event`), which names its object and nothing more.
    #[serde(default)]
    thin: bool,
}

/// Sends a validly signed event with an edited body. It is not stored: the API does not know it.
pub(super) async fn forge(State(app): Shared, body: Bytes) -> Answer {
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
        json!({"object": "event", "api_version": crate::world::API_VERSION, "data": {"object": {}}, "livemode": false,
            "pending_webhooks": 1, "request": {"id": null, "idempotency_key": null}})
    });
    event.set(
        "id",
        forge
            .id
            .clone()
            .unwrap_or_else(|| crate::world::ids::new("evt")),
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
        event = crate::spec::older::event(&world.store, &event, Some(version));
        event.set("api_version", version.as_str());
    }
    if let Some(livemode) = forge.livemode {
        event.set("livemode", livemode);
    }
    if forge.thin {
        event = thin(&event);
    }
    patch(&mut event, &forge.event_patch);
    Ok(event)
}

/// An event as an event destination with thin payloads gets it: see facts of `/v2/core/event_destinations`.
fn thin(event: &Value) -> Value {
    let object = &event["data"]["object"];
    let (kind, id) = (object.text("object"), object.text("id"));
    json!({
        "id": event["id"], "object": "v2.core.event", "type": format!("v1.{}", event.text("type")), "context": null,
        "created": "2026-11-20T12:00:00.000Z", "livemode": event["livemode"], "reason": null,
        "related_object": {"id": id, "type": kind, "url": format!("/v1/{kind}s/{id}")},
    })
}

/// Replaces fields, hash by hash.
pub(super) fn patch(target: &mut Value, with: &Value) {
    for (key, value) in with.fields() {
        if value.is_object() && target.get(&key).is_some_and(Value::is_object) {
            patch(&mut target[&key], &value);
        } else {
            target.set(&key, value);
        }
    }
}
