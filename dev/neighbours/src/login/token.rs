//! `/token` and `/revoke`: what a page calls, without a secret.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::clock::wall;
use super::parameters::Parameters;
use super::problem::{Problem, unstored};
use super::world::World;
use super::{App, issue};

const EXCHANGE: [&str; 6] = [
    "grant_type",
    "client_id",
    "code",
    "redirect_uri",
    "code_verifier",
    "resource",
];
const REFRESH: [&str; 5] = [
    "grant_type",
    "client_id",
    "refresh_token",
    "scope",
    "resource",
];

/// `POST /token`.
pub(super) async fn token(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // A sandbox that is away leaves the offset as it is.
    let _ = app.clock.ask().await;
    let world = &mut *app.world();
    let given = Parameters::read(&body);
    let outcome =
        client(world, &headers, &given).and_then(|client_id| match given.get("grant_type") {
            Some("authorization_code") => exchange(&app, world, &given, &client_id),
            Some("refresh_token") => refresh(&app, world, &given, &client_id),
            Some(_) => {
                let why = "only authorization_code and refresh_token are traded";
                Err(Problem::new("unsupported_grant_type", why))
            }
            None => Err(Problem::request("grant_type is missing")),
        });
    match outcome {
        Ok(tokens) => unstored(StatusCode::OK, Json(tokens)),
        Err(problem) => refuse(world, problem),
    }
}

/// `POST /revoke` (RFC 7009): a refresh token, and with it all that came from the same sign-in.
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let world = &mut *app.world();
    let given = Parameters::read(&body);
    let outcome =
        client(world, &headers, &given).and_then(|client_id| withdraw(world, &given, &client_id));
    match outcome {
        Ok(()) => unstored(StatusCode::OK, ()),
        Err(problem) => refuse(world, problem),
    }
}

fn refuse(world: &mut World, problem: Problem) -> Response {
    world.refuse(problem.error);
    problem.into_response()
}

/// Who calls: a client that says its id in the form, from one of its own pages or from none.
fn client(world: &World, headers: &HeaderMap, given: &Parameters) -> Result<String, Problem> {
    let header = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    if header(AUTHORIZATION).is_some() || given.get("client_secret").is_some() {
        return Err(Problem {
            basic: header(AUTHORIZATION).is_some(),
            ..Problem::client("the client is public and has no secret")
        });
    }
    let kind = header(CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Problem::request("the body must be a form"));
    }
    let id = given.only("client_id");
    let client = id.and_then(|id| world.clients.get(id));
    let client = client.ok_or_else(|| Problem::client("the client is not known"))?;
    if header(ORIGIN).is_some_and(|origin| !client.has_origin(origin)) {
        return Err(Problem::request(
            "the page's origin is none of the client's",
        ));
    }
    Ok(client.id.clone())
}

fn needed<'a>(given: &'a Parameters, name: &str) -> Result<&'a str, Problem> {
    let missing = || Problem::request(format!("{name} is missing"));
    given.get(name).ok_or_else(missing)
}

/// Trades a code. The rules, in order:
///
/// 1. Every parameter is known and stands there once, none is missing.
/// 2. The code is one of ours and of this client.
/// 3. It was not tried before; if it was, whoever has its tokens may have stolen it (RFC 6749, 4.1.2).
/// 4. From here on it is spent, so that nobody tries verifiers one after the other.
/// 5. It isn't too old.
/// 6. The redirect is the one of the request, the verifier fits the challenge (RFC 7636, 4.6).
/// 7. The API is the one of the request.
fn exchange(
    app: &App,
    world: &mut World,
    given: &Parameters,
    client_id: &str,
) -> Result<Value, Problem> {
    if let Some(wrong) = given.wrong(&EXCHANGE) {
        return Err(Problem::request(wrong)); // 1
    }
    let code = needed(given, "code")?; // 1
    let redirect_uri = needed(given, "redirect_uri")?; // 1
    let verifier = needed(given, "code_verifier")?; // 1
    if !is_verifier(verifier) {
        let why = "code_verifier must be 43 to 128 unreserved characters";
        return Err(Problem::request(why)); // 1
    }
    let unknown = || Problem::grant("the code is not known");
    let known = world.codes.get_mut(code).ok_or_else(unknown)?; // 2
    let grant = world.grants.get(&known.grant).ok_or_else(unknown)?; // 2
    if grant.client_id != client_id {
        return Err(unknown()); // 2
    }
    let (id, scope, audience) = (
        grant.id.clone(),
        grant.scope.clone(),
        grant.audience.clone(),
    );
    let was_used = std::mem::replace(&mut known.used, true); // 4
    let known = known.clone();
    if was_used {
        world.revoke(&id, "the code came twice");
        return Err(Problem::grant("the code was used already")); // 3
    }
    if wall() >= known.expires {
        return Err(Problem::grant("the code is too old")); // 5
    }
    let hash = digest(&SHA256, verifier.as_bytes());
    if known.redirect_uri != redirect_uri || known.challenge != URL_SAFE_NO_PAD.encode(hash) {
        let why = "redirect_uri or code_verifier is not that of the request";
        return Err(Problem::grant(why)); // 6
    }
    for_api(given, &audience)?; // 7
    issue::tokens(app, world, &id, &scope)
}

