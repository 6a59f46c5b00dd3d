//! The control API under `/_neighbour/`: what tests look at, and what they let go wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::faults::{Fault, FaultKind};
use super::seeds::{self, Plan};
use super::tokens::{self, Member};
use super::values::is_uuid;
use super::world::{App, Row, World};

const FAULTS_KEPT: usize = 1000;

/// The routes.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/_neighbour/state", get(state))
        .route(
            "/_neighbour/faults",
            get(show_faults).post(add_fault).delete(clear_faults),
        )
        .route("/_neighbour/plans", post(add_plan))
        .route("/_neighbour/subscriptions", post(add_subscription))
        .route("/_neighbour/end-user-token", post(end_user_token))
}

/// A request that cannot be met.
fn wrong(message: impl std::fmt::Display) -> Response {
    let body = json!({"error": message.to_string()});
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

async fn state(State(app): State<Arc<App>>) -> Json<Value> {
    let world = app.world();
    let rows = |table| {
        world
            .rows(table)
            .iter()
            .map(|row| &**row)
            .collect::<Vec<_>>()
    };
    Json(json!({
        "subscriptions": rows("SubscriptionType"),
        "statusChanges": rows("SubscriptionStatusChange"),
        "transactions": rows("SubscriptionTransaction"),
        "duplicates": duplicates(&world),
        "requests": world.requests,
        "refused": world.refused,
    }))
}

/// Transactions that stand there more than once.
fn duplicates(world: &World) -> Vec<Value> {
    const SAME: [&str; 4] = [
        "subscriptionId",
        "transactionType",
        "paymentProviderReference",
        "transactionDate",
    ];
    let mut found: BTreeMap<String, (&Row, u32)> = BTreeMap::new();
    for row in world.rows("SubscriptionTransaction") {
        let key = SAME.map(|name| row.get(name).map(Value::to_string).unwrap_or_default());
        found.entry(key.join(" ")).or_insert((row, 0)).1 += 1;
    }
    let repeated = found.into_values().filter(|(_, count)| *count > 1);
    repeated
        .map(|(row, count)| {
            let same = SAME.iter().map(|name| {
                (
                    (*name).to_owned(),
                    row.get(*name).cloned().unwrap_or_default(),
                )
            });
            let mut entry: Map<String, Value> = same.collect();
            entry.insert("count".to_owned(), count.into());
            entry.into()
        })
        .collect()
}

async fn show_faults(State(app): State<Arc<App>>) -> Json<Vec<Fault>> {
    Json(app.world().faults.clone())
}

async fn add_fault(State(app): State<Arc<App>>, Json(given): Json<Value>) -> Response {
    let mut world = app.world();
    // Not one call is hit: all tokens are.
    if given["kind"] == "expire_tokens" {
        world.tokens_expired_below = world.next_token;
        return StatusCode::NO_CONTENT.into_response();
    }
    let fault: Fault = match serde_json::from_value(given) {
        Ok(fault) => fault,
        Err(error) => return wrong(error),
    };
    if matches!(fault.kind, FaultKind::Status { status } if !(400..600).contains(&status)) {
        return wrong("'status' must be from 400 to 599");
    }
    if world.faults.len() >= FAULTS_KEPT || fault.times == 0 {
        return wrong("'times' must not be 0, and no more than 1000 faults may wait");
    }
    world.faults.push(fault);
    StatusCode::NO_CONTENT.into_response()
}

async fn clear_faults(State(app): State<Arc<App>>) -> StatusCode {
    app.world().faults.clear();
    StatusCode::NO_CONTENT
}

async fn add_plan(State(app): State<Arc<App>>, Json(given): Json<Value>) -> Response {
    let plan: Plan = match serde_json::from_value(given) {
        Ok(plan) => plan,
        Err(error) => return wrong(error),
    };
    match seeds::add_plan(&mut app.world(), &app.options.provider_key, &plan) {
        Ok(ids) => (StatusCode::CREATED, Json(ids)).into_response(),
        Err(error) => wrong(error),
    }
}

async fn add_subscription(
    State(app): State<Arc<App>>,
    Json(given): Json<Map<String, Value>>,
) -> Response {
    match seeds::add_subscription(&mut app.world(), &app.options.provider_key, &given) {
        Ok(row) => (
            StatusCode::CREATED,
            Json(Value::from(Arc::unwrap_or_clone(row))),
        )
            .into_response(),
        Err(error) => wrong(error),
    }
}

async fn end_user_token(State(app): State<Arc<App>>, Json(given): Json<Value>) -> Response {
    let member: Member = match serde_json::from_value(given) {
        Ok(member) => member,
        Err(error) => return wrong(error),
    };
    if !is_uuid(&member.sub) {
        return wrong("'sub' must be a UUID");
    }
    match tokens::for_member(&mut app.world(), &member) {
        Some(token) => Json(json!({"accessToken": token})).into_response(),
        None => wrong("no token could be made"),
    }
}
