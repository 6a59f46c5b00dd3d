//! `/authorize`: a request is judged, a person chosen, a code sent back.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, COOKIE, LOCATION, REFERRER_POLICY, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;
use uuid::Uuid;

use super::clock::wall;
use super::keys::{KeyError, secret};
use super::parameters::Parameters;
use super::world::{PAGE_SECONDS, Request, Session, World};
use super::{App, Client, issue, page};

/// All that may be asked. `ui_locales`, `acr_values` and `display` change nothing here.
const KNOWN: [&str; 16] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "prompt",
    "max_age",
    "login_hint",
    "ui_locales",
    "acr_values",
    "display",
];
/// What has an error of its own (OIDC Core 1.0, 3.1.2.6).
const UNSUPPORTED: [(&str, &str); 3] = [
    ("request", "request_not_supported"),
    ("request_uri", "request_uri_not_supported"),
    ("registration", "registration_not_supported"),
];
/// The session's cookie. Cookies know no ports: two logins on one machine sign each other's people out.
pub(super) const SESSION: &str = "neighbour_login";

/// Where an answer goes.
#[derive(Debug, Clone)]
struct Back {
    redirect_uri: String,
    state: Option<String>,
}

/// Why nobody is asked who she is.
#[derive(Debug)]
enum Refusal {
    /// Nobody is known to whom the browser could safely be sent.
    Page(String),
    /// The client is told.
    Back(Back, &'static str, String),
}

/// How the person is to be asked.
#[derive(Debug, PartialEq, Eq)]
enum Prompt {
    /// Not at all: an error where the session doesn't do.
    Never,
    /// Only where the session doesn't do.
    Needed,
    /// In any case.
    Always,
}

/// A request, with what it says of the session that would do.
#[derive(Debug)]
struct Judged {
    request: Request,
    prompt: Prompt,
    /// The oldest sign-in that would do, in seconds.
    max_age: Option<i64>,
}

/// `GET /authorize`.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    answer(&app, query.unwrap_or_default().as_bytes(), &headers)
}

/// `POST /authorize`, which OIDC Core 1.0, 3.1.2.1, wants as well.
pub(super) async fn post(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    answer(&app, &body, &headers)
}

fn answer(app: &App, encoded: &[u8], headers: &HeaderMap) -> Response {
    let world = &mut *app.world();
    let judged = judge(world, &Parameters::read(encoded));
    let judged = match judged {
        Ok(judged) => judged,
        Err(Refusal::Page(why)) => {
            world.refuse("page");
            return page::refused(&why);
        }
        Err(Refusal::Back(back, error, why)) => return refuse(app, world, &back, error, &why),
    };
    let Judged {
        request,
        prompt,
        max_age,
    } = judged;
    let session = cookie(headers).and_then(|cookie| world.sessions.get(cookie));
    let session = session.filter(|session| {
        let known = world.person(&session.sub).is_some();
        known && max_age.is_none_or(|most| wall() - session.auth_time <= most)
    });
    match (prompt, session.cloned()) {
        (Prompt::Never | Prompt::Needed, Some(session)) => succeed(app, world, &request, &session),
        (Prompt::Never, None) => {
            let why = "nobody is signed in, and nobody may be asked";
            refuse(app, world, &Back::of(&request), "login_required", why)
        }
        (Prompt::Needed, None) | (Prompt::Always, _) => {
            let id = Uuid::new_v4().to_string();
            let page = page::choose(&world.people, &request, &id);
            let now = wall();
            world
                .open
                .retain(|_, (_, since)| now - *since < PAGE_SECONDS);
            world.open.insert(id, (request, now));
            page
        }
    }
}

