//! Test clocks. There is one clock in the sandbox: advancing any of them advances it for all objects.

use serde_json::{Value, json};

use super::listing;
use super::{Call, Route, refuse, route};
use crate::engine::clock;
use crate::world::World;
use crate::world::clock::add_interval;
use crate::world::error::{ApiError, ApiResult};
use crate::world::ids;
use crate::world::json::Json;

pub(super) const ROUTES: &[Route] = &[
    route(
        "POST",
        "/v1/test_helpers/test_clocks",
        "test_helpers.test_clock",
        create,
    ),
    route(
        "GET",
        "/v1/test_helpers/test_clocks",
        "test_helpers.test_clock",
        index,
    ),
    route(
        "GET",
        "/v1/test_helpers/test_clocks/{}",
        "test_helpers.test_clock",
        retrieve,
    ),
    route(
        "DELETE",
        "/v1/test_helpers/test_clocks/{}",
        "test_helpers.test_clock",
        delete,
    ),
    route(
        "POST",
        "/v1/test_helpers/test_clocks/{}/advance",
        "test_helpers.test_clock",
        advance,
    ),
];

fn create(world: &mut World, call: &Call) -> ApiResult {
    refuse(&call.params, &["customer"])?;
    let frozen = call.params.int("frozen_time");
    let now = world.now();
    // The sandbox's own clock cannot go back; a clock that starts ahead takes it along.
    if frozen > now {
        clock::advance_to(world, frozen);
    }
    let object = json!({
        "id": ids::new("clock"), "object": "test_helpers.test_clock", "created": world.now(),
        "deletes_after": world.now() + 30 * 86_400, "frozen_time": frozen, "livemode": false,
        "name": call.params.get("name"), "status": "ready", "status_details": {},
    });
    Ok(world.create(object, Some("test_helpers.test_clock.created")))
}

fn live(world: &World, id: &str) -> ApiResult {
    let clock = world.require("test_helpers.test_clock", id)?;
    if clock.flag("deleted") {
        Err(ApiError::missing("test_helpers.test_clock", id))
    } else {
        Ok(clock)
    }
}

fn retrieve(world: &mut World, call: &Call) -> ApiResult {
    live(world, call.id())
}

fn index(world: &mut World, call: &Call) -> ApiResult {
    listing::page(
        world,
        "test_helpers.test_clock",
        "/v1/test_helpers/test_clocks",
        &call.params,
        |_| true,
    )
}

/// Deletes a clock with its customers.
fn delete(world: &mut World, call: &Call) -> ApiResult {
    let clock = live(world, call.id())?;
    for customer in world.store.ids_linked("customer", call.id(), |row| {
        row.text("test_clock") == call.id()
    }) {
        super::customers::remove(world, &customer);
    }
    let stub = json!({"id": call.id(), "object": "test_helpers.test_clock", "deleted": true});
    world.change(call.id(), |object| object.clone_from(&stub));
    world.emit("test_helpers.test_clock.deleted", &clock, None);
    Ok(stub)
}

fn advance(world: &mut World, call: &Call) -> ApiResult {
    let before = live(world, call.id())?;
    let target = call.params.int("frozen_time");
    let from = before.int("frozen_time");
    if target <= from {
        let message = "`frozen_time` must be later than the clock's current time.";
        return Err(ApiError::invalid(message).param("frozen_time"));
    }
    if target > furthest(world, call.id(), from) {
        let message = "You cannot advance a test clock by more than two intervals of its shortest subscription at a time.";
        return Err(ApiError::invalid(message).param("frozen_time"));
    }
    let advancing = world.change(call.id(), |object| {
        object.set("status", "advancing");
        object.set(
            "status_details",
            json!({"advancing": {"target_frozen_time": target}}),
        );
    });
    world.emit("test_helpers.test_clock.advancing", &advancing, None);
    let until = world.now() + target - from;
    clock::advance_to(world, until);
    let ready = world.change(call.id(), |object| {
        object.set("status", "ready");
        object.set("status_details", json!({}));
        object.set("frozen_time", target);
    });
    world.emit("test_helpers.test_clock.ready", &ready, None);
    // The caller polls for `ready`: the answer to the call itself is still `advancing`.
    Ok(advancing)
}

/// Two intervals of the shortest subscription on the clock; two years without one.
fn furthest(world: &World, id: &str, from: i64) -> i64 {
    let on_clock = world
        .store
        .linked("subscription", id)
        .filter(|row| row.text("test_clock") == id && !row.has("ended_at"));
    let ends = on_clock
        .flat_map(|row| row["items"].items("data"))
        .map(|item: &Value| {
            let recurring = &item["price"]["recurring"];
            add_interval(
                from,
                recurring.text("interval"),
                2 * recurring.int("interval_count"),
            )
        });
    ends.min().unwrap_or_else(|| add_interval(from, "year", 2))
}
