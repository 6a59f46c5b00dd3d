//! `/logout`: the session of a browser ends (OIDC RP-Initiated Logout 1.0).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use url::Url;

use super::authorize::{SESSION, cookie, see_other, set_cookie};
use super::parameters::Parameters;
use super::world::World;
use super::{App, keys, page};

const KNOWN: [&str; 7] = [
    "id_token_hint",
    "logout_hint",
    "client_id",
    "post_logout_redirect_uri",
    "state",
    "ui_locales",
    "confirmed",
];

/// A request to sign out, checked.
struct Request {
    /// The session that the ID token is of.
    sid: Option<String>,
    back: Option<String>,
}

/// `GET /logout`.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    answer(&app, query.unwrap_or_default().as_bytes(), &headers)
}

/// `POST /logout`, also of the page that asks.
pub(super) async fn post(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    answer(&app, &body, &headers)
}

fn answer(app: &App, encoded: &[u8], headers: &HeaderMap) -> Response {
    let world = &mut *app.world();
    let given = Parameters::read(encoded);
    let request = match judge(app, world, &given) {
        Ok(request) => request,
        Err(why) => {
            world.refuse("page");
            return page::refused(&why);
        }
    };
    let own = cookie(headers).map(str::to_owned);
    let session = own.as_ref().and_then(|own| world.sessions.get(own));
    // Any page can send a browser here; only one that has its ID token is obeyed without asking.
    let is_hers = session.is_none_or(|session| request.sid.as_ref() == Some(&session.sid));
    if !is_hers && given.get("confirmed").is_none() {
        return page::sign_out(encoded, request.back.as_deref());
    }
    // Refresh tokens stay: they were given for when nobody is there (`offline_access`), and `/revoke` is for them.
    if let Some(own) = own {
        world.sessions.remove(&own);
    }
    let mut response = match request.back {
        Some(back) => see_other(&back),
        None => page::signed_out(),
    };
    let gone = format!("{SESSION}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    set_cookie(&mut response, &gone);
    response
}

/// Judges a request. The rules, in order:
///
/// 1. Every parameter is known and stands there once.
/// 2. The ID token was signed by us, however long ago.
/// 3. The client is known, by its id or by the token, which say the same.
/// 4. The address to go back to is registered for it, to the letter.
fn judge(app: &App, world: &World, given: &Parameters) -> Result<Request, String> {
    if let Some(wrong) = given.wrong(&KNOWN) {
        return Err(wrong); // 1
    }
    let hint = given.get("id_token_hint");
    let read = hint.map(|token| keys::read(&world.keys, token).ok_or("id_token_hint is not ours"));
    let read = read.transpose()?; // 2
    let is_id_token = |read: &keys::Read| {
        read.header["typ"] == "JWT" && read.claims["iss"] == app.issuer.as_str()
    };
    if read.as_ref().is_some_and(|read| !is_id_token(read)) {
        return Err("id_token_hint is no ID token of ours".to_owned()); // 2
    }
    let claim = |name: &str| read.as_ref().and_then(|read| read.claims[name].as_str());
    let (named, told) = (given.get("client_id"), claim("aud"));
    if let (Some(named), Some(told)) = (named, told)
        && named != told
    {
        return Err("client_id and id_token_hint are of two clients".to_owned()); // 3
    }
    let client = named
        .or(told)
        .map(|id| world.clients.get(id).ok_or("the client is not known"));
    let client = client.transpose()?; // 3
    let back = given.get("post_logout_redirect_uri");
    let back = back.map(|uri| {
        let registered = client.map(|client| client.post_logout_redirect_uris.as_slice());
        let fits = registered
            .unwrap_or_default()
            .iter()
            .any(|known| known == uri);
        let url = Url::parse(uri).ok().filter(|_| fits);
        url.ok_or("post_logout_redirect_uri is not registered for this client")
    });
    let back = back.transpose()?.map(|mut url| {
        if let Some(state) = given.get("state") {
            url.query_pairs_mut().append_pair("state", state);
        }
        url.to_string()
    }); // 4
    let sid = claim("sid").map(str::to_owned);
    Ok(Request { sid, back })
}
