//! Extractors: who may call, and typed input. A handler's signature tells both.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::constant_time;
use axum::body::Bytes;
use axum::extract::{FromRef, FromRequest, FromRequestParts, OptionalFromRequest, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tower_http::timeout::TimeoutError;

use super::codes::Code;
use super::problem::ApiError;
use super::state::AppState;
use crate::auth::{AuthError, Principal, Verifier};
use crate::domain::actor::{Right, Staff};
use crate::settings::Secret;

/// Longest `Idempotency-Key` that is accepted, in bytes; Stripe's own limit.
const IDEMPOTENCY_KEY_BYTES: usize = 255;

// What each extractor may answer: a route names them as its handler's signature names the extractors.

/// Of [`Member`].
pub(in crate::http) const MEMBER: &[Code] = &[
    Code::Unauthorized,
    Code::AuthKeysUnavailable,
    Code::TooManyRequests,
];
/// Of [`Allowed`].
pub(in crate::http) const STAFF: &[Code] = &[
    Code::Unauthorized,
    Code::AuthKeysUnavailable,
    Code::Forbidden,
    Code::TooManyRequests,
];
/// Of [`Follower`].
pub(in crate::http) const SERVICE: &[Code] = &[
    Code::Unauthorized,
    Code::AuthKeysUnavailable,
    Code::Forbidden,
];
/// Of [`Path`], and of whatever is not the caller's.
pub(in crate::http) const PATH: &[Code] = &[Code::NotFound];
/// Of [`Query`].
pub(in crate::http) const QUERY: &[Code] = &[Code::ValidationFailed];
/// Of [`IdempotencyKey`].
pub(in crate::http) const KEY: &[Code] = &[Code::BadIdempotencyKey];
/// Of [`RawBody`].
pub(in crate::http) const BODY: &[Code] = &[
    Code::IncompleteBody,
    Code::RequestTimeout,
    Code::PayloadTooLarge,
];
/// Of [`Json`].
pub(in crate::http) const JSON: &[Code] = &[
    Code::IncompleteBody,
    Code::MalformedJson,
    Code::RequestTimeout,
    Code::PayloadTooLarge,
    Code::UnsupportedMediaType,
    Code::ValidationFailed,
];

/// A caller with a valid token.
#[derive(Clone, Debug)]
pub struct Member(pub Principal);

/// Another service of the organisation: by one of the feed's tokens, or by one that names the service's role.
#[derive(Clone, Copy, Debug)]
pub struct Follower;

/// An operator whose role carries what the handler needs: `Allowed<Money>` says it in the signature.
#[derive(Clone, Debug)]
pub struct Allowed<N>(pub Staff, pub PhantomData<N>);

/// What a handler needs of an operator.
pub trait Need {
    /// The right.
    const RIGHT: Right;
}

macro_rules! needs {
    ($($(#[$doc:meta])* $need:ident;)+) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $need;

        impl Need for $need {
            const RIGHT: Right = Right::$need;
        }
    )+ };
}
needs! {
    /// Looking at what we know.
    See;
    /// Looking at what people are called.
    Names;
    /// Acting on what one member holds.
    Act;
    /// Moving money.
    Money;
}

/// The id of the request, as it stands in the log.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// A JSON body, or a JSON answer. As `Option<Json<T>>`, no body at all is `None`.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

/// The query string.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

/// Parameters in the path; one that can't be parsed names nothing, so the answer is 404.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

/// The body's bytes as they came, for a signature that covers them.
#[derive(Clone, Debug)]
pub struct RawBody(pub Bytes);

/// The header `Idempotency-Key`, where the client sent one: 1 to 255 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(pub Option<String>);

impl<S> FromRequestParts<S> for Member
where
    S: Send + Sync,
    Arc<Verifier>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        // A group of routes that counts its members has verified the token already.
        if let Some(principal) = parts.extensions.get::<Principal>() {
            return Ok(Self(principal.clone()));
        }
        if let Some(turned_away) = parts.extensions.get::<TurnedAway>() {
            return Err(turned_away.why());
        }
        let token = bearer(&parts.headers)?;
        Ok(Self(Arc::from_ref(state).verify(token).await?))
    }
}

impl<S, N: Need> FromRequestParts<S> for Allowed<N>
where
    S: Send + Sync,
    Arc<Verifier>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let Member(principal) = Member::from_request_parts(parts, state).await?;
        match principal.staff(N::RIGHT) {
            Some(staff) => Ok(Self(staff, PhantomData)),
            None => Err(ApiError::new(Code::Forbidden)),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let id = parts.extensions.get::<Self>().cloned();
        Ok(id.unwrap_or_else(|| Self(String::new())))
    }
}