/// Unreserved characters, as many as RFC 7636, 4.1, wants.
fn is_verifier(text: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&text.len()) && text.bytes().all(unreserved)
}

fn for_api(given: &Parameters, audience: &str) -> Result<(), Problem> {
    if given
        .get("resource")
        .is_some_and(|wanted| wanted != audience)
    {
        return Err(Problem::new("invalid_target", "resource was not granted"));
    }
    Ok(())
}

/// Trades a refresh token, which is spent by it: one that comes again was stolen, from one side or the other, so that
/// all of its family end (RFC 9700, 4.14.2).
fn refresh(
    app: &App,
    world: &mut World,
    given: &Parameters,
    client_id: &str,
) -> Result<Value, Problem> {
    if let Some(wrong) = given.wrong(&REFRESH) {
        return Err(Problem::request(wrong));
    }
    let token = needed(given, "refresh_token")?;
    let unknown = || Problem::grant("the refresh token is not known");
    let known = world.refresh_tokens.get_mut(token).ok_or_else(unknown)?;
    let grant = world.grants.get(&known.grant).ok_or_else(unknown)?;
    if grant.client_id != client_id {
        return Err(unknown());
    }
    let (id, granted) = (grant.id.clone(), grant.scope.clone());
    if known.spent {
        world.revoke(&id, "a refresh token came twice");
        return Err(Problem::grant("the refresh token was used already"));
    }
    if let Some(why) = grant.revoked {
        return Err(Problem::grant(why));
    }
    if wall() >= known.expires {
        return Err(Problem::grant("the refresh token is too old"));
    }
    let scope = match given.get("scope") {
        None => granted,
        Some(wanted) => narrowed(&granted, wanted)?,
    };
    for_api(given, &grant.audience)?;
    known.spent = true;
    issue::tokens(app, world, &id, &scope)
}

/// A part of what was granted (RFC 6749, 6).
fn narrowed(granted: &[String], wanted: &str) -> Result<Vec<String>, Problem> {
    let wanted: Vec<String> = wanted.split(' ').map(str::to_owned).collect();
    if wanted.iter().any(|scope| !granted.contains(scope)) {
        return Err(Problem::new(
            "invalid_scope",
            "scope is more than was granted",
        ));
    }
    Ok(wanted)
}

fn withdraw(world: &mut World, given: &Parameters, client_id: &str) -> Result<(), Problem> {
    if let Some(wrong) = given.wrong(&["token", "token_type_hint", "client_id"]) {
        return Err(Problem::request(wrong));
    }
    let token = needed(given, "token")?;
    if token.contains('.') {
        // A JWT is believed until it ends, whatever is said here (RFC 7009, 2.2.1).
        let why = "only refresh tokens can be withdrawn";
        return Err(Problem::new("unsupported_token_type", why));
    }
    let Some(known) = world.refresh_tokens.get(token) else {
        return Ok(());
    };
    let id = known.grant.clone();
    if world
        .grants
        .get(&id)
        .is_some_and(|grant| grant.client_id == client_id)
    {
        world.revoke(&id, "withdrawn by the client");
    }
    Ok(())
}
