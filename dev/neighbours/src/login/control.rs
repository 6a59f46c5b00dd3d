//! The control API under `/_login/`: what tests look at, and what they let go wrong.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::faults::Fault;
use super::keys::{Algorithm, Key, merge};
use super::world::Grant;
use super::{App, Client, Person, issue};

/// The routes.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/_login/state", get(state))
        .route("/_login/settings", post(set))
        .route("/_login/keys/rotate", post(rotate))
        .route(
            "/_login/faults",
            get(show_faults).post(add_fault).delete(clear_faults),
        )
        .route("/_login/people", post(add_person))
        .route("/_login/people/{sub}", delete(remove_person))
        .route("/_login/clients", post(add_client))
        .route("/_login/tokens", post(mint))
}

/// A request that cannot be met.
fn wrong(message: impl std::fmt::Display) -> Response {
    let body = json!({"error": message.to_string()});
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

/// Reads a body; the error says what it should have been.
fn read<T: serde::de::DeserializeOwned>(given: Value) -> Result<T, serde_json::Error> {
    serde_json::from_value(given)
}

async fn state(State(app): State<Arc<App>>) -> Json<Value> {
    let world = app.world();
    let keys = world
        .keys
        .iter()
        .map(|key| json!({"kid": key.kid, "alg": key.algorithm(), "published": key.published}));
    let codes = world
        .codes
        .values()
        .map(|code| json!({"grant": code.grant, "used": code.used, "expires": code.expires}));
    let refresh_tokens = world
        .refresh_tokens
        .values()
        .map(|token| json!({"grant": token.grant, "spent": token.spent, "expires": token.expires}));
    let sessions = world.sessions.values();
    let sessions = sessions.map(|session| json!({"sid": session.sid, "sub": session.sub}));
    Json(json!({
        "issued": world.issued,
        "grants": world.grants.values().collect::<Vec<&Grant>>(),
        "codes": codes.collect::<Vec<_>>(),
        "refresh_tokens": refresh_tokens.collect::<Vec<_>>(),
        "sessions": sessions.collect::<Vec<_>>(),
        "keys": keys.collect::<Vec<_>>(),
        "clients": world.clients.values().collect::<Vec<_>>(),
        "people": world.people,
        "settings": world.settings,
        "offset_seconds": app.clock.offset(),
        "requests": world.requests,
        "refused": world.refused,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "a unit belongs to a name")]
struct Set {
    token_seconds: Option<u32>,
    code_seconds: Option<u32>,
    refresh_seconds: Option<u32>,
    offset_seconds: Option<i64>,
}

/// What is not given stays.
async fn set(State(app): State<Arc<App>>, Json(given): Json<Value>) -> Response {
    let given: Set = match read(given) {
        Ok(given) => given,
        Err(error) => return wrong(error),
    };
    if given.token_seconds == Some(0) {
        return wrong("token_seconds is at least 1");
    }
    if let Some(offset) = given.offset_seconds
        && !app.clock.set_offset(offset)
    {
        return wrong("the offset is that of the sandbox that is followed");
    }
    let settings = &mut app.world().settings;
    settings.token_seconds = given.token_seconds.unwrap_or(settings.token_seconds);
    settings.code_seconds = given.code_seconds.unwrap_or(settings.code_seconds);
    settings.refresh_seconds = given.refresh_seconds.unwrap_or(settings.refresh_seconds);
    Json(json!(settings)).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    algorithm: Option<Algorithm>,
    #[serde(default)]
    drop_old: bool,
}

/// A new key signs from now on; the old ones stay in the key set, unless they are to be dropped.
async fn rotate(State(app): State<Arc<App>>, Json(given): Json<Value>) -> Response {
    let given: Rotate = match read(given) {
        Ok(given) => given,
        Err(error) => return wrong(error),
    };
    let mut world = app.world();
    let current = world.keys.last().map(Key::algorithm);
    let algorithm = given.algorithm.or(current).unwrap_or(Algorithm::Es256);
    let key = match Key::generate(algorithm) {
        Ok(key) => key,
        Err(error) => return wrong(error),
    };
    for old in &mut world.keys {
        old.published &= !given.drop_old;
    }
    let kid = key.kid.clone();
    world.keys.push(key);
    Json(json!({"kid": kid})).into_response()
}

async fn show_faults(State(app): State<Arc<App>>) -> Json<Vec<Fault>> {
    Json(app.world().faults.clone())
}

async fn add_fault(State(app): State<Arc<App>>, Json(given): Json<Value>) -> Response {
    let fault: Fault = match read(given) {
        Ok(fault) => fault,
        Err(error) => return wrong(error),
    };
    if let Some(message) = fault.wrong() {
        return wrong(message);
    }
    app.world().faults.push(fault);
    StatusCode::NO_CONTENT.into_response()
}

async fn clear_faults(State(app): State<Arc<App>>) -> StatusCode {
    app.world().faults.clear();
    StatusCode::NO_CONTENT
}

/// Adds somebody, or changes her.
async fn add_person(State(app): State<Arc<App>>, Json(given): Json<Value>) -> Response {
    let person: Person = match read(given) {
        Ok(person) => person,
        Err(error) => return wrong(error),
    };
    let mut world = app.world();
    match world
        .people
        .iter_mut()
        .find(|known| known.sub == person.sub)
    {
        Some(known) => *known = person,
        None => world.people.push(person),
    }
    StatusCode::NO_CONTENT.into_response()
}

/// Takes somebody out: her sessions and refresh tokens are good for nothing from then on.
async fn remove_person(State(app): State<Arc<App>>, Path(sub): Path<String>) -> StatusCode {
    app.world().people.retain(|person| person.sub != sub);
    StatusCode::NO_CONTENT
}

/// Adds a client, or changes it.
async fn add_client(State(app): State<Arc<App>>, Json(given): Json<Value>) -> Response {
    let client: Client = match read(given) {
        Ok(client) => client,
        Err(error) => return wrong(error),
    };
    if let Some(message) = client.wrong() {
        return wrong(message);
    }
    app.world().clients.insert(client.id.clone(), client);
    StatusCode::NO_CONTENT.into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mint {
    sub: String,
    client_id: Option<String>,
    #[serde(default)]
    claims: Value,
    #[serde(default)]
    header: Value,
}

/// An access token without anybody signing in, with claims and header as a test wants them, right or wrong.
async fn mint(State(app): State<Arc<App>>, Json(given): Json<Value>) -> Response {
    let given: Mint = match read(given) {
        Ok(given) => given,
        Err(error) => return wrong(error),
    };
    let _ = app.clock.ask().await;
    let world = app.world();
    let client = match &given.client_id {
        Some(id) => world.clients.get(id),
        None => world.clients.values().next(),
    };
    let Some(client) = client else {
        return wrong("there is no such client");
    };
    let audience = client.audiences.first().map_or("", String::as_str);
    let mut claims = issue::access_claims(&app, &world, &given.sub, &client.id, audience);
    claims["jti"] = json!(Uuid::new_v4());
    claims["scope"] = json!("openid");
    claims["roles"] = json!(world.person(&given.sub).map(|person| &person.roles));
    merge(&mut claims, &given.claims);
    let mut header = json!({"typ": "at+jwt"});
    merge(&mut header, &given.header);
    match issue::sign(&world, &header, &claims) {
        Ok(token) => Json(json!({"access_token": token})).into_response(),
        Err(error) => wrong(error),
    }
}
