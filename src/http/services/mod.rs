//! What other services of the organisation call.

mod feed;
mod forum;
mod transactions;

use utoipa_axum::router::OpenApiRouter;

use crate::http::edge::state::AppState;

/// For services that follow what has changed, answered from our own rows.
pub(super) fn following() -> OpenApiRouter<AppState> {
    feed::routes().merge(transactions::recorded())
}

/// For services that follow, answered by Stripe.
pub(super) fn from_stripe() -> OpenApiRouter<AppState> {
    transactions::moved()
}

/// For systems that follow and tell us something themselves.
pub(super) fn hooks() -> OpenApiRouter<AppState> {
    forum::routes()
}
