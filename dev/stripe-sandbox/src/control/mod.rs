//! The control API under `/_sandbox/`: clock, deliveries, faults, chaos, and what a test wants to see.

mod deliveries;
mod money;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json as Body, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::app::App;
use crate::engine::clock;
use crate::world::World;
use crate::world::error::ApiError;
use crate::world::faults::Fault;
use crate::world::json::Json as _;
use crate::world::settings::Chaos;

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
        .route("/_sandbox/checkout/{id}/pay", post(money::pay))
        .route("/_sandbox/invoices/{id}/pay", post(money::pay_invoice))
        .route("/_sandbox/payments/{id}/settle", post(money::settle_debit))
        .route("/_sandbox/refunds/{id}/fail", post(money::fail_refund))
        .route(
            "/_sandbox/refunds/{id}/succeed",
            post(money::succeed_refund),
        )
        .route("/_sandbox/disputes", post(money::open_dispute))
        .route("/_sandbox/disputes/{id}/close", post(money::close_dispute))
        .route("/_sandbox/customers/{id}/card", post(money::change_card))
        .route("/_sandbox/subscriptions/{id}/schedule", post(plan_ahead))
        .route("/_sandbox/deliveries", get(deliveries::show))
        .route("/_sandbox/deliveries/settle", post(deliveries::settle))
        .route("/_sandbox/deliveries/hold", post(deliveries::hold))
        .route("/_sandbox/deliveries/release", post(deliveries::release))
        .route("/_sandbox/events/forge", post(deliveries::forge))
        .route("/_sandbox/events/{id}/send", post(deliveries::send_again))
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Schedule {
    managed: bool,
}

/// Lets a schedule manage a subscription, as one that was made in the Dashboard does, or takes it away again. The
/// schedule itself is not modelled: its routes are refused.
async fn plan_ahead(State(app): Shared, Path(id): Path<String>, body: Bytes) -> Answer {
    let Schedule { managed } = parse(&body)?;
    app.with(|world| {
        world.require("subscription", &id)?;
        let schedule = managed.then(|| crate::world::ids::new("sub_sched"));
        Ok(Body(world.update(
            &id,
            "customer.subscription.updated",
            |object| {
                object.set("schedule", schedule);
            },
        )))
    })
}

async fn show_clock(State(app): Shared) -> Body<Value> {
    Body(clock_of(&app.world()))
}

fn clock_of(world: &World) -> Value {
    let next = world.schedule.first_key_value();
    json!({"now": world.now(), "offset": world.clock.offset, "next_due": next.map(|((at, _), _)| at)})
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
    deliveries::patch(&mut settings, &given);
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
