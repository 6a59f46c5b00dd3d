//! A subscription as an operator sees it.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::ids::SubscriptionId;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;

/// A subscription as an operator sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatorSubscription)]
pub(super) struct Subscription {
    id: Uuid,
}

impl Subscription {
    pub(super) async fn read(_: &AppState, id: SubscriptionId) -> Result<Option<Self>, ApiError> {
        Ok(Some(Self { id: id.0 }))
    }
}
