//! Disputes.

use super::listing;
use super::{Call, Route, refuse, route};
use crate::engine::disputes;
use crate::world::World;
use crate::world::error::ApiResult;

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/v1/disputes", "dispute", index),
    route("GET", "/v1/disputes/{}", "dispute", retrieve),
    route("POST", "/v1/disputes/{}", "dispute", update),
    route("POST", "/v1/disputes/{}/close", "dispute", close),
];

fn index(world: &mut World, call: &Call) -> ApiResult {
    listing::page(world, "dispute", "/v1/disputes", &call.params, |row| {
        listing::matches(row, &call.params, &["charge", "payment_intent"])
    })
}

fn retrieve(world: &mut World, call: &Call) -> ApiResult {
    world.require("dispute", call.id())
}

fn update(world: &mut World, call: &Call) -> ApiResult {
    world.require("dispute", call.id())?;
    refuse(&call.params, &["intended_submission_method"])?;
    Ok(disputes::respond(world, call.id(), &call.params))
}

/// Closing a dispute through the API accepts it as lost.
fn close(world: &mut World, call: &Call) -> ApiResult {
    disputes::close(world, call.id(), "lost")
}