impl FromRequestParts<AppState> for Follower {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> Result<Self, Self::Rejection> {
        let token = bearer(&parts.headers)?;
        let tokens = &state.settings.feed.tokens;
        let is_one = |own: &Secret| {
            constant_time::verify_slices_are_equal(own.expose().as_bytes(), token.as_bytes())
                .is_ok()
        };
        // Each is compared, so that the time tells nothing of which.
        if tokens.iter().filter(|own| is_one(own)).count() > 0 {
            return Ok(Self);
        }
        if state.verifier.verify(token).await?.service {
            Ok(Self)
        } else {
            Err(ApiError::new(Code::Forbidden))
        }
    }
}

/// That the token was found to be wrong before the handler was reached, and why.
#[derive(Clone)]
pub(super) struct TurnedAway(Arc<Mutex<Option<ApiError>>>);

impl TurnedAway {
    pub(super) fn because(error: ApiError) -> Self {
        Self(Arc::new(Mutex::new(Some(error))))
    }

    fn why(&self) -> ApiError {
        let mut error = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked for once: a handler has one member.
        error
            .take()
            .unwrap_or_else(|| ApiError::new(Code::Unauthorized))
    }
}

/// RFC 6750, section 2.1; the scheme's case does not matter (RFC 9110, section 11.1).
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next(), values.next()) else {
        return Err(unauthorized("There is more than one Authorization header."));
    };
    value
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty())
        .ok_or_else(|| {
            ApiError::new(Code::Unauthorized)
                .detail("Send the member's token: Authorization: Bearer <JWT>.")
                .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
        })
}

fn unauthorized(detail: impl Into<String>) -> ApiError {
    ApiError::new(Code::Unauthorized).detail(detail).header(
        WWW_AUTHENTICATE,
        HeaderValue::from_static("Bearer error=\"invalid_token\""),
    )
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Invalid(reason) => unauthorized(reason.to_string()),
            AuthError::KeysUnavailable {
                retry_after,
                source,
            } => Self::new(Code::AuthKeysUnavailable)
                .retry_after(retry_after.as_secs().max(1))
                .source(source),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let is_json = is_json(request.headers());
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        if !is_json {
            return Err(ApiError::new(Code::UnsupportedMediaType).explained());
        }
        parse(&bytes).map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> OptionalFromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Self::Rejection> {
        let is_json = is_json(request.headers());
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut request = Request::new(bytes.into());
        if is_json {
            request
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        <Self as FromRequest<S>>::from_request(request, state)
            .await
            .map(Some)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_))) => {
                Err(ApiError::new(Code::PayloadTooLarge))
            }
            Err(rejection) if caused_by::<TimeoutError>(&rejection) => {
                Err(ApiError::new(Code::RequestTimeout))
            }
            Err(_) => Err(ApiError::new(Code::IncompleteBody)),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs))
            .map(Self)
            .map_err(|error| {
                invalid_field(&error.path().to_string(), &error.into_inner().to_string())
            })
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(_) => Err(ApiError::not_found()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else {
            return Ok(Self(None));
        };
        let key = value.to_str().unwrap_or_default().trim();
        if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES || values.next().is_some() {
            return Err(ApiError::new(Code::BadIdempotencyKey).explained());
        }
        Ok(Self(Some(key.to_owned())))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut deserializer);
    let malformed = |error: &serde_json::Error| {
        ApiError::new(Code::MalformedJson).detail(format!(
            "The JSON breaks off at line {}, column {}.",
            error.line(),
            error.column()
        ))
    };
    match parsed {
        Ok(value) => match deserializer.end() {
            Ok(()) => Ok(value),
            Err(error) => Err(malformed(&error)),
        },
        Err(error) if error.inner().is_data() => Err(invalid_field(
            &error.path().to_string(),
            &error.inner().to_string(),
        )),
        // An enum's reader takes an object in its place for an end of the JSON.
        Err(error) if serde_json::from_slice::<IgnoredAny>(bytes).is_ok() => {
            let path = error.path().to_string();
            Err(invalid_field(&path, "not one of the known values"))
        }
        Err(error) => Err(malformed(error.inner())),
    }
}

/// Turns serde's refusal into a field and a code.
///
/// Which field is missing or unknown is only in the message (`serde::de::Error` offers nothing else to a generic
/// caller); serde has kept these two sentences since 1.0, and a test of ours holds it to them.
fn invalid_field(path: &str, message: &str) -> ApiError {
    // serde_json ends its messages with a position that means nothing to a program.
    let message = message.split(" at line ").next().unwrap_or(message);
    let path = if path == "." { "" } else { path };
    let named = |prefix: &str| {
        message
            .strip_prefix(prefix)?
            .split('`')
            .nth(1)
            .map(|name| match path {
                "" => name.to_owned(),
                // For an unknown field the path already ends with it.
                _ if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
                _ => format!("{path}.{name}"),
            })
    };
    let (field, code) = if let Some(field) = named("missing field") {
        (field, "missing")
    } else if let Some(field) = named("unknown field") {
        (field, "unknown_field")
    } else {
        (path.to_owned(), "invalid")
    };
    ApiError::validation_failed().field(field, code, message)
}

fn caused_by<E: std::error::Error + 'static>(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<E>() {
            return true;
        }
        next = error.source();
    }
    false
}
