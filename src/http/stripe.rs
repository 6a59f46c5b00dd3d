//! What Stripe tells us.

use axum::extract::State;
use axum::http::HeaderMap;
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

/// An event of Stripe, signed.
#[utoipa::path(post, path = "/webhooks/stripe", tag = "webhooks",
    params(("Stripe-Signature" = String, Header)),
    request_body(content = Object, description = "Stripe's event, byte for byte as it was signed."),
    responses((status = 200, body = Receipt)))]
async fn receive(
    State(events): State<Events>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Json<Receipt>, ApiError> {
    let signature = headers
        .get("Stripe-Signature")
        .and_then(|value| value.to_str().ok());
    let outcome = events.ingest(&body, signature).await?.as_str();
    Ok(Json(Receipt { outcome }))
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