/// Judges a request. The rules, in order:
///
/// 1. The client is known, its redirect registered to the letter; else nobody is redirected (RFC 6749, 4.1.2.1).
/// 2. Every parameter is known and stands there once. OAuth has a server ignore what it doesn't know; a stand-in that
///    did would hide a misspelt name.
/// 3. The answer is a code, in the query.
/// 4. There is a `state`.
/// 5. The scope has `openid`, and nothing that the client may not have.
/// 6. There is a challenge by S256 (RFC 7636, 4.3; the default would be `plain`).
/// 7. The API is one of the client's (RFC 8707, 2).
/// 8. How the person is asked makes sense (OIDC Core 1.0, 3.1.2.1).
fn judge(world: &World, given: &Parameters) -> Result<Judged, Refusal> {
    let (client, back) = trusted(world, given)?; // 1
    let refuse = |error, why: &str| Err(Refusal::Back(back.clone(), error, why.to_owned()));
    for (name, error) in UNSUPPORTED {
        if given.get(name).is_some() {
            return refuse(error, "parameters stand in the query"); // 2
        }
    }
    if let Some(wrong) = given.wrong(&KNOWN) {
        return refuse("invalid_request", &wrong); // 2
    }
    match given.get("response_type") {
        Some("code") => {}
        Some(_) => return refuse("unsupported_response_type", "only code is given"), // 3
        None => return refuse("invalid_request", "response_type is missing"),        // 3
    }
    if given
        .get("response_mode")
        .is_some_and(|mode| mode != "query")
    {
        return refuse("invalid_request", "response_mode can only be query"); // 3
    }
    let Some(state) = given.get("state") else {
        return refuse("invalid_request", "state is missing"); // 4
    };
    let scope: Vec<String> = given
        .get("scope")
        .unwrap_or_default()
        .split(' ')
        .map(str::to_owned)
        .collect();
    if !scope.iter().any(|scope| scope == "openid") {
        return refuse("invalid_scope", "scope lacks openid"); // 5
    }
    if let Some(wrong) = scope.iter().find(|scope| !client.may_have(scope)) {
        return refuse(
            "invalid_scope",
            &format!("the client may not have {wrong:?}"),
        ); // 5
    }
    if given.get("code_challenge_method") != Some("S256") {
        return refuse("invalid_request", "code_challenge_method must be S256"); // 6
    }
    let is_hash = |text: &&str| {
        URL_SAFE_NO_PAD
            .decode(text)
            .is_ok_and(|hash| hash.len() == 32)
    };
    let Some(challenge) = given.get("code_challenge").filter(is_hash) else {
        return refuse(
            "invalid_request",
            "code_challenge must be 43 characters of base64url",
        ); // 6
    };
    let audience = given
        .get("resource")
        .or(client.audiences.first().map(String::as_str));
    let Some(audience) = audience.filter(|wanted| client.audiences.iter().any(|own| own == wanted))
    else {
        return refuse("invalid_target", "resource is none of the client's"); // 7
    };
    let prompt = match prompt(given.get("prompt").unwrap_or_default()) {
        Ok(prompt) => prompt,
        Err(why) => return refuse("invalid_request", why), // 8
    };
    let max_age = given.get("max_age").map(str::parse::<u32>).transpose();
    let Ok(max_age) = max_age else {
        return refuse("invalid_request", "max_age must be a number of seconds"); // 8
    };
    let owned = |name| given.get(name).map(str::to_owned);
    let request = Request {
        client_id: client.id.clone(),
        redirect_uri: back.redirect_uri.clone(),
        state: state.to_owned(),
        scope,
        nonce: owned("nonce"),
        challenge: challenge.to_owned(),
        audience: audience.to_owned(),
        login_hint: owned("login_hint"),
    };
    Ok(Judged {
        request,
        prompt,
        max_age: max_age.map(i64::from),
    })
}

/// The client, and where its answers go.
fn trusted<'a>(world: &'a World, given: &Parameters) -> Result<(&'a Client, Back), Refusal> {
    let page = |why: &str| Refusal::Page(why.to_owned());
    let id = given.only("client_id");
    let id = id.ok_or_else(|| page("client_id is missing or repeated"))?;
    let client = world.clients.get(id);
    let client = client.ok_or_else(|| page("the client is not known"))?;
    let uri = given.only("redirect_uri");
    let uri = uri.ok_or_else(|| page("redirect_uri is missing or repeated"))?;
    if !client.redirect_uris.iter().any(|known| known == uri) {
        return Err(page("redirect_uri is not registered for this client"));
    }
    let back = Back {
        redirect_uri: uri.to_owned(),
        state: given.only("state").map(str::to_owned),
    };
    Ok((client, back))
}

