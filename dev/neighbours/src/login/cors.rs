//! Which pages may call: any for what is public, those of registered origins for tokens (Fetch, 3.3).

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    HeaderName, VARY,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::world::World;

/// The origin that an answer at a path is for; nothing where no page may read it.
pub(super) fn allowed(world: &World, path: &str, origin: Option<&str>) -> Option<HeaderValue> {
    match path {
        "/jwks" | "/.well-known/openid-configuration" => Some(HeaderValue::from_static("*")),
        "/token" | "/revoke" => {
            let origin = origin?;
            let known = world
                .clients
                .values()
                .any(|client| client.has_origin(origin));
            HeaderValue::from_str(origin).ok().filter(|_| known)
        }
        _ => None,
    }
}

/// Lets a page read an answer.
pub(super) fn open(response: &mut Response, allowed: Option<HeaderValue>) {
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
}

/// What a browser is answered that asks beforehand; a form without further headers needs no asking.
pub(super) fn preflight(path: &str) -> Response {
    let methods = if matches!(path, "/token" | "/revoke") {
        "POST"
    } else {
        "GET"
    };
    let headers: [(HeaderName, &str); 2] = [
        (ACCESS_CONTROL_ALLOW_METHODS, methods),
        (ACCESS_CONTROL_ALLOW_HEADERS, "content-type"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}
