//! What all acts of operators have in common: who asks and why, by which key a repeat is known, and what is answered.

use std::future::Future;
use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::Principal;
use crate::domain::actor::{Right, Staff};
use crate::http::edge::codes::Code;
use crate::http::edge::extract::{Allowed, IdempotencyKey, Member, Need, RequestId};
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::services::operators::acts::{ActError, Acted, Ask};

/// What may stand in the way of any act.
pub(super) const ACTING: &[Code] = &[
    Code::BadIdempotencyKey,
    Code::IdempotencyKeyReused,
    Code::OwnRows,
    Code::NotFound,
];

/// An act as it was written down.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ActionState {
    /// The `Idempotency-Key`.
    id: Uuid,
    /// `started` (somebody is at it), `done`, `refused`, or `unknown`: whether it has happened is found out within minutes.
    state: String,
    /// What came of it, or why not.
    #[schema(example = "refunded")]
    outcome: Option<String>,
    /// When that was known.
    #[serde(with = "time::serde::rfc3339::option")]
    finished_at: Option<OffsetDateTime>,
}

impl ActionState {
    pub(super) fn of(acted: &Acted) -> Self {
        let action = &acted.action;
        Self {
            id: action.id,
            state: action.state.clone(),
            outcome: action.outcome.clone(),
            finished_at: action.finished_at,
        }
    }
}

/// Why an operator acts, as she wrote it.
pub(super) struct Why<'a> {
    pub reason: Option<&'a str>,
    pub reference: Option<&'a str>,
}

/// The body of an act: what every act is asked with, behind its own fields. (A struct of its own inside the others would do,
/// but then nobody would be told of a field that is not known.)
macro_rules! act_body {
    ($(#[$doc:meta])* struct $body:ident { $($(#[$about:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize, Serialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        struct $body {
            $($(#[$about])* $field: $kind,)*
            /// A code of `reasons`; needed unless `dry_run`.
            reason: Option<String>,
            /// A ticket, minute or voucher: 1 to 40 letters, digits and `./_-`.
            reference: Option<String>,
            /// Only tell what would happen.
            #[serde(default, skip_serializing)]
            dry_run: bool,
        }

        impl $body {
            fn why(&self) -> $crate::http::operators::asking::Why<'_> {
                $crate::http::operators::asking::Why {
                    reason: self.reason.as_deref(),
                    reference: self.reference.as_deref(),
                }
            }
        }
    };
}
pub(super) use act_body;

/// An operator whose role carries what the act needs, with all by which her request is known.
pub(super) struct Asker<N> {
    staff: Staff,
    principal: Principal,
    key: IdempotencyKey,
    request_id: RequestId,
    need: PhantomData<N>,
}

impl<N: Need> FromRequestParts<AppState> for Asker<N> {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> Result<Self, Self::Rejection> {
        let Allowed(staff, ..) = Allowed::<N>::from_request_parts(parts, state).await?;
        let Member(principal) = Member::from_request_parts(parts, state).await?;
        let key = IdempotencyKey::from_request_parts(parts, state).await?;
        let Ok(request_id) = RequestId::from_request_parts(parts, state).await;
        Ok(Self {
            staff,
            principal,
            key,
            request_id,
            need: PhantomData,
        })
    }
}

impl<N> Asker<N> {
    /// Whether one of her roles carries another right too.
    pub(super) fn may(&self, right: Right) -> bool {
        self.principal.staff(right).is_some()
    }

    /// The whole question. `what` and the body tell a repeat from another request.
    pub(super) fn ask(
        self,
        state: &AppState,
        why: &Why<'_>,
        version: Option<i64>,
        what: &str,
        body: &impl Serialize,
    ) -> Result<Ask, ApiError> {
        let IdempotencyKey(key) = self.key;
        let key = key.as_deref().and_then(|key| key.parse::<Uuid>().ok());
        let key = key.ok_or_else(|| {
            let detail = "Send an Idempotency-Key that is a UUID: it is the act's id, and a repeat under it is not done twice.";
            ApiError::new(Code::BadIdempotencyKey).detail(detail)
        })?;
        let operators = &state.services.operators;
        let wrong = operators.what_is_wrong_with(why.reason, why.reference);
        if !wrong.is_empty() {
            return Err(ApiError::validation_failed().fields(wrong));
        }
        let body = serde_json::to_string(body).map_err(ApiError::internal)?;
        Ok(Ask {
            key,
            staff: self.staff,
            request_id: Some(self.request_id.0).filter(|id| !id.is_empty()),
            reason: why.reason.unwrap_or_default().to_owned(),
            reference: why.reference.map(str::to_owned),
            request: format!("{what} {body}"),
            version,
        })
    }
}

/// Lets an act come to its end, whether or not somebody still waits for the answer.
pub(super) async fn to_its_end<F>(act: F) -> Result<Acted, ApiError>
where
    F: Future<Output = Result<Acted, ActError>> + Send + 'static,
{
    match tokio::spawn(act).await {
        Ok(acted) => Ok(acted?),
        Err(ended) => Err(ApiError::internal(ended)),
    }
}

impl From<ActError> for ApiError {
    fn from(error: ActError) -> Self {
        let code = match error {
            ActError::NotFound => return Self::not_found(),
            ActError::Invalid(wrong) => return Self::validation_failed().fields(wrong),
            ActError::Failed(error) => return error.into(),
            ActError::KeyReused => {
                let detail = "Send a new key with another act.";
                return Self::new(Code::IdempotencyKeyReused).field(
                    "Idempotency-Key",
                    "reused",
                    detail,
                );
            }
            ActError::Obstacle(obstacle) => obstacle.into(),
            ActError::OwnRows => Code::OwnRows,
            ActError::InProgress => Code::ActionInProgress,
            ActError::RowMoved => Code::RowMoved,
            ActError::AlreadyRefundedMoved => Code::AlreadyRefundedMoved,
            ActError::NothingToRefund => Code::NothingToRefund,
            ActError::NothingToSettle => Code::NothingToSettle,
            ActError::HeldAlready => Code::HeldAlready,
            ActError::PriceOfNoPlan => Code::PriceOfNoPlan,
            ActError::OtherCustomer => Code::OtherCustomer,
            ActError::EventSettled => Code::EventSettled,
        };
        Self::new(code).explained()
    }
}
