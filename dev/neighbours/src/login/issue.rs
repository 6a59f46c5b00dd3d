//! What is given out: codes, and the tokens that come from them.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use uuid::Uuid;

use super::App;
use super::clock::wall;
use super::keys::{Key, KeyError, secret};
use super::problem::Problem;
use super::world::{Code, Grant, Refresh, Request, Session, World};

/// A code for a request, of somebody who is signed in.
pub(super) fn code(
    world: &mut World,
    request: &Request,
    session: &Session,
) -> Result<String, KeyError> {
    let id = Uuid::new_v4().to_string();
    let code = secret()?;
    let grant = Grant {
        id: id.clone(),
        client_id: request.client_id.clone(),
        sub: session.sub.clone(),
        scope: request.scope.clone(),
        audience: request.audience.clone(),
        nonce: request.nonce.clone(),
        auth_time: session.auth_time,
        sid: session.sid.clone(),
        revoked: None,
        access_tokens: vec![],
    };
    let given = Code {
        grant: id.clone(),
        redirect_uri: request.redirect_uri.clone(),
        challenge: request.challenge.clone(),
        expires: wall() + i64::from(world.settings.code_seconds),
        used: false,
    };
    world.grants.insert(id, grant);
    world.codes.insert(code.clone(), given);
    world.issued.codes += 1;
    Ok(code)
}

/// The tokens of a grant, as the token endpoint answers them.
pub(super) fn tokens(
    app: &App,
    world: &mut World,
    grant: &str,
    scope: &[String],
) -> Result<Value, Problem> {
    let unknown = || Problem::grant("the person is not known any more");
    let granted = world.grants.get(grant).ok_or_else(unknown)?.clone();
    let roles = world
        .person(&granted.sub)
        .ok_or_else(unknown)?
        .roles
        .clone();
    let jti = Uuid::new_v4().to_string();
    let mut claims = access_claims(
        app,
        world,
        &granted.sub,
        &granted.client_id,
        &granted.audience,
    );
    claims["jti"] = json!(jti);
    claims["scope"] = json!(scope.join(" "));
    claims["roles"] = json!(roles);
    let access = sign(world, &json!({"typ": "at+jwt"}), &claims)?;
    let identity = id_claims(app, world, &granted, &access);
    let identity = sign(world, &json!({"typ": "JWT"}), &identity)?;
    let mut answer = json!({
        "access_token": access, "token_type": "Bearer", "expires_in": world.settings.token_seconds,
        "scope": scope.join(" "), "id_token": identity,
    });
    world.issued.access_tokens += 1;
    world.issued.id_tokens += 1;
    if granted.scope.iter().any(|scope| scope == "offline_access") {
        let refresh = secret()?;
        let given = Refresh {
            grant: grant.to_owned(),
            expires: wall() + i64::from(world.settings.refresh_seconds),
            spent: false,
        };
        answer["refresh_token"] = json!(refresh);
        world.refresh_tokens.insert(refresh, given);
        world.issued.refresh_tokens += 1;
    }
    if let Some(granted) = world.grants.get_mut(grant) {
        granted.access_tokens.push(jti);
    }
    Ok(answer)
}

/// What an access token says of itself (RFC 9068, 2.2), in the API's time, without `jti`, `scope` and `roles`.
pub(super) fn access_claims(
    app: &App,
    world: &World,
    sub: &str,
    client_id: &str,
    audience: &str,
) -> Value {
    let now = app.clock.api();
    json!({
        "iss": app.issuer, "sub": sub, "aud": audience, "client_id": client_id, "iat": now,
        "exp": now + i64::from(world.settings.token_seconds),
    })
}

/// What an ID token says (OIDC Core 1.0, 2 and 3.1.3.6), in the browser's time.
fn id_claims(app: &App, world: &World, grant: &Grant, access: &str) -> Value {
    let hash = digest(&SHA256, access.as_bytes());
    let left = hash.as_ref().get(..16).unwrap_or_default();
    let now = wall();
    let mut claims = json!({
        "iss": app.issuer, "sub": grant.sub, "aud": grant.client_id, "iat": now,
        "exp": now + i64::from(world.settings.token_seconds), "auth_time": grant.auth_time, "sid": grant.sid,
        "at_hash": URL_SAFE_NO_PAD.encode(left),
    });
    if let Some(nonce) = &grant.nonce {
        claims["nonce"] = json!(nonce);
    }
    let person = world.person(&grant.sub);
    let shown = grant.scope.iter().any(|scope| scope == "profile");
    if let Some(person) = person.filter(|_| shown) {
        claims["name"] = json!(person.name);
    }
    claims
}

/// Signs with the newest key.
pub(super) fn sign(world: &World, header: &Value, claims: &Value) -> Result<String, KeyError> {
    let key: &Key = world.keys.last().ok_or(KeyError)?;
    key.sign(header, claims)
}
