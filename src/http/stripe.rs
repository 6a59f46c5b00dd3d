//! What Stripe tells us.

use axum::extract::{FromRef, FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::post;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::edge::codes::Code;
use crate::http::edge::extract::{BODY, Json, RawBody};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::services::events::Events;
use crate::services::events::ingest::IngestError;

/// What became of the event.
#[derive(Debug, Serialize, ToSchema)]
struct Receipt {
    /// `applied`, `deferred`, `duplicate`, `foreign`, `uninteresting` or `flagged`.
    #[schema(example = "applied")]
    outcome: &'static str,
}

/// Why an event is not taken.
const RECEIVING: &[Code] = &[
    Code::BadSignature,
    Code::WrongMode,
    Code::MalformedEvent,
    Code::ThinEvent,
    Code::UnreadableObject,
    Code::Overloaded,
    Code::EventNotRecorded,
];

pub(super) fn routes() -> OpenApiRouter<AppState> {
    // A slash at the end of the endpoint's address at Stripe is easily written, and would lose every event.
    OpenApiRouter::new()
        .routes(routes!(receive).problems(&[BODY, RECEIVING]))
        .route("/webhooks/stripe/", post(receive))
}

/// The same where the payment connector of Mosaic Billing took them, so that the endpoint at Stripe can stay as it is.
pub(super) fn as_the_connector() -> OpenApiRouter<AppState> {
    let receive = async |events, signature, body| -> Result<StatusCode, ApiError> {
        receive(events, signature, body)
            .await
            .map(|_| StatusCode::OK)
    };
    OpenApiRouter::new()
        .route("/webhooks", post(receive))
        .route("/webhooks/", post(receive))
}

/// An event of Stripe, signed.
#[utoipa::path(post, path = "/webhooks/stripe", tag = "webhooks",
    params(("Stripe-Signature" = String, Header)),
    request_body(content = Object, description = "Stripe's event, byte for byte as it was signed."),
    responses((status = 200, body = Receipt)))]
async fn receive(
    State(events): State<Events>,
    Signature(signature): Signature,
    RawBody(body): RawBody,
) -> Result<Json<Receipt>, ApiError> {
    let outcome = events.ingest(&body, Some(&signature)).await?.as_str();
    Ok(Json(Receipt { outcome }))
}

/// The header `Stripe-Signature`. Without one nobody's body is read.
struct Signature(String);

impl<S: Send + Sync> FromRequestParts<S> for Signature
where
    Events: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let signature = parts.headers.get("Stripe-Signature");
        match signature.and_then(|value| value.to_str().ok()) {
            Some(signature) => Ok(Self(signature.to_owned())),
            // It is counted and told like any other bad signature.
            None => match Events::from_ref(state).ingest(&[], None).await {
                Err(error) => Err(error.into()),
                Ok(_) => Err(ApiError::new(Code::BadSignature)),
            },
        }
    }
}

impl From<IngestError> for ApiError {
    fn from(error: IngestError) -> Self {
        let refused = |code| Self::new(code).detail(error.to_string());
        match error {
            IngestError::Signature(_) => refused(Code::BadSignature),
            IngestError::WrongMode => refused(Code::WrongMode),
            IngestError::Malformed(_) => Self::new(Code::MalformedEvent).source(error),
            IngestError::Unstorable => refused(Code::MalformedEvent),
            IngestError::Thin(_) => refused(Code::ThinEvent),
            // A shape that this version can't read: Stripe shall try again when a newer one runs.
            IngestError::Unreadable(_) => Self::new(Code::UnreadableObject).source(error),
            IngestError::Overloaded => refused(Code::Overloaded),
            IngestError::Apply(_) => Self::new(Code::EventNotRecorded).source(error),
        }
    }
}
