//! What a forum tells whose groups follow membership.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::edge::codes::Code;
use crate::http::edge::errors::DATABASE;
use crate::http::edge::extract::{BODY, Json, PATH, Path, RawBody};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::outward::followers::{Followers, LoginError};
use crate::purchases::Error;

/// Why an event is not taken.
const RECEIVING: &[Code] = &[Code::BadSignature, Code::MalformedEvent];

/// What became of a forum's event.
#[derive(Debug, Serialize, ToSchema)]
struct ForumReceipt {
    /// `noted`: the member's groups are looked at in a moment; `uninteresting`: it is about nothing that matters here.
    #[schema(example = "noted")]
    outcome: &'static str,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    let can_fail = [PATH, BODY, RECEIVING, DATABASE];
    OpenApiRouter::new().routes(routes!(receive).problems(&can_fail))
}

/// An event of Discourse, signed. Of `user_created` and `user_logged_in` the member's groups are brought up to date; all
/// others are taken and left alone.
#[utoipa::path(post, path = "/hooks/discourse/{name}", tag = "webhooks",
    params(("name" = String, Path, description = "The follower's, as the followers' file names it"),
        ("X-Discourse-Event" = String, Header),
        ("X-Discourse-Event-Signature" = String, Header)),
    request_body(content = Object, description = "Discourse's event, byte for byte as it was signed."),
    responses((status = 200, body = ForumReceipt)))]
async fn receive(
    State(followers): State<Followers>,
    Path(name): Path<String>,
    signed: Signed,
    RawBody(body): RawBody,
) -> Result<Json<ForumReceipt>, ApiError> {
    let Signed { event, signature } = signed;
    let is_login = followers
        .logged_in(&name, &event, &signature, &body)
        .await?;
    let outcome = if is_login { "noted" } else { "uninteresting" };
    Ok(Json(ForumReceipt { outcome }))
}

/// The headers of an event. Without a signature nobody's body is read.
struct Signed {
    event: String,
    signature: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Signed {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let text = |name| {
            let value = parts.headers.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let signature = text("X-Discourse-Event-Signature");
        let signature = signature.ok_or_else(|| LoginError::Signature.into());
        signature.map(|signature| Self {
            event: text("X-Discourse-Event").unwrap_or_default(),
            signature,
        })
    }
}

impl From<LoginError> for ApiError {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Unknown => Self::not_found(),
            LoginError::Signature => Self::new(Code::BadSignature).detail(error.to_string()),
            LoginError::Malformed => Self::new(Code::MalformedEvent).detail(error.to_string()),
            LoginError::Storage(error) => Error::from(error).into(),
        }
    }
}