fn prompt(given: &str) -> Result<Prompt, &'static str> {
    let wishes: Vec<&str> = given.split(' ').filter(|wish| !wish.is_empty()).collect();
    match wishes.as_slice() {
        [] => Ok(Prompt::Needed),
        ["none"] => Ok(Prompt::Never),
        several if several.contains(&"none") => Err("prompt=none goes with nothing else"),
        several => {
            let known = |wish: &&str| ["login", "select_account", "consent"].contains(wish);
            let known = several.iter().all(known);
            known.then_some(Prompt::Always).ok_or("prompt is not known")
        }
    }
}

/// `POST /authorize/choose`: a button of the page.
pub(super) async fn choose(State(app): State<Arc<App>>, body: Bytes) -> Response {
    let world = &mut *app.world();
    let given = Parameters::read(&body);
    if let Some(wrong) = given.wrong(&["request", "sub", "cancel"]) {
        return page::refused(&wrong);
    }
    // Taken out: a page can be answered once.
    let open = given.get("request").and_then(|id| world.open.remove(id));
    let open = open.filter(|(_, since)| wall() - since < PAGE_SECONDS);
    let Some((request, _)) = open else {
        return page::refused("this page was answered already, or is too old");
    };
    if given.get("cancel").is_some() {
        let why = "the person did not want to";
        return refuse(&app, world, &Back::of(&request), "access_denied", why);
    }
    let person = given.get("sub").and_then(|sub| world.person(sub));
    let Some(sub) = person.map(|person| person.sub.clone()) else {
        return page::refused("nobody of this id is known");
    };
    let session = Session {
        sid: Uuid::new_v4().to_string(),
        sub,
        auth_time: wall(),
    };
    let Ok(cookie) = secret() else {
        return failed(&app, world, &request, &KeyError);
    };
    world.sessions.insert(cookie.clone(), session.clone());
    let mut response = succeed(&app, world, &request, &session);
    set_cookie(
        &mut response,
        &format!("{SESSION}={cookie}; Path=/; HttpOnly; SameSite=Lax"),
    );
    response
}

fn succeed(app: &App, world: &mut World, request: &Request, session: &Session) -> Response {
    match issue::code(world, request, session) {
        Ok(code) => {
            let parts = [("code", code.as_str()), ("state", &request.state)];
            redirect(app, &request.redirect_uri, &parts)
        }
        Err(error) => failed(app, world, request, &error),
    }
}

fn failed(app: &App, world: &mut World, request: &Request, error: &KeyError) -> Response {
    let back = Back::of(request);
    refuse(app, world, &back, "server_error", &error.to_string())
}

fn refuse(app: &App, world: &mut World, back: &Back, error: &str, why: &str) -> Response {
    world.refuse(error);
    let mut parts = vec![("error", error), ("error_description", why)];
    parts.extend(back.state.as_deref().map(|state| ("state", state)));
    redirect(app, &back.redirect_uri, &parts)
}

/// Sends the browser to a registered address, with the issuer (RFC 9207, 2).
fn redirect(app: &App, uri: &str, parts: &[(&str, &str)]) -> Response {
    let Ok(mut url) = Url::parse(uri) else {
        return page::refused("redirect_uri is no address");
    };
    url.query_pairs_mut()
        .extend_pairs(parts)
        .append_pair("iss", &app.issuer);
    see_other(url.as_str())
}

/// A redirect that nobody keeps and that names nobody it came from.
pub(super) fn see_other(url: &str) -> Response {
    let headers = [
        (LOCATION, url),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// The value of the session's cookie.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split("; "));
    pairs.find_map(|pair| pair.strip_prefix(SESSION)?.strip_prefix('='))
}

pub(super) fn set_cookie(response: &mut Response, cookie: &str) {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

impl Back {
    fn of(request: &Request) -> Self {
        Self {
            redirect_uri: request.redirect_uri.clone(),
            state: Some(request.state.clone()),
        }
    }
}
